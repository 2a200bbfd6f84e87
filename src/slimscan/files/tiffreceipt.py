"""The receipt in an OME-TIFF: a MapAnnotation of its OME-XML, room for it left at first, filled once the file was read back.

OME-XML 2016-06 keeps key and value pairs that it does not know, and so do the programs that read it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from pathlib import Path

from slimscan.errors import OutputError

KEY = "slimscan receipt"
ROOM = 2048  # characters; a receipt takes some 1200
EMPTY = "0" * ROOM
_MOST = 1 << 24  # bytes of a receipt unpacked
_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BEFORE = f'<M K="{KEY}">'.encode()


def fill(path: Path, packed: bytes) -> None:
    """Write the deflated receipt into the room that EMPTY left; OutputError when the file has none, or too little."""
    text = base64.b64encode(packed)
    found = _place(path)
    if found is None or len(text) > found[1]:
        raise OutputError(f"{path}: has no room for a receipt of {len(text)} characters; write it anew")
    with path.open("r+b") as file:
        file.seek(found[0])
        file.write(text.ljust(found[1]))


def receipt(path: Path) -> bytes:
    """The receipt's JSON in a TIFF file; empty when there is none."""
    try:
        found = _place(path)
        if found is None:
            return b""
        with path.open("rb") as file:
            file.seek(found[0])
            text = file.read(found[1])
        return zlib.decompressobj().decompress(base64.b64decode(text.strip(), validate=True), _MOST)
    except (OSError, ValueError, binascii.Error, zlib.error):
        return b""


def _place(path: Path) -> tuple[int, int] | None:
    """Where the receipt's text begins in the file, and its length."""
    import tifffile

    with path.open("rb") as file:
        if file.read(4) not in _HEADS:
            return None
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages.first.tags.get(270)  # ImageDescription
        if tag is None:
            return None
        start, count = int(tag.valueoffset), int(tag.count)
    with path.open("rb") as file:
        file.seek(start)
        text = file.read(count)
    at = text.find(_BEFORE)
    end = text.find(b"</M>", at)
    return None if at < 0 or end < 0 else (start + at + len(_BEFORE), end - at - len(_BEFORE))
