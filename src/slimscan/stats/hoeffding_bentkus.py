"""T5, Hoeffding-Bentkus: valid for losses in 0..1, nearly powerless for small ones; kept for cross-checks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from slimscan.errors import InputError
from slimscan.stats.values import no_truth, rate


@dataclass(frozen=True, slots=True)
class HoeffdingBentkus:
    """H0: E[x] >= null_mean for x in 0..1. p: the smaller of both bounds. estimate: the observed mean."""

    p: float
    hoeffding: float
    bentkus: float
    estimate: float
    n: int
    null_mean: float

    __bool__ = no_truth


def _h1(u: float, v: float) -> float:
    """u ln(u/v) + (1-u) ln((1-u)/(1-v)), with 0 ln 0 = 0."""
    return float(special.rel_entr(u, v) + special.rel_entr(1.0 - u, 1.0 - v))


def hoeffding_bentkus(mean: float, n: int, null_mean: float) -> HoeffdingBentkus:
    """T5 (Bates et al. 2021): p = min(exp(-n h1(min(R, a), a)), e P(Bin(n, a) <= ceil(n R))), never above 1.

    mean: R in 0..1. null_mean: a in 0..1, ends excluded. n = 0 gives p = 1. InputError outside these.
    """
    if not 0.0 <= mean <= 1.0:
        raise InputError(f"mean {mean:g} is outside 0..1; scale the losses to 0..1 first")
    if n < 0 or n != int(n):
        raise InputError(f"n {n} is not a number of cases; want 0, 1, 2, ...")
    a = rate(null_mean, "null_mean")
    hoeffding = math.exp(-n * _h1(min(mean, a), a))
    bentkus = math.e * float(special.bdtr(float(math.ceil(n * mean - 1e-9)), int(n), a)) if n else math.e
    return HoeffdingBentkus(min(hoeffding, bentkus, 1.0), hoeffding, bentkus, mean, int(n), null_mean)
