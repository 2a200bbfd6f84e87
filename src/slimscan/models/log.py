"""The live log of a training: one JSON object a line, which may be read while it grows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slimscan.errors import InputError, OutputError


class Log:
    """Lines of log.jsonl; those beyond `step`, of a training that was stopped after them, are taken away first."""

    def __init__(self, path: Path, step: int, also: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self.path, self.also = path, also
        kept = [line for line in read(path) if line["step"] <= step] if path.is_file() else []
        self._write("w", "".join(_line(one) for one in kept))

    def add(self, said: Mapping[str, Any]) -> None:
        """One line, on the disk at once. OutputError when it cannot be written."""
        self._write("a", _line(said))
        if self.also is not None:
            self.also(said)

    def _write(self, mode: str, text: str) -> None:
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(
                f"{self.path}: the log cannot be written ({error.strerror or error}); the last checkpoint is kept"
            ) from None


def read(path: Path) -> list[dict[str, Any]]:
    """The lines so far: step, loss, rate, seconds, and where it was validated `validation` and `best`.

    A last line that is cut off is left out. InputError when the file cannot be read, or is no such log.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the log of a training cannot be read ({error})") from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            said = json.loads(line)
            found.append({**said, "step": int(said["step"])})
        except (ValueError, KeyError, TypeError):
            if number < len(lines):
                raise InputError(f"{path}, line {number}: is no line of a training's log") from None
    return found


def _line(said: Mapping[str, Any]) -> str:
    return json.dumps(_finite(said), allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
