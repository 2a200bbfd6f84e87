"""What a compressed frame says of itself, read from its first bytes before any decoder runs.

A file may claim 512 x 512 in its header and 60000 x 60000 in its codestream; a decoder believes the codestream and
takes the memory. So the two are compared first, and a codestream whose end marker is missing is refused, because
decoders fill the rest with silent garbage or search for it for a long time.

JPEG: ISO/IEC 10918-1 B.2.2. JPEG-LS: ISO/IEC 14495-1 C.2.2. JPEG 2000: ISO/IEC 15444-1 A.5.1. JPEG XL: ISO/IEC 18181-1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from slimscan.errors import CodecError

JXL_BARE = b"\xff\x0a"
JXL_BOX = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_JP2_BOX = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_NOT_FRAMES = {0xC4, 0xC8, 0xCC}  # DHT, JPG, DAC share the SOF range
_MAX_TILES = 65535  # ISO/IEC 15444-1 A.4.2: a tile index has 16 bits


@dataclass(frozen=True, slots=True)
class Codestream:
    """kind: "jpeg", "jpegls", "jpeg2000" or "jpegxl". precision: bits of a sample, None when only a decoder knows.

    signed: samples carry a sign. colour_transform: the codestream itself turns RGB into YBR (JPEG 2000 COD).
    reversible: lossless as far as the header tells (SOF3, NEAR 0, the 5/3 wavelet), None when it does not tell.
    marked: a JPEG says its own colour space (a JFIF or an Adobe marker, or components named R, G, B).
    """

    kind: str
    rows: int
    columns: int
    samples: int | None
    precision: int | None = None
    signed: bool = False
    colour_transform: bool = False
    reversible: bool | None = None
    marked: bool = False


def inspect(payload: bytes) -> Codestream:
    """The size that the codestream declares; CodecError when no frame header is found.

    A prefix is enough as long as it holds the frame header.
    """
    try:
        if payload.startswith(b"\xff\xd8"):
            return _jpeg(payload)
        if payload.startswith(b"\xff\x4f"):
            return _jpeg2000(payload)
        if payload.startswith(_JP2_BOX):
            return _jpeg2000(payload[_boxed(payload, b"jp2c") :])
        if payload.startswith(JXL_BOX):
            return _jpegxl(payload[_boxed_jxl(payload) :])
        if payload.startswith(JXL_BARE):
            return _jpegxl(payload)
    except (struct.error, IndexError, ValueError):
        raise CodecError("the codestream ends before its frame header") from None
    raise CodecError(f"the frame begins with {payload[:4].hex() or 'nothing'}, which is no JPEG codestream")


def ends(payload: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 codestream has its end marker; a pad byte behind it is allowed."""
    return payload[-16:].rstrip(b"\x00\xff").endswith(b"\xd9") and b"\xff\xd9" in payload[-16:]


def _jpeg(data: bytes) -> Codestream:
    at, marked = 2, False
    found: Codestream | None = None
    while True:
        while data[at] != 0xFF:
            raise ValueError("no marker")
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in (0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        # JFIF means YCbCr (ITU-T T.871 clause 7), and some writers call such a frame RGB, after what it decodes to
        if (marker, data[at + 2 : at + 7]) in ((0xEE, b"Adobe"), (0xE0, b"JFIF\0")):
            marked = True
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES):
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 2)
            names = bytes(data[at + 8 + 3 * k] for k in range(samples))
            found = Codestream(
                "jpegls" if marker == 0xF7 else "jpeg",
                rows,
                columns,
                samples,
                precision,
                reversible=True if marker in (0xC3, 0xC7, 0xCB, 0xCF) else None if marker == 0xF7 else False,
                marked=marked or names == b"RGB",
            )
        if marker == 0xDA and found is not None:
            if found.kind == "jpegls":
                near = data[at + 3 + 2 * data[at + 2]]
                return Codestream(
                    "jpegls", found.rows, found.columns, found.samples, found.precision, reversible=near == 0
                )
            return found
        if marker in (0xD9, 0xDA):
            raise ValueError("no frame header")
        at += length


def _jpeg2000(data: bytes) -> Codestream:
    if data[2:4] != b"\xff\x51":
        raise ValueError("SIZ must follow SOC")
    x1, y1, x0, y0, tile_x, tile_y, off_x, off_y = struct.unpack_from(">8I", data, 8)
    (samples,) = struct.unpack_from(">H", data, 40)
    depths = {(data[42 + 3 * k], data[43 + 3 * k], data[44 + 3 * k]) for k in range(samples)}
    if len(depths) != 1 or next(iter(depths))[1:] != (1, 1):
        raise CodecError("the components of the JPEG 2000 codestream differ in depth or are subsampled")
    if not tile_x or not tile_y or -(-(x1 - off_x) // tile_x) * -(-(y1 - off_y) // tile_y) > _MAX_TILES:
        raise CodecError(f"the JPEG 2000 codestream cuts {x1} x {y1} into tiles of {tile_x} x {tile_y}")
    depth = next(iter(depths))[0]
    at, transform, reversible = 2, False, None
    while reversible is None:
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == 0xFF52:  # COD: SGcod holds the component transform, SPcod ends with the wavelet
            transform, reversible = data[at + 8] == 1, data[at + 13] == 1
        elif marker in (0xFF90, 0xFFD9):
            raise ValueError("no COD")
        at += 2 + length
    return Codestream(
        "jpeg2000",
        y1 - y0,
        x1 - x0,
        samples,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        colour_transform=transform,
        reversible=reversible,
    )


def _jpegxl(data: bytes) -> Codestream:
    """SizeHeader: the bits behind ff 0a, least significant first (ISO/IEC 18181-1 D.1)."""
    if not data.startswith(JXL_BARE):
        raise ValueError("no signature")
    stream, at = int.from_bytes(data[2:18], "little"), 0

    def take(bits: int) -> int:
        nonlocal at
        at += bits
        return (stream >> (at - bits)) & ((1 << bits) - 1)

    def side(small: bool) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    if len(data) < 12:
        raise ValueError("too short")
    small = take(1) == 1
    rows = side(small)
    ratio = take(3)
    if ratio:
        up, down = _JXL_RATIOS[ratio]
        return Codestream("jpegxl", rows, rows * up // down, None)
    return Codestream("jpegxl", rows, side(small), None)


def _boxed(data: bytes, kind: bytes) -> int:
    """Where the content of the first box of that kind begins (ISO base media format: length, kind, content)."""
    at = 0
    while True:
        length, found = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        if found == kind:
            return at + head
        if length < head:
            raise ValueError("box without end")
        at += length


def _boxed_jxl(data: bytes) -> int:
    try:
        return _boxed(data, b"jxlc")
    except (struct.error, ValueError):
        return _boxed(data, b"jxlp") + 4  # a part begins with its number
