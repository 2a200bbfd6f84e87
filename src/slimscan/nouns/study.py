"""A study's nouns: the contract fixed beforehand, one trial a row, and the verdict with its evidence."""

# ruff: noqa: N815 - p_T4, n_over_B and the like are the names in the formulas and in the report

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from slimscan.errors import InputError

Level = float | str
Grade = Literal["A", "A*", "B", "C"]
Code = Literal[
    "CERTIFIED",
    "ALL_CERTIFIED_GRID_EXHAUSTED",
    "NONE_CERTIFIED",
    "INSUFFICIENT_N",
    "LOSSLESS_ONLY",
    "ORDER_MISMATCH",
    "DEGENERATE",
]
WORDS: Mapping[str, tuple[str, ...]] = {
    "direction": ("higher", "lower"),
    "margin": ("absolute", "relative", "threshold", "observer"),
    "mode": ("family", "separate"),
    "missing": ("error", "worst"),
    "method": ("fixed_sequence", "holm", "bonferroni"),
    "tail_unit": ("case", "worst"),
    "grade": ("A", "A*", "B", "C"),
    "readers": ("average", "every"),
}
NUMBER_OF = {"absolute": "delta", "relative": "rho", "threshold": "threshold"}


def _no_truth(self: object) -> NoReturn:
    """A verdict is evidence, no yes or no."""
    raise TypeError(
        f"{type(self).__name__} is neither true nor false: failing to certify is not a finding of harm; "
        "read its code and level"
    )


@dataclass(frozen=True)
class Contract:
    """What must hold, all fixed before a value is seen.

    direction: which way of the metric is better. alpha: one-sided error rate. margin with its number: absolute (delta,
    metric's unit), relative (rho, share of the reference), threshold (the mean must stay above it), observer (the second
    observer on the same case). cap: B, a single loss counts at most this much in the mean; default 5 delta, never above
    bound; 0.15 for the other margins. pi0: tolerated fraction of cases that lose more than B. bound: the largest possible
    loss (1 for Dice), None for none (mm). levels: the order per codec, mildest first; default ascending numbers.
    organs: co-primary organs, default all in the table. mode "family": codecs share alpha and a best one is named;
    "separate": each its own question. missing "worst": an absent row counts as the worst loss. tail_unit "worst": the tail
    counts a case by its worst unit. grade: what decides. readers "every": each reader must pass, else they are averaged.
    metric: which rows of a table with a column metric; also: further co-primary metrics, each a contract of which
    direction, margin with its numbers, cap, bound and metric are read. InputError when something does not fit.
    """

    delta: float | None = None
    direction: Literal["higher", "lower"] = "higher"
    alpha: float = 0.05
    margin: Literal["absolute", "relative", "threshold", "observer"] = "absolute"
    rho: float | None = None
    threshold: float | None = None
    cap: float | None = None
    pi0: float = 0.10
    bound: float | None = None
    levels: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)
    organs: tuple[str, ...] = ()
    mode: Literal["family", "separate"] = "family"
    missing: Literal["error", "worst"] = "error"
    method: Literal["fixed_sequence", "holm", "bonferroni"] = "fixed_sequence"
    tail_unit: Literal["case", "worst"] = "case"
    grade: Grade = "A"
    readers: Literal["average", "every"] = "average"
    metric: str = ""
    also: tuple[Contract, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in WORDS.items():
            if getattr(self, name) not in allowed:
                raise InputError(f'contract: {name} "{getattr(self, name)}" is not known; allowed: {" ".join(allowed)}')
        for name in ("alpha", "pi0"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise InputError(f"contract: {name} {getattr(self, name):g} is outside 0..1 (both ends excluded)")
        needed = NUMBER_OF.get(self.margin)
        if needed and getattr(self, needed) is None:
            raise InputError(f"contract: margin {self.margin} needs {needed}, a number fixed beforehand; none came")
        for name in ("delta", "cap", "bound"):
            number = getattr(self, name)
            if number is not None and not 0.0 < number < math.inf:
                raise InputError(f"contract: {name} {number:g} is not allowed; want a finite number above 0")
        if self.rho is not None and not 0.0 < self.rho < 1.0:
            raise InputError(f"contract: rho {self.rho:g} is outside 0..1 (both ends excluded)")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"contract: threshold {self.threshold:g} is not allowed; want a finite number")
        if not self.null < self.B:
            raise InputError(f"contract: delta {self.null:g} is not below B = {self.B:g} (the cap, or the bound)")
        if self.grade == "A*" and any(one.bound is None for one in (self, *self.also)):
            raise InputError("contract: grade A* certifies the raw mean and needs bound, the largest possible loss")

    @property
    def null(self) -> float:
        """The harmful mean: delta for an absolute margin, 0 for a contrast."""
        return float(self.delta or 0.0) if self.margin == "absolute" else 0.0

    @property
    def B(self) -> float:  # noqa: N802 # the name in every formula
        """The cap of a single loss."""
        natural = 5.0 * self.null if self.margin == "absolute" else 0.15
        chosen = natural if self.cap is None else self.cap
        return float(chosen if self.bound is None else min(chosen, self.bound))


@dataclass(frozen=True)
class Trial:
    """One row: a case at one level of one codec, and what the task measured there.

    case: the independent unit (patient, animal). value, reference: the same metric on the compressed and the uncompressed
    image. observer: the second observer's agreement on that case. achieved_cr: raw bytes / compressed bytes. identical:
    the decoded array equals the original bit for bit.
    """

    case: str
    codec: str
    level: Level
    value: float
    reference: float = math.nan
    achieved_cr: float = math.nan
    unit: str = ""
    organ: str = ""
    reader: str = ""
    fold: str = ""
    metric: str = ""
    observer: float = math.nan
    identical: bool = False
    raw_bytes: float = math.nan
    encoded_bytes: float = math.nan


@dataclass(frozen=True)
class Achieved:
    """Compression ratios over cases: mean, median, min; total: all raw bytes / all encoded bytes, None when not given."""

    mean: float
    median: float
    min: float
    total: float | None = None


@dataclass(frozen=True)
class Evidence:
    """One organ (and metric, and reader when each must pass) at one level. NaN: not computed, or undefined.

    loss: value lost against the reference for an absolute margin, else the contrast; positive is worse. null, B: what it
    is tested against. dropped: cases without a defined reference. p_T4: betting; p_T6: tail; p_T1: t on raw losses;
    p_T1_cap, p_T3: t and bootstrap-t on min(loss, B); p_T2: signed rank. p_A = max(T4, T6); p_A_star: T4 with B = bound;
    p_B = max(T1_cap, T3, T6), approximate; p_C = T1, exploratory. upper_T4, upper_T6: bounds of the capped mean and of the
    tail at the codec's alpha. upper_cap, upper_tail: the same at half of it, and implied_worst_raw_mean = upper_cap +
    (bound - B) upper_tail, None without a bound. stable: 50 other orders of the cases agree. folds: mean loss by fold.
    """

    organ: str
    metric: str
    reader: str
    n: int
    dropped: int
    null: float
    B: float
    mean_loss: float
    sd_loss: float
    hl_loss: float
    worst_case: str
    worst_loss: float
    n_over_B: int
    naive_two_sided_p: float
    p_T1: float = math.nan
    p_T2: float = math.nan
    p_T1_cap: float = math.nan
    p_T3: float = math.nan
    p_T4: float = math.nan
    p_T6: float = math.nan
    p_A: float = math.nan
    p_A_star: float = math.nan
    p_B: float = math.nan
    p_C: float = math.nan
    upper_T4: float = math.nan
    upper_T6: float = math.nan
    upper_cap: float = math.nan
    upper_tail: float = math.nan
    implied_worst_raw_mean: float | None = None
    stable: bool = False
    units: int = 0
    icc: float = math.nan
    design_effect: float = math.nan
    folds: Mapping[str, float] = field(default_factory=dict)
    p_leave_one_reader_out: float = math.nan

    __bool__ = _no_truth


@dataclass(frozen=True)
class LevelVerdict:
    """One level of a codec. p: what decided (max over organs). certified by grade; reached: the sequence came this far.

    evidence: of the limiting organ; organs: of every organ (and metric, and reader) by its label. p_A, p_B: over organs.
    flags: LOSSLESS, NOT_REACHED, MODEL_HETEROGENEOUS.
    """

    level: Level
    achieved_cr: Achieved | None
    n: int
    p: float
    p_A: float
    p_B: float
    certified: bool
    certified_A: bool
    certified_B: bool
    reached: bool
    limiting: str
    flags: tuple[str, ...]
    evidence: Evidence
    organs: Mapping[str, Evidence]

    __bool__ = _no_truth


@dataclass(frozen=True)
class CodecVerdict:
    """One codec: the code, and the strongest certified level (None for none).

    alpha: what the family left to it. level_A, level_B: what each grade would certify. needed_n: cases needed, for
    INSUFFICIENT_N the least that could ever pass, else a guess for 80 % power from the losses seen at the blocking level.
    blocked_by, blocked_p: the first level that was not certified. naive_level: strongest level with p > 0.05 in the
    usual two-sided test, for contrast only.
    """

    codec: str
    code: Code
    level: Level | None
    level_A: Level | None
    level_B: Level | None
    alpha: float
    n: int
    needed_n: int | None
    blocked_by: Level | None
    blocked_p: float
    naive_level: Level | None
    levels: tuple[LevelVerdict, ...]
    notes: tuple[str, ...] = ()

    __bool__ = _no_truth


@dataclass(frozen=True)
class Verdict:
    """What the rows say under the contract. best: the codec with the largest median ratio at its certified level, None in
    mode "separate" or when nothing is certified; tied: every codec within 5 % of it, itself included.
    """

    contract: Contract
    codecs: Mapping[str, CodecVerdict]
    best: str | None
    tied: tuple[str, ...]
    notes: tuple[str, ...] = ()

    __bool__ = _no_truth
