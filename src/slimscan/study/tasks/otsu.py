"""Thresholds with cleaning: Otsu's, found in each image anew, or a fixed one in the image's real unit.

Cunha 2023 segments contrast-filled vessels in micro-CT this way, on the raw volume and on every compressed one. The
paper names Otsu's method and nothing else, so cleaning is off unless it is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import slimscan
from slimscan.nouns import Pixels, Volume
from slimscan.regions.threshold import otsu
from slimscan.study.task import Asked, Task, real
from slimscan.study.words import Word

ABOUT = "Otsu's threshold, found in each image anew, with cleaning (Cunha 2023 on micro-CT)"
ABOUT_FIXED = "a fixed threshold in the image's unit, with cleaning"

_CLEANING = (
    Word("side", "text", "which side of the threshold is the object", default="above", allowed=("above", "below")),
    Word("smooth", "number", "sigma of a Gaussian before the threshold", default=0.0, low=0.0, high=50.0, unit="voxels"),
    Word("opening", "whole", "erosions and dilations that cut thin bridges", default=0, low=0, high=20, unit="voxels"),
    Word("min_voxels", "whole", "smaller pieces are removed", default=0, low=0, unit="voxels"),
    Word("max_hole", "whole", "smaller holes are filled", default=0, low=0, unit="voxels"),
    Word("largest", "whole", "keep only that many largest pieces; 0 keeps all", default=0, low=0, unit="pieces"),
)  # fmt: skip
WORDS = (
    *_CLEANING,
    Word("per", "text", "one threshold a volume, or a slice", default="volume", allowed=("volume", "slice")),
)
FIXED_WORDS = (Word("value", "number", "the threshold, in the image's real unit (HU for CT)"), *_CLEANING)


def make(said: Mapping[str, Any], _base: Path) -> Task:
    """The task; its answer is 1 where the object is."""
    words = {word.name: said[word.name] for word in (WORDS if said["kind"] == "otsu" else FIXED_WORDS)}

    def predict(volume: Volume, _asked: Asked) -> Pixels:
        return segment(real(volume), **words)

    text = json.dumps([said["kind"], words, slimscan.__version__, np.__version__, scipy.__version__], sort_keys=True)
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict)


def segment(
    pixels: Pixels,
    *,
    value: float | None = None,
    side: str = "above",
    per: str = "volume",
    smooth: float = 0.0,
    opening: int = 0,
    min_voxels: int = 0,
    max_hole: int = 0,
    largest: int = 0,
) -> Pixels:
    """The mask, uint8 (z, y, x), of pixels (z, y, x) above (or not above) a threshold; Otsu's when value is None.

    Order: smooth, threshold, open (6 neighbours), drop small pieces (26 neighbours), keep the largest, fill holes.
    A constant image has no threshold: nothing is found.
    """
    from scipy import ndimage

    if smooth > 0:
        pixels = ndimage.gaussian_filter(pixels, smooth)
    if value is None and per == "slice":
        mask = np.stack([plane > otsu(plane) for plane in pixels])
    else:
        mask = pixels > (otsu(pixels) if value is None else value)
    if side == "below":
        mask = ~mask if pixels.size and pixels.min() < pixels.max() else np.zeros_like(mask)
    if opening:
        mask = ndimage.binary_opening(mask, iterations=opening)
    if min_voxels > 1 or largest:
        pieces, _ = ndimage.label(mask, structure=np.ones((3, 3, 3), bool))
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        keep = sizes >= max(1, min_voxels)
        if largest and np.count_nonzero(keep) > largest:
            order = np.lexsort((np.arange(len(sizes)), -np.where(keep, sizes, 0)))  # ties: the piece that comes first
            keep = np.zeros_like(keep)
            keep[order[:largest]] = True
        keep[0] = False
        mask = keep[pieces]
    if max_hole:
        holes, _ = ndimage.label(~mask)
        sizes = np.bincount(holes.ravel())
        small = sizes <= max_hole
        small[0] = False
        mask = mask | small[holes]
    return mask.astype(np.uint8)
