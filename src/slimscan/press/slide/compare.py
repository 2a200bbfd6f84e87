"""Two slides of one specimen, tile by tile: what stayed, what was left out, and how like the rest is.

As many tiles are drawn from each level, so that the largest does not speak for all. A tile whose bytes are the same is
not decoded. A tile that was left out is looked at in the source: it must be glass there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns.slide import Slide
from slimscan.press.slide.facts import left_out
from slimscan.press.slide.families import family
from slimscan.press.slide.measure import PEAK, difference, likeness, through
from slimscan.press.slide.sample import places, tissue_share

Fate = Literal["same bytes", "same pixels", "changed", "left out"]
PIECE = (256, 256)  # where a format has no tiles
MOST = 64  # tiles a level


@dataclass(frozen=True)
class TileRow:
    """One place of one level. y, x: its corner there; shape: its part inside the level. tissue: share in the source.

    stored_source, stored: bytes of both tiles, 0 where a
    format has none and for a tile that was left out: what all of those share is counted nowhere. jpeg90: bytes of the source's pixels as JPEG of
    quality 90, None when not asked. decode_s: to read the tile of the output as pixels.
    """

    level: int
    row: int
    col: int
    y: int
    x: int
    shape: tuple[int, int]
    fate: Fate
    tissue: float
    stored_source: int
    stored: int
    jpeg90: int | None
    psnr_db: float
    ssim: float
    ms_ssim: float
    mse: float
    largest: int
    decode_source_s: float
    decode_s: float


@dataclass(frozen=True)
class LevelLine:
    """A level's tiles that were looked at. psnr_db: of all pixels of tissue tiles together (of all tiles without tissue);
    ssim: their mean; lowest: the lowest SSIM. saved_jpeg90: percent less than JPEG of quality 90, None when not asked.
    """

    level: int
    magnification: float | None
    tiles: int
    looked: int
    same: int
    left_out: int
    psnr_db: float
    ssim: float
    ms_ssim: float
    lowest: float
    bpp: float
    saved: float
    saved_jpeg90: float | None
    decode_ms: float
    decode_source_ms: float


def compare(
    source: Slide,
    out: Slide,
    *,
    most: int | None = MOST,
    seed: int = 0,
    jpeg90: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[TileRow]:
    """Rows of every level that both have, at most `most` tiles of each (None: all of them), and as many that were left out.

    InputError when the levels are not of the same shapes; NotReadable for a tile that cannot be decoded.
    """
    ours, theirs = [one.shape for one in source.levels], [one.shape for one in out.levels]
    if ours != theirs:
        raise InputError(
            f"{out.path}: has levels {_said(theirs)} and {source.path} has {_said(ours)}; give two slides of one pyramid"
        )
    rows = []
    for index, level in enumerate(out.levels):
        tile = level.tile if level.tiles else PIECE
        gone = left_out(out, index)
        known = left_out(source, index)
        fresh = sorted(place for place in gone if place not in known)
        chosen = sorted({*places(level, tile, most, seed + index), *_drawn(fresh, most, seed + index)})
        for place in chosen:
            rows.append(_row(source, out, index, place, tile, place in gone and place not in known, jpeg90))
            if progress is not None:
                progress(f"level {index}", 1, len(chosen))
    return rows


def _drawn(fresh: Sequence[tuple[int, int]], most: int | None, seed: int) -> Sequence[tuple[int, int]]:
    """At most `most` of the tiles that were left out."""
    if most is None or len(fresh) <= most:
        return fresh
    return [fresh[n] for n in np.random.default_rng(seed).choice(len(fresh), most, replace=False)]


def _row(
    source: Slide, out: Slide, index: int, place: tuple[int, int], tile: tuple[int, int], gone: bool, jpeg90: bool
) -> TileRow:
    level = out.levels[index]
    y, x = place[0] * tile[0], place[1] * tile[1]
    h, w = min(tile[0], level.shape[0] - y), min(tile[1], level.shape[1] - x)
    one, other = _stored(source, index, place, tile), _stored(out, index, place, tile)
    before, before_s = _timed(source, index, y, x, h, w)
    same = (
        one is not None
        and one == other
        and source.levels[index].tag == level.tag
        and _whole_same(source, out, index, place)
    )
    after, after_s = (before, before_s) if same else _timed(out, index, y, x, h, w)
    like = likeness(before, after)
    if gone:
        fate: Fate = "left out"
    else:
        fate = "same bytes" if same else "same pixels" if math.isinf(like.psnr_db) else "changed"
    return TileRow(
        index, *place, y, x, (h, w), fate, tissue_share(before), len(one or b""), 0 if gone else len(other or b""),
        len(through(family("jpeg").codec, 90.0, before)[0]) if jpeg90 else None,
        like.psnr_db, like.ssim, like.ms_ssim, like.mse,
        int(np.abs(before.astype(np.int16) - after.astype(np.int16)).max()), before_s, after_s,
    )  # fmt: skip


def _whole_same(source: Slide, out: Slide, index: int, place: tuple[int, int]) -> bool:
    """Whether tiles of the same bytes are the same codestreams too: tables that lie elsewhere in the file count."""
    if out.levels[index].compression != "jpeg" or not out.tile(index, *place):
        return True
    return source.stream(index, *place) == out.stream(index, *place)


def _stored(slide: Slide, index: int, place: tuple[int, int], tile: tuple[int, int]) -> bytes | None:
    level = slide.levels[index]
    if level.tile != tile or not level.tiles:
        return None
    return slide.tile(index, *place)


def _timed(slide: Slide, index: int, y: int, x: int, h: int, w: int) -> tuple[NDArray[np.uint8], float]:
    start = time.perf_counter()
    pixels = slide.read(index, y, x, h, w)
    return pixels, time.perf_counter() - start


def lines(rows: Sequence[TileRow], out: Slide) -> list[LevelLine]:
    """A line for each level that rows tell of. Numbers of likeness are over tiles that were not left out."""
    found = []
    for index in dict.fromkeys(row.level for row in rows):
        mine = [row for row in rows if row.level == index]
        level = out.levels[index]
        seen = [row for row in mine if row.fate != "left out"]
        tissue = [row for row in seen if row.tissue > 0] or seen
        pixels = sum(row.shape[0] * row.shape[1] for row in mine)
        stored, before = sum(row.stored for row in mine), sum(row.stored_source for row in mine)
        ninety = [row.jpeg90 for row in mine if row.jpeg90 is not None]
        found.append(
            LevelLine(
                index,
                None if out.magnification is None else out.magnification / level.downsample,
                level.tiles, len(mine), sum(row.fate.startswith("same") for row in mine), len(mine) - len(seen),
                pooled(tissue), _mean([row.ssim for row in tissue]), _mean([row.ms_ssim for row in tissue]),
                min((row.ssim for row in tissue if not math.isnan(row.ssim)), default=math.nan),
                8 * stored / pixels,
                100 * (1 - stored / before) if before else math.nan,
                100 * (1 - stored / sum(ninety)) if ninety else None,
                1e3 * _mean([row.decode_s for row in seen]), 1e3 * _mean([row.decode_source_s for row in seen]),
            )
        )  # fmt: skip
    return found


def pooled(rows: Sequence[TileRow]) -> float:
    """PSNR in dB of all pixels of the rows together, peak 255; inf when none changed, NaN for no rows."""
    pixels = sum(row.shape[0] * row.shape[1] for row in rows)
    if not pixels:
        return math.nan
    mse = math.fsum(row.mse * row.shape[0] * row.shape[1] for row in rows) / pixels
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)


def worst(rows: Sequence[TileRow], count: int = 3) -> list[TileRow]:
    """The changed tiles with the lowest SSIM, the lowest first."""
    changed = [row for row in rows if row.fate == "changed" and not math.isnan(row.ssim)]
    return sorted(changed, key=lambda row: (row.ssim, row.psnr_db))[:count]


def pictures(
    source: Slide, out: Slide, row: TileRow
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    """(source, output, difference of their greys) of a row, (h, w, 3) twice and (h, w)."""
    before = source.read(row.level, row.y, row.x, *row.shape)
    after = out.read(row.level, row.y, row.x, *row.shape)
    return before, after, difference(before, after)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _said(shapes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{width}x{height}" for height, width in shapes)
