"""judge: rows become a verdict. It sees rows, never pixels, and decides by the contract alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Achieved, Code, CodecVerdict, Contract, Evidence, Level, LevelVerdict, Verdict
from slimscan.stats import Share, shares
from slimscan.study.achieved import achieved_of, identical_of, in_order
from slimscan.study.evidence import bounded, cases_for_power, decisive, examine, folds_of, needed
from slimscan.study.losses import Losses, Rows, losses_of, rows_of
from slimscan.study.table import Table, level_of, table_of

TIE = 0.05
NAIVE = 0.05


@dataclass(frozen=True)
class _Codec:
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


def judge(trials: Any, contract: Contract) -> Verdict:
    """The verdict of a table of trials under a contract that was fixed before they were seen.

    trials: a list of mappings or Trials, a mapping of columns, an Arrow table or a data frame; one row per case, codec,
    level and, where they exist, unit, organ, reader, fold, metric (STATISTICS section 0). The answer depends on the rows
    and not on their order, and is the same every time. InputError for what cannot be judged: absent columns, duplicated
    keys, missing rows (unless missing="worst"), NaN values, levels that the contract does not name.
    """
    table = table_of(trials)
    parts = _parts(table, contract)
    organs = _organs(table, contract)
    names = sorted(table.labels["codec"].names)
    for codec in contract.levels:
        if codec not in names:
            raise InputError(f'trials: no row of codec "{codec}", which the contract names; came: {", ".join(names)}')
    codecs = {name: _codec(table, name, contract, parts, organs) for name in names}
    by_grade = {grade: _shared(codecs, contract, grade) for grade in dict.fromkeys((contract.grade, "A", "B"))}
    verdicts = {
        name: _verdict(codec, contract, {grade: share[name] for grade, share in by_grade.items()})
        for name, codec in codecs.items()
    }
    best, tied = _best(verdicts) if contract.mode == "family" else (None, ())
    notes = []
    left_out = sorted(set(table.labels["organ"].names) - set(organs) - {""})
    if left_out:
        notes.append(f"rows of {', '.join(left_out)} were left out: not co-primary in the contract")
    readers = len(table.labels["reader"].names)
    if readers == 2 or (readers > 2 and contract.readers == "every"):
        notes.append("inference is for these readers only")
    if any(table.labels["fold"].names):
        notes.append("cases of a fold share a model: inference is conditional on the trained models")
    return Verdict(contract, verdicts, best, tied, tuple(notes))


def _parts(table: Table, contract: Contract) -> tuple[Contract, ...]:
    """The co-primary metrics, each as a contract."""
    parts, came = (contract, *contract.also), table.labels["metric"].names
    named = [part.metric for part in parts]
    if len(set(named)) != len(named):
        raise InputError(f"contract: metrics {', '.join(named)}: each co-primary metric needs a name of its own")
    if came == ("",) and len(parts) == 1:
        return parts
    for name in named:
        if name not in came:
            raise InputError(f'trials: no row of metric "{name}"; came: {", ".join(sorted(came))}; set contract.metric')
    return parts


def _organs(table: Table, contract: Contract) -> tuple[str, ...]:
    came = table.labels["organ"].names
    for organ in contract.organs:
        if organ not in came:
            raise InputError(f'trials: no row of organ "{organ}", which the contract names; came: {", ".join(came)}')
    return contract.organs or tuple(sorted(came))


def _levels(table: Table, codec: str, contract: Contract) -> tuple[Level, ...]:
    """The codec's levels, mildest first; InputError when the order is not known or a level is foreign to it."""
    labels = table.labels["codec"]
    mine = labels.codes == labels.names.index(codec)
    came = [table.levels[code] for code in np.unique(table.level[mine])]
    declared = contract.levels.get(codec)
    if declared is None:
        numbers = [level for level in came if not isinstance(level, str)]
        if len(numbers) < len(came):
            raise InputError(f"{codec}: levels {came} have names; give their order in the contract, mildest first")
        return tuple(sorted(numbers))
    order = tuple(level_of(level) for level in declared)
    if sorted(map(str, order)) != sorted(map(str, came)) or len(set(order)) != len(order):
        raise InputError(
            f"{codec}: the contract names levels {list(order)}, the rows have {sorted(came, key=str)}; levels added or "
            "dropped after looking are a new family and need fresh cases"
        )
    return order


def _codec(table: Table, name: str, contract: Contract, parts: tuple[Contract, ...], organs: tuple[str, ...]) -> _Codec:
    metrics = {part.metric for part in parts} | ({""} if table.labels["metric"].names == ("",) else set())
    rows = rows_of(table, name, _levels(table, name, contract), metrics, set(organs))
    groups = tuple(one for part in parts for organ in organs for one in losses_of(rows, part, organ, contract))
    achieved, lossless = achieved_of(rows), identical_of(rows)
    notes = [] if any(achieved) else ["achieved_cr was not given: the order of levels could not be checked"]
    lossy = lossless.count(False)
    # Holm and Bonferroni begin at alpha / levels, so that is what one level must be able to reach.
    share = contract.alpha / (1 if contract.method == "fixed_sequence" else max(1, lossy))
    evidence = tuple(tuple(examine(g, i, contract, share) for i in range(len(rows.levels))) for g in groups)
    notes += [
        f"level {level} is bit-identical and yet values differ: the task is not deterministic"
        for i, level in enumerate(rows.levels)
        if lossless[i] and any(g.d is not None and np.any(g.d[i]) for g in groups)
    ]
    return _Codec(
        rows, groups, evidence, achieved, lossless, in_order(achieved), _folds(table, rows), tuple(notes)
    )  # fmt: skip


def _folds(table: Table, rows: Rows) -> dict[str, str]:
    labels = table.labels["fold"]
    found: dict[str, str] = {}
    for case, code in sorted(set(zip(rows.case.tolist(), labels.codes[rows.index].tolist(), strict=True))):
        if rows.cases[case] in found:
            raise InputError(f"trials: case {rows.cases[case]} lies in two folds; a case belongs to one")
        found[rows.cases[case]] = labels.names[code]
    return found


def _shared(codecs: Mapping[str, _Codec], contract: Contract, grade: str) -> dict[str, Share]:
    chains = {name: codec.chain(grade) for name, codec in codecs.items()}
    if contract.mode == "family":
        return shares(chains, contract.alpha, method=contract.method)
    return {name: shares({name: p}, contract.alpha, method=contract.method)[name] for name, p in chains.items()}


def _verdict(codec: _Codec, contract: Contract, by_grade: Mapping[str, Share]) -> CodecVerdict:
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
    count = 1 if contract.method == "fixed_sequence" else max(1, codec.lossless.count(False))
    least = max(needed(g.part, contract, share.alpha / count) for g in codec.groups)
    code = _code(codec, own, p, n, least)
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


def _code(codec: _Codec, own: tuple[bool, ...], p: list[float], n: int, least: int) -> Code:
    if not codec.ordered:
        return "ORDER_MISMATCH"
    lossy = [i for i, exact in enumerate(codec.lossless) if not exact]
    if not lossy:
        return "LOSSLESS_ONLY"
    if not any(own[i] for i in lossy):
        if n == 0:
            return "DEGENERATE"
        if n < least:
            return "INSUFFICIENT_N"
        if math.isnan(p[lossy[0]]):
            return "DEGENERATE"
        return "LOSSLESS_ONLY" if any(own) else "NONE_CERTIFIED"
    return "ALL_CERTIFIED_GRID_EXHAUSTED" if all(own) else "CERTIFIED"


def _level(
    codec: _Codec, contract: Contract, i: int, alpha: float, certified: Mapping[str, tuple[bool, ...]], own: tuple[bool, ...]
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


def _best(verdicts: Mapping[str, CodecVerdict]) -> tuple[str | None, tuple[str, ...]]:
    """The codec of the largest median ratio at its recommended level, and all within 5 % of it."""
    medians: dict[str, float] = {}
    for name, verdict in verdicts.items():
        achieved = next((row.achieved_cr for row in verdict.levels if row.level == verdict.level), None)
        if achieved is not None:
            medians[name] = achieved.median
    if not medians:
        only = [name for name, verdict in verdicts.items() if verdict.level is not None]
        return (only[0], (only[0],)) if len(verdicts) == 1 and only else (None, ())
    best = max(medians, key=lambda name: medians[name])
    return best, tuple(sorted(name for name, median in medians.items() if median >= (1.0 - TIE) * medians[best]))
