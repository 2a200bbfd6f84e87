"""Means, paired differences and tolerances with 95 % intervals over patients.

Every interval is about patients: it says how another sample of them would change the number, with the networks as they were
trained. Another seed or another training set would give other networks; only folds show some of that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
DRAWS, SEED = 4000, 2021
BAR = 0.7
"""El Khoury 2021, sections 3.1 and 4.3: the mean DSC that is still acceptable."""


@dataclass(frozen=True)
class Estimate:
    """mean (or another number) of n patients with its interval low..high, NaN where there is none; sd: n - 1 below."""

    mean: float
    low: float
    high: float
    sd: float
    n: int

    @property
    def known(self) -> bool:
        """There is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan, 0)


def mean(values: Sequence[float]) -> Estimate:
    """Student's t interval of the mean; NaN ends below two patients, NOTHING for none."""
    from scipy import special

    found = np.asarray(values, dtype=np.float64)
    n = int(found.size)
    if n == 0:
        return NOTHING
    middle = float(found.mean())
    if n < 2:
        return Estimate(middle, math.nan, math.nan, math.nan, n)
    sd = float(found.std(ddof=1))
    reach = float(special.stdtrit(n - 1, 0.5 + LEVEL / 2)) * sd / math.sqrt(n)
    return Estimate(middle, middle - reach, middle + reach, sd, n)


def paired(one: Mapping[str, float], other: Mapping[str, float]) -> Estimate:
    """one - other over the patients that both have."""
    both = sorted(set(one) & set(other))
    return mean([one[patient] - other[patient] for patient in both])


def table(columns: Sequence[Mapping[str, float]]) -> tuple[list[str], NDArray[np.float64]]:
    """Patients of every column and their values (patients, columns)."""
    both = sorted(set.intersection(*(set(column) for column in columns))) if columns else []
    return both, np.array([[column[patient] for column in columns] for patient in both]).reshape(len(both), -1)


def tolerance(ratios: Sequence[float], means: Sequence[float], bar: float = BAR) -> float | None:
    """The highest ratio tested with mean DSC >= bar, as in the paper; None when there is none."""
    reached = [ratio for ratio, value in zip(ratios, means, strict=True) if value >= bar]
    return max(reached) if reached else None


def crossing(ratios: Sequence[float], means: NDArray[np.float64], bar: float = BAR) -> NDArray[np.float64]:
    """Where curves fall through the bar for the last time, linear in DSC and log ratio between the ratios tested.

    ratios: ascending (m,). means: (draws, m). Infinite where a curve ends at or above the bar, 0 where all of it is below.
    """
    logs = np.log(np.asarray(ratios, dtype=np.float64))
    last = means.shape[1] - 1 - np.argmax(means[:, ::-1] >= bar, axis=1)
    rows = np.arange(means.shape[0])
    after = np.minimum(last + 1, means.shape[1] - 1)
    upper, lower = means[rows, last], means[rows, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(upper > lower, (upper - bar) / (upper - lower), 0.0)
    out = np.exp(logs[last] + share * (logs[after] - logs[last]))
    out = np.where(means[:, -1] >= bar, math.inf, out)
    return np.where((means >= bar).any(axis=1), out, 0.0)


@lru_cache(maxsize=4)
def _shares(n: int) -> NDArray[np.float64]:
    """Which share of each draw every patient has, (draws, n)."""
    picks = np.random.default_rng(SEED).integers(0, n, size=(DRAWS, n))
    flat = (picks + n * np.arange(DRAWS)[:, None]).ravel()
    return np.bincount(flat, minlength=DRAWS * n).reshape(DRAWS, n) / n


def _resampled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of `values` (patients, m) in every draw, (draws, m)."""
    drawn: NDArray[np.float64] = _shares(values.shape[0]) @ values
    return drawn


def _percentiles(value: float, drawn: NDArray[np.float64], n: int) -> Estimate:
    """Percentile interval; without ends when more than one draw in a hundred gave no number."""
    finite = drawn[np.isfinite(drawn)]
    if n < 5 or finite.size < 0.99 * drawn.size:
        return Estimate(value, math.nan, math.nan, math.nan, n)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), math.nan, n)


def crossed(ratios: Sequence[float], columns: Sequence[Mapping[str, float]]) -> Estimate:
    """The ratio where the mean DSC falls through BAR, interpolated, with a bootstrap interval over patients.

    columns: DSC by patient at each ratio. mean is infinite, 0 or NaN as in crossing(), or where no patient has all ratios.
    """
    both, values = table(columns)
    if not both:
        return NOTHING
    value = float(crossing(ratios, values.mean(axis=0, keepdims=True))[0])
    if not math.isfinite(value) or value == 0:
        return Estimate(value, math.nan, math.nan, math.nan, len(both))
    drawn = crossing(ratios, _resampled(values))
    return _percentiles(value, np.where(drawn > 0, drawn, math.nan), len(both))


def crossed_ratio(
    ratios: Sequence[float], one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]
) -> Estimate:
    """crossed(one) / crossed(other), the same patients drawn for both; NaN when either curve does not fall through BAR."""
    both, values = table([*one, *other])
    if not both:
        return NOTHING

    def of(means: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = crossing(ratios, means[:, : len(one)]), crossing(ratios, means[:, len(one) :])
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.isfinite(first) & np.isfinite(second) & (first > 0) & (second > 0)
            return np.where(known, first / second, math.nan)

    return _percentiles(float(of(values.mean(axis=0, keepdims=True))[0]), of(_resampled(values)), len(both))


def loss_ratio(one: Mapping[str, float], other: Mapping[str, float]) -> Estimate:
    """Mean loss `one` over mean loss `other`, with a bootstrap interval over patients.

    NaN unless the interval of `other` lies above 0: a quotient of something that may be nothing says nothing.
    """
    both, values = table([one, other])
    if len(both) < 5 or not mean([float(value) for value in values[:, 1]]).low > 0:
        return Estimate(math.nan, math.nan, math.nan, math.nan, len(both))
    means = _resampled(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(means[:, 1] > 0, means[:, 0] / means[:, 1], math.nan)
    middle = values.mean(axis=0)
    return _percentiles(float(middle[0] / middle[1]), drawn, len(both))


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """one - other, patient by patient."""
    return {patient: one[patient] - other[patient] for patient in sorted(set(one) & set(other))}


def average(columns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over columns, of the patients that have all."""
    both, values = table(columns)
    return dict(zip(both, (float(value) for value in values.mean(axis=1)), strict=True)) if both else {}


def decided(found: Estimate, at: float = 0.0) -> str:
    """confirmed: the interval of "paper's winner minus loser" lies above `at`; denied: below; else not decided."""
    if not found.known:
        return "not decided"
    return "confirmed" if found.low > at else "denied" if found.high < at else "not decided"
