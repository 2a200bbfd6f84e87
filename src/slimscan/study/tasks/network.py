"""A TorchScript or ONNX model: the whole volume in, scores a class out, the largest score is the label.

In: float32 (1, 1, z, y, x), normalised as declared. Out: (1, classes, z, y, x); one class means a foreground score that
is cut at `threshold`. Volumes are padded at their ends to a multiple of `multiple` and cut again. The volume goes
through in one piece, so it must fit into memory; larger ones go through the kind "command".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.models.network import ONNX, TORCH, Forward, normalised, open_onnx, open_torch, whole
from slimscan.nouns import Needs, Pixels, Volume
from slimscan.study.task import Asked, Task, real
from slimscan.study.words import Word

ABOUT_TORCH = "a TorchScript model, whole volume at once"
ABOUT_ONNX = "an ONNX model, whole volume at once"
WORDS = (
    Word("model", "text", "file of the model, from this file's folder"),
    Word("normalise", "text", "of the input: none, zscore (over the volume), or range (low..high to 0..1)", default="zscore", allowed=("none", "zscore", "range")),
    Word("low", "number", "of normalise = range, in the image's unit", default=0.0),
    Word("high", "number", "of normalise = range, in the image's unit", default=1.0),
    Word("multiple", "whole", "sides are padded to a multiple of this", default=16, low=1, high=512, unit="voxels"),
    Word("threshold", "number", "of a model with one class, on its own output", default=0.5),
)  # fmt: skip


def make_torch(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the file is not there."""
    return _make(said, base, TORCH, open_torch)


def make_onnx(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the file is not there."""
    return _make(said, base, ONNX, open_onnx)


def _make(said: Mapping[str, Any], base: Path, need: Needs, open_model: Callable[[str], Forward]) -> Task:
    path = base / said["model"]
    if not path.is_file():
        raise InputError(f'model = "{said["model"]}": {path} is not there; paths count from the study\'s TOML')

    def predict(volume: Volume, _asked: Asked) -> Pixels:
        return labels(real(volume), open_model(str(path)), said)

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    words = {word.name: said[word.name] for word in WORDS if word.name != "model"}
    text = json.dumps([said["kind"], digest, words, need.version()], sort_keys=True)
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict, needs=(need,))


def labels(pixels: Pixels, forward: Forward, said: Mapping[str, Any]) -> Pixels:
    """Labels (z, y, x) uint16 of pixels (z, y, x); BadAnswer when the model's output has another form."""
    ready = normalised(pixels, said["normalise"], said["low"], said["high"])
    scores = whole(ready, forward, said["multiple"])
    found = scores[0] > said["threshold"] if len(scores) == 1 else scores.argmax(axis=0)
    return np.asarray(found, np.uint16)
