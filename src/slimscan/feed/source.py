"""Boxes of voxels out of an image on disk: only the chunks that are touched are decoded, and decoded chunks are kept.

Made for the workers of a data loader: a Source and its Cache pickle as what they were made of, and find themselves empty
in a process that was forked, so that no lock, no decoded pixel and no open file travels between processes.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from slimscan.codecs.guard import fitted, guarded
from slimscan.codecs.headers import check_jpeg2000
from slimscan.each import Each, serial
from slimscan.errors import CodecError, InputError
from slimscan.files.lazy import Slices
from slimscan.files.ozx import Box, is_box, open_box
from slimscan.nouns import Pixels, Volume
from slimscan.press.open import lazy
from slimscan.press.scheme import Scheme, decode_within, limits_of, parts_of
from slimscan.press.store import chunk_pieces, described, volume_facts

CACHE_BYTES = 256 << 20
WHOLE = -1  # the "chunk" of a file that is decoded in one piece
_FIRST = threading.Lock()  # of calls into OpenJPH, which fills tables at its first one

Triple = tuple[int, int, int]


class Cache:
    """Decoded chunks of all images of one process, the least recently used thrown out above `limit` bytes.

    The last one put in always stays. limit 0 keeps that one only.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        if limit < 0:
            raise InputError(f"a cache of {limit} bytes: want 0 or more")
        self.limit = limit
        self._fresh()

    def _fresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()
        self.nbytes = self.hits = self.misses = 0

    def __getstate__(self) -> int:
        return self.limit

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)  # type: ignore[misc]

    def get(self, key: Hashable, make: Callable[[], Pixels]) -> Pixels:
        """What is kept under the key, or else make(), which is then kept."""
        if self._process != os.getpid():
            self._fresh()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.hits += 1
                return self._kept[key]
        made = make()
        with self._lock:
            self.misses += 1
            if key not in self._kept:
                self._kept[key] = made
                self.nbytes += made.nbytes
            while len(self._kept) > 1 and self.nbytes > self.limit:
                _, out = self._kept.popitem(last=False)
                self.nbytes -= out.nbytes
        return made


class Source:
    """An image on disk, (z, y, x) or (z, y, x, c) of stored samples: an .ozx or .zarr, or any file that slimscan reads.

    Of .ozx and .zarr the touched chunks are decoded and kept in `cache`. Other files are decoded whole and kept there,
    but for those that lie uncompressed on disk, whose slices are read. The file is opened at the first question.
    fast: see `decoded`.
    NotReadable, GeometryError or InputError, naming the file, when it cannot be used; CodecError for a damaged chunk.
    """

    def __init__(self, path: str | Path, cache: Cache | None = None, *, fast: bool = False) -> None:
        self.path = Path(path)
        self.cache = cache or Cache()
        self.fast = fast
        self._opened: tuple[Volume, Scheme | None, Box | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "cache": self.cache, "fast": self.fast, "_opened": None}

    @property
    def volume(self) -> Volume:
        """Geometry, slope and header; its pixels are lazy ones where the file allows it."""
        return self._open()[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x) or (z, y, x, c)."""
        return self.volume.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored sample type."""
        return np.dtype(self.volume.pixels.dtype)

    def _open(self) -> tuple[Volume, Scheme | None, Box | None]:
        if self._opened is None:
            self._opened = self._boxed() if is_box(self.path) else None
        if self._opened is None:
            volume = lazy(self.path)
            pixels = volume.pixels
            if isinstance(pixels, np.ndarray):  # in memory: the cache keeps it, and may let go of it
                kept = self.cache.get((self.path, WHOLE), lambda: np.asarray(pixels))
                stand_in = Slices(kept.shape, kept.dtype, lambda start, stop: self._whole()[start:stop])
                volume = Volume(stand_in, **_facts(volume))
            self._opened = volume, None, None
        return self._opened

    def _boxed(self) -> tuple[Volume, Scheme, Box] | None:
        """An .ozx or .zarr of our own; None for another program's."""
        try:
            box = open_box(self.path)
            scheme, said, shape = described(box)
        except InputError:
            return None  # lazy() says what is wrong, or reads it by zarr
        stand_in = Slices(shape, np.dtype(scheme.grid.dtype), lambda start, stop: self._slices(start, stop))
        return Volume(stand_in, **volume_facts(box, said)), scheme, box

    def _slices(self, start: int, stop: int) -> Pixels:
        return self.crops([(start, 0, 0)], (stop - start, *self.shape[1:3]))[0]

    def _whole(self) -> Pixels:
        return self.cache.get((self.path, WHOLE), lambda: np.asarray(lazy(self.path).pixels[0 : self.shape[0]]))

    def crop(self, corner: Sequence[int], size: Sequence[int]) -> Pixels:
        """The box of `size` (z, y, x) voxels from `corner` on: a new array. InputError when it is not inside."""
        return self.crops([corner], size)[0]

    def crops(self, corners: Sequence[Sequence[int]], size: Sequence[int], each: Each = serial) -> list[Pixels]:
        """Boxes of one size, every touched chunk decoded once however many boxes it is in and however small the cache.

        each: a map from slimscan.each for the chunks. InputError when one is not inside the image.
        """
        volume, scheme, box = self._open()
        for corner in corners:
            if any(c < 0 or n < 0 or c + n > side for c, n, side in zip(corner, size, volume.shape[:3], strict=True)):
                raise InputError(
                    f"{self.path}: {tuple(size)} voxels from {tuple(corner)} are not inside {volume.shape}"
                )
        deep = size[0]
        out = [np.empty((*size, *volume.shape[3:]), volume.pixels.dtype) for _ in corners]
        if scheme is None or box is None:
            for corner, patch in zip(corners, out, strict=True):
                z, y, x = corner
                patch[...] = np.asarray(volume.pixels[z : z + deep])[:, y : y + size[1], x : x + size[2]]
            return out
        pieces = chunk_pieces(volume.shape[0], scheme.depth)
        wanted: dict[int, list[int]] = {}
        for number, corner in enumerate(corners):
            if deep:
                for index in range(corner[0] // scheme.depth, (corner[0] + deep - 1) // scheme.depth + 1):
                    wanted.setdefault(index, []).append(number)
        order = sorted(wanted)
        for index, held in zip(order, each(self._chunk, order), strict=True):
            start, stop = pieces[index]
            for number in wanted[index]:
                z, y, x = corners[number]
                low, high = max(z, start), min(z + deep, stop)
                box_of = held[low - start : high - start, y : y + size[1], x : x + size[2]]
                out[number][low - z : high - z] = box_of
        return out

    def _chunk(self, index: int) -> Pixels:
        """The stored pixels of one chunk."""
        volume, scheme, box = self._open()
        assert scheme is not None
        assert box is not None
        start, stop = chunk_pieces(volume.shape[0], scheme.depth)[index]

        def make() -> Pixels:
            try:
                return decoded(scheme, box.chunk(index), (stop - start, *volume.shape[1:]), self.fast)
            except CodecError as error:
                message = str(error)
                if str(self.path) in message:
                    raise
                raise type(error)(f"{self.path}: chunk {index}: {message}") from error

        return self.cache.get((self.path, index, self.fast), make)


def decoded(scheme: Scheme, payload: bytes, shape: tuple[int, ...], fast: bool = False) -> Pixels:
    """Stored pixels of one chunk, bit for bit those of press.scheme.decode unless `fast`.

    HTJ2K that was coded without loss goes through OpenJPH, at twice the speed of OpenJPEG. fast: with loss too, at three
    times the speed; then some voxels are another whole number than OpenJPEG's, which the receipt's numbers speak of: by 1,
    by 2 at 15 bits. Samples that fill their container stay with OpenJPEG: there OpenJPH wraps an overshoot around.
    """
    limits = limits_of(scheme)
    if limits is None and scheme.codec == "htj2k" and scheme.inside is None:
        stream = payload
        if not scheme.bare:
            parts = parts_of(scheme, payload)
            stream = b"" if parts.mask or parts.slices != shape[0] else parts.base
        layout = scheme.layout(shape)
        spare = scheme.grid.bits < 8 * np.dtype(scheme.grid.code_dtype).itemsize
        if stream and (reversible(stream) or (fast and spare)):
            check_jpeg2000("htj2k", stream, layout)
            codes = fitted("htj2k", np.asarray(guarded("htj2k", _openjph, stream)), layout)
            return scheme.grid.stored(codes if reversible(stream) else np.minimum(codes, 2**scheme.grid.bits - 1))
    return decode_within(limits, scheme, payload, shape)


def reversible(codestream: bytes) -> bool:
    """Whether COD says the 5/3 wavelet (ISO/IEC 15444-1 A.6.1, table A.20), which is coded without loss here."""
    at = codestream.find(b"\xff\x52", 0, 512)
    return at > 0 and codestream[at + 13 : at + 14] == b"\x01"


_ready: list[bool] = []


def _openjph(stream: bytes) -> Any:
    if not _ready:
        with _FIRST:
            found = imagecodecs.htj2k_decode(stream, planar=False)
            _ready.append(True)
            return found
    return imagecodecs.htj2k_decode(stream, planar=False)


def _facts(volume: Volume) -> dict[str, Any]:
    """The fields of a volume beside its pixels."""
    return {name: getattr(volume, name) for name in volume.__dataclass_fields__ if name != "pixels"}
