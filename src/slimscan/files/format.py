"""What a file format is: how it is recognised, read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slimscan.nouns import Needs, Volume


@dataclass(frozen=True)
class Format:
    """A file format: three functions and a few facts.

    sniff(path, head): whether the content is this format; head: the first `guard.HEAD` bytes, b"" for a folder, whose
    files are looked at instead. Never the name alone, and never an error.
    read(path): the image, its pixels on disk where that is possible; NotReadable for a damaged file.
    write(volume, path): the pixels straight to `path`; staging and renaming happen upstairs. None: read only.
    suffixes: how names end, lower case, the one to suggest first; "/" is a folder.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Path, bytes], bool]
    read: Callable[[Path], Volume]
    write: Callable[[Volume, Path], None] | None
    needs: tuple[Needs, ...] = ()
    note: str = ""
