"""What a segment is, in codes: names looked up in the context groups that DICOM sets for segments.

PS3.16 CID 7150 holds the categories, CID 7191 to 7198 the types of each (pydicom carries them). No code is typed here.
A name that they do not hold becomes the code for Tissue in both places, as dcmqi and 3D Slicer do, with the name as
the segment's label.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from slimscan.errors import InputError

LABEL_LIMIT = 64  # of VR LO
_TYPES = {  # category -> context group of its types; the first that knows a name wins
    "AnatomicalStructure": 7192,
    "MorphologicallyAbnormalStructure": 7194,
    "Tissue": 7191,
    "PhysicalObject": 7193,
    "BodySubstance": 7197,
    "Substance": 7198,
    "SpatialAndRelationalConcept": 7196,
    "Function": 7195,
}
_UNKNOWN = ("Tissue", "tissue")
_SIDES = {"left": "Left", "right": "Right"}
_WORDS = {
    **{"vertebrae": "vertebra", "clavicula": "clavicle", "hips": "hip", "lungs": "lung", "kidneys": "kidney"},
    **{"tumor": "neoplasm", "tumour": "neoplasm", "bowel": "intestine", "vena": "vein", "oedema": "edema"},
    **{"oesophagus": "esophagus", "lesions": "lesion", "vessels": "vessel", "ribs": "rib", "bones": "bone"},
}
_PHRASES = {  # what a name says -> what the context groups call it
    "urinary bladder": "bladder",
    "thyroid gland": "thyroid",
    "kidney cyst": "cyst",
    "vein cava superior": "superior vena cava",
    "vein cava inferior": "inferior vena cava",
    "superior vein cava": "superior vena cava",
    "inferior vein cava": "inferior vena cava",
    "colon intestine": "colon",
    "fat": "adipose tissue",
    "body": "body structure",
    "vessel": "blood vessel",
    "whole heart": "heart",
    "middle lobe lung": "middle lobe of right lung",
}
_IDLE = {"of", "the", "and", "a"}
_NUMBERED = re.compile(r"[clst]?\d+")


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: value, scheme ("SCT" is SNOMED CT), meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Segment:
    """number: SegmentNumber. value: what its voxels hold in a label map. label: its name, as given.

    side: the modifier of the type (Left, Right), or None. algorithm: ("MANUAL" | "SEMIAUTOMATIC" | "AUTOMATIC", name),
    ("", "") when not said. known: the name was found in the context groups.
    """

    number: int
    value: int
    label: str
    category: Code
    type: Code
    side: Code | None = None
    algorithm: tuple[str, str] = field(default=("", ""))
    known: bool = True

    def plain(self) -> dict[str, Any]:
        """As JSON values: number, value, label, category, type, side, algorithm."""

        def code(one: Code | None) -> dict[str, str] | None:
            return {"value": one.value, "scheme": one.scheme, "meaning": one.meaning} if one else None

        return {
            "number": self.number,
            "value": self.value,
            "label": self.label,
            "category": code(self.category),
            "type": code(self.type),
            "side": code(self.side),
            "algorithm": {"type": self.algorithm[0], "name": self.algorithm[1]},
        }


def coded(number: int, value: int, label: str) -> Segment:
    """The segment that a name says: "kidney_left" is SCT 64033007 Kidney with the modifier Left."""
    category, kind, known = _type_of(label)
    side = None
    if known:
        words = set(_split(label))
        held = set(kind.meaning.casefold().split())
        said = [name for word, name in _SIDES.items() if word in words and not held & set(_SIDES)]
        side = _side(said[0]) if len(said) == 1 else None
    return Segment(number, value, label, category, kind, side, known=known)


def given(number: int, value: int, said: Any, where: str) -> Segment:
    """The segment that a labels file, a command line or about["segments"] describes: a name, or a table with codes.

    A table has label (or name), and may have category, type and side: [value, scheme, meaning], or a table of these
    names. InputError naming the label otherwise.
    """
    if isinstance(said, str):
        return _fit(coded(number, value, said.strip()), where)
    if not isinstance(said, Mapping):
        raise InputError(f"{where}: label {value} is {said!r}; want a name, or a table with label, category and type")
    label = str(said.get("label") or said.get("name") or f"Label {value}")
    found = coded(number, value, label)
    algorithm = said.get("algorithm") or {}
    side = said.get("side")
    return _fit(
        Segment(
            number,
            value,
            label,
            _code(said.get("category"), found.category, f"{where}: label {value} category"),
            _code(said.get("type"), found.type, f"{where}: label {value} type"),
            found.side if "type" not in said else _code(side, None, f"{where}: label {value} side") if side else None,
            (str(algorithm.get("type", "")), str(algorithm.get("name", "")))
            if isinstance(algorithm, Mapping)
            else ("", ""),
            found.known or "type" in said,
        ),
        where,
    )


def labels_of(text: str) -> dict[int, Any]:
    """What --labels says: "1=Liver,2=Spleen", or a TOML file with a table [labels] of value = name or table.

    InputError with the form that is wanted.
    """
    if text.lower().endswith(".toml"):
        try:
            held = tomllib.loads(Path(text).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{text}: cannot be read as TOML ({' '.join(str(error).split())})") from None
        pairs = list(dict(held.get("labels", held)).items())
    else:
        pairs = [(value, name.strip()) for value, _, name in (part.partition("=") for part in text.split(","))]
    out: dict[int, Any] = {}
    for value, said in pairs:
        number = int(value) if str(value).strip().isdecimal() else 0
        if not 0 < number < 65536 or not said or number in out:
            raise InputError(
                f'--labels {text}: "{value}={said}": want each label once, a whole number from 1 to 65535 and a name,'
                ' for example "1=Liver,2=Spleen"'
            )
        out[number] = said
    return out


def _fit(segment: Segment, where: str) -> Segment:
    if not 0 < len(segment.label) <= LABEL_LIMIT or "\\" in segment.label:
        raise InputError(
            f'{where}: the name of label {segment.value}, "{segment.label}", must have 1 to {LABEL_LIMIT} characters and'
            " no backslash (DICOM's SegmentLabel)"
        )
    return segment


def _code(said: Any, otherwise: Code | None, where: str) -> Code:
    if otherwise is not None and (said is None or (isinstance(said, Mapping) and not said.get("value"))):
        return otherwise
    parts = [said.get(key) for key in ("value", "scheme", "meaning")] if isinstance(said, Mapping) else said
    if not (
        isinstance(parts, (list, tuple)) and len(parts) == 3 and all(isinstance(part, str) and part for part in parts)
    ):
        raise InputError(f'{where} is {said!r}; want ["10200004", "SCT", "Liver"]: value, scheme, meaning')
    return Code(*parts)


def _type_of(label: str) -> tuple[Code, Code, bool]:
    by_name = _by_name()
    words = [_WORDS.get(word, word) for word in _split(label)]
    bare = [word for word in words if word not in _SIDES]
    unnumbered = [word for word in bare if not _NUMBERED.fullmatch(word)]
    for tried in (_split(label), words, bare, unnumbered):
        phrase = _PHRASES.get(" ".join(tried))
        for key in (_key(tried), _key(phrase.split()) if phrase else frozenset()):
            if key and key in by_name:
                return (*by_name[key], True)
    category, kind = _UNKNOWN
    return _concept(7150, category), by_name[frozenset([kind])][1], False


@lru_cache(maxsize=1)
def _by_name() -> dict[frozenset[str], tuple[Code, Code]]:
    """Words of a type's meaning -> its category and the type."""
    from pydicom.sr.codedict import codes

    out: dict[frozenset[str], tuple[Code, Code]] = {}
    for category, group in _TYPES.items():
        chosen = _concept(7150, category)
        for concept in getattr(codes, f"CID{group}").concepts.values():
            kind = Code(concept.value, concept.scheme_designator, concept.meaning)
            out.setdefault(_key(_split(concept.meaning)), (chosen, kind))
    # Both groups list it; as a category it is the fallback.
    out[frozenset(["tissue"])] = (_concept(7150, "Tissue"), out[frozenset(["tissue"])][1])
    return out


@lru_cache(maxsize=4)
def _side(name: str) -> Code:
    return _concept(244, name)


def _concept(group: int, keyword: str) -> Code:
    from pydicom.sr.codedict import codes

    found = getattr(getattr(codes, f"CID{group}"), keyword)
    return Code(found.value, found.scheme_designator, found.meaning)


def _split(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.casefold())


def _key(words: list[str]) -> frozenset[str]:
    return frozenset(words) - _IDLE
