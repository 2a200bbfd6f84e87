"""Decoding in child processes with limits: what a decoder does to its process, it does to a child.

A decoder written in C may end its process, hang, or take all memory when bytes were damaged, or made to harm, behind a
correct checksum. Such a call is done by a child: a fresh interpreter, started once and kept for the next calls, that
gets the bytes over a pipe and gives pixels back. The parent knows how many bytes those are and reads no other number of
them; it unpickles nothing that comes from a child. A child that dies, takes too long or wants too much becomes one
CodecError, and the next call gets a new one.

A child has no standard input or output, writes no files (RLIMIT_FSIZE 0), dumps no core, and may open few files; memory
(RLIMIT_AS) and processor time (RLIMIT_CPU) are limited for every call. macOS does not hold a process to RLIMIT_AS and
Windows knows none of these: there only the time limit holds, which the parent enforces by its own clock.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from slimscan.child import pool, serve
from slimscan.child.limits import Limits, apart, asked
from slimscan.child.pool import close
from slimscan.errors import CodecError
from slimscan.nouns import Pixels

__all__ = ["Limits", "apart", "asked", "available", "close", "decode"]


def available() -> bool:
    """Whether children can be started: not by a frozen program, whose executable is no interpreter, nor by a child."""
    return bool(sys.executable) and not getattr(sys, "frozen", False) and not serve.inside


def decode(
    function: str, arguments: tuple[Any, ...], shape: tuple[int, ...], dtype: Any, limits: Limits | None = None
) -> Pixels:
    """function(*arguments) in a child: an array of that shape and dtype, a new one.

    function: "module:name". arguments pickle. CodecError when the child said so, died, took longer or wanted more than
    its limits, or came back with anything else; its text says why and not of which file, which is for the caller.
    In a child, and for no voxels at all, the call is made right here.
    """
    wanted = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * wanted.itemsize
    if serve.inside or not size:
        return np.asarray(serve.found(function)(*arguments))
    if not available():
        raise CodecError(
            "untrusted bytes are decoded by a child, which needs a Python interpreter; run slimscan in one"
        )
    allowed = limits or Limits()
    if size > allowed.most:
        raise CodecError(f"{size} bytes of pixels in one piece, allowed when untrusted: {allowed.most}; not decoded")
    out = np.empty(shape, wanted)
    pool.call((function, arguments, shape, wanted.str), out, allowed.scaled(size))
    return out
