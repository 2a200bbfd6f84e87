"""ZFP (Lindstrom 2014): blocks of 4x4x4 voxels, in its fixed-accuracy mode.

ZFP rounds a tolerance down to a power of two. The samples are therefore scaled so that the asked tolerance is one, and
the knob turns smoothly. Its true errors are about a third of the bound.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np

from slimscan.codecs.bound import CEILING, tolerance
from slimscan.codecs.guard import guarded
from slimscan.codecs.samples import channels, joined, restored
from slimscan.codecs.sealed import opened, seal
from slimscan.errors import CodecError
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels

UNIT = 1024  # the tolerance that ZFP is given, a power of two


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """A slab (z, y, x[, c]) to the scale and a stream a channel, sealed; value: the largest error in stored units."""
    scale = np.float32(UNIT / tolerance("zfp", value, layout))
    parts = [channel * scale for channel in channels(pixels, layout)]
    streams = [imagecodecs.zfp_encode(part, level=UNIT, mode="a", header=False, numthreads=1) for part in parts]
    return seal([scale.astype("<f4").tobytes(), *map(bytes, streams)], layout)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slab back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    shape = layout.shape[:3]

    def unpacked(stream: bytes) -> Any:
        return imagecodecs.zfp_decode(stream, shape=shape, dtype=np.float32, numthreads=1)

    head, *parts = opened("zfp", payload, 1 + layout.samples, layout)
    scale = guarded("zfp", lambda data: np.frombuffer(data, "<f4", 1)[0], head)
    if not (np.isfinite(scale) and scale > 0):
        raise CodecError(f"zfp: a scale of {scale}; the chunk is damaged")
    planes = [np.asarray(guarded("zfp", unpacked, part)) / scale for part in parts]
    return restored("zfp", joined(planes, layout), layout)


CODEC = Codec(
    name="zfp",
    title="ZFP, blocks in three dimensions",
    standard="ZFP 1.0 (LLNL)",
    knob=Knob("max_error", "stored units", 1.0, 16 * CEILING, finer="low", scale="log"),
    lossless=False,
    bounded=True,
    chunk="slab",
    depth=16,
    holds=Holds(),
    encode=encode,
    decode=decode,
    note="fast; true errors are about a third of the bound",
)
