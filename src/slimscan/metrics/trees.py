"""Thin trees, such as vessels: the centreline, its length, its branches, and how well two trees cover each other.

For vessels two voxels wide an overlap halves when one voxel is missed (Cunha 2023, Discussion); a centreline does not
feel the width. The centreline is scikit-image's: Lee 1994 in 3-D, Zhang and Suen 1984 in a slice. It ends about a
radius before the vessel does and depends a little on how the array is turned, so compare trees on one grid only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.metrics.centrelines import Links, branch_of_voxels, link, spurs
from slimscan.metrics.masks import Mask, Spacing, as_mask, as_masks, as_spacing, bounding_box, within
from slimscan.metrics.metric import Metric


@dataclass(frozen=True)
class Tree:
    """What a centreline says of a tree.

    length_mm: along the centreline through neighbouring voxels. branches: stretches between forks and ends, a piece
    without forks counts as one. forks: places where three or more branches meet. ends: free ends. pieces: parts that
    do not touch. branch_lengths_mm: of every branch, longest first; the short way through a fork belongs to none.
    """

    length_mm: float
    branches: int
    forks: int
    ends: int
    pieces: int
    branch_lengths_mm: tuple[float, ...]


def skeleton(mask: ArrayLike) -> Mask:
    """The centreline of a mask: bool, the mask's shape, one voxel wide; empty for an empty mask.

    mask: (z, y, x) or (y, x); not 0 is foreground. No piece (26 or 8 neighbours) vanishes: where thinning removes one
    whole, as it does with a cube of two voxels, its voxel nearest to its centre stays. InputError: see metrics.masks.
    """
    voxels = as_mask(mask)
    within(voxels.ndim, 2, 3, "the number of axes of the mask")
    found = np.zeros(voxels.shape, bool)
    box = bounding_box(voxels)
    if box is None:
        return found
    from scipy import ndimage
    from skimage.morphology import skeletonize

    part = voxels[box]
    thin: Mask = skeletonize(part) != 0  # type: ignore[no-untyped-call]  # scikit-image types some functions only
    labels, count = ndimage.label(part, np.ones((3,) * part.ndim))
    left = np.zeros(count + 1, bool)
    left[labels[thin]] = True
    lost = np.flatnonzero(~left[1:])
    boxes = ndimage.find_objects(labels) if lost.size else []
    for n in lost:
        piece = np.argwhere(labels[boxes[n]] == n + 1)
        centre = piece[((piece - piece.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        thin[boxes[n]][tuple(centre)] = True
    found[box] = thin
    return found


def measure_tree(mask: ArrayLike, spacing_mm: Spacing, prune_mm: float = 0.0) -> Tree:
    """Length, branches, forks, ends and pieces of the centreline of a mask.

    mask: (z, y, x) or (y, x). spacing_mm: steps along the array's axes. prune_mm: side branches that end freely and
    are shorter than this are cut first, at each fork the shortest first, for a rough surface grows such spurs; pieces
    of their own are never cut. An empty mask gives zeros. InputError: see metrics.masks, or prune_mm below 0.
    """
    voxels = as_mask(mask)
    steps = as_spacing(spacing_mm, voxels.ndim)
    shortest = within(prune_mm, 0, math.inf, "prune_mm")
    where = np.argwhere(skeleton(voxels))
    links = link(where, steps)
    while shortest > 0:
        cut = spurs(links, shortest)
        if not cut.any():
            break
        where = where[~cut]
        links = link(where, steps)
    return _tree(links)


def skeleton_length_mm(mask: ArrayLike, spacing_mm: Spacing, prune_mm: float = 0.0) -> float:
    """Length of the centreline in mm; 0 for an empty mask or a single voxel. Arguments as for measure_tree."""
    return measure_tree(mask, spacing_mm, prune_mm).length_mm


def branch_count(mask: ArrayLike, spacing_mm: Spacing = 1.0, prune_mm: float = 0.0) -> int:
    """Number of branches of the centreline; 0 for an empty mask. Arguments as for measure_tree."""
    return measure_tree(mask, spacing_mm, prune_mm).branches


def centreline_dice(x: ArrayLike, y: ArrayLike) -> float:
    """clDice: the harmonic mean of |S_x & Y| / |S_x| and |S_y & X| / |S_y|, S a centreline; from 0 to 1.

    x, y: masks of one shape, (z, y, x) or (y, x). It is symmetric. Both empty: NaN; one empty, or nothing covered: 0.
    InputError: see metrics.masks. Source: Shit 2021, clDice, arXiv:2003.07311, eq. 1-3.
    """
    first, second = as_masks(x, y)
    line_x, line_y = skeleton(first), skeleton(second)
    n_x, n_y = int(np.count_nonzero(line_x)), int(np.count_nonzero(line_y))
    if n_x == 0 and n_y == 0:
        return math.nan
    if n_x == 0 or n_y == 0:
        return 0.0
    precise = int(np.count_nonzero(line_x & second)) / n_x
    sensitive = int(np.count_nonzero(line_y & first)) / n_y
    return 2 * precise * sensitive / (precise + sensitive) if precise + sensitive else 0.0


def _tree(links: Links) -> Tree:
    _, lengths = branch_of_voxels(links)
    return Tree(
        length_mm=links.length_mm,
        branches=len(lengths),
        forks=int(np.count_nonzero(links.arms >= 3)),
        ends=links.ends,
        pieces=links.pieces,
        branch_lengths_mm=_descending(lengths),
    )


def _descending(lengths: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(sorted(lengths.tolist(), reverse=True))


METRICS = (
    Metric(
        "centreline_dice", "Centreline Dice (clDice)", "", "higher", 0.0, 1.0,
        "harmonic mean of |S_x & Y| / |S_x| and |S_y & X| / |S_y|, S the centreline",
        "Shit 2021, arXiv:2003.07311, eq. 1-3", centreline_dice, "mask",
    ),
    Metric(
        "skeleton_length_mm", "Length of the centreline", "mm", "none", 0.0, math.inf,
        "sum of steps between neighbouring voxels of the centreline; inside a fork its shortest tree",
        "Lee, Kashyap and Chu 1994 (the centreline); Cunha 2023, Discussion", skeleton_length_mm, "shape",
    ),
    Metric(
        "branch_count", "Branches of the centreline", "branches", "none", 0.0, math.inf,
        "stretches of the centreline between forks and ends",
        "Lee, Kashyap and Chu 1994 (the centreline); Cunha 2023, Discussion", branch_count, "shape",
    ),
)  # fmt: skip
