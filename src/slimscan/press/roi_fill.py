"""Holes filled smoothly, so that a lossy codec spends nothing on what is kept elsewhere.

Pull and push (Gortler and others, The Lumigraph, SIGGRAPH 1996, section 3.4): means of 2 x 2 known pixels go down a pyramid
until nothing is unknown, and come back up where something is, smoothed once on every level. In float64, slice by slice;
a writer's choice that no reader needs to repeat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def filled(codes: Pixels, hole: Mask, known: Mask) -> Pixels:
    """Codes (z, y, x[, c]) of an unsigned type with those in `hole` (z, y, x) made up from `known` ones of their slice.

    known: True where values count; a slice without any takes the mean of the others. As it came when there is no hole.
    """
    if not hole.any():
        return codes
    out = codes.copy()
    planes = [out] if codes.ndim == 3 else [out[..., index] for index in range(codes.shape[3])]
    for plane in planes:
        mean = float(plane[known].mean()) if known.any() else 0.0
        for z in np.flatnonzero(hole.any(axis=(1, 2))):
            smooth = _pulled(plane[z].astype(np.float64), known[z]) if known[z].any() else np.full(hole[z].shape, mean)
            plane[z][hole[z]] = np.rint(smooth[hole[z]])
    return out


def _pulled(values: Floats, known: Mask) -> Floats:
    if known.all():
        return values
    y, x = values.shape
    even = ((0, y % 2), (0, x % 2))
    weights = np.pad(known.astype(np.float64), even)
    sums = np.pad(np.where(known, values, 0.0), even) * weights
    below = [part.reshape(weights.shape[0] // 2, 2, -1, 2).sum(axis=(1, 3)) for part in (sums, weights)]
    coarse = _pulled(below[0] / np.maximum(below[1], 1), below[1] > 0)
    wide = np.pad(np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)[:y, :x], 1, mode="edge")
    across = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return np.where(known, values, (across + 2 * wide[1:-1, 1:-1]) / 6)
