"""Our private block in a DICOM instance: a checksum of every frame, what made them, and the receipt of the series.

Private creator SLIMSCAN in group 0053 (PS3.5 7.8.1), so that everybody else passes it over:

    xx01 UI  transfer syntax of the frames that the checksums are of
    xx02 LO  software and version
    xx03 LO  setting, "jpeg2000@51.1"
    xx04 OB  SHA-256 of every frame in frame order, 32 bytes each, of its bytes as they lie in the file, pad byte included
    xx05 OB  in the instance of the lowest slice: the receipt, JSON deflated (zlib), zeros behind it

A program that recodes the frames copies the block without knowing it: another transfer syntax makes it void.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimscan.errors import OutputError
from slimscan.files.dicom import save
from slimscan.files.dicom.open import open_dataset, quiet
from slimscan.files.dicom.scan import Elements
from slimscan.files.guard import reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CREATOR = "SLIMSCAN"
GROUP = 0x0053
SYNTAX, SOFTWARE, SETTING, SHA256, RECEIPT = 1, 2, 3, 4, 5
RESERVED = 1536  # bytes for the receipt, which is known only after the file was read back; it needs some 700
_DIGEST = 32
_MOST = 1 << 24  # bytes of a receipt
_LONG = 64  # characters of VR LO


@dataclass(frozen=True, slots=True)
class Note:
    """What the block says beside checksums: "slimscan 1.2" and "jpeg2000@51.1"."""

    software: str
    setting: str


def put(found: Dataset, note: Note, syntax: str, digests: Sequence[bytes], receipt: bool) -> None:
    """Our block, in the place of an older one. digests: of every frame. receipt: leave room for it."""
    drop(found)
    number = next(n for n in range(0x10, 0x100) if (GROUP, n) not in found)
    found.add_new((GROUP, number), "LO", CREATOR)
    for element, vr, value in (
        (SYNTAX, "UI", syntax),
        (SOFTWARE, "LO", note.software[:_LONG]),
        (SETTING, "LO", note.setting[:_LONG]),
        (SHA256, "OB", b"".join(digests)),
    ):
        found.add_new((GROUP, number << 8 | element), vr, value)
    if receipt:
        found.add_new((GROUP, number << 8 | RECEIPT), "OB", bytes(RESERVED))


def drop(found: Dataset) -> None:
    """Take our block out; private elements of others stay as they are."""
    for number in _numbers(_held(found)):
        for tag in [tag for tag in found.keys() if tag >> 16 == GROUP]:  # noqa: SIM118 iterating would parse all
            if tag.element == number or tag.element >> 8 == number:
                del found[tag]


def checksums(found: Dataset | Elements, syntax: str, frames: int) -> tuple[bytes, ...]:
    """SHA-256 of every frame; none when there is no block of ours, or when it is of other frames than these."""
    value = _value(found, syntax, SHA256)
    if len(value) != _DIGEST * frames:
        return ()
    return tuple(value[k : k + _DIGEST] for k in range(0, len(value), _DIGEST))


def receipt(path: Path) -> bytes:
    """The receipt's JSON in a DICOM file; empty when it holds none, or one of other frames than these."""
    with reading(path, "DICOM"), quiet():
        found, _, _ = open_dataset(path)
        meta = getattr(found, "file_meta", None) or {}
        value = _value(found, str(meta.get("TransferSyntaxUID", "")), RECEIPT)
    if not value.strip(b"\0"):
        return b""
    try:
        return zlib.decompressobj().decompress(value, _MOST)
    except zlib.error:
        return b""  # the checksums of the frames stand for themselves


def fill(path: Path, packed: bytes) -> None:
    """Write the deflated receipt into the room that `put` left in a file; OutputError when there is none."""
    with reading(path, "DICOM"), quiet():
        found, pixels, inflated = open_dataset(path)
        number = next(iter(_numbers(_held(found))), 0)
        tag = GROUP << 16 | number << 8 | RECEIPT
        element: Any = found.get_item(tag) if tag in found else None
    if element is None:
        raise OutputError(f"{path}: has no room for a receipt; write it anew")
    value = packed + b"\0" * max(0, element.length - len(packed))
    value += b"\0" * (len(value) % 2)
    at, end = element.value_tell, element.value_tell + element.length
    if not inflated and len(value) == element.length:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(value)
        return
    content = save.content_of(path, inflated)
    new = content[: at - 4] + len(value).to_bytes(4, "little") + value + content[end:]
    save.replace_content(path, new, pixels + len(value) - element.length, inflated)


def _held(found: Dataset | Elements) -> dict[int, bytes]:
    """The elements of our group, as bytes by their number."""
    if isinstance(found, Elements):
        spans = {tag: span for tag, span in found.spans.items() if tag >> 16 == GROUP}
        return {tag & 0xFFFF: found.data[start:stop] for tag, (_, _, start, stop) in spans.items()}
    raw = {tag & 0xFFFF: found.get_item(tag) for tag in found.keys() if tag >> 16 == GROUP}  # noqa: SIM118 as above
    values: dict[int, Any] = {number: "" if one is None else one.value or "" for number, one in raw.items()}
    return {n: value if isinstance(value, bytes) else str(value).encode() for n, value in values.items()}


def _numbers(held: dict[int, bytes]) -> list[int]:
    """The blocks of the group that are ours."""
    return [number for number, value in held.items() if 0x10 <= number < 0x100 and _text(value) == CREATOR]


def _value(found: Dataset | Elements, syntax: str, element: int) -> bytes:
    held = _held(found)
    for number in _numbers(held):
        if _text(held.get(number << 8 | SYNTAX, b"")) == syntax:
            return held.get(number << 8 | element, b"")
    return b""


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").rstrip(" \0")
