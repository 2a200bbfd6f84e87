"""DICOM whole slides (PS3.3 A.32.8, VL Whole Slide Microscopy Image): levels, label and overview of one series.

An instance is a level, cut into frames; TILED_FULL frames run row by row, others say their place one by one, and places
without a frame hold nothing (TILED_SPARSE). A level may be split into a concatenation of files (C.7.6.16.2.2.4). Where a
file says neither, its pixels decide (dicomorder).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import NotReadable
from slimscan.files.dicom.open import quiet
from slimscan.files.guard import damaged, reading
from slimscan.files.slides import splice
from slimscan.files.slides.dicomfacts import properties
from slimscan.files.slides.dicomlevel import STREAMS, Piece, Tiling, piece, tiling
from slimscan.files.slides.dicomorder import ORDER
from slimscan.files.slides.opened import Opened, Picture
from slimscan.nouns.slide import Level

TITLE = "DICOM slide"
WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
# What pydicom raises for damaged files; here it means that a file is no part of a slide.
_UNREADABLE = (OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, NotImplementedError, struct.error)
_PICTURES = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}


def is_dicom(head: bytes) -> bool:
    """Whether a file's first bytes are a DICOM file's."""
    return head[128:132] == b"DICM"


def open_dicom(path: Path) -> Opened:
    """The slide of the series that `path` belongs to: a file with its neighbours, or a folder with one such series.

    NotReadable for other DICOM images, several series in the folder, several focal planes, or damage.
    """
    with reading(path, TITLE):
        pieces = [piece(file) for file in _files(path)]
    groups: dict[tuple[str, str], list[Piece]] = {}
    for one in pieces:
        key = (one.flavour, one.concatenation or f"{one.shape}")
        groups.setdefault(key, []).append(one)
    levels: list[Tiling] = []
    beside: dict[str, Tiling] = {}
    for (flavour, _), parts in groups.items():
        if flavour not in _PICTURES:
            together = [part for part in parts if part.concatenation] or parts[:1]
            levels.append(tiling(path, together))
        elif _PICTURES[flavour] not in beside:
            beside[_PICTURES[flavour]] = tiling(path, parts[:1])
    if not levels:
        raise NotReadable(
            f"{path}: the series has no level (VOLUME image), only {', '.join(sorted(beside))}; fetch the rest"
        )
    levels.sort(key=lambda one: -one.level.shape[1])
    base = levels[0]
    height, width = base.level.shape
    scaled = tuple(
        replace(
            one.level,
            downsample=(height / one.level.shape[0] + width / one.level.shape[1]) / 2,
            mpp=one.level.mpp or _scaled(base.level.mpp, base.level.shape, one.level.shape),
        )
        for one in levels
    )
    tiles = _Tiles(path, [replace(one, level=level) for one, level in zip(levels, scaled, strict=True)])
    return Opened(
        path=path,
        format="dicom",
        levels=scaled,
        mpp=scaled[0].mpp,
        magnification=base.pieces[0].magnification,
        icc=base.pieces[0].icc,
        pictures={name: _picture(path, one) for name, one in beside.items()},
        told=lambda: _told(levels, scaled, beside),
        stored=tiles.stored,
        whole=tiles.whole,
        pixels=tiles.pixels,
        let_go=lambda: None,
        sizes=tiles.sizes,
    )


def _scaled(
    mpp: tuple[float, float] | None, base: tuple[int, int], shape: tuple[int, int]
) -> tuple[float, float] | None:
    return None if mpp is None else (mpp[0] * base[0] / shape[0], mpp[1] * base[1] / shape[1])


def _files(path: Path) -> list[Path]:
    """The files of the series, the one that was named first, others by name: of two of one size, the first is the level.
    Neighbours that cannot be read are no part of it."""
    if path.is_dir():
        series: dict[str, list[Path]] = {}
        for file in sorted(path.iterdir()):
            kind, uid, _ = _about(file) or ("", "", "")
            if kind == WSI:
                series.setdefault(uid, []).append(file)
        if len(series) != 1:
            said = f"{len(series)} DICOM slides" if series else "no DICOM slide"
            raise NotReadable(f"{path}: the folder holds {said}; want one, or name a file of the one that is meant")
        return next(iter(series.values()))
    mine = _about(path)
    if mine is None:
        raise damaged(path, TITLE, "its header cannot be read")
    if mine[0] != WSI:
        raise NotReadable(
            f"{path}: is a DICOM image of modality {mine[2]}, not a whole slide; `slimscan info` says what it is"
        )
    beside = [
        file for file in sorted(path.parent.iterdir()) if file != path and (_about(file) or ("", ""))[:2] == mine[:2]
    ]
    return [path, *beside]


def _about(file: Path) -> tuple[str, str, str] | None:
    """(SOP class, series, modality) of a DICOM file, None for other files and unreadable ones."""
    import pydicom

    try:
        if not file.is_file() or not _dicm(file):
            return None
        with quiet():
            found = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=["SOPClassUID", "SeriesInstanceUID", "Modality"]
            )
            kind = str(found.get("SOPClassUID") or found.file_meta.get("MediaStorageSOPClassUID") or "")
            return kind, str(found.get("SeriesInstanceUID", "")), str(found.get("Modality") or "unknown")
    except _UNREADABLE:
        return None


def _dicm(file: Path) -> bool:
    with file.open("rb") as opened:
        return is_dicom(opened.read(132))


class _Tiles:
    """Tiles of the levels of a DICOM slide."""

    def __init__(self, path: Path, levels: list[Tiling]) -> None:
        self._path, self._levels = path, levels

    def sizes(self, level: int) -> NDArray[np.int64]:
        here = self._levels[level]
        out = np.zeros(here.level.grid, np.int64)
        for row, col in np.argwhere(here.frame >= 0):
            out[row, col] = here.size(row, col)
        return out

    def stored(self, level: int, row: int, col: int) -> bytes:
        return self._levels[level].stored(row, col)

    def whole(self, level: int, row: int, col: int) -> bytes:
        here = self._levels[level].level
        tile = self.stored(level, row, col)
        if here.compression == "jpeg":
            return splice.spliced(tile, None, here.colour)
        if here.compression in STREAMS:
            return tile
        raise NotReadable(
            f"{self._path}: level {level}: tiles stored as {here.compression} are no codestreams; take them as stored, "
            "or read pixels"
        )

    def pixels(self, level: int, row: int, col: int) -> Picture | None:
        return self._levels[level].pixels(self.stored(level, row, col))


def _picture(path: Path, here: Tiling) -> Callable[[], Picture]:
    def read() -> Picture:
        tiles = _Tiles(path, [here])
        height, width = here.level.shape
        rows, cols = here.level.grid
        th, tw = here.level.tile
        out: Picture = np.full((rows * th, cols * tw, 3), 255, np.uint8)
        for row in range(rows):
            for col in range(cols):
                tile = tiles.pixels(0, row, col)
                if tile is not None:
                    out[row * th : (row + 1) * th, col * tw : (col + 1) * tw] = tile
        return np.ascontiguousarray(out[:height, :width])

    return read


def _told(tilings: list[Tiling], levels: tuple[Level, ...], beside: dict[str, Tiling]) -> dict[str, str]:
    first = tilings[0].pieces[0]
    pictures = {name: (one.level.shape, one.pieces[0].icc) for name, one in beside.items()}
    with reading(first.path, TITLE), quiet():
        said = properties(first.header(), levels, first.magnification, first.icc, pictures)
    return said | {f"{ORDER}[{k}]": str(one.order) for k, one in enumerate(tilings) if one.order is not None}
