"""Run the command line in tests: in this process for speed, in a child where streams and signals matter."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan.cli import run
from slimscan.nouns import Volume


@dataclass(frozen=True)
class Said:
    """What a command left: its exit status and both streams."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def error(self) -> str:
        """The one line of an error, its form checked."""
        lines = self.err.splitlines()
        assert self.status in (2, 3), (self.status, self.out, self.err)
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in self.err
        assert ".slimscan-" not in self.err, "the hidden name is nobody's business"
        assert "unexpected" not in self.err
        return lines[0].removeprefix("error: ")


def here(*arguments: object) -> Said:
    """The command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run([str(argument) for argument in arguments])
    return Said(status, out.getvalue(), err.getvalue())


def command(*arguments: object) -> list[str]:
    """The command as a child process takes it."""
    return [sys.executable, "-m", "slimscan", *map(str, arguments)]


def child(*arguments: object, timeout: float = 60, **more: Any) -> Said:
    """The command in a child process."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, **more)
    return Said(done.returncode, done.stdout, done.stderr)


def scan(path: Path, shape: tuple[int, ...] = (6, 40, 44), dtype: str = "int16", seed: int = 3) -> Path:
    """A small image with geometry in the file that the name asks for."""
    slimscan.write(volume(shape, dtype, seed), path)
    return path


def volume(shape: tuple[int, ...] = (6, 40, 44), dtype: str = "int16", seed: int = 3) -> Volume:
    """Smooth waves and noise over most of the type's range, a turned affine."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(0, 3, n) for n in shape[:3]), indexing="ij")
    low, high = {"uint8": (0, 255), "uint16": (0, 4000), "int16": (-900, 2900), "float32": (-1, 1)}[dtype]
    waves = (np.sin(3 * x + z) * np.cos(2 * y) + 1) / 2 + rng.normal(scale=0.01, size=shape[:3])
    if len(shape) == 4:
        waves = np.stack([np.roll(waves, 3 * k, 2) for k in range(shape[3])], -1)
    values = low + np.clip(waves, 0, 1) * (high - low)
    pixels = values.astype(dtype) if dtype == "float32" else np.rint(values).astype(dtype)
    affine = np.array([[-0.7, 0.0, 0.0, 90.0], [0.0, -0.8, 0.0, 100.0], [0.0, 0.0, 2.0, -30.0], [0.0, 0.0, 0.0, 1.0]])
    return Volume(pixels, affine, source="waves")


def pixels(path: Path | str) -> np.ndarray:
    """What slimscan reads there."""
    return np.asarray(slimscan.read(path).pixels)


def listing(folder: Path, *, deep: bool = True) -> list[str]:
    """Every name in a folder and below, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in (folder.rglob("*") if deep else folder.iterdir()))
