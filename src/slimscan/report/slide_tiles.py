"""Squares of any slide at every power of two, as OpenSeadragon asks for them (Deep Zoom), and the page that stands alone.

Level `most` is level 0 of the slide; each one below is half as large. Squares are 256 pixels, less at the right and lower rim.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns.slide import Slide
from slimscan.press.slide.sample import shrunk
from slimscan.press.staging import admit_output, staged

TILE = 256
FARTHEST = 32  # a square is never made from more than FARTHEST x FARTHEST times its pixels
TIMES = 8  # the difference is shown so many times larger
HELD_PIXELS = 20_000_000  # of level 0, in a page that stands alone
PAGE = Path(__file__).parent / "slide_page"

RGB = NDArray[np.uint8]


def told(slide: Slide) -> dict[str, Any]:
    """What the page must know of a slide. least, most: the levels that may be asked for."""
    height, width = slide.levels[0].shape
    most = math.ceil(math.log2(max(height, width, 2)))
    coarsest = max(one.downsample for one in slide.levels)
    least = max(0, most - math.floor(math.log2(coarsest * FARTHEST)))
    return {
        "name": slide.path.name, "width": width, "height": height, "tile": TILE, "least": least, "most": most,
        "mpp": slide.mpp, "magnification": slide.magnification,
    }  # fmt: skip


def square(slide: Slide, level: int, col: int, row: int) -> RGB:
    """(h, w, 3), at most TILE a side. InputError for a square that is not there."""
    known = told(slide)
    height, width = slide.levels[0].shape
    if not known["least"] <= level <= known["most"]:
        raise InputError(f"level {level} is not there; allowed: {known['least']} to {known['most']}")
    factor = 2 ** (known["most"] - level)
    rows, cols = math.ceil(height / factor), math.ceil(width / factor)
    y, x = row * TILE, col * TILE
    if not (0 <= y < rows and 0 <= x < cols):
        raise InputError(f"square {col}, {row} of level {level} is not there")
    h, w = min(TILE, rows - y), min(TILE, cols - x)
    fit = [n for n, one in enumerate(slide.levels) if one.downsample <= factor * 1.001]
    index = max(fit, key=lambda n: slide.levels[n].downsample, default=0)
    have = slide.levels[index].shape
    scale = (have[0] * factor / height, have[1] * factor / width)
    top, left = round(y * scale[0]), round(x * scale[1])
    end = (
        min(have[0], max(top + 1, round((y + h) * scale[0]))),
        min(have[1], max(left + 1, round((x + w) * scale[1]))),
    )
    return shrunk(slide.read(index, top, left, max(1, end[0] - top), max(1, end[1] - left)), (h, w))


def difference(one: Slide, other: Slide, level: int, col: int, row: int) -> RGB:
    """|other - one| of a square, TIMES as large, channel by channel, at most 255."""
    before, after = square(one, level, col, row).astype(np.int16), square(other, level, col, row).astype(np.int16)
    return np.asarray(np.clip(np.abs(after - before) * TIMES, 0, 255), np.uint8)


def png(pixels: RGB) -> bytes:
    """Exact, and quick to make."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=1))


def admit(one: Slide, other: Slide) -> None:
    """InputError when two slides cannot lie side by side."""
    if one.levels[0].shape != other.levels[0].shape:
        first, second = one.levels[0].shape, other.levels[0].shape
        raise InputError(
            f"{other.path} is {second[1]}x{second[0]} and {one.path} is {first[1]}x{first[0]}; give two slides of one size"
        )


def write_alone(one: Slide, other: Slide, place: Path, force: bool = False) -> Path:
    """A page that holds the squares of both slides and OpenSeadragon itself, for slides of at most HELD_PIXELS.

    InputError: larger, or of two sizes. OutputError: exists, is one of the slides, or cannot be written.
    """
    admit(one, other)
    for slide in (one, other):
        admit_output(place, force, slide.path)
    height, width = one.levels[0].shape
    if height * width > HELD_PIXELS:
        raise InputError(
            f"{one.path} has {height * width / 1e6:.0f} million pixels and a page that stands alone holds {HELD_PIXELS / 1e6:.0f}; "
            "leave out --output, and the slides are served from where they lie"
        )
    tiles = {}
    for side, slide in (("a", one), ("b", other)):
        for key, pixels in _squares(slide):
            tiles[f"{side}/{key}"] = "data:image/webp;base64," + base64.b64encode(_webp(pixels)).decode("ascii")
    held = json.dumps({"slides": {"a": told(one), "b": told(other)}, "tiles": tiles}).replace("</", "<\\/")
    with staged(place, force) as stage:
        stage.path.write_text(_alone(held), "utf-8")
    return place


def _squares(slide: Slide) -> Any:
    known = told(slide)
    for level in range(max(known["least"], 8), known["most"] + 1):
        factor = 2 ** (known["most"] - level)
        for row in range(math.ceil(math.ceil(known["height"] / factor) / TILE)):
            for col in range(math.ceil(math.ceil(known["width"] / factor) / TILE)):
                yield f"{level}/{col}_{row}", square(slide, level, col, row)


def _webp(pixels: RGB) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.webp_encode(np.ascontiguousarray(pixels), lossless=True, method=0))


def _alone(held: str) -> str:
    """The page with everything inside."""
    text = (PAGE / "index.html").read_text("utf-8")
    parts: Mapping[str, str] = {
        '<link rel="stylesheet" href="page/page.css">\n': f"<style>\n{_text('page.css')}</style>\n",
        '<script src="page/openseadragon.min.js" defer></script>\n': "",
        '<script src="page/page.js" defer></script>\n': "",
        "</body>": (
            f"<!--\n{_text('OPENSEADRAGON-LICENSE.txt')}\n{_text('OPENSEADRAGON-THIRD-PARTY.txt')}-->\n"
            f"<script>\n{_text('openseadragon.min.js')}</script>\n<script>globalThis.HELD = {held};</script>\n"
            f"<script>\n{_text('page.js')}</script>\n</body>"
        ),
    }
    for old, new in parts.items():
        text = text.replace(old, new)
    return text


def _text(name: str) -> str:
    return (PAGE / name).read_text("utf-8")
