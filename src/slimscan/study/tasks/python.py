"""Any Python function: "package.module:function", or "file.py:function" beside the study's TOML.

The function is called with the pixels (z, y, x[, c]) in their real unit, and with those of these names that it takes:
spacing_mm (z, y, x), affine_mm, case, image, mask (the reference labels or None), volume (slimscan.nouns.Volume). It
returns labels (z, y, x), or numbers by name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from slimscan.errors import InputError
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
    takes = _arguments(function, said["call"])

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


def load(call: str, base: Path) -> Callable[..., Any]:
    """The function that "package.module:function" or "file.py:function" names; InputError when there is none."""
    module_name, _, name = call.partition(":")
    if not name:
        raise InputError(f'call = "{call}": want package.module:function, or file.py:function')
    try:
        module = _from_file(base / module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
    except Exception as error:  # importing somebody's module may raise anything
        raise InputError(f'call = "{call}": {module_name} cannot be imported ({error!r})') from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f'call = "{call}": {module_name} has no function "{name}"')
    return function  # type: ignore[no-any-return] # callable, as just asked


def _from_file(path: Path) -> ModuleType:
    name = f"slimscan_task_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _arguments(function: Callable[..., Any], call: str) -> tuple[str, ...]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return KNOWN
    rest = parameters[1:]
    for one in rest:
        if one.default is inspect.Parameter.empty and one.name not in KNOWN and one.kind is not one.VAR_POSITIONAL:
            raise InputError(f'call = "{call}": takes "{one.name}", which nobody gives; allowed: {", ".join(KNOWN)}')
    return tuple(one.name for one in rest if one.name in KNOWN)


def _source(function: Callable[..., Any]) -> str:
    """sha256 of the file that the function stands in; its name when there is none (built in)."""
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        path = None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else repr(function)
