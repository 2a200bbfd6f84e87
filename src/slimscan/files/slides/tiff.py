"""Slides in TIFF: Aperio SVS, OME-TIFF and plain pyramids, tile by tile.

tifffile reads the directories; bytes of tiles come straight from the file, so that a tile is what is stored and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import CodecError, NotReadable, SlimscanError
from slimscan.files.guard import damaged, one_line, reading
from slimscan.files.slides import decode, splice
from slimscan.files.slides.opened import Opened, Picture
from slimscan.files.slides.tifffacts import facts
from slimscan.files.slides.tifflevels import STREAMS, Found, find
from slimscan.files.tiff import opened
from slimscan.nouns.slide import Level

TITLE = "TIFF slide"


def open_tiff(path: Path) -> Opened:
    """The slide in a TIFF file that tifffile knows; NotReadable, in one sentence, for damage and for what is no slide."""
    with reading(path, TITLE), opened(path) as tif:
        found = find(path, tif)
        tif.filehandle.set_lock(True)
        file = _Tiles(path, tif, found)
        said = facts(tif, found)
        return Opened(
            path=path,
            format=found.format,
            levels=said.levels,
            mpp=said.mpp,
            magnification=said.magnification,
            icc=said.icc,
            pictures={name: _picture(path, page) for name, page in found.pictures.items()},
            told=lambda: _told(path, said.properties),
            stored=file.stored,
            whole=file.whole,
            pixels=file.pixels,
            let_go=tif.close,
            sizes=file.sizes,
        )


def _told(path: Path, own: Mapping[str, str]) -> Mapping[str, str]:
    """OpenSlide's own properties where it is installed and opens the file, else ours, which are named alike."""
    from slimscan.files.slides.openslide_door import properties

    said = properties(path)
    return own if said is None else said


def _picture(path: Path, page: Any) -> Callable[[], Picture]:
    def read() -> Picture:
        with reading(path, TITLE):
            pixels = np.asarray(page.asarray(maxworkers=1))
        if pixels.dtype != np.uint8:
            raise CodecError(f"an associated picture holds samples of {pixels.dtype}; want uint8")
        pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
        return np.ascontiguousarray(pixels)

    return read


class _Tiles:
    """Tiles of the levels of one open file."""

    def __init__(self, path: Path, tif: Any, found: Found) -> None:
        self._path, self._tif, self._pages, self._levels = path, tif, found.pages, found.levels
        self._aperio = found.format == "svs"
        self._lock = threading.Lock()
        self._door: Any = None

    def sizes(self, level: int) -> NDArray[np.int64]:
        page = self._pages[level]
        counts = np.asarray(page.databytecounts, np.int64) * (np.asarray(page.dataoffsets, np.int64) != 0)
        sizes: NDArray[np.int64] = counts.reshape(self._levels[level].grid)
        return sizes

    def stored(self, level: int, row: int, col: int) -> bytes:
        page = self._pages[level]
        index = row * self._levels[level].grid[1] + col
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if offset == 0 or count == 0:
            return b""
        handle = self._tif.filehandle
        with handle.lock:
            if handle.closed:
                raise NotReadable(f"{self._path}: the slide is closed; open it again")
            handle.seek(offset)
            got = bytes(handle.read(count))
        if len(got) != count:
            raise CodecError(f"the file holds {len(got)} of the tile's {count} bytes")
        return got

    def whole(self, level: int, row: int, col: int) -> bytes:
        here = self._levels[level]
        tile = self.stored(level, row, col)
        if not tile or here.compression == "jpegxl" or here.compression == "jpeg2000":
            return tile
        if here.compression == "jpeg":
            return splice.spliced(tile, self._pages[level].jpegtables, here.colour)
        if here.compression in STREAMS:
            return tile
        raise NotReadable(
            f"{self._path}: level {level}: tiles stored as {here.compression} are no codestreams; take them as stored, "
            "or read pixels"
        )

    def pixels(self, level: int, row: int, col: int) -> Picture | None:
        here = self._levels[level]
        tile = self.stored(level, row, col)
        if not tile:
            return self._from_finer(level, row, col) if self._aperio and level else None
        if here.compression in ("jpeg", "jpeg2000", "jpegxl"):
            return self._codestream(level, here, row, col, tile)
        return self._by_tifffile(level, here, row, col, tile)

    def _codestream(self, level: int, here: Level, row: int, col: int, tile: bytes) -> Picture:
        if here.compression == "jpeg":
            tile = splice.spliced(tile, self._pages[level].jpegtables, here.colour)
        try:
            return decode.rgb(tile, here.tile, here.colour)
        except CodecError:
            # Aperio's 33003 may store chroma at half width, which only OpenSlide decodes.
            if here.tag != 33003 or not decode.subsampled(tile):
                raise
            return self._by_openslide(level, here, row, col)

    def _by_openslide(self, level: int, here: Level, row: int, col: int) -> Picture:
        from slimscan.files.slides.openslide_door import region_of

        with self._lock:
            if self._door is None:
                self._door = region_of(self._path)
        th, tw = here.tile
        got: Picture = self._door(level, row * th, col * tw, th, tw)
        return got

    def _by_tifffile(self, level: int, here: Level, row: int, col: int, tile: bytes) -> Picture:
        page = self._pages[level]
        index = row * here.grid[1] + col
        try:
            pixels = page.decode(tile, index)[0]
        except SlimscanError:
            raise
        except Exception as error:  # decoders raise many kinds on damaged bytes; all mean the same here
            raise CodecError(f"the {here.compression} tile cannot be decoded: {one_line(error)}") from error
        if pixels is None:
            raise damaged(self._path, TITLE, f"level {level}, tile ({row}, {col}) decodes to nothing")
        flat = np.asarray(pixels)[0]
        out: Picture = np.full((*here.tile, 3), 255, np.uint8)
        out[: flat.shape[0], : flat.shape[1]] = flat[..., :3]  # one grey sample spreads to three
        return decode.from_ycbcr(out) if here.colour == "ycbcr" else out

    def _from_finer(self, level: int, row: int, col: int) -> Picture | None:
        """A tile that Aperio left out of a coarser level, from the finer one: blocks' means; None when that has none too."""
        here, finer = self._levels[level], self._levels[level - 1]
        th, tw = here.tile
        step = max(1, round(here.downsample / finer.downsample))
        fth, ftw = finer.tile
        big: Picture = np.full((th * step, tw * step, 3), 255, np.uint8)
        top, left, empty = row * th * step, col * tw * step, True
        for r in range(top // fth, min(-(-(top + th * step) // fth), finer.grid[0])):
            for c in range(left // ftw, min(-(-(left + tw * step) // ftw), finer.grid[1])):
                tile = self.pixels(level - 1, r, c)
                if tile is None:
                    continue
                empty = False
                y0, y1 = max(top, r * fth), min(top + th * step, (r + 1) * fth)
                x0, x1 = max(left, c * ftw), min(left + tw * step, (c + 1) * ftw)
                big[y0 - top : y1 - top, x0 - left : x1 - left] = tile[
                    y0 - r * fth : y1 - r * fth, x0 - c * ftw : x1 - c * ftw
                ]
        if empty:
            return None
        small: Picture = big.reshape(th, step, tw, step, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        return small
