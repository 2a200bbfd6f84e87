"""A task: what is done with an image, so that compression may spoil it.

A task is a name, a version, and one function. A mask task answers with labels (z, y, x), 0 is background; a number task
with named numbers. Whatever it raises, and an answer of another form, is data: the worst score, never a missing row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimscan.models import BadAnswer  # a task's answer has another form than promised; the text is kept in the row
from slimscan.nouns import Needs, Pixels, Volume

__all__ = ["Answer", "Asked", "BadAnswer", "Task", "as_labels", "as_numbers", "real"]


@dataclass(frozen=True)
class Asked:
    """What a task may know beside the image. level: "raw" for the uncompressed image, else the nominal number as text.

    mask: the case's reference labels (z, y, x), or None. base: the folder of the study's TOML.
    """

    case: str
    image: str
    codec: str = "raw"
    level: str = "raw"
    mask: Pixels | None = None
    base: Path = Path()


Answer = Pixels | Mapping[str, float]


@dataclass(frozen=True)
class Task:
    """name, kind: as declared. version: everything that decides the answer, as text; the cache goes by it.

    predict(volume, asked): labels for kind "mask", numbers for kind "numbers". sees: "image" when the answer depends on
    pixels alone, "mask" when also on the reference mask, "name" when on the case and level (masks drawn by people).
    """

    name: str
    kind: Literal["mask", "numbers"]
    version: str
    predict: Callable[[Volume, Asked], Any]
    sees: Literal["image", "mask", "name"] = "image"
    needs: tuple[Needs, ...] = ()


def real(volume: Volume) -> Pixels:
    """Pixels in their real unit (HU ...), float64 (z, y, x); colour samples are averaged."""
    pixels = np.asarray(volume.pixels[0 : volume.shape[0]]).astype(np.float64)
    if pixels.ndim == 4:
        pixels = pixels.mean(axis=3)
    return pixels if (volume.slope, volume.intercept) == (1.0, 0.0) else pixels * volume.slope + volume.intercept


def as_labels(answer: Any, shape: tuple[int, ...]) -> Pixels:
    """A mask task's answer as whole labels of the image's (z, y, x); BadAnswer when it cannot be."""
    labels = np.asarray(answer)
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    if labels.shape != shape[:3]:
        raise BadAnswer(f"the answer is {labels.shape}, the image {shape[:3]}")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or not np.array_equal(labels, np.rint(labels)):
            raise BadAnswer("the answer holds fractions, NaN or infinities; labels are whole numbers")
    elif labels.dtype.kind not in "iu":
        raise BadAnswer(f"the answer holds {labels.dtype}; labels are whole numbers")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if not -32768 <= low <= high <= 65535:
        raise BadAnswer(f"labels from {low} to {high}; allowed are 16 bits")
    return labels.astype(np.int16 if low < 0 else np.uint8 if high <= 255 else np.uint16)


def as_numbers(answer: Any) -> dict[str, float]:
    """A number task's answer; BadAnswer when it is no mapping of names to numbers."""
    if not isinstance(answer, Mapping) or not answer:
        raise BadAnswer(f"the answer is a {type(answer).__name__}; want numbers by name")
    try:
        return {str(name): float(value) for name, value in answer.items()}
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"the answer holds something that is no number ({error})") from error
