"""Patterns of file names with holes: "images/{case}.nii.gz" finds files and says which case each one is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slimscan.errors import InputError

SUFFIXES = (".nii.gz", ".ome.tif", ".ome.tiff", ".ome.zarr")
HOLE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Found:
    """path: a file or folder. holes: what the pattern's holes held. stem: its name without format suffixes."""

    path: Path
    holes: Mapping[str, str]
    stem: str


def stem(path: Path) -> str:
    """The name without the suffixes that tell the format."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem if path.is_file() or path.suffix in (".zarr", ".ozx") else path.name


def find(base: Path, pattern: str) -> list[Found]:
    """Everything that a pattern or a folder names, in the order of the names.

    A folder stands for every visible file in it. {word} holds at least one character and no "/"; a word that comes twice
    must hold the same. * holds anything but "/". InputError when nothing is found.
    """
    place = base / pattern
    if not HOLE.search(pattern) and "*" not in pattern:
        if place.is_dir() and not pattern.endswith("/") and place.suffix != ".zarr":
            inside = sorted(one for one in place.iterdir() if not one.name.startswith("."))
            found = [Found(one, {}, stem(one)) for one in inside if one.is_file() or one.suffix == ".zarr"]
        else:
            found = [Found(place, {}, stem(place))] if place.exists() else []
    else:
        expression = _expression(pattern.rstrip("/"))
        wild = HOLE.sub("*", pattern.rstrip("/"))
        root, wild = (
            (Path(Path(wild).anchor), str(Path(wild).relative_to(Path(wild).anchor)))
            if Path(wild).is_absolute()
            else (base, wild)
        )
        found = []
        for one in sorted(root.glob(wild)):
            text = str(one) if root != base else one.relative_to(base).as_posix()
            match = expression.fullmatch(text)
            if match and not one.name.startswith("."):
                found.append(Found(one, match.groupdict(), stem(one)))
    if not found:
        raise InputError(f"{place}: nothing is found there; patterns count from the folder of the study's TOML")
    return found


def fill(base: Path, pattern: str, holes: Mapping[str, str]) -> Path | None:
    """The one file that a pattern names once its holes are filled; None when there is none.

    A folder stands for a file in it whose stem is the case. InputError when several fit, or a hole is not known.
    """
    unknown = [name for name in HOLE.findall(pattern) if name not in holes]
    if unknown:
        raise InputError(f'pattern "{pattern}": {{{unknown[0]}}} is not known here; allowed: {", ".join(holes)}')
    if not HOLE.search(pattern) and (base / pattern).is_dir():
        inside = [one for one in (base / pattern).iterdir() if not one.name.startswith(".")]
        fits = [one for one in inside if stem(one) == holes["case"]]
    else:
        text = HOLE.sub(lambda match: holes[match.group(1)], pattern.rstrip("/"))
        if "*" not in text:
            return base / text if (base / text).exists() else None
        fits = sorted(base.glob(text))
    if len(fits) > 1:
        raise InputError(f"{fits[0]} and {fits[1].name}: both fit the pattern {pattern} of case {holes['case']}")
    return fits[0] if fits else None


def _expression(pattern: str) -> re.Pattern[str]:
    out, seen, at = "", set(), 0
    for match in re.finditer(r"\{([a-z_]+)\}|\*\*/?|\*", pattern):
        out += re.escape(pattern[at : match.start()])
        at = match.end()
        if match.group(1) is None:
            out += ".*" if match.group().startswith("**") else "[^/]*"
        elif match.group(1) in seen:
            out += f"(?P={match.group(1)})"
        else:
            seen.add(match.group(1))
            out += f"(?P<{match.group(1)}>[^/]+?)"
    return re.compile(out + re.escape(pattern[at:]))
