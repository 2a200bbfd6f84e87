"""Outputs appear whole or not at all: written beside their place under a hidden name, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slimscan.errors import OutputError


def admit_output(output: Path, force: bool, source: Path | None = None) -> None:
    """OutputError when the output is the source, exists without force, or has no folder to stand in."""
    if source is not None and source.exists():
        same = output.resolve() == source.resolve()
        inside = source.is_dir() and source.resolve() in output.resolve().parents
        if same or inside:
            raise OutputError(f"{output}: the output would change its own source {source}; choose another place")
    if output.exists() and not force:
        raise OutputError(f"{output}: exists already; give another name, or --force to replace it")


@dataclass
class Stage:
    """path: where to write. keep: set to False to throw what was written away instead of renaming it."""

    path: Path
    keep: bool = True


@contextmanager
def staged(output: Path, force: bool = False) -> Iterator[Stage]:
    """A hidden path beside `output`, of the same suffix; renamed on success, removed on any failure.

    OutputError in one sentence for a full disk, a read-only folder, or a destination that appeared meanwhile.
    """
    parent = output.parent
    hidden = parent / f".slimscan-{secrets.token_hex(4)}-{output.name}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        stage = Stage(hidden)
        yield stage
        if not stage.keep:
            return
        if output.exists() and not force:
            raise OutputError(f"{output}: appeared meanwhile; give another name, or --force to replace it")
        _sync(hidden)
        if output.is_dir() and not output.is_symlink():
            old = parent / f".slimscan-{secrets.token_hex(4)}-old"
            output.rename(old)
            hidden.rename(output)
            shutil.rmtree(old)
        else:
            hidden.replace(output)
    except OSError as error:
        raise _told(output, error) from error
    finally:
        if hidden.is_dir() and not hidden.is_symlink():
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            hidden.unlink(missing_ok=True)


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
    return OutputError(f"{output}: cannot be written ({error.strerror or error}); choose a place that you may write to")
