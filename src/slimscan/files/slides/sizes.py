"""How large the stored tiles of a level are, without reading them where the container lists it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimscan.files.slides.opened import Opened
from slimscan.nouns.slide import Slide


def stored_bytes(slide: Slide, level: int) -> NDArray[np.int64] | None:
    """(rows, columns) bytes of every stored tile, 0 where none is; None where the format hands out no tiles."""
    rows, cols = slide.levels[level].grid
    if not rows:
        return None
    if isinstance(slide, Opened) and slide.sizes is not None:
        return slide.sizes(level)
    out = np.zeros((rows, cols), np.int64)
    for row in range(rows):
        for col in range(cols):
            out[row, col] = len(slide.tile(level, row, col))
    return out
