"""What every reader needs around a file it did not write: whatever goes wrong becomes one sentence that names it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimscan.errors import InputError, NotReadable, OutputError, SlimscanError

HEAD = 4096

# Deflate cannot shrink by more than this (RFC 1951: a code of one bit for a run of 258 bytes, less the headers).
DEFLATE_LIMIT = 1032


def one_line(error: BaseException) -> str:
    """What a library said, in one line of at most 200 characters."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 200 else said[:197] + "..."


def read_head(path: Path) -> bytes:
    """The first HEAD bytes of a file, b"" for a folder; NotReadable when there is nothing that could be read."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)  # a folder that may not be listed says so here
            return b""
        mode = path.stat()
        if not path.is_file():
            raise NotReadable(f"{path}: is a device or a pipe; want a file or a folder")
        if mode.st_size == 0:
            raise NotReadable(f"{path}: is empty (0 bytes); fetch it again")
        with path.open("rb") as file:
            return file.read(HEAD)
    except (OSError, RuntimeError) as error:
        raise NotReadable(f"{path}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ELOOP or isinstance(error, RuntimeError):
        return "is a link that leads back to itself; name the file that it should lead to"
    if code == errno.ENOENT:
        return "there is no such file or folder; check the name"
    if code in (errno.EACCES, errno.EPERM):
        return "may not be read by you; ask its owner for read permission"
    return f"cannot be opened: {one_line(error)}"


@contextmanager
def reading(path: Path, title: str) -> Iterator[None]:
    """Whatever a library raises inside becomes NotReadable, naming the file and the cause."""
    try:
        yield
    except SlimscanError:
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP):
            raise NotReadable(f"{error.filename or path}: {_reason(error)}") from error
        raise damaged(path, title, one_line(error)) from error
    except MemoryError as error:
        raise InputError(f"{path}: the {title} image does not fit into memory; free some, or crop it") from error
    except Exception as error:  # libraries raise many kinds on damaged files; all mean the same here
        raise damaged(path, title, one_line(error)) from error


def damaged(path: Path, title: str, cause: str) -> NotReadable:
    """The error for a file that was recognised and cannot be read whole."""
    return NotReadable(f"{path}: damaged {title} file: {cause}; fetch it again from where it came")


def must_hold(path: Path, title: str, wanted: int, held: int, limit: int = 1) -> None:
    """NotReadable when `held` bytes cannot be the `wanted` bytes that a header claims, not even packed limit : 1.

    Asked before anything is allocated, so that a header that claims 100 GB costs nothing.
    """
    if wanted > held * limit:
        raise damaged(path, title, f"its header claims {wanted} bytes, {held} are there")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system raises inside (full disk, no permission) becomes OutputError, naming the destination."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or one_line(error)}") from error
