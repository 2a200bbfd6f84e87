"""An open slide: facts, and the few functions that a container needs to be one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import CodecError, InputError, NotReadable
from slimscan.nouns.slide import Level, SlideFormat

WHITE = 255
# Decoded tiles that are kept: neighbouring reads share them, and 64 tiles of 512 x 512 are 50 MB.
_KEPT_BYTES = 48 << 20
_MAX_READ = 1 << 32

Picture = NDArray[np.uint8]


@dataclass
class Opened:
    """A Slide (slimscan.nouns.slide) made of functions.

    stored, whole: (level, row, col) -> bytes, as Slide.tile and Slide.stream. pixels: (level, row, col) -> (th, tw, 3), None
    where no tile is stored. region: (level, y, x, h, w) inside the level -> (h, w, 3), for containers that hand out no
    tiles; pixels is not asked then. told: the properties, asked for once. pictures: associated pictures by name.
    sizes: level -> (rows, columns) bytes of stored tiles. let_go: closes
    what is open.
    """

    path: Path
    format: SlideFormat
    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None
    magnification: float | None
    icc: bytes | None
    pictures: Mapping[str, Callable[[], Picture]]
    told: Callable[[], Mapping[str, str]]
    stored: Callable[[int, int, int], bytes]
    whole: Callable[[int, int, int], bytes]
    pixels: Callable[[int, int, int], Picture | None]
    let_go: Callable[[], None]
    region: Callable[[int, int, int, int, int], Picture] | None = None
    sizes: Callable[[int], NDArray[np.int64]] | None = None
    _properties: Mapping[str, str] | None = field(default=None, repr=False)
    _kept: OrderedDict[tuple[int, int, int], Picture | None] = field(default_factory=OrderedDict, repr=False)
    _bytes: int = 0
    _lock: Any = field(default_factory=Lock, repr=False)

    @property
    def properties(self) -> Mapping[str, str]:
        """See Slide."""
        if self._properties is None:
            self._properties = MappingProxyType(dict(self.told()))
        return self._properties

    @property
    def associated(self) -> tuple[str, ...]:
        """See Slide."""
        return tuple(sorted(self.pictures))

    def read(self, level: int, y: int, x: int, h: int, w: int) -> Picture:
        """See Slide."""
        found = self._level(level)
        if h < 0 or w < 0 or h * w * 3 > _MAX_READ:
            raise InputError(f"{self.path}: a region of {w} x {h} pixels was asked for; want sizes from 0, up to 4 GB")
        out: Picture = np.full((h, w, 3), WHITE, np.uint8)
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + h, found.shape[0]), min(x + w, found.shape[1])
        if top >= bottom or left >= right:
            return out
        if self.region is not None:
            with self._saying(level):
                got = self.region(level, top, left, bottom - top, right - left)
            out[top - y : bottom - y, left - x : right - x] = got
            return out
        th, tw = found.tile
        for row in range(top // th, -(-bottom // th)):
            for col in range(left // tw, -(-right // tw)):
                tile = self._tile_pixels(level, row, col)
                if tile is None:
                    continue
                y0, y1 = max(top, row * th), min(bottom, (row + 1) * th)
                x0, x1 = max(left, col * tw), min(right, (col + 1) * tw)
                piece = tile[y0 - row * th : y1 - row * th, x0 - col * tw : x1 - col * tw]
                out[y0 - y : y1 - y, x0 - x : x1 - x] = piece
        return out

    def tile(self, level: int, row: int, col: int) -> bytes:
        """See Slide."""
        self._place(level, row, col)
        with self._saying(level, row, col):
            return self.stored(level, row, col)

    def stream(self, level: int, row: int, col: int) -> bytes:
        """See Slide."""
        self._place(level, row, col)
        with self._saying(level, row, col):
            return self.whole(level, row, col)

    def image(self, name: str) -> Picture:
        """See Slide."""
        if name not in self.pictures:
            there = ", ".join(self.associated) or "none"
            raise InputError(f"{self.path}: has no associated picture {name!r}; there are: {there}")
        with self._saying():
            return self.pictures[name]()

    def close(self) -> None:
        """See Slide."""
        self._kept.clear()
        self.let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _level(self, level: int) -> Level:
        if not 0 <= level < len(self.levels):
            raise InputError(f"{self.path}: level {level} is not there; levels are 0 to {len(self.levels) - 1}")
        return self.levels[level]

    def _place(self, level: int, row: int, col: int) -> None:
        rows, cols = self._level(level).grid
        if not rows:
            raise NotReadable(
                f"{self.path}: hands out no tiles of level {level} as stored ({self.format}); read pixels"
            )
        if not (0 <= row < rows and 0 <= col < cols):
            raise InputError(f"{self.path}: tile ({row}, {col}) is outside the {rows} x {cols} tiles of level {level}")

    def _tile_pixels(self, level: int, row: int, col: int) -> Picture | None:
        key = (level, row, col)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._saying(level, row, col):
            tile = self.pixels(level, row, col)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = tile
                self._bytes += 0 if tile is None else tile.nbytes
            while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
                old = self._kept.popitem(last=False)[1]
                self._bytes -= 0 if old is None else old.nbytes
        return tile

    def _saying(self, level: int | None = None, row: int | None = None, col: int | None = None) -> _Saying:
        where = "" if level is None else f"level {level}: " if row is None else f"level {level}, tile ({row}, {col}): "
        return _Saying(self.path, where)


class _Saying:
    """What goes wrong inside becomes NotReadable that names the file and the tile."""

    def __init__(self, path: Path, where: str) -> None:
        self.path, self.where = path, where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, CodecError):
            raise NotReadable(f"{self.path}: {self.where}{error}; fetch the slide again") from error
