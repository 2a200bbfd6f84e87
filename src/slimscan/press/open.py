"""Reading: any file as a volume, lazily or whole, and only the chunks that are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child, files
from slimscan.each import threads
from slimscan.errors import CodecError, InputError, NotReadable
from slimscan.files.ozx import Box, is_box, is_ours, open_box
from slimscan.files.zarr_foreign import read_foreign
from slimscan.nouns import Pixels, Volume
from slimscan.press import residual
from slimscan.press.scheme import Scheme, decode_within, limits_of
from slimscan.press.store import chunk_pieces, described, receipt_of, volume_facts

CACHED_BYTES = 64 << 20  # decoded chunks that are kept for the next look


class ChunkedPixels:
    """Pixels of a container: indexing along z decodes the chunks that it touches, in threads, and no other.

    depth, decode: of another array of the container that gives the same kind of pixels, in place of the scheme's own.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        scheme: Scheme,
        payload: Callable[[int], bytes],
        name: str,
        limits: child.Limits | None = None,
        depth: int | None = None,
        decode: Callable[[int, bytes], Pixels] | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(scheme.grid.dtype)
        self._scheme = scheme
        self._payload = payload
        self._name = name
        self._limits = limits
        self._depth = depth or scheme.depth
        self._decode = decode
        self._pieces = chunk_pieces(shape[0], self._depth)
        self._cache: OrderedDict[int, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def chunk(self, index: int) -> Pixels:
        """One chunk decoded; CodecError naming the file and the chunk when it is damaged."""
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        start, stop = self._pieces[index]
        try:
            if self._decode is not None:
                pixels = self._decode(index, self._payload(index))
            else:
                shape = (stop - start, *self.shape[1:])
                pixels = decode_within(self._limits, self._scheme, self._payload(index), shape)
        except CodecError as error:
            message = str(error)
            raise type(error)(
                message if self._name in message else f"{self._name}: chunk {index}: {message}"
            ) from error
        with self._lock:
            self._cache[index] = pixels
            while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > CACHED_BYTES:
                self._cache.popitem(last=False)
        return pixels

    def __getitem__(self, index: slice) -> Pixels:
        wanted = range(*index.indices(self.shape[0]))
        if not wanted:
            return np.empty((0, *self.shape[1:]), self.dtype)
        depth = self._depth
        touched = sorted({z // depth for z in wanted})
        if len(touched) == 1:
            rows = np.array(wanted) - touched[0] * depth
            return np.take(self.chunk(touched[0]), rows, axis=0)  # a copy: the caller may write to it
        out = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        row = 0
        for number, held in zip(touched, threads()(self.chunk, touched), strict=True):
            while row < len(wanted) and wanted[row] // depth == number:
                out[row] = held[wanted[row] - number * depth]
                row += 1
        return out


@dataclass(frozen=True)
class Opened:
    """An image that stays on disk. opened[100:110, 50:200] reads and decodes only what it touches."""

    volume: Volume

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x) or (z, y, x, c)."""
        return self.volume.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored sample type."""
        return np.dtype(self.volume.pixels.dtype)

    @property
    def affine_mm(self) -> Pixels:
        """4x4, voxel (x, y, z) to RAS+ mm."""
        return self.volume.affine_mm

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        at = next((place for place, part in enumerate(parts) if part is Ellipsis), None)
        if at is not None:
            parts = (*parts[:at], *[slice(None)] * (len(self.shape) - len(parts) + 1), *parts[at + 1 :])
        first, rest = (parts[0], parts[1:]) if parts else (slice(None), ())
        if isinstance(first, slice):
            start, stop, step = first.indices(self.shape[0])
            if step < 0:
                rows = range(start, stop, step)
                forward = self.volume.pixels[slice(rows[-1], rows[0] + 1, -step)] if rows else self.volume.pixels[0:0]
                return np.asarray(forward)[::-1][(slice(None), *rest)]
            return np.asarray(self.volume.pixels[start:stop:step])[(slice(None), *rest)]
        if isinstance(first, (int, np.integer)):
            z = int(first) + self.shape[0] if first < 0 else int(first)
            if not 0 <= z < self.shape[0]:
                raise IndexError(f"slice {first} is outside 0..{self.shape[0] - 1}")
            return np.asarray(self.volume.pixels[z : z + 1])[0][tuple(rest)]
        return np.asarray(self.volume.pixels[0 : self.shape[0]])[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        whole = np.asarray(self.volume.pixels[0 : self.shape[0]])
        return whole if dtype is None else whole.astype(dtype)


def lazy(
    path: str | Path, untrusted: bool | child.Limits = False, *, frames: bool = False, exact: bool = False
) -> Volume:
    """The volume in a file or folder, its pixels on disk until they are asked for.

    untrusted: compressed pixels are decoded by child processes under limits (True: the default ones).
    frames: the frames of one DICOM file, which need not make a volume; see slimscan.files.read.
    exact: the original, from base and residual; InputError when the file was compressed with loss and holds no residual.
    NotReadable, GeometryError or InputError, in one line that names the file, when it cannot be used.
    """
    with child.apart(untrusted):
        return files.read(path, frames=True) if frames else _lazy(Path(path), exact)


def _lazy(place: Path, exact: bool) -> Volume:
    if not is_box(place):
        found = files.read(place)
        if exact and found.about.get("lossy"):
            raise InputError(f"{place}: holds no residual; only .ozx files of `compress --residual` can be restored")
        return found
    try:
        box = open_box(place)
        scheme, said, shape = described(box)
    except NotReadable:
        if is_ours(place):
            raise
        return read_foreign(place)
    return _original(box, scheme, said, shape) if exact else boxed(box, scheme, said, shape)


def _original(box: Box, scheme: Scheme, said: Any, shape: tuple[int, ...]) -> Volume:
    """The volume before compression: the base's pixels with the residual added, chunk by chunk of the residual."""
    base = boxed(box, scheme, said, shape)
    receipt = receipt_of(box)
    if receipt.get("identical") or (receipt and str(receipt["setting"]).endswith("@lossless")):
        return base
    if box.residual is None:
        raise InputError(
            f"{box.path}: was compressed with loss and holds no residual; the original cannot be restored from it "
            "(decode it as it is, or compress the source again with --residual)"
        )
    found = residual.described(box.residual.array, str(box.path))
    pieces, limits = residual.pieces_of(found, shape[0]), limits_of(scheme)
    if len(pieces) != len(box.residual.chunks) or np.dtype(found.dtype) != np.dtype(scheme.grid.dtype):
        raise NotReadable(f"{box.path}: its residual does not go with its base; restore it from a copy")

    def decode(index: int, payload: bytes) -> Pixels:
        return residual.decode_within(limits, found, payload, np.asarray(base.pixels[slice(*pieces[index])]))

    name = f"{box.path}: residual"
    pixels = ChunkedPixels(shape, scheme, box.residual.chunk, name, limits, found.depth, decode)
    about = {key: value for key, value in base.about.items() if key not in ("lossy", "generations")}
    return replace(base, pixels=pixels, about=_earlier(base.about) | about)


def _earlier(about: Any) -> dict[str, Any]:
    """What the header said of loss before this compression, which is undone."""
    before = list(about.get("generations", ()))[:-1]
    return {"lossy": before[-1], "generations": before} if before else {}


def boxed(box: Box, scheme: Scheme, said: Any, shape: tuple[int, ...]) -> Volume:
    """The volume of an opened container."""
    chunks = ChunkedPixels(shape, scheme, box.chunk, str(box.path), limits_of(scheme))
    return Volume(chunks, **volume_facts(box, said))


def read(path: str | Path, untrusted: bool | child.Limits = False, *, exact: bool = False) -> Volume:
    """The volume in a file or folder, with its pixels in memory; untrusted, exact: see `lazy`."""
    found = lazy(path, untrusted, exact=exact)
    return replace(found, pixels=np.asarray(found.pixels[0 : found.shape[0]]))


def open_image(path: str | Path, untrusted: bool | child.Limits = False, *, exact: bool = False) -> Opened:
    """An image that stays on disk and is indexed like an array: slimscan.open(path)[100:110, 50:200].

    untrusted: compressed pixels are decoded by child processes under limits, whoever wrote the file. exact: the original,
    where the file holds its residual.
    """
    return Opened(lazy(path, untrusted, exact=exact))
