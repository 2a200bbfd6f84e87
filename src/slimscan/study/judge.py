"""judge: rows become a verdict. It sees rows, never pixels, and decides by the contract alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import CodecVerdict, Contract, Level, Verdict
from slimscan.stats import Share, shares
from slimscan.study.achieved import achieved_of, identical_of, in_order
from slimscan.study.evidence import examine
from slimscan.study.grid import Rows, rows_of
from slimscan.study.known import Known, tests_at_once, verdict_of
from slimscan.study.losses import losses_of
from slimscan.study.table import Table, level_of, table_of

TIE = 0.05


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
        name: verdict_of(codec, contract, {grade: share[name] for grade, share in by_grade.items()})
        for name, codec in codecs.items()
    }
    best, tied = _best(verdicts) if contract.mode == "family" else (None, ())
    notes = []
    left_out = sorted(set(table.labels["organ"].names) - set(organs) - {""})
    if left_out:
        notes.append(f"rows of {', '.join(left_out)} were left out: not co-primary in the contract")
    readers = len(set(table.labels["reader"].names) - {""})
    if 0 < readers <= 2 or (readers and contract.readers == "every"):
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
    came = sorted((table.levels[code] for code in np.unique(table.level[mine])), key=str)
    declared = contract.levels.get(codec)
    if declared is None:
        numbers = [level for level in came if not isinstance(level, str)]
        if len(numbers) < len(came):
            raise InputError(f"{codec}: levels {came} have names; give their order in the contract, mildest first")
        return tuple(sorted(numbers))
    order = tuple(level_of(level) for level in declared)
    if sorted(map(str, order)) != sorted(map(str, came)) or len(set(order)) != len(order):
        raise InputError(
            f"{codec}: the contract names levels {list(order)}, the rows have {came}; levels added or "
            "dropped after looking are a new family and need fresh cases"
        )
    return order


def _codec(table: Table, name: str, contract: Contract, parts: tuple[Contract, ...], organs: tuple[str, ...]) -> Known:
    metrics = {part.metric for part in parts} | ({""} if table.labels["metric"].names == ("",) else set())
    rows = rows_of(table, name, _levels(table, name, contract), metrics, set(organs))
    groups = tuple(one for part in parts for organ in organs for one in losses_of(rows, part, organ, contract))
    achieved, lossless = achieved_of(rows), identical_of(rows)
    notes = [] if any(achieved) else ["achieved_cr was not given: the order of levels could not be checked"]
    share = contract.alpha / tests_at_once(contract, lossless)
    evidence = tuple(
        tuple(examine(g, i, contract, share, lossless[i]) for i in range(len(rows.levels))) for g in groups
    )
    notes += [
        f"level {level} is bit-identical and yet values differ: the task is not deterministic"
        for i, level in enumerate(rows.levels)
        if lossless[i] and any(g.d is not None and np.any(g.d[i]) for g in groups)
    ]
    return Known(
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


def _shared(codecs: Mapping[str, Known], contract: Contract, grade: str) -> dict[str, Share]:
    chains = {name: codec.chain(grade) for name, codec in codecs.items()}
    if contract.mode == "family":
        return shares(chains, contract.alpha, method=contract.method)
    return {name: shares({name: p}, contract.alpha, method=contract.method)[name] for name, p in chains.items()}


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
