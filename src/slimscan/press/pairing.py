"""Whether two volumes may be compared: one shape, one place, finite numbers; else a sentence that names both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import GeometryError, InputError
from slimscan.nouns import Pixels, Volume


def not_finite(plane: Pixels) -> tuple[int, int]:
    """How many samples are NaN or infinite, and the flat index of the first; (0, 0) for none."""
    if plane.dtype.kind != "f":
        return 0, 0
    bad = np.flatnonzero(~np.isfinite(plane))
    return (bad.size, int(bad[0])) if bad.size else (0, 0)


def refuse_nan(volume: Volume, bad: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> None:
    """InputError with the count and the first index when any slice has bad samples. bad: not_finite of each slice."""
    count = sum(found for found, _ in bad)
    if count:
        z = next(z for z, (found, _) in enumerate(bad) if found)
        where = (z, *(int(i) for i in np.unravel_index(bad[z][1], shape[1:])))
        raise InputError(
            f"{_name(volume)}: {count} of {math.prod(shape)} samples are NaN or infinite, the first at {where} "
            "(z, y, x); replace them by numbers before comparing"
        )


def same_shape(reference: Volume, test: Volume) -> tuple[int, ...]:
    """The shape of both; InputError when they differ, are empty, or hold no real numbers."""
    shape = reference.shape
    if shape != test.shape:
        raise InputError(
            f"{_name(reference)} has the shape {shape} and {_name(test, 'the test')} has {test.shape} (z, y, x); "
            "only images of one shape can be compared"
        )
    if len(shape) not in (3, 4) or math.prod(shape) == 0:
        raise InputError(f"{_name(reference)} has the shape {shape}; allowed: (z, y, x) or (z, y, x, c), not empty")
    for volume, name in ((reference, _name(reference)), (test, _name(test, "the test"))):
        if volume.pixels.dtype.kind not in "iubf":
            raise InputError(f"{name} holds samples of type {volume.pixels.dtype}; allowed: integers, bool and floats")
    return shape


def same_place(reference: Volume, test: Volume) -> None:
    """GeometryError when a corner voxel of one lies over a hundredth of a voxel away from that of the other."""
    ends = [(0, n - 1) for n in reversed(reference.shape[:3])]
    corners = np.array(np.meshgrid(*ends, [1.0])).reshape(4, -1)
    apart = float(np.abs((_affine(reference) - _affine(test)) @ corners)[:3].max())
    if not apart <= 0.01 * max(min(reference.spacing_mm), 1e-9):
        raise GeometryError(
            f"{_name(reference)} and {_name(test, 'the test')} have one shape but lie up to {apart:.4g} mm apart; "
            "bring them to one grid, or compare voxel by voxel with ignore_geometry=True"
        )


def _affine(volume: Volume) -> NDArray[np.float64]:
    return np.asarray(volume.affine_mm, np.float64)


def mask_volume(reference: Volume, mask: Volume | Pixels | None) -> Volume | None:
    """The mask as a volume; InputError when it is not of the reference's (z, y, x)."""
    if mask is None:
        return None
    volume = mask if isinstance(mask, Volume) else Volume(np.asarray(mask), source="the mask")
    if volume.shape != reference.shape[:3]:
        raise InputError(
            f"{_name(volume, 'the mask')} has the shape {volume.shape} and {_name(reference)} has "
            f"{reference.shape[:3]} (z, y, x); give a mask of that shape"
        )
    return volume


def _name(volume: Volume, otherwise: str = "the reference") -> str:
    return volume.source or otherwise
