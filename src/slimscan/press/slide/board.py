"""The levels of a slide as the press works on them: tiles by number, their bytes in the file, their pixels.

The same for a TIFF file and for one DICOM instance, so that nothing else in the press asks what the container is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, NotReadable
from slimscan.files.slides.decode import kind, rgb
from slimscan.files.slides.rewrite_ifd import Structure, structure
from slimscan.nouns.slide import Level, Slide
from slimscan.press.slide.quality import Tile

STREAMS = ("jpeg", "jpeg2000", "jpegxl")


@dataclass(frozen=True)
class Board:
    """One level. number: of the page (TIFF) or 0 (DICOM). index: of the level in the slide. places: tile number -> (row,
    column). prefix: what makes a stored JPEG tile a whole stream in place of its SOI. colour: see nouns.slide.Level.
    seen(index): the pixels of a tile through a reader, for tiles that are no codestreams. turn: colour for the decoder of
    streams where it is not the level's.
    """

    number: int
    index: int
    level: Level
    prefix: bytes
    seen: Callable[[int], Tile] = field(repr=False)
    places: Mapping[int, tuple[int, int]] | None = None
    turn: str | None = None

    def place(self, tile: int) -> tuple[int, int]:
        """(row, column)."""
        return divmod(tile, self.level.grid[1]) if self.places is None else self.places[tile]

    def visible(self, tile: int) -> tuple[slice, slice]:
        """The rows and columns of a tile that lie inside the level; the rest of an edge tile is never shown."""
        sides = zip(self.place(tile), self.level.tile, self.level.shape, strict=True)
        rows, cols = (slice(0, min(side, whole - at * side)) for at, side, whole in sides)
        return rows, cols

    def stream(self, stored: bytes) -> bytes:
        """The tile as a codestream that stands alone."""
        return self.prefix + stored[2:] if self.level.compression == "jpeg" and stored else stored

    def pixels(self, tile: int, stored: bytes) -> Tile:
        """(h, w, 3) of the whole tile as stored; NotReadable or CodecError for damage."""
        if self.level.compression in STREAMS:
            return rgb(self.stream(stored), self.level.tile, self.level.colour if self.turn is None else self.turn)
        return self.seen(tile)


@dataclass(frozen=True)
class Payloads:
    """Where the tiles of every board lie in a file: number -> offsets and byte counts, (n,) each."""

    path: Path
    at: Mapping[int, NDArray[np.int64]]
    count: Mapping[int, NDArray[np.int64]]
    handle: int = field(repr=False, default=-1)

    def read(self, number: int, tile: int) -> bytes:
        """The tile's bytes, b"" where there are none; NotReadable when the file ends before. Threads may share it."""
        length, start = int(self.count[number][tile]), int(self.at[number][tile])
        found = os.pread(self.handle, length, start) if length else b""
        if len(found) != length:
            raise NotReadable(f"{self.path}: ends inside tile {tile}, at byte {start + len(found)}; copy it anew")
        return found


def boards(slide: Slide) -> tuple[Board, ...]:
    """The levels of a TIFF slide. InputError when it has no tiles that can be exchanged."""
    found = []
    if any(level.tiles and level.page is not None for level in slide.levels):
        with payloads(slide.path) as stored:
            made = structure(slide.path)
            for index, level in enumerate(slide.levels):
                if level.tiles and level.page is not None:
                    number = _number(slide, index, made, stored)
                    found.append(Board(number, index, level, _prefix(slide, index), _reader(slide, index)))
    if not found:
        raise InputError(
            f"{slide.path}: a {slide.format} slide has no tiles that can be exchanged one by one; TIFF (svs, scn, "
            "generic, OME) and DICOM slides have them"
        )
    return tuple(found)


@contextmanager
def payloads(path: Path, every: bool = False) -> Iterator[Payloads]:
    """Of a TIFF file: its tiled pages, or all of its pages. NotReadable for damage."""
    found = structure(path)
    wanted = [page.number for page in found.pages if every or found.tiled(page.number)]
    lists = {number: found.payloads(number) for number in wanted}
    with path.open("rb") as file:
        at = {number: one[0] for number, one in lists.items()}
        count = {number: one[1] for number, one in lists.items()}
        yield Payloads(path, at, count, file.fileno())


def _number(slide: Slide, index: int, made: Structure, stored: Payloads) -> int:
    """The rewriter's number of a level's directory: it has its sides and holds its tiles (SubIFDs may be counted otherwise)."""
    level = slide.levels[index]
    sides = [*level.shape, *level.tile]
    alike = [n for n in stored.at if [made.number(n, tag, 0) for tag in (257, 256, 323, 322)] == sides]
    for number in sorted(alike, key=lambda n: n != level.page):
        counts = stored.count[number]
        tile = int(np.argmax(counts > 0))
        if len(counts) == level.tiles and stored.read(number, tile) == slide.tile(index, *divmod(tile, level.grid[1])):
            return number
    raise NotReadable(f"{slide.path}: level {index} has no directory of its sides and tiles; the file is damaged")


def _prefix(slide: Slide, index: int) -> bytes:
    level = slide.levels[index]
    if level.compression == "jpeg":
        for row in range(level.grid[0]):
            for col in range(level.grid[1]):
                stored = slide.tile(index, row, col)
                if kind(stored) == "jpeg":
                    stream = slide.stream(index, row, col)
                    return stream[: len(stream) - len(stored) + 2]
    return b"\xff\xd8"


def _reader(slide: Slide, index: int) -> Callable[[int], Tile]:
    level = slide.levels[index]

    def seen(tile: int) -> Tile:
        (high, wide), (row, col) = level.tile, divmod(tile, level.grid[1])
        h, w = min(high, level.shape[0] - row * high), min(wide, level.shape[1] - col * wide)
        inside = slide.read(index, row * high, col * wide, h, w)
        return np.pad(inside, ((0, high - h), (0, wide - w), (0, 0)), "edge")  # white would make a hard edge

    return seen
