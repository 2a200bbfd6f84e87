"""How long the trainings take: each network runs a few steps and one prediction here, as many at once as will be."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slimscan.models.crops import crops
from slimscan.models.log import read
from slimscan.models.normal import measured, ready
from slimscan.nouns import Pixels
from slimscan.study.experiments.work import Work

WARM, STEPS = 2, 5


@dataclass(frozen=True)
class Speed:
    """Seconds of one step, and of one case predicted and scored."""

    step: float
    case: float


def measure(job: Work) -> Speed:
    """Train a few steps on two cases and predict one, in a folder that goes away."""
    import torch

    from slimscan.models.checkpoint import load
    from slimscan.models.fit import fit
    from slimscan.study.experiments.work import scores

    one = job.training
    torch.set_num_threads(one.net.fit.threads or torch.get_num_threads())
    cases = job.cases[:2]
    norm = measured(job.norm, (case.real("1") for case in cases))
    images, masks = [ready(case.real("1"), norm) for case in cases], [case.mask() for case in cases]
    said = one.net.fit

    def batches(first: int) -> Iterator[tuple[Pixels, Pixels]]:
        return crops(images, masks, said, one.net.spec.dims, said.seed, first)

    with tempfile.TemporaryDirectory(prefix="slimscan-") as scratch:
        few = replace(said, steps=WARM + STEPS, every=10)  # a line of the log every step
        found = fit(one.net.spec, norm, few, batches, Path(scratch))
        seconds = [line["seconds"] for line in read(Path(scratch) / "log.jsonl")]
        network = load(found)
        scores(job, network, job.cases[0], "1")
        began = time.perf_counter()
        scores(job, network, job.cases[0], "1")
        case = time.perf_counter() - began
    return Speed(max(1e-4, (seconds[-1] - seconds[WARM - 1]) / STEPS), case)


def seconds_of(job: Work, speed: Speed) -> float:
    """What is left of one training with its tests."""
    known = job.known()["tests"]
    tests = sum(ratio not in known for ratio, _ in job.training.tests) * len(job.of(job.training.fold.test))
    return (0 if job.trained() else job.training.net.fit.steps) * speed.step + tests * speed.case


def total(jobs: Sequence[Work], speeds: Mapping[str, Speed], workers: int) -> float:
    """Seconds until all are done: each begins when a worker is free and that from which it starts is done."""
    free = [0.0] * workers
    ends: dict[tuple[int, str, str | None], float] = {}
    for job in jobs:
        one = job.training
        after = ends.get((one.fold.number, one.net.name, one.start), 0.0)
        index = free.index(min(free))
        free[index] = max(free[index], after) + seconds_of(job, speeds[one.net.name])
        ends[one.fold.number, one.net.name, one.trained] = free[index]
    return max(free)
