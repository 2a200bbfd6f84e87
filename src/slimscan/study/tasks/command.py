"""Any command line with {image} and {output}: nnU-Net, TotalSegmentator, a hospital's own container.

The image is written as a file, the command runs in a child process of its own (no shell), and what lies at {output} is
read as labels. A non-zero exit, a timeout, or no output is the task's failure on that image: the worst score.
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
from slimscan.errors import SlimscanError
from slimscan.models.command import filled, words_of
from slimscan.models.command import run as run_child
from slimscan.nouns import Pixels, Volume
from slimscan.press.open import read
from slimscan.study.task import Asked, BadAnswer, Task
from slimscan.study.words import Word

ABOUT = "any command line with {image} and {output}, in a child process"
WORDS = (
    Word("command", "text", "the command; {image} and {output} are files, {case} the case's name"),
    Word("format", "text", "of {image}", default=".nii.gz", allowed=(".nii.gz", ".nii", ".mha", ".nrrd", ".tif")),
    Word("output_format", "text", "of {output}", default=".nii.gz", allowed=(".nii.gz", ".nii", ".mha", ".nrrd", ".tif")),
    Word("timeout", "number", "after which the command is stopped", default=3600.0, low=0.1, high=1e6, unit="seconds"),
    Word("version", "text", "change it when the command answers differently", default=""),
)  # fmt: skip


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the command has no {image} or {output}, or its program is not there."""
    words = words_of(said["command"], ("{image}", "{output}"), base)

    def predict(volume: Volume, asked: Asked) -> Pixels:
        return run(words, volume, asked, said["format"], said["output_format"], said["timeout"], base)

    scripts = [_content(base / word) for word in words if "{" not in word]
    text = json.dumps([said["command"], said["version"], said["format"], said["output_format"], scripts])
    sees = "name" if any("{case}" in word for word in words) else "image"
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict, sees)  # type: ignore[arg-type]


def run(
    words: list[str], volume: Volume, asked: Asked, form: str, output_form: str, timeout: float, base: Path
) -> Pixels:
    """The labels (z, y, x) that the command wrote; BadAnswer with its last words when it failed."""
    with tempfile.TemporaryDirectory(prefix="slimscan-task-") as folder:
        image, output = Path(folder) / f"image{form}", Path(folder) / f"output{output_form}"
        files.write(volume, image)
        holes = {"{image}": str(image), "{output}": str(output), "{case}": asked.case}
        said = run_child(filled(words, holes), timeout, base)
        if not output.exists():
            raise BadAnswer(f"the command ended without writing {{output}}; its last words: {said or 'none'}")
        try:
            return np.asarray(read(output).pixels)
        except SlimscanError as error:
            raise BadAnswer(f"what the command wrote cannot be read: {error}") from error


def _content(path: Path) -> str | None:
    """Fingerprint of a script that the command names, so that an edited script is run again."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except OSError:
        return None
