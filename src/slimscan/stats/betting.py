"""T4, the test that decides: betting against harm (Waudby-Smith & Ramdas). Valid for any distribution and any n."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from slimscan.errors import InputError
from slimscan.stats.values import Floats, no_truth, positive, rate, sample

PERMUTATIONS = 50


@dataclass(frozen=True)
class Betting:
    """H0: E[clip(loss, -cap, cap)] >= delta. estimate: that mean in the sample; statistic: largest log capital.

    loss: the evidence, in the order in which it was bet on, clipped. upper: the one-sided 1 - alpha bound of the mean.
    """

    p: float
    statistic: float
    estimate: float
    n: int
    delta: float
    cap: float
    alpha: float
    loss: tuple[float, ...] = field(repr=False)

    __bool__ = no_truth

    @property
    def upper(self) -> float:
        """The smallest delta that this sample certifies at alpha; cap when it certifies none."""
        return betting_upper(self.loss, self.cap, self.alpha, self.alpha)


def stakes(x: Floats, alpha: float) -> Floats:
    """The bets before their limit 1/(1 - m), same shape as x (..., n): sqrt(2 ln(1/alpha) / (n V / t)).

    V = 1/4 + the squared distances of earlier x from the running mean that starts at 1/2. x in 0..1, in order.
    """
    n = x.shape[-1]
    t = np.arange(1.0, n + 1.0)
    running = (0.5 + np.cumsum(x, axis=-1)) / (t + 1.0)
    seen = np.empty_like(x)
    seen[..., :1] = 0.25
    np.cumsum((x[..., :-1] - running[..., :-1]) ** 2, axis=-1, out=seen[..., 1:])
    seen[..., 1:] += 0.25
    wanted: Floats = np.sqrt(2.0 * math.log(1.0 / alpha) * t / (n * seen))
    return wanted


def log_capital(x: Floats, m: float | Floats, alpha: float) -> Floats:
    """log K after every case, same shape as x: the capital of a bettor who is right when x stays below m in 0..1."""
    with np.errstate(divide="ignore"):
        bets = np.minimum(np.divide(1.0, 1.0 - np.asarray(m)), stakes(x, alpha))
        found: Floats = np.cumsum(np.log(np.maximum(0.0, 1.0 - bets * (x - m))), axis=-1)
        return found


def betting_p(loss: Floats, delta: float, cap: float, alpha: float) -> Floats:
    """p of many samples at once: loss (..., n) in order -> p (...). What `betting` computes, for simulations."""
    x = (np.clip(loss, -cap, cap) + cap) / (2.0 * cap)
    paths = log_capital(x, (delta + cap) / (2.0 * cap), alpha)
    found: Floats = np.exp(-np.maximum(paths.max(axis=-1, initial=0.0), 0.0))
    return found


def betting(loss_in_order: ArrayLike, delta: float, cap: float, alpha: float = 0.05) -> Betting:
    """T4 (Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting): p = exp(-max log K).

    loss_in_order: (n,) in the order of `case_order`, metric's unit; clipped to -cap..cap. alpha only tunes the bets:
    give the family alpha, always. By Ville's inequality P(p <= a) <= a under H0 for every distribution and n. Empty:
    p = 1. With cap = the natural bound of the loss this certifies the raw mean. InputError for NaN, or for a delta
    outside -cap..cap.
    """
    x = np.clip(sample(loss_in_order, "loss_in_order"), -positive(cap, "cap"), cap)
    rate(alpha, "alpha")
    if not -cap < delta < cap:
        raise InputError(
            f"delta {delta:g} is outside -cap..cap = {-cap:g}..{cap:g}; choose a cap above delta (5 delta)"
        )
    p = float(betting_p(x, delta, cap, alpha))
    estimate = float(x.mean()) if x.size else math.nan
    return Betting(p, 0.0 - math.log(p), estimate, int(x.size), delta, cap, alpha, tuple(x.tolist()))


def betting_contrast(contrast_in_order: ArrayLike, clip: float, alpha: float = 0.05) -> Betting:
    """T4 for a margin that is a contrast: H0 E[clip(c, -clip, clip)] >= 0, a null mean of 1/2 on the betting scale.

    contrast_in_order: (n,) from `contrast`, in the order of `case_order`. clip: B' > 0, 0.15 on the Dice scale.
    """
    return betting(contrast_in_order, 0.0, clip, alpha)


def betting_upper(loss_in_order: ArrayLike, cap: float, level: float, alpha: float) -> float:
    """The one-sided 1 - level bound of E[clip(loss, -cap, cap)]: the smallest delta whose p is at most level.

    p falls as delta grows (each factor of the capital grows with m), so the bound is found by narrowing an interval;
    it is rounded towards harm by at most 2e-10 cap. cap when no delta below it is certified.
    """
    x = (np.clip(sample(loss_in_order, "loss_in_order"), -positive(cap, "cap"), cap) + cap) / (2.0 * cap)
    wanted = -math.log(rate(level, "level"))
    bets = stakes(x, rate(alpha, "alpha"))
    low, high = 0.0, 1.0
    while high - low > 1e-10:
        grid = np.linspace(low, high, 34)[1:-1, None]
        with np.errstate(divide="ignore"):
            paths = np.cumsum(np.log(np.maximum(0.0, 1.0 - np.minimum(1.0 / (1.0 - grid), bets) * (x - grid))), axis=-1)
        enough = paths.max(axis=-1, initial=0.0) >= wanted
        first = int(np.argmax(enough)) if enough.any() else grid.size
        low, high = (
            float(grid[first - 1, 0]) if first else low,
            float(grid[first, 0]) if first < grid.size else high,
        )
    return cap if high >= 1.0 else min(cap, high * 2.0 * cap - cap)


@lru_cache(maxsize=4)
def _permutations(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    random = np.random.default_rng(0)
    return np.stack([random.permutation(n) for _ in range(PERMUTATIONS)])


def betting_stable(loss_in_order: ArrayLike, delta: float, cap: float, alpha: float = 0.05) -> bool:
    """Report only: whether the mean final capital over 50 fixed orders reaches 1/alpha: the order decides little."""
    x = (np.clip(sample(loss_in_order, "loss_in_order"), -cap, cap) + cap) / (2.0 * cap)
    if x.size == 0:
        return False
    paths = log_capital(x[_permutations(int(x.size))], (delta + cap) / (2.0 * cap), alpha)
    return bool(special.logsumexp(paths[:, -1]) - math.log(PERMUTATIONS) >= -math.log(alpha))
