"""Tiles into JPEG XL and back to the very same bytes.

JPEG tiles: libjxl keeps the quantised coefficients and what else rebuilds the JPEG file (ISO/IEC 18181-2, JPEG bitstream
reconstruction). A TIFF tile is an abbreviated stream whose tables lie in tag 347, so a prefix (SOI, Adobe marker, tables) is
put in place of its SOI before, and taken off again after. Every transcode is proven by going back at once.

Plain tiles: the samples as lossless JPEG XL, where their packing (none, LZW, zlib or libdeflate at one of its levels) gives
the same bytes again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import imagecodecs
import numpy as np

from slimscan.codecs.guard import guarded
from slimscan.errors import CodecError

SOI = b"\xff\xd8"
# Packers of TIFF tiles and their levels, the usual ones first.
PACKERS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "none": (("none", 0),),
    "lzw": (("lzw", 0),),
    "deflate": tuple((name, level) for level in (6, 9, 1, 5, 8, 4, 3, 2, 7, 12) for name in ("zlib", "libdeflate")),
}


@dataclass(frozen=True, slots=True)
class Way:
    """How tiles of one level were stored, as far as going back needs it.

    kind: "jpeg", or a packer: "none", "lzw", "zlib", "libdeflate", with its level. prefix: of JPEG, what stands in front of
    every tile's bytes after its SOI. shape: (height, width) of a tile. predictor: 1 none, 2 horizontal differences (TIFF 6.0 section 14).
    """

    kind: str
    prefix: bytes = SOI
    shape: tuple[int, int] = (0, 0)
    level: int = 6
    predictor: int = 1


def shrink(stored: bytes, way: Way) -> bytes | None:
    """The tile as JPEG XL, b"" for a tile of no bytes; None when it would not come back as the same bytes."""
    if not stored:
        return b""
    try:
        if way.kind == "jpeg":
            if stored[:2] != SOI:
                return None
            small = bytes(imagecodecs.jpegxl_encode_jpeg(way.prefix + stored[2:], numthreads=1))
        else:
            small = _lossless(_samples(stored, way))
        return small if grow(small, way) == stored else None
    except Exception:  # noqa: BLE001  libjxl and zlib raise many kinds for streams that they cannot hold; all mean: keep it as it is
        return None


def grow(small: bytes, way: Way) -> bytes:
    """The tile's stored bytes again; CodecError for damaged bytes."""
    if not small:
        return b""
    if way.kind == "jpeg":
        stream = bytes(guarded("jpegxl", lambda payload: imagecodecs.jpegxl_decode_jpeg(payload, numthreads=1), small))
        if not stream.startswith(way.prefix):
            raise CodecError("jpegxl: a tile came back with other JPEG tables than its level has; the file is damaged")
        return SOI + stream[len(way.prefix) :]
    pixels = np.asarray(guarded("jpegxl", lambda payload: imagecodecs.jpegxl_decode(payload, numthreads=1), small))
    if way.predictor == 2:
        pixels = np.diff(pixels, axis=1, prepend=np.zeros_like(pixels[:, :1]))  # uint8 wraps, as the predictor does
    return _pack(np.ascontiguousarray(pixels, np.uint8).tobytes(), way)


def prefix_of(stored: bytes, stream: bytes) -> bytes:
    """What stands before a tile's bytes after its SOI in the whole stream."""
    return stream[: len(stream) - len(stored) + 2]


def plain_way(stored: bytes, kind: str, shape: tuple[int, int], same: Callable[[np.ndarray], bool]) -> Way | None:
    """The way of "none", "lzw" or "deflate" tiles, found on one of them; same(pixels): whether a reader shows these pixels.

    None when no packer gives the same bytes again, or the samples are not what a reader shows (other colours, planes).
    """
    for predictor in (1, 2):
        for name, level in PACKERS[kind]:
            way = Way(name, b"", shape, level, predictor)
            try:
                raw = _unpack(stored, way)
                if not same(_samples(stored, way)):
                    break
            except (ValueError, RuntimeError, zlib.error):
                return None
            if (name == "zlib" and level > 9) or _pack(raw, way) != stored:
                continue
            return way if shrink(stored, way) is not None else None
    return None


def _unpack(stored: bytes, way: Way) -> bytes:
    if way.kind == "none":
        return stored
    return bytes(imagecodecs.lzw_decode(stored)) if way.kind == "lzw" else zlib.decompress(stored)


def _pack(raw: bytes, way: Way) -> bytes:
    if way.kind == "none":
        return raw
    if way.kind == "lzw":
        return bytes(imagecodecs.lzw_encode(raw))
    return (
        zlib.compress(raw, way.level) if way.kind == "zlib" else bytes(imagecodecs.deflate_encode(raw, level=way.level))
    )


def _samples(stored: bytes, way: Way) -> np.ndarray:
    """(height, width, 3) uint8; ValueError when the bytes are not that many."""
    pixels = np.frombuffer(_unpack(stored, way), np.uint8).reshape(*way.shape, 3)
    return np.cumsum(pixels, axis=1, dtype=np.uint8) if way.predictor == 2 else pixels


def _lossless(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=3, numthreads=1))
