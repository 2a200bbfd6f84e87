"""Folders of study results made by hand: tiny images, rows by formula, and the verdict that the judge gives them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from slimscan.study import decide
from slimscan.study.folder import Folder, write_json
from slimscan.study.plan import fix, load
from slimscan.study.rows import COLUMNS, sort_key, write

EVIL = 'evil<script>alert("1")<!--'
LEVELS = (44.0, 40.0, 30.0)
LOSSES = {  # mean loss of Dice at each level, by what is to come of it; the margin is 0.02, the cap 0.1
    "CERTIFIED": (0.001, 0.003, 0.06),
    "ALL_CERTIFIED_GRID_EXHAUSTED": (0.0, 0.001, 0.002),
    "NONE_CERTIFIED": (0.018, 0.03, 0.06),
    "INSUFFICIENT_N": (0.001, 0.003, 0.06),
    "ORDER_MISMATCH": (0.001, 0.003, 0.06),
    "LOSSLESS_ONLY": (0.0, 0.05, 0.06),
}

TOML = """
[study]
name = "phantom <b>"
question = "How far may a <phantom> & its like be compressed?"

[cases]
images = "images/*.nii.gz"
masks = "masks/{case}.nii.gz"

[[codecs]]
name = "jpeg2000"
settings = [44, 40, 30]
peak = "range"

[[tasks]]
name = "bright"
kind = "threshold"
value = 500

[[tasks]]
name = "texture"
kind = "texture"

[metrics]
names = ["dice", "average_hausdorff"]

[contract]
task = "bright"
metric = "dice"
delta = 0.02
bound = 1
"""


def make(place: Path, state: str = "CERTIFIED", *, affine: bool = True, command: bool = True) -> Path:
    """A folder of results, run and judged, whose only codec has that code. affine: whether images state how they lie."""
    names = [EVIL, *(f"case{number:02}" for number in range(1, 6 if state == "INSUFFICIENT_N" else 40))]
    for number, name in enumerate(names):
        _image(place, name, number, affine)
    toml = place / "study.toml"
    toml.write_text(TOML, "utf-8")
    folder = Folder(place / "results")
    folder.path.mkdir()
    folder.toml.write_text(TOML, "utf-8")
    plan = fix(load(toml))
    write_json(folder.plan, plan.as_json())
    rows = [row for number, name in enumerate(names) for row in _rows(name, number, state)]
    write(sorted(rows, key=sort_key), folder.trials)
    about = {"shape": [9, 24, 22], "dtype": "int16", "bits": 12, "spacing_mm": [2.0, 1.0, 1.0], "low": 0.0, "high": 990.0,
             "unit": "", "modality": "MR", "raw_bytes": 9504}  # fmt: skip
    write_json(folder.images, dict.fromkeys(names, about))
    if command:
        told = {"command": ["slimscan", "study", "run", "study.toml"], "machine": "a machine", "wall_seconds": 1.0}
        write_json(folder.timing, {"runs": [told]})
    decide.store(folder, decide.decide(folder))
    return folder.path


def _image(place: Path, name: str, number: int, affine: bool) -> None:
    rng = np.random.default_rng(number)
    z, y, x = np.ogrid[:9, :24, :22]
    inside = ((z - 4) / 3) ** 2 + ((y - 11) / 6) ** 2 + ((x - 9) / (4 + number % 3)) ** 2 < 1
    pixels = (150 + 700 * inside + rng.normal(0, 60, inside.shape)).clip(0, 4095).astype(np.int16)
    matrix = np.diag([-1.0, 1.0, 2.0, 1.0]) if affine else np.eye(4)
    for kind, array in (("images", pixels), ("masks", inside.astype(np.uint8))):
        (place / kind).mkdir(exist_ok=True)
        image = nibabel.Nifti1Image(array.transpose(2, 1, 0), matrix)
        image.set_sform(matrix, 1 if affine else 0)
        image.set_qform(matrix, 1 if affine else 0)
        nibabel.save(image, place / kind / f"{name}.nii.gz")


def _rows(name: str, number: int, state: str) -> list[dict[str, Any]]:
    out = []
    for step, (level, mean) in enumerate(zip(LEVELS, LOSSES[state], strict=True), start=1):
        ratio = (4 * step if state != "ORDER_MISMATCH" else 20 - 4 * step) * (1 + 0.01 * (number % 7))
        exact = state == "LOSSLESS_ONLY" and step == 1
        lost = 0.0 if mean == 0 else mean * (0.5 + (number % 5) / 4) + (0.03 * step if name == EVIL and step > 1 else 0)
        common = {
            "case": name, "image": name, "unit": "", "codec": "jpeg2000", "level": level, "step": step, "target": f"jpeg2000@{level:g}",
            "setting": f"jpeg2000@{level:g}", "reader": "", "fold": "", "observer": math.nan, "achieved_cr": ratio, "ratio": ratio,
            "ratio_payload": ratio * 1.1, "raw_bytes": 9504, "file_bytes": int(9504 / ratio), "payload_bytes": int(9504 / ratio / 1.1),
            "psnr_db": math.inf if exact else level + 0.01 * (number % 5), "max_abs_error": 0.0 if exact else 90.0 / step, "identical": exact,
            "encoded_bytes": int(9504 / ratio), "snr_db": level - 10, "status": "ok", "note": "", "job": f"job {number} {step}",
        }  # fmt: skip
        scores = [
            ("bright", "dice", "higher", "foreground", 1 - lost, 1.0),
            ("bright", "average_hausdorff", "lower", "foreground", lost * 10, 0.0),
            ("texture", "value", "none", "wtv", 90 - 20 * lost, 90.0),
            ("texture", "value_change_percent", "lower", "wtv", 100 * 20 * lost / 90, 0.0),
        ]
        keys = ("task", "metric", "direction", "organ", "value", "reference")
        out += [common | dict(zip(keys, score, strict=True)) for score in scores]
    assert set(out[0]) == set(COLUMNS), set(out[0]) ^ set(COLUMNS)
    return out
