"""A mask on the voxels of an image: as it is, or its axes swapped and turned exactly, slices as they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.errors import GeometryError, InputError
from slimscan.files.dicom.seggrid import turn
from slimscan.nouns import Pixels, Volume
from slimscan.nouns.image import Lazy

_REVERSED = slice(None, None, -1)


def turned(mask: Volume, volume: Volume) -> Volume:
    """The mask on the grid of the volume; one three-dimensional mask serves every frame of a volume with a time axis.

    GeometryError when voxels of the two do not coincide. InputError for several samples a voxel or frames that the image
    has not.
    """
    what = mask.source or "mask"
    if len(mask.shape) != 3:
        raise InputError(
            f"{what}: holds {mask.shape[3]} samples a voxel; a region needs one value a voxel: split the channels"
        )
    theirs, mine = int(volume.about.get("frames") or 1), int(mask.about.get("frames") or 1)
    if mine not in (1, theirs):
        raise InputError(
            f"{what}: has four dimensions with {mine} frames or channels, the image has {theirs}; give one of them"
        )
    depth = volume.shape[0] // theirs
    one = replace(volume, pixels=_Shape((depth, *volume.shape[1:3]), volume.pixels.dtype))
    part = replace(mask, pixels=_Shape((mask.shape[0] // mine, *mask.shape[1:3]), mask.pixels.dtype))
    try:
        order, flips = turn(part, one)
    except np.linalg.LinAlgError:
        raise GeometryError(
            f"{what}: its grid or that of {volume.source} has an axis without length; correct the header"
        ) from None
    if order == (0, 1, 2) and flips == (slice(None, None, 1),) * 3 and mine == theirs:
        return mask
    return replace(mask, pixels=_Turned(mask.pixels, order, flips, depth, mine, theirs), affine_mm=volume.affine_mm)


@dataclass(frozen=True)
class _Shape:
    """Pixels of which only the shape matters."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, index: slice) -> Pixels:
        raise NotImplementedError


@dataclass(frozen=True)
class _Turned:
    """Pixels with their axes swapped and turned. depth: slices of a frame; mine, theirs: frames held, frames wanted."""

    held: Pixels | Lazy
    order: tuple[int, int, int]
    flips: tuple[slice, slice, slice]
    depth: int
    mine: int
    theirs: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""
        frame = (self.held.shape[0] // self.mine, *self.held.shape[1:])
        z, y, x = (int(frame[axis]) for axis in self.order)
        return z * self.theirs, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """As held."""
        return np.dtype(self.held.dtype)

    def __getitem__(self, index: slice) -> Pixels:
        start, stop, step = index.indices(self.shape[0])
        parts = []
        at = start
        while at < stop:
            frame, z = divmod(at, self.depth)
            end = min(stop, (frame + 1) * self.depth)
            parts.append(self._frame(frame if self.mine > 1 else 0, z, z + end - at))
            at = end
        return np.concatenate(parts)[::step] if parts else np.empty((0, *self.shape[1:]), self.dtype)

    def _frame(self, frame: int, start: int, stop: int) -> Pixels:
        size = int(self.held.shape[0]) // self.mine
        first = frame * size
        if self.order[0] != 0:  # slices run along another axis of the file: all of it is needed
            whole = np.asarray(self.held[first : first + size]).transpose(self.order)[self.flips]
            return np.ascontiguousarray(whole[start:stop])
        low, high = (size - stop, size - start) if self.flips[0] == _REVERSED else (start, stop)
        part = np.asarray(self.held[first + low : first + high])
        return np.ascontiguousarray(part.transpose(self.order)[self.flips])
