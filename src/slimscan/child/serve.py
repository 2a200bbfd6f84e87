"""The child's side: calls one after the other, each under its limits."""

from __future__ import annotations

import importlib
import math
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from slimscan.child.limits import HEAD, MOST_TEXT, NO_MEMORY, PIXELS, REFUSED
from slimscan.errors import CodecError

MOST_FILES = 64  # that a child may have open, its libraries while they load included
inside = False  # this process is a child


def serve(function: str) -> None:
    """A child's life: calls one after the other, until the parent closes the pipe or is no more.

    function: loaded before the child says that it is there.
    """
    global inside
    inside = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what a library prints must not reach the pipe
        os.dup2(nothing, standard)
    os.close(nothing)
    if sys.platform != "win32":
        os.set_blocking(2, False)  # nobody reads along: what does not fit is lost
    found(function)
    meter = _Meter()
    sink.write(HEAD.pack(0, PIXELS, 0))
    while head := source.read(HEAD.size):
        number, _, size = HEAD.unpack(head)
        _answer(sink, number, meter, source.read(size))


def _answer(sink: BinaryIO, number: int, meter: _Meter, message: bytes) -> None:
    function, arguments, shape, dtype, seconds, memory = pickle.loads(message)
    del message
    kind: int = REFUSED
    body: Any
    try:
        call = meter.loading(lambda: found(function))
        meter.start(seconds, memory)
        pixels = np.ascontiguousarray(call(*arguments))
        if pixels.shape != tuple(shape) or pixels.dtype != np.dtype(dtype):
            raise CodecError(f"decoded {pixels.dtype} {pixels.shape}, want {np.dtype(dtype)} {tuple(shape)}")
        kind, body = PIXELS, pixels.reshape(-1).view(np.uint8).data
    except MemoryError:
        kind, body = NO_MEMORY, b""
    except Exception as error:  # noqa: BLE001 whatever a decoder raises is told to the parent, who calls it by its name
        body = (str(error) or type(error).__name__).encode("utf-8", "replace")[:MOST_TEXT]
    meter.stop()
    sink.write(HEAD.pack(number, kind, len(body)))
    view = memoryview(body)
    while view:
        view = view[sink.write(view) :]


def found(function: str) -> Callable[..., Any]:
    """The function "module:name"."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


class _Meter:
    """The limits of the child itself, as far as the system has them."""

    def __init__(self) -> None:
        try:
            import resource
        except ImportError:  # Windows
            self._set: Any = None
            return
        self._resource: Any = resource
        self._set = self._lower
        for name, value in (("CORE", 0), ("FSIZE", 0), ("NOFILE", MOST_FILES)):
            number = getattr(resource, f"RLIMIT_{name}")
            _, most = resource.getrlimit(number)
            value = value if most == resource.RLIM_INFINITY else min(value, most)
            with suppress(ValueError, OSError):
                resource.setrlimit(number, (value, value))
        self._base = _mapped()

    def loading(self, work: Callable[[], Any]) -> Any:
        """work(), whose growth is the child's own and no call's."""
        before = _mapped()
        found = work()
        if self._set is not None:
            self._base += _mapped() - before
        return found

    def start(self, seconds: float, memory: int) -> None:
        """Soft limits for the call that follows."""
        if self._set is None:
            return
        used = self._resource.getrusage(self._resource.RUSAGE_SELF)
        self._set("CPU", math.ceil(used.ru_utime + used.ru_stime + seconds) + 1)
        if self._base:
            self._set("AS", self._base + memory)

    def stop(self) -> None:
        """No limit while the answer is given."""
        if self._set is not None:
            self._set("CPU", -1)
            self._set("AS", -1)

    def _lower(self, name: str, value: int) -> None:
        number = getattr(self._resource, f"RLIMIT_{name}")
        _, most = self._resource.getrlimit(number)
        endless = self._resource.RLIM_INFINITY
        value = endless if value < 0 else value
        if most != endless:
            value = most if value == endless else min(value, most)
        with suppress(ValueError, OSError):
            self._resource.setrlimit(number, (value, most))


def _mapped() -> int:
    """Bytes of address space in use; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 no Path in a child that counts its memory
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
