"""Any command line with {image} and {output}: nnU-Net, TotalSegmentator, a hospital's own container.

The image is written as a file, the command runs in a child process of its own (no shell), and what lies at {output} is
read as labels. A non-zero exit, a timeout, or no output is the task's failure on that image: the worst score.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import files
from slimscan.errors import InputError, SlimscanError
from slimscan.nouns import Pixels, Volume
from slimscan.press.open import read
from slimscan.study.task import Asked, BadAnswer, Task
from slimscan.study.words import Word

ABOUT = "any command line with {image} and {output}, in a child process"
WORDS = (
    Word("command", "text", "the command; {image} and {output} are files, {case} the case's name"),
    Word("format", "text", "of {image}", default=".nii.gz", allowed=(".nii.gz", ".nii", ".mha", ".nrrd", ".tif")),
    Word("output_format", "text", "of {output}", default=".nii.gz", allowed=(".nii.gz", ".nii", ".mha", ".nrrd", ".tif")),
    Word("timeout", "number", "after which the command is stopped", default=3600.0, low=0.1, high=1e6, unit="seconds"),
    Word("version", "text", "change it when the command answers differently", default=""),
)  # fmt: skip


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the command has no {image} or {output}, or its program is not there."""
    words = shlex.split(said["command"])
    for hole in ("{image}", "{output}"):
        if not any(hole in word for word in words):
            raise InputError(f'command = "{said["command"]}": want {hole} in it, where the file name goes')
    if not words or (shutil.which(words[0]) is None and not (base / words[0]).exists()):
        raise InputError(
            f'command = "{said["command"]}": the program {words[0]} is not found; install it or give its path'
        )
    if shutil.which(words[0]) is None:
        words[0] = str((base / words[0]).resolve())

    def predict(volume: Volume, asked: Asked) -> Pixels:
        return run(words, volume, asked, said["format"], said["output_format"], said["timeout"], base)

    scripts = [_content(base / word) for word in words if "{" not in word]
    text = json.dumps([said["command"], said["version"], said["format"], said["output_format"], scripts])
    sees = "name" if any("{case}" in word for word in words) else "image"
    return Task(said["name"], "mask", hashlib.sha256(text.encode()).hexdigest(), predict, sees)  # type: ignore[arg-type]


def run(
    words: list[str], volume: Volume, asked: Asked, form: str, output_form: str, timeout: float, base: Path
) -> Pixels:
    """The labels (z, y, x) that the command wrote; BadAnswer with its last words when it failed."""
    with tempfile.TemporaryDirectory(prefix="slimscan-task-") as folder:
        image, output = Path(folder) / f"image{form}", Path(folder) / f"output{output_form}"
        files.write(volume, image)
        holes = {"{image}": str(image), "{output}": str(output), "{case}": asked.case}
        command = [_filled(word, holes) for word in words]
        said = _child(command, timeout, base)
        if not output.exists():
            raise BadAnswer(f"the command ended without writing {{output}}; its last words: {said or 'none'}")
        try:
            return np.asarray(read(output).pixels)
        except SlimscanError as error:
            raise BadAnswer(f"what the command wrote cannot be read: {error}") from error


def _child(command: list[str], timeout: float, base: Path) -> str:
    """Run to the end; the last line that it said. BadAnswer for a failure; a timeout stops all its children too."""
    own_group = {"start_new_session": True} if os.name == "posix" else {}
    with tempfile.TemporaryFile() as spoken:
        child = subprocess.Popen(
            command, cwd=base, stdin=subprocess.DEVNULL, stdout=spoken, stderr=subprocess.STDOUT, **own_group
        )  # type: ignore[call-overload] # the keyword is only there on POSIX
        try:
            status = child.wait(timeout)
        except BaseException as error:
            _stop(child)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BadAnswer(f"the command took longer than {timeout:g} s and was stopped") from None
            raise
        spoken.seek(max(0, spoken.seek(0, os.SEEK_END) - 2000))
        lines = spoken.read().decode(errors="replace").strip().splitlines()
    last = lines[-1][:200] if lines else ""
    if status != 0:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise BadAnswer(f"the command ended with {how}; its last words: {last or 'none'}")
    return last


def _stop(child: subprocess.Popen[bytes]) -> None:
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _filled(word: str, holes: Mapping[str, str]) -> str:
    for hole, value in holes.items():
        word = word.replace(hole, value)
    return word


def _content(path: Path) -> str | None:
    """Fingerprint of a script that the command names, so that an edited script is run again."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except OSError:
        return None
