"""Lesions marked by a reader against lesions that are there (Luu 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError
from slimscan.metrics.masks import Mask, Spacing, as_mask, as_spacing, within
from slimscan.metrics.metric import Metric


@dataclass(frozen=True)
class LesionMatch:
    """Who was found. tp: matched pairs; fp: marks without a lesion; fn: lesions without a mark.

    pairs: (lesion, mark) by their index, lesions ascending. distances_mm: of those pairs.
    """

    tp: int
    fp: int
    fn: int
    pairs: tuple[tuple[int, int], ...]
    distances_mm: tuple[float, ...]

    @property
    def score(self) -> LesionScore:
        """NS and SC of this match."""
        return lesion_score(self.tp, self.fp, self.fn)


class LesionScore(NamedTuple):
    """ns: (TP - FP - FN) / lesions; sc: TP / lesions, the sensitivity. Both in percent; NaN when there is no lesion."""

    ns: float
    sc: float


def match_lesions(truth_mm: ArrayLike, marks_mm: ArrayLike, radius_mm: float = 10.0) -> LesionMatch:
    """Match marks to lesions one to one: as many pairs as possible, and of those the smallest total distance.

    truth_mm, marks_mm: points in mm, shape (n, 3) or (n, 2); an empty list is no point. radius_mm: a pair must be
    closer than this; a distance of just radius_mm (to 1e-10 mm) is no match. No lesions: every mark is false; no marks:
    every lesion is missed. The patient stays the unit of any test: never pool lesions of patients as independent.
    InputError: other shapes, no finite numbers, or a radius that is not above 0. Source: Luu 2021, section III.B.4
    (a true positive lies less than 10 mm apart); one-to-one by the assignment problem, Kuhn 1955.
    """
    radius = within(radius_mm, 0, math.inf, "radius_mm")
    if not 0 < radius < math.inf:
        raise InputError(f"radius_mm is {radius_mm!r}; give a number of mm above 0")
    truth, marks = _points(truth_mm, "truth_mm"), _points(marks_mm, "marks_mm")
    if len(truth) == 0 or len(marks) == 0:
        return LesionMatch(0, len(marks), len(truth), (), ())
    if truth.shape[1] != marks.shape[1]:
        raise InputError(
            f"truth_mm has {truth.shape[1]} coordinates a point and marks_mm {marks.shape[1]}; give the same number"
        )
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    far = cdist(truth, marks)
    near = far.round(10) < radius
    # A forbidden pair costs more than all allowed pairs together, so it is taken only when nothing else is left.
    rows, columns = linear_sum_assignment(np.where(near, far, radius * (min(far.shape) + 1)))
    taken = near[rows, columns]
    rows, columns = rows[taken], columns[taken]
    return LesionMatch(
        tp=len(rows),
        fp=len(marks) - len(rows),
        fn=len(truth) - len(rows),
        pairs=tuple(zip(rows.tolist(), columns.tolist(), strict=True)),
        distances_mm=tuple(far[rows, columns].tolist()),
    )


def lesion_score(tp: int, fp: int, fn: int) -> LesionScore:
    """Normalised score NS and sensitivity SC in percent; both NaN without lesions (tp + fn = 0).

    InputError: a count that is no whole number of at least 0. Source: Luu 2021, section III.B.4, after McCollough 2017.
    """
    for name, count in (("tp", tp), ("fp", fp), ("fn", fn)):
        if count < 0 or count != int(count):
            raise InputError(f"{name} is {count!r}; give a count, a whole number of at least 0")
    lesions = tp + fn
    if lesions == 0:
        return LesionScore(math.nan, math.nan)
    return LesionScore(100 * (tp - fp - fn) / lesions, 100 * tp / lesions)


def lesion_ns(truth_mm: ArrayLike, marks_mm: ArrayLike, radius_mm: float = 10.0) -> float:
    """Normalised score in percent, 100 when every lesion and nothing else is marked; arguments as for match_lesions."""
    return match_lesions(truth_mm, marks_mm, radius_mm).score.ns


def lesion_sensitivity(truth_mm: ArrayLike, marks_mm: ArrayLike, radius_mm: float = 10.0) -> float:
    """Sensitivity in percent, the share of lesions that are marked; arguments as for match_lesions."""
    return match_lesions(truth_mm, marks_mm, radius_mm).score.sc


def lesion_centres_mm(mask: ArrayLike, spacing_mm: Spacing) -> NDArray[np.float64]:
    """The centre of every lesion in a mask: the middle of its longest diameter, in mm from the centre of voxel 0.

    mask: (z, y, x) or (y, x); a lesion is a connected piece (26 or 8 neighbours). Rows follow the array's axes, and
    lesions its order; an empty mask gives no rows. Of equally long diameters the first counts. InputError: see
    metrics.masks. Source: Luu 2021, section III.A.
    """
    from scipy import ndimage

    voxels = as_mask(mask)
    steps = as_spacing(spacing_mm, voxels.ndim)
    labels, count = ndimage.label(voxels, np.ones((3,) * voxels.ndim))
    centres = np.empty((count, voxels.ndim))
    for n, box in enumerate(ndimage.find_objects(labels)):
        piece = np.asarray(labels[box] == n + 1)
        corner = np.array([part.start for part in box])
        centres[n] = _middle((np.argwhere(_extreme(piece)) + corner) * steps)
    return centres


def _extreme(piece: Mask) -> Mask:
    """Voxels that are first or last of the piece along every axis; the ends of its longest diameter are among them."""
    found = piece.copy()
    for axis in range(piece.ndim):
        line = np.moveaxis(piece, axis, -1)
        place = np.arange(line.shape[-1])
        first = line.argmax(axis=-1)[..., None]
        last = line.shape[-1] - 1 - line[..., ::-1].argmax(axis=-1)[..., None]
        found &= np.moveaxis((place == first) | (place == last), -1, axis)
    return found


def _middle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle between the two points that are farthest apart."""
    from scipy.spatial.distance import cdist

    longest, ends = -1.0, (points[0], points[0])
    for start in range(0, len(points), 512):
        far = cdist(points[start : start + 512], points).round(10)
        row, column = np.unravel_index(int(far.argmax()), far.shape)
        if far[row, column] > longest:
            longest, ends = float(far[row, column]), (points[start + row], points[column])
    return np.asarray((ends[0] + ends[1]) / 2)


def _points(points: ArrayLike, name: str) -> NDArray[np.float64]:
    given = np.asarray(points)
    if given.size == 0:
        return np.empty((0, 3))
    if given.dtype.kind not in "iuf" or given.ndim != 2 or given.shape[1] not in (2, 3):
        raise InputError(f"{name} is {given.shape} of {given.dtype}; give points in mm, shape (n, 3) or (n, 2)")
    found = given.astype(np.float64)
    if not np.isfinite(found).all():
        raise InputError(f"{name} holds NaN or infinity; give every point as finite numbers of mm")
    return found


METRICS = (
    Metric(
        "lesion_ns", "Normalised score of lesion marks", "%", "higher", -math.inf, 100.0,
        "(TP - FP - FN) / lesions; marks matched one to one, closer than radius_mm",
        "Luu 2021, section III.B.4, after McCollough 2017", lesion_ns, "lesion",
    ),
    Metric(
        "lesion_sensitivity", "Sensitivity of lesion marks", "%", "higher", 0.0, 100.0,
        "TP / lesions; marks matched one to one, closer than radius_mm",
        "Luu 2021, section III.B.4", lesion_sensitivity, "lesion",
    ),
)  # fmt: skip
