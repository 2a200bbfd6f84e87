"""What an output keeps about its source, behind everything that a reader of the slide looks at.

The end of the file: packed sections, their lengths as JSON, then a footer (length and SHA-256 of all that, a magic number).
TIFF readers follow offsets and never come there; in DICOM it is the value of Data Set Trailing Padding (FFFC,FFFC).
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimscan.errors import ChecksumError, NotReadable
from slimscan.files.ozx import compact

MAGIC = b"slimslide1\r\n\x1a\n\x00\x00"
_FOOTER = struct.Struct("<Q32s16s")
_MOST = 1 << 30
_MOST_ABOUT = 64 << 20  # bytes of the JSON: a receipt is some kB


@dataclass(frozen=True)
class Ledger:
    """about: JSON: profile, source's name, size and SHA-256, ways of levels, the receipt. digests: number of a board ->
    SHA-256 of every tile as the source stored it, 32 bytes each, in order. skeleton: the source without its tiles, b"" when
    it is not kept.
    """

    about: Mapping[str, Any]
    digests: Mapping[int, bytes] = field(default_factory=dict)
    skeleton: bytes = b""


def packed(ledger: Ledger) -> bytes:
    """The ledger with its footer."""
    sections = [*ledger.digests.values(), ledger.skeleton]
    about = zlib.compress(compact(dict(ledger.about)), 9)
    head = {"digests": [[number, len(one)] for number, one in ledger.digests.items()], "about": len(about)}
    body = b"".join([*sections, about])
    told = json.dumps(head, sort_keys=True).encode()
    blob = body + told + struct.pack("<I", len(told))
    return blob + _FOOTER.pack(len(blob), hashlib.sha256(blob).digest(), MAGIC)


def read_ledger(path: Path) -> Ledger | None:
    """The ledger of a file, None when it has none; ChecksumError when it is damaged."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _FOOTER.size - 1))  # DICOM values have an even length: one byte may follow
            tail = file.read()
            found = tail.rfind(MAGIC)
            if found < 0 or found + len(MAGIC) < len(tail) - 1 or found < _FOOTER.size - len(MAGIC):
                return None
            end = size - len(tail) + found + len(MAGIC) - _FOOTER.size
            length, digest, _ = _FOOTER.unpack(tail[found + len(MAGIC) - _FOOTER.size : found + len(MAGIC)])
            if not 4 <= length <= min(end, _MOST):
                raise _damaged(path)
            file.seek(end - length)
            blob = file.read(length)
    except OSError as error:
        raise NotReadable(f"{path}: cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(blob).digest() != digest:
        raise _damaged(path)
    try:
        told = struct.unpack("<I", blob[-4:])[0]
        head = json.loads(blob[-4 - told : -4])
        body, at, digests = blob[: -4 - told], 0, {}
        for number, size_of in head["digests"]:
            digests[int(number)] = body[at : at + size_of]
            at += size_of
        about_at = len(body) - head["about"]
        about = dict(json.loads(zlib.decompressobj().decompress(body[about_at:], _MOST_ABOUT)))
    except (ValueError, KeyError, TypeError, zlib.error) as error:  # a digest that fits says nothing of who wrote it
        raise _damaged(path) from error
    return Ledger(about, digests, body[at:about_at])


def _damaged(path: Path) -> ChecksumError:
    return ChecksumError(f"{path}: what it keeps about its source is damaged; copy the compressed slide anew")
