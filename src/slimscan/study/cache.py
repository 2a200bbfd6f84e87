"""What was computed, by content: an entry for every result, named by the hash of everything that decides it.

Two processes that want the same new entry do not both compute it: the second one
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
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.nouns import Pixels


def key_of(*parts: Any) -> str:
    """The hash of plain values: the same values give the same key on every machine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Cache:
    """What is known of one image. folder: shared between images, processes and studies; safe to delete.

    Plain values stand in a journal, a line an entry, appended in one write: a line that was cut short by a kill is
    skipped. Label images stand in files of their own.
    """

    def __init__(self, folder: Path, image: str) -> None:
        self.path = folder
        self._journal = folder / "journals" / image[:2] / f"{image[2:]}.jsonl"
        self._known: dict[tuple[str, str], Any] = {}
        self._read_to = 0

    def facts(self, kind: str, key: str, compute: Callable[[], Any]) -> Any:
        """Plain JSON values (NaN and infinities allowed), computed when they are not known."""
        found = self.known(kind, key)
        if found is not None:
            return found
        with _locked(self._journal.with_name(f"{self._journal.stem}.{key[:16]}.lock")):
            found = self.known(kind, key)
            return self.keep(kind, key, compute()) if found is None else found

    def known(self, kind: str, key: str) -> Any:
        """Plain values that are known already, else None."""
        if (kind, key) not in self._known:
            self._catch_up()
        return self._known.get((kind, key))

    def keep(self, kind: str, key: str, value: Any) -> Any:
        """Remember plain values, for good once this returns; returns them as they will be read back."""
        data = json.dumps([kind, key, value])
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        place = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(place, f"\n{data}\n".encode())  # the first end of line heals a line that was cut short
        finally:
            os.close(place)
        self._known[kind, key] = json.loads(data)[2]
        return self._known[kind, key]

    def labels(self, kind: str, key: str, compute: Callable[[], Pixels]) -> Pixels:
        """A label image, computed when it is not known."""
        place = self.path / kind / key[:2] / key[2:]
        found = _read_labels(place)
        if found is not None:
            return found
        with _locked(place.with_suffix(".lock")):
            found = _read_labels(place)
            if found is not None:
                return found
            labels = compute()
            hidden = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
            hidden.write_bytes(_packed(labels))
            hidden.replace(place)
            return labels

    def _catch_up(self) -> None:
        """Read what was appended since, by whoever."""
        try:
            with self._journal.open("rb") as file:
                file.seek(self._read_to)
                data = file.read()
        except FileNotFoundError:
            return
        end = data.rfind(b"\n") + 1  # what is behind it is being written
        self._read_to += end
        for line in data[:end].split(b"\n"):
            try:
                kind, key, value = json.loads(line) if line else ("", "", None)
            except ValueError:
                continue
            if kind:
                self._known[kind, key] = value


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


def _read_labels(place: Path) -> Pixels | None:
    try:
        return _unpacked(place.read_bytes())
    except (FileNotFoundError, ValueError, zlib.error):
        return None  # not there, or cut short by a power failure


def _packed(labels: Pixels) -> bytes:
    head = json.dumps([str(labels.dtype), list(labels.shape)]).encode()
    return len(head).to_bytes(4, "little") + head + zlib.compress(np.ascontiguousarray(labels).tobytes(), 1)


def _unpacked(data: bytes) -> Pixels:
    end = 4 + int.from_bytes(data[:4], "little")
    dtype, shape = json.loads(data[4:end])
    return np.frombuffer(zlib.decompress(data[end:]), dtype).reshape(shape)
