"""Exact codecs that know nothing of images: the samples as bytes, little endian, z-y-x order, in slabs of slices.

gzip (RFC 1952), deflate in its zlib wrapping (RFC 1950, what zip uses), bz2, xz, zstd (RFC 8878), and Blosc2 with
bytes shuffled together before zstd (6 to 10 % smaller than with bits shuffled, on CT, MRI and microscopy).
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np

from slimscan.codecs.guard import fitted, guarded
from slimscan.errors import CodecError, InputError
from slimscan.nouns import NUMBERS, Codec, Layout, Pixels

PADDED = 64  # bytes
XZ_MEMORY = 64 * 2**20  # level 6 needs 9 MiB
DEPTH = 16  # slices a slab: about 1 to 8 MB, past which none of these gains


def _exact(
    name: str, title: str, standard: str, pack: Callable[[Pixels], Any], unpack: Callable[..., Any], note: str = ""
) -> Codec:
    """A record around pack(bytes as uint8, one row a sample) and unpack(payload, out=bytes wanted)."""

    def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
        if value is not None:
            raise InputError(f"{name} is exact only and has no knob; got {value:g}, use --lossless")
        return bytes(pack(np.ascontiguousarray(pixels, np.dtype(layout.dtype).newbyteorder("<"))))

    def decode(payload: bytes, layout: Layout) -> Pixels:
        # The size is fixed before decoding, so that a damaged header cannot ask for more. One byte more shows excess.
        raw = guarded(name, lambda data: unpack(data, out=layout.raw_bytes + 1), payload)
        if len(raw) != layout.raw_bytes:
            raise CodecError(
                f"{name}: decoded {len(raw)} bytes, the layout says {layout.raw_bytes}; the chunk is damaged"
            )
        stored = np.frombuffer(raw, np.dtype(layout.dtype).newbyteorder("<"))
        return fitted(name, stored.astype(layout.dtype), layout)

    return Codec(
        name=name,
        title=title,
        standard=standard,
        knob=None,
        lossless=True,
        bounded=False,
        chunk="slab",
        depth=DEPTH,
        holds=NUMBERS,
        encode=encode,
        decode=decode,
        note=note,
    )


def _blosc2(pixels: Pixels) -> Any:
    # Blosc2 2.23 cannot read back its own chunk of zeros when 8 samples do not divide it: hence the padding.
    return imagecodecs.blosc2_encode(
        pixels.tobytes() + bytes(-pixels.nbytes % PADDED),
        level=5,
        compressor="zstd",
        shuffle="shuffle",
        typesize=pixels.dtype.itemsize,
        numthreads=1,
    )


def _unblosc2(payload: bytes, out: int) -> Any:
    size = out - 1
    padded = size + -size % PADDED
    if int.from_bytes(payload[4:8], "little") != padded:  # nbytes in the chunk's header
        raise ValueError(f"its header does not say {padded} bytes")
    return imagecodecs.blosc2_decode(payload, out=padded, numthreads=1)[:size]


def _unbz2(payload: bytes, out: int) -> Any:
    return _ended(bz2.BZ2Decompressor(), payload, out)


def _unxz(payload: bytes, out: int) -> Any:
    return _ended(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY), payload, out)


def _ended(stream: Any, payload: bytes, out: int) -> Any:
    """Through Python's own decoders: those of imagecodecs stop at the last sample, before the checksum behind it."""
    raw = stream.decompress(payload, out)
    if not stream.eof or stream.unused_data:
        raise ValueError("it does not end where it should")
    return raw


GZIP = _exact(
    "gzip",
    "gzip, as in .nii.gz",
    "RFC 1952 (libdeflate)",
    lambda pixels: imagecodecs.gzip_encode(pixels.tobytes(), level=6),
    imagecodecs.gzip_decode,
    "what .nii.gz is",
)
DEFLATE = _exact(
    "deflate",
    "deflate, as in zip",
    "RFC 1950 (libdeflate)",
    lambda pixels: imagecodecs.deflate_encode(pixels.tobytes(), level=9),
    imagecodecs.deflate_decode,
)
BZ2 = _exact(
    "bz2",
    "bzip2",
    "bzip2 (libbzip2)",
    lambda pixels: imagecodecs.bz2_encode(pixels.tobytes(), level=9),
    _unbz2,
)
XZ = _exact(
    "xz",
    "xz, LZMA as in 7z",
    "xz (liblzma)",
    lambda pixels: imagecodecs.lzma_encode(pixels.tobytes(), level=6),
    _unxz,
)
ZSTD = _exact(
    "zstd",
    "Zstandard",
    "RFC 8878 (libzstd)",
    lambda pixels: imagecodecs.zstd_encode(pixels.tobytes(), level=9),
    imagecodecs.zstd_decode,
)
BLOSC2 = _exact("blosc2", "Blosc2, shuffled bytes and Zstandard", "Blosc2 (c-blosc2)", _blosc2, _unblosc2)

CODECS_GENERAL = (GZIP, DEFLATE, BZ2, XZ, ZSTD, BLOSC2)
