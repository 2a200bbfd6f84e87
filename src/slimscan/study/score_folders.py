"""Two folders of masks, matched by name, scored case by case or slice by slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Pixels, Volume
from slimscan.press.open import read
from slimscan.study.patterns import find, stem
from slimscan.study.score import ANYTHING, Labels, names_of, score, worst_of
from slimscan.study.task import BadAnswer, as_labels

DEFAULT = ("dice", "jaccard", "average_hausdorff", "hd95")


@dataclass(frozen=True)
class Line:
    """One case (or slice, counted from 0) and class. values: metric -> number; NaN: the class is not in the reference."""

    case: str
    slice: int | None
    organ: str
    values: dict[str, float]
    missing: bool


def score_folders(
    reference: str | Path,
    prediction: str | Path,
    *,
    classes: Sequence[int] = (),
    metrics: Sequence[str] = DEFAULT,
    per: Literal["case", "slice"] = "case",
    tolerance_mm: float = 1.0,
) -> list[Line]:
    """Every reference mask against the prediction of the same name (suffixes apart), in the order of the names.

    reference, prediction: folders, or one file each. A prediction that is missing scores the worst, and says so.
    InputError: no masks, predictions that belong to no reference, shapes that differ, or spacings that differ.
    """
    for name in metrics:
        names_of([name])
    wanted, given = _masks(reference), _masks(prediction)
    if len(wanted) == len(given) == 1:
        given = dict(zip(wanted, given.values(), strict=True))
    strangers = [name for name in given if name not in wanted]
    if strangers:
        raise InputError(f"{given[strangers[0]]}: there is no reference of that name in {reference}")
    labels: Labels = {str(one): (one,) for one in classes} or ANYTHING
    out: list[Line] = []
    for name, path in wanted.items():
        truth = read(path)
        x = _labels(truth, path)
        if name not in given:
            rows = worst_of(metrics, tuple(labels))
            out += [Line(name, None, organ, _of(rows, organ), True) for organ in labels]
            continue
        found = read(given[name])
        y = _labels(found, given[name])
        _same_grid(truth, found, path, given[name])
        pieces = [(None, x, y)] if per == "case" else [(z, x[z : z + 1], y[z : z + 1]) for z in range(x.shape[0])]
        for z, a, b in pieces:
            rows = score(a, b, metrics, truth.spacing_mm, reference_labels=labels, tolerance_mm=tolerance_mm)
            out += [Line(name, z, organ, _of(rows, organ), False) for organ in labels]
    return out


def means(lines: Sequence[Line]) -> dict[str, dict[str, float]]:
    """organ -> metric -> mean over the lines where it is defined; NaN when it is nowhere. Infinite distances count."""
    out: dict[str, dict[str, float]] = {}
    for organ in dict.fromkeys(line.organ for line in lines):
        mine = [line.values for line in lines if line.organ == organ]
        out[organ] = {}
        for metric in mine[0]:
            defined = [values[metric] for values in mine if not math.isnan(values[metric])]
            out[organ][metric] = float(np.mean(defined)) if defined else math.nan
    return out


def _masks(place: str | Path) -> dict[str, Path]:
    path = Path(place)
    if path.is_file():
        return {stem(path): path}
    found = find(path.parent, path.name or ".") if path.is_dir() else []
    if not found:
        raise InputError(f"{place}: holds no masks; want a folder of label images, or one file")
    return {one.stem: one.path for one in found}


def _labels(volume: Volume, path: Path) -> Pixels:
    try:
        return as_labels(volume.pixels, volume.shape)
    except BadAnswer as error:
        raise InputError(f"{path}: is no mask: {error}") from None


def _same_grid(truth: Volume, found: Volume, a: Path, b: Path) -> None:
    if truth.shape[:3] != found.shape[:3]:
        raise InputError(f"{b}: is {found.shape[:3]}, its reference {a.name} {truth.shape[:3]}; give masks on one grid")
    if not np.allclose(truth.spacing_mm, found.spacing_mm, rtol=1e-3):
        raise InputError(
            f"{b}: its spacing is {found.spacing_mm} mm, that of its reference {truth.spacing_mm}; give masks on one grid"
        )


def _of(rows: Sequence[Any], organ: str) -> dict[str, float]:
    return {row.metric: row.value for row in rows if row.organ == organ}
