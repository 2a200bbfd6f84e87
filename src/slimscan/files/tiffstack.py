"""A folder of TIFF slices, in the order of the numbers in their names; thousands of files are opened as asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child
from slimscan.errors import GeometryError, InputError
from slimscan.files import tiff
from slimscan.files.format import Format
from slimscan.files.guard import reading
from slimscan.files.lazy import Slices
from slimscan.files.tiffmeta import spacing_and_bits
from slimscan.files.tiffpast import lossy_why
from slimscan.files.tiffwrite import write
from slimscan.nouns import Pixels, Volume


def sniff(path: Path, head: bytes) -> bool:
    """A TIFF file, or a folder with a TIFF file in it that is no Zarr store."""
    if head:
        return tiff.is_tiff(head)
    if not path.is_dir() or (path / "zarr.json").exists() or (path / ".zgroup").exists():
        return False
    return any(_starts_as_tiff(file) for file in _files(path))


def _files(folder: Path) -> list[Path]:
    """Files that a person put there: none that is hidden."""
    return [file for file in sorted(folder.iterdir()) if not file.name.startswith(".") and file.is_file()]


def _starts_as_tiff(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return tiff.is_tiff(opened.read(132))
    except OSError:
        return False


def read(path: Path) -> Volume:
    """A TIFF file, or a folder of TIFF slices; GeometryError names the slice that is missing or differs."""
    if not path.is_dir():
        return tiff.read(path)
    with reading(path, "TIFF folder"):
        files = _files(path)
        slices = [file for file in files if _starts_as_tiff(file)]
        if len(slices) == 1:
            return tiff.read(slices[0])
        slices = in_order(path, slices)
        plane, dtype, affine, bits, about = _agreed(slices)
        about |= {"format": "TIFF folder", "first": slices[0].name, "last": slices[-1].name}
        others = [file.name for file in files if file not in set(slices)]
        if others:
            about["other_files"] = others[:10]
        shape = (len(slices), *plane)
        return Volume(Slices(shape, dtype, _loader(slices, plane, dtype)), affine, bits, about=about, source=str(path))


def _agreed(slices: list[Path]) -> tuple[tuple[int, ...], np.dtype[Any], Any, int, dict[str, Any]]:
    """What all slices have in common; GeometryError names the first that differs."""
    first: Any = None
    for file in slices:
        with reading(file, tiff.TITLE), tiff.opened(file) as tif:
            if len(tif.pages) > 1:
                raise GeometryError(
                    f"{file}: holds {len(tif.pages)} pages; in a folder of {len(slices)} TIFF files want one a file; "
                    "name the file itself to read its pages as slices"
                )
            page = tif.pages[0]
            dtype = tiff.check_page(file, page)
            found = (tiff.plane_shape(page), dtype, *spacing_and_bits(tif, page, dtype))
            why = lossy_why(page)
            tif.close()
        if why:
            (found if first is None else first)[4].setdefault("lossy_why", f"{file.name}: {why}")
        if first is None:
            first = found
        elif found[:2] != first[:2]:
            raise GeometryError(
                f"{file}: is {found[0]} {found[1]}, {slices[0].name} is {first[0]} {first[1]}; want slices of one size "
                "and type; move it elsewhere"
            )
        elif not np.allclose(found[2], first[2], rtol=1e-3):
            raise GeometryError(
                f"{file}: has pixels of {np.diag(found[2])[:2]} mm, {slices[0].name} of {np.diag(first[2])[:2]} mm; want "
                "one spacing; move it elsewhere"
            )
        elif found[3] > first[3]:
            first = (*first[:3], found[3], first[4])
    plane, dtype, affine, bits, about = first
    return plane, dtype, affine, bits, about


def in_order(folder: Path, files: list[Path]) -> list[Path]:
    """The files by the one number in their names that counts slices; GeometryError for gaps and doubles.

    A constant step (0010, 0020, 0030) is a count. Names that do not share one pattern are sorted naturally, without a
    check for gaps. Where several numbers change (a time of day, then a slice), the last that counts without gaps decides;
    InputError when none does.
    """
    split = {file: re.split(r"(\d+)", file.name) for file in files}
    natural = sorted(files, key=lambda file: [int(part) if part.isdigit() else part for part in split[file]])
    if len({tuple(parts[::2]) for parts in split.values()}) > 1:
        return natural
    columns = list(zip(*([int(part) for part in split[file][1::2]] for file in natural), strict=True))
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) < 2:  # none varies: s1 and s01 are one number
        _count(folder, natural, list((varying or columns)[-1]))
        return natural
    counting = [column for column in varying if _gaps(sorted(column)) == []]
    if counting:
        return [file for _, file in sorted(zip(counting[-1], natural, strict=True))]
    raise InputError(
        f"{folder}: {len(varying)} numbers change in the names ({natural[0].name} to {natural[-1].name}) and none counts "
        "the slices; want one; rename the files or split the folder"
    )


def _gaps(numbers: list[int]) -> list[int] | None:
    """Numbers missing from a rising count, at most 1000 of them; None when one comes twice."""
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    if 0 in steps:
        return None
    step = min(steps)
    if step > 1 and (len(steps) < 2 or any(other % step for other in steps)):
        step = 1
    missing = (n for before, after in itertools.pairwise(numbers) for n in range(before + step, after, step))
    return list(itertools.islice(missing, 1000))


def _count(folder: Path, files: list[Path], numbers: list[int]) -> None:
    missing = _gaps(numbers)
    if missing is None:
        twice = next(index for index in range(len(numbers)) if numbers[index] == numbers[index + 1])
        raise GeometryError(
            f"{folder}: {files[twice].name} and {files[twice + 1].name} are both slice {numbers[twice]}; remove one"
        )
    if missing:
        many = "1000 or more" if len(missing) == 1000 else str(len(missing))
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise GeometryError(
            f"{folder}: {many} slice(s) missing between {files[0].name} and {files[-1].name}: {shown}; add them, or "
            "renumber the files if the gap is meant"
        )


def _loader(slices: list[Path], plane: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[[int, int], Pixels]:
    limits = child.asked()
    if limits is None:
        return _Files(slices, plane, dtype)
    return tiff.Apart(slices, (0,) * len(slices), plane, dtype, limits)


class _Files:
    """load(start, stop) over files of one slice."""

    def __init__(self, files: list[Path], plane: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._files, self._plane, self._dtype = files, plane, dtype

    def __call__(self, start: int, stop: int) -> Pixels:
        out = np.empty((stop - start, *self._plane), self._dtype)
        for number in range(start, stop):
            file = self._files[number]
            with reading(file, tiff.TITLE), tiff.opened(file) as tif:
                out[number - start] = tiff.decoded(tif.pages[0], self._plane)
                tif.close()
        return out


TIFF = Format(
    name="tiff",
    title="TIFF, OME-TIFF, and folders of TIFF slices",
    suffixes=(".tif", ".tiff"),
    sniff=sniff,
    read=read,
    write=write,
    needs=(tiff.TIFFFILE,),
    note="8 to 64 bits, grey and RGB, every compression that imagecodecs decodes; written as OME-TIFF with deflate",
)
