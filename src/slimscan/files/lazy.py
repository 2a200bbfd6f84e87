"""Pixels that stay on disk until slices are asked for, and volumes taken a few slices at a time.

Every reader hands out pixels in the byte order of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimscan.nouns import Lazy, Pixels, Volume

SLAB_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class Slices:
    """A `Lazy` made of load(start, stop), which returns slices start..stop-1 along z and may run in several threads.

    cheap: the slices lie there uncompressed, so that reading one again costs less than keeping it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[int, int], Pixels]
    cheap: bool = False

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice) -> Pixels:
        start, stop, step = index.indices(self.shape[0])
        if step < 1:
            raise ValueError("slices on disk are read forwards: the step must be positive")
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return self.load(start, stop)[::step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        return np.asarray(self[0 : self.shape[0]], dtype)


def native(pixels: Pixels | Lazy) -> Pixels | Lazy:
    """The pixels in this machine's byte order: themselves, or swapped slice by slice as they are asked for."""
    if pixels.dtype.isnative:
        return pixels
    dtype = pixels.dtype.newbyteorder("=")
    return Slices(pixels.shape, dtype, lambda start, stop: pixels[start:stop].astype(dtype))


def slabs(volume: Volume, slab_bytes: int = SLAB_BYTES) -> Iterator[Pixels]:
    """The volume from first to last slice in arrays (z, y, x[, c]) of about `slab_bytes` in memory."""
    depth, *plane = volume.shape
    slice_bytes = int(np.prod(plane, dtype=np.int64)) * volume.pixels.dtype.itemsize
    step = max(1, slab_bytes // max(1, slice_bytes))
    for start in range(0, depth, step):
        yield np.ascontiguousarray(volume.slices(start, min(start + step, depth)))
