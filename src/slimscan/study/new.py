"""A new study's TOML, commented from the declarations of its words: what each one is, may be, and is when left out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from slimscan.study.declared import CASES, CODECS, CONTRACT, METRICS, RUN, STUDY
from slimscan.study.tasks import COMMON, KINDS
from slimscan.study.words import REQUIRED, Word

HEAD = """# A study: how far may these images be compressed before the task suffers?
# Everything here is fixed, and hashed, before a pixel is read. Lines that begin with # are what holds when left out.
#   slimscan study plan {name}      how many cases it needs, and what it would do
#   slimscan study run {name}       does it; run it again to go on after a stop
#   slimscan study judge FOLDER     the verdict from the rows
#   slimscan study report FOLDER    one page for people
"""


def write_new(given: Mapping[str, Any], file: str = "study.toml") -> str:
    """The text of a TOML with these tables filled in; codecs and tasks are lists of tables. Other words are comments."""
    parts = [HEAD.format(name=file)]
    parts.append(_table("[study]", STUDY, given.get("study", {})))
    parts.append(_table("[cases]", CASES, given.get("cases", {})))
    parts += [_table("[[codecs]]", CODECS, one) for one in given.get("codecs", [{}])]
    for one in given.get("tasks", [{}]):
        kind = KINDS.get(one.get("kind", ""))
        words = (*COMMON, *kind.words) if kind else COMMON
        parts.append(_table("[[tasks]]", words, one, _kinds()))
    parts.append(_table("[metrics]", METRICS, given.get("metrics", {})))
    parts.append(_table("[contract]", CONTRACT, given.get("contract", {})))
    parts.append(_table("[run]", RUN, given.get("run", {})))
    return "\n".join(parts)


def _kinds() -> str:
    width = max(map(len, KINDS))
    return "\n".join(f"#   {name:<{width}}  {kind.about}" for name, kind in KINDS.items()) + "\n"


def _table(head: str, words: Sequence[Word], given: Mapping[str, Any], more: str = "") -> str:
    lines = [head]
    for word in words:
        lines += [f"# {line}" for line in textwrap.wrap(_about(word), 116)]
        if word.name == "kind" and more:
            lines += more.rstrip("\n").splitlines()
        if word.name in given and given[word.name] is not None:
            lines.append(f"{word.name} = {toml(given[word.name])}")
        else:
            shown = word.example if word.default is REQUIRED or word.default is None else word.default
            lines.append(f"# {word.name} = {toml(shown) if shown is not None else '...'}")
    return "\n".join(lines) + "\n"


def _about(word: Word) -> str:
    allowed = f" ({', '.join(word.allowed)})" if word.allowed else f" ({word.range})" if word.range else ""
    return f"{word.help}{allowed}"


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return f"{value:g}" if isinstance(value, float) and value == int(value) and abs(value) < 1e15 else repr(value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else toml(name)
