"""A picture of what is left out: the slide, with tiles that go covered by a blue haze and tissue outlined in red."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.regions.tissue.grid import Tissue

HAZE = (70, 130, 200)
EDGE = (200, 30, 30)
_HALF = 0.55  # how much of the haze covers the picture


def left_out(
    picture: NDArray[np.uint8], tissue: Tissue, grid: NDArray[np.bool_], level: tuple[int, int], tile: tuple[int, int]
) -> NDArray[np.uint8]:
    """uint8 (h, w, 3): `picture`, the slide at any size, with the tiles of `grid` (rows, columns) that go under a haze.

    level: (height, width) of the level whose grid it is, tile: of a tile there. The tissue's edge is drawn as one pixel of
    the picture. InputError: a picture that is no RGB, a grid of another level.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise InputError(f"the picture is {picture.shape}; want RGB (h, w, 3) with pixels")
    want = (-(-level[0] // tile[0]), -(-level[1] // tile[1]))
    if grid.shape != want:
        raise InputError(f"the grid is {grid.shape}, and a level of {level} in tiles of {tile} has {want}")
    h, w = picture.shape[:2]
    rows = ((np.arange(h) + 0.5) * level[0] / h / tile[0]).astype(np.int64)
    columns = ((np.arange(w) + 0.5) * level[1] / w / tile[1]).astype(np.int64)
    gone = grid[np.ix_(rows, columns)]
    out = picture.astype(np.float64)
    out[gone] += (np.array(HAZE) - out[gone]) * _HALF
    # Every tile that goes has a border of its own, so that its size can be seen.
    border = np.zeros((h, w), bool)
    border[1:] |= (rows[1:] != rows[:-1])[:, None]
    border[:, 1:] |= (columns[1:] != columns[:-1])[None]
    out[border & gone] = HAZE
    out[_edges(tissue, h, w)] = EDGE
    return np.rint(out).astype(np.uint8)


def _edges(tissue: Tissue, h: int, w: int) -> NDArray[np.bool_]:
    rows = ((np.arange(h) + 0.5) * tissue.shape[0] / h / tissue.step[0]).astype(np.int64)
    columns = ((np.arange(w) + 0.5) * tissue.shape[1] / w / tissue.step[1]).astype(np.int64)
    last = tissue.pixels.shape
    here = tissue.pixels[np.ix_(np.minimum(rows, last[0] - 1), np.minimum(columns, last[1] - 1))]
    found = np.zeros((h, w), bool)
    found[1:] |= here[1:] != here[:-1]
    found[:, 1:] |= here[:, 1:] != here[:, :-1]
    return found
