"""One file of a DICOM slide, and how its frames tile a level (PS3.3 C.8.12.4, C.8.12.6, C.7.6.17)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan import rle
from slimscan.errors import CodecError, NotReadable
from slimscan.files.dicom import place as place_of
from slimscan.files.dicom.open import open_dataset, quiet
from slimscan.files.dicom.place import Place
from slimscan.files.dicom.syntax import RLE, SYNTAXES, refused
from slimscan.files.guard import damaged
from slimscan.files.slides.decode import MAX_PIXELS, from_ycbcr, rgb
from slimscan.files.slides.dicomorder import Order, Unsaid, guessed
from slimscan.files.slides.dicomplaces import positions
from slimscan.files.slides.opened import Picture
from slimscan.files.slides.splice import quality, said_colour, spliced
from slimscan.nouns.slide import Level

TITLE = "DICOM slide"
STREAMS = ("jpeg", "jpegls", "jpeg2000", "htj2k", "jpegxl")
_MAX_FRAMES = 1 << 24


@dataclass(frozen=True)
class Piece:
    """One file. shape: (height, width) of its whole matrix. tile: (rows, columns) of a frame. positions: (n, 2) upper left
    corners (y, x) of its frames from 0, None for row by row; silent: the file says no order either. first: number of its first frame in the concatenation.
    compression, colour, turn: as in Level; turn is "ycbcr" when decoders leave YCbCr to us. mpp: (y, x) micrometres or None.
    """

    path: Path
    flavour: str
    shape: tuple[int, int]
    tile: tuple[int, int]
    frames: int
    first: int
    concatenation: str
    positions: NDArray[np.int64] | None
    silent: bool
    place: Place
    compression: str
    colour: str
    turn: str
    planar: bool
    lossy: bool
    mpp: tuple[float, float] | None
    magnification: float | None
    icc: bytes | None
    header: Callable[[], Any]

    def plain(self, tile: bytes) -> Picture:
        """(th, tw, 3) of a frame that is no codestream: native or RLE. CodecError for a wrong number of bytes."""
        th, tw = self.tile
        samples = 1 if self.colour == "grey" else 3
        if self.compression == "rle":
            words = np.asarray(rle.decode(tile, th, tw, samples, 1)).reshape(th, tw, samples)
        else:
            if len(tile) < th * tw * samples:
                raise CodecError(f"the frame holds {len(tile)} bytes, {th * tw * samples} are wanted")
            flat = np.frombuffer(tile, np.uint8, th * tw * samples)
            words = flat.reshape(samples, th, tw).transpose(1, 2, 0) if self.planar else flat.reshape(th, tw, samples)
        out: Picture = np.ascontiguousarray(np.broadcast_to(words, (th, tw, 3)), np.uint8)
        return from_ycbcr(out) if self.turn == "ycbcr" else out


@dataclass(frozen=True)
class Tiling:
    """A level: which frame of which piece lies at (row, col); frame is -1 where none does. order: how frames run where it
    was guessed, None where a file says it.
    """

    level: Level
    pieces: tuple[Piece, ...]
    part: NDArray[np.int32]
    frame: NDArray[np.int64]
    turn: str
    order: Order | None = None

    def stored(self, row: int, col: int) -> bytes:
        """The frame at (row, col) as stored, b"" where none is."""
        at = self.frame[row, col]
        if at < 0:
            return b""
        payload: bytes = self.pieces[self.part[row, col]].place.read(int(at))
        # an item of odd length got a zero behind its end marker (PS3.5 A.4)
        if payload.endswith(b"\xff\xd9\x00") and self.level.compression in ("jpeg", "jpeg2000", "htj2k"):
            return payload[:-1]
        return payload

    def size(self, row: int, col: int) -> int:
        """Bytes of the frame at (row, col), padding included; 0 where none is."""
        at = self.frame[row, col]
        return 0 if at < 0 else sum(length for _, length in self.pieces[self.part[row, col]].place.frames[at])

    def pixels(self, tile: bytes) -> Picture | None:
        """(th, tw, 3) of a stored frame, None of an empty one; CodecError for damage."""
        if not tile:
            return None
        if self.level.compression == "jpeg":
            return rgb(spliced(tile, None, self.level.colour), self.level.tile)
        return (
            rgb(tile, self.level.tile, self.turn) if self.level.compression in STREAMS else self.pieces[0].plain(tile)
        )


def piece(path: Path) -> Piece:
    """The header of one file, checked; NotReadable when it is damaged or keeps what cannot be shown as one RGB plane."""
    with quiet():
        found, at, inflated = open_dataset(path)
        syntax = str(found.file_meta.get("TransferSyntaxUID", ""))
        if syntax not in SYNTAXES:
            raise NotReadable(f"{path}: {refused(syntax)}")
        rows, columns = int(found.get("Rows") or 0), int(found.get("Columns") or 0)
        height = int(found.get("TotalPixelMatrixRows") or rows)
        width = int(found.get("TotalPixelMatrixColumns") or columns)
        frames, samples = int(found.get("NumberOfFrames") or 1), int(found.get("SamplesPerPixel") or 1)
        if min(rows, columns, height, width, frames) < 1 or rows * columns > MAX_PIXELS or frames > _MAX_FRAMES:
            raise damaged(path, TITLE, f"it claims {width} x {height} pixels in {frames} frames of {columns} x {rows}")
        photometric = str(found.get("PhotometricInterpretation", ""))
        if int(found.get("BitsAllocated") or 0) != 8 or samples not in (1, 3) or photometric == "PALETTE COLOR":
            raise NotReadable(
                f"{path}: keeps {samples} {photometric} samples of {found.get('BitsAllocated')} bits; want RGB or grey of 8"
            )
        planes = int(found.get("TotalPixelMatrixFocalPlanes") or 1)
        paths = int(found.get("NumberOfOpticalPaths") or 1)
        if planes > 1 or paths > 1:
            raise NotReadable(f"{path}: has {planes} focal planes and {paths} optical paths; want one of each")
        kind = SYNTAXES[syntax].kind
        with place_of.opened(path, inflated) as file:
            file.seek(at)
            implicit, little = (bool(value) for value in found.original_encoding)
            place = place_of.locate(
                file,
                path,
                frames=frames,
                frame_bytes=rows * columns * samples,
                tables=(found.get("ExtendedOffsetTable") or b"", found.get("ExtendedOffsetTableLengths") or b""),
                implicit=implicit,
                little=little,
                inflated=inflated,
                one_fragment=syntax == RLE,
            )
        compression = "htj2k" if syntax.startswith("1.2.840.10008.1.2.4.20") else "none" if kind == "native" else kind
        colour = "grey" if samples == 1 else "ycbcr" if photometric.startswith("YBR") else "rgb"
        if kind == "jpeg" and samples == 3 and said_colour(place.read(0, 1 << 16)) == "jfif":
            colour = "ycbcr"  # some writers call a JFIF stream RGB, after what it decodes to
        if photometric in ("YBR_ICT", "YBR_RCT"):
            colour = "rgb"  # JPEG 2000 says its transform itself, and decoders undo it
        places = positions(path, found, frames)
        optical = (found.get("OpticalPathSequence") or [{}])[0]
        return Piece(
            path=path,
            flavour=_flavour(found),
            shape=(height, width),
            tile=(rows, columns),
            frames=frames,
            first=int(found.get("ConcatenationFrameOffsetNumber") or 0),
            concatenation=str(found.get("ConcatenationUID") or ""),
            positions=places,
            silent=places is None and not found.get("DimensionOrganizationType"),
            place=place,
            compression=compression,
            colour=colour,
            turn="" if kind in ("jpeg", "jpegxl") or colour != "ycbcr" else "ycbcr",
            planar=int(found.get("PlanarConfiguration") or 0) == 1,
            lossy=str(found.get("LossyImageCompression", "")) == "01",
            mpp=_mpp(found),
            magnification=_positive(optical.get("ObjectiveLensPower")),
            icc=optical.get("ICCProfile") or None,
            header=lambda: found,
        )


def tiling(path: Path, pieces: list[Piece]) -> Tiling:
    """The level that the pieces make together; NotReadable when their frames do not lie on one grid.

    Where all frames are there and no file says how they run, their pixels decide.
    """
    pieces = sorted(pieces, key=lambda one: one.first)
    first = pieces[0]
    (height, width), (th, tw) = first.shape, first.tile
    grid = (-(-height // th), -(-width // tw))
    part = np.full(grid, -1, np.int32)
    frame = np.full(grid, -1, np.int64)
    for number, one in enumerate(pieces):
        if (one.shape, one.tile, one.compression) != (first.shape, first.tile, first.compression):
            raise damaged(
                path, TITLE, f"{one.path.name} and {first.path.name} are of one level and differ in size or syntax"
            )
        if one.positions is None:
            order = np.arange(one.first, one.first + one.frames)
            if order[-1] >= grid[0] * grid[1] or (len(pieces) == 1 and one.frames != grid[0] * grid[1]):
                raise damaged(
                    path, TITLE, f"{one.path.name} has {one.frames} frames, its size asks for {grid[0] * grid[1]}"
                )
            rows, cols = np.divmod(order, grid[1])
        else:
            if (one.positions % (th, tw)).any():
                raise NotReadable(
                    f"{one.path}: its frames do not lie on a grid of {tw} x {th} pixels; convert it first"
                )
            rows, cols = one.positions[:, 0] // th, one.positions[:, 1] // tw
            if (one.positions < 0).any() or rows.max() >= grid[0] or cols.max() >= grid[1]:
                raise damaged(path, TITLE, f"{one.path.name} has frames outside its {width} x {height} pixels")
        part[rows, cols] = number
        frame[rows, cols] = np.arange(one.frames)
    level = Level(
        shape=first.shape,
        tile=first.tile,
        grid=grid,
        downsample=1.0,
        compression=first.compression,
        mpp=first.mpp,
        colour=first.colour,
        lossy=first.lossy,
        quality=quality(first.place.read(0, 4096)) if first.compression == "jpeg" else None,
    )
    made = Tiling(level, tuple(pieces), part, frame, first.turn)
    if not all(one.silent for one in pieces) or (frame < 0).any():
        return made
    found = guessed(
        Unsaid(
            grid,
            size=lambda frame: made.size(*divmod(frame, grid[1])),
            pixels=lambda frame: made.pixels(made.stored(*divmod(frame, grid[1]))),
        )
    )
    if found is not None and found.by == "columns":
        part, frame = (np.ascontiguousarray(held.reshape(grid[::-1]).T) for held in (part, frame))
    return replace(made, part=part, frame=frame, order=found)


def _flavour(found: Any) -> str:
    kinds = found.get("ImageType") or []
    words = [kinds] if isinstance(kinds, str) else [str(kind) for kind in kinds]
    return words[2] if len(words) > 2 else "VOLUME"


def _mpp(found: Any) -> tuple[float, float] | None:
    """Micrometres a pixel (y, x): Pixel Spacing, or the imaged volume over the matrix where both sides agree to 5 %."""
    shared = (found.get("SharedFunctionalGroupsSequence") or [{}])[0]
    measures = (shared.get("PixelMeasuresSequence") or [{}])[0]
    spacing = measures.get("PixelSpacing") or found.get("PixelSpacing")
    if spacing and len(spacing) == 2 and min(float(value) for value in spacing) > 0:
        return float(spacing[0]) * 1000, float(spacing[1]) * 1000
    sides = (_positive(found.get("ImagedVolumeHeight")), _positive(found.get("ImagedVolumeWidth")))
    pixels = (found.get("TotalPixelMatrixRows"), found.get("TotalPixelMatrixColumns"))
    if None in sides or not all(pixels):
        return None
    y, x = (float(side or 0) * 1000 / int(count) for side, count in zip(sides, pixels, strict=True))
    return (y, x) if abs(y - x) <= 0.05 * max(y, x) else None


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None
