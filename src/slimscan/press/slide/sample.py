"""Patches of tissue at named magnifications, as many from each, to measure codecs on.

A magnification that no level has is made from the nearest finer level by area means, as pyramids are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns.slide import Level, Slide

RGB = NDArray[np.uint8]
WHITE_DISTANCE = 85.0  # Euclidean in RGB; wsi2025, eq. 1
UM_AT_1X = 10.0  # micrometres a pixel times magnification: 0.5 at 20x
NEAR = 1.05  # a level this near counts as the asked magnification


@dataclass(frozen=True)
class Patch:
    """A square of tissue. y, x: its corner in pixels of level 0. tissue: share of it 0..1. pixels: (size, size, 3) uint8."""

    slide: str
    magnification: float
    y: int
    x: int
    tissue: float
    pixels: RGB = field(repr=False, compare=False)


def magnification(slide: Slide) -> float:
    """The objective's power; where the file says none, that of its micrometres a pixel (0.5 is 20, 0.25 is 40).

    InputError when it says neither.
    """
    if slide.magnification:
        return slide.magnification
    if slide.mpp:
        return UM_AT_1X / math.sqrt(slide.mpp[0] * slide.mpp[1])
    raise InputError(
        f"{slide.path}: says neither a magnification nor micrometres a pixel; give the magnification of its level 0"
    )


def level_for(slide: Slide, wanted: float, power: float) -> tuple[int, float]:
    """(level, its pixels a wanted pixel >= 1 or nearly): the coarsest level that is fine enough for a magnification."""
    fit = [n for n, one in enumerate(slide.levels) if power / one.downsample * NEAR >= wanted]
    if not fit:
        return 0, power / wanted
    best = max(fit, key=lambda n: slide.levels[n].downsample)
    return best, power / slide.levels[best].downsample / wanted


def patches(
    slide: Slide,
    wanted: float,
    *,
    size: int = 256,
    share: float = 0.5,
    most: int = 138,
    seed: int = 0,
    power: float | None = None,
    name: str = "",
) -> Iterator[Patch]:
    """At most `most` patches of one magnification, without overlap, with more than `share` tissue, drawn by `seed`.

    Nothing where the slide was scanned at less, or where no patch fits. power: the magnification of level 0 where the file
    does not say. Tissue: further than 85 from white in RGB (wsi2025, eq. 1), counted in the patch as it is given.
    Source: wsi2025, section 2.3.1. Errors as for `magnification` and Slide.read.
    """
    power = power or magnification(slide)
    if wanted > power * NEAR:
        return
    index, factor = level_for(slide, wanted, power)
    if factor < NEAR:
        factor = 1.0
    level = slide.levels[index]
    side = round(size * factor)
    rows, cols = level.shape[0] // side, level.shape[1] // side
    order = np.random.default_rng(seed).permutation(rows * cols)
    found = 0
    for place in order:
        if found == most:
            return
        y, x = int(place) // cols * side, int(place) % cols * side
        pixels = shrunk(slide.read(index, y, x, side, side), size)
        tissue = tissue_share(pixels)
        if tissue <= share:
            continue
        found += 1
        down = level.downsample
        yield Patch(name or slide.path.name, wanted, round(y * down), round(x * down), tissue, pixels)


def tissue_share(pixels: RGB) -> float:
    """The share of pixels (h, w, 3) that lie further than 85 from white in RGB; 0 for none."""
    if not pixels.size:
        return 0.0
    return float((white_distance(pixels) > WHITE_DISTANCE).mean())


def white_distance(pixels: RGB) -> NDArray[np.float64]:
    """sqrt((255-R)^2 + (255-G)^2 + (255-B)^2) of every pixel, 0 to 441.7. Source: wsi2025, eq. 1."""
    apart = 255.0 - pixels.astype(np.float64)
    return np.asarray(np.sqrt((apart * apart).sum(axis=-1)), np.float64)


def shrunk(pixels: RGB, size: int | tuple[int, int]) -> RGB:
    """(h, w, 3) brought to size x size, or (height, width), by area means; rounded. The same when it has that size."""
    height, width = (size, size) if isinstance(size, int) else size
    if pixels.shape[:2] == (height, width):
        return pixels
    rest = (pixels.shape[0] % height, pixels.shape[1] % width)
    if pixels.size and rest == (0, 0):  # whole pixels into one: no weights are needed
        by = (pixels.shape[0] // height, pixels.shape[1] // width)
        sums = pixels.reshape(height, by[0], width, by[1], 3).sum(axis=(1, 3), dtype=np.uint32)
        return np.asarray(np.rint(sums / (by[0] * by[1])), np.uint8)
    rows, cols = _means(pixels.shape[0], height), _means(pixels.shape[1], width)
    held = np.einsum("ih,hwc->iwc", rows, pixels.astype(np.float64), optimize=True)
    held = np.einsum("jw,iwc->ijc", cols, held, optimize=True)
    return np.asarray(np.clip(np.rint(held), 0, 255), np.uint8)


def _means(have: int, want: int) -> NDArray[np.float64]:
    """(want, have): the weight of every old sample in each new one; rows sum to 1."""
    edges = np.arange(want + 1) * (have / want)
    old = np.arange(have)
    inside = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    inside = np.clip(inside, 0, None)
    return np.asarray(inside / inside.sum(axis=1, keepdims=True), np.float64)


def places(level: Level, tile: tuple[int, int], most: int | None, seed: int) -> Sequence[tuple[int, int]]:
    """(row, column) of at most `most` tiles of a level, drawn by `seed`, in rising order; all of them for None."""
    rows, cols = -(-level.shape[0] // tile[0]), -(-level.shape[1] // tile[1])
    chosen = np.arange(rows * cols)
    if most is not None and most < chosen.size:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen.size, most, replace=False))
    return [(int(one) // cols, int(one) % cols) for one in chosen]
