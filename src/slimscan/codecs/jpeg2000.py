"""JPEG 2000 Part 1 (ISO/IEC 15444-1) by OpenJPEG, one codestream a slice.

Lossy: the irreversible 9/7 wavelet, cut at a PSNR against 2**bits - 1 that OpenJPEG estimates in the wavelet domain;
the estimate is good to about 1 dB, so the search measures. Lossless: the reversible 5/3 wavelet.
"""

from __future__ import annotations

from typing import Any

import imagecodecs

from slimscan.codecs.guard import decoded, one_slice
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """One slice (1, y, x[, c]) to a bare codestream; value: PSNR in dB, None for lossless."""
    level: Any = 0 if value is None else value  # a float is taken; imagecodecs' own types say int
    codestream = imagecodecs.jpeg2k_encode(
        one_slice(pixels),
        level=level,
        reversible=value is None,
        bitspersample=layout.bits,
        codecformat="J2K",
        mct=layout.samples == 3,
        resolutions=6,
        numthreads=1,
    )
    return bytes(codestream)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape and dtype; CodecError for damaged bytes."""
    return decoded("jpeg2000", imagecodecs.jpeg2k_decode, payload, layout)


CODEC = Codec(
    name="jpeg2000",
    title="JPEG 2000, wavelets slice by slice",
    standard="ISO/IEC 15444-1 (OpenJPEG)",
    knob=Knob("psnr_db", "dB", 10.0, 130.0, finer="high"),
    lossless=True,
    bounded=False,
    chunk="slice",
    holds=Holds(),
    encode=encode,
    decode=decode,
    zarr_name="imagecodecs_jpeg2k",
    note="every hospital viewer opens it; the tool of the papers",
)
