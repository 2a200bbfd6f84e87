"""Any Python function: "package.module:function", or "file.py:function" beside the study's TOML.

The function is called with the pixels (z, y, x[, c]) in their real unit, and with those of these names that it takes:
spacing_mm (z, y, x), affine_mm, case, image, mask (the reference labels or None), volume (slimscan.nouns.Volume). It
returns labels (z, y, x), or numbers by name.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slimscan.models.python import arguments, load
from slimscan.nouns import Volume
from slimscan.study.task import Asked, Task, real
from slimscan.study.words import Word

ABOUT = "any Python function, package.module:function or file.py:function"
WORDS = (
    Word("call", "text", "the function, package.module:function, or file.py:function beside this file"),
    Word("gives", "text", "what it returns: labels (mask) or numbers by name", default="mask", allowed=("mask", "numbers")),
    Word("version", "text", "change it when the function answers differently; its source file is watched anyway", default=""),
)  # fmt: skip

KNOWN = ("spacing_mm", "affine_mm", "case", "image", "mask", "volume")


def make(said: Mapping[str, Any], base: Path) -> Task:
    """The task; InputError when the function cannot be imported or takes arguments that nobody gives."""
    function = load(said["call"], base)
    takes = arguments(function, said["call"], KNOWN)

    def predict(volume: Volume, asked: Asked) -> Any:
        known = {
            "spacing_mm": volume.spacing_mm,
            "affine_mm": volume.affine_mm,
            "case": asked.case,
            "image": asked.image,
            "mask": asked.mask,
            "volume": volume,
        }
        return function(real(volume), **{name: known[name] for name in takes})

    text = json.dumps([said["call"], said["version"], _source(function), said["gives"]])
    version = hashlib.sha256(text.encode()).hexdigest()
    sees = "name" if {"case", "image"} & set(takes) else "mask" if "mask" in takes else "image"
    return Task(said["name"], said["gives"], version, predict, sees)  # type: ignore[arg-type] # literals above


def _source(function: Callable[..., Any]) -> str:
    """sha256 of the file that the function stands in; its name when there is none (built in)."""
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        path = None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else repr(function)
