"""Plainer ways than diffusion to make the outside of a region cheap: a constant, coarser pixels, coarser values.

Each takes samples (z, y, x) of integers or floats and `inside` (z, y, x), True where every bit stays, and gives a new
array of the same type. Means are taken over outside voxels only, in float64, so nothing of the region leaks out; integers
are rounded half to even. To keep padding as well, count it as inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Pixels

MOST_LEVELS = 8


def constant(pixels: Pixels, inside: NDArray[np.bool_], value: float | None = None) -> Pixels:
    """One value outside; None: the mean of each slice's outside. A slice without outside stays as it is.

    InputError: shapes that differ, a value that the type cannot hold.
    """
    _checked(pixels, inside)
    if value is not None:
        return np.where(inside, pixels, _held(value, pixels.dtype))
    count = (~inside).sum(axis=(1, 2), keepdims=True)
    total = np.sum(pixels, axis=(1, 2), dtype=np.float64, where=~inside, keepdims=True)
    return np.where(inside, pixels, _stored(total / np.maximum(count, 1), pixels.dtype))


def coarse(pixels: Pixels, inside: NDArray[np.bool_], levels: int) -> Pixels:
    """Fewer resolutions: every slice's squares of 2^levels pixels become the mean of what of them lies outside.

    Squares begin at the first row and column; those at the far border are cut off by it. InputError: shapes that differ,
    levels not in 0..8.
    """
    _checked(pixels, inside)
    if levels not in range(MOST_LEVELS + 1):
        raise InputError(f"coarse:{levels}: want 0 to {MOST_LEVELS} levels, each halves the resolution outside")
    side = 1 << levels
    out = np.empty_like(pixels)
    rows, columns = np.arange(0, pixels.shape[1], side), np.arange(0, pixels.shape[2], side)
    for z, (plane, kept) in enumerate(zip(pixels, inside, strict=True)):
        free = ~kept
        total = _blocks(np.where(free, plane, 0).astype(np.float64), rows, columns)
        mean = total / np.maximum(_blocks(free.astype(np.float64), rows, columns), 1)
        wide = mean.repeat(side, axis=0)[: plane.shape[0]].repeat(side, axis=1)[:, : plane.shape[1]]
        out[z] = np.where(kept, plane, _stored(wide, pixels.dtype))
    return out


def quantised(pixels: Pixels, inside: NDArray[np.bool_], bound: float, low: float | None = None) -> Pixels:
    """Outside, values at most `bound` away, as few of them as that allows: low + multiples of the step.

    The step is 2 * bound + 1 for integers, of whose bound the whole part counts, and 2 * bound for floats. low: the
    smallest value of the volume when slabs are taken apart; None: of these samples. InputError: a bound that is negative
    or not finite, shapes that differ.
    """
    _checked(pixels, inside)
    if not 0 <= bound < np.inf:
        raise InputError(f"quantise:{bound:g}: want a largest error, 0 or more, in stored units")
    if pixels.size == 0 or bound == 0:
        return pixels.copy()
    if pixels.dtype.kind == "f":
        start = float(pixels.min()) if low is None else low
        steps = np.rint((pixels.astype(np.float64) - start) / (2 * bound)) * (2 * bound) + start
        return np.where(inside, pixels, steps.astype(pixels.dtype))
    n = int(bound)
    first = int(pixels.min()) if low is None else int(low)
    ends = np.iinfo(pixels.dtype)
    wide = pixels.astype(np.int64) - first
    steps = np.minimum((wide + n) // (2 * n + 1) * (2 * n + 1) + first, ends.max)
    return np.where(inside, pixels, steps.astype(pixels.dtype))


def _blocks(plane: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    down: NDArray[np.float64] = np.add.reduceat(plane, rows, axis=0)
    both: NDArray[np.float64] = np.add.reduceat(down, columns, axis=1)
    return both


def _checked(pixels: Pixels, inside: NDArray[np.bool_]) -> None:
    if pixels.ndim != 3 or pixels.dtype.kind not in "iuf" or 0 in pixels.shape[1:]:
        raise InputError(f"want integers or floats (z, y, x) with pixels in a slice, got {pixels.dtype} {pixels.shape}")
    if inside.shape != pixels.shape or inside.dtype != np.bool_:
        raise InputError(
            f"inside is {inside.dtype} {inside.shape} and the image {pixels.shape}; want bool of its shape"
        )
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == 8 and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if max(-low, high) > 1 << 53:
            raise InputError(f"integers of {low}..{high}: float64 holds them up to 2^53 only")


def _held(value: float, dtype: np.dtype[Any]) -> Pixels:
    if dtype.kind == "f":
        return np.array(value, dtype)
    ends = np.iinfo(dtype)
    if not (np.isfinite(value) and int(value) == value and ends.min <= value <= ends.max):
        raise InputError(f"constant:{value:g}: samples of type {dtype} are whole numbers of {ends.min}..{ends.max}")
    return np.array(int(value), dtype)


def _stored(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Pixels:
    """Means lie between samples, so rounding them stays in the range of the type."""
    return (values if dtype.kind == "f" else np.rint(values)).astype(dtype)
