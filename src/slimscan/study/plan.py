"""From a TOML to a study that is fixed: every word checked, every default filled in, every case fingerprinted, hashed.

Nothing here reads a pixel. What is hashed is what decides the answer: the contract, the levels, the tasks with their
versions, the metrics, and the bytes of every image and mask. Where the work runs ([run]) is not part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import slimscan
from slimscan.errors import InputError
from slimscan.nouns.study import NUMBER_OF, Contract
from slimscan.study import declaration, tasks
from slimscan.study.cases import Case, find_cases
from slimscan.study.declared import ALSO, CASES, CODECS, CONTRACT, METRICS, RUN, STUDY
from slimscan.study.folder import FORMAT
from slimscan.study.levels import CodecPlan, codec_plans
from slimscan.study.score import CHANGE, direction_of, metric_of, names_of
from slimscan.study.words import nearest, table

DECISIVE = ("format", "study", "codecs", "tasks", "metrics", "contract", "classes", "cases")
CASE_WORDS = ("case", "image", "sha256", "mask_sha256")
BOUNDED = frozenset(
    ("dice", "jaccard", "jaccard_mean", "normalized_surface_dice", "centreline_dice")
)  # a loss is at most 1
TABLES = ("study", "cases", "codecs", "tasks", "metrics", "contract", "run")


@dataclass(frozen=True)
class Study:
    """A study as declared. base: the folder that its patterns count from. text: the TOML as given."""

    study: Mapping[str, Any]
    cases: Mapping[str, Any]
    codecs: tuple[CodecPlan, ...]
    tasks: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, Any]
    contract: Mapping[str, Any]
    run: Mapping[str, Any]
    base: Path
    text: str

    @property
    def organs(self) -> Mapping[str, tuple[int, ...]] | None:
        """Names and label values of the reference masks, as declared."""
        found: Mapping[str, tuple[int, ...]] | None = self.cases["classes"]
        return found


@dataclass(frozen=True)
class Plan:
    """A study and its cases, fixed. versions: of every task, by name."""

    study: Study
    cases: tuple[Case, ...]
    versions: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """The fingerprint of everything that decides the answer."""
        return fingerprint(self._decisive())

    def _decisive(self) -> dict[str, Any]:
        study = self.study
        return {
            "format": FORMAT,
            "study": dict(study.study),
            "codecs": [_codec_json(codec) for codec in study.codecs],
            "tasks": [dict(task) | {"version": self.versions[task["name"]]} for task in study.tasks],
            "metrics": dict(study.metrics),
            "contract": dict(study.contract),
            "classes": dict(study.organs) if study.organs else None,
            "cases": [
                {"case": c.case, "image": c.image, "sha256": c.sha256, "mask_sha256": c.mask_sha256} for c in self.cases
            ],
        }

    def as_json(self) -> dict[str, Any]:
        """plan.json: what is hashed, the places of the files, and the fingerprint."""
        places = {c.image: {"path": c.path, "mask": c.mask} for c in self.cases}
        said = self._decisive()
        said["cases"] = [case | places[case["image"]] for case in said["cases"]]
        return said | {
            "modality": self.study.cases["modality"],
            "base": str(self.study.base),
            "slimscan": slimscan.__version__,
            "sha256": self.sha256,
        }


def fingerprint(plan: Mapping[str, Any]) -> str:
    """sha256 over what decides the answer in a plan, as made here or read from plan.json; places of files are left out."""
    decisive = {name: plan[name] for name in DECISIVE}
    decisive["cases"] = [{name: case[name] for name in CASE_WORDS} for case in plan["cases"]]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def load(path: Path, base: Path | None = None) -> Study:
    """The study that a TOML declares; patterns count from base, its own folder when None. InputError naming the file, the word, and what is allowed."""
    return declaration.read(
        path, "`slimscan study new` writes one", lambda given, text: parse(given, base or path.resolve().parent, text)
    )


def parse(given: Mapping[str, Any], base: Path, text: str = "") -> Study:
    """The study of parsed TOML; patterns count from base."""
    for name in given:
        if name not in TABLES:
            raise InputError(f"the table [{name}] is not known; allowed: {', '.join(TABLES)}{nearest(name, TABLES)}")
    for name in ("study", "cases", "codecs", "tasks"):
        if name not in given:
            raise InputError(f"the table [{name}] is missing; `slimscan study new` writes a commented one")
    many = {name: given[name] for name in ("codecs", "tasks")}
    for name, tables in many.items():
        if not isinstance(tables, list) or not tables:
            raise InputError(f"[{name}]: want one or more tables [[{name}]]")
    cases = table("[cases]", CASES, given["cases"])
    if (cases["images"] is None) == (cases["table"] is None):
        raise InputError("[cases]: want either images or table")
    declared = [tasks.check(f"[[tasks]] {n}", one) for n, one in enumerate(many["tasks"], start=1)]
    names = [task["name"] for task in declared]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f'[[tasks]]: "{twice}" comes twice; give every task its own name')
    metrics = table("[metrics]", METRICS, given.get("metrics", {}))
    for name in metrics["names"]:
        metric_of(name)
    said = given.get("contract", {})
    if not isinstance(said, Mapping):
        raise InputError("[contract]: want one table")
    study = Study(
        table("[study]", STUDY, given["study"]),
        cases,
        codec_plans([table(f"[[codecs]] {n}", CODECS, one) for n, one in enumerate(many["codecs"], start=1)]),
        tuple(declared),
        metrics,
        _contract(said, declared, metrics, cases["classes"]),
        table("[run]", RUN, given.get("run", {})),
        base,
        text,
    )
    contract_of(study)
    return study


def fix(study: Study, memo: Path | None = None) -> Plan:
    """Find the cases and take their fingerprints; make every task once, so that what is missing is said now."""
    made = [tasks.make(task, study.base) for task in study.tasks]
    cases = find_cases(study.base, study.cases, memo)
    unmasked = next((case for case in cases if case.mask is None), None)
    for said, task in zip(study.tasks, made, strict=True):
        wants = said["against"] == "truth" or said.get("region") == "mask"
        if wants and task.kind == "numbers" and said["against"] == "truth":
            raise InputError(f'the task "{task.name}" gives numbers, which have no truth; use against = "itself"')
        if wants and unmasked is not None:
            raise InputError(f'the task "{task.name}" needs a reference mask of every case: give [cases] masks')
    return Plan(study, cases, {task.name: task.version for task in made})


def organs_of(task: Mapping[str, Any], kind: str, classes: Mapping[str, tuple[int, ...]] | None) -> tuple[str, ...]:
    """The names that a task's rows carry as organ."""
    if kind == "numbers":
        return tuple(task.get("features", ("wtv",))) if task["kind"] != "python" else ()
    if task["against"] == "truth" and classes:
        return tuple(classes)
    return tuple(task["classes"] or (classes or {"foreground": ()}))


def gives(task: Mapping[str, Any]) -> str:
    """ "mask" or "numbers"."""
    if task["kind"] in ("texture", "features"):
        return "numbers"
    return str(task.get("gives", "mask"))


def _contract(
    given: Mapping[str, Any], declared: list[dict[str, Any]], metrics: Mapping[str, Any], classes: Any
) -> dict[str, Any]:
    """[contract] checked and filled in, its [[contract.also]] as a list under "also"."""
    rest = {name: value for name, value in given.items() if name != "also"}
    said = table("[contract]", CONTRACT, rest)
    names = [task["name"] for task in declared]
    if said["task"] is None:
        if len(names) > 1:
            raise InputError(f"[contract]: say which task decides: task = one of {', '.join(names)}")
        said["task"] = names[0]
    if said["task"] not in names:
        raise InputError(
            f'[contract] task = "{said["task"]}": allowed: {", ".join(names)}{nearest(said["task"], names)}'
        )
    task = declared[names.index(said["task"])]
    numbers = gives(task) == "numbers"
    allowed = [f"value{CHANGE}"] if numbers else [name for name, _ in names_of(metrics["names"])]
    if said["metric"] is None:
        said["metric"] = allowed[0]
    more = given.get("also", [])
    if not isinstance(more, list):
        raise InputError("[contract] also: want tables [[contract.also]], one a further metric")
    said["also"] = [table(f"[[contract.also]] {n}", ALSO, one) for n, one in enumerate(more, start=1)]
    for one in (said, *said["also"]):
        _margin(one, allowed, task)
    organs = organs_of(task, gives(task), classes)
    if said["organs"] is None:
        said["organs"] = organs or None
    for organ in said["organs"] or ():
        if organs and organ not in organs:
            raise InputError(f'[contract] organs = "{organ}": allowed: {", ".join(organs)}{nearest(organ, organs)}')
    return said


def _margin(said: Mapping[str, Any], allowed: list[str], task: Mapping[str, Any]) -> None:
    name = said["metric"]
    if name not in allowed:
        raise InputError(
            f'[contract] metric = "{name}": is not measured; allowed: {", ".join(allowed)}{nearest(name, allowed)}'
        )
    if direction_of(name) == "none":
        raise InputError(f'[contract] metric = "{name}": neither way is better; use "{name}{CHANGE}"')
    wanted = NUMBER_OF.get(said["margin"])
    for word in NUMBER_OF.values():
        if word == wanted and said[word] is None:
            raise InputError(f'[contract]: margin = "{said["margin"]}" needs {word} = a number')
        if word != wanted and said[word] is not None:
            raise InputError(f'[contract]: {word} does not go with margin = "{said["margin"]}"; leave it out')
    if said["margin"] == "observer" and task["kind"] != "readers":
        raise InputError('[contract]: margin = "observer" needs a task of kind "readers" with a second reader (other)')


def contract_of(study: Study) -> Contract:
    """The contract as the statistics take it; the order of the levels is the study's, mildest first."""
    said = study.contract

    def one(words: Mapping[str, Any]) -> dict[str, Any]:
        margin = {name: words[name] for name in ("margin", "delta", "rho", "threshold", "cap", "bound", "metric")}
        if margin["bound"] is None and words["metric"] in BOUNDED:
            margin["bound"] = 1.0
        return margin | {"direction": direction_of(words["metric"])}

    shared = {
        name: said[name] for name in ("alpha", "pi0", "mode", "method", "missing", "tail_unit", "grade", "readers")
    }
    also = tuple(Contract(**one(words), pi0=said["pi0"]) for words in said["also"])
    levels = {codec.name: tuple(level.nominal for level in codec.levels) for codec in study.codecs}
    return Contract(**one(said), **shared, levels=levels, organs=tuple(said["organs"] or ()), also=also)


def _codec_json(codec: CodecPlan) -> dict[str, Any]:
    said = asdict(codec)
    said["levels"] = [
        {"nominal": level.nominal, "step": level.step, "target": str(level.target) if level.target else None}
        for level in codec.levels
    ]
    return said
