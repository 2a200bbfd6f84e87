"""The numbers of a calming: what the equations of slimscan.regions.calm are computed with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Pixels

WHOLE = float(1 << 53)  # integers that float64 holds


@dataclass(frozen=True, slots=True)
class Flow:
    """dims: 2 or 3. iterations. spacing: (z, y, x), the finest used one is 1. step: of time, in that spacing squared.

    k: gradient at which the coefficient falls to 1/e, in stored units per finest spacing. padding: value of closed
    voxels, or None. work: float32 or float64.
    """

    dims: int
    iterations: int
    spacing: tuple[float, float, float]
    step: float
    k: float
    padding: float | None
    work: np.dtype[Any]

    def factors(self, times: float = 1.0) -> tuple[NDArray[Any], NDArray[Any]]:
        """(s, a) for samples multiplied by `times`, of `work`.

        s: (6,) what turns squared differences along z, y, x, and squared sums of four differences, into squares of
        log2(1 / coefficient). a: (3,) time step over squared spacing.
        """
        h = np.asarray(self.spacing, np.float64)
        with np.errstate(over="ignore", divide="ignore"):
            s = (1 / (math.log(2) * self.k * times * h)) ** 2
            # Infinity times a difference of 0 would be no number; beyond this nothing flows anyway.
            s = np.minimum(np.concatenate([s, s / 16]), 1e30 if self.work == np.float32 else 1e300)
            a = self.step / h**2
        return s.astype(self.work), a.astype(self.work)


def finest(spacing_mm: tuple[float, float, float], dims: int) -> tuple[float, float, float]:
    """Spacing (z, y, x) over the smallest one along the axes that are used. InputError: not finite and above 0."""
    if dims not in (2, 3):
        raise InputError(f"dims {dims}: allowed are 2 (slice by slice) and 3 (the volume)")
    if len(spacing_mm) != 3 or not all(math.isfinite(h) and h > 0 for h in spacing_mm):
        raise InputError(f"spacing {tuple(spacing_mm)}: want three distances (z, y, x) in mm, each above 0")
    least = min(spacing_mm[3 - dims :])
    z, y, x = (h / least for h in spacing_mm)
    return z, y, x


def largest_step(spacing: tuple[float, float, float], dims: int) -> float:
    """The time step beyond which the explicit scheme may overshoot: 1 / (2 sum 1/h^2)."""
    return 1 / (2 * sum(1 / h**2 for h in spacing[3 - dims :]))


def closed(pixels: Pixels, padding: float | None) -> NDArray[np.bool_] | None:
    """Voxels that take and give nothing: padding, and values that are no finite numbers. None: there are none."""
    found = None if padding is None else pixels == padding
    if pixels.dtype.kind == "f":
        wild = ~np.isfinite(pixels)
        found = wild if found is None else found | wild
    return found if found is not None and found.any() else None


def exponent(pixels: Pixels) -> int:
    """The power of two that samples are divided by first: 0 unless their squares might not fit a float."""
    if pixels.dtype.kind != "f" or pixels.size == 0:
        return 0
    most = float(np.max(np.abs(pixels), where=np.isfinite(pixels), initial=0))
    if most == 0 or 1e-12 < most < 1e12:
        return 0
    end = 126 if pixels.dtype.itemsize <= 4 else 1020  # so that its power and the inverse are normal numbers
    return max(-end, min(end, math.frexp(most)[1]))


def stored(values: NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    """Computed samples as `dtype`: integers rounded once, half to even, and kept in range."""
    if dtype.kind == "f":
        return values.astype(dtype)
    ends = np.iinfo(dtype)
    rounded: Pixels = np.clip(np.rint(values), float(ends.min), float(min(ends.max, int(WHOLE)))).astype(dtype)
    return rounded
