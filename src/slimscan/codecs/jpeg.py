"""JPEG (ISO/IEC 10918-1) by libjpeg-turbo: baseline to 8 bits, extended sequential to 12, one image a slice. Lossy only.

Samples of fewer bits are shifted up to fill 8 or 12: the finest quantiser step is one unit of those.
"""

from __future__ import annotations

import imagecodecs
import numpy as np

from slimscan.codecs.guard import guarded, one_slice
from slimscan.codecs.headers import SOF_DCT, check_jpeg
from slimscan.codecs.samples import restored, unsigned
from slimscan.errors import InputError
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """One slice (1, y, x[, c]) to a JPEG image; value: quality. InputError for None: it is never exact."""
    if value is None:
        raise InputError("jpeg is never exact; ask for a quality, or choose jpegxl or jpegls for lossless")
    bits = _bits(layout)
    plane = one_slice(unsigned(pixels, layout)).astype(np.uint16) << (bits - layout.bits)
    stream = imagecodecs.jpeg8_encode(
        plane.astype(np.uint8 if bits == 8 else np.uint16),
        level=round(value),
        bitspersample=bits,
        subsampling="444" if layout.samples == 3 else None,
        optimize=True,
    )
    return bytes(stream)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    bits = _bits(layout)
    check_jpeg("jpeg", payload, layout, (bits,), SOF_DCT)
    plane = guarded("jpeg", _opened, payload).astype(np.float32) * 2.0 ** (layout.bits - bits)
    return restored("jpeg", plane, layout, shifted=True)


def _bits(layout: Layout) -> int:
    return 8 if layout.bits <= 8 else 12


def _opened(stream: bytes) -> Pixels:
    return np.asarray(imagecodecs.jpeg8_decode(stream))


CODEC = Codec(
    name="jpeg",
    title="JPEG, 8 and 12 bit",
    standard="ISO/IEC 10918-1 (libjpeg-turbo)",
    knob=Knob("quality", "", 1.0, 100.0, finer="high", step=1.0),
    lossless=False,
    bounded=False,
    chunk="slice",
    holds=Holds(bits=(1, 12), max_side=65500),
    encode=encode,
    decode=decode,
    note="for comparison with older studies",
)
