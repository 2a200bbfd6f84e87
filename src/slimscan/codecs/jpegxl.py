"""JPEG XL (ISO/IEC 18181) by libjxl, one image a slice.

Lossless: modular, effort 3 (effort 7 saves 2 to 4 % for 6 to 15 times the time). Lossy: VarDCT in XYB at effort 5,
which gave the fewest bytes at equal PSNR between 40 and 60 dB on head CT and brain MRI. Its distance is perceptual and
relative to full scale, so samples should fill their bits.
"""

from __future__ import annotations

import imagecodecs
import numpy as np

from slimscan.codecs.guard import guarded, one_slice
from slimscan.codecs.headers import check_jpegxl
from slimscan.codecs.samples import restored, unsigned
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """One slice (1, y, x[, c]) to a codestream (in boxes above 12 bits); value: distance, None for lossless.

    Signed samples are counted from their smallest allowed value.
    """
    stream = imagecodecs.jpegxl_encode(
        one_slice(unsigned(pixels, layout)),
        lossless=value is None,
        distance=value,
        effort=3 if value is None else 5,
        bitspersample=layout.bits if np.dtype(layout.dtype).itemsize == 1 else max(9, layout.bits),
        planar=False,
        numthreads=1,
    )
    return bytes(stream)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    check_jpegxl("jpegxl", payload, layout)
    return restored("jpegxl", guarded("jpegxl", _opened, payload), layout, shifted=True)


def _opened(stream: bytes) -> Pixels:
    return np.asarray(imagecodecs.jpegxl_decode(stream, numthreads=1))


CODEC = Codec(
    name="jpegxl",
    title="JPEG XL",
    standard="ISO/IEC 18181-1 (libjxl)",
    knob=Knob("distance", "", 0.01, 25.0, finer="low", scale="log"),
    lossless=True,
    bounded=False,
    chunk="slice",
    holds=Holds(),
    encode=encode,
    decode=decode,
    zarr_name="imagecodecs_jpegxl",
    note="the smallest of the standard lossless codecs",
)
