"""A trained nnU-Net v2 model: anybody's folder of plans, dataset.json and checkpoints, run by nnU-Net in a child process.

The image goes in as a file of the kind that the model was trained on; labels are those of its dataset.json.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import files
from slimscan.errors import InputError
from slimscan.models import nnunet as door
from slimscan.models.nnunet_data import ENDINGS, bare, channel_file, checkpoints, model_json
from slimscan.nouns import Pixels, Volume
from slimscan.press.open import read
from slimscan.study.task import Asked, Task
from slimscan.study.words import Word

ABOUT = "a trained nnU-Net v2 model (its folder of plans.json, dataset.json and fold_N)"
WORDS = (
    Word("model", "text", "folder like nnUNetTrainer__nnUNetPlans__3d_fullres, from this file's folder"),
    Word("folds", "texts", "whose scores are averaged; left out: all that are there", default=None),
    Word("checkpoint", "text", "file in each fold", default="checkpoint_final.pth"),
    Word("mirror", "flag", "predict mirrored copies too and take the mean, nnU-Net's default: 8 times the work in 3D", default=True),
    Word("step", "number", "of the sliding window, a share of the patch", default=0.5, low=0.1, high=1.0),
    Word("trust", "flag", "load a checkpoint that holds more than numbers, which may run code", default=False),
    Word("device", "text", "auto: a GPU where torch finds one", default="auto", allowed=("auto", "cpu", "cuda")),
    Word("threads", "whole", "0: all cores", default=0, low=0, high=4096),
    Word("timeout", "number", "after which it is stopped", default=3600.0, low=0.1, high=1e6, unit="seconds"),
)  # fmt: skip


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the folder is no trained model, or one of several channels."""
    model = base / said["model"]
    dataset, plans = model_json(model)
    weights = checkpoints(model, said["folds"] or (), said["checkpoint"])
    ending = dataset["file_ending"]
    if len(dataset["channel_names"]) != 1 or ending not in ENDINGS:
        raise InputError(
            f"{model}: takes {len(dataset['channel_names'])} channels as {ending}; want one channel, as {', '.join(ENDINGS)}"
        )
    machine = door.Machine(said["device"], said["threads"], 0, said["timeout"])

    def predict(volume: Volume, _asked: Asked) -> Pixels:
        with tempfile.TemporaryDirectory(prefix="slimscan-task-") as name:
            image, label = Path(name) / channel_file("image", ending), Path(name) / "out" / f"image{ending}"
            files.write(bare(volume), image)
            door.predict(
                model,
                {image: label},
                machine,
                folds=said["folds"] or (),
                checkpoint=said["checkpoint"],
                mirror=said["mirror"],
                step=said["step"],
                trust=said["trust"],
            )
            return np.asarray(read(label).pixels)

    digests = [hashlib.sha256(one.read_bytes()).hexdigest() for one in weights]
    words = [said[name] for name in ("mirror", "step", "device")]
    text = json.dumps([said["kind"], digests, dataset, plans, words, door.NNUNET.version()], sort_keys=True)
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict, needs=(door.NNUNET,))
