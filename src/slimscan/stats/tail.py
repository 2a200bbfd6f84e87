"""T6, the tail: how many cases lose more than the cap, against the fraction that is tolerated."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special

from slimscan.errors import InputError
from slimscan.stats.values import no_truth, rate


@dataclass(frozen=True, slots=True)
class Tail:
    """H0: P(loss > B) >= pi0. statistic: how many were above; estimate: their share; upper: Clopper-Pearson bound."""

    p: float
    statistic: int
    estimate: float
    upper: float
    n: int
    pi0: float
    alpha: float

    __bool__ = no_truth


def tail_upper(count: int, n: int, level: float) -> float:
    """Clopper-Pearson (1934) one-sided 1 - level bound: Beta^-1(1 - level; k + 1, n - k); 1 when k = n."""
    return 1.0 if count >= n else float(special.betaincinv(count + 1, n - count, 1.0 - level))


def tail(count: int, n: int, pi0: float, alpha: float = 0.05) -> Tail:
    """T6: p = P(Bin(n, pi0) <= count). count: cases whose loss is strictly above B, of n. n = 0 gives p = 1, upper = 1.

    InputError unless 0 <= count <= n, whole numbers, and both rates lie inside 0..1.
    """
    rate(pi0, "pi0")
    rate(alpha, "alpha")
    if count != int(count) or n != int(n) or not 0 <= count <= n:
        raise InputError(f"{count} cases of {n} above the cap: want whole numbers with 0 <= count <= n")
    k, n = int(count), int(n)
    p = float(special.bdtr(float(k), n, pi0)) if n else 1.0
    return Tail(p, k, k / n if n else float("nan"), tail_upper(k, n, alpha), n, pi0, alpha)
