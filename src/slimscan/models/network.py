"""TorchScript and ONNX networks: opened, fed as their description says, and their output as one probability a voxel."""

from __future__ import annotations

import functools
import importlib
import itertools
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.models.answer import BadAnswer
from slimscan.models.way import Way
from slimscan.nouns import Needs, Pixels

TORCH = Needs("torch", "torch", "torch")
ONNX = Needs("onnxruntime", "onnxruntime", "onnx")
KINDS = {".pt": TORCH, ".pth": TORCH, ".ts": TORCH, ".torchscript": TORCH, ".onnx": ONNX}

_SLICES_AT_ONCE = 8
_ROUNDED = 1e-3  # a softmax in half precision ends this far beyond 0..1

Forward = Callable[[Pixels], Pixels]  # (n, 1, ...) float32 -> (n, classes, ...)


def needs_of(path: Path) -> Needs:
    """The package that opens a model of this name; InputError, with the names that are allowed, when none does."""
    found = KINDS.get(path.suffix.lower())
    if found is None:
        raise InputError(f"{path}: is no model that can be run; allowed: {' '.join(KINDS)} (TorchScript, ONNX)")
    return found


def is_checkpoint(path: Path) -> bool:
    """Whether a .pt is weights alone, as `slimscan net train` writes them, and no TorchScript program."""
    if KINDS.get(path.suffix.lower()) is not TORCH or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return not any(name.endswith("/constants.pkl") for name in archive.namelist())


def open_network(path: str | Path) -> Forward:
    """The network in the file, on the CPU. Whatever the library raises comes through."""
    return (open_onnx if needs_of(Path(path)) is ONNX else open_torch)(str(path))


@functools.lru_cache(maxsize=2)
def open_torch(path: str) -> Forward:
    """A TorchScript module."""
    torch: Any = importlib.import_module("torch")  # not installed where types are checked
    model = torch.jit.load(path, map_location="cpu").eval()

    def forward(batch: Pixels) -> Pixels:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(batch)).cpu().numpy())

    return forward


@functools.lru_cache(maxsize=2)
def open_onnx(path: str) -> Forward:
    """An ONNX graph with one input; its first output counts."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(batch: Pixels) -> Pixels:
        return np.asarray(session.run(None, {name: batch})[0])

    return forward


def normalised(pixels: Pixels, way: str, low: float, high: float) -> Pixels:
    """Pixels of any shape, real values, ready for a network: none, zscore (of all of them), or range (low..high to 0..1)."""
    if way == "zscore":
        spread = float(pixels.std())
        return np.asarray((pixels - pixels.mean()) / (spread if spread > 0 else 1.0))
    if way == "range":
        return np.asarray(np.clip((pixels - low) / (high - low), 0.0, 1.0))
    return pixels


def whole(ready: Pixels, forward: Forward, multiple: int) -> Pixels:
    """Scores (classes, ...) of normalised pixels (...), one batch; BadAnswer when the output has another form.

    Two or three dimensions; padded at their ends to the multiple with the edge's values and cut again.
    """
    return np.asarray(batch(ready[None], forward, multiple)[0])


def batch(ready: Pixels, forward: Forward, multiple: int) -> Pixels:
    """Scores (n, classes, ...) of normalised pixels (n, ...): see `whole`."""
    sides = ready.shape[1:]
    pad = [(0, 0), *((0, -side % multiple) for side in sides)]
    padded = np.pad(ready, pad, mode="edge").astype(np.float32)[:, None]
    scores = np.asarray(forward(padded))
    if scores.ndim != padded.ndim or scores.shape[0] != len(ready) or scores.shape[2:] != padded.shape[2:]:
        want = ", ".join(map(str, padded.shape[2:]))
        raise BadAnswer(f"the model's output is {scores.shape}; want ({len(ready)}, classes, {want})")
    return np.asarray(scores[(slice(None), slice(None), *(slice(0, side) for side in sides))])


def probability(scores: Pixels, way: Way) -> Pixels:
    """float32 (...) in 0..1 of scores (classes, ...); BadAnswer for NaN, a channel that is not there, values beyond 0..1."""
    channels = len(scores)
    index = way.index if channels > 1 else 0
    if index >= channels:
        raise BadAnswer(f"the model has {channels} channels, class {index} is none of 0..{channels - 1}")
    if not np.isfinite(scores).all():
        raise BadAnswer("the model's output holds NaN or infinity")
    if way.output == "softmax":
        if channels == 1:
            raise BadAnswer('the model has one channel, and a softmax of one is always 1; say output = "sigmoid"')
        shifted = scores.astype(np.float64) - scores.max(axis=0)
        powers = np.exp(shifted)
        found = powers[index] / powers.sum(axis=0)
    elif way.output == "sigmoid":
        found = 0.5 * (1.0 + np.tanh(0.5 * scores[index].astype(np.float64)))
    else:
        found = scores[index]
        low, high = float(found.min()), float(found.max())
        if low < -_ROUNDED or high > 1 + _ROUNDED:
            raise BadAnswer(
                f"the model's output goes from {low:.4g} to {high:.4g}, and probabilities from 0 to 1 are wanted; say output ="
                ' "sigmoid" or "softmax" in the TOML file beside the model'
            )
    return np.asarray(np.clip(found, 0.0, 1.0), np.float32)


def predict(pixels: Pixels, forward: Forward, way: Way) -> Pixels:
    """The probability (z, y, x) float32 of pixels (z, y, x) in their real unit. BadAnswer: see batch and probability."""
    ready = normalised(pixels, way.normalise, way.low, way.high)
    if way.run == "whole":
        return probability(whole(ready, forward, way.multiple), way)
    out = np.zeros(ready.shape, np.float32)
    if way.run == "slices":
        for start in range(0, len(ready), _SLICES_AT_ONCE):
            scores = batch(ready[start : start + _SLICES_AT_ONCE], forward, way.multiple)
            out[start : start + _SLICES_AT_ONCE] = [probability(one, way) for one in scores]
        return out
    total = np.zeros(ready.shape, np.float32)
    blend = weights(tuple(min(side, most) for side, most in zip(way.patch, ready.shape, strict=True)))
    for place in places(ready.shape, way.patch, way.overlap):
        found = probability(whole(ready[place], forward, way.multiple), way)
        out[place] += found * blend
        total[place] += blend
    return np.asarray(out / total)


def places(shape: tuple[int, ...], patch: tuple[int, ...], overlap: float) -> Iterator[tuple[slice, ...]]:
    """Patches that cover the volume, the last ones moved back to its end."""
    starts = []
    for side, most in zip(patch, shape, strict=True):
        step = max(1, round(side * (1 - overlap)))
        last = max(0, most - side)
        starts.append(sorted({*range(0, last, step), last}))
    for place in itertools.product(*starts):
        yield tuple(slice(at, at + side) for at, side in zip(place, patch, strict=True))


def weights(sides: tuple[int, ...]) -> Pixels:
    """Weights of a patch's voxels: the product of their distances from its ends."""
    ramps = [np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)) / ((side + 1) // 2) for side in sides]
    return np.asarray(np.einsum("i,j,k->ijk", *ramps), np.float32)
