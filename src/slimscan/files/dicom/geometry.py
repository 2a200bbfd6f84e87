"""Planes in space become one regular volume, or a sentence that names the plane that does not fit.

Slices are sorted by their position along the normal, never by name or number. Nothing is resampled or guessed: a gap,
a double, a tilt or a plane of another kind is a GeometryError with the slice, its position and what was expected.
Geometry is DICOM's LPS on the way in (PS3.3 C.7.6.2.1.1) and RAS+ in the affine on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import GeometryError

SPACING_TOLERANCE = 0.05  # of the spacing between slices: scanners write positions that jitter by hundredths of a mm
_NO_GAP = 1e-4  # mm
_COSINE_TOLERANCE = 1e-4  # 0.03 mm at the edge of a 300 mm field
_SIDEWAYS_TOLERANCE = 0.1  # of a pixel, over the whole stack
_DRIFT_TOLERANCE = 0.25  # of the spacing: how far any slice may lie from its place in the regular grid
FRAMES = "frames for themselves"  # what stands in about["dicom"]["geometry"] when geometry was not asked for
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Vector = NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice in LPS mm. position: centre of the first pixel. along_row, along_column: unit vectors of growing x, y.

    spacing: (between rows, between columns). thickness: SpacingBetweenSlices or SliceThickness, None when unknown.
    name: what messages call it.
    """

    name: str
    position: tuple[float, float, float]
    along_row: tuple[float, float, float]
    along_column: tuple[float, float, float]
    spacing: tuple[float, float]
    thickness: float | None = None

    @property
    def normal(self) -> Vector:
        """along_row x along_column."""
        return np.cross(np.asarray(self.along_row), np.asarray(self.along_column))


def stack(planes: Sequence[Plane]) -> tuple[list[int], NDArray[np.float64]]:
    """The order of the planes along their normal, and the affine voxel (x, y, z) -> RAS+ mm of the ordered stack.

    One plane takes its thickness as its extent, 1 mm when unknown. GeometryError: see the module.
    """
    alike(
        planes,
        lambda p: tuple(round(c, 3) for c in p.along_row + p.along_column),
        _same_orientation,
        "orientation",
        _cosines,
    )
    alike(planes, lambda p: tuple(round(mm, 3) for mm in p.spacing), _same_spacing, "pixel spacing", _pixel_spacing)
    normal = planes[0].normal
    positions = np.array([p.position for p in planes], np.float64)
    depths = positions @ normal
    order = [int(k) for k in np.argsort(depths, kind="stable")]
    ordered = [planes[k] for k in order]
    if len(ordered) == 1:
        return order, affine(ordered[0], normal * (ordered[0].thickness or 1.0))
    _regular(ordered, depths[order])
    _upright(ordered, positions[order], depths[order], normal)
    step = normal * (depths[order[-1]] - depths[order[0]]) / (len(order) - 1)
    return order, affine(ordered[0], step)


def affine(first: Plane, step: Vector) -> NDArray[np.float64]:
    """4x4 voxel (x, y, z) -> RAS+ mm of a stack that begins with `first` and goes on by `step` (LPS mm)."""
    lps = np.eye(4)
    lps[:3, 0] = np.asarray(first.along_row) * first.spacing[1]
    lps[:3, 1] = np.asarray(first.along_column) * first.spacing[0]
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    return np.asarray(LPS_TO_RAS @ lps)


def planes_of(affine_mm: NDArray[np.float64], slices: int) -> list[Plane]:
    """The planes that a volume with this RAS+ affine is made of; GeometryError when it is sheared or flat."""
    lps = LPS_TO_RAS @ np.asarray(affine_mm, np.float64)
    sizes = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    if not np.all(np.isfinite(lps)) or not np.all(sizes > 0):
        raise GeometryError("the affine has an axis without length; DICOM needs three axes in mm")
    unit = lps[:3, :3] / sizes
    skew = np.abs(unit.T @ unit - np.eye(3)).max()
    if skew > 1e-3:
        raise GeometryError(
            f"the axes of the affine are not at right angles (cosine {skew:.4f}); DICOM slices need right angles: resample"
        )
    row, column = _triple(unit[:, 0]), _triple(unit[:, 1])
    return [
        Plane(
            f"slice {k}",
            _triple(lps[:3, 3] + k * lps[:3, 2]),
            row,
            column,
            (float(sizes[1]), float(sizes[0])),
            float(sizes[2]),
        )
        for k in range(slices)
    ]


def alike(
    items: Sequence[T],
    rough: Callable[[T], Hashable],
    same: Callable[[T, T], bool],
    what: str,
    show: Callable[[T], str],
) -> None:
    """GeometryError naming the first item that differs from what most of the items have."""
    votes: dict[Hashable, list[T]] = {}
    for item in items:
        votes.setdefault(rough(item), []).append(item)
    usual = max(votes.values(), key=len)[0]
    odd = [item for item in items if not same(item, usual)]
    if odd:
        raise GeometryError(
            f"{_called(odd[0])} has {what} {show(odd[0])}, expected {show(usual)} as in {_called(usual)}"
            f" ({len(odd)} of {len(items)} differ); separate them into one folder each"
        )


def _regular(planes: Sequence[Plane], depths: Vector) -> None:
    gaps = np.diff(depths)
    if gaps.max() <= _NO_GAP:
        raise GeometryError(
            f"all {len(planes)} slices lie at one position, {planes[0].name} and {planes[1].name} at {depths[0]:.3f} mm;"
            " separate the phases or echoes into one folder each"
        )
    if np.all(np.abs(gaps - gaps.mean()) <= SPACING_TOLERANCE * gaps.mean()):
        usual = float(gaps.mean())
    else:
        usual = _usual_gap(gaps)
    for k, gap in enumerate(gaps):
        here, there = planes[k], planes[k + 1]
        if abs(gap - usual) <= SPACING_TOLERANCE * usual:
            continue
        between = f"{here.name} at {depths[k]:.3f} mm and {there.name} at {depths[k + 1]:.3f} mm"
        if gap <= SPACING_TOLERANCE * usual:
            raise GeometryError(
                f"two slices at one position: {between}, expected {usual:.3f} mm apart; remove the double, or separate"
                " the phases or echoes into one folder each"
            )
        steps = round(gap / usual)
        if steps > 1 and abs(gap - steps * usual) <= SPACING_TOLERANCE * usual * steps:
            missing = ", ".join(f"{depths[k] + n * usual:.3f}" for n in range(1, min(steps, 6)))
            raise GeometryError(
                f"{steps - 1} slice(s) missing between {between}: expected at {missing}{' ...' if steps > 6 else ''} mm"
                f" (spacing {usual:.3f} mm); fetch the series again"
            )
        raise GeometryError(
            f"another spacing between {between}: {gap:.3f} mm, expected {usual:.3f} mm"
            f" (tolerance {SPACING_TOLERANCE:.0%}); separate the parts into one folder each"
        )
    grid = np.linspace(depths[0], depths[-1], len(depths))
    worst = int(np.argmax(np.abs(depths - grid)))
    if abs(depths[worst] - grid[worst]) > _DRIFT_TOLERANCE * usual:
        raise GeometryError(
            f"the spacing drifts: {planes[worst].name} at {depths[worst]:.3f} mm, expected {grid[worst]:.3f} mm in a"
            f" regular stack of {usual:.3f} mm; separate the parts into one folder each"
        )


def _usual_gap(gaps: Vector) -> float:
    """The gap that most neighbours have; of two equally common ones the smaller, so that a hole is seen as a hole."""
    real = np.sort(gaps[gaps > _NO_GAP])
    counts = [int(np.sum(np.abs(real - gap) <= SPACING_TOLERANCE * gap)) for gap in real]
    best = real[int(np.argmax(counts))]
    return float(np.median(real[np.abs(real - best) <= SPACING_TOLERANCE * best]))


def _upright(planes: Sequence[Plane], positions: Vector, depths: Vector, normal: Vector) -> None:
    """Every slice straight above the first, within a tenth of a pixel."""
    tolerance = _SIDEWAYS_TOLERANCE * min(planes[0].spacing)
    sideways = positions - positions[0] - np.outer(depths - depths[0], normal)
    offsets = np.linalg.norm(sideways, axis=1)
    if offsets.max() <= tolerance:
        return
    slope = (sideways * (depths - depths[0])[:, None]).sum(axis=0) / ((depths - depths[0]) ** 2).sum()
    bent = np.linalg.norm(sideways - np.outer(depths - depths[0], slope), axis=1)
    if bent.max() <= max(tolerance, 0.05 * offsets.max()):
        angle = np.degrees(np.arctan(np.linalg.norm(slope)))
        worst = int(np.argmax(offsets))
        raise GeometryError(
            f"the stack is tilted by {angle:.2f} degrees (gantry tilt): {planes[worst].name} at {depths[worst]:.3f} mm"
            f" lies {offsets[worst]:.3f} mm beside the normal through {planes[0].name}, expected 0 mm;"
            " resample it upright first, or give single slices"
        )
    middle = np.median(sideways, axis=0)
    worst = int(np.argmax(np.linalg.norm(sideways - middle, axis=1)))
    raise GeometryError(
        f"{planes[worst].name} at {depths[worst]:.3f} mm is shifted in its plane by"
        f" {np.linalg.norm(sideways[worst] - middle):.3f} mm against the other slices, expected 0 mm; separate it"
    )


def _triple(vector: Vector) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _called(item: object) -> str:
    if isinstance(item, Plane):
        return f"{item.name} at {float(np.asarray(item.position) @ item.normal):.3f} mm"
    return str(getattr(item, "name", item))


def _same_orientation(a: Plane, b: Plane) -> bool:
    pairs = zip(a.along_row + a.along_column, b.along_row + b.along_column, strict=True)
    return all(abs(one - other) <= _COSINE_TOLERANCE for one, other in pairs)


def _same_spacing(a: Plane, b: Plane) -> bool:
    return all(abs(one - other) <= 1e-4 * other for one, other in zip(a.spacing, b.spacing, strict=True))


def _cosines(plane: Plane) -> str:
    return "\\".join(f"{value + 0.0:.4g}" for value in plane.along_row + plane.along_column)


def _pixel_spacing(plane: Plane) -> str:
    return f"{plane.spacing[0]:.5g} x {plane.spacing[1]:.5g} mm"
