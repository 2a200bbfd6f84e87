"""The TOML of the protocol: every word declared once, checked as the words of a study are."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.study import declaration, patterns
from slimscan.study.declared import STUDY
from slimscan.study.recipes.luu2021.coders import NAMES
from slimscan.study.recipes.luu2021.images import Diffusion
from slimscan.study.words import Word, nearest, table

RECIPE = Word("recipe", "text", "which protocol this is", allowed=("luu2021",))
CASES = (
    Word(
        "images",
        "texts",
        "CTs: patterns from this file's folder; {case} and {patient} stand for parts of the name",
        default=None,
        example="images/{case}.nii.gz",
    ),
    Word(
        "region",
        "text",
        "of each, as --roi takes it: a mask file with the same {case}, `#5` behind it for a class, or image:body and the like",
        default=None,
        example="livers/{case}.nii.gz",
    ),
    Word(
        "table",
        "text",
        "instead: a CSV with columns image, region and, where known, case, patient; paths count from its folder",
        default=None,
    ),
)
CALM = (
    Word("k", "number", "K of eq. 2, on the paper's scale", default=0.4, low=1e-6, high=1e6),
    Word("iterations", "whole", "of the diffusion", default=15, low=1, high=1000),
    Word("dims", "whole", "2: slice by slice; 3: across slices too", default=2, low=2, high=3),
    Word(
        "grow",
        "text",
        "dilation of the region: diameters in voxels along x, y, z, or a radius such as 10mm",
        default="30x30x1",
    ),
    Word(
        "threshold",
        "number",
        "of the probability, after the dilation: larger is inside",
        default=0.75,
        low=0.0,
        high=1.0,
    ),
)
CODERS = (
    Word("names", "texts", "rows of Table 3", default=NAMES),
    Word("hevc_qp", "number", "of both HEVC rows; 0 is the finest", default=0.0, low=0.0, high=49.0, unit="QP"),
    Word("av1_crf", "number", "of AV1; 1 is the finest", default=1.0, low=1.0, high=63.0, unit="CRF"),
    Word("repeats", "whole", "the shortest of so many runs is the time", default=1, low=1, high=100),
)
SWEEP = (
    Word("k", "numbers", "K of Fig. 3", default=(0.1, 0.2, 0.4, 0.8, 1.6), low=1e-6, high=1e6),
    Word(
        "iterations",
        "numbers",
        "numbers of iterations of Fig. 3",
        default=(5.0, 10.0, 15.0, 20.0, 30.0),
        low=1,
        high=1000,
    ),
    Word("cases", "whole", "the first so many images are swept; 0: none", default=1, low=0, high=100000),
)
READING = (
    Word("truth", "text", "CSV of lesions: case, x_mm, y_mm, z_mm (RAS+); without one nobody read", default=None),
    Word("marks", "text", "CSV of marks: reader, version, case, x_mm, y_mm, z_mm", default=None),
    Word("radius_mm", "number", "a mark must lie closer than this", default=10.0, low=1e-6, high=1000, unit="mm"),
)
CONTRACT = (
    Word("ssim", "number", "the mean over patients must stay above this", default=0.95, low=0.0, high=1.0),
    Word(
        "delta",
        "number",
        "of sensitivity and normalised score that a reader may lose in the mean; 1 is 100 %",
        default=0.10,
        low=1e-6,
        high=1.0,
    ),
    Word("alpha", "number", "risk of certifying harm", default=0.05, low=1e-6, high=0.5),
)
TABLES: Mapping[str, tuple[Word, ...]] = {
    "study": (RECIPE, *STUDY), "cases": CASES, "calm": CALM, "coders": CODERS, "sweep": SWEEP, "reading": READING, "contract": CONTRACT,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One CT. patient: the unit of every test. region: a spec as --roi takes it, its file's path filled in."""

    name: str
    patient: str
    image: Path
    region: str


@dataclass(frozen=True)
class Protocol:
    """A checked TOML with its cases. said: every table's words, defaults filled in."""

    said: Mapping[str, Mapping[str, Any]]
    cases: tuple[Case, ...]
    base: Path

    @property
    def diffusion(self) -> Diffusion:
        """The words of [calm]."""
        return Diffusion(**self.said["calm"])

    def file(self, word: str) -> Path | None:
        """A file of [reading], None when it was not said."""
        name = self.said["reading"][word]
        return None if name is None else self.base / name


def load(path: Path) -> Protocol:
    """The protocol that a TOML declares; patterns count from its folder. InputError naming the file and the word."""
    return declaration.read(
        path, "`slimscan study new --recipe luu2021` writes one", lambda given, _: parse(given, path.resolve().parent)
    )


def parse(given: Mapping[str, Any], base: Path) -> Protocol:
    """The protocol of parsed TOML."""
    for name in given:
        if name not in TABLES:
            raise InputError(f"the table [{name}] is not known; allowed: {', '.join(TABLES)}{nearest(name, TABLES)}")
    said = {name: table(f"[{name}]", words, given.get(name, {})) for name, words in TABLES.items()}
    if (said["reading"]["truth"] is None) != (said["reading"]["marks"] is None):
        raise InputError("[reading]: want both truth and marks, or neither")
    return Protocol(said, tuple(_cases(said["cases"], base)), base)


def _cases(said: Mapping[str, Any], base: Path) -> list[Case]:
    if (said["table"] is None) == (said["images"] is None) or (said["images"] is None) != (said["region"] is None):
        raise InputError("[cases]: want images and region, or table = a CSV with columns image and region")
    listed = _table(base / said["table"]) if said["table"] else _patterns(said, base)
    found: dict[str, Case] = {}
    for one in listed:
        if one.name in found:
            raise InputError(f'[cases]: two images are called "{one.name}"; give each a case or a patient of its own')
        found[one.name] = one
    return [found[name] for name in sorted(found)]


def _patterns(said: Mapping[str, Any], base: Path) -> list[Case]:
    out = []
    for pattern in said["images"]:
        for one in patterns.find(base, pattern):
            patient = one.holes.get("patient")
            short = one.holes.get("case", patient or one.stem)
            name = f"{patient}/{short}" if patient and patient != short else short
            spec = _region(said["region"], {"case": short, **one.holes}, base, one.path)
            out.append(Case(name, patient or name, one.path, spec))
    return out


def _table(place: Path) -> list[Case]:
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{place}: the table of cases cannot be read ({error})") from error
    out = []
    for number, line in enumerate(lines, start=2):
        told = {key: (value or "").strip() for key, value in line.items() if isinstance(value, str)}
        image, spec = told.get("image", ""), told.get("region", "")
        if not image or not spec:
            raise InputError(
                f"{place}, line {number}: has no image or no region; want columns image, region[, case][, patient]"
            )
        path = place.parent / image
        if not path.exists():
            raise InputError(f"{place}, line {number}: {path} is not there; paths count from the table's folder")
        name = told.get("case") or patterns.stem(path)
        out.append(Case(name, told.get("patient") or name, path, _region(spec, {}, place.parent, path)))
    if not out:
        raise InputError(f"{place}: holds no cases")
    return out


def _region(spec: str, holes: Mapping[str, str], base: Path, image: Path) -> str:
    """The spec with its file looked for; specs of other kinds (image:, model:, ...) pass as they are."""
    if spec.partition(":")[0] in ("image", "model", "python", "command"):
        return spec
    pattern, mark, behind = spec.partition("#")
    place = patterns.fill(base, pattern, holes)
    if place is None:
        raise InputError(f"{image}: has no region ({pattern}); add it, or leave the image out")
    return f"{place}{mark}{behind}"
