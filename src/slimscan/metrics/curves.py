"""What the choice of slices does, and which slices are hard (Cunha 2023, Figs 10 and 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError
from slimscan.metrics.masks import Spacing, as_mask, as_spacing, slices_of, within
from slimscan.metrics.segmentation import defined_mean, jaccard_per_slice


@dataclass(frozen=True)
class ValidSlices:
    """How many slices stay as the threshold on their Jaccard index rises.

    thresholds: ascending. counts: slices with Jaccard >= threshold. slices: all slices of the volume. annotated: those
    that are not empty in both masks; at threshold 0 just these stay. iaov: mean Jaccard of the slices that stay, NaN
    where none does; it rises with the threshold by construction.
    """

    thresholds: tuple[float, ...]
    counts: tuple[int, ...]
    iaov: tuple[float, ...]
    slices: int
    annotated: int

    @property
    def percent(self) -> tuple[float, ...]:
        """counts as a percentage of all slices of the volume: the axis of Fig. 10."""
        return tuple(100 * n / self.slices for n in self.counts)


@dataclass(frozen=True)
class Difficulty:
    """One entry for every slice that is not empty in both masks.

    slices: its index. annotations: connected pieces (8 neighbours) in the first mask. mean_area: foreground of the
    first mask / annotations, in mm^2; NaN without annotations. jaccard: agreement of the two masks.
    """

    slices: NDArray[np.int64]
    annotations: NDArray[np.int64]
    mean_area: NDArray[np.float64]
    jaccard: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Slices whose key lies in low <= key < high (the last bin: <= high), and their mean Jaccard (NaN for none)."""

    low: float
    high: float
    slices: int
    mean: float


def valid_slices(
    first: ArrayLike, second: ArrayLike, thresholds: Sequence[float] | NDArray[np.float64] | None = None
) -> ValidSlices:
    """Slices that stay against the threshold on the Jaccard index of two masks of one image.

    first, second: (z, y, x), or (y, x) for one slice. thresholds: 0 to 1, sorted here; 0, 0.01, ... 1 when not given.
    Slices that are empty in both masks have no Jaccard and never stay. InputError: see metrics.masks, or no
    thresholds. Source: Cunha 2023, eq. 4 and Fig. 10.
    """
    limits = (
        [n / 100 for n in range(101)] if thresholds is None else [within(t, 0, 1, "thresholds") for t in thresholds]
    )
    if not limits:
        raise InputError("thresholds is empty; give at least one number from 0 to 1")
    limits.sort()
    per_slice = jaccard_per_slice(first, second)
    kept = [per_slice >= limit for limit in limits]
    return ValidSlices(
        thresholds=tuple(limits),
        counts=tuple(int(np.count_nonzero(k)) for k in kept),
        iaov=tuple(defined_mean(per_slice[k]) for k in kept),
        slices=len(per_slice),
        annotated=int(np.count_nonzero(~np.isnan(per_slice))),
    )


def difficulty(first: ArrayLike, second: ArrayLike, spacing_mm: Spacing = 1.0) -> Difficulty:
    """Agreement of two masks of one image, slice by slice, beside the number and the size of the annotations.

    first: the reference, whose annotations are counted; second: its repetition. (z, y, x), or (y, x) for one slice.
    spacing_mm: along the array's axes; the default gives areas in pixels. Slices that are empty in both masks are left
    out; all empty gives empty arrays. InputError: see metrics.masks. Source: Cunha 2023, Fig. 14.
    """
    from scipy import ndimage

    jaccard = jaccard_per_slice(first, second)
    voxels = as_mask(first)
    pixel = float(np.prod(as_spacing(spacing_mm, voxels.ndim)[-2:]))
    planes = slices_of(voxels)
    kept = np.flatnonzero(~np.isnan(jaccard))
    annotations = np.array([ndimage.label(planes[z], np.ones((3, 3)))[1] for z in kept], np.int64)
    area = np.array([np.count_nonzero(planes[z]) for z in kept], np.float64) * pixel
    mean_area = np.divide(area, annotations, out=np.full(len(kept), np.nan), where=annotations > 0)
    return Difficulty(kept, annotations, mean_area, jaccard[kept])


def binned(key: ArrayLike, value: ArrayLike, edges: Sequence[float]) -> tuple[Bin, ...]:
    """The mean value of the entries in each bin of the key; entries with a NaN in either, or outside, are left out.

    key, value: 1-D, the same length (Difficulty.annotations and .jaccard, say). edges: ascending, at least two.
    InputError: other shapes or edges.
    """
    where, what, limits = (np.asarray(a, np.float64) for a in (key, value, edges))
    if where.ndim != 1 or where.shape != what.shape:
        raise InputError(f"key is {where.shape} and value is {what.shape}; give two lists of one length")
    if limits.ndim != 1 or limits.size < 2 or not (np.diff(limits) > 0).all():
        raise InputError(f"edges is {list(edges)}; give at least two numbers, each above the one before")
    where, what = where[~np.isnan(what)], what[~np.isnan(what)]
    bins = []
    for n, (low, high) in enumerate(zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)):
        inside = (where >= low) & ((where <= high) if n == limits.size - 2 else (where < high))
        bins.append(Bin(low, high, int(np.count_nonzero(inside)), defined_mean(what[inside])))
    return tuple(bins)
