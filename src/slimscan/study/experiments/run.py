"""All of it: copies, trainings with their tests, and the results; run again, it goes on where it stopped."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import slimscan
from slimscan.each import _deaf, _not_without_parent, cores, processes
from slimscan.errors import OutputError
from slimscan.models.spec import plain
from slimscan.nouns import Needs
from slimscan.press.receipt import versions
from slimscan.press.staging import room
from slimscan.study.estimate import spoken
from slimscan.study.experiments import estimate
from slimscan.study.experiments.copies import Copies, check_classes, made, orders_of, peak_of, write
from slimscan.study.experiments.folds import Fold, folds_of
from slimscan.study.experiments.judged import verdicts
from slimscan.study.experiments.plan import Training, trainings
from slimscan.study.experiments.words import Experiment, ratio_text
from slimscan.study.experiments.work import Work, rows_of, work
from slimscan.study.plain import as_json

TORCH = Needs("torch", "torch", "torch")
COLUMNS = (
    "experiment", "fold", "network", "dims", "trained", "tested", "patient", "case", "class", "dsc", "smbd_mm",
    "ratio_achieved", "ratio_payload", "psnr_db", "peak", "train_bytes",
)  # fmt: skip
POLL = 1.0  # seconds between two looks at the logs

Progress = Callable[[str, float, float], None]  # (what is done, how much is done, of how much)
Say = Callable[[str], None]


def run(
    experiment: Experiment,
    folder: Path,
    progress: Progress | None = None,
    say: Say | None = None,
    only_estimate: bool = False,
) -> dict[str, Any]:
    """Run the experiments into folder; what is there already is kept. Returns the content of experiment.json.

    only_estimate: make the copies, say how long the rest takes, and stop; returns {"seconds_left", "trainings"}.
    MissingExtra without torch; InputError for patients, classes or masks that do not fit, and for a loss that is NaN.
    """
    TORCH.demand("training networks")
    folds = folds_of(experiment)
    began, spent = time.perf_counter(), _clock(folder)
    with room(folder / "rows.csv"):
        try:
            copies = copied(experiment, folder, progress)
            check_classes(experiment, copies)
            jobs = jobs_of(experiment, folds, copies, folder)
            pending = [job for job in jobs if not job.finished()]
            pool = _pool(_workers(experiment))
            try:
                if pending and (only_estimate or say is not None):
                    left = _estimated(pending, pool, _workers(experiment))
                    if only_estimate:
                        return {"seconds_left": left, "trainings": len(pending), "patients": len(experiment.patients)}
                    assert say is not None
                    say(f"{len(pending)} trainings with {_workers(experiment)} at once, {spoken(left)}")
                elif only_estimate:
                    return {"seconds_left": 0.0, "trainings": 0, "patients": len(experiment.patients)}
                trained(pending, pool, _workers(experiment), progress)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        finally:
            spent += time.perf_counter() - began
            _keep_clock(folder, spent)
        return written(experiment, folds, jobs, folder, spent)


def copied(experiment: Experiment, folder: Path, progress: Progress | None = None) -> dict[str, Copies]:
    """The copies of every case by its name, made in parallel where they are missing."""
    orders, out = orders_of(experiment, folder), {}
    count = min(cores(), experiment.said["run"]["workers"] or cores(), len(orders))
    fresh = any(not (order.folder / "facts.json").exists() for order in orders)
    each = processes(count) if fresh and count > 1 else map
    try:
        for done, one in enumerate(each(made, orders), start=1):
            out[one.case.image] = one
            if progress is not None:
                progress("copies", done, len(orders))
    except BrokenProcessPool:
        raise OutputError("a worker died while compressing (the memory was full?); the same command goes on") from None
    return out


def jobs_of(experiment: Experiment, folds: Sequence[Fold], copies: Mapping[str, Copies], folder: Path) -> list[Work]:
    """Every training as work, those first from which others begin."""
    peak, names = peak_of(experiment, copies), tuple(experiment.classes)
    every = trainings(experiment, folds)
    begun = {(one.fold.number, one.net.name, one.start) for one in every if one.start}
    every.sort(key=lambda one: (one.start is not None, (one.fold.number, one.net.name, one.trained) not in begun))
    return [Work(one, experiment.norm, tuple(copies.values()), names, peak, folder) for one in every]


def trained(jobs: Sequence[Work], pool: ProcessPoolExecutor, workers: int, progress: Progress | None) -> None:
    """Do all jobs, each after the one that it begins from. The first error ends it; what is finished stays."""
    waiting, done, under_way = list(jobs), set[str](), dict[Future[str], Work]()
    names = {job.training.name for job in jobs}
    whole = float(sum(job.training.net.fit.steps for job in jobs))
    try:
        while waiting or under_way:
            for job in list(waiting):
                if len(under_way) < workers and not ({_before(job.training)} & names) - done:
                    waiting.remove(job)
                    with _deaf():
                        under_way[pool.submit(work, job)] = job
            finished, _ = wait(under_way, POLL, FIRST_COMPLETED)
            for future in finished:
                done.add(future.result())
                del under_way[future]
            if progress is not None:
                over = sum(job.training.net.fit.steps for job in jobs if job.training.name in done)
                progress("steps", over + sum(_step(job) for job in under_way.values()), whole)
    except BrokenProcessPool:
        some = ", ".join(job.training.name for job in under_way.values())
        raise OutputError(
            f"a worker died while training {some} (the memory was full, or it was killed); the same command goes on, with "
            "fewer [run] workers when memory is short"
        ) from None
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()  # what they have written stands; the rest is not waited for
        raise


def written(
    experiment: Experiment, folds: Sequence[Fold], jobs: Sequence[Work], folder: Path, seconds: float
) -> dict[str, Any]:
    """rows.csv, experiment.json and verdicts.json; returns the second."""
    rows = [row for job in sorted(jobs, key=_order) for row in rows_of(job)]
    hidden = folder / f".rows.{os.getpid()}.csv"
    with hidden.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: _cell(row[name]) for name in COLUMNS} for row in rows)
    hidden.replace(folder / "rows.csv")
    said = told(experiment, folds, jobs, seconds)
    write(folder / "experiment.json", json.dumps(said, indent=1).encode())
    write(folder / "verdicts.json", json.dumps(as_json(verdicts(experiment, rows)), indent=1).encode())
    return said


def told(experiment: Experiment, folds: Sequence[Fold], jobs: Sequence[Work], seconds: float) -> dict[str, Any]:
    """experiment.json: what was asked, of whom, on what, and how long it took."""
    study, copies = experiment.said["study"], experiment.said["copies"]
    parts = [job.known() for job in jobs]
    out: dict[str, Any] = as_json(
        {
            "name": study["name"], "question": study["question"], "note": study["note"], "recipe": study["recipe"],
            "seed": experiment.said["run"]["seed"], "hardware": hardware(experiment), "versions": _versions(copies["codec"]),
            "seconds": seconds, "seconds_training": sum(part["train_seconds"] for part in parts),
            "seconds_testing": sum(part["test_seconds"] for part in parts), "trainings": len(jobs),
            "patients": len(experiment.patients), "cases": len(experiment.cases),
            "folds": [{"number": one.number, "train": list(one.train), "validation": list(one.validation), "test": list(one.test)} for one in folds],
            "classes": list(experiment.classes), "labels": dict(experiment.classes),
            "ratios": [ratio_text(ratio) for ratio in experiment.ratios],
            "networks": {net.name: {"spec": plain(net.spec), "fit": plain(net.fit), "dims": net.spec.dims, "steps": net.fit.steps} for net in experiment.networks},
            "normalise": plain(experiment.norm), "codec": copies["codec"], "size": copies["size"], "per": copies["per"],
            "peak": jobs[0].peak if jobs else None, "experiments": list(experiment.which), "modality": experiment.said["cases"]["modality"],
            "grid": dict(experiment.said["grid"]), "plan": dict(experiment.said["experiments"]), "contract": dict(experiment.said["contract"]),
        }
    )  # fmt: skip
    return out


def hardware(experiment: Experiment) -> str:
    """The processor or GPU, and how it was used."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    run = experiment.said["run"]
    used = f"{name}, {cores()} cores, {_workers(experiment)} trainings at once with {run['threads']} threads each"
    if run["device"] != "cpu":
        import torch

        if torch.cuda.is_available():
            used = f"{torch.cuda.get_device_name(0)}; {used}"
    return used


def _workers(experiment: Experiment) -> int:
    said = experiment.said["run"]
    return int(said["workers"] or max(1, cores() // said["threads"]))


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), _not_without_parent)


def _estimated(jobs: Sequence[Work], pool: ProcessPoolExecutor, workers: int) -> float:
    firsts = {job.training.net.name: job for job in reversed(jobs)}
    speeds = {}
    try:
        for name, job in firsts.items():
            with _deaf():
                some = [pool.submit(estimate.measure, job) for _ in range(workers)]
            found = [one.result() for one in some]
            speeds[name] = max(found, key=lambda one: one.step)
    except BrokenProcessPool:
        raise OutputError(
            "a worker died at its first steps (the memory was full?); make batch or patch smaller"
        ) from None
    return estimate.total(jobs, speeds, workers)


def _before(one: Training) -> str:
    return f"{one.fold.number}/{one.net.name}/{one.start}"


def _step(job: Work) -> float:
    """How far a training is, by its log."""
    try:
        with (job.training.folder(job.root) / "log.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            lines = file.read().splitlines()
        return float(json.loads(lines[-1])["step"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return 0.0


def _order(job: Work) -> tuple[Any, ...]:
    one = job.training
    return (
        one.fold.number,
        one.net.name,
        len(one.trained.partition("+")[2]) > 0,
        one.trained.startswith("few"),
        one.name,
    )


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _versions(codec: str) -> dict[str, str]:
    return {"slimscan": slimscan.__version__, "torch": TORCH.version(), **versions(codec)}


def _clock(folder: Path) -> float:
    try:
        return float(json.loads((folder / "clock.json").read_text("utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _keep_clock(folder: Path, seconds: float) -> None:
    if folder.is_dir():
        write(folder / "clock.json", json.dumps({"seconds": seconds}).encode())
