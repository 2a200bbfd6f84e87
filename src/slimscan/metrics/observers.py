"""How well observers agree with themselves and with each other (Cunha 2023, eq. 4-6).

An observer segments the uncompressed image twice. Slices on which both agree (Jaccard >= threshold) are coherent, and
the paper computes on those alone: intra-observer agreement (IaOV) over the coherent slices of one observer,
inter-observer agreement (IeOV) over slices coherent for both, each observer's two masks merged by intersection first.

Two traps, hence two more numbers beside each value. Keeping slices with Jaccard >= t forces IaOV >= t, however poor the
observer: `unfiltered` is over all slices. Merging by intersection shrinks masks: `kept_by_merging` says by how much,
and `unmerged` compares the first masks as they were drawn. Choose slices from uncompressed images only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.metrics.masks import Mask, Spacing, as_mask, as_masks, slices_of, within
from slimscan.metrics.metric import Metric
from slimscan.metrics.segmentation import defined_mean, jaccard_per_slice
from slimscan.metrics.surface import average_hausdorff


@dataclass(frozen=True)
class IntraObserver:
    """One observer's two masks of the same image.

    per_slice: Jaccard of every slice, NaN where both are empty. valid: the coherent slices V (never one that is NaN).
    filtered: IaOV, the mean over V; NaN (undefined, never 0) when V is empty. unfiltered: the mean over all slices
    that are not NaN.
    """

    threshold: float
    per_slice: NDArray[np.float64]
    valid: NDArray[np.bool_]
    filtered: float
    unfiltered: float


@dataclass(frozen=True)
class InterObserver:
    """Two observers, A and B, with two masks each of the same image.

    per_slice: Jaccard of the merged masks, slice by slice. valid: slices coherent for A and for B. filtered: IeOV, the
    mean over `valid`, NaN (undefined) when there is none. unfiltered: the same merged masks over all slices.
    unmerged: the first masks of A and B over all slices. kept_by_merging: voxels of both merged masks as a share of
    the mean size of the masks they were merged from; 1 when nothing was lost, NaN when nothing was drawn.
    """

    a: IntraObserver
    b: IntraObserver
    per_slice: NDArray[np.float64]
    valid: NDArray[np.bool_]
    filtered: float
    unfiltered: float
    unmerged: float
    kept_by_merging: float


def intra_observer(first: ArrayLike, second: ArrayLike, threshold: float = 0.7) -> IntraObserver:
    """Agreement of one observer's two masks with its evidence.

    first, second: (z, y, x), or (y, x) for one slice. threshold: the smallest Jaccard of a coherent slice, 0 to 1.
    InputError: see metrics.masks. Source: Cunha 2023, eq. 4-5.
    """
    limit = within(threshold, 0, 1, "threshold")
    per_slice = jaccard_per_slice(first, second)
    valid = per_slice >= limit
    return IntraObserver(limit, per_slice, valid, defined_mean(per_slice[valid]), defined_mean(per_slice))


def inter_observer(
    a_first: ArrayLike, a_second: ArrayLike, b_first: ArrayLike, b_second: ArrayLike, threshold: float = 0.7
) -> InterObserver:
    """Agreement of two observers with its evidence; arguments as for intra_observer. Source: Cunha 2023, eq. 4-6."""
    a, b = intra_observer(a_first, a_second, threshold), intra_observer(b_first, b_second, threshold)
    merged_a, merged_b = merge(a_first, a_second), merge(b_first, b_second)
    per_slice = jaccard_per_slice(merged_a, merged_b)
    valid = np.asarray(a.valid & b.valid)
    drawn = sum(int(np.count_nonzero(as_mask(m))) for m in (a_first, a_second, b_first, b_second)) / 2
    kept = int(np.count_nonzero(merged_a)) + int(np.count_nonzero(merged_b))
    return InterObserver(
        a=a,
        b=b,
        per_slice=per_slice,
        valid=valid,
        filtered=defined_mean(per_slice[valid]),
        unfiltered=defined_mean(per_slice),
        unmerged=defined_mean(jaccard_per_slice(a_first, b_first)),
        kept_by_merging=kept / drawn if drawn else math.nan,
    )


def iaov(first: ArrayLike, second: ArrayLike, threshold: float = 0.7) -> float:
    """Intra-observer agreement: mean Jaccard over coherent slices; NaN (undefined) when there is none.

    intra_observer gives the evidence and the unfiltered value. Source: Cunha 2023, eq. 5.
    """
    return intra_observer(first, second, threshold).filtered


def ieov(
    a_first: ArrayLike, a_second: ArrayLike, b_first: ArrayLike, b_second: ArrayLike, threshold: float = 0.7
) -> float:
    """Inter-observer agreement: mean Jaccard of the merged masks over slices coherent for both; NaN when there is none.

    inter_observer gives the evidence and the unfiltered values. Source: Cunha 2023, eq. 6.
    """
    return inter_observer(a_first, a_second, b_first, b_second, threshold).filtered


def iaov_hausdorff(
    first: ArrayLike, second: ArrayLike, spacing_mm: Spacing, threshold: float = 0.7, filtered: bool = True
) -> float:
    """Intra-observer average Hausdorff distance in mm.

    filtered: voxels of slices that are not coherent are dropped from both masks first; NaN when none is coherent.
    False: over the whole masks. Arguments as for intra_observer, spacing_mm along the array's axes. Source: Cunha
    2023, after eq. 5.
    """
    valid = intra_observer(first, second, threshold).valid
    return _hausdorff(*as_masks(first, second), spacing_mm, valid if filtered else None)


def ieov_hausdorff(
    a_first: ArrayLike,
    a_second: ArrayLike,
    b_first: ArrayLike,
    b_second: ArrayLike,
    spacing_mm: Spacing,
    threshold: float = 0.7,
    filtered: bool = True,
) -> float:
    """Inter-observer average Hausdorff distance of the merged masks in mm; filtered and NaN as for iaov_hausdorff."""
    valid = inter_observer(a_first, a_second, b_first, b_second, threshold).valid
    merged_a, merged_b = merge(a_first, a_second), merge(b_first, b_second)
    return _hausdorff(merged_a, merged_b, spacing_mm, valid if filtered else None)


def merge(first: ArrayLike, second: ArrayLike) -> Mask:
    """One mask of an observer's two: the voxels drawn both times, in the masks' shape. It is never the larger one."""
    one, other = as_masks(first, second)
    return np.asarray(one & other)


def _hausdorff(x: Mask, y: Mask, spacing_mm: Spacing, valid: NDArray[np.bool_] | None) -> float:
    if valid is None:
        return average_hausdorff(x, y, spacing_mm)
    if not valid.any():
        return math.nan
    kept = valid[:, None, None]
    return average_hausdorff((slices_of(x) & kept).reshape(x.shape), (slices_of(y) & kept).reshape(y.shape), spacing_mm)


METRICS = (
    Metric(
        "iaov", "Intra-observer agreement (Jaccard)", "", "higher", 0.0, 1.0,
        "mean Jaccard of an observer's two masks over slices where it is >= threshold",
        "Cunha 2023, eq. 4-5", iaov, "observer",
    ),
    Metric(
        "ieov", "Inter-observer agreement (Jaccard)", "", "higher", 0.0, 1.0,
        "mean Jaccard of A's and B's merged masks over slices coherent for both",
        "Cunha 2023, eq. 4 and 6", ieov, "observer",
    ),
    Metric(
        "iaov_hausdorff", "Intra-observer average Hausdorff distance", "mm", "lower", 0.0, math.inf,
        "average Hausdorff distance of an observer's two masks, coherent slices only",
        "Cunha 2023, eq. 2-4 and after eq. 5", iaov_hausdorff, "observer",
    ),
    Metric(
        "ieov_hausdorff", "Inter-observer average Hausdorff distance", "mm", "lower", 0.0, math.inf,
        "average Hausdorff distance of A's and B's merged masks, slices coherent for both only",
        "Cunha 2023, eq. 2-4 and before eq. 6", ieov_hausdorff, "observer",
    ),
)  # fmt: skip
