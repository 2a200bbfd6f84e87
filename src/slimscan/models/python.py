"""Python functions by name: "package.module:function", or "file.py:function" in a folder."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from slimscan.errors import InputError


def load(call: str, base: Path) -> Callable[..., Any]:
    """The function that "package.module:function" or "file.py:function" names; InputError when there is none."""
    module_name, _, name = call.rpartition(":")
    if not name or not module_name:
        raise InputError(f'call = "{call}": want package.module:function, or file.py:function')
    try:
        module = _from_file(base / module_name) if module_name.endswith(".py") else importlib.import_module(module_name)
    except Exception as error:  # importing somebody's module may raise anything
        raise InputError(f'call = "{call}": {module_name} cannot be imported ({error!r})') from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f'call = "{call}": {module_name} has no function "{name}"')
    return function  # type: ignore[no-any-return] # callable, as just asked


def arguments(function: Callable[..., Any], call: str, known: Sequence[str]) -> tuple[str, ...]:
    """Which of the known names the function takes behind its first argument; InputError for one that nobody gives."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return tuple(known)
    rest = parameters[1:]
    for one in rest:
        if one.default is inspect.Parameter.empty and one.name not in known and one.kind is not one.VAR_POSITIONAL:
            raise InputError(f'call = "{call}": takes "{one.name}", which nobody gives; allowed: {", ".join(known)}')
    return tuple(one.name for one in rest if one.name in known)


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
