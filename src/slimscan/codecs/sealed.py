"""Payloads of our own making: parts with their lengths, under one checksum.

SPERR, SZ3 and ZFP trust their input: given damaged bytes they read past the end of the buffer or end the process. Such
a payload therefore carries a CRC-32 of itself and of the layout's shape: no library sees bytes that its encoder did not
write, or is told another size than its encoder was.

    crc32 of (shape and) rest (4 bytes, little endian) | length of every part but the last (LEB128) | the parts
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from slimscan.errors import CodecError
from slimscan.nouns import Layout


def seal(parts: Sequence[bytes], layout: Layout | None = None) -> bytes:
    """The parts as one payload. layout: its shape goes into the checksum, for streams that do not tell it themselves."""
    body = b"".join((*(_leb128(len(part)) for part in parts[:-1]), *parts))
    return _checksum(body, layout).to_bytes(4, "little") + body


def opened(codec: str, payload: bytes, count: int, layout: Layout | None = None) -> list[bytes]:
    """The `count` parts of a sealed payload; CodecError when one bit of it changed, or the layout's shape did."""
    body = payload[4:]
    if len(payload) < 4 or _checksum(body, layout) != int.from_bytes(payload[:4], "little"):
        raise CodecError(
            f"{codec}: the checksum of a chunk of {len(payload)} bytes does not match; the chunk is damaged"
        )
    sizes: list[int] = []
    at = 0
    for _ in range(count - 1):
        size, shift = 0, 0
        while at < len(body):
            byte = body[at]
            size |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        sizes.append(size)
    sizes.append(len(body) - at - sum(sizes))
    if sizes[-1] < 0:
        raise CodecError(f"{codec}: a chunk of {len(payload)} bytes is shorter than its {count} parts; it is damaged")
    parts: list[bytes] = []
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    return parts


def _checksum(body: bytes, layout: Layout | None) -> int:
    if layout is None:
        return zlib.crc32(body)
    shape = b"".join(side.to_bytes(8, "little") for side in layout.shape[:3]) + bytes([layout.samples])
    return zlib.crc32(body, zlib.crc32(shape))


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
