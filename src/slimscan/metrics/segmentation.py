"""Overlap of two masks, whole or slice by slice, and the volume of one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.metrics.masks import Mask, Spacing, as_mask, as_masks, as_spacing, slices_of
from slimscan.metrics.metric import Metric


def dice(x: ArrayLike, y: ArrayLike) -> float:
    """Dice similarity coefficient 2 |X & Y| / (|X| + |Y|), from 0 (apart) to 1 (the same).

    x, y: masks of one shape, (z, y, x) or fewer axes; not 0 is foreground. Both empty: NaN, for there is nothing to
    agree on. One empty: 0. InputError: see metrics.masks. Source: El Khoury 2021, eq. 1.
    """
    first, second = as_masks(x, y)
    total = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / total if total else math.nan


def jaccard(x: ArrayLike, y: ArrayLike) -> float:
    """Jaccard index |X & Y| / |X | Y| over the whole arrays, from 0 to 1; inputs and empty cases as for dice.

    Cunha 2023 takes it slice by slice and averages: see jaccard_mean. Source: Cunha 2023, eq. 1.
    """
    return _ratio(*as_masks(x, y))


def jaccard_per_slice(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """The Jaccard index of every slice: shape (z,).

    x, y: (z, y, x), or (y, x) for one slice. A slice that is empty in both masks is NaN, to be left out of a mean; one
    that is empty in one mask is 0. InputError: see metrics.masks. Source: Cunha 2023, eq. 1.
    """
    first, second = as_masks(x, y)
    return np.array([_ratio(a, b) for a, b in zip(slices_of(first), slices_of(second), strict=True)])


def jaccard_mean(x: ArrayLike, y: ArrayLike) -> float:
    """Mean of jaccard_per_slice over the slices that are not empty in both masks; NaN when all are.

    This is the JI that Cunha 2023 prints ("computed per slice and arithmetically averaged for the entire 3D stack").
    """
    return defined_mean(jaccard_per_slice(x, y))


def defined_mean(values: NDArray[np.float64]) -> float:
    """The mean of what is not NaN; NaN when nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else math.nan


def volume_mm3(mask: ArrayLike, spacing_mm: Spacing) -> float:
    """Foreground voxels times the volume of a voxel, in mm^3 (mm^2 for a slice); 0 for an empty mask."""
    voxels = as_mask(mask)
    return int(np.count_nonzero(voxels)) * float(np.prod(as_spacing(spacing_mm, voxels.ndim)))


def volume_ml(mask: ArrayLike, spacing_mm: Spacing) -> float:
    """volume_mm3 / 1000, in millilitres."""
    return volume_mm3(mask, spacing_mm) / 1000


def _ratio(first: Mask, second: Mask) -> float:
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else math.nan


METRICS = (
    Metric(
        "dice", "Dice similarity coefficient", "", "higher", 0.0, 1.0,
        "2 |X & Y| / (|X| + |Y|)", "El Khoury 2021, eq. 1", dice, "mask",
    ),
    Metric(
        "jaccard", "Jaccard index of the volume", "", "higher", 0.0, 1.0,
        "|X & Y| / |X | Y|", "Cunha 2023, eq. 1", jaccard, "mask",
    ),
    Metric(
        "jaccard_mean", "Jaccard index, mean over slices", "", "higher", 0.0, 1.0,
        "mean over slices of |X & Y| / |X | Y|; slices that are empty in both are left out",
        "Cunha 2023, eq. 1 and the sentence after it", jaccard_mean, "mask",
    ),
    Metric(
        "volume_mm3", "Volume", "mm^3", "none", 0.0, math.inf,
        "foreground voxels times the volume of a voxel", "by definition", volume_mm3, "shape",
    ),
    Metric(
        "volume_ml", "Volume", "ml", "none", 0.0, math.inf,
        "foreground voxels times the volume of a voxel / 1000", "by definition", volume_ml, "shape",
    ),
)  # fmt: skip
