"""Grids of segmentations: a mask's voxels on a series' grid without resampling, and sparse frames on a whole grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import GeometryError
from slimscan.files.dicom import geometry
from slimscan.files.dicom.geometry import SPACING_TOLERANCE, Plane
from slimscan.nouns import Pixels, Volume

_TOLERANCE = 0.05  # of a voxel, at the corners: NIfTI headers keep affines as float32, some writers fewer digits
Matrix = NDArray[np.float64]


def onto(mask: Volume, pixels: Pixels, series: Volume) -> Pixels:
    """The mask's pixels (z, y, x) in the voxel order of the series, axes swapped and turned as the affines say.

    GeometryError with the first difference when the voxels of the two do not coincide: nothing is resampled.
    """
    order, flips = turn(mask, series)
    return np.ascontiguousarray(pixels.transpose(order)[flips])


def turn(mask: Volume, series: Volume) -> tuple[tuple[int, int, int], tuple[slice, slice, slice]]:
    """How the mask's array (z, y, x) becomes the series': pixels.transpose(order)[flips]. GeometryError as for `onto`."""
    step = np.linalg.inv(series.affine_mm) @ mask.affine_mm  # mask voxel (x, y, z) -> series voxel (x, y, z)
    matrix = step[:3, :3]
    axes = [int(axis) for axis in np.argmax(np.abs(matrix), axis=0)]  # of the series, for each axis of the mask
    said = f"{mask.source or 'mask'}: is not on the grid of {series.source}"
    way_out = "masks are never resampled here; resample it onto the series with the program that made it"
    if sorted(axes) != [0, 1, 2]:
        raise GeometryError(f"{said}: its axes lie at an angle to the series' axes; {way_out}")
    signs = [int(np.sign(matrix[axis, k])) for k, axis in enumerate(axes)]
    sizes = mask.shape[2::-1]
    turned = [sizes[axes.index(axis)] for axis in range(3)]
    wanted = list(series.shape[2::-1])
    # Where the mask's first and last voxels lie in the series, against where they should.
    exact = np.eye(4)
    exact[:3, :3] = 0.0
    for k, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        exact[axis, k] = sign
        exact[axis, 3] = 0.0 if sign > 0 else wanted[axis] - 1
    scale = [float(np.linalg.norm(matrix[:, k])) for k in range(3)]
    spacings = np.sqrt((np.asarray(mask.affine_mm)[:3, :3] ** 2).sum(axis=0))
    corners = np.array(
        [[x, y, z, 1.0] for x in (0, sizes[0] - 1) for y in (0, sizes[1] - 1) for z in (0, sizes[2] - 1)]
    )
    off = float(np.abs((step - exact) @ corners.T)[:3].max())
    if turned == wanted and off <= _TOLERANCE:
        # The mask's array axis for each of the series' (z, y, x), and whether it runs the other way.
        z, y, x = (2 - axes.index(2 - axis) for axis in range(3))
        dz, dy, dx = (slice(None, None, -1 if signs[axes.index(2 - axis)] < 0 else 1) for axis in range(3))
        return (z, y, x), (dz, dy, dx)
    if turned != wanted:
        why = f"{' x '.join(map(str, turned[::-1]))} voxels (z, y, x), the series has {' x '.join(map(str, wanted[::-1]))}"
    elif max(abs(one - 1) for one in scale) * max(sizes) > _TOLERANCE:
        theirs = [float(spacings[axes.index(2 - axis)]) for axis in range(3)]
        why = f"spacing {_mm(theirs)}, the series has {_mm(series.spacing_mm)} (z, y, x)"
    elif max(float(np.linalg.norm(matrix[:, k] - exact[:3, k])) for k in range(3)) * max(sizes) > _TOLERANCE:
        angle = np.degrees(np.arccos(np.clip(min(abs(matrix[axes[k], k]) / scale[k] for k in range(3)), -1, 1)))
        why = f"turned by {angle:.3f} degrees against the series"
    else:
        why = f"shifted by up to {off:.3f} voxels against the series"
    raise GeometryError(f"{said}: {why}; {way_out}")


def spread(
    planes: Sequence[Plane], declared: float | None, before: int = 0, after: int = 0
) -> tuple[list[int], Matrix, int]:
    """(slice of each frame, affine, number of slices) of frames that may leave slices out and share others.

    declared: SpacingBetweenSlices; None without. before, after: slices known to lie outside the frames. Without a usable
    spacing the smallest gap counts. GeometryError: positions that are on no regular grid, a tilt, mixed orientations.
    """
    normal = planes[0].normal
    depths = np.array([np.asarray(plane.position) @ normal for plane in planes])
    order = np.argsort(depths, kind="stable")
    near = 1e-3 * min(planes[0].spacing)
    levels: list[float] = []
    level_of = np.empty(len(planes), np.int64)
    first: list[int] = []
    for k in order:
        if not levels or depths[k] - levels[-1] > near:
            levels.append(float(depths[k]))
            first.append(int(k))
        level_of[k] = len(levels) - 1
    at = _on_steps(np.array(levels), declared or planes[0].thickness)
    if before + at[-1] + after >= 65535:
        raise GeometryError(f"the frames span {before + at[-1] + after + 1} slices; allowed: 65535")
    span = at[-1] + 1
    step = (levels[-1] - levels[0]) / at[-1] if at[-1] else declared or planes[0].thickness or 1.0
    held = {index: planes[k] for index, k in zip(at, first, strict=True)}
    origin = np.asarray(planes[first[0]].position)

    def plane(index: int) -> Plane:
        if index in held:
            return replace(held[index], thickness=step)
        x, y, z = origin + index * step * normal
        return replace(planes[first[0]], name=f"slice {index}", position=(float(x), float(y), float(z)), thickness=step)

    _, affine_mm = geometry.stack([plane(index) for index in range(-before, span + after)])
    _agree(planes, [planes[first[int(level)]] for level in level_of])
    return [at[int(level)] + before for level in level_of], affine_mm, before + span + after


def _on_steps(levels: Matrix, declared: float | None) -> list[int]:
    """Whole steps from the first level; GeometryError when there is no common step."""
    if len(levels) == 1:
        return [0]
    smallest = float(np.diff(levels).min())
    for step in (declared, smallest):
        if not step or step <= 0:
            continue
        at = np.rint((levels - levels[0]) / step)
        exact = (levels[-1] - levels[0]) / at[-1] if at[-1] else step
        even = np.abs(levels - levels[0] - at * exact).max() <= 2 * SPACING_TOLERANCE * exact
        if even and (np.diff(at) >= 1).all() and abs(exact - step) <= SPACING_TOLERANCE * step:
            return [int(index) for index in at]
    raise GeometryError(
        f"the frames lie on no regular grid: gaps of {smallest:.3f} to {float(np.diff(levels).max()):.3f} mm are no"
        f" multiples of {f'{declared:.3f} (as declared) or ' if declared else ''}{smallest:.3f} mm"
    )


def _agree(planes: Sequence[Plane], firsts: Sequence[Plane]) -> None:
    """GeometryError naming the first frame that does not lie where the first frame of its slice does."""
    for plane, first in zip(planes, firsts, strict=True):
        cosines = np.subtract(plane.along_row + plane.along_column, first.along_row + first.along_column)
        aside = np.linalg.norm(np.subtract(plane.position, first.position)) / min(first.spacing)
        if np.abs(cosines).max() > 1e-4 or aside > 0.1 or not np.allclose(plane.spacing, first.spacing, rtol=1e-4):
            raise GeometryError(f"{plane.name} has another place, orientation or pixel spacing than {first.name}")


def _mm(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.5g}" for value in values) + " mm"
