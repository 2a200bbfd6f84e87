"""multipart/related as it comes in (RFC 2046 5.1), part by part, block by block, without holding a part in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEADERS = 64 << 10


class CutOff(Exception):
    """The stream ended before its closing delimiter, or is no multipart at all."""


def boundary(content_type: str) -> bytes | None:
    """The delimiter that a Content-Type names; None when it names none."""
    found = re.search(r'boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', content_type, re.IGNORECASE)
    return (found[1] or found[2]).encode("latin-1") if found else None


def parts(blocks: Iterator[bytes], delimiter: bytes) -> Iterator[Iterator[bytes]]:
    """The body of every part, as blocks. What is left of a part is passed over when the next one is asked for.

    CutOff when the stream ends before the closing delimiter: the only sign of a transfer that broke off, since a server
    need not say a length.
    """
    mark = b"\r\n--" + delimiter
    held = bytearray(b"\r\n")  # the first delimiter may open the stream

    def more() -> None:
        block = next(blocks, None)
        if block is None:
            raise CutOff("the answer ends before its closing delimiter")
        held.extend(block)

    def body() -> Iterator[bytes]:
        seen = 0
        while (at := held.find(mark, seen)) < 0:
            keep = len(mark) - 1
            if len(held) > keep:
                yield bytes(held[:-keep])
                del held[:-keep]
            seen = 0
            more()
        yield bytes(held[:at])
        del held[: at + len(mark)]

    for _ in body():
        pass
    while True:
        while len(held) < 2:
            more()
        if held[:2] == b"--":
            return
        while (end := held.find(b"\r\n\r\n")) < 0:
            if len(held) > _HEADERS:
                raise CutOff("a part of the answer has no end of its headers")
            more()
        del held[: end + 4]
        # A part may be empty: its delimiter begins with the line end that ended the headers.
        if held[: len(mark) - 2] == mark[2:]:
            held[:0] = b"\r\n"
        part = body()
        yield part
        for _ in part:
            pass
