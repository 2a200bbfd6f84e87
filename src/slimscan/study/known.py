"""What is known of one codec, and its verdict once the family has shared its alpha."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from slimscan.nouns import Achieved, Code, CodecVerdict, Contract, Evidence, Level, LevelVerdict
from slimscan.stats import Share
from slimscan.study.evidence import bounded, cases_for_power, decisive, folds_of, needed
from slimscan.study.grid import Rows
from slimscan.study.losses import Losses

NAIVE = 0.05


@dataclass(frozen=True)
class Known:
    """What is known of a codec before the family shares its alpha. evidence: [group][level]."""

    rows: Rows
    groups: tuple[Losses, ...]
    evidence: tuple[tuple[Evidence, ...], ...]
    achieved: tuple[Achieved | None, ...]
    lossless: tuple[bool, ...]
    ordered: bool
    folds: Mapping[str, str]
    notes: tuple[str, ...]

    def chain(self, grade: str) -> list[float]:
        """p per level: 0 where bit-identical by construction, NaN where undefined, else the largest over organs."""
        if not self.ordered:
            return [math.nan] * len(self.lossless)
        found = []
        for level, exact in enumerate(self.lossless):
            p = [decisive(group[level], grade) for group in self.evidence]
            found.append(0.0 if exact else math.nan if any(map(math.isnan, p)) else max(p))
        return found


def tests_at_once(contract: Contract, lossless: tuple[bool, ...]) -> int:
    """Into how many parts a codec's alpha is cut for its first level: Holm and Bonferroni test all levels at once."""
    return {"fixed_sequence": 1, "holm": max(1, lossless.count(False)), "bonferroni": len(lossless)}[contract.method]


def verdict_of(codec: Known, contract: Contract, by_grade: Mapping[str, Share]) -> CodecVerdict:
    """The codec's code, levels and needed cases; by_grade: what the family left to it under each grade."""
    grade, rows = contract.grade, codec.rows
    share, p = by_grade[grade], codec.chain(grade)
    n = min((len(g.cases) for g in codec.groups), default=0)
    certified = {
        g: tuple(
            codec.ordered and (yes or exact)
            for yes, exact in zip(by_grade[g].steps.certified, codec.lossless, strict=True)
        )
        for g in by_grade
    }
    own = certified[grade] if grade != "C" else codec.lossless  # exploratory: never a recommended level
    levels = tuple(_level(codec, contract, i, share.alpha, certified, own) for i in range(len(rows.levels)))
    passed = [i for i, yes in enumerate(own) if yes]
    failed = next((i for i, yes in enumerate(own) if not yes), None)
    count = tests_at_once(contract, codec.lossless)
    needs = [needed(g.part, contract, share.alpha / count) for g in codec.groups]
    least = max(needs)
    short = any(len(g.cases) < need for g, need in zip(codec.groups, needs, strict=True))
    code = _code(codec, own, p, n, short)
    wanted = least if code == "INSUFFICIENT_N" else None
    if code in ("NONE_CERTIFIED", "CERTIFIED", "LOSSLESS_ONLY") and failed is not None:
        guesses = [
            cases_for_power(e[failed], g, failed, contract, share.alpha / count)
            for e, g in zip(codec.evidence, codec.groups, strict=True)
        ]
        wanted = None if any(guess is None for guess in guesses) else max(guess or 0 for guess in guesses)

    def strongest(grade: str) -> Level | None:
        return next((rows.levels[i] for i in reversed(range(len(rows.levels))) if certified[grade][i]), None)

    naive = [i for i in range(len(rows.levels)) if not any(e[i].naive_two_sided_p <= NAIVE for e in codec.evidence)]
    seen = all(g.d is not None for g in codec.groups)
    return CodecVerdict(
        codec=rows.codec,
        code=code,
        level=rows.levels[passed[-1]] if passed else None,
        level_A=strongest("A"),
        level_B=strongest("B"),
        alpha=share.alpha,
        n=n,
        needed_n=wanted,
        blocked_by=None if failed is None or not codec.ordered else rows.levels[failed],
        blocked_p=math.nan if failed is None else p[failed],
        naive_level=rows.levels[naive[-1]] if naive and seen else None,
        levels=levels,
        notes=codec.notes,
    )


def _code(codec: Known, own: tuple[bool, ...], p: list[float], n: int, short: bool) -> Code:
    if not codec.ordered:
        return "ORDER_MISMATCH"
    lossy = [i for i, exact in enumerate(codec.lossless) if not exact]
    if not lossy:
        return "LOSSLESS_ONLY"
    if not any(own[i] for i in lossy):
        if n == 0:
            return "DEGENERATE"
        if short:
            return "INSUFFICIENT_N"
        if math.isnan(p[lossy[0]]):
            return "DEGENERATE"
        return "LOSSLESS_ONLY" if any(own) else "NONE_CERTIFIED"
    return "ALL_CERTIFIED_GRID_EXHAUSTED" if all(own) else "CERTIFIED"


def _level(
    codec: Known, contract: Contract, i: int, alpha: float, certified: Mapping[str, tuple[bool, ...]], own: tuple[bool, ...]
) -> LevelVerdict:  # fmt: skip
    evidence = {
        group.label: replace(
            bounded(row[i], group, i, contract, alpha), folds=folds_of(group, i, codec.folds)
        )
        for group, row in zip(codec.groups, codec.evidence, strict=True)
    }  # fmt: skip
    ranked = {label: decisive(e, contract.grade) for label, e in evidence.items()}
    limiting = max(
        ranked, key=lambda label: (math.isnan(ranked[label]), 0.0 if math.isnan(ranked[label]) else ranked[label])
    )
    before = all(own[:i]) or contract.method != "fixed_sequence"
    exact = codec.lossless[i]
    flags = [
        flag
        for flag, yes in (
            ("LOSSLESS", exact),
            ("NOT_REACHED", codec.ordered and not before and not exact),
            ("MODEL_HETEROGENEOUS", any(_heterogeneous(e) for e in evidence.values())),
        )
        if yes
    ]
    first = evidence[limiting]
    over = {g: [decisive(e, g) for e in evidence.values()] for g in dict.fromkeys(("A", "B", contract.grade))}
    largest = {g: math.nan if any(map(math.isnan, p)) else max(p) for g, p in over.items()}
    return LevelVerdict(
        level=codec.rows.levels[i],
        achieved_cr=codec.achieved[i],
        n=first.n,
        p=largest[contract.grade],
        p_A=largest["A"],
        p_B=largest["B"],
        certified=own[i],
        certified_A=certified["A"][i],
        certified_B=certified["B"][i],
        reached=before,
        limiting=limiting,
        flags=tuple(flags),
        evidence=first,
        organs=evidence,
    )


def _heterogeneous(evidence: Evidence) -> bool:
    """Whether folds disagree on the side of the margin that their mean loss lies."""
    return len({round(mean - evidence.null, 10) >= 0.0 for mean in evidence.folds.values()}) > 1
