"""Tiles left out of an Aperio slide, and what readers do then.

OpenSlide's Aperio driver draws every tile of a coarser level that lies over an empty one of a finer level anew, from the finer
level (openslide-vendor-aperio.c, propagate_missing_tile, since 3.4.1), and an empty tile of a coarser level likewise: some 20
to 90 times slower than a stored one. Where a tile is empty only under tiles that are empty too, tissue is read as fast as
ever and glass alone gets slow. A shared blank tile has no such cost: it is what a slide gets unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns.slide import Level

Grid = NDArray[np.bool_]


def may_be_empty(levels: Sequence[Level], glass: Mapping[int, Grid]) -> dict[int, Grid]:
    """level -> (rows, cols), True where a tile of glass may be empty without making stored tiles of coarser levels slow.

    levels: of the slide, finest first; glass: level -> (rows, cols), True where a tile may be left out; a level that is
    missing there keeps all its tiles. One level: all its glass.
    """
    free: dict[int, Grid] = {}
    for k in range(len(levels) - 1, -1, -1):
        here = np.asarray(glass.get(k, np.zeros(levels[k].grid, bool)), bool)
        free[k] = here if k == len(levels) - 1 else here & _above(levels[k], levels[k + 1], free[k + 1], beyond=True)
    return free


def drawn_anew(levels: Sequence[Level], empty: Mapping[int, Grid]) -> int:
    """How many stored tiles of coarser levels OpenSlide's Aperio driver would draw from finer ones, given the empty ones.

    0 means that tissue is read as fast as before; the empty tiles of coarser levels themselves are drawn anew in any case.
    """
    count = 0
    missing = np.asarray(empty.get(0, np.zeros(levels[0].grid, bool)), bool)
    for k in range(1, len(levels)):
        here = np.asarray(empty.get(k, np.zeros(levels[k].grid, bool)), bool)
        above = np.zeros(levels[k].tiles + 1, bool)  # the last stands for places beyond the grid
        above[np.minimum(_places(levels[k - 1], levels[k])[missing], levels[k].tiles)] = True
        drawn = above[:-1].reshape(levels[k].grid)
        count += int((drawn & ~here).sum())
        missing = here | drawn
    return count


def _places(fine: Level, coarse: Level) -> NDArray[np.int64]:
    """For each fine tile (rows, cols), the number of the coarse tile that the driver counts it to.

    The driver divides by the rounded quotient of the grids, so a tile of the last columns may be counted to the next row.
    """
    down, along = (max(1, int(np.floor(a / b + 0.5))) for a, b in zip(fine.grid, coarse.grid, strict=True))
    rows, cols = np.mgrid[: fine.grid[0], : fine.grid[1]]
    return np.asarray(rows // down * coarse.grid[1] + cols // along, np.int64)


def _above(fine: Level, coarse: Level, held: Grid, *, beyond: bool) -> Grid:
    """For each fine tile, what `held` says of the coarse tile that it is counted to; `beyond` where there is none."""
    padded = np.append(held.ravel(), beyond)
    return np.asarray(padded[np.minimum(_places(fine, coarse), coarse.tiles)])
