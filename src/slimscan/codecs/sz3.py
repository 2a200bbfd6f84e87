"""SZ3 (Liang, Zhao, Di et al. 2023): spline interpolation in three dimensions under an absolute error bound."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np

from slimscan.codecs.bound import CEILING, tolerance
from slimscan.codecs.guard import guarded
from slimscan.codecs.samples import channels, joined, restored
from slimscan.codecs.sealed import opened, seal
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """A slab (z, y, x[, c]) to a sealed stream a channel; value: the largest error in stored units."""
    error = tolerance("sz3", value, layout)
    streams = [imagecodecs.sz3_encode(channel, mode="abs", abs=error) for channel in channels(pixels, layout)]
    return seal([bytes(stream) for stream in streams], layout)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slab back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    shape = layout.shape[:3]

    def unpacked(stream: bytes) -> Any:
        return imagecodecs.sz3_decode(stream, shape, np.dtype(np.float32))

    planes = [np.asarray(guarded("sz3", unpacked, part)) for part in opened("sz3", payload, layout.samples, layout)]
    return restored("sz3", joined(planes, layout), layout)


CODEC = Codec(
    name="sz3",
    title="SZ3, interpolation in three dimensions",
    standard="SZ3 3.3",
    knob=Knob("max_error", "stored units", 1.0, CEILING, finer="low", scale="log"),
    lossless=False,
    bounded=True,
    chunk="slab",
    depth=16,
    holds=Holds(),
    encode=encode,
    decode=decode,
    fragile=True,
    note="fast; no voxel is off by more than the knob",
)
