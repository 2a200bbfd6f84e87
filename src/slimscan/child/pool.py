"""Children for all threads of this process."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

from slimscan.child.limits import Limits
from slimscan.child.process import Child, Gone
from slimscan.errors import CodecError
from slimscan.nouns import Pixels


class _Pool:
    """Children for all threads, at most one a core at work; idle ones wait for the next call."""

    def __init__(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._room = threading.BoundedSemaphore(max(1, cores))
        self._lock = threading.Lock()
        self._idle: list[Child] = []

    def call(self, request: tuple[Any, ...], out: Pixels, limits: Limits) -> None:
        """One call, made twice when the first child was worn; see Gone."""
        with self._room:
            try:
                self._once(self._take(request[0]), request, out, limits)
            except Gone as gone:
                if not gone.again:
                    raise CodecError(str(gone)) from None
                try:
                    self._once(Child(request[0]), request, out, limits)
                except Gone as error:
                    raise CodecError(str(error)) from None

    def _once(self, child: Child, request: tuple[Any, ...], out: Pixels, limits: Limits) -> None:
        try:
            child.call(request, out, limits)
        finally:
            if child.process.returncode is None:
                with self._lock:
                    self._idle.append(child)

    def _take(self, function: str) -> Child:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return Child(function)
            if child.process.poll() is None:
                return child
            child.end()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def forget(self) -> None:
        for child in self._idle:
            child.forget()


_pool = _Pool()


def call(request: tuple[Any, ...], out: Pixels, limits: Limits) -> None:
    """A call by one of this process's children; `out` is filled."""
    _pool.call(request, out, limits)


def close() -> None:
    """End all idle children of this process; the next call starts new ones."""
    _pool.close()


def _forked() -> None:
    global _pool
    _pool.forget()
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


atexit.register(close)
