"""JPEG 2000 Part 1 (ISO/IEC 15444-1) by OpenJPEG, one codestream a slice.

Lossy: the irreversible 9/7 wavelet, cut at a PSNR against 2**bits - 1 that OpenJPEG estimates in the wavelet domain;
the estimate is good to about 1 dB, so the search measures. Lossless: the reversible 5/3 wavelet. (The 5/3 cut short
needed 7 to 40 % more bytes than the 9/7 at equal PSNR on four real volumes, so it is not used for lossy.)
"""

from __future__ import annotations

import math
from typing import Any

import imagecodecs
import numpy as np

from slimscan.codecs.guard import guarded, one_slice
from slimscan.codecs.headers import check_jpeg2000
from slimscan.codecs.openjpeg import opened, resolutions, without_comments
from slimscan.codecs.samples import restored
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """One slice (1, y, x[, c]) to a bare codestream; value: PSNR in dB, None for lossless."""
    bits = layout.bits if np.dtype(layout.dtype).itemsize == 1 else max(9, layout.bits)  # else it decodes as 8 bit
    psnr_db = 0 if value is None else value + 20 * math.log10((2**bits - 1) / (2**layout.bits - 1))
    level: Any = psnr_db  # a float is taken; imagecodecs' own types say int
    codestream = imagecodecs.jpeg2k_encode(
        one_slice(pixels),
        level=level,
        reversible=value is None,
        bitspersample=bits,
        codecformat="J2K",
        planar=False,
        mct=layout.samples == 3,
        resolutions=resolutions(layout),
        numthreads=1,
    )
    return without_comments(bytes(codestream))


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    check_jpeg2000("jpeg2000", payload, layout)
    return restored("jpeg2000", guarded("jpeg2000", opened, payload), layout)


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
