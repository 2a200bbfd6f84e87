"""A network that `slimscan net train` made: a checkpoint (best.pt), or the .onnx of `slimscan net export`.

Everything that its answer needs stands in the file: normalisation, patch, label values. Large volumes go through in
patches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.models.network import ONNX, TORCH
from slimscan.nouns import Pixels, Volume
from slimscan.study.task import Asked, Task, real
from slimscan.study.words import Word

ABOUT = "a network trained by slimscan: best.pt, or its .onnx"
WORDS = (
    Word("model", "text", "best.pt of `slimscan net train` or the .onnx of `slimscan net export`, from this file's folder"),
    Word("device", "text", "of a checkpoint; an .onnx runs on the CPU", default="auto", allowed=("auto", "cpu", "cuda")),
)  # fmt: skip


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the file is not there."""
    path = base / said["model"]
    if not path.is_file():
        raise InputError(f'model = "{said["model"]}": {path} is not there; paths count from the study\'s TOML')
    onnx = path.suffix.lower() == ".onnx"
    need = ONNX if onnx else TORCH

    def predict(volume: Volume, _asked: Asked) -> Pixels:
        if onnx:
            from slimscan.models import onnx_in

            return onnx_in.labels(onnx_in.exported(str(path), digest), real(volume))
        from slimscan.models.checkpoint import remembered
        from slimscan.models.predict import labels

        return labels(remembered(str(path), digest), real(volume), said["device"])

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = json.dumps([said["kind"], digest, said["device"], need.version()], sort_keys=True)
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict, needs=(need,))
