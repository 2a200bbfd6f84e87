"""The papers' own rules: reproduction for comparison, not evidence of equivalence (STATISTICS section 6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from slimscan.errors import InputError
from slimscan.stats.t import NAN, spread
from slimscan.stats.values import DECIMALS, Floats, no_truth, rate, same_length, sample

LABEL = "reproduction, not evidence of equivalence"
Level = TypeVar("Level", float, str)


@dataclass(frozen=True, slots=True, eq=False)
class Tukey:
    """Honest significant difference of every pair: p and statistic (difference of means) are (groups, groups)."""

    p: Floats
    statistic: Floats
    n: tuple[int, ...]
    label: str = LABEL

    __bool__ = no_truth


@dataclass(frozen=True, slots=True)
class CunhaRule:
    """Cunha 2023: a level is valid when mean JI and mean HD beat the observers and JI differs (Tukey p < alpha)."""

    valid: bool
    jaccard: float
    observer_jaccard: float
    hausdorff: float
    observer_hausdorff: float
    p: float
    alpha: float
    label: str = LABEL

    __bool__ = no_truth


@dataclass(frozen=True, slots=True)
class RatioTest:
    """Luu 2021's two-sided paired t test of two codecs' ratios, and the same on their logarithms."""

    p: float
    p_log: float
    statistic: float
    estimate: float
    n: int
    label: str = LABEL

    __bool__ = no_truth


def tukey_hsd(*groups: ArrayLike) -> Tukey:
    """Tukey's HSD over two or more groups (Cunha 2023), by scipy; ignores pairing and slices of one patient.

    Each group: (n_i,), at least two values. The diagonal of p is 1. InputError for fewer groups or NaN.
    """
    from scipy.stats import tukey_hsd as scipy_tukey

    samples = [sample(group, f"group {index}") for index, group in enumerate(groups)]
    if len(samples) < 2 or min(s.size for s in samples) < 2:
        raise InputError(f"want two or more groups of two or more values, got sizes {[int(s.size) for s in samples]}")
    found = scipy_tukey(*samples)
    return Tukey(np.asarray(found.pvalue), np.asarray(found.statistic), tuple(int(s.size) for s in samples))


def cunha_rule(
    jaccard: ArrayLike,
    hausdorff: ArrayLike,
    observer_jaccard: ArrayLike,
    observer_hausdorff: ArrayLike,
    alpha: float = 0.05,
) -> CunhaRule:
    """Valid if mean JI > mean IeOV JI, mean HD < mean IeOV HD, and the JI of both differ by Tukey (p < alpha).

    Each (n_i,) as the paper pools them. HD in the unit given. Not evidence: slices are no patients.
    """
    ji, hd = sample(jaccard, "jaccard"), sample(hausdorff, "hausdorff")
    oji, ohd = sample(observer_jaccard, "observer_jaccard"), sample(observer_hausdorff, "observer_hausdorff")
    p = float(tukey_hsd(ji, oji).p[0, 1])
    means = float(ji.mean()), float(oji.mean()), float(hd.mean()), float(ohd.mean())
    valid = means[0] > means[1] and means[2] < means[3] and p < rate(alpha, "alpha")
    return CunhaRule(valid, *means, p, alpha)


def largest_level_above(levels: Sequence[Level], means: Sequence[float], threshold: float) -> Level | None:
    """El Khoury 2021: the largest level whose mean (Dice) is at least threshold (0.7); None when there is none.

    levels: compression, larger is stronger; means: one a level. A dip below the threshold at a milder level is ignored,
    as in the paper. NaN means never pass.
    """
    if len(levels) != len(means):
        raise InputError(f"levels and means: want one mean a level, got {len(levels)} levels and {len(means)} means")
    passed = [level for level, mean in zip(levels, means, strict=True) if round(mean - threshold, DECIMALS) >= 0.0]
    return max(passed, default=None)


def naive_p(loss: ArrayLike) -> float:
    """Two-sided paired t p of H0: mean loss = 0, the usual "no significant difference" test. NaN for n < 2 or sd = 0.

    With 10 cases and p > 0.05 as the rule it recommended a harmful level in 67 % of simulated studies.
    """
    x = sample(loss, "loss")
    mean, sd = spread(x)
    if not sd > 0.0:
        return NAN
    return float(2.0 * special.stdtr(x.size - 1, -abs(mean) * math.sqrt(x.size) / sd))


def paired_ratio_test(ratio1: ArrayLike, ratio2: ArrayLike) -> RatioTest:
    """Luu 2021: two-sided paired t on compression ratios, on the ratios and on their logarithms.

    Both (n,), same images, above 0. estimate: mean difference of the ratios. NaN for n < 2 or no spread.
    """
    a, b = sample(ratio1, "ratio1"), sample(ratio2, "ratio2")
    same_length(a, b, "ratio1 and ratio2")
    if a.size and min(a.min(), b.min()) <= 0.0:
        raise InputError(f"a ratio of {min(float(a.min()), float(b.min())):g} came; ratios lie above 0")
    mean, sd = spread(a - b)
    t = mean * math.sqrt(a.size) / sd if sd > 0.0 else NAN
    return RatioTest(naive_p(a - b), naive_p(np.log(a) - np.log(b)), t, mean, int(a.size))
