"""A folder of DICOM files that makes no volume, file by file: the same folders, every file on its own.

Mixed sizes, missing slices, several series, no geometry at all: what is compressed then is each frame for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimscan.errors import InputError, NotReadable
from slimscan.files.dicom import is_image_file
from slimscan.files.guard import read_head, reading


@dataclass(frozen=True)
class Found:
    """files: DICOM files by their names within the source, sorted. passed_over: names of what is none, and of masks."""

    files: tuple[Path, ...]
    passed_over: tuple[str, ...]


def dicom_files(source: str | Path) -> Found:
    """The DICOM files below a folder, at any depth, or the one file itself; hidden ones are left alone.

    NotReadable when there is none, or when there is no such place.
    """
    place = Path(source)
    read_head(place)  # says why when it cannot be opened
    if place.is_file():
        inside = [place.name]
        place = place.parent
    else:
        with reading(place, "DICOM"):
            names = [file.relative_to(place) for file in place.rglob("*") if file.is_file()]
        inside = sorted(str(name) for name in names if not any(part.startswith(".") for part in name.parts))
    files: list[str] = []
    passed: list[str] = []
    for name in inside:
        (files if is_image_file(place / name) else passed).append(name)
    if not files:
        raise NotReadable(f"{source}: holds no DICOM file; --frames is for DICOM, one file or a folder of them")
    return Found(tuple(Path(name) for name in files), tuple(passed))


def frame_pairs(source: str | Path, output: str | Path, suffix: str = ".dcm") -> tuple[list[tuple[Path, Path]], Found]:
    """(file, where its compressed self goes) for every DICOM file of a source, in the same folders below `output`.

    suffix: added to names that do not end so; another one takes the place of ".dcm". InputError when the output lies in
    the source, so that the next run would find it there, or when two files would meet at one name.
    """
    origin, target = Path(source), Path(output)
    found = dicom_files(origin)
    folder = origin if origin.is_dir() else origin.parent
    if origin.is_dir() and (target.resolve() == origin.resolve() or origin.resolve() in target.resolve().parents):
        raise InputError(f"{output}: lies in the source {source}; choose a place outside")
    pairs = [(folder / name, target / name.parent / _named(name.name, suffix)) for name in found.files]
    places: dict[Path, Path] = {}
    for file, place in pairs:
        if place in places:
            raise InputError(f"{place}: {places[place].name} and {file.name} would both be written there; rename one")
        places[place] = file
    return pairs, found


def _named(name: str, suffix: str) -> str:
    if name.lower().endswith(suffix):
        return name
    return (name[:-4] if name.lower().endswith(".dcm") else name) + suffix
