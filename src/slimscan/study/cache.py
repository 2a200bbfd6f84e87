"""What was computed, by content: a file for every result, named by the hash of everything that decides it.

An entry appears whole or not at all. Two processes that want the same new entry do not both compute it: the second one
waits for the first, by a lock that the system lifts when its holder dies.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.nouns import Pixels


def key_of(*parts: Any) -> str:
    """The hash of plain values: the same values give the same key on every machine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """Entries under one folder; safe to share between processes and studies, and to delete."""

    path: Path

    def facts(self, kind: str, key: str, compute: Callable[[], Any]) -> Any:
        """Plain JSON values (NaN and infinities allowed), computed when they are not known."""
        return self._entry(kind, key, compute, lambda value: json.dumps(value).encode(), json.loads)

    def known(self, kind: str, key: str) -> Any:
        """Plain values that are known already, else None."""
        return self._read(self._place(kind, key), json.loads)

    def keep(self, kind: str, key: str, value: Any) -> Any:
        """Remember plain values; returns them as they will be read back."""
        data = json.dumps(value).encode()
        self._write(self._place(kind, key), data)
        return json.loads(data)

    def labels(self, kind: str, key: str, compute: Callable[[], Pixels]) -> Pixels:
        """A label image, computed when it is not known."""
        return self._entry(kind, key, compute, _packed, _unpacked)  # type: ignore[no-any-return]

    def _entry(self, kind: str, key: str, compute: Any, pack: Any, unpack: Any) -> Any:
        place = self._place(kind, key)
        found = self._read(place, unpack)
        if found is not None:
            return found
        with _locked(place.with_suffix(".lock")):
            found = self._read(place, unpack)
            if found is None:
                data = pack(compute())
                self._write(place, data)
                found = unpack(data)
        return found

    def _place(self, kind: str, key: str) -> Path:
        return self.path / kind / key[:2] / key[2:]

    @staticmethod
    def _read(place: Path, unpack: Any) -> Any:
        try:
            return unpack(place.read_bytes())
        except (FileNotFoundError, ValueError, zlib.error):
            return None  # not there, or cut short by a power failure

    @staticmethod
    def _write(place: Path, data: bytes) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        hidden = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
        hidden.write_bytes(data)
        hidden.replace(place)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Held by one process at a time; where the system has no such locks the work is done twice, to the same end."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


def _packed(labels: Pixels) -> bytes:
    head = json.dumps([str(labels.dtype), list(labels.shape)]).encode()
    return len(head).to_bytes(4, "little") + head + zlib.compress(np.ascontiguousarray(labels).tobytes(), 1)


def _unpacked(data: bytes) -> Pixels:
    end = 4 + int.from_bytes(data[:4], "little")
    dtype, shape = json.loads(data[4:end])
    return np.frombuffer(zlib.decompress(data[end:]), dtype).reshape(shape)
