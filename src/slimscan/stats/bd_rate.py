"""The Bjontegaard delta rate: how many more bytes one codec needs for the same quality."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from slimscan.errors import InputError
from slimscan.stats.values import Floats, same_length, sample


def _curve(rate: ArrayLike, quality: ArrayLike, name: str) -> tuple[Floats, Floats] | None:
    """(quality, ln rate) in order of rate; None when quality does not rise strictly with it."""
    r, q = sample(rate, f"rate{name}"), sample(quality, f"quality{name}")
    same_length(r, q, f"rate{name} and quality{name}")
    if r.size < 2 or not (np.isfinite(r).all() and np.isfinite(q).all() and r.min() > 0.0):
        raise InputError(f"rate{name} and quality{name}: want two or more finite points with rates above 0")
    order = np.argsort(r, kind="stable")
    r, q = r[order], q[order]
    return (q, np.log(r)) if (np.diff(q) > 0.0).all() and (np.diff(r) > 0.0).all() else None


def bd_rate(rate1: ArrayLike, quality1: ArrayLike, rate2: ArrayLike, quality2: ArrayLike) -> float:
    """Percent of bytes that curve 2 needs more (negative: less) than curve 1 at equal quality (Bjontegaard VCEG-M33).

    PCHIP of ln(rate) over quality on the common quality interval, 100 (exp(mean difference) - 1). Each curve: (k,),
    k >= 2, any one rate unit, any quality that rises with rate (PSNR, SSIM, Dice). NaN when the curves share no quality
    interval, or when quality does not rise strictly with rate: then no bytes belong to a quality. InputError for
    rates <= 0 or NaN.
    """
    from scipy.interpolate import PchipInterpolator

    first, second = _curve(rate1, quality1, "1"), _curve(rate2, quality2, "2")
    if first is None or second is None:
        return math.nan
    low, high = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if not low < high:
        return math.nan
    areas = [float(PchipInterpolator(*curve).integrate(low, high)) for curve in (first, second)]
    return 100.0 * math.expm1((areas[1] - areas[0]) / float(high - low))
