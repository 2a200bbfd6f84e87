"""What a call may take, who asked for it, and how parent and child speak."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# Number of the call, what follows, bytes of it.
HEAD = struct.Struct("<QBQ")
PIXELS, REFUSED, NO_MEMORY = range(3)
MOST_TEXT = 1000  # bytes of a child's message


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call. seconds: by the clock, and one more for every megabyte of pixels that is expected.

    memory: bytes beside what the child has loaded, and 16 more for every byte of pixels that is expected.
    most: bytes of pixels that one frame, page or chunk may claim to be.
    """

    seconds: float = 30.0
    memory: int = 1 << 30
    most: int = 1 << 30

    def scaled(self, size: int) -> Limits:
        """What a call gets whose pixels are `size` bytes."""
        return Limits(self.seconds + size / 1e6, self.memory + 16 * size, self.most)


_APART: ContextVar[Limits | None] = ContextVar("apart", default=None)


@contextmanager
def apart(untrusted: bool | Limits = True) -> Iterator[None]:
    """Images opened inside are decoded by children, also later; False leaves everything as it is outside."""
    if not untrusted:
        yield
        return
    token = _APART.set(Limits() if untrusted is True else untrusted)
    try:
        yield
    finally:
        _APART.reset(token)


def asked() -> Limits | None:
    """The limits of the `apart` that this code runs in, None outside. A lazy reader keeps them for when it decodes."""
    return _APART.get()
