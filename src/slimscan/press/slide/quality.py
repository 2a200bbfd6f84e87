"""The check of one tile: is what a lossy tile shows still close enough to what its source showed?

Three numbers, because a mean hides a small damaged place: PSNR over the tile (RGB, peak 255), SSIM over the tile, and the
worst window, the smallest mean of the SSIM map over squares of 16 pixels a side. SSIM is taken on luma (ITU-R BT.601),
with the window of slimscan.metrics.ssim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.metrics.fidelity import error_sums
from slimscan.metrics.window import SIDE, factors

WINDOW = 16
PEAK = 255.0
LUMA = np.array([0.299, 0.587, 0.114])

Tile = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Floors:
    """What a lossy tile must reach: SSIM and the worst window's SSIM (-1..1), PSNR in dB."""

    ssim: float = 0.97
    psnr_db: float = 30.0
    window: float = 0.90

    def __post_init__(self) -> None:
        for name, value in (("--floor-ssim", self.ssim), ("--floor-window", self.window)):
            if not -1 <= value <= 1:
                raise InputError(
                    f"{name} {value:g}: SSIM lies between -1 and 1; 0.97 is the default of --floor-ssim, 0.9 of --floor-window"
                )
        if not 0 <= self.psnr_db <= 120:
            raise InputError(f"--floor-psnr {self.psnr_db:g}: want decibels between 0 and 120; 30 is the default")


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of one tile; PSNR is inf when nothing differs. A side under 11 pixels: SSIM and window are NaN."""

    ssim: float
    psnr_db: float
    window: float
    mse: float

    def passes(self, floors: Floors) -> bool:
        """Whether no floor is missed; a tile too small for SSIM is judged by its PSNR."""
        seen = ((self.ssim, floors.ssim), (self.psnr_db, floors.psnr_db), (self.window, floors.window))
        return all(math.isnan(value) or value >= floor for value, floor in seen)


def judge(reference: Tile, test: Tile) -> Quality:
    """Both (h, w, 3) uint8 of one shape; InputError when shapes differ."""
    sums = error_sums(reference, test)
    if not sums.sum_squares:
        return Quality(1.0, math.inf, 1.0, 0.0)
    if min(reference.shape[:2]) < SIDE:
        return Quality(math.nan, sums.psnr_db(PEAK), math.nan, sums.mse)
    luminance, contrast = factors(reference @ LUMA, test @ LUMA, PEAK)
    luminance *= contrast
    return Quality(float(luminance.mean()), sums.psnr_db(PEAK), _worst(luminance), sums.mse)


def _worst(values: NDArray[np.float64]) -> float:
    """The smallest mean over squares of WINDOW a side; squares at the lower and right border overlap their neighbours."""
    height, width = (max(1, side - WINDOW + 1) for side in values.shape)
    rows = sorted({*range(0, height, WINDOW), height - 1})
    cols = sorted({*range(0, width, WINDOW), width - 1})
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    sums[1:, 1:] = values.cumsum(0).cumsum(1)
    top, left = np.array(rows)[:, None], np.array(cols)[None, :]
    low, right = np.minimum(top + WINDOW, values.shape[0]), np.minimum(left + WINDOW, values.shape[1])
    means = (sums[low, right] - sums[top, right] - sums[low, left] + sums[top, left]) / ((low - top) * (right - left))
    return float(means.min())
