"""What a standard codestream says of itself, read before any decoder sees it.

A damaged size makes a decoder allocate gigabytes; a stream cut short makes some decode for half a minute or hang. So the
size in the header must be the layout's, and the end marker must be there, before the library is called. All functions
raise CodecError and return nothing else of note.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimscan.errors import CodecError
from slimscan.nouns import Layout

# JPEG: frame headers of baseline and extended sequential DCT (ISO/IEC 10918-1 table B.1) and of JPEG-LS (14495-1 C.1.1).
SOF_DCT, SOF_JPEGLS = (0xC0, 0xC1), (0xF7,)


def check_jpeg2000(codec: str, payload: bytes, layout: Layout) -> None:
    """SIZ (ISO/IEC 15444-1 A.5.1) says one tile of the layout's size, sign and bytes a sample; EOC is at the end."""
    if payload[-2:] != b"\xff\xd9":
        raise CodecError(
            f"{codec}: no whole codestream (SOC, SIZ ... EOC) in {len(payload)} bytes; the chunk is damaged"
        )
    depth = check_siz(codec, payload, layout)
    signed = not layout.dtype.startswith("u")
    if (depth >= 128) != signed or _width(depth % 128 + 1) != np.dtype(layout.dtype).itemsize:
        raise CodecError(f"{codec}: the codestream's SIZ does not describe {_wanted(layout)}; the chunk is damaged")


def check_siz(codec: str, header: bytes, layout: Layout) -> int:
    """SIZ says one tile of the layout's size and samples, none of them subsampled; returns Ssiz, sign and bits less 1."""
    _, y, x = layout.shape[:3]
    payload = header
    if payload[:4] != b"\xff\x4f\xff\x51":
        raise CodecError(
            f"{codec}: no whole codestream (SOC, SIZ ... EOC) in {len(payload)} bytes; the chunk is damaged"
        )
    words = [int.from_bytes(payload[8 + 4 * i : 12 + 4 * i]) for i in range(8)]
    parts = payload[42 : 42 + 3 * layout.samples]
    fits = (
        words[:4] == [x, y, 0, 0]
        and words[4] >= x  # one tile
        and words[5] >= y
        and words[6:] == [0, 0]
        and int.from_bytes(payload[40:42]) == layout.samples
        and len(parts) == 3 * layout.samples
        and parts == (parts[:1] + b"\x01\x01") * layout.samples
    )
    if not fits:
        raise CodecError(f"{codec}: the codestream's SIZ does not describe {_wanted(layout)}; the chunk is damaged")
    return parts[0]


def check_jpeg(codec: str, payload: bytes, layout: Layout, bits: Sequence[int], frames: tuple[int, ...]) -> None:
    """The only frame header has the layout's size and one of `bits` a sample, a scan follows, and EOI is at the end."""
    _, y, x = layout.shape[:3]
    if payload[:2] != b"\xff\xd8" or payload[-2:] != b"\xff\xd9":
        raise CodecError(f"{codec}: no whole image (SOI ... EOI) in {len(payload)} bytes; the chunk is damaged")
    at, found = 2, b""
    while payload[at : at + 1] == b"\xff" and payload[at + 1 : at + 2] not in (b"\xda", b""):  # SOS ends the header
        end = at + 2 + int.from_bytes(payload[at + 2 : at + 4])
        if payload[at + 1] in frames:
            found += payload[at + 4 : min(end, at + 10)]
        at = end
    size = y.to_bytes(2) + x.to_bytes(2) + bytes([layout.samples])
    if found[:1] not in [bytes([one]) for one in bits] or found[1:] != size or payload[at : at + 2] != b"\xff\xda":
        raise CodecError(f"{codec}: the frame header does not describe {_wanted(layout)}; the chunk is damaged")


def check_jpegxl(codec: str, payload: bytes, layout: Layout) -> None:
    """SizeHeader and the start of ImageMetadata (ISO/IEC 18181-1 annex D) say one still image of that size and depth."""
    stream = _bare_jpegxl(payload)
    if stream[:2] != b"\xff\x0a" or len(stream) < 12:
        raise CodecError(f"{codec}: no JPEG XL codestream in {len(payload)} bytes; the chunk is damaged")
    take = _Bits(stream[2:32])
    small = take(1)
    y = (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1
    ratio = take(3)
    if ratio:
        over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        x = y * over // under
    else:
        x = (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1
    depth = 8
    if not take(1):  # all_default
        special = take(2)  # extra_fields (orientation, preview, animation) and float samples: we write neither
        chosen = take(2)
        depth = -1 if special else (take(6) + 1 if chosen == 3 else (8, 10, 12)[chosen])
    if (y, x, _width(depth)) != (*layout.shape[1:3], np.dtype(layout.dtype).itemsize):
        raise CodecError(f"{codec}: the codestream does not describe {_wanted(layout)}; the chunk is damaged")


def _bare_jpegxl(payload: bytes) -> bytes:
    """The codestream inside its boxes (18181-2), which libjxl writes from 13 bits a sample on."""
    if payload[:12] != b"\x00\x00\x00\x0cJXL \r\n\x87\n":
        return payload
    at = 12
    while at + 8 <= len(payload):
        size, kind = int.from_bytes(payload[at : at + 4]), payload[at + 4 : at + 8]
        if kind == b"jxlc" and (size == 0 or at + size == len(payload)):
            return payload[at + 8 :]
        if size < 8:
            break
        at += size
    return b""


class _Bits:
    """Bits of JPEG XL, least significant first; zeros past the end."""

    def __init__(self, data: bytes) -> None:
        self.left = int.from_bytes(data, "little")

    def __call__(self, count: int) -> int:
        taken = self.left & ((1 << count) - 1)
        self.left >>= count
        return taken


def _width(bits: int) -> int:
    return -1 if bits < 1 else (bits + 7) // 8


def _wanted(layout: Layout) -> str:
    y, x = layout.shape[1:3]
    return f"{x}x{y} with {layout.samples} samples of {layout.dtype}"
