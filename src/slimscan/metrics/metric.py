"""What is said about every metric, once: docs, help, reports and tests read it from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["higher", "lower", "none"]
Kind = Literal["image", "texture", "mask", "shape", "observer", "lesion", "vote"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric and its facts.

    unit: "dB", "mm", "stored units", or "" for a pure number. direction: which way is better; "none" when neither is.
    low..high: the values it can take. formula: one plain line. source: the paper and equation, or the standard and
    clause. kind: what the function is called with first: "image" two images (reference, test), "texture" one image,
    "mask" two masks, "shape" one mask, "observer" the masks of observers, "lesion" marked points, "vote" answers.
    """

    name: str
    title: str
    unit: str
    direction: Direction
    low: float
    high: float
    formula: str
    source: str
    function: Callable[..., Any]
    kind: Kind
