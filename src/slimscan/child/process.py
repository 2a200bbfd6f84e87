"""One child, seen from its parent: started, asked, timed, and ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from slimscan.child.limits import HEAD, MOST_TEXT, NO_MEMORY, PIXELS, REFUSED, Limits
from slimscan.errors import CodecError
from slimscan.nouns import Pixels

HURT = "the data are damaged, or made to harm"
BOOT = "import os, sys; sys.path[:] = sys.argv[1].split(os.pathsep); from slimscan.child.serve import serve; serve(sys.argv[2])"
START_S = 120.0  # that a child may take to load its libraries
QUIET = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Gone(CodecError):
    """A child is no more. again: a fresh one may do better, for this one was worn by earlier calls."""

    again = False


class Child:
    """One child, used by one thread at a time. function: "module:name", loaded before the first call's time begins."""

    def __init__(self, function: str) -> None:
        from multiprocessing.spawn import get_executable  # honours set_executable, as an embedding program needs

        program = os.fsdecode(get_executable() or sys.executable)
        command = [program, "-P", "-B", "-W", "ignore", "-c", BOOT, os.pathsep.join(sys.path), function]
        said = subprocess.DEVNULL if sys.platform == "win32" else subprocess.PIPE
        pipe = subprocess.PIPE
        try:
            with _deaf():
                self.process = subprocess.Popen(
                    command, bufsize=0, stdin=pipe, stdout=pipe, stderr=said, env={**os.environ, **QUIET}
                )
        except OSError as error:
            raise CodecError(f"no child to decode in could be started: {error}") from error
        _widen(self.process)
        self.calls = 0
        self._late = False
        self._lock = threading.Lock()
        self._greeted()

    def _greeted(self) -> None:
        """Wait for the child's first words; CodecError when there are none, which is no fault of any image."""
        timer = threading.Timer(START_S, self._expire, (0,))
        timer.daemon = True
        timer.start()
        try:
            self._read(bytearray(HEAD.size))
        except (OSError, EOFError):
            status, words = self._ended()
            last = words.decode("utf-8", "replace").strip().rpartition("\n")[2]
            why = f"no word within {START_S} s" if self._late else f"{_named(status)}{last and ': '}{last}"
            raise CodecError(f"no child to decode in could be started ({why})") from None
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()

    def call(self, request: tuple[Any, ...], out: Pixels, limits: Limits) -> None:
        """One call; Gone when the child did not live through it. Whatever is raised but CodecError ends the child."""
        self.calls += 1
        timer = threading.Timer(limits.seconds, self._expire, (self.calls,))
        timer.daemon = True
        timer.start()
        try:
            message = pickle.dumps((*request, limits.seconds, limits.memory), protocol=5)
            self._send(HEAD.pack(self.calls, 0, len(message)))
            self._send(message)
            self._receive(out, limits)
        except (OSError, EOFError):
            raise self._gone(limits) from None
        except CodecError:
            raise
        except BaseException:
            self.end()
            raise
        finally:
            timer.cancel()
            with self._lock:
                self.calls += 1  # a timer that fires now is of no call

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) or 0 :]  # type: ignore[union-attr] # it is a pipe

    def _receive(self, out: Pixels, limits: Limits) -> None:
        number, kind, size = HEAD.unpack(self._read(bytearray(HEAD.size)))
        if number == self.calls and kind == PIXELS and size == out.nbytes:
            self._read(out.reshape(-1).view(np.uint8))
        elif number == self.calls and kind == REFUSED and size <= MOST_TEXT:
            raise CodecError(" ".join(self._read(bytearray(size)).decode("utf-8", "replace").split()))
        elif number == self.calls and kind == NO_MEMORY and size == 0:
            self.end()
            raise self._worn(Gone(_too_much(limits)))
        else:
            self.end()
            raise Gone(f"the decoder gave {size} bytes, want {out.nbytes}; {HURT}")

    def _read(self, into: Any) -> Any:
        view = memoryview(into)
        while view:
            got = self.process.stdout.readinto(view)  # type: ignore[union-attr] # it is a pipe without a buffer
            if not got:
                raise EOFError
            view = view[got:]
        return into

    def _expire(self, number: int) -> None:
        with self._lock:
            if number == self.calls:
                self._late = True
                self.process.kill()

    def _ended(self) -> tuple[int | None, bytes]:
        """Status and last words of a child whose pipe broke."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)  # its pipe may break a moment before it ends
        words = b""
        if self.process.stderr is not None:
            os.set_blocking(self.process.stderr.fileno(), False)
            words = self.process.stderr.read(1 << 16) or b""
        status = self.process.poll()
        self.end()
        return status, words

    def _gone(self, limits: Limits) -> Gone:
        """What became of the child, which is no longer there or will not be."""
        status, words = self._ended()
        if self._late or status == -getattr(signal, "SIGXCPU", -1):
            return Gone(f"the decoder took longer than {limits.seconds:.3g} s and was stopped; {HURT}")
        if b"bad_alloc" in words:
            return self._worn(Gone(_too_much(limits)))
        return self._worn(Gone(f"the decoder stopped with {_named(status)}; {HURT}"))

    def _worn(self, error: Gone) -> Gone:
        error.again = self.calls > 1
        return error

    def end(self) -> None:
        """Kill it, if it lives, and wait for it: no zombie stays."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def forget(self) -> None:
        """In a process that was forked off: the child is the parent's, and so is its end."""
        self.process.returncode = 0
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def _too_much(limits: Limits) -> str:
    return f"the decoder wanted more than {limits.memory / 1e6:.0f} MB and was stopped; {HURT}"


def _named(status: int | None) -> str:
    with suppress(ValueError):
        return signal.Signals(-(status or 0)).name
    return f"status {status}"


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Pipes of a megabyte where Linux gives them: fewer turns between parent and child."""
    if sys.platform == "linux":
        import fcntl

        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)


@contextmanager
def _deaf() -> Iterator[None]:
    """A child started inside never hears Ctrl-C, from its first instruction on: the parent answers for it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
