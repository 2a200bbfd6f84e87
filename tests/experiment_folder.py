"""A folder of network experiments, drawn by a seeded generator: 2D loses sooner than 3D, fine-tuning wins some of it back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

RATIOS = (1, 5, 10, 20, 50)
CLASSES = ("anterior", "posterior")
COLUMNS = ("experiment", "fold", "network", "dims", "trained", "tested", "patient", "case", "class", "dsc", "smbd_mm",
           "ratio_achieved", "ratio_payload", "psnr_db", "peak", "train_bytes")  # fmt: skip
STRENGTH = {"unet2d": 14.0, "unet3d": 22.0}


def _runs() -> list[tuple[str, str, str, Sequence[int]]]:
    """(experiment, network, trained, ratios tested)."""
    out: list[tuple[str, str, str, Sequence[int]]] = [("a", name, "1", RATIOS) for name in STRENGTH]
    out += [("b", "unet3d", f"1+{ratio}", (ratio,)) for ratio in (5, 50)]
    out += [("c", "unet3d", f"1+{ratio}", RATIOS) for ratio in (10, 20)]
    out += [("d", "unet3d", str(ratio), RATIOS) for ratio in RATIOS[1:]]
    return [*out, *(("e", "unet3d", f"few:{share:g}", (1,)) for share in (0.05, 0.1, 0.2, 0.5))]


def _dsc(network: str, trained: str, tested: int) -> float:
    """The mean DSC that a network is given."""
    base = 0.85
    if trained.startswith("few:"):
        return base - 0.05 * float(trained[4:]) ** -0.4 + 0.05
    at = float(trained.split("+")[-1])
    strength = STRENGTH[network] * (1.0 + 0.25 * np.log(at))
    return float(base - 0.008 * np.log(at) - 0.35 * (tested / strength) ** 2 / (1 + 0.3 * (tested / strength) ** 2))


def make(
    folder: Path,
    patients: int = 24,
    folds: int = 3,
    seed: int = 2021,
    recipe: str = "elkhoury2021",
    keep: Callable[[dict[str, str]], bool] = lambda _row: True,
) -> Path:
    """Writes experiment.json, rows.csv, verdicts.json and nets/. keep: rows that stay; SMBD is empty below a DSC of 0.3."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    skill = rng.normal(0, 0.03, (patients, len(CLASSES)))
    touchy = rng.lognormal(0, 0.3, patients)
    rows = []
    for experiment, network, trained, tested in _runs():
        for ratio in tested:
            middle = _dsc(network, trained, ratio)
            for patient in range(patients):
                for index, name in enumerate(CLASSES):
                    lost = (0.85 - middle) * touchy[patient]
                    dsc = float(np.clip(0.85 - 0.02 * index + skill[patient, index] - lost + rng.normal(0, 0.01), 0, 1))
                    reached = ratio * (1 - 0.006 * ratio) if ratio > 1 else 1.0
                    at = 1.0 if ":" in trained else float(trained.split("+")[-1])
                    share = float(trained[4:]) if ":" in trained else 1.0
                    row = {
                        "experiment": experiment, "fold": str(patient % folds), "network": network, "dims": network[4],
                        "trained": trained, "tested": str(ratio), "patient": f"p{patient:02d}", "case": f"p{patient:02d}",
                        "class": name, "dsc": f"{dsc:.6f}", "smbd_mm": "" if dsc < 0.3 else f"{0.4 + 6 * (1 - dsc) ** 2:.4f}",
                        "ratio_achieved": f"{reached * (1 + 0.01 * np.sin(patient)):.4f}", "ratio_payload": f"{ratio:.4f}",
                        "psnr_db": "" if ratio == 1 else f"{62 - 7 * np.log(ratio) + 0.5 * np.cos(patient):.3f}", "peak": "4096",
                        "train_bytes": f"{2.4e7 * share / at:.0f}",
                    }  # fmt: skip
                    if keep(row):
                        rows.append(row)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, COLUMNS)
        lines.writeheader()
        lines.writerows(rows)
    said = {
        "name": "phantoms", "question": "What do networks lose when images are compressed?", "recipe": recipe, "seed": seed,
        "hardware": "a machine of the test", "versions": {"slimscan": "0", "torch": "0"}, "seconds": 3725.0, "patients": patients,
        "folds": [{"number": n, "test": [f"p{p:02d}" for p in range(n, patients, folds)]} for n in range(folds)], "classes": list(CLASSES), "ratios": list(RATIOS), "codec": "jpeg2000", "size": "payload",
        "networks": {name: {"spec": {"kind": "elkhoury", "dims": int(name[4])}, "steps": 500} for name in STRENGTH},
    }  # fmt: skip
    (folder / "experiment.json").write_text(json.dumps(said), "utf-8")
    judged = {"alpha": 0.05, "delta": 0.02, "n": patients, "needed_n": None, "grade": "A"}
    verdicts = {
        "unet2d/1": judged | {"code": "NOTHING_CERTIFIED", "certified_ratio": None, "bound": None},
        "unet3d/1": judged | {"code": "CERTIFIED", "certified_ratio": 5.0, "bound": 0.0152},
        "unet3d/1+each": judged | {"code": "CERTIFIED", "certified_ratio": 10.0, "bound": 0.0187},
        "unet3d/each": {"code": None, "certified_ratio": None, "why": "no score on uncompressed images"},
        "differences": [],
        "best_to_train_at": {},
    }
    (folder / "verdicts.json").write_text(json.dumps(verdicts), "utf-8")
    for fold in range(folds):
        for network, trained in {(one[1], one[2]) for one in _runs()}:
            place = folder / "nets" / str(fold) / network / trained
            place.mkdir(parents=True, exist_ok=True)
            start = 1.0 if "+" not in trained else 0.3
            with (place / "log.jsonl").open("w", encoding="utf-8") as file:
                for step in range(0, 500, 10):
                    line = {"step": step, "loss": start * np.exp(-step / 150) + 0.1 + 0.01 * fold, "rate": 1e-3}
                    if step % 100 == 0:
                        line["validation"] = {"anterior": 0.85 - 0.5 * start * np.exp(-step / 120), "posterior": 0.8}
                    file.write(json.dumps(line) + "\n")
    return folder
