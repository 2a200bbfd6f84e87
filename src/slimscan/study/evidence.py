"""One organ at one level: every test of STATISTICS section 2, and the bounds once the family has shared its alpha."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from slimscan.nouns import Contract, Evidence
from slimscan.stats import (
    betting,
    betting_stable,
    betting_upper,
    bootstrap_t,
    hodges_lehmann,
    minimum_n,
    minimum_n_betting,
    minimum_n_contrast,
    minimum_n_tail,
    naive_p,
    paired_t,
    quick_size,
    signed_rank,
    tail,
    tail_upper,
)
from slimscan.study.losses import Losses
from slimscan.study.table import Floats

APPROXIMATE_FROM = 29
POWER = 0.8
NAN = math.nan


def needed(part: Contract, whole: Contract, level: float, grade: str | None = None) -> int:
    """The fewest cases with which the grade could ever certify at p <= level; INSUFFICIENT_N below it."""
    grade = grade or whole.grade
    if part.margin == "absolute":
        betting_n = minimum_n_betting(part.null, part.B, whole.alpha, level)
    else:
        betting_n = minimum_n_contrast(level)
    if grade == "A":
        return max(betting_n, minimum_n_tail(whole.pi0, level))
    if grade == "A*":
        bound = part.bound or math.inf
        return minimum_n(part.null, bound, level) if part.margin == "absolute" else minimum_n_contrast(level)
    return max(APPROXIMATE_FROM, minimum_n_tail(whole.pi0, level)) if grade == "B" else 3


def examine(losses: Losses, level: int, whole: Contract, share: float, lossless: bool = False) -> Evidence:
    """The evidence at one level, bounds left NaN. share: the alpha of one level, which decides whether n can suffice.

    No p is computed where n cannot suffice, nor where the level is lossless and certified by construction.
    """
    part, n = losses.part, len(losses.cases)
    x, counted = losses.x[level], losses.tail[level]
    over = int(np.count_nonzero(np.round(counted, 10) > round(part.B, 10)))
    worst = int(np.argmax(x)) if n else -1
    clusters = None if losses.clusters is None else losses.clusters[level]
    found = Evidence(
        organ=losses.organ,
        metric=part.metric,
        reader=losses.reader,
        n=n,
        dropped=losses.dropped,
        null=part.null,
        B=part.B,
        mean_loss=float(x.mean()) if n else NAN,
        sd_loss=float(x.std(ddof=1)) if n > 1 and np.isfinite(x).all() else NAN,
        hl_loss=hodges_lehmann(x),
        worst_case=losses.cases[worst] if n else "",
        worst_loss=float(x[worst]) if n else NAN,
        n_over_B=over,
        naive_two_sided_p=NAN if losses.d is None else naive_p(losses.d[level]),
        units=losses.units,
        icc=NAN if clusters is None else clusters.icc,
        design_effect=NAN if clusters is None else clusters.design_effect,
    )
    if lossless or n < max(1, needed(part, whole, share)):
        return found
    return _tested(found, losses, x, whole, share, level)


def _tested(found: Evidence, losses: Losses, x: Floats, whole: Contract, share: float, level: int) -> Evidence:
    part, n, alpha = losses.part, len(losses.cases), whole.alpha
    null, B = part.null, part.B
    capped = np.minimum(x, B)
    t4 = betting(x, null, B, alpha).p
    t6 = tail(found.n_over_B, n, whole.pi0, alpha).p
    t1 = paired_t(x, null, alpha).p
    t1_cap = paired_t(capped, null, alpha).p
    t3 = bootstrap_t(x, null, B, alpha).p

    def when(grade: str, p: float) -> float:
        return p if n >= needed(part, whole, share, grade) else NAN

    # s = 0 leaves t and bootstrap undefined, never 0: the betting test stands in for them.
    approximate = t4 if math.isnan(t1_cap) else max(t1_cap, t3)
    raw = NAN if part.bound is None else when("A*", betting(x, null, part.bound, alpha).p)
    without = NAN
    if losses.readers is not None:
        without = max(_without(losses.readers, i, level, whole, part) for i in range(len(losses.readers)))
    return replace(
        found,
        p_T1=t1,
        p_T2=signed_rank(x, null, alpha).p,
        p_T1_cap=t1_cap,
        p_T3=t3,
        p_T4=t4,
        p_T6=t6,
        p_A=when("A", max(t4, t6)),
        p_A_star=raw,
        p_B=when("B", max(approximate, t6)),
        p_C=t1,
        stable=betting_stable(x, null, B, alpha),
        p_leave_one_reader_out=without,
    )


def _without(readers: Floats, left: int, level: int, whole: Contract, part: Contract) -> float:
    """Grade A p of the mean over all readers but one."""
    x = np.delete(readers, left, axis=0)[:, level].mean(axis=0)
    over = int(np.count_nonzero(np.round(x, 10) > round(part.B, 10)))
    return max(betting(x, part.null, part.B, whole.alpha).p, tail(over, x.size, whole.pi0, whole.alpha).p)


def decisive(evidence: Evidence, grade: str) -> float:
    """The p that the grade decides by."""
    return {"A": evidence.p_A, "A*": evidence.p_A_star, "B": evidence.p_B, "C": evidence.p_C}[grade]


def bounded(evidence: Evidence, losses: Losses, level: int, whole: Contract, alpha: float) -> Evidence:
    """The same with its upper bounds at the codec's alpha, and the raw mean that they still allow."""
    if evidence.n == 0:
        return evidence
    x, part, k, n = losses.x[level], losses.part, evidence.n_over_B, evidence.n
    at = {share: betting_upper(x, part.B, share, whole.alpha) for share in (alpha, alpha / 2.0)}
    upper_tail = tail_upper(k, n, alpha / 2.0)
    implied = None
    if part.bound is not None:
        implied = at[alpha / 2.0] + max(0.0, part.bound - part.B) * upper_tail
    return replace(
        evidence,
        upper_T4=at[alpha],
        upper_T6=tail_upper(k, n, alpha),
        upper_cap=at[alpha / 2.0],
        upper_tail=upper_tail,
        implied_worst_raw_mean=implied,
    )


def folds_of(losses: Losses, level: int, fold: Mapping[str, str]) -> dict[str, float]:
    """Mean loss of every fold, in the order of their names; empty when the table has no folds."""
    names = sorted({fold[case] for case in losses.cases} - {""})
    member = np.array([fold[case] for case in losses.cases])
    return {name: float(losses.x[level][member == name].mean()) for name in names}


def cases_for_power(evidence: Evidence, losses: Losses, level: int, whole: Contract, alpha: float) -> int | None:
    """A guess of the cases that would certify this level with 80 % power if losses stay as they were; None: no number."""
    capped = np.minimum(losses.x[level], losses.part.B)
    if evidence.n < 2:
        return None
    rate = evidence.n_over_B / evidence.n
    mean, sd = float(capped.mean()), float(capped.std(ddof=1))
    return quick_size(evidence.null, evidence.B, whole.pi0, mean, sd, rate, POWER, alpha)
