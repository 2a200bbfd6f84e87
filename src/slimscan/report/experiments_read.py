"""What a folder of network experiments holds: scores by network, training, ratio and class, one value a patient.

Several cases of a patient, and several folds that tested the same one, are averaged first: the patient is the unit.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slimscan.errors import InputError

COLUMNS = ("network", "trained", "tested", "patient", "case", "class", "dsc")
MEAN = "mean of classes"
EXPERIMENTS = {
    "a": "trained on originals, tested at every ratio",
    "b": "fine-tuned at each ratio, tested at the same",
    "c": "fine-tuned at one ratio, tested at all",
    "d": "trained at each ratio, tested at each",
    "e": "few originals against all images compressed",
}

Scores = Mapping[str, float]
"""By patient, sorted."""


@dataclass(frozen=True, order=True)
class Training:
    """How a network was trained. kind: clean, compressed (at `ratio`), tuned (clean, then at `ratio`), few (a share of the
    originals), other. text: as the rows say it.
    """

    kind: str
    ratio: float
    share: float
    text: str

    @property
    def said(self) -> str:
        """In words."""
        if self.kind == "clean":
            return "originals"
        if self.kind == "tuned":
            return f"fine-tuned at {self.ratio:g}:1"
        if self.kind == "compressed":
            return f"trained at {self.ratio:g}:1"
        return f"{100 * self.share:g} % of the originals" if self.kind == "few" else self.text


def training(text: str) -> Training:
    """From "1", "48", "1+48" or "few:0.2"; anything else is of kind "other"."""
    try:
        if text.startswith("few:"):
            return Training("few", 1.0, float(text[4:]), text)
        if "+" in text:
            first, second = text.split("+")
            return Training("tuned" if float(first) == 1 else "other", float(second), 1.0, text)
        return Training("clean" if float(text) == 1 else "compressed", float(text), 1.0, text)
    except ValueError:
        return Training("other", math.nan, math.nan, text)


@dataclass(frozen=True)
class Found:
    """A folder of results. said: experiment.json. rows: rows.csv as text. verdicts: verdicts.json, by "network/trained"."""

    folder: Path
    said: Mapping[str, Any]
    rows: tuple[Mapping[str, str], ...]
    verdicts: Mapping[str, Any]

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """As they first occur."""
        return tuple(dict.fromkeys(row["network"] for row in self.rows))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Those that experiment.json names, then others of the rows."""
        named = [str(name) for name in self.said.get("classes") or ()]
        return tuple(dict.fromkeys([*named, *(row["class"] for row in self.rows)]))

    @cached_property
    def tables(self) -> Mapping[str, Mapping[tuple[str, str, float, str], Scores]]:
        """ "dsc" and "smbd_mm": (network, trained, tested, class) -> mean by patient; what is empty is left out."""
        out: dict[str, Mapping[tuple[str, str, float, str], Scores]] = {}
        for column in ("dsc", "smbd_mm"):
            lists: dict[tuple[str, str, float, str], dict[str, list[float]]] = {}
            for row in self.rows:
                value = decimal(row.get(column))
                if math.isfinite(value):
                    key = row["network"], row["trained"], decimal(row["tested"]), row["class"]
                    lists.setdefault(key, {}).setdefault(row["patient"], []).append(value)
            out[column] = {key: {name: sum(found) / len(found) for name, found in sorted(by.items())} for key, by in lists.items()}  # fmt: skip
        return out

    def scores(self, network: str, trained: str, tested: float, name: str, column: str = "dsc") -> Scores:
        """By patient; {} when nothing was measured. name: a class, or MEAN: patients who have every class that occurs."""
        table = self.tables[column]
        if name != MEAN:
            return table.get((network, trained, tested, name), {})
        each = [found for one in self.classes if (found := table.get((network, trained, tested, one)))]
        if not each:
            return {}
        both = sorted(set.intersection(*(set(found) for found in each)))
        return {patient: sum(found[patient] for found in each) / len(each) for patient in both}

    def dims(self, network: str) -> str:
        """ "2D" or "3D", "" when no row says it."""
        found = next((row.get("dims") for row in self.rows if row["network"] == network and row.get("dims")), "")
        return f"{found}D" if found else ""

    def title(self, network: str) -> str:
        """The network with its dimensions, unless its name has them."""
        dims = self.dims(network)
        return network if not dims or dims.lower() in network.lower() else f"{network} ({dims})"

    def trainings(self, network: str, kind: str) -> list[Training]:
        """Of a network, by ratio and share."""
        found = {row["trained"] for row in self.rows if row["network"] == network}
        return sorted(one for one in map(training, found) if one.kind == kind)

    def ratios(self, network: str, trained: str) -> list[float]:
        """At which that network was tested."""
        return sorted({key[2] for key in self.tables["dsc"] if key[:2] == (network, trained)})

    def column(self, column: str, **where: str) -> list[float]:
        """Finite numbers of a column in rows that say so."""
        mine = (row for row in self.rows if all(row.get(key) == value for key, value in where.items()))
        return [value for row in mine if math.isfinite(value := decimal(row.get(column)))]

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Of all rows."""
        return tuple(sorted({row["patient"] for row in self.rows}))

    @cached_property
    def images(self) -> Mapping[float, Mapping[str, Mapping[str, float]]]:
        """Ratio asked for -> case -> achieved ratios and PSNR of its compressed copy, once each."""
        out: dict[float, dict[str, Mapping[str, float]]] = {}
        for row in self.rows:
            facts = {key: decimal(row.get(key)) for key in ("ratio_achieved", "ratio_payload", "psnr_db")}
            out.setdefault(decimal(row["tested"]), {}).setdefault(row["case"], facts)
        return out

    @cached_property
    def peaks(self) -> tuple[str, ...]:
        """Of the PSNRs, as numbers or words."""
        return tuple(sorted({f"{value:g}" if math.isfinite(value := decimal(text)) else text for row in self.rows if (text := row.get("peak", ""))}))  # fmt: skip

    @property
    def recipe(self) -> str:
        """elkhoury2021, kurmukov2024 or what else it says."""
        return str(self.said.get("recipe") or "")


def decimal(text: str | None) -> float:
    """A number of a table, NaN for an empty cell or a word."""
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan


def load(folder: Path) -> Found:
    """InputError, saying what is missing, unless the folder holds experiment.json and rows.csv with the columns needed."""
    said = _json(folder / "experiment.json")
    place = folder / "rows.csv"
    try:
        with place.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            rows = tuple(reader)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    except FileNotFoundError:
        raise InputError(f"{place}: not there; run the experiments first (slimscan study recipe)") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{place}: not a table of comma-separated text ({error})") from None
    if missing:
        raise InputError(f"{place}: lacks the columns {', '.join(missing)}; want {', '.join(COLUMNS)}")
    verdicts = _json(folder / "verdicts.json") if (folder / "verdicts.json").exists() else {}
    return Found(folder, said, rows, verdicts)


def _json(place: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(place.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{place}: not there; run the experiments first (slimscan study recipe)") from None
    except ValueError as error:
        raise InputError(f"{place}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{place}: want an object with keys, got {type(found).__name__}")
    return found
