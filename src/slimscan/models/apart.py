"""A model in a child process with a time limit: networks and Python functions may crash, hang or take all memory.

The image goes there and the answer comes back as NumPy files in a folder of their own, which is removed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child
from slimscan.models import command
from slimscan.models.answer import BadAnswer
from slimscan.models.way import Way
from slimscan.nouns import Pixels, Volume

_SLAB_BYTES = 64 << 20


def network(path: Path, way: Way, volume: Volume, timeout: float) -> Pixels:
    """The probability (z, y, x) float32 that a TorchScript or ONNX model gives. BadAnswer in one line for any failure."""
    return _run({"network": str(path.resolve()), "way": way.plain()}, volume, timeout, "the model")


def function(call: str, volume: Volume, timeout: float) -> Pixels:
    """What a Python function gives for the pixels in their real unit (float64): an array. BadAnswer for any failure.

    It may take spacing_mm (z, y, x) and affine_mm.
    """
    return _run({"call": call}, volume, timeout, "the function")


def bundle(folder: Path, words: Mapping[str, str], volume: Volume, timeout: float) -> Pixels:
    """The labels (z, y, x) that a MONAI bundle gives; words: key, channels and device of monai_bundle.predict. BadAnswer
    for any failure.
    """
    return _run({"bundle": str(folder.resolve()), "words": dict(words)}, volume, timeout, "the bundle")


def _run(job: dict[str, Any], volume: Volume, timeout: float, what: str) -> Pixels:
    if not child.available():
        raise BadAnswer(f"{what} is run by a child process, which needs a Python interpreter; run slimscan in one")
    with tempfile.TemporaryDirectory(prefix="slimscan-model-") as name:
        folder = Path(name)
        _lay_down(volume, folder / "image.npy")
        facts = {
            "slope": volume.slope,
            "intercept": volume.intercept,
            "spacing_mm": volume.spacing_mm,
            "affine_mm": np.asarray(volume.affine_mm, np.float64).tolist(),
            "path": [*sys.path, str(Path.cwd())],  # a module in the folder where one works is found too
        }
        (folder / "job.json").write_text(json.dumps({**job, **facts}), "utf-8")
        try:
            command.run([sys.executable, "-m", "slimscan.models.worker", name], timeout, None, what)
        except BadAnswer as error:
            said = folder / "said.txt"
            raise BadAnswer(said.read_text("utf-8") if said.is_file() else str(error)) from None
        try:
            answer = np.load(folder / "answer.npy", allow_pickle=False)
        except (OSError, ValueError):
            raise BadAnswer(f"{what} ended without an answer") from None
    if answer.shape != volume.shape[:3]:
        raise BadAnswer(f"{what}'s answer is {answer.shape}, the image {volume.shape[:3]} (z, y, x)")
    if answer.dtype.kind not in "biuf":
        raise BadAnswer(f"{what}'s answer holds {answer.dtype}; want a mask, labels or probabilities")
    return np.asarray(answer)


def _lay_down(volume: Volume, place: Path) -> None:
    out = np.lib.format.open_memmap(place, "w+", volume.pixels.dtype.newbyteorder("="), volume.shape)
    step = max(1, _SLAB_BYTES // max(1, int(np.prod(volume.shape[1:])) * out.itemsize))
    for start in range(0, volume.shape[0], step):
        out[start : start + step] = volume.slices(start, min(start + step, volume.shape[0]))
    out.flush()
