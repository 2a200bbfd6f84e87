"""A MONAI bundle: the folder that the model zoo ships, run on each image by MONAI in a child process.

The image goes in as a NIfTI file in its real unit; preprocessing, network, inferer and postprocessing are the bundle's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimscan.models import apart
from slimscan.models.monai_bundle import CHANNELS, config_of, model_of
from slimscan.models.monai_door import MONAI, TORCH
from slimscan.nouns import Pixels, Volume
from slimscan.study.task import Asked, Task
from slimscan.study.words import Word

ABOUT = "a MONAI bundle folder (configs/inference.json, models/model.pt or model.ts)"
WORDS = (
    Word("bundle", "text", "folder of the bundle, from this file's folder; its configuration is run as a program"),
    Word("key", "text", "the image's name in its dictionaries", default="image"),
    Word("channels", "text", "several channels in its answer: one label a voxel (the largest), or classes that overlap", default="argmax", allowed=CHANNELS),
    Word("device", "text", "where it runs", default="cpu", allowed=("cpu", "cuda")),
    Word("timeout", "number", "after which it is stopped", default=3600.0, low=0.1, high=1e6, unit="seconds"),
)  # fmt: skip


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the folder is no bundle."""
    bundle = base / said["bundle"]
    parts = [config_of(bundle), model_of(bundle)]
    parts += sorted(one for one in (bundle / "scripts").rglob("*.py") if one.is_file())
    words = {name: said[name] for name in ("key", "channels", "device")}

    def predict(volume: Volume, _asked: Asked) -> Pixels:
        return apart.bundle(bundle, words, volume, said["timeout"])

    digests = [hashlib.sha256(one.read_bytes()).hexdigest() for one in parts]
    text = json.dumps([said["kind"], digests, words, MONAI.version(), TORCH.version()], sort_keys=True)
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict, needs=(TORCH, MONAI))
