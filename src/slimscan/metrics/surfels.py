"""The area of a mask's surface, corner by corner, as marching cubes draws it.

A corner of the voxel grid touches 8 voxels (4 in a slice). Which of them are foreground says how large a piece of the
surface (a surfel) runs through it. There are 14 cases; turning, mirroring and inverting them gives all 256. Areas and
cases are those of Google DeepMind's surface-distance (Apache-2.0), on which normalised surface Dice is defined.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from slimscan.metrics.masks import Mask

# Foreground among the corner's 8 voxels (bit 4 z + 2 y + x), and the triangles of its surface: each is the size of its
# normal along (z, y, x), in eighths of the voxel's faces across those axes.
_CASES: tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...] = (
    (0b00000000, ()),
    (0b00000001, ((1, 1, 1),)),
    (0b00000011, ((2, 2, 0), (2, 2, 0))),
    (0b00000110, ((1, 1, 1), (1, 1, 1))),
    (0b00000111, ((1, 1, 1), (2, 2, 2), (4, 0, 0))),
    (0b00001111, ((4, 0, 0), (4, 0, 0))),
    (0b00010110, ((1, 1, 1), (1, 1, 1), (1, 1, 1))),
    (0b00010111, ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2))),
    (0b00011000, ((1, 1, 1), (1, 1, 1))),
    (0b00011001, ((0, 2, 2), (0, 2, 2), (1, 1, 1))),
    (0b00011011, ((0, 2, 2), (1, 1, 1), (2, 0, 2), (3, 3, 3))),
    (0b00011110, ((1, 1, 1), (1, 1, 1), (2, 2, 2), (4, 0, 0))),
    (0b00111100, ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0))),
    (0b01101001, ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))),
)


def corner_codes(mask: Mask) -> NDArray[np.uint8]:
    """Which voxels around each corner are foreground, as one number a corner; every axis is one longer than the mask.

    Beyond the array is background. 0 and the largest code (all foreground) carry no surface.
    """
    codes: NDArray[np.uint8] = np.pad(mask, 1).view(np.uint8)
    for order, axis in enumerate(reversed(range(mask.ndim))):
        moved = np.moveaxis(codes, axis, 0)
        codes = np.moveaxis(moved[:-1] | (moved[1:] << np.uint8(1 << order)), 0, axis)
    return codes


def surfel_areas(spacing_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area in mm^2 (the length in mm in a slice) of the surface at a corner, by the corner's code.

    spacing_mm: three steps give 256 areas, two give 16 lengths.
    """
    if spacing_mm.size == 2:
        along_y, along_x = spacing_mm.tolist()
        cut = float(np.hypot(along_y, along_x)) / 2
        by_count = {1: cut, 3: cut}
        straight = {
            0b0011: along_x,
            0b1100: along_x,
            0b0101: along_y,
            0b1010: along_y,
            0b0110: 2 * cut,
            0b1001: 2 * cut,
        }
        return np.array([straight.get(c, by_count.get(c.bit_count(), 0.0)) for c in range(16)])
    z, y, x = spacing_mm.tolist()
    faces = np.array([y * x, z * x, z * y]) / 8
    return np.array([float(np.linalg.norm(np.array(t) * faces, axis=1).sum()) if t else 0.0 for t in _triangles()])


@lru_cache(maxsize=1)
def _triangles() -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The triangles of all 256 codes: the 14 cases in every position."""
    table: dict[int, tuple[tuple[int, ...], ...]] = {}
    for case, triangles in _CASES:
        cube = np.array([case >> bit & 1 for bit in range(8)], bool).reshape(2, 2, 2)
        for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
            turned = cube.transpose(order)[:: flips[0], :: flips[1], :: flips[2]]
            moved = tuple(tuple(t[axis] for axis in order) for t in triangles)
            for voxels in (turned, ~turned):
                code = sum(1 << bit for bit, inside in enumerate(voxels.ravel().tolist()) if inside)
                table[code] = moved
    return tuple(table[code] for code in range(256))
