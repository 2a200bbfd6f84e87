"""Readers on the uncompressed images: who agrees with whom, before compression can be blamed for anything (Cunha 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimscan.metrics import (
    iaov_hausdorff,
    ieov_hausdorff,
    inter_observer,
    intra_observer,
    jaccard_per_slice,
    merge,
    valid_slices,
)
from slimscan.nouns import Pixels
from slimscan.study.bench import Bench
from slimscan.study.score import ANYTHING, Labels, Scored, pick, score
from slimscan.study.tasks.readers import NotDrawn, reading

THRESHOLD = 0.7  # Cunha 2023, after eq. 4: the least Jaccard of a coherent slice


@dataclass(frozen=True)
class Agreement:
    """Scores of two masks of the uncompressed image: a reader with himself later, and with another reader."""

    own: list[Scored]
    other: list[Scored]


def reference(bench: Bench, said: Mapping[str, Any]) -> tuple[Pixels, Pixels]:
    """(the reader's first labels, 1 for every voxel (z, 1, 1) of a slice that counts and 0 elsewhere)."""
    first = _raw(bench, said, said["reader"], 0)
    assert first is not None
    return first, _coherent(first, _raw(bench, said, said["reader"], 1), said["coherent"])


def agreement(bench: Bench, said: Mapping[str, Any], metrics: Mapping[str, Any], classes: Labels) -> Agreement:
    """What the reader's second drawing scores against his first, and the other reader's merged drawing against his.

    Without a second drawing the reader agrees with himself perfectly (his first against itself). With `coherent`, only
    slices count in which each reader's two drawings agree that well, as Cunha 2023 does.
    """
    spacing = (1.0, 1.0, 1.0) if metrics["units"] == "voxels" else bench.volume.spacing_mm
    first, keep = reference(bench, said)
    second = _raw(bench, said, said["reader"], 1)

    def scored(x: Pixels, y: Pixels, kept: Pixels) -> list[Scored]:
        return score(
            x * kept, y * kept, metrics["names"], spacing,
            reference_labels=classes, tolerance_mm=metrics["tolerance_mm"],
        )  # fmt: skip

    own = scored(first, first if second is None else second, keep)
    other: list[Scored] = []
    if said["other"]:
        theirs = _raw(bench, said, said["other"], 0)
        again = _raw(bench, said, said["other"], 1)
        if theirs is not None:
            both = keep * _coherent(theirs, again, said["coherent"])
            other = scored(_merged(first, second), _merged(theirs, again), both)
    return Agreement(own, other)


def observers(bench: Bench, said: Mapping[str, Any], classes: Labels | None) -> dict[str, Any]:
    """Intra- and inter-observer variability of one image, filtered to coherent slices and not, for observers.json."""
    out: dict[str, Any] = {"image": bench.case.image, "case": bench.case.case, "task": said["name"], "organs": {}}
    drawn = {
        (who, time): _raw(bench, said, said[who], time) for who in ("reader", "other") for time in (0, 1) if said[who]
    }
    spacing = bench.volume.spacing_mm
    for organ, values in (said["classes"] or classes or ANYTHING).items():
        masks = {key: None if one is None else pick(one, values) for key, one in drawn.items()}
        a0, a1 = masks.get(("reader", 0)), masks.get(("reader", 1))
        b0, b1 = masks.get(("other", 0)), masks.get(("other", 1))
        found: dict[str, Any] = {}
        if a0 is not None and a1 is not None:
            intra = intra_observer(a0, a1, THRESHOLD)
            curve = valid_slices(a0, a1)
            found |= {
                "iaov": _plain(intra.filtered),
                "iaov_unfiltered": _plain(intra.unfiltered),
                "iaov_hausdorff_mm": _plain(iaov_hausdorff(a0, a1, spacing, THRESHOLD)),
                "iaov_per_slice": [_plain(one) for one in intra.per_slice],
                "valid_slices": {
                    "thresholds": [float(one) for one in np.asarray(curve.thresholds)],
                    "percent": [_plain(one) for one in np.asarray(curve.percent)],
                },
            }
        if a0 is not None and a1 is not None and b0 is not None and b1 is not None:
            inter = inter_observer(a0, a1, b0, b1, THRESHOLD)
            found |= {
                "ieov": _plain(inter.filtered),
                "ieov_unfiltered": _plain(inter.unfiltered),
                "ieov_unmerged": _plain(inter.unmerged),
                "ieov_hausdorff_mm": _plain(ieov_hausdorff(a0, a1, b0, b1, spacing, THRESHOLD)),
                "ieov_per_slice": [_plain(one) for one in inter.per_slice],
            }
        out["organs"][organ] = found
    return out


def _raw(bench: Bench, said: Mapping[str, Any], reader: str, time: int) -> Pixels | None:
    """A drawing of the uncompressed image; None when the second time, or the other reader, has none."""
    if time >= len(said["times"]):
        return None
    try:
        return reading(said, bench.base, reader, said["times"][time], bench.asked())
    except NotDrawn:
        if time == 0 and reader == said["reader"]:
            raise
        return None


def _coherent(first: Pixels, second: Pixels | None, threshold: float) -> Pixels:
    if threshold <= 0 or second is None:
        return np.ones((first.shape[0], 1, 1), first.dtype)
    agree = jaccard_per_slice(first != 0, second != 0) >= threshold
    return agree.astype(first.dtype)[:, None, None]


def _merged(first: Pixels, second: Pixels | None) -> Pixels:
    return first if second is None else np.where(merge(first != 0, second != 0) & (first == second), first, 0)


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
