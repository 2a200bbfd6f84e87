"""--policy: the largest ratio that a published guideline allows for an image, bound to the algorithms it speaks of.

The guidelines are data: policies.toml, with sources. A guideline is advice of its year about what radiologists saw on the
screens of their time; slimscan applies it and says what it does not cover.

A guideline's ratio is that of DICOM's LossyImageCompressionRatio: uncompressed bytes / encoded bytes. File headers do not
count there, so that `ratio` on the disk is smaller still. Floats and 32-bit integers count as two bytes a sample, since
no guideline had them in mind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Policy, Ratio, Volume

DEFAULT_CODEC = "jpeg2000"
GUIDELINE_BYTES = 2  # of a sample, at most


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a guideline. part: a name in the table of body parts, "" for all the others."""

    what: str
    modalities: tuple[str, ...]
    part: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Guideline:
    """A published table of largest ratios, with its source. checked: how its rows were compared with it."""

    name: str
    title: str
    publisher: str
    year: int
    source: str
    url: str
    status: str
    algorithms: tuple[str, ...]
    codecs: tuple[str, ...]
    checked: str
    not_covered: tuple[str, ...]
    cautions: tuple[Mapping[str, Any], ...]
    thin_modalities: tuple[str, ...]
    thin_below_mm: float
    thin_source: str
    rows: tuple[Row, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Every modality that has a row."""
        return tuple(dict.fromkeys(one for row in self.rows for one in row.modalities))


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a guideline says of one image. notes: what a person should know of how the row was found."""

    guideline: Guideline
    row: Row
    codec: str
    modality: str
    body_part: str
    sample_bytes: int
    notes: tuple[str, ...]

    @property
    def target(self) -> Ratio:
        """The largest ratio allowed, in slimscan's raw bytes (a float sample has 4, the guideline thinks of 2)."""
        return Ratio(self.row.ratio * self.sample_bytes / min(GUIDELINE_BYTES, self.sample_bytes), most=True)

    def as_json(self) -> dict[str, Any]:
        """Plain values: for --json, and for the header of the file."""
        found = self.guideline
        return {
            "name": found.name,
            "title": found.title,
            "publisher": found.publisher,
            "year": found.year,
            "source": found.source,
            "url": found.url,
            "status": found.status,
            "row": self.row.what,
            "modality": self.modality,
            "body_part": self.body_part,
            "ratio_at_most": self.row.ratio,
            "ratio_is": "uncompressed bytes in the allocated bits (2 a sample at most) / encoded bytes",
            "algorithms": list(found.algorithms),
            "codec": self.codec,
            "not_covered": list(found.not_covered),
            "notes": list(self.notes),
        }


def _table() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(resources.files("slimscan.press").joinpath("policies.toml").read_text(encoding="utf-8"))


@cache
def guidelines() -> Mapping[str, Guideline]:
    """Every guideline of policies.toml by its name."""
    found = {}
    for name, said in _table()["policies"].items():
        rows = tuple(Row(**(row | {"modalities": tuple(row["modalities"])})) for row in said.pop("rows"))
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
        found[name] = Guideline(name=name, rows=rows, **plain)
    return MappingProxyType(found)


@cache
def _parts() -> Mapping[str, frozenset[str]]:
    return MappingProxyType({name: frozenset(words) for name, words in _table()["parts"].items()})


def part_of_body(said: str) -> str | None:
    """The name in the table of body parts that a header's word belongs to; None when it is not known.

    "Head W/O" and "HEAD^ROUTINE" are brain: one known word is enough, and brain goes before the rest.
    """
    words = [re.sub(r"[^A-Z]", "", word) for word in re.split(r"[^A-Z]+", said.upper())]
    tried = {"".join(words), *words} - {""}
    return next((name for name, known in _parts().items() if tried & known), None)


def guideline(name: str) -> Guideline:
    """The guideline of that name; InputError with those that there are."""
    found = guidelines().get(name.lower())
    if found is None:
        raise InputError(
            f'--policy "{name}" is not known; allowed: {", ".join(guidelines())}; `slimscan policies` lists them'
        )
    return found


def codec_for(policy: Policy, asked: str | None) -> str:
    """The codec to use under a guideline; InputError, before any file is read, for one that it does not speak of."""
    found = guideline(policy.name)
    if asked is not None and asked not in found.codecs:
        raise InputError(
            f"--policy {found.name} speaks of {' and '.join(found.algorithms)} only, not of --codec {asked}; allowed: "
            f"{', '.join(found.codecs)}; or say --ratio without a policy"
        )
    return asked or DEFAULT_CODEC


def rule(policy: Policy, volume: Volume, codec: str) -> Ruling:
    """What the guideline says of this image.

    InputError, in one line, when the modality is not known, contradicts the header, or has no row.
    """
    found, where = guideline(policy.name), volume.source or "volume"
    said = volume.about.get("dicom") or {}
    held, given = str(said.get("modality") or "").strip().upper(), policy.modality.strip().upper()
    if held and given and held != given:
        raise InputError(f"{where}: its header says modality {held}, --modality {given} contradicts it; leave that out")
    modality = held or given
    listed = ", ".join(found.modalities)
    if not modality:
        raise InputError(
            f"{where}: its header names no modality, and --policy {found.name} depends on it; say --modality, one of "
            f"{listed} (and --body-part, for example HEAD)"
        )
    rows = [row for row in found.rows if modality in row.modalities]
    if not rows:
        raise InputError(
            f"{where}: --policy {found.name} says nothing of modality {modality}; it speaks of {listed}; "
            "ask for a --ratio by yourself, or --lossless"
        )
    row, body_part, notes = _row(rows, str(said.get("body_part") or "").strip(), policy.body_part.strip())
    notes += _cautions(found, modality, codec, volume)
    return Ruling(found, row, codec, modality, body_part, np.dtype(volume.pixels.dtype).itemsize, tuple(notes))


def _row(rows: Sequence[Row], held: str, given: str) -> tuple[Row, str, list[str]]:
    """(row, body part as it was said, notes): the strictest row when the body part does not decide."""
    said, notes = given or held, []
    if given and held and part_of_body(given) != part_of_body(held):
        notes.append(f"--body-part {given} was taken; the header says {held}")
    if len(rows) == 1:
        return rows[0], said, notes
    part = part_of_body(said)
    if part is None:
        strict = min(rows, key=lambda row: row.ratio)
        why = f'body part "{said}" is not known here' if said else "the body part is not said"
        notes.append(f'{why}: the stricter row "{strict.what}" was taken; --body-part says it')
        return strict, said, notes
    fitting = [row for row in rows if row.part == part] or [row for row in rows if not row.part]
    return fitting[0], said, notes


def _cautions(found: Guideline, modality: str, codec: str, volume: Volume) -> list[str]:
    notes = [str(one["text"]) for one in found.cautions if modality in one["modalities"] and codec in one["codecs"]]
    apart = _slice_distance_mm(volume)
    if modality in found.thin_modalities and apart is not None and apart < found.thin_below_mm - 1e-6:
        notes.append(
            f"slices {apart:.3g} mm apart are thin, which the guideline does not cover ({found.thin_source}); "
            "check by yourself that they bear this ratio"
        )
    return notes


def _slice_distance_mm(volume: Volume) -> float | None:
    """Distance between neighbouring slices; None when nothing states it."""
    said = volume.about.get("dicom")
    if said is not None and said.get("geometry") != "planes":
        return None
    return None if said is None and volume.shape[0] < 2 else volume.spacing_mm[0]
