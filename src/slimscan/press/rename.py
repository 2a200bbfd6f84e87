"""Two renames that POSIX has not: one that never replaces, and one that swaps. Linux has both (renameat2)."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from functools import cache
from pathlib import Path
from typing import Any

NOREPLACE, EXCHANGE = 1, 2  # linux/fs.h
HERE = -100  # AT_FDCWD
UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # older kernels, and file systems such as NFS


def rename_new(old: Path, new: Path) -> bool:
    """Rename unless something stands at `new`; whether it was done. OSError for any other reason."""
    code = _renameat2(old, new, NOREPLACE)
    if code in UNSUPPORTED:
        if os.path.lexists(new):
            return False
        old.rename(new)
        return True
    if code == errno.EEXIST:
        return False
    _raise(code, new)
    return True


def exchange(one: Path, other: Path) -> None:
    """Swap two files or folders, at no moment with one of the names missing where the system can do that."""
    code = _renameat2(one, other, EXCHANGE)
    if code not in UNSUPPORTED:
        _raise(code, other)
        return
    aside = one.with_name(f".slimscan-kept-{secrets.token_hex(4)}")  # nobody sweeps this name
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)


def _raise(code: int, path: Path) -> None:
    if code:
        raise OSError(code, os.strerror(code), str(path))


def _renameat2(old: Path, new: Path, flag: int) -> int:
    """0, or the number of the error."""
    call = _libc()
    if call is None:
        return errno.ENOSYS
    done = call(HERE, os.fsencode(old), HERE, os.fsencode(new), ctypes.c_uint(flag))
    return 0 if done == 0 else ctypes.get_errno()


@cache
def _libc() -> Any:
    """The C library's renameat2, or None: macOS, Windows, musl."""
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    except (OSError, TypeError):
        return None
