"""Which directories of a TIFF file are levels of the slide, and which are pictures beside it.

Aperio (SVS): tiled directories are levels; strips at 1 are the thumbnail, other strips say what they are in subfile type
(1 label, 9 macro) or in the second line of the description. OME-TIFF: the SubIFDs of the first image (OME-TIFF 6.0, sub-
resolutions). Plain: the first tiled directory, and tiled ones that are marked as reduced copies (tag 254, bit 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimscan.errors import NotReadable
from slimscan.files.guard import damaged
from slimscan.files.slides.decode import MAX_PIXELS
from slimscan.files.slides.openslide_door import OPENSLIDE
from slimscan.files.slides.splice import quality, spliced
from slimscan.nouns.slide import Level, SlideFormat

TITLE = "TIFF slide"

# TIFF compression numbers whose tiles can be read (TIFF 6.0; libtiff's and Aperio's registry).
COMPRESSIONS = {
    1: "none",
    5: "lzw",
    7: "jpeg",
    8: "deflate",
    32773: "packbits",
    32946: "deflate",
    33003: "jpeg2000",
    33005: "jpeg2000",
    34712: "jpeg2000",
    34925: "lzma",
    34926: "zstd",
    34927: "webp",
    50000: "zstd",
    50001: "webp",
    50002: "jpegxl",
    52546: "jpegxl",
}
# Those whose stored tile is a picture that stands alone.
STREAMS = ("jpeg", "jpeg2000", "jpegxl", "webp")
_MOST_PAGES = 10000
_LOSSLESS = ("none", "lzw", "deflate", "packbits", "lzma", "zstd")


@dataclass(frozen=True)
class Found:
    """format; levels and their pages, largest first; pictures: pages of the associated pictures by name."""

    format: SlideFormat
    levels: tuple[Level, ...]
    pages: tuple[Any, ...]
    pictures: dict[str, Any]


def find(path: Path, tif: Any) -> Found:
    """The levels and pictures of an open file; NotReadable when it is no slide or a directory lies."""
    for word in ("ndpi", "scn", "bif"):
        if getattr(tif, f"is_{word}"):
            OPENSLIDE.demand(f"{path}: reading {word.upper()} slides")
            raise NotReadable(f"{path}: is a {word.upper()} slide that OpenSlide does not open; fetch it again")
    numbered = numbered_pages(tif)
    first = numbered[0][1]
    kind: SlideFormat = "svs" if is_aperio(first) else "ome-tiff" if tif.is_ome else "tiff"
    if kind == "svs":
        levels, pictures = _aperio(numbered)
    elif kind == "ome-tiff":
        levels, pictures = _ome(path, tif, numbered)
    else:
        levels, pictures = _plain(numbered)
    if not levels:
        raise NotReadable(
            f"{path}: is a TIFF file of strips without tiles, so no slide that is known here; write it as a tiled pyramid "
            "first"
        )
    for number, page in numbered:
        _inside(path, f"directory {number}", page, "tile" if page.is_tiled else "strip")
    levels.sort(key=lambda one: -one[1].imagewidth)
    base = levels[0][1]
    described = tuple(describe(path, number, page, base) for number, page in levels)
    return Found(kind, described, tuple(page for _, page in levels), pictures)


def numbered_pages(tif: Any) -> list[tuple[int, Any]]:
    """(number, page) of every directory from 0: the chain of the file first, then the SubIFDs of its directories in turn."""
    found = [_whole(tif.pages[index]) for index in range(len(tif.pages))]
    at = 0
    while at < len(found) <= _MOST_PAGES:
        found += [_whole(inner) for inner in found[at].pages or ()]
        at += 1
    return list(enumerate(found))


def _whole(page: Any) -> Any:
    return page.aspage() if hasattr(page, "aspage") else page


def is_aperio(page: Any) -> bool:
    """Whether the first directory's description is Aperio's."""
    return str(page.description).startswith("Aperio")


def _aperio(numbered: list[tuple[int, Any]]) -> tuple[list[tuple[int, Any]], dict[str, Any]]:
    levels: list[tuple[int, Any]] = []
    pictures: dict[str, Any] = {}
    for number, page in numbered:
        if page.is_tiled:
            levels.append((number, page))
            continue
        lines = str(page.description).splitlines()
        word = lines[1].split(" ")[0].strip() if len(lines) > 1 else ""
        name = "thumbnail" if number == 1 else {1: "label", 9: "macro"}.get(int(page.subfiletype), word)
        if word in ("label", "macro"):
            name = word
        if name in ("label", "macro", "thumbnail"):
            pictures.setdefault(name, page)
    return levels, pictures


def _ome(path: Path, tif: Any, numbered: list[tuple[int, Any]]) -> tuple[list[tuple[int, Any]], dict[str, Any]]:
    number_of = {page.offset: number for number, page in numbered}
    by_offset = {page.offset: page for _, page in numbered}
    levels: list[tuple[int, Any]] = []
    pictures: dict[str, Any] = {}
    for series in tif.series:
        pages = [level.keyframe for level in series.levels]
        name = str(series.name).lower()
        word = next((word for word in ("label", "macro", "thumbnail") if word in name), "")
        if not levels and not word and all(page.is_tiled for page in pages):
            if len(series.pages) != 1:
                raise NotReadable(
                    f"{path}: {series.name or 'the image'} keeps {len(series.pages)} planes (axes {series.axes}); want one "
                    "RGB plane a level"
                )
            levels = [(number_of[page.offset], by_offset[page.offset]) for page in pages]
        elif word:
            pictures.setdefault(word, pages[0])
    return levels, pictures


def _plain(numbered: list[tuple[int, Any]]) -> tuple[list[tuple[int, Any]], dict[str, Any]]:
    levels: list[tuple[int, Any]] = []
    pictures: dict[str, Any] = {}
    for number, page in numbered:
        said = str(page.description).strip().lower()
        word = next((word for word in ("label", "macro", "thumbnail") if said.startswith(word)), "")
        if word and number:
            pictures.setdefault(word, page)
        elif page.is_tiled and (not levels or page.subfiletype & 1) and not page.subfiletype & 4:
            levels.append((number, page))
    return levels, pictures


def describe(path: Path, number: int, page: Any, base: Any) -> Level:
    """What one directory says of its level; NotReadable when it lies or holds what cannot be read."""
    where = f"directory {number}"
    tag = int(page.compression)
    if tag not in COMPRESSIONS:
        known = " ".join(map(str, COMPRESSIONS))
        raise NotReadable(f"{path}: {where} has TIFF compression {tag}, which is not known here; allowed: {known}")
    height, width, th, tw = page.imagelength, page.imagewidth, page.tilelength, page.tilewidth
    if min(height, width, th, tw) < 1 or th * tw > MAX_PIXELS:
        raise damaged(path, TITLE, f"{where} is {width} x {height} pixels in tiles of {tw} x {th}")
    if page.samplesperpixel not in (1, 3, 4) or page.bitspersample != 8 or page.imagedepth != 1:
        raise NotReadable(
            f"{path}: {where} has {page.samplesperpixel} samples of {page.bitspersample} bits; want RGB or grey of 8 bits"
        )
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        raise NotReadable(f"{path}: {where} keeps its colours in planes of their own; want them side by side")
    if page.photometric == 3:
        raise NotReadable(f"{path}: {where} has a colour palette; want RGB or grey")
    grid = (-(-height // th), -(-width // tw))
    _segments(path, where, page, grid)
    compression = COMPRESSIONS[tag]
    colour = _colour(page, tag)
    return Level(
        shape=(height, width),
        tile=(th, tw),
        grid=grid,
        downsample=(base.imagelength / height + base.imagewidth / width) / 2,
        compression=compression,
        colour=colour,
        page=number,
        tag=tag,
        lossy=False if compression in _LOSSLESS else True if compression == "jpeg" else None,
        quality=_quality(page, colour) if compression == "jpeg" else None,
    )


def _colour(page: Any, tag: int) -> str:
    if page.samplesperpixel == 1:
        return "grey"
    return "ycbcr" if tag == 33003 or (page.photometric == 6 and tag not in (34712, 50002, 52546)) else "rgb"


def _segments(path: Path, where: str, page: Any, grid: tuple[int, int]) -> None:
    """NotReadable when the count of tiles is another than the size asks for, or a tile lies outside the file."""
    offsets, counts = page.dataoffsets, page.databytecounts
    asked = grid[0] * grid[1]
    if not (len(offsets) == len(counts) == asked):
        listed = min(len(offsets), len(counts)) if max(len(offsets), len(counts)) == asked else len(offsets)
        raise damaged(path, TITLE, f"{where} lists {listed} tiles, its size asks for {asked}")
    _inside(path, where, page, "tile")


def _inside(path: Path, where: str, page: Any, noun: str) -> None:
    size = page.parent.filehandle.size
    ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends, default=0) > size:
        raise damaged(path, TITLE, f"{where} has a {noun} that reaches past the end of the file ({size} bytes)")


def _quality(page: Any, colour: str) -> int | None:
    tables = page.jpegtables
    if tables:
        return quality(bytes(tables))
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if count:
            handle = page.parent.filehandle
            handle.seek(offset)
            head = bytes(handle.read(min(count, 4096)))
            return quality(spliced(head, None, colour)) if head.startswith(b"\xff\xd8") else None
    return None
