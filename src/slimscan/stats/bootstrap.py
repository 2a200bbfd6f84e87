"""T3, the bootstrap on capped losses: bootstrap-t (grade B) and BCa. Approximate, for n >= 29."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from slimscan.errors import InputError
from slimscan.stats.t import NAN, TINY, spread
from slimscan.stats.values import Floats, no_truth, positive, rate, sample


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """H0: E[min(loss, cap)] >= delta, by resampling. estimate: mean capped loss. upper: one-sided 1 - alpha bound."""

    p: float
    statistic: float
    estimate: float
    upper: float
    n: int
    draws: int
    seed: int
    delta: float
    cap: float
    alpha: float
    kind: str

    __bool__ = no_truth


@functools.lru_cache(maxsize=4)
def _picks(n: int, draws: int, seed: int) -> NDArray[np.intp]:
    """Which cases each draw picks, (draws, n). Kept, because every level of a study draws from the same number."""
    return np.random.default_rng(seed).integers(0, n, size=(draws, n), dtype=np.intp)


def _prepared(loss: ArrayLike, cap: float, alpha: float, draws: int) -> Floats:
    positive(cap, "cap")
    rate(alpha, "alpha")
    if draws < 1:
        raise InputError(f"draws {draws} is not allowed; want at least 2000 for a decision")
    # Sorted, so that p depends on the losses and not on the order in which cases were listed.
    return np.sort(np.minimum(sample(loss, "loss"), cap))


def bootstrap_t(
    loss: ArrayLike, delta: float, cap: float, alpha: float = 0.05, draws: int = 2000, seed: int = 0
) -> Bootstrap:
    """Studentised bootstrap (Efron & Tibshirani 1993, ch. 12) of min(loss, cap): p = (1 + #{T* <= t}) / (R + 1).

    T* = (m* - m) / (s* / sqrt n); a draw of identical values (s* = 0) counts as T* = -inf, and
    one that equals t but for its last digits counts. loss: (n,) in the metric's
    unit, cap > 0 in the same. NaN for n < 3 and s = 0. InputError for NaN losses.
    """
    x = _prepared(loss, cap, alpha, draws)
    n = int(x.size)
    mean, sd = spread(x)
    if n < 3 or not sd > 0.0:
        return Bootstrap(NAN, NAN, mean, NAN, n, draws, seed, delta, cap, alpha, "bootstrap-t")
    t = (mean - delta) * math.sqrt(n) / sd
    drawn = x[_picks(n, draws, seed)]
    means = drawn.mean(axis=1)
    flat = drawn.max(axis=1) - drawn.min(axis=1) <= TINY
    drawn -= means[:, None]
    deviations = np.sqrt(np.einsum("ij,ij->i", drawn, drawn) / (n - 1))
    deviations[flat] = 1.0
    studentised = np.where(flat, -np.inf, (means - mean) * math.sqrt(n) / deviations)
    p = (1 + int(np.count_nonzero(studentised <= t + 1e-12))) / (draws + 1)
    k = math.floor(alpha * (draws + 1) + 1e-9)  # p <= alpha just when t lies below the k-th smallest T*
    edge = float(np.partition(studentised, k - 1)[k - 1]) if k else -math.inf
    return Bootstrap(p, t, mean, mean - edge * sd / math.sqrt(n), n, draws, seed, delta, cap, alpha, "bootstrap-t")


def bca(loss: ArrayLike, delta: float, cap: float, alpha: float = 0.05, draws: int = 2000, seed: int = 0) -> Bootstrap:
    """BCa (Efron 1987) p of min(loss, cap) by inversion: q = share of boot means below delta (ties half),
    w = PHI^-1(q) - z0, y = w / (1 + a w), p = 1 - PHI(y - z0).

    Shares are clipped to [1/(R+1), R/(R+1)]. z0: the same share at the mean itself. a: skewness / (6 sqrt n).
    upper: the BCa quantile of the boot means. NaN for n < 3 and s = 0. InputError for NaN losses.
    """
    x = _prepared(loss, cap, alpha, draws)
    n = int(x.size)
    mean, sd = spread(x)
    if n < 3 or not sd > 0.0:
        return Bootstrap(NAN, NAN, mean, NAN, n, draws, seed, delta, cap, alpha, "bca")
    means = np.sort(x[_picks(n, draws, seed)].mean(axis=1))

    def normal_of_share(value: float) -> float:
        below = np.count_nonzero(means < value - TINY)
        ties = np.count_nonzero(np.abs(means - value) <= TINY)
        share = (below + ties / 2.0) / draws
        return float(special.ndtri(min(max(share, 1.0 / (draws + 1)), draws / (draws + 1))))

    z0 = normal_of_share(mean)
    centred = x - mean
    a = float((centred**3).sum()) / (6.0 * float((centred**2).sum()) ** 1.5)
    w = normal_of_share(delta) - z0
    y = w / (1.0 + a * w)
    p = float(special.ndtr(-(y - z0)))
    z = z0 + float(special.ndtri(1.0 - alpha))
    share = float(special.ndtr(z0 + z / (1.0 - a * z)))
    return Bootstrap(p, y - z0, mean, float(np.quantile(means, share)), n, draws, seed, delta, cap, alpha, "bca")
