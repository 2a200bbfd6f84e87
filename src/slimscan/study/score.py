"""Two label images to numbers: every asked metric of every organ, with what counts as the worst."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.metrics import METRICS, Metric, hausdorff
from slimscan.nouns import Pixels
from slimscan.study.words import nearest

Labels = Mapping[str, tuple[int, ...]]
Spacing = tuple[float, float, float]

ANYTHING: Labels = {"foreground": ()}  # no label values: everything that is not 0
CHANGE = "_change_percent"

_HD95 = replace(
    METRICS["hausdorff"],
    name="hd95",
    title="Hausdorff distance, 95th percentile",
    function=functools.partial(hausdorff, percentile=95.0),
)
OF_MASKS: Mapping[str, Metric] = {
    **{name: metric for name, metric in METRICS.items() if metric.kind in ("mask", "shape")},
    "hd95": _HD95,
}


@dataclass(frozen=True)
class Scored:
    """One number of one organ. direction: "higher", "lower" or "none" is better."""

    organ: str
    metric: str
    direction: str
    value: float


def metric_of(name: str) -> Metric:
    """A metric of masks; InputError with those that there are."""
    if name not in OF_MASKS:
        raise InputError(
            f'metric "{name}" is not known for masks; allowed: {", ".join(OF_MASKS)}{nearest(name, OF_MASKS)}'
        )
    return OF_MASKS[name]


def names_of(asked: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(metric, direction) of every number that these metrics give, in order.

    A metric of one mask (a volume, a skeleton's length) gives two: itself, and its change in percent of the reference's.
    """
    out: list[tuple[str, str]] = []
    for name in asked:
        metric = metric_of(name)
        out.append((name, metric.direction))
        if metric.kind == "shape":
            out.append((name + CHANGE, "lower"))
    return tuple(out)


def direction_of(name: str) -> str:
    """Which way is better for the name of a number in the rows; InputError when it is not known."""
    return "lower" if name.endswith(CHANGE) else metric_of(name).direction


def worst(name: str) -> float:
    """What a crashed or unusable prediction scores: the bad end of the metric's range."""
    if name.endswith(CHANGE):
        return 100.0  # everything is gone
    metric = metric_of(name)
    if metric.kind == "shape":
        return 0.0
    return metric.low if metric.direction == "higher" else metric.high


def pick(labels: Pixels, values: tuple[int, ...]) -> Pixels:
    """The mask (z, y, x) of some label values; of everything that is not 0 when none are named."""
    if not values:
        return np.asarray(labels != 0)
    return np.asarray(labels == values[0]) if len(values) == 1 else np.isin(labels, values)


def score(
    reference: Pixels,
    test: Pixels,
    metrics: Sequence[str],
    spacing_mm: Spacing,
    *,
    reference_labels: Labels = ANYTHING,
    test_labels: Labels = ANYTHING,
    tolerance_mm: float = 1.0,
) -> list[Scored]:
    """Every metric of every organ; reference, test: label images (z, y, x) of one shape.

    An organ that is empty in the reference scores NaN: there is nothing to find. One that is empty in the test alone
    scores the metric's own value for it (Dice 0, a distance inf). InputError for shapes that differ.
    """
    if reference.shape != test.shape:
        raise InputError(f"the reference mask is {reference.shape} and the other {test.shape}; give masks on one grid")
    out: list[Scored] = []
    for organ, values in reference_labels.items():
        truth, found = pick(reference, values), pick(test, test_labels.get(organ, values))
        absent = not truth.any()
        for name in metrics:
            metric = metric_of(name)
            if metric.kind == "shape":
                got, wanted = _call(metric, (found,), spacing_mm, tolerance_mm), math.nan
                if not absent:
                    wanted = _call(metric, (truth,), spacing_mm, tolerance_mm)
                out.append(Scored(organ, name, metric.direction, got))
                out.append(Scored(organ, name + CHANGE, "lower", _change(wanted, got)))
            else:
                value = math.nan if absent else _call(metric, (truth, found), spacing_mm, tolerance_mm)
                out.append(Scored(organ, name, metric.direction, value))
    return out


def worst_of(metrics: Sequence[str], organs: Sequence[str]) -> list[Scored]:
    """The rows of a prediction that is not there."""
    return [Scored(organ, name, direction, worst(name)) for organ in organs for name, direction in names_of(metrics)]


def _change(before: float, after: float) -> float:
    """Unsigned change in percent; NaN without a before, 0 when both are 0."""
    if math.isnan(before):
        return math.nan
    if before == 0:
        return 0.0 if after == 0 else 100.0
    return 100 * abs(after / before - 1)


def _call(metric: Metric, masks: tuple[Pixels, ...], spacing_mm: Spacing, tolerance_mm: float) -> float:
    takes = _arguments(metric.name)
    said: dict[str, Any] = {}
    if "spacing_mm" in takes:
        said["spacing_mm"] = spacing_mm[-masks[0].ndim :]
    if "tolerance_mm" in takes:
        said["tolerance_mm"] = tolerance_mm
    return float(metric.function(*masks, **said))


@functools.cache
def _arguments(name: str) -> frozenset[str]:
    return frozenset(inspect.signature(OF_MASKS[name].function).parameters)
