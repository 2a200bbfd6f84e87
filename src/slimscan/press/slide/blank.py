"""One white tile that any tile of a level may stand for.

For JPEG it is written by hand with the level's own tables: a tile that brings its own Huffman tables would change those of
every later tile for readers that load the shared ones once a directory, as libtiff does.
"""

from __future__ import annotations

import numpy as np

from slimscan.errors import SlimscanError
from slimscan.files.slides.decode import rgb
from slimscan.files.slides.splice import SOI, segments
from slimscan.nouns import Layout
from slimscan.press.slide.families import JPEG2000
from slimscan.press.slide.quality import Tile

WHITE = {"rgb": (255, 255, 255), "ycbcr": (255, 128, 128), "grey": (255,)}
NEAR = 6  # levels that a coarse quantiser may leave between the blank and white


def blank_like(stored: bytes, stream: bytes, compression: str, shape: tuple[int, int], colour: str) -> bytes | None:
    """A white tile stored as `stored` is; stream: the same tile standing alone. shape: (height, width) in pixels.

    None when the level's tables or its compression do not allow one; then a stored tile of glass serves.
    """
    try:
        if compression == "jpeg":
            made = _jpeg(stored, stream, colour)
            whole = stream[: len(stream) - len(stored) + 2] + made[2:]
        elif compression == "jpeg2000" and colour in ("rgb", "ycbcr"):
            pixels = np.broadcast_to(np.array(WHITE[colour], np.uint8), (1, *shape, 3)).copy()
            made = whole = JPEG2000.codec.encode(pixels, Layout(pixels.shape, "uint8", 8), None)
        else:
            return None
        seen = rgb(whole, shape, colour)
    except (SlimscanError, KeyError, IndexError, ValueError):
        return None
    return made if int(seen.min()) >= 255 - NEAR else None


def white(shape: tuple[int, int]) -> Tile:
    """(h, w, 3) of 255."""
    return np.full((*shape, 3), 255, np.uint8)


def _jpeg(stored: bytes, stream: bytes, colour: str) -> bytes:
    """The header of `stored` with a scan of constant blocks (ISO/IEC 10918-1 F.1.2). KeyError: a code is missing."""
    quantisers: dict[int, int] = {}
    codes: dict[int, dict[int, str]] = {}
    frame, restart = b"", 0
    for marker, body in segments(stream):
        if marker == 0xDB:
            quantisers |= _first_steps(body)
        elif marker == 0xC4:
            codes |= _codes(body)
        elif marker in (0xC0, 0xC1):
            frame = body
        elif marker == 0xDD:
            restart = int.from_bytes(body[:2])
    start = _scan(stored)
    scan = stored[start + 4 : start + 2 + int.from_bytes(stored[start + 2 : start + 4])]
    count = frame[5]
    if scan[0] != count:
        raise ValueError("components in scans of their own")
    parts = {frame[6 + 3 * k]: frame[7 + 3 * k : 9 + 3 * k] for k in range(count)}
    high = max(part[0] & 15 for part in parts.values())
    wide = max(part[0] >> 4 for part in parts.values())
    if count == 1:
        high = wide = 1
    rows, cols = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    first, later = "", ""
    for k in range(count):
        sampling, table = parts[scan[1 + 2 * k]]
        blocks = 1 if count == 1 else (sampling >> 4) * (sampling & 15)
        dc, ac = codes[scan[2 + 2 * k] >> 4], codes[16 + (scan[2 + 2 * k] & 15)]
        value = round((WHITE[colour][k] - 128) * 8 / quantisers[table])
        size = abs(value).bit_length()
        bits = f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else ""
        flat = dc[0] + ac[0]
        first += dc[size] + bits + ac[0] + flat * (blocks - 1)
        later += flat * blocks
    units = -(-rows // (8 * high)) * -(-cols // (8 * wide))
    end = start + 2 + int.from_bytes(stored[start + 2 : start + 4])
    return stored[:end] + _entropy(first, later, units, restart) + b"\xff\xd9"


def _entropy(first: str, later: str, units: int, restart: int) -> bytes:
    """The scan's bytes: every interval begins with the prediction 0, ends filled with ones, and 0xFF is followed by 0."""
    found, left, number = [], units, 0
    while left:
        here = min(restart or left, left)
        bits = first + later * (here - 1)
        bits += "1" * (-len(bits) % 8)
        found.append(int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\x00"))
        left -= here
        if left:
            found.append(bytes((0xFF, 0xD0 + number % 8)))
            number += 1
    return b"".join(found)


def _scan(stored: bytes) -> int:
    """Where the SOS marker stands."""
    if stored[:2] != SOI:
        raise ValueError("no JPEG")
    at = 2
    while stored[at] == 0xFF and stored[at + 1] != 0xDA:
        at += 2 + int.from_bytes(stored[at + 2 : at + 4])
    return at


def _first_steps(body: bytes) -> dict[int, int]:
    """Table -> the quantiser step of DC, of one DQT segment."""
    found, at = {}, 0
    while at < len(body):
        wide, table = body[at] >> 4, body[at] & 15
        found[table] = int.from_bytes(body[at + 1 : at + 2 + wide])
        at += 1 + 64 * (1 + wide)
    return found


def _codes(body: bytes) -> dict[int, dict[int, str]]:
    """Class and table -> symbol -> its code as digits, of one DHT segment (ISO/IEC 10918-1 annex C)."""
    found, at = {}, 0
    while at < len(body):
        name, lengths = body[at], body[at + 1 : at + 17]
        at += 17
        table, code = {}, 0
        for length, many in enumerate(lengths, 1):
            for _ in range(many):
                table[body[at]] = f"{code:0{length}b}"
                code, at = code + 1, at + 1
            code <<= 1
        found[name] = table
    return found
