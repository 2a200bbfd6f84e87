"""Dilation and closing with a disk, exact, in time that does not grow with the disk's area."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError

Mask = NDArray[np.bool_]


def dilated(mask: Mask, radius: int) -> Mask:
    """Every pixel within `radius` pixels (Euclidean, centre to centre) of one that is True; bool (h, w), a new array.

    radius 0 and an empty mask give a copy. InputError: a negative radius, another number of axes.
    """
    if radius < 0:
        raise InputError(f"radius {radius}: want 0 pixels or more")
    if mask.ndim != 2:
        raise InputError(f"a mask of a slide is (h, w); got {mask.shape}")
    found = mask.copy()
    h = mask.shape[0]
    if not mask.size or not radius:
        return found
    spread, reach = mask.copy(), 0
    for wide, rows in sorted(_rows(radius).items()):
        while reach < wide:  # shifted both ways by at most reach + 1: no pixel is reached by way of what lies outside
            step = min(wide - reach, reach + 1)
            wider = spread.copy()
            wider[:, step:] |= spread[:, :-step]
            wider[:, :-step] |= spread[:, step:]
            spread, reach = wider, reach + step
        for row in rows:
            if row < h:
                found[row:] |= spread[: h - row]
                found[: h - row] |= spread[row:]
    return found


def closed(mask: Mask, radius: int) -> Mask:
    """Dilation, then erosion, both with the disk: gaps narrower than it are filled, nothing that is True is lost.

    The picture continues by its edge, so that nothing is eaten there (wsi2025, 2.2.3: radius 9).
    """
    if not mask.size:
        return mask.copy()
    wide = np.pad(mask, radius, mode="edge")
    shut = dilated(wide, radius)
    del wide  # masks of large slides are 40 MB each
    np.logical_not(shut, out=shut)
    shut = dilated(shut, radius)
    np.logical_not(shut, out=shut)
    return np.asarray(shut[radius : radius + mask.shape[0], radius : radius + mask.shape[1]]) | mask


def _rows(radius: int) -> dict[int, list[int]]:
    """Half widths of the disk's rows, and the rows (0 and up) that have them."""
    found: dict[int, list[int]] = {}
    for row in range(radius + 1):
        found.setdefault(math.isqrt(radius * radius - row * row), []).append(row)
    return found
