"""Distances between two masks in mm: over all foreground voxels, over border voxels, and over surfaces.

Three definitions of "the points of a mask" are in use, and they give different numbers. Here, by name:
  all foreground voxels        average_hausdorff                  (Cunha 2023; EvaluateSegmentation)
  border voxels, face rule     hausdorff, smbd, border_distances  (El Khoury 2021; MedPy with connectivity 1)
  corners of the voxel grid,   normalized_surface_dice            (surface-distance; Nikolov 2018)
  weighted with surface area
A border voxel is a foreground voxel with a face neighbour that is background or outside the array. Distances are exact
and run between voxel centres.

The empty cases: with both masks empty a distance is 0 and a surface Dice NaN; with one empty a distance is inf and a
surface Dice 0. Cost: one byte a voxel for a working copy, and for masks that lie far apart 12 bytes for every voxel of
their joint bounding box; otherwise only border voxels count (see metrics.nearest).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.metrics.masks import Mask, Spacing, as_masks, as_spacing, bounding_box, within
from slimscan.metrics.metric import Metric
from slimscan.metrics.nearest import border, distances
from slimscan.metrics.surfels import corner_codes, surfel_areas

Directed = tuple[NDArray[np.float64], NDArray[np.float64]]


def average_hausdorff(x: ArrayLike, y: ArrayLike, spacing_mm: Spacing) -> float:
    """Average Hausdorff distance over all foreground voxels, in mm: (mean_x min_y |x - y| + mean_y min_x |x - y|) / 2.

    x, y: masks of one shape. spacing_mm: steps along the array's axes (z, y, x); 1 gives voxels. Both empty: 0; one
    empty: inf. InputError: see metrics.masks. Source: Cunha 2023, eq. 2-3. MedPy has no such measure: its assd is over
    border voxels and pools both directions.
    """
    first, second, steps = _cropped(x, y, spacing_mm)
    return _half_sum(_foreground(first, second, steps), _foreground(second, first, steps))


def border_distances(x: ArrayLike, y: ArrayLike, spacing_mm: Spacing) -> Directed:
    """From every border voxel of x to the nearest border voxel of y in mm, and from those of y to x; two 1-D arrays.

    hausdorff and smbd are made of these. MedPy's assd is the mean of both arrays joined. One empty: the other's
    distances are inf. Inputs and errors as for average_hausdorff.
    """
    first, second, steps = _cropped(x, y, spacing_mm)
    edge_x, edge_y = border(first), border(second)
    return distances(edge_x, edge_y, steps), distances(edge_y, edge_x, steps)


def smbd(x: ArrayLike, y: ArrayLike, spacing_mm: Spacing) -> float:
    """Symmetric mean boundary distance in mm: the two directed means over border voxels, averaged.

    Inputs, empty cases and errors as for average_hausdorff. Source: El Khoury 2021, eq. 3-5. The same as the mean of
    MedPy's asd(x, y) and asd(y, x); its assd weighs the directions by their number of voxels. surface-distance
    averages over surface area at grid corners and gives the two directions apart.
    """
    return _half_sum(*border_distances(x, y, spacing_mm))


def hausdorff(
    x: ArrayLike, y: ArrayLike, spacing_mm: Spacing, percentile: float = 100.0, pooled: bool = False
) -> float:
    """Hausdorff distance between the borders in mm: the larger of the two directed `percentile`s; 95 gives HD95.

    percentile: 0 to 100, linear between order statistics. pooled: the percentile of both directions joined, as MedPy's
    hd95 takes it; the same at 100. MONAI takes the larger of the two; surface-distance too, weighted with area.
    Inputs, empty cases and errors as for average_hausdorff. Source: Huttenlocher 1993; Maier-Hein 2024, Metrics
    Reloaded (HD95).
    """
    share = within(percentile, 0, 100, "percentile")
    to_y, to_x = border_distances(x, y, spacing_mm)
    groups = [np.concatenate((to_y, to_x))] if pooled else [to_y, to_x]
    if to_y.size == 0 and to_x.size == 0:
        return 0.0
    if to_y.size == 0 or to_x.size == 0:
        return math.inf
    return max(float(np.percentile(group, share)) for group in groups)


def normalized_surface_dice(x: ArrayLike, y: ArrayLike, spacing_mm: Spacing, tolerance_mm: float) -> float:
    """The share of both surfaces that lies within tolerance_mm of the other, by area; from 0 to 1.

    x, y: masks of one shape, (z, y, x) or (y, x). Points are the corners of the voxel grid that the surface runs
    through, each with its piece of area; a distance equal to the tolerance counts as within. Both empty: NaN; one
    empty: 0. InputError: see metrics.masks, a single row, or a tolerance below 0. Source: Nikolov 2018,
    arXiv:1809.04430. The same values as surface-distance; MONAI counts border voxels without weights.
    """
    tolerance = within(tolerance_mm, 0, math.inf, "tolerance_mm")
    first, second, steps = _cropped(x, y, spacing_mm)
    within(first.ndim, 2, 3, "the number of axes of the masks")
    codes = corner_codes(first), corner_codes(second)
    full = (1 << (1 << first.ndim)) - 1
    on_x, on_y = ((code != 0) & (code != full) for code in codes)
    area = surfel_areas(steps)
    area_x, area_y = area[codes[0][on_x]], area[codes[1][on_y]]
    total = float(area_x.sum() + area_y.sum())
    if total == 0:
        return math.nan
    # Corners lie on a grid of the same steps. 1e-9 mm lets a distance that equals the tolerance on paper count.
    close_x = distances(on_x, on_y, steps) <= tolerance + 1e-9
    close_y = distances(on_y, on_x, steps) <= tolerance + 1e-9
    return float(area_x[close_x].sum() + area_y[close_y].sum()) / total


def _cropped(x: ArrayLike, y: ArrayLike, spacing_mm: Spacing) -> tuple[Mask, Mask, NDArray[np.float64]]:
    """Both masks in their joint bounding box; outside it there is neither a point nor a target."""
    first, second = as_masks(x, y)
    steps = as_spacing(spacing_mm, first.ndim)
    box = bounding_box(first, second)
    if box is None:
        box = tuple(slice(0, 1) for _ in first.shape)
    return first[box], second[box], steps


def _foreground(points: Mask, targets: Mask, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """From all foreground voxels of `points`. Seen from outside, the nearest voxel of a mask is on its border."""
    outside = np.asarray(points & ~targets)
    found = np.zeros(int(np.count_nonzero(points)))
    found[outside[points]] = distances(outside, border(targets), steps)
    return found


def _half_sum(to_y: NDArray[np.float64], to_x: NDArray[np.float64]) -> float:
    if to_y.size == 0 and to_x.size == 0:
        return 0.0
    if to_y.size == 0 or to_x.size == 0:
        return math.inf
    return (float(to_y.mean()) + float(to_x.mean())) / 2


METRICS = (
    Metric(
        "average_hausdorff", "Average Hausdorff distance", "mm", "lower", 0.0, math.inf,
        "(mean_x min_y |x - y| + mean_y min_x |x - y|) / 2 over all foreground voxels",
        "Cunha 2023, eq. 2-3", average_hausdorff, "mask",
    ),
    Metric(
        "hausdorff", "Hausdorff distance", "mm", "lower", 0.0, math.inf,
        "max of the two directed percentiles (100, or 95 for HD95) over border voxels",
        "Huttenlocher, Klanderman and Rucklidge 1993", hausdorff, "mask",
    ),
    Metric(
        "smbd", "Symmetric mean boundary distance", "mm", "lower", 0.0, math.inf,
        "(mean over border of X to border of Y + mean over border of Y to border of X) / 2",
        "El Khoury 2021, eq. 3-5", smbd, "mask",
    ),
    Metric(
        "normalized_surface_dice", "Normalised surface Dice", "", "higher", 0.0, 1.0,
        "area of both surfaces within a tolerance of the other / area of both surfaces",
        "Nikolov 2018, arXiv:1809.04430", normalized_surface_dice, "mask",
    ),
)  # fmt: skip
