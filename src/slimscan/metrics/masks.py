"""What comes in as a mask: checked once, at the door of every metric of masks.

A mask is an array (z, y, x), or (y, x), or (x); lists are taken too. Every value but 0 is foreground, so a label image
counts as the union of its labels: pick one with `labels == 3`. A spacing follows the axes of the array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError

Mask = NDArray[np.bool_]
Box = tuple[slice, ...]
Spacing = float | Sequence[float] | NDArray[np.floating[Any]]


def as_mask(mask: ArrayLike, name: str = "the mask") -> Mask:
    """The mask as bool, without a copy when it is bool already.

    InputError: no voxels, more than three axes, no numbers, NaN, or fractions (a probability map has no foreground
    until a threshold is chosen).
    """
    voxels = np.asarray(mask)
    if voxels.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {voxels.dtype}; allowed: bool, integers, or floats that hold whole numbers")
    if not 1 <= voxels.ndim <= 3 or voxels.size == 0:
        raise InputError(f"{name} is {voxels.shape}; give an array (z, y, x), (y, x) or (x) with at least one voxel")
    if voxels.dtype.kind == "f":
        if np.isnan(voxels).any():
            raise InputError(f"{name} holds NaN; a voxel is 0 (background) or not (foreground): replace the NaN first")
        if not np.array_equal(voxels, np.rint(voxels)):
            raise InputError(f"{name} holds fractions; give 0 and 1, or choose a threshold first: mask > 0.5")
    return voxels if voxels.dtype == bool else np.asarray(voxels != 0)


def as_masks(x: ArrayLike, y: ArrayLike) -> tuple[Mask, Mask]:
    """Two masks of one shape as bool; InputError as for as_mask, or when the shapes differ."""
    first, second = as_mask(x, "the first mask"), as_mask(y, "the second mask")
    if first.shape != second.shape:
        raise InputError(
            f"the first mask is {first.shape} and the second is {second.shape}; give two masks on one grid"
        )
    return first, second


def slices_of(mask: Mask) -> Mask:
    """The mask as (z, y, x): a single slice (y, x) becomes (1, y, x); InputError for a row."""
    if mask.ndim == 1:
        raise InputError(f"the mask is {mask.shape}; measures of slices take (z, y, x), or one slice (y, x)")
    return mask if mask.ndim == 3 else mask[None]


def as_spacing(spacing_mm: Spacing, ndim: int) -> NDArray[np.float64]:
    """Distances between voxel centres along each axis of the array, in mm; one number stands for all axes.

    InputError: another count than axes, or a distance that is not a number above 0.
    """
    steps = np.asarray(spacing_mm)
    if steps.dtype.kind not in "iuf" or steps.ndim > 1 or (steps.ndim == 1 and steps.size != ndim):
        raise InputError(
            f"spacing_mm is {spacing_mm!r}; give {ndim} distances in mm, one for each axis of the array, or one for all"
        )
    steps = np.broadcast_to(steps.astype(np.float64), (ndim,))
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise InputError(f"spacing_mm is {spacing_mm!r}; every distance must be a number of mm above 0")
    return steps


def within(value: float, low: float, high: float, name: str) -> float:
    """The value as float; InputError when it is outside low..high or NaN."""
    number = float(value)
    if not low <= number <= high:
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InputError(f"{name} is {value!r}; give a number {limits}")
    return number


def bounding_box(*masks: Mask) -> Box | None:
    """The smallest box that holds the foreground of all masks, as slices; None when there is none."""
    box: list[slice] = []
    parts = list(masks)
    for axis in range(masks[0].ndim):
        others = tuple(a for a in range(masks[0].ndim) if a != axis)
        found = np.flatnonzero(np.logical_or.reduce([part.any(axis=others) for part in parts]))
        if found.size == 0:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
        # Later axes look only at what is left: for a thin object the first cut already removes most.
        parts = [part[(slice(None),) * axis + (box[-1],)] for part in parts]
    return tuple(box)
