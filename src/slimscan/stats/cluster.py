"""Units inside a case: slices are never n. How alike they are, and what counting them would have cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from slimscan.stats.values import Floats, no_truth, sample


@dataclass(frozen=True, slots=True)
class Clusters:
    """n: cases. units: all units. icc: one-way intraclass correlation. design_effect: 1 + (mean_size - 1) icc."""

    n: int
    units: int
    mean_size: float
    icc: float
    design_effect: float

    __bool__ = no_truth


def clusters_of(sizes: Floats, sums: Floats, squares: Floats) -> Clusters:
    """From per-case counts, sums and sums of squares of centred losses; each (n,)."""
    n, total = int(sizes.size), float(sizes.sum())
    mean_size = total / n if n else math.nan
    if n < 2 or total <= n:
        return Clusters(n, int(total), mean_size, math.nan, math.nan)
    between = float((sums**2 / sizes).sum() - sums.sum() ** 2 / total) / (n - 1)
    within = float((squares - sums**2 / sizes).sum()) / (total - n)
    m0 = (total - float((sizes**2).sum()) / total) / (n - 1)
    spread = between + (m0 - 1.0) * within
    icc = (between - within) / spread if spread > 1e-24 else math.nan
    return Clusters(n, int(total), mean_size, icc, 1.0 + (mean_size - 1.0) * icc)


def design_effect(losses_by_case: Iterable[ArrayLike]) -> Clusters:
    """ICC(1) by one-way analysis of variance (Shrout & Fleiss 1979) and the design effect 1 + (m - 1) ICC.

    losses_by_case: one list of unit losses a case; m is the mean number of units. NaN below two cases, when no case has
    two units, or when nothing varies. A negative ICC is reported as it is.
    """
    cases = [sample(case, f"case {index}") for index, case in enumerate(losses_by_case)]
    cases = [case for case in cases if case.size]
    centre = float(np.concatenate(cases).mean()) if cases else 0.0
    columns = [(case.size, (case - centre).sum(), ((case - centre) ** 2).sum()) for case in cases]
    sizes, sums, squares = np.array(columns, dtype=np.float64).reshape(-1, 3).T
    return clusters_of(sizes, sums, squares)
