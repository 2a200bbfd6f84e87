"""Texture and first-order features of the pixels, in a region that the reference mask gives.

First-order features follow IBSI (Zwanenburg 2020, section 3.3-3.4) as pyradiomics computes them: population moments,
kurtosis without the 3 taken off, entropy in bits over bins of a fixed width that start at a multiple of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan.metrics import boxes_from_mask, wtv
from slimscan.nouns import Pixels, Volume
from slimscan.study.task import Asked, BadAnswer, Task, real
from slimscan.study.words import Word

ABOUT = "first-order features (mean, spread, entropy ...) inside the reference mask"
ABOUT_TEXTURE = "weighted total variation in boxes around annotations (Cunha 2023, eq. 7)"

NAMES = (
    "mean", "median", "minimum", "maximum", "p10", "p90", "variance", "skewness", "kurtosis", "mad", "rms", "entropy", "uniformity",
)  # fmt: skip

_REGION = Word(
    "region", "text", "where: inside the reference mask, or everywhere", default="mask", allowed=("mask", "all")
)
TEXTURE_WORDS = (_REGION,)
WORDS = (
    _REGION,
    Word("features", "texts", "which ones", default=("mean", "variance", "entropy"), allowed=NAMES),
    Word("bin_width", "number", "of entropy and uniformity, in the image's unit", default=25.0, low=1e-9),
)


def make(said: Mapping[str, Any], _base: Path) -> Task:
    """The task of first-order features."""

    def predict(volume: Volume, asked: Asked) -> dict[str, float]:
        pixels = real(volume)
        inside = pixels[_region(said["region"], asked)] if said["region"] == "mask" else pixels.ravel()
        found = first_order(inside, said["bin_width"])
        return {name: found[name] for name in said["features"]}

    return _task(said, predict, [said["region"], list(said["features"]), said["bin_width"]])


def make_texture(said: Mapping[str, Any], _base: Path) -> Task:
    """The task of weighted total variation; with region = all, the whole of every slice is one box."""

    def predict(volume: Volume, asked: Asked) -> dict[str, float]:
        pixels = real(volume)
        if said["region"] == "mask":
            boxes = boxes_from_mask(_region("mask", asked))
        else:
            depth, height, width = pixels.shape
            boxes = np.array([(z, 0, 0, height, width) for z in range(depth)])
        return {"wtv": wtv(pixels, boxes)}

    return _task(said, predict, [said["region"]])


def first_order(values: Pixels, bin_width: float) -> dict[str, float]:
    """All of NAMES over the values of any shape; moments are 0 where the values are constant. BadAnswer for none."""
    if values.size == 0:
        raise BadAnswer("the region holds no voxels")
    values = values.astype(np.float64).ravel()
    mean = float(values.mean())
    centred = values - mean
    variance = float((centred**2).mean())
    spread = variance**0.5
    bins = np.floor(values / bin_width) - np.floor(values.min() / bin_width)
    share = np.bincount(bins.astype(np.int64)) / values.size
    share = share[share > 0]
    return {
        "mean": mean,
        "median": float(np.median(values)),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "p10": float(np.percentile(values, 10)),
        "p90": float(np.percentile(values, 90)),
        "variance": variance,
        "skewness": float((centred**3).mean()) / spread**3 if spread > 0 else 0.0,
        "kurtosis": float((centred**4).mean()) / variance**2 if spread > 0 else 0.0,
        "mad": float(np.abs(centred).mean()),
        "rms": float((values**2).mean()) ** 0.5,
        "entropy": float(-(share * np.log2(share)).sum()) + 0.0,
        "uniformity": float((share**2).sum()),
    }


def _region(_name: str, asked: Asked) -> Pixels:
    if asked.mask is None:
        raise BadAnswer('there is no reference mask; give [cases] masks, or region = "all"')
    return np.asarray(asked.mask != 0)


def _task(said: Mapping[str, Any], predict: Any, words: list[Any]) -> Task:
    text = json.dumps([said["kind"], words, slimscan.__version__, np.__version__])
    sees: Any = "mask" if said["region"] == "mask" else "image"
    return Task(said["name"], "numbers", hashlib.sha256(text.encode()).hexdigest(), predict, sees)
