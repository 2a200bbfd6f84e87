"""The structure of a TIFF or BigTIFF file: every directory and every tag as it is stored, of either byte order.

TIFF 6.0 sections 2 and 15, Adobe's technical note 1 (SubIFDs), BigTIFF (AWare Systems, 2008). No library that writes
TIFF keeps every tag, its type and its order, so the rewriter reads the structure itself; pixels are none of its business.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import NotReadable

# Bytes of one value of each field type.
SIZES: Mapping[int, int] = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
_WHOLE = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
SHORT, LONG, LONG8 = 3, 4, 16
CHILDREN = (330, 34665, 34853, 40965)  # SubIFDs, Exif, GPS, interoperability: directories within
TILES, STRIPS = (324, 325), (273, 279)
_NDPI = 65420
_MOST_PAGES = 100_000
_NOUN = {TILES: "tiles", STRIPS: "strips"}


@dataclass(frozen=True)
class Entry:
    """One tag as stored. raw: its values in the byte order of the file."""

    tag: int
    kind: int
    count: int
    raw: bytes = field(repr=False)


@dataclass(frozen=True)
class Page:
    """One directory. number: in the order of the chain, the SubIFDs of one directly behind it, Exif and its like last.

    next: the number of the page that follows it in its chain, or None. children: tag -> numbers of the pages that it
    points to. at: where it lies in the file."""

    number: int
    at: int
    entries: tuple[Entry, ...]
    next: int | None = None
    children: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def entry(self, tag: int) -> Entry | None:
        """The tag, or None."""
        return next((entry for entry in self.entries if entry.tag == tag), None)


@dataclass(frozen=True)
class Structure:
    """order: "<" or ">". big: BigTIFF. size: bytes of the file."""

    order: str
    big: bool
    pages: tuple[Page, ...]
    size: int

    def numbers(self, page: int, tag: int) -> NDArray[np.int64]:
        """The whole numbers of a tag, (n,); of none when it is missing or is no list of whole numbers."""
        entry = self.pages[page].entry(tag)
        return np.zeros(0, np.int64) if entry is None else whole(entry, self.order)

    def number(self, page: int, tag: int, otherwise: int) -> int:
        """The first whole number of a tag, or `otherwise`."""
        found = self.numbers(page, tag)
        return int(found[0]) if found.size else otherwise

    def text(self, page: int, tag: int = 270) -> str:
        """The text of a tag, ImageDescription unless told; "" when it is missing."""
        entry = self.pages[page].entry(tag)
        return "" if entry is None else entry.raw.rstrip(b"\0").decode("utf-8", "replace")

    def payload_tags(self, page: int) -> tuple[int, int] | None:
        """The tags that say where the payloads lie and how long they are; None for a directory without pixels."""
        return next((pair for pair in (TILES, STRIPS) if self.pages[page].entry(pair[0])), None)

    def tiled(self, page: int) -> bool:
        """True when the page is stored in tiles."""
        return self.payload_tags(page) == TILES

    def payloads(self, page: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets and byte counts of its tiles or strips, (n,) each; of none for a directory without pixels."""
        tags = self.payload_tags(page)
        if tags is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return self.numbers(page, tags[0]), self.numbers(page, tags[1])

    def page_at(self, offset: int) -> int | None:
        """The number of the page whose directory lies at that offset (tifffile's TiffPage.offset), or None."""
        return next((page.number for page in self.pages if page.at == offset), None)


def whole(entry: Entry, order: str) -> NDArray[np.int64]:
    """The values of an entry as whole numbers, (n,); of none for texts, fractions and floats."""
    kind = _WHOLE.get(entry.kind)
    return np.zeros(0, np.int64) if kind is None else np.frombuffer(entry.raw, order + kind).astype(np.int64)


def structure(path: Path) -> Structure:
    """Every directory of a TIFF or BigTIFF file, checked: its lists of tiles are as long as its sides ask, and lie in
    the file. NotReadable, in one sentence, for anything else."""
    try:
        with path.open("rb") as file:
            found = read_structure(file, path)
    except OSError as error:
        raise NotReadable(f"{path}: cannot be read ({error.strerror or error})") from error
    _check(found, path)
    return found


def read_structure(file: BinaryIO, path: Path) -> Structure:
    """The directories of an open file, whose tiles may not be there yet. path: for messages."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    version = struct.unpack(order + "H", head[2:4])[0] if order and len(head) >= 8 else 0
    if version not in (42, 43) or (version == 43 and len(head) < 16):
        raise NotReadable(f"{path}: is no TIFF file (it begins with {head[:4]!r}); give a slide stored as TIFF")
    big = version == 43
    first = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
    numbers: dict[int, int] = {}
    children: dict[int, dict[int, tuple[int, ...]]] = {}
    waiting: deque[int] = deque()

    def expect(offset: int) -> int:
        if offset in numbers:  # SubIFDs may be listed and chained to each other at once
            return numbers[offset]
        if len(numbers) >= _MOST_PAGES:
            raise NotReadable(f"{path}: has more than {_MOST_PAGES} directories; it is damaged, copy it anew")
        numbers[offset] = len(numbers)
        waiting.append(offset)
        return numbers[offset]

    left = size + (1 << 20)  # tags that overlap must not fill the memory
    if first:
        expect(first)
    within: list[tuple[int, int, tuple[int, ...]]] = []
    found: dict[int, tuple[int, tuple[Entry, ...], int | None]] = {}
    while waiting:
        at = waiting.popleft()
        number = numbers[at]
        entries, follows, left = _directory(file, path, at, order, big, size, left)
        found[number] = (at, entries, expect(follows) if follows else None)
        for entry in entries:
            if (entry.tag in CHILDREN or entry.kind in (13, 18)) and entry.kind in _WHOLE:
                offsets = tuple(int(offset) for offset in whole(entry, order) if offset)
                within.append((number, entry.tag, offsets))
        if not waiting:  # the chain is done: now what its directories point to
            for parent, tag, offsets in within:
                children.setdefault(parent, {})[tag] = tuple(expect(offset) for offset in offsets)
            within.clear()
    pages = _numbered(path, [Page(k, *found[k][:2], found[k][2], children.get(k, {})) for k in sorted(found)])
    if not pages:
        raise NotReadable(f"{path}: is a TIFF file without a picture; it is damaged, copy it anew")
    if pages[0].entry(_NDPI) is not None:
        raise NotReadable(f"{path}: is a Hamamatsu NDPI file, which has no tiles to replace; make a new pyramid of it")
    return Structure(order, big, pages, size)


def _numbered(path: Path, found: list[Page]) -> tuple[Page, ...]:
    """The pages in the order of the chain, SubIFDs directly behind the page that holds them, Exif and its like last.

    NotReadable when they point to each other in a circle.
    """
    follow = {
        page.number: {page.next, *(k for inner in page.children.values() for k in inner)} - {None} for page in found
    }
    try:
        list(TopologicalSorter(follow).static_order())
    except CycleError:
        raise NotReadable(f"{path}: its directories run in a circle; it is damaged, copy it anew") from None
    order: dict[int, None] = {}
    late = [0] if found else []
    while late:
        stack = [late.pop(0)]
        while stack:
            here = found[stack.pop()]
            if here.number in order:
                continue
            order[here.number] = None
            if here.next is not None:
                stack.append(here.next)
            for tag, inner in here.children.items():
                if tag == CHILDREN[0]:
                    stack.extend(reversed(inner))
                else:
                    late.extend(inner)
    new = {old: number for number, old in enumerate(order)}
    return tuple(
        replace(
            found[old],
            number=new[old],
            next=new.get(-1 if (follows := found[old].next) is None else follows),
            children={tag: tuple(new[child] for child in inner) for tag, inner in found[old].children.items()},
        )
        for old in order
    )


def _directory(
    file: BinaryIO, path: Path, at: int, order: str, big: bool, size: int, left: int
) -> tuple[tuple[Entry, ...], int, int]:
    """Its entries, where the next directory lies (0 for none), and how many bytes of tags may still come."""

    def take(start: int, length: int) -> bytes:
        if start < 0 or start + length > size:
            raise NotReadable(
                f"{path}: ends at byte {size}, and its directory at byte {at} needs byte {start + length}; "
                "it was cut off, copy it anew"
            )
        file.seek(start)
        return file.read(length)

    word, wide, room = ("Q", 20, 8) if big else ("H", 12, 4)
    step = struct.calcsize(word)
    count = struct.unpack(order + word, take(at, step))[0]
    table = take(at + step, count * wide + room) if count * wide < size else take(size, count * wide)
    entries = []
    for k in range(count):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), table, k * wide)
        if kind not in SIZES:
            raise NotReadable(f"{path}: tag {tag} has the field type {kind}, which TIFF does not know; it is damaged")
        length = number * SIZES[kind]
        left -= length
        if left < 0:
            raise NotReadable(f"{path}: tag {tag} holds more bytes than the file has; it is damaged, copy it anew")
        spot = k * wide + wide - room
        if length <= room:
            raw = table[spot : spot + length]
        else:
            raw = take(struct.unpack_from(order + ("Q" if big else "I"), table, spot)[0], length)
        entries.append(Entry(tag, kind, number, raw))
    follows = struct.unpack_from(order + ("Q" if big else "I"), table, count * wide)[0]
    return tuple(entries), follows, left


def _check(found: Structure, path: Path) -> None:
    for page in found.pages:
        if page.entry(513) is not None:
            raise NotReadable(
                f"{path}: page {page.number} is JPEG of TIFF's old way (tag 513); convert it with libvips first"
            )
        tags = found.payload_tags(page.number)
        if tags is None:
            continue
        offsets, counts = found.payloads(page.number)
        noun = _NOUN[tags]
        asked = _asked(found, page.number) or len(offsets)
        if not len(offsets) == len(counts) == asked:
            raise NotReadable(
                f"{path}: page {page.number} needs {asked} {noun}, and lists {len(offsets)} places and {len(counts)} "
                "lengths; it is damaged, copy it anew"
            )
        ends = np.where(counts > 0, offsets + counts, 0)
        if offsets.size and (offsets.min() < 0 or counts.min() < 0 or ends.max() > found.size):
            worst = int(np.argmax(ends))
            raise NotReadable(
                f"{path}: {noun[:-1]} {worst} of page {page.number} ends at byte {int(ends[worst])}, and the file at "
                f"{found.size}; it was cut off, copy it anew"
            )


def _asked(found: Structure, page: int) -> int:
    """How many tiles or strips the sides of a page ask for; 0 when a side is missing."""
    width, height = found.number(page, 256, 0), found.number(page, 257, 0)
    depth = max(1, found.number(page, 32997, 1))
    planes = found.number(page, 277, 1) if found.number(page, 284, 1) == 2 else 1
    if found.tiled(page):
        wide, high = found.number(page, 322, 0), found.number(page, 323, 0)
        deep = max(1, found.number(page, 32998, 1))
    else:
        wide, high, deep = width, min(found.number(page, 278, height), height), 1
    if min(width, height, wide, high) < 1:
        return 0
    return -(-width // wide) * -(-height // high) * -(-depth // deep) * planes
