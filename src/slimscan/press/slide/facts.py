"""What the container of a slide holds, tile table by tile table, and which known readers open such a file.

The table of readers was made by running and reading: OpenSlide 4.0.1, tifffile 2026.3, tiffslide, libvips 8.15 and libtiff
by running, Bio-Formats and QuPath by their sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slimscan.errors import InputError, NotReadable
from slimscan.files.slides.rewrite_ifd import structure
from slimscan.nouns.slide import Slide
from slimscan.press.slide.board import boards

JPEG, JPEG_OLD, APERIO, APERIO_YCC, J2K, JXL = (7,), (6,), (33003, 33005), (33003,), (34712,), (50002, 52546)
NAMES = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate", 33003: "Aperio JPEG 2000", 33005: "Aperio JPEG 2000",
    34712: "JPEG 2000", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
Answer = Literal["opens", "wrong", "refuses", "unknown"]


@dataclass(frozen=True)
class Page:
    """One IFD with tiles. zero: places with a byte count of 0. shared: places whose bytes others use too, and of how many
    pieces of bytes these are uses of. white: whether GDAL_NODATA (tag 42113) says 255, which tifffile shows for no bytes.
    """

    number: int
    compression: int
    tiles: int
    zero: int
    shared: int
    pieces: int
    bytes: int
    white: bool = False


@dataclass(frozen=True)
class Facts:
    """Of a file. aperio: whether its first ImageDescription begins with Aperio, which decides OpenSlide's driver."""

    kind: Literal["tiff", "dicom", "other"]
    pages: tuple[Page, ...]
    bytes: int
    big: bool = False
    aperio: bool = False

    @property
    def tags(self) -> tuple[int, ...]:
        """The compression numbers of tiled pages, rising."""
        return tuple(sorted({page.compression for page in self.pages}))

    @property
    def zero(self) -> int:
        """Zero-byte tiles in all."""
        return sum(page.zero for page in self.pages)

    @property
    def shared(self) -> int:
        """Tiles in all whose bytes others use too."""
        return sum(page.shared for page in self.pages)


@dataclass(frozen=True)
class Reader:
    """A program, and what it does with a file: it opens it, shows wrong pictures, or refuses."""

    name: str
    answer: Answer
    why: str


def facts(path: Path) -> Facts:
    """Of a TIFF (its tile tables) or of anything else (its size). NotReadable: a TIFF whose tables cannot be read."""
    import tifffile

    if path.is_dir():
        return Facts("dicom", (), sum(one.stat().st_size for one in path.rglob("*") if one.is_file()))
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return Facts("dicom", (), size)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return Facts("other", (), size)
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = tuple(
                _page(number, page) for number, page in enumerate(directories(tiff)) if getattr(page, "is_tiled", False)
            )
            said = str(getattr(tiff.pages[0], "description", ""))
            return Facts("tiff", pages, size, tiff.is_bigtiff, said.startswith("Aperio"))
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, OSError) as error:
        raise NotReadable(f"{path}: its table of tiles cannot be read ({error}); is the file whole?") from error


def directories(tiff: Any) -> Iterator[Any]:
    """Every page of a tifffile.TiffFile, the SubIFDs of one directly behind it."""
    for page in tiff.pages:
        yield page
        yield from getattr(page, "pages", None) or ()


def _page(number: int, page: object) -> Page:
    offsets: Sequence[int] = tuple(getattr(page, "dataoffsets", ()))
    counts: Sequence[int] = tuple(getattr(page, "databytecounts", ()))
    uses = Counter(one for one in zip(offsets, counts, strict=False) if one[1])
    many = [count for count in uses.values() if count > 1]
    return Page(
        number,
        int(getattr(page, "compression", 0)),
        len(counts),
        sum(1 for one in counts if not one),
        sum(many),
        len(many),
        sum(count for _, count in uses),
        str(getattr(page, "nodata", "0")) in ("255", "255.0"),
    )


def left_out(slide: Slide, level: int) -> dict[tuple[int, int], str]:
    """(row, column) -> "absent" (no bytes) or "shared" (bytes that other places use too) of a level's tiles.

    Empty for formats that hand out no tiles. A picture that a scanner's software shares itself counts as shared, too.
    """
    rows, cols = slide.levels[level].grid
    if slide.levels[level].page is None:
        return _by_bytes(slide, level) if rows * cols else {}
    try:  # a level's page counts the chain; the directory itself may be a SubIFD
        number = next((one.number for one in boards(slide) if one.index == level), None)
    except InputError:
        number = None
    if number is None:
        return {}
    offsets, counts = structure(slide.path).payloads(number)
    pairs = list(zip(offsets.tolist(), counts.tolist(), strict=True))
    uses = Counter(one for one in pairs if one[1])
    found = {}
    for index, one in enumerate(pairs[: rows * cols]):
        if not one[1]:
            found[index // cols, index % cols] = "absent"
        elif uses[one] > 1:
            found[index // cols, index % cols] = "shared"
    return found


def _by_bytes(slide: Slide, level: int) -> dict[tuple[int, int], str]:
    rows, cols = slide.levels[level].grid
    return {(row, col): "absent" for row in range(rows) for col in range(cols) if not slide.tile(level, row, col)}


def readers(found: Facts) -> list[Reader]:
    """What each known reader does with such a file; "unknown" where nobody tried."""
    if found.kind != "tiff":
        return _dicom() if found.kind == "dicom" else []
    return [_openslide(found), *_tifffile(found), _vips(found), _libtiff(found), _bioformats(found)]


def _has(found: Facts, tags: Sequence[int]) -> bool:
    return any(tag in tags for tag in found.tags)


def _odd(found: Facts) -> str:
    """The compressions that are neither plain nor JPEG, named."""
    return " and ".join(
        dict.fromkeys(NAMES.get(tag, f"compression {tag}") for tag in found.tags if tag not in (1, 5, 7, 8, 32946))
    )


def _openslide(found: Facts) -> Reader:
    name = "OpenSlide 4.0.1 (QuPath's usual door)"
    if _has(found, (*J2K, *JXL)):
        return Reader(name, "refuses", f"{_odd(found)} tiles are not supported")
    if _has(found, APERIO) and not found.aperio:
        return Reader(name, "refuses", "Aperio's JPEG 2000 needs an Aperio description")
    if found.zero and found.aperio and len(found.pages) > 1:
        return Reader(
            name,
            "opens",
            "zero-byte tiles are transparent, and where they are, OpenSlide draws Aperio's level 1 from level 0, several times slower",
        )
    if found.zero:
        return Reader(name, "opens", "zero-byte tiles are transparent; needs version 4.0 or later")
    return Reader(name, "opens", "shared blank tiles are seen as they are" if found.shared else "")


def _tifffile(found: Facts) -> list[Reader]:
    dark = any(page.zero and not page.white for page in found.pages)
    why = (
        "zero-byte tiles are black, since GDAL_NODATA does not say 255"
        if dark
        else "zero-byte tiles are white"
        if found.zero
        else ""
    )
    if not why and _has(found, JXL):
        why = "tiles transcoded from RGB JPEG come out some levels off in colour"
    answer: Answer = "wrong" if dark else "opens"
    return [Reader("tifffile 2026.3", answer, why), Reader("tiffslide", answer, why)]


def _vips(found: Facts) -> Reader:
    if _has(found, APERIO):
        return Reader("libvips", "refuses", "Aperio's JPEG 2000 is an error unless OpenSlide is asked")
    if _has(found, (*J2K, *JXL)):
        return Reader("libvips", "wrong", f"{_odd(found)} tiles are silently black")
    if found.zero:
        return Reader("libvips", "wrong", "zero-byte tiles are an error or black")
    return Reader("libvips", "opens", "")


def _libtiff(found: Facts) -> Reader:
    if _has(found, (*APERIO, *J2K, *JXL)):
        return Reader("libtiff", "refuses", f"{_odd(found)} tiles are not supported")
    if found.zero:
        return Reader("libtiff", "refuses", "zero-byte tiles are refused by some versions")
    return Reader("libtiff", "opens", "")


def _bioformats(found: Facts) -> Reader:
    name = "Bio-Formats (also in QuPath and Fiji)"
    if _has(found, JXL):
        return Reader(name, "refuses", "JPEG XL tiles are not in its list")
    if found.zero:
        return Reader(name, "wrong", "zero-byte tiles are black")
    return Reader(name, "unknown" if found.shared else "opens", "nobody tried shared tiles" if found.shared else "")


def _dicom() -> list[Reader]:
    return [
        Reader("OpenSlide 4.0.1", "opens", "TILED_FULL and TILED_SPARSE of JPEG or JPEG 2000 frames with the VL WHOLE SLIDE class"),
        Reader("wsidicom", "opens", ""),
    ]  # fmt: skip
