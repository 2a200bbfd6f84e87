"""High-Throughput JPEG 2000 (ISO/IEC 15444-15): encoded by OpenJPH, decoded by OpenJPEG, one codestream a slice.

About 15 times the speed of JPEG 2000 for about 5 % more bytes lossless, 5 to 10 % lossy. It has no rate control: the
knob is the quantisation step of the finest subbands. OpenJPH's decoder, which imagecodecs.htj2k_decode calls, wraps
overshoot at the top of full-range samples (255 becomes 0); OpenJPEG's clamps. Hence the zarr name of JPEG 2000.
"""

from __future__ import annotations

import threading
from functools import cache

import imagecodecs
import numpy as np

from slimscan.codecs.depth import bits_said, raised, saying
from slimscan.codecs.guard import guarded, one_slice
from slimscan.codecs.headers import check_jpeg2000
from slimscan.codecs.openjpeg import opened, resolutions, without_comments
from slimscan.codecs.samples import restored
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels

FINEST = 1e-5  # relative to full scale; below it the library takes the step for 0
_FIRST = threading.Lock()


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """One slice (1, y, x[, c]) to a bare codestream; value: quantisation step in stored units, None for lossless."""
    with _FIRST:
        _fill_tables()
    full = 2.0 ** (8 * np.dtype(layout.dtype).itemsize)
    bits = bits_said(layout, lossy=value is not None)
    # At a step of twice all values nothing is left of an image; the header has no number for much larger ones.
    step = None if value is None else min(value, 2.0 ** (bits + 1))
    codestream = imagecodecs.htj2k_encode(
        raised(one_slice(pixels), layout, bits),
        level=None if step is None else min(1.0, max(FINEST, step / full)),
        reversible=value is None,
        planar=False,
        rgb=layout.samples == 3,
        resolutions=resolutions(layout, most=5),
    )
    return saying(without_comments(bytes(codestream)), layout, bits)


@cache
def _fill_tables() -> None:
    """A first call that nobody races with.

    OpenJPH fills its tables at the first call, unguarded (aous72/OpenJPH#243; 0.26.3 has it): of 4,800 processes that
    began with two calls at once, six wrote a wrong codestream.
    """
    small = np.zeros((64, 64), np.uint16)
    imagecodecs.htj2k_encode(small, reversible=True, resolutions=2)
    imagecodecs.htj2k_encode(small, level=0.001, reversible=False, resolutions=2)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    check_jpeg2000("htj2k", payload, layout)
    return restored("htj2k", guarded("htj2k", opened, payload), layout)


CODEC = Codec(
    name="htj2k",
    title="High-Throughput JPEG 2000",
    standard="ISO/IEC 15444-15 (OpenJPH, OpenJPEG)",
    knob=Knob("step", "stored units", 0.66, 65536.0, finer="low", scale="log"),
    lossless=True,
    bounded=False,
    chunk="slice",
    holds=Holds(),
    encode=encode,
    decode=decode,
    zarr_name="imagecodecs_jpeg2k",
    zarr_bits=False,
    note="the fastest of the wavelets",
)
