"""What a rewriting has written so far, so that one that was killed goes on where it stood.

A file beside the unfinished output: a line that says what work it is, then a record a payload in the order of the work.
Payloads are read again before they are trusted: after a power cut a disk may hold the record and not the bytes.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_RECORD = struct.Struct("<QQIB")
_VERSION = 1
_EVERY_BYTES = 8 << 20
_EVERY_RECORDS = 256


class Done(NamedTuple):
    """One payload: where it lies in the output, its bytes, its CRC-32, and how it came there (a letter's number)."""

    at: int
    length: int
    crc: int
    how: int


class Journal:
    """The unfinished output and its journal, written together: bytes first, then the records that speak of them."""

    def __init__(self, part: Path, log: Path, work: dict[str, object], start: int, resume: bool) -> None:
        """work: what is done to what, as JSON; another work's journal is thrown away. start: where payloads begin."""
        self.done: list[Done] = []
        line = json.dumps({"version": _VERSION, **work}, sort_keys=True).encode() + b"\n"
        self.at = start
        if resume and part.is_file() and log.is_file():
            self.done = list(_trusted(part, log, line))
            self.at = max([start, *(one.at + one.length for one in self.done)])
        kept = bool(self.done)
        self.part: BinaryIO = part.open("r+b" if kept else "w+b")
        self._log = log.open("r+b" if kept else "w+b")
        self._log.write(line)
        self._log.truncate(len(line) + len(self.done) * _RECORD.size)
        self._log.seek(0, os.SEEK_END)
        self.part.truncate(self.at)
        self.part.seek(self.at)
        self._records: list[bytes] = []
        self._bytes = 0

    def add(self, payload: bytes, how: int) -> Done:
        """Append a payload, and its record."""
        one = Done(self.at, len(payload), zlib.crc32(payload), how)
        self.part.write(payload)
        self.at += len(payload)
        self._bytes += len(payload)
        self.note(one)
        return one

    def note(self, one: Done) -> None:
        """A record of a payload that lies there already, or of an empty one."""
        self._records.append(_RECORD.pack(*one))
        if self._bytes >= _EVERY_BYTES or len(self._records) >= _EVERY_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Everything to the system: what is there survives the end of this process."""
        self.part.flush()
        self._log.write(b"".join(self._records))
        self._log.flush()
        self._records.clear()
        self._bytes = 0

    def close(self) -> None:
        """Close both files."""
        self.part.close()
        self._log.close()


def _trusted(part: Path, log: Path, line: bytes) -> Iterator[Done]:
    """The records of the same work whose bytes are there."""
    with log.open("rb") as records, part.open("rb") as file:
        if records.readline() != line:
            return
        size = part.stat().st_size
        while len(raw := records.read(_RECORD.size)) == _RECORD.size:
            one = Done(*_RECORD.unpack(raw))
            if one.at + one.length > size:
                return
            file.seek(one.at)
            if zlib.crc32(file.read(one.length)) != one.crc:
                return
            yield one
