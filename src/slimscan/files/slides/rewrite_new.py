"""A new pyramid from the pixels of level 0: level k is the 2x2 means of level k-1, as the tiles of level 0 come.

The tiles are walked in the order of a quadtree, so that of each level only a few are in memory at once, whatever the
slide's size; in the file a tile may lie anywhere. Subtrees are the work that cores share.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from slimscan.errors import InputError, OutputError
from slimscan.files.slides.rewrite_ifd import LONG, Page, Structure, structure
from slimscan.files.slides.rewrite_lay import CLASSIC_END, HEADER, Value, entry, header, lay, numbers, with_tags
from slimscan.files.slides.rewrite_tree import Made, Pixels, Subtree, blocks_of, shapes_of

_DEPTH = 3  # levels of a subtree: 64 tiles of level 0


@dataclass(frozen=True)
class Written:
    """shapes: (height, width) of the levels; tiles: of all of them; shared: those of one colour that were there already."""

    shapes: tuple[tuple[int, int], ...]
    tiles: int
    shared: int
    bytes_out: int
    bigtiff: bool


def pyramid(
    out: Path,
    shape: tuple[int, int],
    tile: Callable[[int, int], Pixels],
    encode: Callable[[Pixels], bytes],
    *,
    side: int = 256,
    tags: Mapping[int, Value],
    first: Mapping[int, Value] | None = None,
    mpp: tuple[float, float] | None = None,
    beside: Path | None = None,
    each: Callable[..., Iterable[Any]] = map,
) -> Written:
    """Write a tiled pyramid of RGB pixels to `out`, down to the level that fits one tile.

    shape: (height, width) of level 0. tile(row, col): its pixels, uint8 (side, side, 3), those outside of any value.
    encode: such a tile -> its payload. tags: of every level, among them what the payloads need (259 Compression, 262
    PhotometricInterpretation, 347 JPEGTables, 530); first: of level 0 alone (270, 34675). mpp: micrometres a pixel (y, x).
    beside: a TIFF slide whose pictures in strips are copied: its page 1 behind level 0, where Aperio keeps the thumbnail,
    the others behind the levels. each: a map in order; with processes, `tile` and `encode` must pickle.
    InputError for an impossible shape or side, OutputError for what cannot be written; nothing is left then.
    """
    if min(shape) < 1 or side < 16 or side % 16:
        raise InputError(
            f"a pyramid of {shape[0]} x {shape[1]} pixels in tiles of {side} cannot be; want tiles of a multiple of 16"
        )
    other = structure(beside) if beside else None
    shapes = shapes_of(shape, side)
    work = Subtree(shapes, side, tile, encode)
    part = out.parent / f".{out.name}.slimscan-part"
    try:
        with part.open("w+b") as file:
            file.write(bytes(HEADER))
            table = _Tiles(file, shapes, side)
            top = len(shapes) - 1
            depth = min(_DEPTH, top)
            blocks = iter(each(work, blocks_of(shapes, side, depth)))
            work.grow(top, 0, 0, table.put, lambda level: table.take(next(blocks)) if level == depth else None)
            pages = [_level(k, shapes, side, table, tags, (first or {}) if k == 0 else {}, mpp) for k in range(top + 1)]
            if other is not None and beside is not None:
                pages = with_beside(pages, file, beside, other)
            big = finish(file, pages)
        size = part.stat().st_size
        part.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return Written(shapes, sum(len(at) for at in table.at), table.shared, size, big)


class _Tiles:
    """Payloads as they come, and where each lies."""

    def __init__(self, file: BinaryIO, shapes: Sequence[tuple[int, int]], side: int) -> None:
        self.file = file
        self.wide = [-(-width // side) for _, width in shapes]
        counts = [-(-height // side) * wide for (height, _), wide in zip(shapes, self.wide, strict=True)]
        self.at = [array("Q", bytes(8 * count)) for count in counts]
        self.length = [array("Q", bytes(8 * count)) for count in counts]
        self.plain: dict[tuple[int, bytes], int] = {}
        self.shared = 0

    def put(self, made: Made) -> None:
        level, row, col, payload, plain = made
        index = row * self.wide[level] + col
        known = self.plain.get((level, payload)) if plain else None
        self.shared += known is not None
        at = self.file.tell() if known is None else known
        if known is None:
            self.file.write(payload)
            if plain:
                self.plain[level, payload] = at
        self.at[level][index], self.length[level][index] = at, len(payload)

    def take(self, block: tuple[list[Made], Pixels | None]) -> Pixels | None:
        for made in block[0]:
            self.put(made)
        return block[1]


def _level(
    k: int,
    shapes: Sequence[tuple[int, int]],
    side: int,
    table: _Tiles,
    tags: Mapping[int, Value],
    first: Mapping[int, Value],
    mpp: tuple[float, float] | None,
) -> Page:
    height, width = shapes[k]
    said: dict[int, Value] = {
        254: int(k > 0),
        256: width,
        257: height,
        258: (8, 8, 8),
        277: 3,
        284: 1,
        322: side,
        323: side,
    }
    if mpp is not None:  # pixels a centimetre
        said |= {
            283: Fraction(10_000 / mpp[0] * height / shapes[0][0]),
            282: Fraction(10_000 / mpp[1] * width / shapes[0][1]),
        }
        said[296] = 3
    entries = {tag: entry(tag, value, "<") for tag, value in {**said, **tags, **first}.items() if value is not None}
    for tag, values in ((324, table.at[k]), (325, table.length[k])):
        entries[tag] = numbers(tag, np.frombuffer(values, np.uint64), "<", LONG)
    return Page(k, 0, tuple(entries[tag] for tag in sorted(entries)))


def with_beside(pages: list[Page], file: BinaryIO, beside: Path, other: Structure) -> list[Page]:
    """The pictures in strips of another slide copied, the byte order of their tags turned where it differs."""
    if other.order != "<":
        raise InputError(f"{beside}: its byte order is big-endian, and its pictures cannot be copied; leave them out")
    copied = []
    with beside.open("rb") as source:
        for page in other.pages:
            if other.tiled(page.number) or page.children or other.payload_tags(page.number) is None:
                continue
            offsets, counts = other.payloads(page.number)
            at = []
            for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True):
                at.append(file.tell())
                source.seek(offset)
                file.write(source.read(count))
            copied.append((page.number, with_tags(page, {273: numbers(273, at, "<", LONG)})))
    early = [page for number, page in copied if number == 1]
    return [pages[0], *early, *pages[1:], *(page for number, page in copied if number != 1)]


def finish(file: BinaryIO, pages: Sequence[Page]) -> bool:
    """Little-endian directories behind what the file holds, in one chain, and the header; True when it became BigTIFF."""
    last = len(pages) - 1
    chain = [Page(k, 0, page.entries, k + 1 if k < last else None) for k, page in enumerate(pages)]
    start = file.tell()
    big = start >= CLASSIC_END
    body, at = lay(chain, "<", big, start)
    if not big and start + len(body) > CLASSIC_END:
        big = True
        body, at = lay(chain, "<", big, start)
    file.write(body)
    file.seek(0)
    file.write(header("<", big, at))
    file.flush()
    os.fsync(file.fileno())
    return big
