"""The outlines of a mask, along its pixels' edges, so that filling them again gives the very same mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

_EAST, _SOUTH, _WEST, _NORTH = range(4)


def outlines(mask: Mask) -> list[list[Points]]:
    """Every piece of a mask (pixels that share a side): its outer ring, then the rings of its holes.

    Rings are float64 (n, 2) of (x, y), corners only, the last unlike the first; outer ones run clockwise as seen on a
    screen. Pieces come by their first pixel in rows. An empty mask has none.
    """
    from scipy.ndimage import label

    if not mask.any():
        return []
    pieces, count = label(mask)
    steps, wide = _edges(mask)
    shapes: list[list[Points]] = [[] for _ in range(count)]
    flat, moves = steps, (1, wide, -1, -wide)
    for start in np.flatnonzero(np.frombuffer(bytes(flat), np.uint8)).tolist():
        while flat[start]:
            heading = (flat[start] & -flat[start]).bit_length() - 1
            ring = _walk(flat, moves, start, heading)
            rows, columns = np.divmod(np.array(ring), wide)
            row, column = _own(int(rows[0]), int(columns[0]), heading)
            points = np.stack([columns, rows], axis=1).astype(np.float64)
            shape = shapes[int(pieces[row, column]) - 1]
            if _turning(points) > 0:
                shape.insert(0, points)
            else:
                shape.append(points)
    return shapes


def _edges(mask: Mask) -> tuple[bytearray, int]:
    """One byte a corner, rows of w + 1: bit d is set where an edge begins that runs to d with the mask on its right."""
    wide = np.pad(mask, 1)
    inside = wide[1:-1, 1:-1]
    found = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.uint8)
    found[:-1, :-1] |= (inside & ~wide[:-2, 1:-1]).astype(np.uint8) << _EAST
    found[:-1, 1:] |= (inside & ~wide[1:-1, 2:]).astype(np.uint8) << _SOUTH
    found[1:, 1:] |= (inside & ~wide[2:, 1:-1]).astype(np.uint8) << _WEST
    found[1:, :-1] |= (inside & ~wide[1:-1, :-2]).astype(np.uint8) << _NORTH
    return bytearray(found.tobytes()), found.shape[1]


def _walk(flat: bytearray, moves: tuple[int, int, int, int], start: int, heading: int) -> list[int]:
    """Corners of one ring; its edges are taken away. At a corner where two pieces touch it stays with its own."""
    corners, at, last = [], start, -1
    while True:
        flat[at] &= ~(1 << heading)
        if heading != last:
            corners.append(at)
            last = heading
        at += moves[heading]
        for turn in (1, 0, 3):
            following = (heading + turn) % 4
            if flat[at] >> following & 1:
                heading = following
                break
        else:
            return corners if last != _heading(corners, moves) else corners[1:]


def _heading(corners: list[int], moves: tuple[int, int, int, int]) -> int:
    """The way of the first edge."""
    apart = corners[1] - corners[0]
    if abs(apart) >= moves[_SOUTH]:
        return _SOUTH if apart > 0 else _NORTH
    return _EAST if apart > 0 else _WEST


def _own(row: int, column: int, heading: int) -> tuple[int, int]:
    """The pixel to the right of an edge that begins at a corner."""
    return {_EAST: (row, column), _SOUTH: (row, column - 1), _WEST: (row - 1, column - 1), _NORTH: (row - 1, column)}[
        heading
    ]


def _turning(points: Points) -> float:
    """Twice the signed area; above 0 where a ring runs clockwise with y downwards."""
    x, y = points.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
