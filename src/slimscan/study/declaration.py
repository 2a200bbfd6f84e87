"""The file that declares a study, a protocol or a training: read as TOML, and made into what it declares."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from slimscan.errors import InputError

Declared = TypeVar("Declared")


def read(path: Path, writes: str, make: Callable[[Mapping[str, Any], str], Declared]) -> Declared:
    """make(tables, text) of a TOML. writes: where such a file comes from, for whoever names one that is not there.

    InputError naming the file; what make raises gets the file's name in front.
    """
    try:
        text = path.read_text("utf-8")
        given = tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"{path}: is not there; {writes}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return make(given, text)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from None
