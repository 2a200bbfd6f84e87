"""OpenSlide, where it is installed: properties of any slide it opens, and pixels of NDPI, SCN, MRXS and kin.

OpenSlide gives premultiplied RGBA; what is transparent (no scan there) is laid on white.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import NotReadable
from slimscan.files.guard import one_line
from slimscan.files.slides.opened import Opened, Picture
from slimscan.nouns import Needs
from slimscan.nouns.slide import Level, SlideFormat

OPENSLIDE = Needs("openslide-python", "openslide", "slides")

FORMATS: Mapping[str, SlideFormat] = {
    "hamamatsu": "ndpi",
    "leica": "scn",
    "mirax": "mrxs",
    "aperio": "svs",
    "generic-tiff": "tiff",
    "dicom": "dicom",
}


def vendor(path: Path) -> str | None:
    """What OpenSlide takes the file for ("aperio", "mirax", ...), None when it does not know it or is not installed."""
    if OPENSLIDE.missing():
        return None
    import openslide

    try:
        return openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None


def properties(path: Path) -> Mapping[str, str] | None:
    """OpenSlide's properties, None when it does not open the file or is not installed."""
    if OPENSLIDE.missing():
        return None
    import openslide

    try:
        with openslide.OpenSlide(path) as slide:
            return dict(slide.properties)
    except (openslide.OpenSlideError, UnicodeError):
        return None


def region_of(path: Path) -> Callable[[int, int, int, int, int], Picture]:
    """A function (level, y, x, h, w) -> (h, w, 3) over OpenSlide, in pixels of the level; MissingExtra without OpenSlide."""
    OPENSLIDE.demand(f"{path}: reading these tiles")
    import openslide

    return _reader(path, openslide.OpenSlide(path))


def open_door(path: Path) -> Opened:
    """The slide through OpenSlide alone: pixels, no stored tiles. MissingExtra without OpenSlide, NotReadable for damage."""
    OPENSLIDE.demand(f"reading {path.name}, a slide for OpenSlide,")
    import openslide

    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise NotReadable(f"{path}: is not a slide that OpenSlide knows; check what it is") from error
    except openslide.OpenSlideError as error:
        raise NotReadable(f"{path}: damaged slide: {one_line(error)}; fetch it again from where it came") from error
    said = dict(slide.properties)
    try:
        icc = _profile(slide)
    except openslide.OpenSlideError as error:
        raise NotReadable(f"{path}: damaged slide: {one_line(error)}; fetch it again from where it came") from error
    mpp = _pair(said.get("openslide.mpp-y"), said.get("openslide.mpp-x"))
    return Opened(
        path=path,
        format=FORMATS.get(said.get("openslide.vendor", ""), "tiff"),
        levels=tuple(_level(slide, number, mpp) for number in range(slide.level_count)),
        mpp=mpp,
        magnification=_positive(said.get("openslide.objective-power")),
        icc=icc,
        pictures={name: _picture(slide, name) for name in slide.associated_images},
        told=lambda: said,
        stored=_no_tiles,
        whole=_no_tiles,
        pixels=lambda *_: None,
        let_go=slide.close,
        region=_reader(path, slide),
    )


def _no_tiles(*_: int) -> bytes:
    raise AssertionError("a level with grid (0, 0) is never asked for tiles")


def _level(slide: Any, number: int, mpp: tuple[float, float] | None) -> Level:
    width, height = slide.level_dimensions[number]
    full_width, full_height = slide.level_dimensions[0]
    scale = None if mpp is None else (mpp[0] * full_height / height, mpp[1] * full_width / width)
    return Level((height, width), (0, 0), (0, 0), float(slide.level_downsamples[number]), "", scale)


def _reader(path: Path, slide: Any) -> Callable[[int, int, int, int, int], Picture]:
    import openslide

    lock = threading.Lock()

    def read(level: int, y: int, x: int, h: int, w: int) -> Picture:
        # OpenSlide wants the corner in pixels of level 0, as whole numbers; what the rounding moves is less than a pixel
        down = slide.level_downsamples[level]
        try:
            with lock:
                image = slide.read_region((round(x * down), round(y * down)), level, (w, h))
        except openslide.OpenSlideError as error:
            raise NotReadable(f"{path}: level {level} cannot be read: {one_line(error)}; fetch it again") from error
        return on_white(np.asarray(image))

    return read


def on_white(rgba: Any) -> Picture:
    """(h, w, 4) with straight alpha laid on white, rounded to the nearest level."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    laid = (rgba[..., :3].astype(np.uint32) * alpha + 255 * (255 - alpha.astype(np.uint32)) + 127) // 255
    out: Picture = laid.astype(np.uint8)
    return out


def _picture(slide: Any, name: str) -> Callable[[], Picture]:
    return lambda: on_white(np.asarray(slide.associated_images[name].convert("RGBA")))


def _profile(slide: Any) -> bytes | None:
    # openslide-python hands the stored bytes out with a region; its color_profile is parsed, and may be written otherwise
    found = slide.read_region((0, 0), slide.level_count - 1, (1, 1)).info.get("icc_profile")
    return None if not found else bytes(found)


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 else None


def _pair(y: str | None, x: str | None) -> tuple[float, float] | None:
    down, across = _positive(y), _positive(x)
    return None if down is None or across is None else (down, across)
