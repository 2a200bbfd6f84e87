"""All of it: copies, trainings with their tests, and the results; run again, it goes on where it stopped."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from slimscan.each import _deaf, _not_without_parent, cores, processes
from slimscan.errors import OutputError
from slimscan.press.staging import room
from slimscan.study.estimate import spoken
from slimscan.study.experiments import estimate
from slimscan.study.experiments.copies import Copies, check_classes, made, orders_of, peak_of, write
from slimscan.study.experiments.folds import Fold, folds_of
from slimscan.study.experiments.plan import Training, trainings
from slimscan.study.experiments.results import TORCH, workers_of, written
from slimscan.study.experiments.words import Experiment
from slimscan.study.experiments.work import Work, work

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
            pool = _pool(workers_of(experiment))
            try:
                if pending and (only_estimate or say is not None):
                    left = _estimated(pending, pool, workers_of(experiment))
                    if only_estimate:
                        return {"seconds_left": left, "trainings": len(pending), "patients": len(experiment.patients)}
                    assert say is not None
                    say(f"{len(pending)} trainings with {workers_of(experiment)} at once, {spoken(left)}")
                elif only_estimate:
                    return {"seconds_left": 0.0, "trainings": 0, "patients": len(experiment.patients)}
                trained(pending, pool, workers_of(experiment), progress)
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


def _clock(folder: Path) -> float:
    try:
        return float(json.loads((folder / "clock.json").read_text("utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _keep_clock(folder: Path, seconds: float) -> None:
    if folder.is_dir():
        write(folder / "clock.json", json.dumps({"seconds": seconds}).encode())
