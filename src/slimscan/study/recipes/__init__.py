"""Protocols of published studies as TOMLs that are ready to be pointed at images."""

from __future__ import annotations

from importlib import resources

from slimscan.errors import InputError
from slimscan.study.words import nearest


def names() -> tuple[str, ...]:
    """The recipes that there are."""
    inside = resources.files(__name__).iterdir()
    return tuple(sorted(one.name.removesuffix(".toml") for one in inside if one.name.endswith(".toml")))


def text(name: str) -> str:
    """The TOML of a recipe; InputError with those that there are."""
    if name not in names():
        raise InputError(f'recipe "{name}" is not known; allowed: {", ".join(names())}{nearest(name, names())}')
    return (resources.files(__name__) / f"{name}.toml").read_text("utf-8")
