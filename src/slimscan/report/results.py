"""A study's folder of results as the page reads it: JSON and rows, with the few look-ups that every section needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slimscan.report.numbers import unit_of
from slimscan.stats import contrast, loss
from slimscan.study import rows as table
from slimscan.study.folder import Folder, read_json

Row = Mapping[str, Any]
NAN = math.nan


@dataclass(frozen=True)
class Decisive:
    """One number that the contract judges: a metric of an organ of the deciding task, with its own margin."""

    task: str
    metric: str
    organ: str
    direction: str
    unit: str
    contract: Mapping[str, Any]

    @property
    def margin(self) -> str:
        """absolute, relative, threshold or observer."""
        return str(self.contract.get("margin") or "absolute")

    @property
    def null(self) -> float:
        """The harmful mean loss: delta, or 0 for a contrast."""
        return number_of(self.contract, "delta") if self.margin == "absolute" else 0.0

    @property
    def cap(self) -> float:
        """B: what a single loss counts at most."""
        natural = 5 * self.null if self.margin == "absolute" else 0.15
        cap, bound = number_of(self.contract, "cap"), number_of(self.contract, "bound")
        return min(natural if math.isnan(cap) else cap, math.inf if math.isnan(bound) else bound)


@dataclass(frozen=True)
class Results:
    """Everything that the page is made of. rows: those of trials.parquet, sorted; observers, timing, images_about: {} when
    absent; images_about is what each image is (images.json).
    """

    folder: Folder
    plan: Mapping[str, Any]
    verdict: Mapping[str, Any]
    rows: Sequence[Row]
    observers: Mapping[str, Any]
    timing: Mapping[str, Any]
    images_about: Mapping[str, Mapping[str, Any]]

    @cached_property
    def codecs(self) -> tuple[str, ...]:
        """Codecs in the order of the study; their place decides their colour."""
        return tuple(str(codec["name"]) for codec in self.plan["codecs"])

    @cached_property
    def by_codec(self) -> Mapping[str, Mapping[str, Any]]:
        """What the verdict says of each codec."""
        found: Mapping[str, Mapping[str, Any]] = self.verdict.get("codecs") or {}
        return found

    @cached_property
    def grade(self) -> str:
        """The grade that decides."""
        return str((self.verdict.get("contract") or {}).get("grade") or "A")

    @cached_property
    def decisive(self) -> tuple[Decisive, ...]:
        """What decides, first the contract's first metric; every organ of it in the order of the study."""
        said, judged = self.plan.get("contract") or {}, self.verdict.get("contract") or {}
        names = list(said.get("metrics") or ())
        task = str(said.get("task") or (self.rows[0]["task"] if self.rows else ""))
        also = {str(one.get("metric")): one for one in judged.get("also") or ()}
        first = judged.get("metric") or (names[0] if names else "")
        contracts = {str(first): judged} | also
        rows = [row for row in self.rows if row["task"] == task]
        organs = list(said.get("organs") or ()) or list(dict.fromkeys(str(row["organ"]) for row in rows))
        directions = {str(row["metric"]): str(row["direction"]) for row in rows}
        return tuple(
            Decisive(
                task,
                name,
                organ,
                str(contract.get("direction") or directions.get(name, "higher")),
                self.unit(name),
                contract,
            )
            for name, contract in contracts.items()
            for organ in organs
            if name in directions
        )

    @cached_property
    def images(self) -> Mapping[tuple[str, int], tuple[Row, ...]]:
        """One row for every image at (codec, step): what compression did to its bytes and pixels."""
        out: dict[tuple[str, int], dict[str, Row]] = {}
        for row in self.rows:
            if math.isfinite(plain(row["achieved_cr"])):
                out.setdefault((str(row["codec"]), int(row["step"])), {}).setdefault(str(row["image"]), row)
        return {key: tuple(found.values()) for key, found in out.items()}

    def unit(self, metric: str) -> str:
        """The unit of a metric in this study; "" for a pure number."""
        return unit_of(metric, str((self.plan.get("metrics") or {}).get("units") or "mm"))

    def steps(self, codec: str) -> tuple[tuple[int, float], ...]:
        """(step, nominal level) of a codec, mildest first."""
        plan = next(one for one in self.plan["codecs"] if one["name"] == codec)
        return tuple((int(level["step"]), float(level["nominal"])) for level in plan["levels"])

    def step_of(self, codec: str, level: Any) -> int | None:
        """The step of a nominal level; None for no level."""
        return next(
            (step for step, nominal in self.steps(codec) if level is not None and math.isclose(nominal, float(level))),
            None,
        )

    def ratios(self, codec: str, step: int) -> list[float]:
        """Achieved ratios of all images at one step."""
        return [plain(row["achieved_cr"]) for row in self.images.get((codec, step), ())]

    @cached_property
    def _scores(self) -> Mapping[tuple[str, str, str, str, int], tuple[Row, ...]]:
        out: dict[tuple[str, str, str, str, int], list[Row]] = {}
        for row in self.rows:
            key = (str(row["task"]), str(row["metric"]), str(row["organ"]), str(row["codec"]), int(row["step"]))
            out.setdefault(key, []).append(row)
        return {key: tuple(rows) for key, rows in out.items()}

    def scores(self, one: Decisive, codec: str, step: int) -> tuple[Row, ...]:
        """The rows of one deciding number at one step."""
        return self._scores.get((one.task, one.metric, one.organ, codec, step), ())

    def per_case(self, one: Decisive, codec: str, step: int, column: str = "value") -> dict[str, float]:
        """A column averaged within each patient (over images, slices and readers); a patient without a value is left out."""
        found: dict[str, list[float]] = {}
        gone = self.absent(one, codec, step) if column == "value" else ()
        for row in self.scores(one, codec, step):
            if not math.isnan(value := plain(row[column])) and str(row["case"]) not in gone:
                found.setdefault(str(row["case"]), []).append(value)
        return {case: mean(values) for case, values in found.items()}

    def losses(self, one: Decisive, codec: str, step: int) -> dict[str, float]:
        """What each patient lost: reference - value signed so that positive is worse, or the contrast of other margins."""
        columns = {name: self.per_case(one, codec, step, name) for name in ("value", "reference", "observer")}
        lost_all = {case: self._most(one) for case in self.absent(one, codec, step)}
        needed = {"absolute": "reference", "relative": "reference", "observer": "observer"}.get(one.margin)
        cases = [case for case in columns["value"] if needed is None or case in columns[needed]]
        if not cases:
            return lost_all
        value = [columns["value"][case] for case in cases]
        better: Any = one.direction if one.direction in ("higher", "lower") else "higher"
        if one.margin == "absolute":
            found = loss([columns["reference"][case] for case in cases], value, better)
        else:
            found = contrast(
                one.margin,
                value,
                reference=[columns["reference"].get(case, NAN) for case in cases] if one.margin == "relative" else None,
                observer=[columns["observer"].get(case, NAN) for case in cases] if one.margin == "observer" else None,
                rho=one.contract.get("rho"),
                threshold=one.contract.get("threshold"),
                better=better,
            )
        return {case: float(lost) for case, lost in zip(cases, found, strict=True) if not math.isnan(lost)} | lost_all

    def absent(self, one: Decisive, codec: str, step: int) -> tuple[str, ...]:
        """Patients with an image that has no score at a step, where the contract counts that as the worst loss."""
        if (self.verdict.get("contract") or {}).get("missing") != "worst":
            return ()
        rows = self.scores(one, codec, step)
        gone = {str(row["case"]) for row in rows if row["status"] in ("unreachable", "missing")}
        return tuple(sorted(gone)) if any(row["status"] not in ("unreachable", "missing") for row in rows) else ()

    @staticmethod
    def _most(one: Decisive) -> float:
        bound = number_of(one.contract, "bound")
        return one.cap if math.isnan(bound) or one.margin != "absolute" else bound

    def level_text(self, codec: str, level: Any) -> str:
        """A nominal level in words: "PSNR 45 dB", "ratio 20"."""
        if level is None:
            return "no level"
        plan = next(one for one in self.plan["codecs"] if one["name"] == codec)
        shown = f"{float(level):g}"
        kind = plan.get("kind")
        words = {
            "ratios": f"target ratio\u00a0{shown}",
            "psnr": f"PSNR\u00a0{shown}\u00a0dB",
            "max_error": f"largest error\u00a0{shown}",
            "match": f"the PSNR of {plan.get('match')} at its level {shown}",
        }
        return words.get(str(kind), f"setting\u00a0{shown}")

    def judged_levels(self, codec: str) -> list[Mapping[str, Any]]:
        """The verdict's levels of a codec, mildest first."""
        return list((self.by_codec.get(codec) or {}).get("levels") or ())

    def evidence(self, one: Decisive, codec: str, level: Any) -> Mapping[str, Any]:
        """The verdict's evidence on one deciding number at a level; {} when it was not judged."""
        found = self.judged(codec, level) or {}
        for said in (found.get("organs") or {}).values():
            if said.get("organ") == one.organ and said.get("metric") in ("", one.metric):
                return dict(said)
        return dict(found.get("evidence") or {}) if len(self.decisive) == 1 else {}

    def limiting(self, level: Mapping[str, Any]) -> Decisive | None:
        """The deciding number that limits a judged level: whose evidence stands for it."""
        found = level.get("evidence") or {}
        ranked = sorted(
            self.decisive,
            key=lambda one: (
                one.metric != (found.get("metric") or one.metric),
                one.organ != (found.get("organ") or one.organ),
            ),
        )
        return ranked[0] if ranked else None

    def judged(self, codec: str, level: Any) -> Mapping[str, Any] | None:
        """The verdict of one level."""
        if level is None:
            return None
        return next((one for one in self.judged_levels(codec) if math.isclose(float(one["level"]), float(level))), None)


def load(folder: Path) -> Results:
    """The results in a folder; InputError when the study was not run or not judged."""
    place = Folder(folder)
    plan = place.read_plan()
    verdict = read_json(place.verdict, f"judge the study first: slimscan study judge {folder}")
    rows = table.read(place.trials)
    optional = {
        name: read_json(path, "run the study again") if path.exists() else {}
        for name, path in (("observers", place.observers), ("timing", place.timing), ("images", place.images))
    }
    return Results(place, plan, verdict, rows, optional["observers"], optional["timing"], optional["images"])


def number_of(values: Mapping[str, Any] | None, name: str) -> float:
    """A number of a JSON object; NaN when it is null or absent."""
    return plain((values or {}).get(name))


def plain(value: Any) -> float:
    """A number; NaN for None and for what is none."""
    if isinstance(value, str):
        return {"inf": math.inf, "-inf": -math.inf, "Infinity": math.inf, "-Infinity": -math.inf}.get(value, NAN)
    return NAN if value is None or isinstance(value, bool) else float(value)


def mean(values: Sequence[float]) -> float:
    """The mean; NaN for none."""
    return math.fsum(values) / len(values) if values else NAN


def median(values: Sequence[float]) -> float:
    """The median; NaN for none."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return NAN if not ordered else ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
