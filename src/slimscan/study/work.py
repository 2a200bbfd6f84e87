"""The work on one image: compress it to every level, ask every task, score, and give the rows."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.nouns import Pixels
from slimscan.study import observe
from slimscan.study.bench import FORMAT, Bench, Failed, task_of
from slimscan.study.cache import Cache, key_of
from slimscan.study.cases import Case
from slimscan.study.levels import CodecPlan, Level
from slimscan.study.plan import gives
from slimscan.study.rows import Row
from slimscan.study.score import ANYTHING, CHANGE, Labels, Scored, score, worst_of
from slimscan.study.task import Task
from slimscan.study.tasks import readers

NAN = math.nan
Numbers = dict[tuple[str, str], tuple[str, float]]  # (organ, metric) -> (direction, value)


@dataclass(frozen=True)
class Job:
    """Some levels of one image, with everything that a worker anywhere needs. levels: (codec, steps)."""

    case: Case
    levels: tuple[tuple[str, tuple[int, ...]], ...]
    codecs: tuple[CodecPlan, ...]
    tasks: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, Any]
    classes: Labels | None
    base: Path
    cache: Path
    keep_predictions: bool


@dataclass(frozen=True)
class Done:
    """What came of a job. seconds: by what they went into, and in all. facts: what the image is."""

    image: str
    rows: tuple[Row, ...]
    facts: Mapping[str, Any]
    observers: tuple[Mapping[str, Any], ...]
    seconds: Mapping[str, float]
    by_codec: Mapping[str, float]


def work(job: Job) -> Done:
    """Do one job. Errors of the study itself (an image that cannot be read) are raised; those of tasks are rows."""
    started = time.perf_counter()
    bench = Bench(job.case, job.base, Cache(job.cache, job.case.sha256), job.keep_predictions)
    plans = {plan.name: plan for plan in job.codecs}
    rows: list[Row] = []
    by_codec: dict[str, float] = {}
    try:
        facts = bench.facts()
        for name, steps in job.levels:
            begun = time.perf_counter()
            for step in steps:
                rows += _level(job, bench, plans, plans[name], plans[name].levels[step - 1])
            by_codec[name] = time.perf_counter() - begun
        seen = [observe.observers(bench, said, job.classes) for said in job.tasks if said["kind"] == "readers"]
    finally:
        bench.close()
    seconds = dict(bench.clock.seconds) | {"all": time.perf_counter() - started}
    return Done(job.case.image, tuple(rows), facts, tuple(seen), seconds, by_codec)


def _observers(job: Job, bench: Bench, said: Mapping[str, Any]) -> dict[str, Any]:
    key = key_of(FORMAT, bench.answer_key(task_of(said, job.base), "raw"), _plain(job.classes), _plain(said["classes"]))
    found: dict[str, Any] = bench.cache.facts("observers", key, lambda: observe.observers(bench, said, job.classes))
    return found


def _level(job: Job, bench: Bench, plans: Mapping[str, CodecPlan], plan: CodecPlan, level: Level) -> list[Row]:
    key, copied = bench.copy_facts(plan, level, plans)
    rows = []
    for said in job.tasks:
        task = task_of(said, job.base)
        measure = [dict(job.metrics), _plain(job.classes), _plain(said["classes"]), said["against"], said["name"]]
        entry = key_of(FORMAT, bench.answer_key(task, key), measure, bench.case.mask_sha256, level.text)
        scores = bench.cache.known("scores", entry)
        if scores is None:
            scores = bench.cache.keep("scores", entry, _scores(job, bench, plans, plan, level, key, copied, said, task))
        rows += [_row(bench.case, plan, level, copied, said["name"], entry, one) for one in scores]
    return rows


def _scores(
    job: Job,
    bench: Bench,
    plans: Mapping[str, CodecPlan],
    plan: CodecPlan,
    level: Level,
    key: str,
    copied: Mapping[str, Any],
    said: Mapping[str, Any],
    task: Task,
) -> list[dict[str, Any]]:
    """The numbers of one task on one compressed image beside those on the uncompressed one."""
    before = _before(job, bench, said, task)
    reader = said.get("reader", "") if said["kind"] == "readers" else ""
    if copied["status"] != "ok":
        return _joined(before, None, copied["status"], copied["note"], reader)
    target = bench.target(plan, level, plans)
    try:
        answer = bench.answer(
            task,
            key,
            lambda: bench.decoded(plan, target, key, copied),
            bench.asked(plan.name, level.text),
            job.keep_predictions,
        )
    except Failed as error:
        status = "missing" if str(error).startswith(readers.NotDrawn.__name__) else "failed"
        worst = None if status == "missing" else _worst(job, said, before)
        return _joined(before, worst, status, str(error), reader)
    after = _measured(job, bench, said, task, answer)
    empty = not isinstance(answer, dict) and not answer.any()
    return _joined(before, after, "empty" if empty else "ok", "", reader)


@dataclass(frozen=True)
class _Before:
    """Numbers on the uncompressed image, and those of a second reader."""

    reference: Numbers
    observer: Numbers
    failed: str


def _before(job: Job, bench: Bench, said: Mapping[str, Any], task: Task) -> _Before:
    """Scores of the task on the uncompressed image; NaN for an organ that is not there or a task that failed."""
    measure = [dict(job.metrics), _plain(job.classes), _plain(said["classes"]), said["against"], said["name"]]
    entry = key_of(FORMAT, "raw", bench.answer_key(task, "raw"), measure, bench.case.mask_sha256)

    def compute() -> Any:
        if said["kind"] == "readers":
            agreed = observe.agreement(bench, said, job.metrics, _classes(job, said))
            return [_listed(agreed.own), _listed(agreed.other), ""]
        try:
            answer = _raw_answer(bench, task)
        except Failed as error:
            names = [(one.organ, one.metric, one.direction) for one in worst_of(*_names(job, said))]
            return [[[o, m, d, NAN] for o, m, d in names], [], str(error)]
        return [_listed(_measured(job, bench, said, task, answer)), [], ""]

    own, other, failed = bench.cache.facts("references", entry, compute)
    return _Before(_numbers(own), _numbers(other), failed)


def _raw_answer(bench: Bench, task: Task) -> Any:
    return bench.answer(task, "raw", lambda: bench.volume, bench.asked(), keep=True)


def _measured(job: Job, bench: Bench, said: Mapping[str, Any], task: Task, answer: Any) -> list[Scored]:
    """A task's answer as numbers: against the truth, against its own answer on the uncompressed image, or as features."""
    if task.kind == "numbers":
        raw = _raw_answer(bench, task)
        out = []
        for name, value in answer.items():
            out.append(Scored(name, "value", "none", value))
            out.append(Scored(name, f"value{CHANGE}", "lower", _change(raw.get(name, NAN), value)))
        return out
    with bench.clock.during("metric"):
        spacing = (1.0, 1.0, 1.0) if job.metrics["units"] == "voxels" else bench.volume.spacing_mm
        own = said["classes"] or job.classes or ANYTHING
        if said["kind"] == "readers":
            truth, keep = observe.reference(bench, said)
            return score(
                truth * keep, answer * keep, job.metrics["names"], spacing,
                reference_labels=_classes(job, said), tolerance_mm=job.metrics["tolerance_mm"],
            )  # fmt: skip
        truth_labels: Pixels
        if said["against"] == "truth":
            assert bench.mask is not None
            truth_labels, wanted = bench.mask, job.classes or ANYTHING
        else:
            truth_labels, wanted = _raw_answer(bench, task), own
        return score(
            truth_labels, answer, job.metrics["names"], spacing,
            reference_labels=wanted, test_labels=own, tolerance_mm=job.metrics["tolerance_mm"],
        )  # fmt: skip


def _worst(job: Job, said: Mapping[str, Any], before: _Before) -> list[Scored]:
    if gives(said) == "numbers":
        return [Scored(o, m, d, NAN if d == "none" else 100.0) for (o, m), (d, _) in before.reference.items()]
    return worst_of(*_names(job, said))


def _names(job: Job, said: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
    return job.metrics["names"], tuple(_classes(job, said))


def _classes(job: Job, said: Mapping[str, Any]) -> Labels:
    """The organs of a task's rows."""
    if said["against"] == "truth":
        return job.classes or ANYTHING
    return said["classes"] or job.classes or ANYTHING


def _joined(
    before: _Before, after: Sequence[Scored] | None, status: str, note: str, reader: str
) -> list[dict[str, Any]]:
    """Rows of (organ, metric) with value beside reference; value NaN when there is nothing to score."""
    values = {(one.organ, one.metric): one for one in after or ()}
    names = dict.fromkeys([*before.reference, *values])
    out = []
    for organ, metric in names:
        direction, reference = before.reference.get((organ, metric), ("", NAN))
        one = values.get((organ, metric))
        out.append(
            {
                "organ": organ,
                "metric": metric,
                "direction": one.direction if one else direction,
                "value": one.value if one else NAN,
                "reference": reference,
                "observer": before.observer.get((organ, metric), ("", NAN))[1],
                "status": status if not before.failed else "failed",
                "note": f"on the uncompressed image: {before.failed}" if before.failed else note,
                "reader": reader,
            }
        )
    return out


def _row(
    case: Case, plan: CodecPlan, level: Level, copied: Mapping[str, Any], task: str, entry: str, one: Mapping[str, Any]
) -> Row:
    ok = copied["status"] == "ok"
    ratio = copied["ratio" if plan.size == "file" else "ratio_payload"] if ok else None
    return {
        "case": case.case,
        "image": case.image,
        "unit": "" if case.image == case.case else case.image,
        "codec": plan.name,
        "level": level.nominal,
        "step": level.step,
        "target": copied["target"],
        "setting": copied.get("setting", ""),
        "task": task,
        **one,
        "fold": "",
        "achieved_cr": NAN if ratio is None else ratio,
        "ratio": copied["ratio"] if ok else NAN,
        "ratio_payload": copied["ratio_payload"] if ok else NAN,
        "raw_bytes": copied["raw_bytes"] if ok else 0,
        "file_bytes": copied["file_bytes"] if ok else 0,
        "payload_bytes": copied["payload_bytes"] if ok else 0,
        "encoded_bytes": copied["file_bytes" if plan.size == "file" else "payload_bytes"] if ok else 0,
        "psnr_db": copied["psnr_db"] if ok else NAN,
        "max_abs_error": copied["max_abs_error"] if ok else NAN,
        "snr_db": copied["snr_db"] if ok else NAN,
        "identical": bool(ok and copied["identical"]),
        "job": entry,
    }


def _change(before: float, after: float) -> float:
    if not (math.isfinite(before) and math.isfinite(after)):
        return NAN
    if before == 0:
        return 0.0 if after == 0 else 100.0
    return 100 * abs(after / before - 1)


def _plain(labels: Labels | None) -> Any:
    return None if labels is None else {name: list(values) for name, values in labels.items()}


def _listed(scored: Sequence[Scored]) -> list[list[Any]]:
    return [[one.organ, one.metric, one.direction, one.value] for one in scored]


def _numbers(listed: Sequence[Sequence[Any]]) -> Numbers:
    return {(organ, metric): (direction, float(value)) for organ, metric, direction, value in listed}
