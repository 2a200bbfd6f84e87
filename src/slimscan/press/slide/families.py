"""Families of tiles: a codec, the compression that a container calls it by, and the settings that are tried.

A TIFF directory and a DICOM object have one compression for all their tiles, so a family is chosen for a level. Another codec
drops in as one more record: a Codec for single tiles (1, y, x, 3), its TIFF number and its settings from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import imagecodecs
import numpy as np

from slimscan.codecs import jpeg, jpeg2000, jpegxl
from slimscan.codecs.guard import one_slice
from slimscan.errors import InputError
from slimscan.nouns import Codec, Layout, Pixels
from slimscan.press.slide.quality import Tile


@dataclass(frozen=True)
class Family:
    """codec: of one tile. number: TIFF Compression. aperio: the number under which OpenSlide opens it in an Aperio file.

    syntax: DICOM transfer syntax of lossy tiles. method: DICOM LossyImageCompressionMethod (PS3.3 C.7.6.1.1.5).
    photometric, subsampling: TIFF tags 262 and 530. settings: what `small` tries, from coarse to fine. paper: the fixed one.
    """

    name: str
    codec: Codec
    number: int
    syntax: str
    method: str
    settings: tuple[float, ...]
    paper: float
    aperio: int | None = None
    photometric: int = 2
    subsampling: tuple[int, int] | None = None

    def encode(self, tile: Tile, value: float | None) -> bytes:
        """(h, w, 3) uint8 to a stream that stands alone; value None: lossless, where the codec can."""
        return self.codec.encode(tile[None], _layout(tile.shape), value)

    def decode(self, payload: bytes, shape: tuple[int, int]) -> Tile:
        """(h, w, 3) uint8; CodecError for damaged bytes."""
        return np.asarray(self.codec.decode(payload, _layout((*shape, 3)))[0], np.uint8)


def _layout(shape: tuple[int, ...]) -> Layout:
    return Layout((1, *shape), "uint8", 8)


def _jpeg(pixels: Pixels, layout: Layout, value: float | None) -> bytes:  # noqa: ARG001
    """4:2:0 with libjpeg's own Huffman tables, as programs write tiles by default, the paper's among them."""
    if value is None:
        raise InputError("jpeg is never exact; choose jpegxl for lossless tiles")
    plane = one_slice(pixels)
    return bytes(imagecodecs.jpeg8_encode(plane, level=round(value), subsampling="420", optimize=False))


def _jpegxl(effort: int) -> Codec:
    def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:  # noqa: ARG001
        """Distance, None for lossless."""
        plane = one_slice(pixels)
        return bytes(
            imagecodecs.jpegxl_encode(plane, lossless=value is None, distance=value, effort=effort, numthreads=1)
        )

    return replace(jpegxl.CODEC, chunk="tile", encode=encode)


def _as_tile(codec: Codec) -> Codec:
    return replace(codec, chunk="tile")


JPEG = Family(
    "jpeg",
    replace(jpeg.CODEC, chunk="tile", encode=_jpeg),
    7,
    "1.2.840.10008.1.2.4.50",
    "ISO_10918_1",
    (60, 70, 75, 80, 85, 90, 95),
    90,
    photometric=6,
    subsampling=(2, 2),
)
# Effort 5 gave tiles 1 to 2 % smaller than effort 7 at the same distance, in a third of the time; the paper used 7.
JPEGXL = Family(
    "jpegxl",
    _jpegxl(5),
    50002,
    "1.2.840.10008.1.2.4.112",
    "ISO_18181_1",
    (5, 4, 3, 2.5, 2, 1.5, 1, 0.7, 0.5),
    1.0,
)
JPEG2000 = Family(
    "jpeg2000",
    _as_tile(jpeg2000.CODEC),
    34712,
    "1.2.840.10008.1.2.4.91",
    "ISO_15444_1",
    (28, 30, 32, 34, 36, 38, 40, 43),
    37.0,
    aperio=33005,
)
PAPER_JPEGXL = replace(JPEGXL, codec=_jpegxl(7))

FAMILIES: Mapping[str, Family] = {family.name: family for family in (JPEG, JPEGXL, JPEG2000)}
PAPER: Mapping[str, Family] = {**FAMILIES, "jpegxl": PAPER_JPEGXL}


def family(name: str) -> Family:
    """The family of the paper's table of that name; InputError with those that there are."""
    if name not in PAPER:
        raise InputError(f'--paper-codec "{name}" is not known; allowed: {", ".join(PAPER)}')
    return PAPER[name]
