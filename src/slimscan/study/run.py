"""A study run: jobs go out, rows come back and are kept as they come, and a run that was killed goes on where it was.

Every worker keeps what it computed in the cache level by level; this process appends the rows as parts. Rows are the
same whichever map ran them and however often the run was killed: at the end they are sorted and written as one file.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slimscan
from slimscan.each import Each, serial
from slimscan.errors import InputError
from slimscan.study.estimate import Estimate
from slimscan.study.folder import Folder, read_json, write_json
from slimscan.study.plan import Plan
from slimscan.study.rows import PYARROW, Parts, Row
from slimscan.study.work import Done, Job, work

FLUSH_SECONDS = 1.0  # rows wait at most that long before they are on the disk
GRAIN_BYTES = 64 << 20  # raw bytes x levels of one job: small images go as a whole, large ones level by level

Progress = Callable[[Estimate, float, int, int], None]  # (estimate, seconds since the start, jobs done, jobs)


@dataclass(frozen=True)
class Summary:
    """What a run did. computed: (image, codec, level) triples of this run; known: those that were there before."""

    folder: str
    plan_sha256: str
    rows: int
    images: int
    cases: int
    computed: int
    known: int
    failed: int
    seconds: float
    timing: Mapping[str, Any] = field(default_factory=dict)


def run(
    plan: Plan,
    folder: Folder,
    *,
    each: Each = serial,
    cache: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> Summary:
    """Run a study, or what is left of it, into a folder.

    cache: where results by content are kept; the folder's own when None. force: replace the results of another study.
    InputError when the folder holds results of a study that was declared otherwise, or an image cannot be read.
    """
    PYARROW.demand("a study")
    started = time.perf_counter()
    claim(plan, folder, force)
    parts_there = folder.parts.exists()
    whole = {
        (c.image, codec.name, level.step) for c in plan.cases for codec in plan.study.codecs for level in codec.levels
    }
    if folder.trials.exists() and not parts_there:
        from slimscan.study.rows import read

        kept = read(folder.trials)
        if {_triple(row) for row in kept} == whole and folder.images.exists():
            return _summary(plan, folder, kept, 0, len(whole), started, {})
        folder.trials.unlink()
    parts = Parts(folder)
    rows = [row for row in parts.rows() if _triple(row) in whole]
    known = {_triple(row) for row in rows}
    todo = list(_jobs(plan, cache or folder.cache, known))
    estimate = Estimate(_totals(todo))
    facts: dict[str, Any] = {}
    observers: list[Any] = []
    spent: dict[str, float] = {}
    waiting: list[Row] = []
    flushed = time.perf_counter()
    for number, (job, done) in enumerate(zip(todo, each(work, todo), strict=True), start=1):
        begun = time.perf_counter()
        rows += done.rows
        waiting += done.rows
        facts[done.image] = done.facts
        observers += [one for one in done.observers if one not in observers]
        _account(done, job, spent, estimate)
        if begun - flushed >= FLUSH_SECONDS:
            parts.append(waiting)
            waiting, flushed = [], time.perf_counter()
        spent["rows"] = spent.get("rows", 0.0) + time.perf_counter() - begun
        if progress is not None:
            progress(estimate, time.perf_counter() - started, number, len(todo))
    begun = time.perf_counter()
    parts.append(waiting)
    write_json(folder.images, {image: facts[image] for image in sorted(facts)})
    if observers:
        write_json(folder.observers, {"observers": sorted(observers, key=lambda one: (one["image"], one["task"]))})
    parts.finish(rows)
    spent["rows"] += time.perf_counter() - begun
    timing = _timing(spent, time.perf_counter() - started, command)
    _remember(folder, timing)
    return _summary(plan, folder, rows, len(whole) - len(known), len(known), started, timing)


def claim(plan: Plan, folder: Folder, force: bool) -> None:
    """Make the folder this plan's own; InputError when it holds another's and force is not given."""
    if folder.plan.exists():
        there = folder.read_plan()
        if there.get("sha256") != plan.sha256:
            if not force:
                raise InputError(
                    f"{folder.path}: holds results of a study that was declared otherwise ({_difference(there, plan)}); "
                    "give another folder (--cache keeps what was computed), or --force to replace these results"
                )
            _clear(folder)
    elif folder.path.exists() and any(one.name not in ("study.toml", "cache") for one in folder.path.iterdir()):
        raise InputError(f"{folder.path}: holds other files; give a new or empty folder for the results")
    folder.path.mkdir(parents=True, exist_ok=True)
    if not (folder.toml.exists() and folder.toml.read_text("utf-8") == plan.study.text):
        folder.toml.write_text(plan.study.text, "utf-8")
    write_json(folder.plan, plan.as_json())


def _difference(there: Mapping[str, Any], plan: Plan) -> str:
    """Which table of the plan changed, for the message."""
    here = json.loads(json.dumps(plan.as_json()))
    names = ("study", "cases", "codecs", "tasks", "metrics", "contract", "classes", "format")
    changed = [name for name in names if there.get(name) != here.get(name)]
    return f"changed: {', '.join(changed)}" if changed else "its hash differs"


def _clear(folder: Folder) -> None:
    for path in (folder.trials, folder.images, folder.observers, folder.verdict, folder.timing, folder.report):
        path.unlink(missing_ok=True)
    for path in folder.path.glob("certificate-*.json"):
        path.unlink()
    if folder.parts.exists():
        for path in folder.parts.iterdir():
            path.unlink()


def _triple(row: Row) -> tuple[str, str, int]:
    return row["image"], row["codec"], row["step"]


def _jobs(plan: Plan, cache: Path, known: set[tuple[str, str, int]]) -> Iterator[Job]:
    """Jobs in the order of the cases, so that an image is read once by whoever works on it."""
    study = plan.study
    for case in plan.cases:
        size = case.place.stat().st_size if case.place.is_file() else GRAIN_BYTES
        open_levels = [
            (codec.name, level.step)
            for codec in study.codecs
            for level in codec.levels
            if (case.image, codec.name, level.step) not in known
        ]
        at_once = max(1, GRAIN_BYTES // max(1, 2 * size))  # files are often compressed about twofold
        for start in range(0, max(1, len(open_levels)), at_once):
            some = open_levels[start : start + at_once]
            grouped = tuple(
                (name, tuple(s for n, s in some if n == name)) for name in dict.fromkeys(n for n, _ in some)
            )
            yield Job(
                case,
                grouped,
                study.codecs,
                study.tasks,
                study.metrics,
                study.organs,
                study.base,
                cache.resolve(),
                study.run["keep_predictions"],
            )


def _weight(job: Job) -> float:
    return float(job.case.place.stat().st_size) if job.case.place.is_file() else 1.0


def _totals(jobs: Sequence[Job]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for job in jobs:
        for name, steps in job.levels:
            totals[name] = totals.get(name, 0.0) + _weight(job) * len(steps)
    return totals


def _account(done: Done, job: Job, spent: dict[str, float], estimate: Estimate) -> None:
    for what, seconds in done.seconds.items():
        spent[what] = spent.get(what, 0.0) + seconds
    for name, steps in job.levels:
        estimate.add(name, _weight(job) * len(steps), done.by_codec[name])


def _timing(spent: Mapping[str, float], wall: float, command: Sequence[str]) -> dict[str, Any]:
    """Seconds by what they went into; engine: all that is neither codec, task, metric nor reading."""
    outside = sum(spent.get(what, 0.0) for what in ("codec", "task", "metric", "read"))
    engine = max(0.0, spent.get("all", 0.0) - outside) + spent.get("rows", 0.0)
    useful = spent.get("codec", 0.0) + spent.get("task", 0.0)
    return {
        "wall_seconds": round(wall, 3),
        "codec_seconds": round(spent.get("codec", 0.0), 3),
        "task_seconds": round(spent.get("task", 0.0), 3),
        "metric_seconds": round(spent.get("metric", 0.0), 3),
        "read_seconds": round(spent.get("read", 0.0), 3),
        "engine_seconds": round(engine, 3),
        "engine_percent": round(100 * engine / useful, 2) if useful > 0 else None,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "slimscan": slimscan.__version__,
        "command": list(command),
    }


def _remember(folder: Folder, timing: Mapping[str, Any]) -> None:
    """One entry a run that did something."""
    runs = read_json(folder.timing, "")["runs"] if folder.timing.exists() else []
    write_json(folder.timing, {"runs": [*runs, dict(timing)]})


def _summary(
    plan: Plan,
    folder: Folder,
    rows: Sequence[Row],
    computed: int,
    known: int,
    started: float,
    timing: Mapping[str, Any],
) -> Summary:
    return Summary(
        str(folder.path),
        plan.sha256,
        len(rows),
        len(plan.cases),
        len({case.case for case in plan.cases}),
        computed,
        known,
        sum(row["status"] == "failed" for row in rows),
        round(time.perf_counter() - started, 3),
        timing,
    )
