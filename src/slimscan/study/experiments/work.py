"""One training with its tests: what a worker does, kept after every ratio so that a kill loses little."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError, SlimscanError
from slimscan.metrics.segmentation import dice
from slimscan.metrics.surface import smbd
from slimscan.models.crops import crops
from slimscan.models.normal import measured, ready
from slimscan.models.spec import NormSpec, plain
from slimscan.nouns import Pixels
from slimscan.study.cache import key_of
from slimscan.study.experiments.copies import Copies, write
from slimscan.study.experiments.plan import Training

DONE = "done.json"
FREE = ("device", "threads", "half")  # may differ when a training goes on elsewhere


@dataclass(frozen=True)
class Work:
    """A training with everything that a worker needs. cases: those of the fold. peak: of PSNRs. root: the results."""

    training: Training
    norm: NormSpec
    cases: tuple[Copies, ...]
    names: tuple[str, ...]
    peak: float
    root: Path

    @property
    def stamp(self) -> str:
        """The hash of all that decides the weights and the scores."""
        one = self.training
        fit = {word: value for word, value in plain(one.net.fit).items() if word not in FREE}
        said = [
            plain(one.net.spec),
            fit,
            plain(self.norm),
            self.names,
            one.patients,
            one.ratios,
            one.start,
        ]
        return key_of(said, one.fold.validation, one.fold.test, [case.facts["key"] for case in self.cases])

    @property
    def part(self) -> Path:
        """Its rows."""
        return self.root / "parts" / f"{self.training.name.replace('/', '-')}.json"

    def known(self) -> dict[str, Any]:
        """What was done of it: {"tests": {ratio: rows}, "train_seconds", "test_seconds"}; empty for none."""
        try:
            found: dict[str, Any] = json.loads(self.part.read_text("utf-8"))
        except (OSError, ValueError):
            found = {}
        empty = {"stamp": self.stamp, "tests": {}, "train_seconds": 0.0, "test_seconds": 0.0}
        return found if found.get("stamp") == self.stamp and not self.stale(found) else empty

    def trained(self) -> bool:
        """Whether its weights stand."""
        try:
            said = json.loads((self.training.folder(self.root) / DONE).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return bool(said["stamp"] == self.stamp) and not self.stale(said)

    def stale(self, said: Mapping[str, Any]) -> bool:
        """Whether the network that this one was tuned from is another one by now; the stamp knows its name alone."""
        before = self.training.before(self.root)
        if before is None or said.get("start") is None:
            return False
        try:
            now = json.loads((before / DONE).read_text("utf-8")).get("sha256")
        except (OSError, ValueError):
            return True
        return now is not None and bool(now != said["start"])

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.trained() and all(ratio in self.known()["tests"] for ratio, _ in self.training.tests)

    def of(self, patients: Sequence[str]) -> list[Copies]:
        """The cases of these patients."""
        wanted = set(patients)
        return [case for case in self.cases if case.case.case in wanted]


def work(job: Work) -> str:
    """Train unless it was, test where it was not; the training's name. Errors carry it in their text."""
    import torch

    torch.set_num_threads(job.training.net.fit.threads or torch.get_num_threads())
    try:
        weights = train(job)
        test(job, weights)
    except SlimscanError as error:
        error.args = (f"{job.training.name}: {error}",)
        raise
    return job.training.name


def train(job: Work) -> Path:
    """The weights; a training that was stopped goes on. InputError when the folder holds one on other data."""
    from slimscan.models.checkpoint import load
    from slimscan.models.fit import fit

    one, folder = job.training, job.training.folder(job.root)
    done = folder / DONE
    if job.trained():
        return folder / str(json.loads(done.read_text("utf-8"))["weights"])
    began = time.perf_counter()
    _forget(folder, job)
    _claim(folder, job.stamp)
    images, masks = [], []
    cases = job.of(one.patients)
    norm = measured(job.norm, (case.real(ratio) for case in cases for ratio in one.ratios))
    for case in cases:
        for ratio in one.ratios:
            images.append(ready(case.real(ratio), norm))
            masks.append(case.mask())
    check_crops(masks, job.names)

    def batches(first: int) -> Iterator[tuple[Pixels, Pixels]]:
        return crops(images, masks, one.net.fit, one.net.spec.dims, one.net.fit.seed, first)

    held = job.of(one.fold.validation)
    before = one.before(job.root)
    start = None if before is None else before / str(json.loads((before / DONE).read_text("utf-8"))["weights"])

    def validate(network: Any) -> dict[str, float]:
        rows = [row for case in held for row in scores(job, network, case, one.ratios[-1])]
        by = {
            name: [row["dsc"] for row in rows if row["class"] == name and math.isfinite(row["dsc"])]
            for name in job.names
        }
        means = {name: float(np.mean(some)) for name, some in by.items() if some}
        return {**means, "mean": float(np.mean(list(means.values()))) if means else 0.0}

    found = fit(one.net.spec, norm, one.net.fit, batches, folder, validate=validate if held else None, start=start)
    seconds = time.perf_counter() - began
    network = load(found)
    said = {"stamp": job.stamp, "weights": found.name, "seconds": seconds, "sha256": network.sha256}
    write(done, json.dumps(said | {"start": network.history[-1]["start"]}).encode())
    return found


def test(job: Work, weights: Path) -> None:
    """Rows of every ratio that is not known yet, kept ratio by ratio."""
    from slimscan.models.checkpoint import load

    known = job.known()
    done = json.loads((weights.parent / DONE).read_text("utf-8"))
    known |= {"train_seconds": done["seconds"], "start": done.get("start")}
    wanted = [ratio for ratio, _ in job.training.tests if ratio not in known["tests"]]
    network = load(weights) if wanted else None
    cases = job.of(job.training.fold.test)
    for ratio in wanted:
        began = time.perf_counter()
        known["tests"][ratio] = [row for case in cases for row in scores(job, network, case, ratio)]
        known["test_seconds"] += time.perf_counter() - began
        job.part.parent.mkdir(parents=True, exist_ok=True)
        write(job.part, json.dumps(known).encode())


def scores(job: Work, network: Any, case: Copies, ratio: str) -> list[dict[str, Any]]:
    """One row a class: DSC, SMBD in mm (NaN: not defined), and what the image is."""
    from slimscan.models.predict import labels

    found, truth = labels(network, case.real(ratio), job.training.net.fit.device), case.mask()
    of, spacing = case.facts["of"][ratio], tuple(case.facts["spacing_mm"])
    out = []
    for channel, name in enumerate(job.names, start=1):
        drawn, marked = truth == channel, found == job.training.net.spec.values[channel]
        both = bool(drawn.any() and marked.any())
        out.append(
            {
                "patient": case.case.case, "case": case.case.image, "class": name,
                "dsc": dice(marked, drawn), "smbd_mm": smbd(marked, drawn, spacing) if both else math.nan,
                "ratio_achieved": of["ratio"], "ratio_payload": of["ratio_payload"],
                "psnr_db": case.psnr_db(ratio, job.peak), "peak": job.peak,
            }
        )  # fmt: skip
    return out


def train_bytes(job: Work) -> int:
    """Stored bytes of the images that it was trained on."""
    one = job.training
    return sum(case.facts["of"][ratio]["stored_bytes"] for case in job.of(one.patients) for ratio in one.ratios)


def check_crops(masks: Sequence[Pixels], names: Sequence[str]) -> None:
    """InputError for a class that none of the training masks has."""
    for channel, name in enumerate(names, start=1):
        if not any((mask == channel).any() for mask in masks):
            raise InputError(
                f'the class "{name}" occurs in none of {len(masks)} training masks; a larger share, or other folds'
            )


def rows_of(job: Work) -> list[Mapping[str, Any]]:
    """The rows of a finished training with the columns of rows.csv."""
    one, known = job.training, job.known()
    told = {
        "fold": one.fold.number, "network": one.net.name, "dims": one.net.spec.dims, "trained": one.trained,
        "train_bytes": train_bytes(job),
    }  # fmt: skip
    return [
        {**told, "experiment": letters, "tested": ratio, **row}
        for ratio, letters in one.tests
        for row in known["tests"][ratio]
    ]


def _forget(folder: Path, job: Work) -> None:
    """Take away weights that were tuned from a network that is no more."""
    try:
        said = json.loads((folder / DONE).read_text("utf-8"))
    except (OSError, ValueError):
        return
    if said.get("stamp") == job.stamp and job.stale(said):
        for name in (DONE, "best.pt", "last.pt", "log.jsonl"):
            (folder / name).unlink(missing_ok=True)


def _claim(folder: Path, stamp: str) -> None:
    """The folder is this training's, from its first step on."""
    place = folder / "stamp"
    if place.exists() and place.read_text("utf-8") != stamp:
        raise InputError(f"{folder}: holds a training with other words or images; remove it, or take another -o FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    write(place, stamp.encode())
