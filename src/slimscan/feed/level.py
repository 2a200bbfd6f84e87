"""Patches as a network wants them: each voxel as models.normal.ready() makes it of the whole volume.

A patch does not know the mean of its volume, so what a norm measures of a volume is measured once an image.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np

from slimscan.models.spec import NormSpec
from slimscan.nouns import Pixels

if TYPE_CHECKING:
    from slimscan.feed.patches import Patches
    from slimscan.feed.source import Source


class Levels:
    """ready(image (c, z, y, x) in real units, case) -> float32 of the same shape."""

    def __init__(self, patches: Patches, norm: NormSpec) -> None:
        self.patches, self.norm = patches, norm
        self._known: dict[tuple[int, int], tuple[float, float, float, float]] = {}
        self._lock = threading.Lock()

    def ready(self, image: Pixels, case: int) -> Pixels:
        """Cut to the window, rounded to bits, scaled: what NormSpec says, channel by channel."""
        out = np.empty(image.shape, np.float32)
        sources = self.patches.images[case]
        for at in range(len(image)):
            file = at if len(sources) == len(image) else 0
            low, high, mean, deviation = self._of(case, file)
            out[at] = (_cut(image[at].astype(np.float64), self.norm, low, high) - mean) / deviation
        return out

    def _of(self, case: int, file: int) -> tuple[float, float, float, float]:
        """(low, high, mean, deviation) of one image."""
        norm = self.norm
        low, high = norm.low, norm.high
        open_ended = norm.bits and not (math.isfinite(low) and math.isfinite(high))
        if norm.way != "zscore" and not open_ended:
            if norm.way == "none":
                return low, high, low, high - low
            return low, high, norm.mean, norm.deviation
        with self._lock:
            if (case, file) not in self._known:
                self._known[case, file] = _measured(self.patches.images[case][file], norm)
            return self._known[case, file]


def _cut(values: Pixels, norm: NormSpec, low: float, high: float) -> Pixels:
    values = np.clip(values, norm.low, norm.high)
    if norm.bits and high > low:
        steps = 2**norm.bits - 1
        step = (high - low) / steps
        values = np.rint((values - low) / step) * step + low
    return values


def _measured(source: Source, norm: NormSpec) -> tuple[float, float, float, float]:
    volume = source.volume
    slab = max(1, (16 << 20) // max(1, math.prod(source.shape[1:])))
    starts = range(0, source.shape[0], slab)

    def real(start: int) -> Pixels:
        whole = volume.slices(start, min(start + slab, source.shape[0])).astype(np.float64)
        return whole * volume.slope + volume.intercept

    low, high = norm.low, norm.high
    if norm.bits:
        cut = (np.clip(real(start), norm.low, norm.high) for start in starts)
        seen = [(float(part.min()), float(part.max())) for part in cut]
        low = norm.low if math.isfinite(norm.low) else min(one for one, _ in seen)
        high = norm.high if math.isfinite(norm.high) else max(one for _, one in seen)
    if norm.way == "trainset":
        return low, high, norm.mean, norm.deviation
    total, squares, count = 0.0, 0.0, 0
    for part in map(real, starts):
        held = _cut(part, norm, low, high)
        total, count = total + float(held.sum()), count + held.size
    mean = total / count
    for part in map(real, starts):
        squares += float(((_cut(part, norm, low, high) - mean) ** 2).sum())
    return low, high, mean, math.sqrt(squares / count) or 1.0
