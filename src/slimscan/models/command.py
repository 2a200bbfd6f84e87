"""Command lines with holes for files, run in a child process of its own without a shell."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from slimscan.errors import InputError
from slimscan.models.answer import BadAnswer


def words_of(command: str, holes: Sequence[str], base: Path, where: str = "") -> list[str]:
    """The words of a command; InputError when a hole is not in it, or its program is not found (in `base` or the path)."""
    where = where or f'command = "{command}"'
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"{where}: cannot be split into words ({error}); check its quotes") from None
    for hole in holes:
        if not any(hole in word for word in words):
            raise InputError(f"{where}: want {hole} in it, where the file name goes")
    if not words or (shutil.which(words[0]) is None and not (base / words[0]).exists()):
        raise InputError(f"{where}: the program {words[0]} is not found; install it or give its path")
    if shutil.which(words[0]) is None:
        words[0] = str((base / words[0]).resolve())
    return words


def filled(words: Sequence[str], holes: Mapping[str, str]) -> list[str]:
    """The words with every hole replaced."""
    out = []
    for word in words:
        for hole, value in holes.items():
            word = word.replace(hole, value)
        out.append(word)
    return out


def run(
    command: Sequence[str],
    timeout: float,
    base: Path | None,
    what: str = "the command",
    env: Mapping[str, str] | None = None,
) -> str:
    """Run to the end; the last line that it said. BadAnswer for a failure; a timeout stops all its children too.

    env: variables set beside those of this process.
    """
    own_group = {"start_new_session": True} if os.name == "posix" else {}
    with tempfile.TemporaryFile() as spoken:
        try:
            child = subprocess.Popen(
                list(command),
                cwd=base,
                env={**os.environ, **env} if env else None,
                stdin=subprocess.DEVNULL,
                stdout=spoken,
                stderr=subprocess.STDOUT,
                **own_group,
            )  # type: ignore[call-overload] # the keyword is only there on POSIX
        except OSError as error:
            raise BadAnswer(f"{what} cannot be started: {error.strerror or error}") from error
        try:
            status = child.wait(timeout)
        except BaseException as error:
            _stop(child)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BadAnswer(f"{what} took longer than {timeout:g} s and was stopped") from None
            raise
        spoken.seek(max(0, spoken.seek(0, os.SEEK_END) - 2000))
        lines = spoken.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][:200] if lines else ""
    if status != 0:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise BadAnswer(f"{what} ended with {how}; its last words: {last or 'none'}")
    return last


def _stop(child: subprocess.Popen[bytes]) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
