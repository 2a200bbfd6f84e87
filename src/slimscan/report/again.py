"""Pictures need pixels, which a study does not keep: the few cases that the page shows are compressed once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from slimscan.errors import SlimscanError
from slimscan.nouns import Pixels, Volume
from slimscan.report.results import Decisive, Results
from slimscan.study.redo import redo


@dataclass(frozen=True)
class Again:
    """One case at one level. truth: what scores were held against, when that is a reference mask; before, after: the
    task's labels on the original and on the decoded image. All (z, y, x), None where there are none.
    """

    original: Volume
    decoded: Volume
    truth: Pixels | None = None
    before: Pixels | None = None
    after: Pixels | None = None


Take = Callable[[str, str, int], Again | str]  # (image, codec, step) -> the case, or why it cannot be shown


def taker(results: Results) -> Take:
    """A function that compresses a case of the study again, each once; it gives a sentence where that fails."""

    @lru_cache(maxsize=8)
    def take(image: str, codec: str, step: int) -> Again | str:
        level = dict(results.steps(codec))[step]
        try:
            found = redo(results.folder, image, codec, level)
        except (SlimscanError, OSError) as error:
            # Where the files lie is nobody's business on paper, and must not change the page.
            said = next((str(one["path"]) for one in results.plan["cases"] if one["image"] == image), "")
            text = str(error).replace(f"{said}: ", "").replace(said, image) if said else str(error)
            return text if text.endswith(".") else f"{text}."
        return Again(found.original, found.decoded, found.truth, found.before, found.after)

    return take


@dataclass(frozen=True)
class Shown:
    """A patient's image to show: the one that lost most at a step of a codec, and how much. level: nominal."""

    codec: str
    step: int
    level: float
    case: str
    image: str
    loss: float
    one: Decisive
    role: str


def picks(results: Results) -> tuple[Shown, ...]:
    """For every codec the worst case at its strongest certified level and at the first level that was not certified.

    Without a certified level: the mildest and the strongest one. Worst is the largest loss in units of its cap.
    """
    out = []
    for name in results.codecs:
        codec = results.by_codec.get(name) or {}
        steps = [step for step, _ in results.steps(name) if results.ratios(name, step)]
        held = results.step_of(name, codec.get("level"))
        stopped = results.step_of(name, codec.get("blocked_by"))
        if held is not None:
            wanted = [(held, "strongest certified level"), (stopped, "first level that is not certified")]
        else:
            ends = dict.fromkeys([*steps[:1], *steps[-1:]])
            wanted = [
                (step, "mildest level, not certified" if n == 0 else "strongest level, not certified")
                for n, step in enumerate(ends)
            ]
        for step, role in wanted:
            if step is not None and (found := worst(results, name, step, role)):
                out.append(found)
    return tuple(out)


def worst(results: Results, codec: str, step: int, role: str) -> Shown | None:
    """The patient that lost most at a step; of several images of that patient the one with the worst value."""
    best: tuple[float, str, float, Decisive] | None = None
    for one in results.decisive:
        absent = results.absent(one, codec, step)  # there is no picture of what could not be compressed
        for case, lost in sorted(results.losses(one, codec, step).items()):
            if case in absent:
                continue
            if best is None or lost / one.cap > best[0]:
                best = (lost / one.cap, case, lost, one)
    if best is None:
        return None
    _, case, lost, one = best
    better = 1 if one.direction == "higher" else -1
    rows = [row for row in results.scores(one, codec, step) if row["case"] == case and row["value"] is not None]
    image = str(min(rows, key=lambda row: (better * float(row["value"]), str(row["image"])))["image"]) if rows else case
    level = dict(results.steps(codec))[step]
    return Shown(codec, step, level, case, image, lost, one, role)


def organ_masks(results: Results, one: Decisive, found: Again) -> dict[str, Pixels]:
    """Masks (z, y, x) of an organ by name: truth, before, after; those that there are."""
    task: Mapping[str, Any] = next((task for task in results.plan.get("tasks") or () if task["name"] == one.task), {})
    shared = results.plan.get("classes") or {}
    own = task.get("classes") or shared
    labels = {
        "truth": (found.truth if task.get("against") == "truth" else None, shared),
        "before": (found.before, own),
        "after": (found.after, own),
    }
    return {
        name: _pick(pixels, classes.get(one.organ) or ())
        for name, (pixels, classes) in labels.items()
        if pixels is not None
    }


def telling_slice(found: Again, masks: Mapping[str, Pixels]) -> int:
    """The slice to show: where the masks on the original and the decoded image differ most, else the largest error."""
    reference = masks.get("before", masks.get("truth"))
    if reference is not None and "after" in masks:
        differs = (reference != masks["after"]).sum(axis=(1, 2))
        if differs.any():
            return int(differs.argmax())
    original, decoded = (
        np.asarray(one.slices(0, one.shape[0])).astype(np.float64) for one in (found.original, found.decoded)
    )
    error = ((original - decoded) ** 2).reshape(len(original), -1).sum(axis=1)
    if reference is not None and reference.any():
        error = np.where(reference.any(axis=(1, 2)), error, -1.0)
    return int(error.argmax())


def _pick(labels: Pixels, values: Sequence[int]) -> Pixels:
    return np.asarray(np.isin(labels, list(values)) if values else labels != 0)
