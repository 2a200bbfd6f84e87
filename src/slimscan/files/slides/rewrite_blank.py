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
        free[k] = here if k == len(levels) - 1 else here & _under_all(levels[k], levels[k + 1], free[k + 1])
    return free


def drawn_anew(levels: Sequence[Level], empty: Mapping[int, Grid]) -> int:
    """How many stored tiles of coarser levels OpenSlide's Aperio driver would draw from finer ones, given the empty ones.

    0 means that tissue is read as fast as before; the empty tiles of coarser levels themselves are drawn anew in any case.
    """
    count = 0
    missing = np.asarray(empty.get(0, np.zeros(levels[0].grid, bool)), bool)
    for k in range(1, len(levels)):
        here = np.asarray(empty.get(k, np.zeros(levels[k].grid, bool)), bool)
        above = _over_any(levels[k - 1], levels[k], missing)
        count += int((above & ~here).sum())
        missing = here | above
    return count


def _span(fine: Level, coarse: Level, axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last coarse tile that each row (axis 0) or column (1) of fine tiles touches."""
    step = coarse.shape[axis] / fine.shape[axis]
    starts = np.arange(fine.grid[axis]) * fine.tile[axis] * step
    ends = np.minimum((np.arange(fine.grid[axis]) + 1) * fine.tile[axis], fine.shape[axis]) * step
    last = coarse.grid[axis] - 1
    first = np.clip(np.floor(starts / coarse.tile[axis] + 1e-9).astype(np.int64), 0, last)
    return first, np.clip(np.ceil(ends / coarse.tile[axis] - 1e-9).astype(np.int64) - 1, first, last)


def _under_all(fine: Level, coarse: Level, free: Grid) -> Grid:
    """True for fine tiles of which every coarse tile that they touch is free."""
    held = np.pad((~free).astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (top, bottom), (left, right) = _span(fine, coarse, 0), _span(fine, coarse, 1)
    rows = held[bottom + 1] - held[top]
    return np.asarray((rows[:, right + 1] - rows[:, left]) == 0)


def _over_any(fine: Level, coarse: Level, missing: Grid) -> Grid:
    """True for coarse tiles that touch a missing fine one."""
    (top, bottom), (left, right) = _span(fine, coarse, 0), _span(fine, coarse, 1)
    out = np.zeros(coarse.grid, bool)
    rows, cols = np.nonzero(missing)
    for down in range(int((bottom - top).max(initial=0)) + 1):
        for along in range(int((right - left).max(initial=0)) + 1):
            out[np.minimum(top[rows] + down, bottom[rows]), np.minimum(left[cols] + along, right[cols])] = True
    return out
