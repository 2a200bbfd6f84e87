"""Readers' marks of lesions: Table 4 and Fig. 8 from CSV files, and the verdict on what compression cost the readers.

Truth: a CSV of lesions with the columns case, x_mm, y_mm, z_mm. Marks: the same with reader and version before them;
version is "original" or what was done to the image ("diffused BZ2"). Points are RAS+ mm. A line without coordinates says
that the reader saw the case and marked nothing, and a case without lesions is such a line of the truth. Every reader reads
every case in every version, or the file is refused: a case that was not read is no case without marks.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.metrics.lesions import LesionMatch, lesion_score, match_lesions
from slimscan.nouns import Contract, Verdict
from slimscan.stats import naive_p
from slimscan.study.judge import judge

Points = NDArray[np.float64]  # (n, 3), mm
ORIGINAL = "original"


@dataclass(frozen=True)
class Score:
    """One column of Table 4. sc, ns: percent, over all lesions as in the paper. median_mm, sd_mm: displacements of the true
    positives. p_mm: the paper's paired t test, on lesions found in this version and in the original; it takes lesions of a
    patient for independent. NaN for the original.
    """

    reader: str
    version: str
    lesions: int
    tp: int
    fp: int
    fn: int
    sc: float
    ns: float
    median_mm: float
    sd_mm: float
    p_mm: float


@dataclass(frozen=True)
class Readings:
    """scores: a column of Table 4 each. matches: by (reader, version, case). cases: in the truth's order."""

    scores: tuple[Score, ...]
    matches: Mapping[tuple[str, str, str], LesionMatch]
    cases: tuple[str, ...]


def read_points(path: Path, keys: Sequence[str]) -> dict[tuple[str, ...], Points]:
    """Points (n, 3) in mm by the values of the key columns, in the file's order; InputError naming file and line."""
    columns = [*keys, "x_mm", "y_mm", "z_mm"]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [name for name in columns if name not in (reader.fieldnames or [])]
            lines = [] if absent else list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from error
    if absent:
        raise InputError(f"{path}: has no column {', '.join(absent)}; want {', '.join(columns)}")
    found: dict[tuple[str, ...], list[list[float]]] = {}
    for number, line in enumerate(lines, start=2):
        key = tuple((line[name] or "").strip() for name in keys)
        if not all(key):
            raise InputError(
                f"{path}, line {number}: {keys[key.index('')]} is empty; every line says {', '.join(keys)}"
            )
        said = [(line[name] or "").strip() for name in columns[-3:]]
        points = found.setdefault(key, [])
        if any(said):
            points.append(_point(path, number, said))
    return {key: np.array(points, np.float64).reshape(-1, 3) for key, points in found.items()}


def _point(path: Path, number: int, said: list[str]) -> list[float]:
    try:
        values = [float(one) for one in said]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise InputError(
            f"{path}, line {number}: x_mm, y_mm, z_mm are {', '.join(said)}; want three numbers of mm, or none"
        )
    return values


def read(truth: Path, marks: Path, radius_mm: float = 10.0) -> Readings:
    """Both files scored. InputError for unknown cases, cases that were not read, or no reading of the originals."""
    lesions = {key[0]: points for key, points in read_points(truth, ("case",)).items()}
    marked = read_points(marks, ("reader", "version", "case"))
    if not lesions:
        raise InputError(f"{truth}: holds no cases")
    foreign = sorted({key[2] for key in marked} - set(lesions))
    if foreign:
        raise InputError(f"{marks}: case {foreign[0]} is not in {truth.name}; cases there: {', '.join(lesions)}")
    readers = list(dict.fromkeys(key[0] for key in marked))
    versions = list(dict.fromkeys(key[1] for key in marked))
    if ORIGINAL not in versions:
        raise InputError(
            f'{marks}: no version is "{ORIGINAL}"; came: {", ".join(versions)}; losses are counted from it'
        )
    versions = [ORIGINAL, *(one for one in versions if one != ORIGINAL)]
    matches = {}
    for reader in readers:
        for version in versions:
            for case, points in lesions.items():
                if (reader, version, case) not in marked:
                    raise InputError(
                        f'{marks}: {reader} has no line for case {case}, version "{version}"; a case that was read '
                        "without a mark has a line without coordinates"
                    )
                matches[reader, version, case] = match_lesions(points, marked[reader, version, case], radius_mm)
    scores = [_score(matches, reader, version, list(lesions)) for reader in readers for version in versions]
    return Readings(tuple(scores), matches, tuple(lesions))


def _score(matches: Mapping[tuple[str, str, str], LesionMatch], reader: str, version: str, cases: list[str]) -> Score:
    mine = [matches[reader, version, case] for case in cases]
    tp, fp, fn = (sum(getattr(match, name) for match in mine) for name in ("tp", "fp", "fn"))
    ns, sc = lesion_score(tp, fp, fn)
    far = [mm for match in mine for mm in match.distances_mm]
    pairs = [
        pair for case, match in zip(cases, mine, strict=True) for pair in _both(matches[reader, ORIGINAL, case], match)
    ]
    p = math.nan if version == ORIGINAL or len(pairs) < 2 else naive_p([b - a for a, b in pairs])
    median = float(np.median(far)) if far else math.nan
    sd = float(np.std(far, ddof=1)) if len(far) > 1 else math.nan
    return Score(reader, version, tp + fn, tp, fp, fn, sc, ns, median, sd, p)


def _both(first: LesionMatch, second: LesionMatch) -> list[tuple[float, float]]:
    """Displacements in mm of the lesions that were found both times."""
    a = {lesion: mm for (lesion, _), mm in zip(first.pairs, first.distances_mm, strict=True)}
    b = {lesion: mm for (lesion, _), mm in zip(second.pairs, second.distances_mm, strict=True)}
    return [(a[lesion], b[lesion]) for lesion in a if lesion in b]


def verdict(readings: Readings, delta: float = 0.10, alpha: float = 0.05) -> Verdict:
    """Non-inferiority of every version: sensitivity and normalised score of a patient lose less than delta (1 = 100 %).

    The patient is the unit, cases without lesions have no score and stay out, and every reader must pass. InputError when
    there is no version but the original, or no case with a lesion.
    """
    trials: list[dict[str, Any]] = []
    for (reader, version, case), match in readings.matches.items():
        before = readings.matches[reader, ORIGINAL, case]
        if version == ORIGINAL or match.tp + match.fn == 0:
            continue
        for metric, now, then in (("sc", match.score.sc, before.score.sc), ("ns", match.score.ns, before.score.ns)):
            trials.append({"case": case, "codec": version, "level": "read", "reader": reader, "metric": metric, "value": now / 100, "reference": then / 100})  # fmt: skip
    if not trials:
        raise InputError('there is nothing to judge: want a version beside "original", and a case with a lesion')
    versions = dict.fromkeys(str(trial["codec"]) for trial in trials)
    contract = Contract(
        delta=delta,
        alpha=alpha,
        metric="sc",
        bound=1.0,
        mode="separate",
        readers="every",
        levels=dict.fromkeys(versions, ("read",)),
        also=(Contract(delta=delta, metric="ns"),),
    )
    return judge(trials, contract)
