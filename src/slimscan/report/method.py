"""How the answer was made: contract, tests, versions, fingerprints, and the exact command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import slimscan
from slimscan.report.html import Html, facts, join, paragraph, section, tag
from slimscan.report.limits import grade_text
from slimscan.report.numbers import listed, number
from slimscan.report.results import Results
from slimscan.study.folder import read_json

KEY, TITLE = "method", "Method and provenance"


def method(results: Results) -> Html:
    """The section."""
    tests = paragraph(
        "The headline is grade A: per level, the betting test of Waudby-Smith and Ramdas on losses clipped to the cap (valid for any "
        "distribution and any number of patients, patients in a fixed order by the hash of their names) and the exact binomial test of "
        "the share beyond the cap; both must pass. Levels are tested from mild to strong and the first failure ends it, so that no more than alpha "
        "of such studies certify a harmful level. Grade B, printed beside it, replaces the first test by t and bootstrap-t tests on capped losses: "
        "approximate, for 29 patients or more; it decides nothing here."
        if results.grade == "A"
        else f"The deciding grade is {grade_text(results)}."
    )
    return section(
        KEY,
        TITLE,
        tests,
        tag("h3", "Contract"),
        facts(_contract(results)),
        tag("h3", "What was run"),
        facts(_run(results)),
        tag("h3", "Fingerprints"),
        facts(_prints(results)),
        _cases(results),
        _commands(results),
    )


def _contract(results: Results) -> list[tuple[object, object]]:
    said = results.plan.get("contract") or {}
    return [(word, _value(value)) for word, value in said.items() if value not in (None, [], {})]


def _run(results: Results) -> list[tuple[object, object]]:
    out: list[tuple[object, object]] = []
    for codec in results.plan["codecs"]:
        levels = listed([f"{float(level['nominal']):g}" for level in codec["levels"]])
        per = codec.get("per") or "volume"
        out.append(
            (
                f"codec {codec['name']}",
                f"{codec.get('kind')}: {levels}; per {per}; peak {codec.get('peak')}; ratio of the {codec.get('size') or 'file'}",
            )
        )
    for task in results.plan.get("tasks") or ():
        words = ", ".join(
            f"{word} = {_value(value)}"
            for word, value in task.items()
            if word not in ("name", "version") and value is not None
        )
        out.append((f"task {task['name']}", words))
    metrics = results.plan.get("metrics") or {}
    out.append(("metrics", ", ".join(f"{word} = {_value(value)}" for word, value in metrics.items())))
    out.append(("rows", str(len(results.rows))))
    for run in results.timing.get("runs") or ():
        if run.get("machine"):
            spent = ", ".join(
                f"{name} {number(float(run[f'{name}_seconds']))} s"
                for name in ("wall", "codec", "task", "metric", "read", "engine")
                if run.get(f"{name}_seconds") is not None
            )
            out.append(("run on", f"{run['machine']}, slimscan {run.get('slimscan', '')}; {spent}"))
    versions = _versions(results)
    if versions:
        out.append(("codec libraries", versions))
    out.append(("seeds", "bootstrap 0, 2000 draws or more; order of patients sha256(\u201cverdict-v1|\u201d + name)"))
    out.append(("slimscan", f"study {results.plan.get('slimscan', '')}; this page {slimscan.__version__}"))
    return out


def _prints(results: Results) -> list[tuple[object, object]]:
    out: list[tuple[object, object]] = [
        ("plan, before a pixel was read (sha256)", tag("code", results.plan.get("sha256", "")))
    ]
    for word, what in (
        ("rows_sha256", "rows that were judged (sha256)"),
        ("plan_sha256", "plan that was judged (sha256)"),
    ):
        if results.verdict.get(word):
            out.append((what, tag("code", results.verdict[word])))
    for name in results.codecs:
        if results.folder.certificate(name).exists():
            out.append((f"certificate of {name}", tag("code", results.folder.certificate(name).name)))
    return out


def _cases(results: Results) -> Html:
    cases = list(results.plan.get("cases") or ())
    lines = "\n".join(f"{case['sha256']}  {case['image']}" for case in cases)
    return tag("details", tag("summary", f"sha256 of every image ({len(cases)})"), tag("pre", lines))


def _commands(results: Results) -> Html:
    said = [
        shlex.join(str(word) for word in run["command"])
        for run in results.timing.get("runs") or ()
        if run.get("command")
    ]
    place = shlex.quote(results.folder.path.name)
    known = bool(said)
    said += [f"slimscan study judge {place}", f"slimscan study report {place}"]
    note = (
        None
        if known
        else paragraph(
            "The command of the run was not recorded; these two derive the verdict and the page from its folder.",
            class_="absent",
        )
    )
    return join([tag("h3", "The commands that made this page"), note, tag("pre", "\n".join(dict.fromkeys(said)))])


def _versions(results: Results) -> str:
    out: dict[str, Any] = {}
    for name in results.codecs:
        path = results.folder.certificate(name)
        if path.exists():
            found = read_json(path, "judge the study again")
            out |= (found.get("codec") or {}).get("versions") or {}
    return ", ".join(f"{name} {version}" for name, version in sorted(out.items()))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_value(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
