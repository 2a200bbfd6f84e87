"""A slide at any magnification, read piece by piece: means over the pixels of the nearest finer level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns.slide import Slide

Rgb = NDArray[np.uint8]

_BAND_PIXELS = 4 << 20  # of the level, in one read
_NEAR = 1.02  # a level this much coarser than asked still counts: downsamples are rounded


@dataclass(frozen=True)
class Scaled:
    """shape: (height, width) at this size, rounded up. step: pixels of level 0 (y, x) that one covers. level: what is read."""

    slide: Slide
    level: int
    step: tuple[float, float]
    shape: tuple[int, int]

    def read(self, y: int, x: int, h: int, w: int) -> Rgb:
        """RGB uint8 (h, w, 3), white outside the slide. A pixel of which a part lies outside is the mean of the part inside."""
        out = np.full((h, w, 3), 255, np.uint8)
        spans = []
        for at, many, axis in ((y, h, 0), (x, w, 1)):
            side = self.slide.levels[self.level].shape[axis]
            scale = self.step[axis] * side / self.slide.levels[0].shape[axis]
            edges = np.clip(np.rint((at + np.arange(many + 1)) * scale), 0, side).astype(np.int64)
            here = np.flatnonzero(edges[1:] > edges[:-1])
            if not len(here):
                return out
            spans.append((here, edges[here], edges[here + 1]))
        (rows, top, end), (columns, left, right) = spans
        pixels = self.slide.read(self.level, int(top[0]), int(left[0]), int(end[-1] - top[0]), int(right[-1] - left[0]))
        if pixels.shape[:2] != (len(rows), len(columns)):
            sums = np.add.reduceat(pixels, top - top[0], axis=0, dtype=np.uint32)
            sums = np.add.reduceat(sums, left - left[0], axis=1, dtype=np.uint32)
            area = np.outer(end - top, right - left)[..., None].astype(np.uint32)
            pixels = ((sums + area // 2) // area).astype(np.uint8)
        out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = pixels
        return out

    def bands(self) -> Iterator[tuple[int, int]]:
        """Rows (first, behind the last) to read one after the other: a few million pixels of the level each, whole tiles."""
        level = self.slide.levels[self.level]
        scale = self.step[0] * level.shape[0] / self.slide.levels[0].shape[0]
        high = max(level.tile[0], _BAND_PIXELS // max(1, level.shape[1]))
        many = max(1, int(high / scale))
        for start in range(0, self.shape[0], many):
            yield start, min(start + many, self.shape[0])

    def whole(self) -> Rgb:
        """All of it, RGB uint8 (h, w, 3), read in bands."""
        out = np.empty((*self.shape, 3), np.uint8)
        for first, last in self.bands():
            out[first:last] = self.read(first, 0, last - first, self.shape[1])
        return out


def scaled(slide: Slide, step: float) -> Scaled:
    """The slide with `step` pixels of level 0 a pixel, from the coarsest level that is fine enough.

    InputError: a step below 1, which would need more than the slide holds.
    """
    if not 1 / _NEAR <= step < math.inf:
        raise InputError(f"{slide.path}: {step:.3g} pixels of the slide a pixel cannot be had; want 1 or more")
    step = max(1.0, step)
    fine = [at for at, level in enumerate(slide.levels) if level.downsample <= step * _NEAR]
    level = max(fine, key=lambda at: slide.levels[at].downsample, default=0)
    h, w = slide.levels[0].shape
    return Scaled(slide, level, (step, step), (math.ceil(h / step), math.ceil(w / step)))


def fitting(slide: Slide, side: int) -> Scaled:
    """The slide with its longer side at most `side` pixels, or as large as it is."""
    return scaled(slide, max(1.0, max(slide.levels[0].shape) / side))
