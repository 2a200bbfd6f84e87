"""Polygons onto a mask: even-odd filling, and every pixel that an edge or a line passes through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]

_FINE = 0.25  # pixels between two samples of an edge
_SAME = 1e-6  # pixels


def filled(rings: Sequence[Points], shape: tuple[int, int]) -> Mask:
    """Pixels whose centre lies within an odd number of rings: bool (h, w). The first ring is the outside, others are holes.

    rings: float64 (n, 2) of (x, y) in pixels, the first pixel's corner at (0, 0); closed or not; none gives an empty mask.
    What lies outside the mask is cut off, at no cost in memory.
    """
    h, w = shape
    marks = np.zeros((h, w + 1), np.uint8)
    for ring in rings:
        if len(ring) < 3:
            continue
        (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
        low, high = np.minimum(y0, y1), np.maximum(y0, y1)
        # Rows whose centre lies in [low, high): a vertex on a centre line counts once.
        first = np.clip(np.ceil(low - 0.5), 0, h).astype(np.int64)
        last = np.clip(np.ceil(high - 0.5), 0, h).astype(np.int64)
        many = last - first
        edge = np.repeat(np.arange(len(ring)), many)
        if not len(edge):
            continue
        row = np.arange(len(edge)) - np.repeat(np.cumsum(many) - many, many) + first[edge]
        part = (row + 0.5 - y0[edge]) / (y1 - y0)[edge]
        crossing = x0[edge] + part * (x1 - x0)[edge]
        column = np.clip(np.ceil(crossing - 0.5), 0, w).astype(np.int64)
        np.add.at(marks, (row, column), 1)
    return (np.cumsum(marks, axis=1, dtype=np.uint32)[:, :w] & 1).astype(bool)


def touched(line: Points, shape: tuple[int, int], ring: bool = True) -> Mask:
    """Pixels that a line of points (x, y) passes through: bool (h, w); ring: back to its first point as well.

    The sides of a ring that run between pixels, along their edges, pass through none.
    """
    found = np.zeros(shape, bool)
    if not len(line):
        return found
    points = np.vstack([line, line[:1]]) if ring else line
    if len(points) == 1:
        points = np.vstack([points, points])
    start, along, kept = _cut(points[:-1], points[1:], shape)
    if ring:
        between = (np.abs(along) < _SAME) & (np.abs(start - np.rint(start)) < _SAME)
        kept &= ~between.any(axis=1)
    for (x, y), (dx, dy) in zip(start[kept], along[kept], strict=True):
        many = int(np.ceil(max(abs(dx), abs(dy)) / _FINE)) + 1
        part = np.linspace(0, 1, many)
        columns, rows = np.floor(x + part * dx).astype(np.int64), np.floor(y + part * dy).astype(np.int64)
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        found[rows[inside], columns[inside]] = True
    return found


def _cut(first: Points, second: Points, shape: tuple[int, int]) -> tuple[Points, Points, NDArray[np.bool_]]:
    """Segments cut to the mask (Liang and Barsky 1984): starts, ways, and which of them touch it at all."""
    along = second - first
    enter, leave = np.zeros(len(first)), np.ones(len(first))
    kept = np.ones(len(first), bool)
    for axis, most in ((0, shape[1]), (1, shape[0])):
        way, at = along[:, axis], first[:, axis]
        still = way == 0
        kept &= ~still | ((at >= 0) & (at <= most))
        safe = np.where(still, 1.0, way)
        a, b = (0 - at) / safe, (most - at) / safe
        enter = np.where(still, enter, np.maximum(enter, np.minimum(a, b)))
        leave = np.where(still, leave, np.minimum(leave, np.maximum(a, b)))
    kept &= enter <= leave
    return first + enter[:, None] * along, (leave - enter)[:, None] * along, kept
