"""The elements of an Explicit VR Little Endian file as spans of its first bytes (PS3.5 7.1.2), for the common case.

A series has hundreds of headers of hundreds of elements, and a general parser takes longer over them than a fast codec
over the pixels. Here one loop notes where each element lies; a value is read when it is asked for. Whatever is unusual
(another encoding, an unknown VR, tags out of order, a file that is cut off) is left to pydicom: scan() says None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimscan.files.dicom.syntax import SYNTAXES

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double, integer
LONG_VR = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL"}
    | {b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_FIRST_LOOK = 1 << 16  # bytes; almost every header is shorter
_head, _long, _item = (
    struct.Struct("<HH2sH").unpack_from,
    struct.Struct("<I").unpack_from,
    struct.Struct("<HHI").unpack_from,
)

Span = tuple[bytes, int, int, int]  # VR, length as written, where the value begins and ends


class _Unusual(Exception):
    """Something that is left to pydicom."""


class _Short(Exception):
    """The bytes end inside an element."""


@dataclass(slots=True)
class Elements:
    """What scan() found. data: the file's beginning; meta, spans: by tag, below and above group 0002; pixels: where
    the pixel data element begins, or where the file ends.

    Answers get(), `in` and attributes like a pydicom data set; what needs one makes it, once.
    """

    path: Path
    data: bytes
    meta: dict[int, Span]
    spans: dict[int, Span]
    pixels: int
    _whole: list[Any] = field(default_factory=list)

    def get(self, key: str | tuple[int, int], default: Any = None) -> Any:
        """The value of an element: a number or text, or a list of them; as pydicom has it for other kinds and pairs."""
        tag = _tag(key)
        span = self.spans.get(tag)
        if span is None:
            return default
        simple = _SIMPLE.get(span[0]) if isinstance(key, str) else None
        if simple is not None:
            try:
                return simple(self.data[span[2] : span[3]])
            except (ValueError, struct.error):
                pass
        return self.whole().get(key, default)

    def __contains__(self, key: str | tuple[int, int]) -> bool:
        return _tag(key) in self.spans

    def __getitem__(self, key: int | tuple[int, int]) -> Any:
        return self.whole()[key]

    def keys(self) -> Iterable[int]:
        """The tags, in order."""
        return self.spans

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole(), name)

    def about_file(self, keyword: str) -> str:
        """A UID of the file meta information, "" when it is absent."""
        span = self.meta.get(_tag(keyword))
        return "" if span is None else self.data[span[2] : span[3]].rstrip(b"\0 ").decode("ascii", "replace")

    def whole(self) -> FileDataset:
        """A pydicom data set of raw elements, those behind the pixel data not among them."""
        if not self._whole:
            from pydicom.charset import convert_encodings
            from pydicom.dataset import FileDataset, FileMetaDataset

            meta = FileMetaDataset(self._raw(self.meta))
            meta.set_original_encoding(False, True, "iso8859")
            made = FileDataset(str(self.path), self._raw(self.spans), self.data[:128], meta, False, True)
            made.set_original_encoding(False, True, convert_encodings(made.get("SpecificCharacterSet", "iso8859")))
            self._whole.append(made)
        found: FileDataset = self._whole[0]
        return found

    def _raw(self, spans: dict[int, Span]) -> Any:
        from pydicom.dataelem import RawDataElement
        from pydicom.tag import BaseTag

        raw = {}
        for number, (vr, length, start, stop) in spans.items():
            tag = BaseTag(number)
            raw[tag] = RawDataElement(tag, vr.decode(), length, self.data[start:stop], start, False, True)
        return raw


def scan(path: Path) -> Elements | None:
    """The elements before the pixel data; None for a file that only a general parser reads."""
    with path.open("rb") as file:
        data = file.read(_FIRST_LOOK)
        if data[128:132] != b"DICM":
            return None
        while True:
            try:
                return _scanned(path, data)
            except _Short:
                more = file.read(7 * len(data))
                if not more:
                    return None
                data += more
            except (_Unusual, struct.error):
                return None


def _scanned(path: Path, data: bytes) -> Elements:
    meta, at = _run(data, 132, 0x00030000)
    span = meta.get(0x00020010)
    syntax = "" if span is None else data[span[2] : span[3]].rstrip(b"\0 ").decode("ascii", "replace")
    if syntax not in SYNTAXES or syntax in _NOT_EXPLICIT:
        raise _Unusual
    spans, at = _run(data, at, PIXELS[0])
    return Elements(path, data, meta, spans, at)


_NOT_EXPLICIT = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")


def _run(data: bytes, at: int, below: int) -> tuple[dict[int, Span], int]:
    """The elements from `at` on whose tags are below `below`, and where the next one begins."""
    spans: dict[int, Span] = {}
    size, last = len(data), -1
    while True:
        if at + 12 > size:
            raise _Short
        group, element, vr, length = _head(data, at)
        tag = group << 16 | element
        if tag >= below:
            if below > 0x7FE00000 and tag not in PIXELS:
                raise _Unusual  # no pixel data before what stands behind it
            return spans, at
        if tag <= last:
            raise _Unusual
        start = at + 8
        if vr in _SHORT:
            stop = at = start + length
        elif vr in LONG_VR:
            (length,) = _long(data, start)
            start += 4
            if length == _UNDEFINED:
                if vr != b"SQ":
                    raise _Unusual
                stop = _sequence(data, start)
                at = stop + 8
            else:
                stop = at = start + length
        else:
            raise _Unusual
        if at > size:
            raise _Short
        if element or group <= 6:  # group lengths are retired, and wrong once anything changes
            spans[tag] = (vr, length, start, stop)
        last = tag


def _sequence(data: bytes, at: int) -> int:
    """Where the delimiter of a sequence of undefined length stands; `at`: its first item."""
    while True:
        if at + 8 > len(data):
            raise _Short
        group, element, length = _item(data, at)
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Unusual
        at += 8
        if length != _UNDEFINED:
            at += length
            continue
        while True:  # elements up to the item's delimiter
            if at + 12 > len(data) and data[at : at + 4] != b"\xfe\xff\x0d\xe0":
                raise _Short
            group, element, vr, short = _head(data, at)
            if group << 16 | element == _ITEM_END:
                at += 8
                break
            at += 8
            if vr in _SHORT:
                at += short
            elif vr in LONG_VR:
                (length,) = _long(data, at)
                at += 4
                if length != _UNDEFINED:
                    at += length
                elif vr == b"SQ":
                    at = _sequence(data, at) + 8
                else:
                    raise _Unusual
            else:
                raise _Unusual


_TAGS: dict[str, int] = {}


def _tag(key: str | tuple[int, int]) -> int:
    if isinstance(key, tuple):
        return key[0] << 16 | key[1]
    if key not in _TAGS:
        from pydicom.datadict import tag_for_keyword

        _TAGS[key] = tag_for_keyword(key) or -1
    return _TAGS[key]


def _binary(code: str) -> Callable[[bytes], Any]:
    size = struct.calcsize(code)

    def values(raw: bytes) -> Any:
        found = struct.unpack(f"<{len(raw) // size}{code}", raw)
        return found[0] if len(found) == 1 else list(found) or None

    return values


def _parts(kind: Callable[[str], Any]) -> Callable[[bytes], Any]:
    def values(raw: bytes) -> Any:
        text = raw.decode("ascii").rstrip(" \0")
        if not text:
            return None if kind is not str else ""
        found = [kind(part.strip(" ")) for part in text.split("\\")]
        return found[0] if len(found) == 1 else found

    return values


def _text(raw: bytes) -> str:
    text = raw.decode("ascii").rstrip(" \0")
    if "\\" in text or "\x1b" in text:
        raise ValueError(text)  # several values, or another character set
    return text


_SIMPLE: dict[bytes, Callable[[bytes], Any]] = {
    b"US": _binary("H"),
    b"SS": _binary("h"),
    b"UL": _binary("I"),
    b"SL": _binary("i"),
    b"IS": _parts(int),
    b"DS": _parts(float),
    b"CS": _parts(str),
    b"UI": _parts(str),
    b"LO": _text,
    b"SH": _text,
}
