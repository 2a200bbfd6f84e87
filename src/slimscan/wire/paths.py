"""Names inside a served folder: an .ozx that lies in it, reached by no link, or nothing at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

SUFFIX = ".ozx"
MOST_NAME = 1024
MOST_LISTED = 10_000
DEEPEST = 8


class NotServed(Exception):
    """There is no such file to serve; why is nobody's business outside."""


def open_inside(folder: Path, name: str) -> IO[bytes]:
    """The file `name` ("a/b.ozx") in the folder, opened; NotServed for everything else.

    Hidden names, "..", backslashes, control characters, other suffixes, folders and devices are not served. No link is
    followed on the way: every part is opened from the folder that was opened before it, where the system can do that.
    """
    parts = _parts(name)
    try:
        if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            return _open_checked(folder, parts)
        at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = inner
            opened = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        finally:
            os.close(at)
        file = os.fdopen(opened, "rb")
    except (OSError, ValueError) as error:
        raise NotServed(name) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotServed(name)
    return file


def place_of(folder: Path, name: str) -> Path:
    """The path of a file that open_inside opens, for readers that want a path."""
    with open_inside(folder, name):
        return folder.joinpath(*_parts(name))


def served(folder: Path) -> list[tuple[str, int]]:
    """(name, bytes) of every file that is served, sorted; at most MOST_LISTED, DEEPEST folders deep."""
    found: list[tuple[str, int]] = []
    waiting = [(folder, "", 0)]
    while waiting and len(found) < MOST_LISTED:
        place, before, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            name = before + entry.name
            if entry.is_dir(follow_symlinks=False) and depth < DEEPEST and not entry.name.startswith("."):
                waiting.append((Path(entry.path), f"{name}/", depth + 1))
            elif entry.is_file(follow_symlinks=False) and _known(name):
                found.append((name, entry.stat(follow_symlinks=False).st_size))
    return sorted(found)[:MOST_LISTED]


def _known(name: str) -> bool:
    try:
        return bool(_parts(name))
    except NotServed:
        return False


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    fine = len(name) <= MOST_NAME and len(parts) <= DEEPEST + 1 and parts[-1].lower().endswith(SUFFIX)
    if not fine or any(not part or part[0] == "." or not _plain(part) for part in parts):
        raise NotServed(name)
    return parts


def _plain(part: str) -> bool:
    return part.isprintable() and not set(part) & set('\\:*?"<>|')


def _open_checked(folder: Path, parts: list[str]) -> IO[bytes]:
    """For systems without openat: the resolved path must be the path that was asked for."""
    place = folder.resolve().joinpath(*parts)
    if place.resolve() != place or not place.is_file():
        raise NotServed("/".join(parts))
    return place.open("rb")
