"""What the values of a label map are called: by the file itself, or by a TOML file beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimscan.files.dicom.segterms import labels_of
from slimscan.nouns import Volume

# The label table that TotalSegmentator and Connectome Workbench leave in an extension of a NIfTI header (XML).
_LABEL = re.compile(rb'<Label\s[^>]*?Key="(\d+)"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))\s*</Label>', re.DOTALL)
_LONGEST = 200


def names_beside(mask: Volume, path: Path | None) -> dict[int, str]:
    """Value -> name: of a DICOM Segmentation's segments, a NIfTI header's label table, then `organs.toml` or
    `organs.labels.toml` beside `organs.nii.gz` (a table [labels] of value = name), the last one counts.

    {} when nobody says. InputError for a labels file that cannot be read.
    """
    names: dict[int, str] = {}
    for one in mask.about.get("segments") or []:
        if isinstance(one, Mapping) and one.get("value"):
            names[int(one["value"])] = str(one.get("label", ""))
    for key, cdata, plain in _LABEL.findall(mask.raw_header.get("nifti", b"")):
        names[int(key)] = (cdata or plain).decode("utf-8", "replace").strip()[:_LONGEST]
    if path is not None:
        stem = path.name.split(".")[0]
        for place in (path.with_name(f"{stem}.toml"), path.with_name(f"{stem}.labels.toml")):
            if place.is_file() and (place.name.endswith(".labels.toml") or b"[labels" in place.read_bytes()):
                names |= {value: _name(said) for value, said in labels_of(str(place)).items()}
    return {value: name for value, name in names.items() if value and name}


def _name(said: Any) -> str:
    return str(said.get("name") or said.get("label") or "") if isinstance(said, Mapping) else str(said)
