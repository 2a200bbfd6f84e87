"""HTTP ranges, RFC 9110 clause 14: the Range field on one side, multipart/byteranges on the other."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

MOST_RANGES = 128  # in one request; clause 14.2 lets a server refuse many small ranges
Range = tuple[int, int]  # start, stop (one past the last byte)

_ONE = re.compile(r"(\d{0,18})-(\d{0,18})", re.ASCII)
_SAID = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


class BadRange(ValueError):
    """A Range field that is refused with 416; the text is one sentence for people."""


def wanted(field: str | None, size: int) -> list[Range] | None:
    """What a Range field asks of a file of `size` bytes; None when there is no such field, or not in bytes.

    BadRange for what is not a range set, lies outside, overlaps, or asks for more than MOST_RANGES.
    """
    if field is None:
        return None
    unit, equals, said = field.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None  # clause 14.2: an unknown unit is ignored
    pieces = [piece.strip(" \t") for piece in said.split(",", MOST_RANGES)]
    if len(pieces) > MOST_RANGES:
        raise BadRange(f"more than {MOST_RANGES} ranges are asked for; ask in several requests")
    found = [one for one in (_range(piece, size) for piece in pieces) if one is not None]
    if not found:
        raise BadRange(f"none of the ranges lies in this file of {size} bytes")
    ordered = sorted(found)
    if any(a[1] > b[0] for a, b in pairwise(ordered)):
        raise BadRange("ranges overlap; ask for every byte once")
    return found


def _range(text: str, size: int) -> Range | None:
    """One range, cut to the file; None when it lies outside. Suffixes ("-500") count from the end."""
    parts = _ONE.fullmatch(text)
    if parts is None or text == "-":
        raise BadRange("a range is first-last, first- or -count, in whole bytes")
    first, last = parts.groups()
    if not first:
        count = int(last)
        return (max(0, size - count), size) if count and size else None
    start, stop = int(first), int(last) + 1 if last else size
    if last and stop <= start:
        raise BadRange("a range ends before it begins")
    return (start, min(stop, size)) if start < size else None


def field_of(ranges: Sequence[Range]) -> str:
    """The Range field for some ranges."""
    return "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in ranges)


def content_range(one: Range, size: int) -> str:
    """The Content-Range field of one range."""
    return f"bytes {one[0]}-{one[1] - 1}/{size}"


def said_range(field: str | None) -> tuple[int, int, int] | None:
    """(start, stop, size) of a Content-Range field; None when it is none."""
    found = _SAID.fullmatch((field or "").strip())
    return None if found is None else (int(found[1]), int(found[2]) + 1, int(found[3]))


def boundary() -> str:
    """A boundary that no content holds but by a chance of 2^-128."""
    return secrets.token_hex(16)


def multipart(
    ranges: Sequence[Range], size: int, mark: str, read: Callable[[Range], Iterator[bytes]]
) -> tuple[int, Iterator[bytes]]:
    """(Content-Length, body) of a multipart/byteranges answer, clause 14.6."""
    heads = [
        f"\r\n--{mark}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Range: {content_range(one, size)}\r\n\r\n".encode()
        for one in ranges
    ]
    tail = f"\r\n--{mark}--\r\n".encode()

    def body() -> Iterator[bytes]:
        for head, one in zip(heads, ranges, strict=True):
            yield head
            yield from read(one)
        yield tail

    return sum(map(len, heads)) + sum(stop - start for start, stop in ranges) + len(tail), body()
