"""How far the grids of an image and of its mask lie apart."""

from __future__ import annotations

import numpy as np

from slimscan.nouns import Volume

NEAR_MM = 0.5  # two affines that put no corner further apart than this are one grid


def apart_mm(one: Volume, other: Volume) -> float:
    """The largest distance between the same corner of two grids of one shape."""
    z, y, x = (side - 1 for side in one.shape[:3])
    corners = np.array([[i, j, k, 1] for i in (0, x) for j in (0, y) for k in (0, z)], np.float64)
    gap = corners @ (np.asarray(one.affine_mm, np.float64) - np.asarray(other.affine_mm, np.float64)).T
    return float(np.sqrt((gap[:, :3] ** 2).sum(axis=1)).max())
