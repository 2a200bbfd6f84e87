"""CharLS with the bits of a sample said: the library inside imagecodecs, called through its own C interface.

imagecodecs says 16 bits for every sample of two bytes, which costs one to two per cent of a 12-bit CT (the thresholds of
ISO/IEC 14495-1 C.2.4.1.1.1 grow with the largest value), and DICOM wants the stored bits in the codestream (PS3.5
8.2.3). Where the wheel holds no such library of its own, imagecodecs does it, with all bits of the container.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from slimscan.errors import CodecError
from slimscan.nouns import Pixels

_VERSION = 2  # of the C interface that is written down here
_BY_SAMPLE = 2  # charls_interleave_mode
_PREFIX = "charls_jpegls_encoder_"


class _Frame(ctypes.Structure):
    """charls_frame_info."""

    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("bits_per_sample", ctypes.c_int32),
        ("component_count", ctypes.c_int32),
    )


def encode(pixels: Pixels, bits: int, near: int, room: int) -> bytes:
    """Unsigned samples (y, x[, c]) below 2**bits to a codestream of at most `room` bytes; CodecError when it fails.

    bits: 2 to 8 for samples of one byte, 9 to 16 for those of two. near: the largest error, 0 for lossless. Runs without
    the interpreter's lock.
    """
    library = _library()
    if library is None:
        return bytes(imagecodecs.jpegls_encode(pixels, level=near, out=room))
    source = np.ascontiguousarray(pixels)
    samples = source.shape[2] if source.ndim == 3 else 1
    out = np.empty(room, np.uint8)
    made = library.charls_jpegls_encoder_create()
    try:
        frame = _Frame(source.shape[1], source.shape[0], bits, samples)
        _asked(library, "set_frame_info", made, ctypes.byref(frame))
        _asked(library, "set_near_lossless", made, ctypes.c_int32(near))
        if samples > 1:
            _asked(library, "set_interleave_mode", made, ctypes.c_int32(_BY_SAMPLE))
        _asked(library, "set_destination_buffer", made, ctypes.c_void_p(out.ctypes.data), ctypes.c_size_t(room))
        data = ctypes.c_void_p(source.ctypes.data)
        _asked(library, "encode_from_buffer", made, data, ctypes.c_size_t(source.nbytes), ctypes.c_uint32(0))
        written = ctypes.c_size_t()
        _asked(library, "get_bytes_written", made, ctypes.byref(written))
        return out[: written.value].tobytes()
    finally:
        library.charls_jpegls_encoder_destroy(made)


def says_bits() -> bool:
    """Whether codestreams carry the bits that are asked for, and not those of the container."""
    return _library() is not None


@cache
def _library() -> Any:
    """CharLS 2 as imagecodecs ships it beside or inside its package; None where it is linked in."""
    package = Path(imagecodecs.__file__).parent
    for folder in (package.parent / "imagecodecs.libs", package / ".dylibs", package):
        for place in sorted(folder.glob("*charls*")) if folder.is_dir() else ():
            if place.suffix in (".py", ".pyi", ".pyx"):
                continue
            try:
                library = ctypes.CDLL(str(place))
                library.charls_get_version_string.restype = ctypes.c_char_p
                version = library.charls_get_version_string()
            except (OSError, AttributeError):
                continue
            if version.split(b".")[0] == str(_VERSION).encode():
                library.charls_jpegls_encoder_create.restype = ctypes.c_void_p
                library.charls_jpegls_encoder_destroy.argtypes = [ctypes.c_void_p]
                return library
    return None


def _asked(library: Any, name: str, made: int, *arguments: Any) -> None:
    function = getattr(library, _PREFIX + name)
    code = function(ctypes.c_void_p(made), *arguments)
    if code:
        library.charls_get_error_message.restype = ctypes.c_char_p
        raise CodecError(f"jpegls: {name.replace('_', ' ')}: {library.charls_get_error_message(code).decode()}")
