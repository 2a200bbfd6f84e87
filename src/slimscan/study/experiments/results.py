"""What a run leaves: rows.csv, experiment.json and verdicts.json."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import slimscan
from slimscan.each import cores
from slimscan.models.spec import plain
from slimscan.nouns import Needs
from slimscan.press.receipt import versions
from slimscan.study.experiments.copies import write
from slimscan.study.experiments.folds import Fold
from slimscan.study.experiments.judged import verdicts
from slimscan.study.experiments.words import Experiment, ratio_text
from slimscan.study.experiments.work import Work, rows_of
from slimscan.study.plain import as_json

TORCH = Needs("torch", "torch", "torch")
COLUMNS = (
    "experiment", "fold", "network", "dims", "trained", "tested", "patient", "case", "class", "dsc", "smbd_mm",
    "ratio_achieved", "ratio_payload", "psnr_db", "peak", "train_bytes",
)  # fmt: skip


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
    used = f"{name}, {cores()} cores, {workers_of(experiment)} trainings at once with {run['threads']} threads each"
    if run["device"] != "cpu":
        import torch

        if torch.cuda.is_available():
            used = f"{torch.cuda.get_device_name(0)}; {used}"
    return used


def workers_of(experiment: Experiment) -> int:
    """Trainings at once."""
    said = experiment.said["run"]
    return int(said["workers"] or max(1, cores() // said["threads"]))


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
