"""What OpenSlide and tifffile see of a slide, beside what slimscan reads."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.files.slides.rewrite_ifd import structure
from slimscan.nouns import Needs
from slimscan.nouns.slide import Slide
from slimscan.press.slide.board import boards
from slimscan.press.slide.facts import Facts, directories
from slimscan.press.slide.sample import WHITE_DISTANCE, places, white_distance

OPENSLIDE = Needs("openslide-python", "openslide", "slides")
ROUNDING = 3  # levels by which two JPEG decoders may differ after upsampled chroma
SLOW = 2.0
LOOKED = 12  # tiles a level through the other readers


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. passed: None where it is told and nothing is promised."""

    name: str
    passed: bool | None
    said: str


def by_openslide(out: Slide, seed: int, known: Facts, source: Path | None) -> Finding:
    """OpenSlide opens the file, and sees at sampled places what slimscan sees."""
    name = "OpenSlide"
    if OPENSLIDE.missing():
        return Finding(name, None, "is not installed (extra slides); not tried")
    import openslide

    try:
        with openslide.OpenSlide(str(out.path)) as held:
            largest, redrawn, clear, lost = 0, 0, 0, 0
            for index, level in enumerate(out.levels):
                if index >= held.level_count or held.level_dimensions[index] != (level.shape[1], level.shape[0]):
                    shape, sizes = f"{level.shape[1]}x{level.shape[0]}", list(held.level_dimensions)
                    alike = source is not None and _sizes(source) == sizes  # it does not see SubIFDs, for example
                    too = ", as in the source" if alike else ""
                    return Finding(
                        name, None if alike else False, f"opens it, and its level {index} is not {shape}{too}"
                    )
                for row, col in places(level, (256, 256), LOOKED, seed + index):
                    rgba = _region(held, index, row * 256, col * 256, level.shape)
                    ours = out.read(index, row * 256, col * 256, *rgba.shape[:2])
                    gone = rgba[..., 3] < 255
                    clear += bool(gone.any())
                    lost += int((white_distance(ours)[gone] > WHITE_DISTANCE).sum())
                    apart = _apart(np.where(gone[..., None], ours, rgba[..., :3]), ours)
                    if index and known.zero and known.aperio:
                        redrawn = max(redrawn, apart)
                    else:
                        largest = max(largest, apart)
    except openslide.OpenSlideError as error:
        too = " and its source" if source is not None and _refused(source) else ""
        return Finding(
            name, None, f"refuses it{too}: {str(error).splitlines()[0].replace(str(out.path), out.path.name)}"
        )
    if largest > ROUNDING:
        said = f"opens it, and sees pixels that differ by up to {largest} from what slimscan reads"
        return Finding(name, False, said)
    if lost:
        return Finding(
            name, False, f"opens it, and shows nothing at {lost} pixels of tissue, where level 0 has a tile of no bytes"
        )
    if redrawn > ROUNDING:
        said = f"opens it, and draws level 1 and up anew from level 0, since tiles have no bytes: there pixels differ by up to {redrawn}"
        return Finding(name, None, said)
    said = f"opens it, and sees the same pixels{f' (to {largest})' if largest else ''}"
    return Finding(
        name, True, said + (f"; {clear} of the places that were looked at are transparent in part" if clear else "")
    )


def _sizes(path: Path) -> list[tuple[int, int]]:
    """The sides (width, height) of the levels that OpenSlide sees; none where it refuses the file."""
    import openslide

    try:
        with openslide.OpenSlide(str(path)) as held:
            return list(held.level_dimensions)
    except openslide.OpenSlideError:
        return []


def _refused(path: Path) -> bool:
    import openslide

    try:
        with openslide.OpenSlide(str(path)):
            return False
    except openslide.OpenSlideError:
        return True


def _region(held: Any, index: int, y: int, x: int, shape: tuple[int, int], size: int = 256) -> NDArray[np.uint8]:
    """A region of an OpenSlide level as RGBA (h, w, 4). Level coordinates."""
    down = held.level_downsamples[index]
    h, w = min(size, shape[0] - y), min(size, shape[1] - x)
    return np.asarray(held.read_region((round(x * down), round(y * down)), index, (w, h)))


def _apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """The 99.9th percentile of the differences, so that the rim of a resampled level does not decide."""
    return int(np.percentile(np.abs(one.astype(np.int16) - other.astype(np.int16)), 99.9))


def by_tifffile(out: Slide, seed: int) -> Finding:
    """tifffile decodes sampled tiles to what slimscan sees."""
    import tifffile

    name, largest, looked = "tifffile", 0, 0
    means: list[float] = []
    try:
        with tifffile.TiffFile(out.path) as tiff:
            there, made = {page.offset: page for page in directories(tiff)}, structure(out.path)
            for board in boards(out):
                index, level = board.index, board.level
                page: Any = there[made.pages[board.number].at]
                page = getattr(page, "keyframe", page) if not hasattr(page, "decode") else page
                for row, col in places(level, level.tile, LOOKED, seed + index) if level.tiles else ():
                    data = out.tile(index, row, col)
                    if not data:
                        continue
                    got = page.decode(
                        data, row * level.grid[1] + col, jpegtables=page.jpegtables, jpegheader=page.jpegheader
                    )[0]
                    h, w = (
                        min(level.tile[0], level.shape[0] - row * level.tile[0]),
                        min(level.tile[1], level.shape[1] - col * level.tile[1]),
                    )
                    pixels = np.asarray(got).reshape(*np.asarray(got).shape[-3:])[:h, :w]
                    ours = out.read(index, row * level.tile[0], col * level.tile[1], h, w)
                    largest, looked = max(largest, _apart(pixels, ours)), looked + 1
                    means.append(float(np.abs(pixels.astype(np.float64) - ours).mean()))
    except InputError:
        return Finding(name, None, "opens it; no tile was there to decode")
    except Exception as error:  # noqa: BLE001 - what a foreign reader raises is what is told
        return Finding(
            name, None, f"cannot decode it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        )
    if largest > ROUNDING:
        mean = sum(means) / len(means)
        said = f"decodes it, and sees pixels that differ by {mean:.2g} levels in the mean and up to {largest} from what slimscan reads"
        return Finding(name, None, said)
    if not looked:
        return Finding(name, None, "opens it; no tile was there to decode")
    return Finding(name, True, f"decodes {looked} tiles to the same pixels{f' (to {largest})' if largest else ''}")


def times(source: Path, path: Path) -> list[Finding]:
    """How long OpenSlide needs for a region of every level, as a multiple of the source."""
    if OPENSLIDE.missing():
        return []
    import openslide

    try:
        with openslide.OpenSlide(str(source)) as one, openslide.OpenSlide(str(path)) as other:
            ratios = {
                index: _seconds(other, index) / _seconds(one, index)
                for index in range(min(one.level_count, other.level_count))
            }
    except openslide.OpenSlideError:
        return []
    said = ", ".join(f"level {index} {ratio:.2g}" for index, ratio in ratios.items())
    slow = [index for index, ratio in ratios.items() if ratio > SLOW]
    after = f"; level {', '.join(map(str, slow))} is slow" if slow else ""
    return [Finding("time to read in OpenSlide, source = 1", None, said + after)]


def _seconds(held: Any, index: int) -> float:
    """The median of 5 reads of the middle, caches emptied."""
    import openslide

    w, h = held.level_dimensions[index]
    down = held.level_downsamples[index]
    size = (min(w, 1024), min(h, 1024))
    corner = (round((w - size[0]) // 2 * down), round((h - size[1]) // 2 * down))
    found = []
    for _ in range(5):
        held.set_cache(openslide.OpenSlideCache(0))
        start = time.perf_counter()
        held.read_region(corner, index, size)
        found.append(time.perf_counter() - start)
    return max(statistics.median(found), 1e-6)
