"""TIFF, BigTIFF, OME-TIFF and ImageJ stacks (TIFF 6.0; OME-TIFF 6.2), pages read as they are asked for.

Pages are slices. Of two axes beside y and x one is z and the other is stacked as frames: (frames*z, y, x). Spacing comes
from OME-XML, ImageJ's own words, or resolution tags; TIFF knows no direction, so voxel axes are taken as RAS+ axes unless
slimscan wrote an affine. about["spacing"] says where it came from.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child
from slimscan.errors import CodecError, GeometryError, InputError, NotReadable
from slimscan.files.guard import damaged, must_hold, one_line, reading
from slimscan.files.lazy import Slices, native
from slimscan.files.tiffmeta import spacing_and_bits
from slimscan.files.tiffpast import lossy_why
from slimscan.nouns import Lazy, Needs, Pixels, Volume

TIFFFILE = Needs("tifffile", "tifffile")
TITLE = "TIFF"

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# A page may shrink by this much (blank tiles of modern codecs) before its header is doubted.
_SHRINK = 4096
_SMALL = 64 << 20
_PLANE_LIMIT = 4 << 30
SLICE_OF = "slimscan.files.tiff:slice_of"
# Slide formats hold a label and a thumbnail beside the image; their first series is the image.
_SLIDES = ("svs", "ndpi", "scn", "bif", "qpi", "philips", "avs")


def is_tiff(head: bytes) -> bool:
    """TIFF or BigTIFF by its first bytes; a DICOM file may begin like one, and is none."""
    return head[:4] in _MAGIC and head[128:132] != b"DICM"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A tifffile.TiffFile whose pages are all there: what tifffile logs about lost pages becomes NotReadable."""
    import tifffile

    with _listening() as said:
        try:
            tif = tifffile.TiffFile(path)
        except tifffile.TiffFileError as error:
            raise damaged(path, TITLE, one_line(error)) from error
        try:
            if len(tif.pages) == 0:
                raise NotReadable(f"{path}: is a TIFF file without a page; fetch it again")
            yield tif
            lost = [line for line in said if "page" in line or "circular" in line]
            if lost:
                raise damaged(path, TITLE, lost[0])
        except BaseException:
            tif.close()
            raise


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Lines that this thread makes tifffile log as warnings or errors; they go nowhere else."""
    said: list[str] = []
    thread = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(one_line(ValueError(record.getMessage())))

    logger, ear = logging.getLogger("tifffile"), Ear(logging.WARNING)
    logger.addHandler(ear)
    try:
        yield said
    finally:
        logger.removeHandler(ear)


def read(path: Path) -> Volume:
    """The file's one image; GeometryError when its pages differ, InputError for more than four dimensions."""
    with reading(path, TITLE), opened(path) as tif:
        series = _one_series(path, tif)
        page = series.keyframe
        order, leads = _order(path, series)
        lazy = _lazy(path, tif, series, order)
        affine, bits, about = spacing_and_bits(tif, page, lazy.dtype)
        compression = getattr(page.compression, "name", str(page.compression))
        about |= {"format": TITLE, "kind": series.kind, "axes": series.axes, "compression": compression}
        why = lossy_why(page)
        if why:
            about["lossy_why"] = why
        if len(leads) == 2:
            about["frames"] = len(order) // leads[1]
        slope, intercept, unit = about.get("rescale", (1.0, 0.0, ""))
        if child.asked() is not None:
            tif.close()
        return Volume(lazy, affine, bits, slope=slope, intercept=intercept, unit=unit, about=about, source=str(path))


def _one_series(path: Path, tif: Any) -> Any:
    """The series that is the image."""
    series = tif.series
    if not series:
        raise damaged(path, TITLE, "it describes no image")
    first = series[0]
    if len(series) == 1 or first.kind in _SLIDES:
        return first
    if first.kind in ("generic", "uniform"):
        same = {page.index for page in first if page is not None}
        for page in tif.pages:
            if page.index not in same:
                plain = tif.pages[page.index].aspage() if hasattr(page, "aspage") else page
                raise GeometryError(
                    f"{path}: page {page.index + 1} is {plain.shape} {plain.dtype}, page 1 is {first.keyframe.shape} "
                    f"{first.keyframe.dtype}; want pages of one size and type; split the file"
                )
    raise InputError(f"{path}: holds {len(series)} images; slimscan reads a file with one; split it first")


def _order(path: Path, series: Any) -> tuple[list[int], list[int]]:
    """(page numbers from first to last slice, lengths of the axes of pages with z last)."""
    leads = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS" and n > 1]
    if "Y" not in series.axes or "X" not in series.axes:
        raise InputError(f"{path}: has axes {series.axes}; want pages of y and x")
    if len(leads) > 2:
        raise InputError(
            f"{path}: has {len(leads) + 2} dimensions {series.axes} {series.shape}; allowed: up to 4 (x, y, z and time or "
            "channel); split it first"
        )
    if series.size == 0:
        raise NotReadable(f"{path}: holds no pixels: its shape is {series.shape}; export it again")
    lengths = [n for _, n in leads]
    numbers = np.arange(int(np.prod(lengths, dtype=np.int64)))
    if len(leads) == 2 and leads[0][0] == "Z":
        numbers, lengths = numbers.reshape(lengths).T, lengths[::-1]
    return [int(n) for n in numbers.ravel()], lengths


def plane_shape(page: Any) -> tuple[int, ...]:
    """(y, x) or (y, x, c) of one page, its samples last."""
    separate, depth, height, width, contiguous = page.shaped
    if depth != 1:
        raise InputError("a page holds a volume (SGI ImageDepth); want one slice a page")
    samples = separate * contiguous
    return (height, width, samples) if samples > 1 else (height, width)


def check_page(path: Path, page: Any) -> np.dtype[Any]:
    """The sample type of a page that slimscan takes; NotReadable or InputError, with the reason, for any other."""
    shape = plane_shape(page)
    if min(shape) == 0:
        raise NotReadable(f"{path}: holds no pixels: a page is {shape}; export it again")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise InputError(
            f"{path}: samples of {page.bitspersample} bits, format {page.sampleformat!r}; want real numbers"
        )
    if page.photometric == 3:
        raise InputError(f"{path}: has a colour palette, whose numbers are no intensities; convert it to RGB or grey")
    dtype: np.dtype[Any] = np.dtype(np.uint8) if page.dtype.kind == "b" else page.dtype.newbyteorder("=")
    plane = int(np.prod(shape, dtype=np.int64)) * page.dtype.itemsize
    if plane > _PLANE_LIMIT:
        raise InputError(f"{path}: one page is {shape}, {plane / 1e9:.1f} GB: a slide, not a slice; crop it first")
    if not page.is_tiled and page.compression == 1 and page.bitspersample in (8, 16, 32, 64):
        must_hold(path, TITLE, plane, sum(page.databytecounts))
    elif plane > _SMALL:
        must_hold(path, TITLE, plane, sum(page.databytecounts), _SHRINK)
    check_segments(path, page, 1)
    return dtype


def check_segments(path: Path, page: Any, number: int) -> None:
    """NotReadable when a strip or tile of page `number` is missing or reaches past the end of the file."""
    size = page.parent.filehandle.size
    offsets, counts = page.dataoffsets, page.databytecounts
    if not offsets or len(offsets) != len(counts) or min(counts) <= 0 or min(offsets) <= 0:
        raise damaged(path, TITLE, f"page {number} lacks strips or tiles")
    if len(offsets) != int(np.prod(page.chunked, dtype=np.int64)):
        raise damaged(path, TITLE, f"page {number} has {len(offsets)} strips or tiles, its size asks for others")
    if max(offset + count for offset, count in zip(offsets, counts, strict=True)) > size:
        raise damaged(path, TITLE, f"page {number} reaches past the end of the file ({size} bytes)")


def _lazy(path: Path, tif: Any, series: Any, order: list[int]) -> Pixels | Lazy:
    page = series.keyframe
    offset = series.dataoffset
    shape = (len(order), *plane_shape(page))
    stored = np.dtype(tif.byteorder + series.dtype.char)
    if offset is not None and page.shaped[0] == 1 and stored.kind in "uif":
        total = int(np.prod(shape, dtype=np.int64)) * stored.itemsize
        must_hold(path, TITLE, total, tif.filehandle.size - offset)
        if min(shape) == 0:
            raise NotReadable(f"{path}: holds no pixels: its shape is {shape}; export it again")
        if page.photometric == 3:
            check_page(path, page)
        tif.close()
        mapped: Pixels = np.memmap(path, stored, "r", offset, shape).view(np.ndarray)
        if order == sorted(order):
            return native(mapped)
        dtype = stored.newbyteorder("=")
        return Slices(shape, dtype, lambda start, stop: mapped[order[start:stop]].astype(dtype, copy=False))
    pages = list(series)
    if len(pages) != len(order) or any(page is None for page in pages):
        raise damaged(path, TITLE, f"it describes {len(order)} pages, {sum(p is not None for p in pages)} are there")
    dtype = check_page(path, page)
    for number, other in enumerate(pages, 1):
        check_segments(path, other, number)
    limits = child.asked()
    if limits is not None:
        return Slices(shape, dtype, Apart((path,) * len(order), range(len(order)), shape[1:], dtype, limits))
    tif.filehandle.set_lock(True)
    held = [pages[number] for number in order]
    return Slices(shape, dtype, _Pages(path, tif, held, shape[1:], dtype))


class _Pages:
    """load(start, stop) over pages of one open file; closes it when nobody needs it any more."""

    def __init__(self, path: Path, tif: Any, pages: list[Any], plane: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path, self._tif, self._pages, self._plane, self._dtype = path, tif, pages, plane, dtype

    def __call__(self, start: int, stop: int) -> Pixels:
        out = np.empty((stop - start, *self._plane), self._dtype)
        for number in range(start, stop):
            with reading(self._path, f"{TITLE} (page {number + 1})"):
                out[number - start] = decoded(self._pages[number], self._plane)
        return out

    def __del__(self) -> None:
        self._tif.close()


@dataclass(frozen=True)
class Apart:
    """load(start, stop) that has slice k decoded by a child: slice numbers[k] of files[k], (y, x[, c])."""

    files: Sequence[Path]
    numbers: Sequence[int]
    plane: tuple[int, ...]
    dtype: np.dtype[Any]
    limits: child.Limits

    def __call__(self, start: int, stop: int) -> Pixels:
        """Slices start..stop-1; CodecError naming the file and the slice."""
        out = np.empty((stop - start, *self.plane), self.dtype)
        for index in range(start, stop):
            path, number = self.files[index].resolve(), self.numbers[index]
            call = (SLICE_OF, (path, path.stat().st_mtime_ns, number))
            try:
                out[index - start] = child.decode(*call, self.plane, self.dtype, self.limits)
            except CodecError as error:
                told = str(error)
                raise CodecError(told if str(path) in told else f"{path}: page {number + 1}: {told}") from None
        return out


def slice_of(path: Path, stamp: int, number: int) -> Pixels:
    """One slice of a TIFF file, for a child that is asked for it; `stamp` keeps a changed file out of what it keeps."""
    found: Pixels = _kept(path, stamp).slices(number, number + 1)[0]
    return found


@lru_cache(maxsize=2)
def _kept(path: Path, stamp: int) -> Volume:  # noqa: ARG001 the stamp is part of the cache's key
    return read(path)


def decoded(page: Any, plane: tuple[int, ...]) -> Pixels:
    """One page as (y, x) or (y, x, c)."""
    pixels = page.asarray(maxworkers=1)
    keyframe = page.keyframe
    if keyframe.shaped[0] > 1:
        pixels = np.moveaxis(pixels.reshape(keyframe.shaped[0], plane[0], plane[1]), 0, -1)
    return np.asarray(pixels.reshape(plane))
