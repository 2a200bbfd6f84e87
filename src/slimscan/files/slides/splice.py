"""JPEG tiles of a slide as JPEG images that stand alone, and back.

TIFF keeps the tables of all tiles once (tag 347, TIFF Technical Note 2) and says beside the stream whether samples are RGB.
A whole image needs the tables inside, and Adobe's APP14 marker with transform 0 for RGB (ISO/IEC 10918-6, 6.5.3), or every
reader takes RGB for YCbCr.
"""

from __future__ import annotations

import numpy as np

from slimscan.errors import CodecError

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
# version 100, no flags; the last byte is the transform: 0 for RGB, 1 for YCbCr
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
ADOBE_RGB = _ADOBE + b"\x00"
ADOBE_YCBCR = _ADOBE + b"\x01"

# ISO/IEC 10918-1 K.1, in the zigzag order of a DQT segment, in hexadecimal: what libjpeg scales by its quality.
_LUMINANCE = np.frombuffer(
    bytes.fromhex(
        "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933"
        "383740485c4e404457453738506d51575f626768673e4d71797064785c656763"
    ),
    np.uint8,
)


def spliced(tile: bytes, tables: bytes | None, colour: str) -> bytes:
    """The tile as a JPEG image that stands alone; b"" stays b"".

    tables: the JPEGTables tag (SOI, tables, EOI) or None. colour: "rgb", "ycbcr" or "grey", what the samples are.
    CodecError when the tile does not begin as a JPEG image does.
    """
    if not tile:
        return b""
    if not tile.startswith(SOI):
        raise CodecError(f"the tile begins with {tile[:4].hex() or 'nothing'}, which is no JPEG image")
    return SOI + inserted(tile, tables, colour) + tile[2:]


def inserted(tile: bytes, tables: bytes | None, colour: str) -> bytes:
    """What `spliced` puts behind the first two bytes of a tile.

    A tile with a JFIF marker keeps it and gets none beside: JFIF says YCbCr, and decoders heed it before Adobe's.
    """
    between = bytes(tables)[2:-2] if tables and tables.startswith(SOI) else b""
    said = said_colour(SOI + between + tile[2:])
    if colour not in ("rgb", "ycbcr") or said in ("", colour) or (said, colour) == ("rgb-named", "rgb"):
        return between
    if said in ("jfif", "adobe-rgb", "adobe-ycbcr"):
        return between
    return (ADOBE_RGB if colour == "rgb" else ADOBE_YCBCR) + between


def stripped(stream: bytes, tile_bytes: int) -> bytes:
    """The tile that `spliced` made `stream` of, when it had `tile_bytes` bytes; b"" stays b"".

    What is put in lies in one piece behind SOI, so the tile is SOI and the end of the stream.
    """
    if not stream:
        return b""
    if not 2 <= tile_bytes <= len(stream):
        raise CodecError(f"a tile of {tile_bytes} bytes cannot lie in a stream of {len(stream)}")
    return SOI + stream[len(stream) - tile_bytes + 2 :]


def said_colour(stream: bytes) -> str:
    """What a JPEG image of three components says of its colours, as libjpeg reads it (jdapimin.c, default_decompress_parms).

    "jfif" (YCbCr), "adobe-rgb", "adobe-ycbcr", "rgb-named" (components called R, G, B), "ycbcr" (nothing said, which means
    that), or "" for other counts of components and what cannot be walked.
    """
    adobe, jfif = "", False
    for marker, body in segments(stream):
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = "adobe-rgb" if body[11] == 0 else "adobe-ycbcr"
        jfif = jfif or (marker == 0xE0 and body.startswith(b"JFIF\0"))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 15:
            if body[5] != 3:
                return ""
            names = bytes(body[6 + 3 * k] for k in range(3))
            return "jfif" if jfif else adobe or ("rgb-named" if names == b"RGB" else "ycbcr")
    return ""


def segments(stream: bytes) -> list[tuple[int, bytes]]:
    """(marker, content) of the segments before the first scan; a damaged end just ends the list."""
    found, at = [], 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xD8, 0x01) or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        if marker in (0xD9, 0xDA):
            break
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if length < 2:
            break
        found.append((marker, stream[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def quality(stream: bytes) -> int | None:
    """The libjpeg quality (1..100) whose luminance table is nearest to the image's first one; None without an 8-bit table."""
    for marker, body in segments(stream):
        if marker == 0xDB and len(body) >= 65 and body[0] >> 4 == 0:
            table = np.frombuffer(body, np.uint8, 64, 1).astype(np.float64)
            return 1 + int(np.argmin([np.abs(_scaled(q) - table).sum() for q in range(1, 101)]))
    return None


def _scaled(q: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """jpeg_quality_scaling and jpeg_add_quant_table of libjpeg, held to a baseline table."""
    scale = 5000 // q if q < 50 else 200 - 2 * q
    return np.clip(np.floor((_LUMINANCE.astype(np.float64) * scale + 50) / 100), 1, 255)
