"""Masks drawn by people on the compressed versions: folders a reader, level and time point.

`masks` names the file of one reading, for example "readers/{reader}/{codec}-{level}/{time}/{case}.nii.gz"; on the
uncompressed images {codec} and {level} are both "raw", and `raw` may name another pattern. Levels are written as their
nominal numbers: 55, 12.5. A file that is not there on a compressed image is a missing reading, told as such in the row:
an empty drawing is an empty file, not an absent one. Several readers are several tasks, one a reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.nouns import Pixels, Volume
from slimscan.press.open import read
from slimscan.study import patterns
from slimscan.study.task import Asked, Task
from slimscan.study.words import Word

ABOUT = "masks that people drew on the compressed versions (Cunha 2023 on MRI and HREM)"
WORDS = (
    Word("masks", "text", "pattern of a drawn mask: {reader}, {codec}, {level}, {time}, {case}"),
    Word("raw", "text", "pattern of a mask drawn on the uncompressed image; left out: masks with codec and level raw", default=None),
    Word("reader", "text", "who drew on the compressed images, and whose first drawing is the reference"),
    Word("other", "text", "a second reader of the uncompressed images: inter-observer variability", default=None),
    Word("times", "texts", "time points of the readings of the uncompressed image, first and second", default=("t0", "t1")),
    Word("coherent", "number", "keep slices whose first and second raw reading have at least this Jaccard (Cunha: 0.7); 0 keeps all", default=0.0, low=0.0, high=1.0),
)  # fmt: skip


class NotDrawn(Exception):
    """There is no file for this reading."""


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; its answer is what the reader drew at the first time point."""

    def predict(_volume: Volume, asked: Asked) -> Pixels:
        return reading(said, base, said["reader"], said["times"][0], asked)

    words = {word.name: said[word.name] for word in WORDS}
    version = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
    return Task(said["name"], "mask", version, predict, "name")


def place_of(said: Mapping[str, Any], base: Path, reader: str, time: str, asked: Asked) -> Path | None:
    """The file of one reading, or None."""
    raw = asked.level == "raw"
    pattern = said["raw"] if raw and said["raw"] else said["masks"]
    holes = {
        "reader": reader,
        "codec": asked.codec,
        "level": asked.level,
        "time": time,
        "case": asked.image,
        "patient": asked.case,
    }
    return patterns.fill(base, pattern, holes)


def reading(said: Mapping[str, Any], base: Path, reader: str, time: str, asked: Asked) -> Pixels:
    """The labels (z, y, x) of one reading; NotDrawn when there is no file."""
    place = place_of(said, base, reader, time, asked)
    if place is None:
        raise NotDrawn(f"{reader} drew nothing for {asked.image}, {asked.codec} {asked.level}, {time}")
    return np.asarray(read(place).pixels)
