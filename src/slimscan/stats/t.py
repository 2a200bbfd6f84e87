"""T1, the paired t test of non-inferiority, and its relatives: TOST, Welch, and a margin learnt from observers.

Right for gaussian losses; wrong for skewed ones (false certification 0.14) and for rare catastrophes (0.59 at n = 10).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from slimscan.errors import InputError
from slimscan.stats.loss import Better, sign
from slimscan.stats.values import Floats, no_truth, rate, same_length, sample

TINY = 1e-10
NAN = math.nan


@dataclass(frozen=True, slots=True)
class PairedT:
    """t of H0: E[loss] >= delta. estimate: mean loss. upper: one-sided 1 - alpha bound. NaN when sd = 0 or n < 3."""

    p: float
    statistic: float
    estimate: float
    sd: float
    n: int
    df: int
    upper: float
    delta: float
    alpha: float

    __bool__ = no_truth


@dataclass(frozen=True, slots=True)
class Tost:
    """Two one-sided t tests: p is the larger. lower_p: H0 E[loss] <= -delta. upper_p: H0 E[loss] >= delta."""

    p: float
    lower_p: float
    upper_p: float
    estimate: float
    n: int
    delta: float
    alpha: float

    __bool__ = no_truth


@dataclass(frozen=True, slots=True)
class Welch:
    """H0: mean(value) is no better than mean(observer). estimate: how much worse value is; upper: its bound."""

    p: float
    statistic: float
    estimate: float
    n: int
    n_observer: int
    df: float
    upper: float
    alpha: float

    __bool__ = no_truth


@dataclass(frozen=True, slots=True)
class ObserverDelta:
    """A margin estimated from observers: delta, and the alpha that is left for the test (half was spent on it)."""

    delta: float
    alpha: float
    estimate: float
    lower: float
    n: int
    kappa: float

    __bool__ = no_truth


def spread(x: Floats) -> tuple[float, float]:
    """Mean and sample sd; sd is 0.0 exactly when all values agree within 1e-10, NaN below two values or with inf."""
    if x.size == 0:
        return NAN, NAN
    if not np.isfinite(x).all():
        return float(np.nan if np.isneginf(x).any() and np.isposinf(x).any() else x.sum()), NAN
    if float(np.ptp(x)) <= TINY:
        return float(x.mean()), 0.0 if x.size > 1 else NAN
    return float(x.mean()), float(x.std(ddof=1))


def paired_t(loss: ArrayLike, delta: float, alpha: float = 0.05) -> PairedT:
    """T1: t = (mean - delta) / (s / sqrt n), p = F_t(t; n - 1), upper = mean + t_{1-alpha} s / sqrt n (Student).

    loss: (n,) one per case, in the metric's unit. NaN (p, statistic, upper) for n < 3, for s = 0 (never 0: identical
    losses prove nothing to a t test; use `betting`) and for infinite losses. InputError for NaN losses.
    """
    x = sample(loss, "loss")
    rate(alpha, "alpha")
    n = int(x.size)
    mean, sd = spread(x)
    if n < 3 or not sd > 0.0:
        return PairedT(NAN, NAN, mean, sd, n, n - 1, NAN, delta, alpha)
    error = sd / math.sqrt(n)
    t = (mean - delta) / error
    upper = mean + float(special.stdtrit(n - 1, 1.0 - alpha)) * error
    return PairedT(float(special.stdtr(n - 1, t)), t, mean, sd, n, n - 1, upper, delta, alpha)


def tost(loss: ArrayLike, delta: float, alpha: float = 0.05) -> Tost:
    """Equivalence by two one-sided t tests, each at alpha (Schuirmann 1987). NaN where `paired_t` is NaN."""
    x = sample(loss, "loss")
    above, below = paired_t(x, delta, alpha), paired_t(-x, delta, alpha)
    p = NAN if math.isnan(above.p) or math.isnan(below.p) else max(above.p, below.p)
    return Tost(p, below.p, above.p, above.estimate, above.n, delta, alpha)


def welch(value: ArrayLike, observer: ArrayLike, better: Better = "higher", alpha: float = 0.05) -> Welch:
    """Unpaired observer margin: one-sided Welch test that value is better on average than separate observer values.

    The observers' mean is an estimate and is treated as one; taken as a known constant the error rate is 0.11-0.31
    instead of 0.05. value: (n,), observer: (n_O,). NaN below two values a side or when neither varies.
    """
    s, v, o = sign(better), sample(value, "value"), sample(observer, "observer")
    rate(alpha, "alpha")
    (mean_v, sd_v), (mean_o, sd_o) = spread(v), spread(o)
    worse = s * (mean_o - mean_v)
    a, b = (sd_v**2 / v.size if v.size else NAN), (sd_o**2 / o.size if o.size else NAN)
    if not a + b > 0.0:
        return Welch(NAN, NAN, worse, int(v.size), int(o.size), NAN, NAN, alpha)
    df = (a + b) ** 2 / (a**2 / (v.size - 1) + b**2 / (o.size - 1))
    error = math.sqrt(a + b)
    upper = worse + float(special.stdtrit(df, 1.0 - alpha)) * error
    p = float(special.stdtr(df, worse / error))
    return Welch(p, worse / error, worse, int(v.size), int(o.size), df, upper, alpha)


def observer_delta(
    reference_agreement: ArrayLike, observer_agreement: ArrayLike, kappa: float = 0.5, alpha: float = 0.05
) -> ObserverDelta:
    """delta = kappa x the lower one-sided 1 - alpha/2 bound of (reference - observer agreement); test then at alpha/2.

    Both (n,), same cases, higher is better. The difference is an estimate, so its bound is used, never its mean.
    InputError when kappa is above 0.5 or when the bound leaves no room for a margin.
    """
    if not 0.0 < kappa <= 0.5:
        raise InputError(f"kappa {kappa:g} is outside 0..0.5; a margin takes at most half of the observers' distance")
    r, o = sample(reference_agreement, "reference_agreement"), sample(observer_agreement, "observer_agreement")
    same_length(r, o, "reference_agreement and observer_agreement")
    room = paired_t(o - r, 0.0, rate(alpha, "alpha") / 2.0)  # the upper bound of o - r is minus the lower one of r - o
    lower = -room.upper
    if not lower > 0.0:
        raise InputError(
            f"the observers leave no margin: the lower bound of (reference - observer agreement) is {lower:.4g} "
            f"over {room.n} cases; declare an absolute delta instead"
        )
    return ObserverDelta(kappa * lower, alpha / 2.0, -room.estimate, lower, room.n, kappa)
