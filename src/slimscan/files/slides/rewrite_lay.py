"""Directories as bytes: where each stands, what its tags hold, which points to which. TIFF 6.0 section 2, BigTIFF."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from slimscan.errors import InputError
from slimscan.files.slides.rewrite_ifd import LONG, LONG8, SHORT, SIZES, Entry, Page, whole

HEADER = 16  # payloads begin here in either form, so that the form can be chosen once the size is known
CLASSIC_END = 1 << 32
Value = int | float | str | bytes | Fraction | Sequence[int] | None

_SHORTS = (254, 256, 257, 258, 259, 262, 274, 277, 278, 284, 296, 317, 322, 323, 338, 339, 530, 531)


def entry(tag: int, value: Value, order: str, old: Entry | None = None) -> Entry:
    """A tag with that value: of the type of the one that it replaces where the value fits, else of a fitting one.

    Whole numbers, texts (ASCII), bytes (UNDEFINED), floats (DOUBLE) and fractions (RATIONAL).
    """
    if isinstance(value, bytes):
        return Entry(tag, old.kind if old is not None and SIZES[old.kind] == 1 else 7, len(value), value)
    if isinstance(value, str):
        raw = value.encode() + b"\0"
        return Entry(tag, 2, len(raw), raw)
    if isinstance(value, float):
        return Entry(tag, 12, 1, struct.pack(order + "d", value))
    if isinstance(value, Fraction):
        near = value.limit_denominator(max(1, min(1_000_000, CLASSIC_END // (int(value) + 2))))
        return Entry(tag, 5, 1, struct.pack(order + "II", near.numerator, near.denominator))
    return numbers(tag, np.atleast_1d(np.asarray(value)), order, old.kind if old else SHORT if tag in _SHORTS else LONG)


def numbers(tag: int, values: ArrayLike, order: str, kind: int) -> Entry:
    """A tag of whole numbers: of that type when they fit, else the next larger of SHORT, LONG and LONG8."""
    held = np.asarray(values)
    if held.dtype.kind not in "iu" or (held.size and int(held.min()) < 0):
        raise InputError(
            f"tag {tag}: holds whole numbers from 0 up, texts or bytes; it was given {held.tolist()!r:.60}"
        )
    most = int(held.max()) if held.size else 0
    kinds = [k for k in (SHORT, LONG, LONG8) if SIZES[k] >= SIZES.get(kind, 4) and most < 1 << 8 * SIZES[k]]
    return Entry(tag, kinds[0], held.size, held.astype(f"{order}u{SIZES[kinds[0]]}").tobytes())


def with_tags(page: Page, changes: dict[int, Entry | None]) -> Page:
    """The page with tags replaced where they stand, left out (None), or put in where their number belongs."""
    kept = [changes.get(old.tag, old) for old in page.entries]
    entries = [one for one in kept if one is not None]
    had = {old.tag for old in page.entries}
    for tag in sorted(set(changes) - had):
        new = changes[tag]
        if new is not None:
            at = next((k for k, one in enumerate(entries) if one.tag > tag), len(entries))
            entries.insert(at, new)
    return replace(page, entries=tuple(entries))


def lay(pages: Sequence[Page], order: str, big: bool, start: int) -> tuple[bytes, int]:
    """The directories as bytes to be written from byte `start` on, and where the first of them lies.

    A page's `next` and `children` are numbers of `pages`, which are sorted by them. InputError when a value needs
    BigTIFF and `big` is False.
    """
    room, word = (8, "Q") if big else (4, "I")
    prepared = [_fitting(page, order, big) for page in pages]
    at, spots, values = start, [], []
    for entries in prepared:
        at += -at % 8
        spots.append(at)
        at += (8 + 20 * len(entries) + 8) if big else (2 + 12 * len(entries) + 4)
        places = []
        for one in entries:
            if len(one.raw) > room:
                at += -at % 8
                places.append(at)
                at += len(one.raw)
            else:
                places.append(0)
        values.append(places)
    out = bytearray(at - start)
    for page, entries, spot, places in zip(pages, prepared, spots, values, strict=True):
        head = struct.pack(order + ("Q" if big else "H"), len(entries))
        cursor = spot - start
        out[cursor : cursor + len(head)] = head
        cursor += len(head)
        for one, place in zip(entries, places, strict=True):
            raw = one.raw
            if one.tag in page.children:
                raw = np.array([spots[k] for k in page.children[one.tag]], f"{order}u{SIZES[one.kind]}").tobytes()
            if place:
                out[place - start : place - start + len(raw)] = raw
                raw = struct.pack(order + word, place)
            row = struct.pack(order + ("HHQ" if big else "HHI"), one.tag, one.kind, one.count) + raw.ljust(room, b"\0")
            out[cursor : cursor + len(row)] = row
            cursor += len(row)
        follows = 0 if page.next is None else spots[page.next]
        out[cursor : cursor + room] = struct.pack(order + word, follows)
    return bytes(out), spots[0]


def header(order: str, big: bool, first: int) -> bytes:
    """The first 16 bytes of the file; of a classic one 8 are unused."""
    mark = b"II" if order == "<" else b"MM"
    if big:
        return mark + struct.pack(order + "HHHQ", 43, 8, 0, first)
    return mark + struct.pack(order + "HI", 42, first) + bytes(8)


def _fitting(page: Page, order: str, big: bool) -> list[Entry]:
    """Its entries in types that the form knows; pointers to directories of the form's own width."""
    entries = []
    for one in page.entries:
        if one.tag in page.children:
            count = len(page.children[one.tag])
            kind = (18 if one.kind in (13, 18) else LONG8) if big else (13 if one.kind in (13, 18) else LONG)
            one = Entry(one.tag, kind, count, bytes(count * SIZES[kind]))
        elif not big and one.kind in (16, 17, 18):
            values = whole(one, order)
            if values.size and (int(values.max()) >= CLASSIC_END or int(values.min()) < 0):
                raise InputError(f"tag {one.tag}: holds {int(values.max())}, which needs BigTIFF; ask for bigtiff")
            one = numbers(one.tag, values, order, LONG)
        entries.append(one)
    return entries
