"""Otsu's threshold, exact where values are whole numbers."""

from __future__ import annotations

import numpy as np

from slimscan.nouns import Pixels


def otsu(pixels: Pixels) -> float:
    """Otsu's threshold (IEEE Trans SMC 9, 1979): voxels above it are the bright class; between-class variance is largest.

    pixels: any shape. Whole numbers in a range of 65536 are counted exactly, others in 4096 bins. Ties: the lowest.
    A constant image: its value, so that nothing lies above.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        return high
    if high - low <= 65535 and bool((pixels == np.rint(pixels)).all()):
        counts = np.bincount((pixels - low).astype(np.int64).ravel()).astype(np.float64)
        levels = low + np.arange(len(counts))
    else:
        counts, edges = np.histogram(pixels, 4096, (low, high))
        counts, levels = counts.astype(np.float64), edges[1:]
    return split(counts, levels)


def split(counts: Pixels, levels: Pixels) -> float:
    """Otsu's threshold of a histogram: counts (float64) of the values `levels`, ascending. Ties: the lowest."""
    below = np.cumsum(counts)
    weighted = np.cumsum(counts * levels)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = weighted / below - (weighted[-1] - weighted) / above
        between = np.where((below > 0) & (above > 0), below * above * gap * gap, -1.0)
    return float(levels[int(np.argmax(between))])
