"""What a decoder may do to its process, for children that are asked to do it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import CodecError, MissingExtra


def ramp(count: int, dtype: str = "uint16") -> Any:
    return np.arange(count, dtype=dtype)


def ended_by(number: int) -> Any:
    os.kill(os.getpid(), number)
    time.sleep(60)


def aborted() -> Any:
    ctypes.CDLL(None).abort()


def crashed() -> Any:
    ctypes.string_at(0)


def left(status: int) -> Any:
    os._exit(status)


def asleep() -> Any:
    time.sleep(600)


def busy() -> Any:
    while True:
        pass


def greedy(size: int) -> Any:
    return np.ones(size, np.uint8)


def bad_alloc() -> Any:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def leaking(size: int) -> Any:
    """Keeps a part of the memory that a call is allowed, call after call."""
    kept = sys.modules[__name__].__dict__.setdefault("_kept", [])
    kept.append(np.ones(size, np.uint8))
    return np.arange(4, dtype=np.uint8)


def chatty() -> Any:
    os.write(1, b"x" * 100_000)
    sys.stdout.write("x" * 100_000)
    for _ in range(100):
        try:
            os.write(2, b"x" * 10_000)
        except BlockingIOError:
            break
    return np.arange(4, dtype=np.uint8)


def refused(text: str) -> Any:
    raise CodecError(text)


def confused() -> Any:
    raise MissingExtra("this", "that", "more")


def pid() -> Any:
    return np.array([os.getpid()], np.int64)


def limits() -> Any:
    """What the child may: (core, file size, open files, can read, can write, ears for SIGINT) as numbers."""
    import resource
    import tempfile

    may = [
        resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
    ]
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
            file.flush()
        wrote = 1
    except OSError:
        wrote = 0
    nothing = Path(os.devnull).stat()
    closed = all(os.path.samestat(os.fstat(number), nothing) for number in (0, 1))
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return np.array([*may, os.read(0, 1) == b"", wrote, closed, deaf], np.int64)


def decoded(name: str, payload: bytes, layout: Any) -> Any:
    from slimscan.codecs import CODECS

    return CODECS[name].decode(payload, layout)


def spoken(words: bytes) -> Any:
    """Writes to the parent what no child of ours would, and ends."""
    for number in range(3, 16):
        try:
            os.write(number, words)
        except OSError:
            continue
    os._exit(0)


def processor_limit() -> Any:
    import resource

    return np.array([resource.getrlimit(resource.RLIMIT_CPU)[0]], np.int64)


def within(name: str, good: bytes, full: Any, bomb: bytes, layout: Any, room: int) -> Any:
    """decoded() of a bomb with `room` bytes more of address space than an honest chunk of the codec left in use."""
    import resource

    decoded(name, good, full)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + room, most))
    return decoded(name, bomb, layout)


def killed_by_page(path: Path, stamp: int, number: int) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)
