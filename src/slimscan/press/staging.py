"""Outputs appear whole or not at all: written beside their place under a hidden name, then renamed.

A hidden name says which process of which machine writes there. What a killed process left behind is removed by the next
one that writes into the same folder.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from platform import node

from slimscan.errors import OutputError, SlimscanError
from slimscan.press.rename import exchange, rename_new

MARK = ".slimscan-"
NAME_BYTES = 160  # of the output's own name in the hidden one: file systems end at 255
HOST = f"{zlib.crc32(node().encode()):08x}"
LEFTOVER = re.compile(rf"{re.escape(MARK)}{HOST}-(\d+)-[0-9a-f]{{8}}-")


def admit_output(output: Path, force: bool, source: Path | None = None) -> None:
    """OutputError when the output is the source, holds it or lies in it, or exists and may not be replaced."""
    try:
        if source is not None and source.exists():
            place, origin = output.resolve(), source.resolve()
            if place == origin or origin in place.parents or place in origin.parents:
                raise OutputError(f"{output}: the output would change its own source {source}; choose another place")
        other = _not_an_image(output) if force and output.is_dir() else ""
    except OSError as error:
        raise _told(output, error) from error
    if os.path.lexists(output) and not force:
        raise OutputError(f"{output}: exists already; give another name, or --force to replace it")
    if other:
        raise OutputError(f"{output}: is a folder that holds {other}, and --force replaces images only; move it away")


def _not_an_image(folder: Path) -> str:
    """Something in the folder that no image of slices consists of, or "": --force must not cost a home directory."""
    if (folder / "zarr.json").is_file() or (folder / ".zgroup").is_file() or (folder / ".zarray").is_file():
        return ""
    return next((inner.name for inner in sorted(folder.iterdir()) if not _is_slice(inner)), "")


def _is_slice(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@dataclass
class Stage:
    """path: where to write. keep: set to False to throw what was written away instead of renaming it."""

    path: Path
    keep: bool = True


@contextmanager
def staged(output: Path, force: bool = False) -> Iterator[Stage]:
    """A hidden path beside `output`, of the same suffix; renamed on success, removed on any failure.

    OutputError in one sentence for a full disk, a read-only folder, or a destination that appeared meanwhile. Folders
    that had to be made for it are removed again on failure.
    """
    hidden = output.parent / f"{MARK}{HOST}-{os.getpid()}-{secrets.token_hex(4)}-{_short(output.name)}"
    with room(output):
        _sweep(output.parent)
        try:
            stage = Stage(hidden)
            yield stage
            if stage.keep:
                _sync(hidden)
                _rename(hidden, output, force)
        except SlimscanError as error:
            if isinstance(error.__cause__, OSError) and isinstance(error, OutputError):
                raise error.__cause__ from error
            if str(hidden) not in str(error):
                raise
            error.args = (str(error).replace(str(hidden), str(output)),)  # nobody knows the hidden name
            raise
        finally:
            _remove(hidden)


@contextmanager
def room(output: Path) -> Iterator[None]:
    """The output's folder exists inside, and what the system raises there becomes OutputError, naming the output."""
    try:
        with _parents(output.parent):
            yield
    except OSError as error:
        raise _told(output, error) from error


def _rename(hidden: Path, output: Path, force: bool) -> None:
    if rename_new(hidden, output):
        return
    if not force:
        raise OutputError(f"{output}: appeared meanwhile; give another name, or --force to replace it")
    if not (_is_folder(hidden) or _is_folder(output)):
        hidden.replace(output)
    else:  # the old one gets the hidden name, and is removed by it
        exchange(hidden, output)


@contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """The folder exists; those that had to be made are removed on failure when nothing else came into them."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for place in made:
            try:
                place.rmdir()
            except OSError:
                break
        raise


@cache
def _sweep(folder: Path) -> None:
    """Remove what processes of this machine that no longer live left in the folder; once a folder and process."""
    for entry in list(os.scandir(folder)):
        found = LEFTOVER.match(entry.name)
        if found and not _lives(int(found[1])):
            _remove(Path(entry.path))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _short(name: str) -> str:
    """The end of a name, with the suffix that tells the format."""
    return name.encode()[-NAME_BYTES:].decode(errors="ignore")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the reason that it could not be written is the one to tell
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Bytes on the disk before the name: a power cut leaves the old file or the new one."""
    if path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _told(output: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"{output}: the disk is full; nothing was written, free some space or choose another disk")
    if error.errno == errno.EFBIG:
        return OutputError(f"{output}: is larger than a file may be here; nothing was written, choose another disk")
    if error.errno == errno.ENAMETOOLONG:
        return OutputError(f"{output}: the name is too long for this disk; choose a shorter one")
    return OutputError(f"{output}: cannot be written ({error.strerror or error}); choose a place that you may write to")
