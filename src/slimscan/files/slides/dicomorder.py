"""In which order frames tile a level when a DICOM file does not say it.

Without Dimension Organization Type and without places of frames the standard gives no order (PS3.3 C.7.6.17.3 says row by
row of TILED_FULL alone), and writers exist that go column by column. The pixels tell: neighbours fit at their border.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimscan.errors import CodecError, NotReadable
from slimscan.files.slides.opened import Picture

# The property of a slide that says what was taken, with the number of the level behind it.
ORDER = "slimscan.frame-order"
# Pairs of tiles that are decoded in a level, how many are looked at to find those with most in them, and up to how many
# tiles a level is decoded as a whole.
_PAIRS, _LOOKED_AT, _FEW = 8, 4096, 16
# Column by column is taken when its borders differ this much less, and by more than a grey level: else the usual order.
_CLEARLY, _LEVEL = 1.5, 1.0


@dataclass(frozen=True)
class Unsaid:
    """A level whose file is silent. grid: (rows, columns). size: frame number -> bytes stored. pixels: -> (th, tw, 3)."""

    grid: tuple[int, int]
    size: Callable[[int], int]
    pixels: Callable[[int], Picture | None]


@dataclass(frozen=True)
class Order:
    """What was taken, and why in a few words."""

    by: Literal["rows", "columns"]
    why: str

    def __str__(self) -> str:
        return f"{'row by row' if self.by == 'rows' else 'column by column'}, guessed: {self.why}"


def guessed(level: Unsaid) -> Order | None:
    """The order of the frames, None when both are the same (one row or one column of tiles). Row by row in doubt.

    Frames k and k + 1 are neighbours to the right in one order and below in the other, so the sum of absolute differences
    across that border, over the same few pairs, decides. The same file gives the same answer.
    """
    if min(level.grid) < 2:
        return None
    found = seams(level)
    if found is None:
        return Order("rows", "the file does not say, and its tiles cannot be decoded")
    rows, columns = found
    if columns * _CLEARLY < rows - _LEVEL:
        return Order("columns", "the file does not say, and tiles fit together so, not row by row")
    if rows * _CLEARLY < columns - _LEVEL:
        return Order("rows", "the file does not say, and tiles fit together so, not column by column")
    return Order("rows", "the file does not say, and tiles fit together no better column by column")


def seams(level: Unsaid) -> tuple[float, float] | None:
    """Mean absolute difference (grey levels) across borders of tiles, laid row by row and column by column.

    None when too few tiles can be decoded.
    """
    rows, cols = level.grid
    tiles: dict[int, Picture | None] = {}
    sums: tuple[list[float], list[float]] = ([], [])
    for first, step in _pairs(level):
        one, two = (_kept(tiles, level, first + k) for k in (0, step))
        if one is None or two is None:
            continue
        beside = float(np.abs(one[:, -1].astype(np.float64) - two[:, 0]).mean())
        below = float(np.abs(one[-1].astype(np.float64) - two[0]).mean())
        for held, run, along, across in ((sums[0], cols, beside, below), (sums[1], rows, below, beside)):
            if step == 1 and first % run != run - 1:
                held.append(along)
            if step == run:
                held.append(across)
    return (float(np.mean(sums[0])), float(np.mean(sums[1]))) if all(sums) else None


def _kept(tiles: dict[int, Picture | None], level: Unsaid, frame: int) -> Picture | None:
    """The frame's pixels, each decoded once; None when it is damaged."""
    if frame not in tiles:
        try:
            tiles[frame] = level.pixels(frame)
        except (CodecError, NotReadable):
            tiles[frame] = None
    return tiles[frame]


def _pairs(level: Unsaid) -> list[tuple[int, int]]:
    """(first frame, step to the second). Of few tiles, all pairs that are neighbours in either order; of many, pairs that
    both orders call neighbours, spread over the level, in each part the fullest."""
    rows, cols = level.grid
    count = rows * cols
    if count <= _FEW:
        return [(k, step) for step in sorted({1, rows, cols}) for k in range(count - step)]
    first = np.arange(count - 1, dtype=np.int64)
    first = first[(first % cols != cols - 1) & (first % rows != rows - 1)]
    first = first[np.unique(np.linspace(0, len(first) - 1, min(len(first), _LOOKED_AT)).astype(np.int64))]
    held = np.array([min(level.size(int(k)), level.size(int(k) + 1)) for k in first])
    parts = np.array_split(np.arange(len(first)), min(_PAIRS, len(first)))
    return [(int(first[part[np.argmax(held[part])]]), 1) for part in parts]
