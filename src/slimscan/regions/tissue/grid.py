"""From masks to tiles: which tiles of a level hold glass alone, and so may be left out.

Safe by construction: a tile stays when any enabled mask has tissue in it, or within the margin around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tissue:
    """Where tissue is. pixels: bool (h, w); step: pixels of level 0 (y, x) that one of them covers.

    shape: (height, width) of level 0, which the mask covers whole. how: the methods and files that made it, for a receipt.
    """

    pixels: Mask
    step: tuple[float, float]
    shape: tuple[int, int]
    how: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.bool_:
            raise InputError(f"a tissue mask is bool (h, w); got {self.pixels.dtype} {self.pixels.shape}")
        for side, step, whole in zip(self.pixels.shape, self.step, self.shape, strict=True):
            if not step > 0 or side * step < whole - 0.5 * step:
                raise InputError(
                    f"a tissue mask of {self.pixels.shape} pixels with {self.step} pixels of the slide each does not cover"
                    f" the slide of {self.shape}; want one that covers it whole"
                )

    @property
    def share(self) -> float:
        """Tissue as a share of the slide, 0 to 1; 0 of no pixels."""
        return float(self.pixels.mean()) if self.pixels.size else 0.0


def united(masks: Iterable[Tissue]) -> Tissue:
    """Tissue where any of them says so, on the first one's pixels. InputError: none at all, or of slides of other sizes.

    A pixel of another step becomes every pixel that it touches: nothing is lost by bringing masks together.
    """
    all_of = list(masks)
    if not all_of:
        raise InputError("no tissue mask: name at least one method, mask, annotation file or model")
    first = all_of[0]
    pixels = first.pixels.copy()
    how = list(first.how)
    for other in all_of[1:]:
        if other.shape != first.shape:
            raise InputError(f"tissue masks of slides of {first.shape} and {other.shape} pixels do not belong together")
        pixels |= _onto(other, pixels.shape, first.step)
        how += [name for name in other.how if name not in how]
    return Tissue(pixels, first.step, first.shape, tuple(how))


def glass(tissue: Tissue, level: tuple[int, int], tile: tuple[int, int], margin: float = 0) -> Mask:
    """The grid (rows, columns) of a level's tiles: True where a tile is glass alone and may be left out.

    level: (height, width) of the level in its own pixels, tile: of a tile. margin: pixels of level 0 around every tile that
    must be glass as well; one pixel of the mask is added to it, since masks and levels are rounded to whole pixels.
    A tile of which any part lies outside the slide is judged by the part inside. InputError: a negative margin, no tiles.
    """
    if not 0 <= margin < math.inf:
        raise InputError(f"margin {margin:g}: want 0 or more pixels of the largest level")
    if min(*level, *tile) < 1:
        raise InputError(f"a level of {level} in tiles of {tile} pixels has no grid")
    starts, ends = [], []
    for axis in range(2):
        scale = tissue.shape[axis] / level[axis]
        corners = np.arange(0, level[axis], tile[axis])
        most = tissue.pixels.shape[axis]
        low = np.floor((corners * scale - margin) / tissue.step[axis]).astype(np.int64) - 1
        high = np.ceil(((corners + tile[axis]) * scale + margin) / tissue.step[axis]).astype(np.int64) + 1
        # A mask may end half a pixel early: the last tile still looks at its last row.
        starts.append(np.clip(low, 0, most - 1))
        ends.append(np.clip(high, 1, most))
    return np.asarray(_counts(tissue.pixels, starts, ends) == 0)


def share_of(tissue: Tissue, level: tuple[int, int], tile: tuple[int, int]) -> NDArray[np.float64]:
    """How much of every tile is tissue, (rows, columns) from 0 to 1: for samples, pictures and reports."""
    starts, ends = [], []
    for axis in range(2):
        scale = tissue.shape[axis] / level[axis] / tissue.step[axis]
        corners = np.arange(0, level[axis], tile[axis])
        most = tissue.pixels.shape[axis]
        starts.append(np.clip(np.floor(corners * scale).astype(np.int64), 0, most - 1))
        ends.append(np.clip(np.ceil((corners + tile[axis]) * scale).astype(np.int64), 1, most))
    area = np.outer(ends[0] - starts[0], ends[1] - starts[1])
    return np.asarray(_counts(tissue.pixels, starts, ends) / area)


def _counts(pixels: Mask, starts: list[NDArray[np.int64]], ends: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Tissue pixels in every box: rows one after the other, so that no table of the whole mask is kept."""
    found = np.zeros((len(starts[0]), len(starts[1])), np.int64)
    for row, (top, end) in enumerate(zip(starts[0], ends[0], strict=True)):
        columns = np.zeros(pixels.shape[1] + 1, np.int64)
        np.cumsum(np.count_nonzero(pixels[top:end], axis=0), out=columns[1:])
        found[row] = columns[ends[1]] - columns[starts[1]]
    return found


def _onto(other: Tissue, shape: tuple[int, ...], step: tuple[float, float]) -> Mask:
    if other.pixels.shape == shape and other.step == step:
        return other.pixels
    starts, ends = [], []
    for axis in range(2):
        scale, most = step[axis] / other.step[axis], other.pixels.shape[axis]
        low = np.floor(np.arange(shape[axis]) * scale + 1e-9).astype(np.int64)
        high = np.ceil((np.arange(shape[axis]) + 1) * scale - 1e-9).astype(np.int64)
        starts.append(np.clip(low, 0, most - 1))
        ends.append(np.maximum(np.clip(high, 1, most), starts[-1] + 1))
    return np.asarray(_counts(other.pixels, starts, ends) > 0)
