"""From a folder's rows to its verdict: which rows the contract is about, and what is written of the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.nouns.study import Contract, Verdict
from slimscan.study import rows as rows_of
from slimscan.study.folder import Folder, write_json
from slimscan.study.judge import judge
from slimscan.study.plain import as_json
from slimscan.study.plan import Study, contract_of, fingerprint, load
from slimscan.study.rows import Row


@dataclass(frozen=True)
class Decided:
    """A verdict with what it was derived from. rows: those that the contract is about. left_out: why others were not."""

    study: Study
    plan: Mapping[str, Any]
    contract: Contract
    rows: tuple[Row, ...]
    verdict: Verdict
    left_out: tuple[str, ...]
    rows_sha256: str


def decide(folder: Folder) -> Decided:
    """The verdict of a folder, from its rows alone. InputError when the run is not complete or the plan was changed."""
    plan = folder.read_plan()
    if fingerprint(plan) != plan.get("sha256"):
        raise InputError(
            f"{folder.plan}: was changed after the run (its fingerprint does not fit); run the study again"
        )
    if not folder.trials.exists():
        raise InputError(f"{folder.path}: the run is not complete; go on with: slimscan study run {folder.toml}")
    study = load(folder.toml, Path(plan["base"]))
    if json.loads(json.dumps(dict(study.contract))) != plan["contract"]:
        raise InputError(f"{folder.toml}: its contract is not the one that was fixed in {folder.plan.name}; restore it")
    everything = rows_of.read(folder.trials)
    rows, contract, left_out = judged(study, everything)
    return Decided(study, plan, contract, tuple(rows), judge(rows, contract), left_out, rows_sha256(rows))


def judged(study: Study, everything: Sequence[Row]) -> tuple[list[Row], Contract, tuple[str, ...]]:
    """(rows of the contract's task, metrics and organs; the contract with the levels that exist; what was left out).

    A level that a codec cannot reach on any case is no level of it, whatever the task says; one that it reaches on some
    is a missing row on the others, which the contract has a word for.
    """
    contract = contract_of(study)
    metrics = {one.metric for one in (contract, *contract.also)}
    task = study.contract["task"]
    rows = [
        row
        for row in everything
        if row["task"] == task and row["metric"] in metrics and (not contract.organs or row["organ"] in contract.organs)
    ]
    left_out = []
    levels = dict(contract.levels)
    for codec in study.codecs:
        for level in codec.levels:
            of_level = [row for row in rows if row["codec"] == codec.name and row["step"] == level.step]
            if of_level and all(row["status"] == "unreachable" for row in of_level):
                levels[codec.name] = tuple(one for one in levels[codec.name] if one != level.nominal)
                left_out.append(f"{codec.name} {level.text}: {of_level[0]['note']}")
    rows = [row for row in rows if row["level"] in levels[row["codec"]]]
    rows = [row for row in rows if row["status"] not in ("unreachable", "missing")]
    return rows, replace(contract, levels={name: some for name, some in levels.items() if some}), tuple(left_out)


def store(folder: Folder, decided: Decided) -> dict[str, Any]:
    """Write verdict.json; returns what was written."""
    said = verdict_json(decided)
    write_json(folder.verdict, said)
    return said


def verdict_json(decided: Decided) -> dict[str, Any]:
    """The verdict as JSON: the keys of nouns.study.Verdict, and what it answers."""
    return {
        "study": decided.plan["study"]["name"],
        "question": decided.plan["study"]["question"],
        "plan_sha256": decided.plan["sha256"],
        "rows_sha256": decided.rows_sha256,
        "task": decided.study.contract["task"],
        **as_json(decided.verdict),
        "left_out": list(decided.left_out),
        "certified": any(one.level is not None for one in decided.verdict.codecs.values()),
    }


def rows_sha256(rows: Sequence[Row]) -> str:
    """The fingerprint of what the rows say, apart from how they are stored."""
    told = [[row[name] for name in rows_of.COLUMNS] for row in sorted(rows, key=rows_of.sort_key)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
