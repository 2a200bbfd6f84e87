"""Samples as a library wants them, and back: without a sign, as floats, one array a channel; always inside the layout.

A lossy decoder overshoots at edges. What leaves a codec is clamped to the values that the layout allows, so that a
later cast cannot wrap 256 around to 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import CodecError
from slimscan.nouns import Layout, Pixels


def span(layout: Layout) -> tuple[int, int]:
    """The smallest and the largest value that the layout allows."""
    if layout.dtype.startswith("u"):
        return 0, 2**layout.bits - 1
    return -(2 ** (layout.bits - 1)), 2 ** (layout.bits - 1) - 1


def unsigned(pixels: Pixels, layout: Layout) -> Pixels:
    """The same samples counted from the smallest allowed value: uint8 or uint16 of the same width."""
    low, _ = span(layout)
    if low == 0:
        return pixels
    return (pixels.astype(np.int32) - low).astype(f"u{pixels.dtype.itemsize}")


def restored(codec: str, pixels: Pixels, layout: Layout, *, shifted: bool = False) -> Pixels:
    """Decoded samples in the layout's shape, dtype and span; CodecError when their number is another.

    pixels: integers or floats of any type; floats are rounded, and what is no number becomes the smallest value.
    shifted: they were coded by `unsigned` and count from the smallest allowed value.
    """
    if pixels.size != int(np.prod(layout.shape, dtype=np.int64)):
        raise CodecError(f"{codec}: decoded {pixels.shape}, the layout says {layout.shape}; the chunk is damaged")
    low, high = span(layout)
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(np.rint(pixels), nan=low, posinf=high, neginf=low)
    if shifted and low:
        pixels = pixels.astype(np.int32) + low
    kept = np.iinfo(pixels.dtype) if pixels.dtype.kind in "iu" else None
    if kept is None or kept.min < low or kept.max > high:
        pixels = np.clip(pixels, low, high)
    return pixels.astype(layout.dtype, copy=False).reshape(layout.shape)


def channels(pixels: Pixels, layout: Layout) -> list[NDArray[np.float32]]:
    """(z, y, x[, c]) as one contiguous float32 (z, y, x) a channel; exact up to 24 bits."""
    apart = pixels.reshape(*layout.shape[:3], layout.samples)
    return [np.ascontiguousarray(apart[..., c], np.float32) for c in range(layout.samples)]


def joined(planes: list[Pixels], layout: Layout) -> Pixels:
    """The channels of `channels` as one array again."""
    return planes[0] if len(layout.shape) == 3 else np.stack(planes, axis=-1)
