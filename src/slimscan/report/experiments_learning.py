"""Learning curves of every network of a folder of experiments, from nets/<fold>/<network>/<trained>/log.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.report.experiments_block import Block
from slimscan.report.experiments_figures import learning_drawn
from slimscan.report.experiments_read import Found, training
from slimscan.report.numbers import plural

POINTS = 160  # of a curve; more make the page heavy and nothing clearer
_KINDS = {"clean": "originals", "compressed": "compressed", "tuned": "fine-tuned", "few": "a share of originals"}


@dataclass(frozen=True)
class Run:
    """One training. loss, validation: (steps, values)."""

    kind: str
    loss: tuple[list[float], list[float]]
    validation: tuple[list[float], list[float]]


def learning(found: Found) -> list[Block]:
    """The section; says so when there are no logs."""
    out = [Block("h2", "Learning curves", key="learning")]
    groups: dict[str, list[Run]] = {}
    bad = 0
    for place in sorted((found.folder / "nets").glob("*/*/*/log.jsonl")):
        run = _read(place)
        bad += run is None
        if run is not None:
            groups.setdefault(place.parent.parent.name, []).append(run)
    if bad:
        out.append(Block("absent", f"{plural(bad, 'log')} of a training could not be read or {'is' if bad == 1 else 'are'} empty."))  # fmt: skip
    if not groups:
        return [*out, Block("absent", "No training left a log in nets/, so there is nothing to draw.")]
    panels = list(groups.items())
    runs = sum(len(one) for _, one in panels)
    caption = (
        f"{plural(runs, 'training')}, a line each: the training loss as means over stretches of the run, and the validation DSC "
        "where one was measured. Fine-tuned networks begin with the weights of the clean one."
    )
    draw = partial(learning_drawn, panels=panels)
    return [*out, Block("figure", caption, key="learning", draw=draw, height=0.4 + 2.7 * len(panels))]


def _read(place: Path) -> Run | None:
    steps, losses, at, scores = [], [], [], []
    try:
        lines = place.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # the last line of a training that was stopped may be cut
        if not isinstance(said, dict):
            continue
        step, loss, score = _number(said.get("step")), _number(said.get("loss")), _score(said.get("validation"))
        if math.isfinite(step) and math.isfinite(loss):
            steps.append(step)
            losses.append(loss)
        if math.isfinite(step) and math.isfinite(score):
            at.append(step)
            scores.append(score)
    if not steps:
        return None
    kind = training(place.parent.name).kind
    return Run(_KINDS.get(kind, "others"), _thin(steps, losses), (at, scores))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _score(value: Any) -> float:
    """A number, the one called "mean", or the mean of the numbers by class."""
    if isinstance(value, Mapping):
        if math.isfinite(told := _number(value.get("mean"))):
            return told
        numbers = [one for one in map(_number, value.values()) if math.isfinite(one)]
        return float(np.mean(numbers)) if numbers else math.nan
    return _number(value)


def _thin(steps: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """At most POINTS means over stretches."""
    pieces = min(POINTS, len(steps))
    return (
        [float(piece.mean()) for piece in np.array_split(np.array(steps), pieces)],
        [float(piece.mean()) for piece in np.array_split(np.array(values), pieces)],
    )
