"""T2, signed ranks and the Hodges-Lehmann estimate. Report only: it speaks of the pseudo-median and never decides."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from slimscan.stats.values import Floats, no_truth, rate, rounded, sample

EXACT_UP_TO = 50


@dataclass(frozen=True, slots=True)
class SignedRank:
    """p = P(W <= W+) of y = loss - delta; estimate: Hodges-Lehmann; upper: Walsh[N - 1 - c] (inf when no c exists).

    n: cases. n_used: after zeros were dropped. c: the critical value of the bound, None when n is too small for alpha.
    """

    p: float
    statistic: float
    estimate: float
    upper: float
    n: int
    n_used: int
    c: int | None
    exact: bool
    delta: float
    alpha: float

    __bool__ = no_truth


@functools.lru_cache(maxsize=64)
def _below(n: int) -> Floats:
    """P(W <= w) for w = 0..n(n+1)/2: how many subsets of ranks 1..n add up to at most w, over 2**n."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] += ways[:-rank].copy()
    return np.cumsum(ways) / 2.0**n


def _midranks(values: Floats) -> tuple[Floats, bool]:
    """Ranks from 1 with ties sharing their mean rank, and whether there were ties."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse], bool((counts > 1).any())


def hodges_lehmann(loss: ArrayLike) -> float:
    """The median of all pairwise means (i <= j); NaN when empty. Time and memory grow with n squared."""
    walsh = _walsh(sample(loss, "loss"))
    return float(np.median(walsh)) if walsh.size else math.nan


def _walsh(x: Floats) -> Floats:
    """The n(n+1)/2 pairwise means, ascending."""
    rows, columns = np.triu_indices(x.size)
    with np.errstate(invalid="ignore"):
        return np.sort((x[rows] + x[columns]) / 2.0)


def signed_rank(loss: ArrayLike, delta: float, alpha: float = 0.05) -> SignedRank:
    """T2 (Wilcoxon 1945; Hodges & Lehmann 1963): y = loss - delta without zeros, midranks of |y|, p = P(W <= W+).

    Exact for at most 50 values without ties, else normal with variance sum(rank^2)/4. loss: (n,) in the metric's unit.
    All zeros (and an empty list) give p = 1. InputError for NaN.
    """
    x = sample(loss, "loss")
    rate(alpha, "alpha")
    y = rounded(x - delta)
    y = y[y != 0.0]
    ranks, ties = _midranks(np.abs(y))
    w = float(ranks[y > 0.0].sum())
    exact = y.size <= EXACT_UP_TO and not ties
    if exact:
        p = float(_below(int(y.size))[round(w)])
    else:
        p = float(special.ndtr((w - ranks.sum() / 2.0) / math.sqrt(float((ranks**2).sum()) / 4.0)))
    walsh, n = _walsh(x), int(x.size)
    c = _critical(n, alpha)
    upper = float(walsh[walsh.size - 1 - c]) if c is not None else math.inf
    middle = float(np.median(walsh)) if n else math.nan
    return SignedRank(p, w, middle, upper, n, int(y.size), c, exact, delta, alpha)


def _critical(n: int, alpha: float) -> int | None:
    """The largest c with P(W <= c) <= alpha, None when there is none."""
    if n <= EXACT_UP_TO:
        c = int(np.searchsorted(_below(n), alpha, side="right")) - 1
    else:
        c = math.floor(n * (n + 1) / 4.0 + float(special.ndtri(alpha)) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24.0))
    return c if c >= 0 else None
