"""The cases of a study: which files, whose they are, and the fingerprint of every byte."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.study import patterns


@dataclass(frozen=True)
class Case:
    """One image. case: the patient or animal, the independent unit. image: its own name, unique in the study."""

    case: str
    image: str
    path: str
    sha256: str
    mask: str | None = None
    mask_sha256: str | None = None

    @property
    def place(self) -> Path:
        """Where the image lies."""
        return Path(self.path)


def find_cases(base: Path, said: Mapping[str, Any], memo: Path | None = None) -> tuple[Case, ...]:
    """The cases that [cases] names, in the order of their names.

    base: the folder that patterns count from. memo: a JSON file that remembers fingerprints of unchanged files.
    InputError for no cases, two images of one name, a mask that is missing, or a table that cannot be read.
    """
    rows = _from_table(base, said["table"]) if said["table"] else _from_patterns(base, said)
    twice = _first_repeated([row["image"] for row in rows])
    if twice:
        raise InputError(f'[cases]: two images are called "{twice}"; name them apart with {{patient}} in the pattern')
    rows = sorted(rows, key=lambda row: row["image"])[: said["limit"]]
    known = _Memo(memo)
    found = tuple(
        Case(
            row["case"],
            row["image"],
            str(row["path"]),
            known.fingerprint(row["path"]),
            str(row["mask"]) if row["mask"] else None,
            known.fingerprint(row["mask"]) if row["mask"] else None,
        )
        for row in rows
    )
    known.write()
    return found


def _from_patterns(base: Path, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not said["images"]:
        raise InputError("[cases]: say where the cases are: images = a folder or pattern, or table = a CSV")
    rows = []
    for pattern in said["images"]:
        for one in patterns.find(base, pattern):
            patient = one.holes.get("patient")
            name = one.holes.get("case", patient if patient and "{case}" not in pattern else one.stem)
            image = f"{patient}/{name}" if patient and patient != name else name
            mask = None
            if said["masks"]:
                holes = {"case": name, **one.holes}
                mask = patterns.fill(base, said["masks"], holes)
                if mask is None:
                    raise InputError(
                        f"{one.path}: has no reference mask ({said['masks']}); add it, or leave the image out"
                    )
            rows.append({"case": patient or name, "image": image, "path": one.path, "mask": mask})
    return rows


def _from_table(base: Path, name: str) -> list[dict[str, Any]]:
    place = base / name
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{place}: the table of cases cannot be read ({error})") from error
    rows = []
    for number, line in enumerate(lines, start=2):
        path = (line.get("image") or "").strip()
        if not path:
            raise InputError(f"{place}, line {number}: has no image; want columns image[, case][, patient][, mask]")
        image = place.parent / path
        mask = place.parent / line["mask"].strip() if (line.get("mask") or "").strip() else None
        for wanted in (image, mask):
            if wanted is not None and not wanted.exists():
                raise InputError(f"{place}, line {number}: {wanted} is not there; paths count from the table's folder")
        name_of = (line.get("case") or "").strip() or patterns.stem(image)
        rows.append(
            {"case": (line.get("patient") or "").strip() or name_of, "image": name_of, "path": image, "mask": mask}
        )
    if not rows:
        raise InputError(f"{place}: holds no cases")
    return rows


def _first_repeated(names: list[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


class _Memo:
    """Fingerprints by path, size and time of change: unchanged gigabytes are not read twice."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, list[Any]] = {}
        if path is not None and path.exists():
            try:
                self.known = dict(json.loads(path.read_text("utf-8")))
            except (OSError, ValueError):
                self.known = {}

    def fingerprint(self, path: Path) -> str:
        """sha256 of a file, or of a folder's file names and bytes."""
        files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        stamp = [[str(one.relative_to(path)), one.stat().st_size, one.stat().st_mtime_ns] for one in files]
        known = self.known.get(str(path))
        if known is not None and known[0] == stamp:
            return str(known[1])
        try:
            if path.is_dir():
                digest = hashlib.sha256()
                for one in files:
                    digest.update(f"{one.relative_to(path).as_posix()}\0{_sha256(one)}\n".encode())
                found = digest.hexdigest()
            else:
                found = _sha256(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
        self.known[str(path)] = [stamp, found]
        return found

    def write(self) -> None:
        """Keep what is known; never mind when the folder cannot be written."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        hidden = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        hidden.write_text(json.dumps(self.known), "utf-8")
        hidden.replace(self.path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
