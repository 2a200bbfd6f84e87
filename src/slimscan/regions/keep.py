"""Weights as they are kept: made slices at a time, looked at once, masks packed to a bit a voxel.

A region is asked for again and again (searched, calmed, coded), so a mask is made once: a CT of 300 slices takes 10 MB.
A probability map stays in memory up to KEPT_BYTES; a larger one is made anew for the slices that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError

KEPT_BYTES = 1 << 30
SLAB_VOXELS = 8 << 20

Weights = NDArray[Any]  # (slices, y, x) bool, or float32 in 0..1
Load = Callable[[int, int], Weights]


@dataclass(frozen=True, eq=False)
class Made:
    """A `Lazy` (z, y, x) of bool or float32 that load(start, stop) makes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Load

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice) -> Weights:
        start, stop, step = index.indices(self.shape[0])
        if step < 1:
            raise ValueError("slices are made forwards: the step must be positive")
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self.load(start, stop)[::step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Weights:
        return np.asarray(self[0 : self.shape[0]], dtype)


@dataclass(frozen=True, slots=True)
class Extent:
    """What a region covers. inside: voxels of weight 1; part: voxels between 0 and 1; voxels: of the whole image.

    first, last: slices with a voxel inside, -1 when there is none; slices: how many; largest: weight.
    """

    voxels: int
    inside: int
    part: int
    first: int
    last: int
    slices: int
    largest: float


def keep(shape: tuple[int, ...], dtype: Any, load: Load) -> tuple[Made, Extent]:
    """The weights ready to be asked for often, and what they cover. load(start, stop): slices (n, y, x) of `dtype`."""
    kind = np.dtype(dtype)
    depth, plane = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    step = max(1, SLAB_VOXELS // max(1, plane))
    held: list[Weights] = []
    packed, whole = kind == np.bool_, kind.itemsize * depth * plane <= KEPT_BYTES
    inside = np.zeros(depth, np.int64)
    part, largest = 0, 0.0
    for start in range(0, depth, step):
        stop = min(depth, start + step)
        weights = load(start, stop)
        full = weights if packed else weights >= 1
        inside[start:stop] = np.count_nonzero(full.reshape(stop - start, -1), axis=1)
        if packed:
            held.append(np.packbits(weights.reshape(stop - start, -1), axis=1))
        else:
            part += int(np.count_nonzero(weights)) - int(inside[start:stop].sum())
            largest = max(largest, float(weights.max(initial=0.0)))
            if whole:
                held.append(weights)
    at = np.flatnonzero(inside)
    extent = Extent(
        voxels=depth * plane,
        inside=int(inside.sum()),
        part=part,
        first=int(at[0]) if len(at) else -1,
        last=int(at[-1]) if len(at) else -1,
        slices=len(at),
        largest=1.0 if packed and len(at) else largest,
    )
    if not held:
        return Made(shape, kind, load), extent
    kept = np.concatenate(held)

    def bits(start: int, stop: int) -> Weights:
        rows = np.unpackbits(kept[start:stop], axis=1, count=plane)
        return rows.view(np.bool_).reshape(stop - start, *shape[1:])

    return Made(shape, kind, bits if packed else lambda start, stop: kept[start:stop]), extent


def not_empty(extent: Extent, what: str, threshold: float) -> None:
    """InputError when no voxel is inside: a region of nothing protects nothing, and somebody meant something."""
    if extent.inside:
        return
    if extent.largest > 0:
        raise InputError(
            f"{what}: the region is empty: no voxel is above the threshold {threshold:g}, the largest is"
            f" {extent.largest:.3g}; ask for a threshold below that, or check the map"
        )
    raise InputError(f"{what}: the region is empty: every voxel is 0; check the file and the class that was asked for")
