"""What was written, read back from the file and held against the source, tile by tile."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slimscan.errors import SlimscanError
from slimscan.nouns.slide import Slide
from slimscan.press.slide.board import Payloads
from slimscan.press.slide.plan import Plan
from slimscan.press.slide.quality import PEAK, Quality, judge
from slimscan.press.slide.transcode import grow

HOW = ("as is", "transcoded", "recoded", "shared", "empty", "painted", "absent")
BYTES = 32


@dataclass
class Sums:
    """Of one level. tiles: how -> number. larger: tiles that take more bytes than their source's. wrong: tiles that are not
    what was promised. mse, pixels, ssim: of each tile of tissue, what is seen of it. worst: (SSIM of the worst window, tile) of the tiles coded anew. digests: SHA-256 of the source's.
    """

    tiles: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HOW, 0))
    bytes_in: int = 0
    bytes_out: int = 0
    larger: int = 0
    larger_bytes: int = 0
    wrong: list[tuple[int, str]] = field(default_factory=list)
    mse: list[float] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    worst: tuple[float, int] = (math.inf, -1)
    least: Quality | None = None
    digests: bytearray = field(default_factory=bytearray)

    @property
    def psnr_db(self) -> float | None:
        """Over all tiles of tissue, in dB; None when nothing differs or there are none."""
        total = math.fsum(mse * count for mse, count in zip(self.mse, self.pixels, strict=True))
        mean = total / sum(self.pixels) if self.pixels else 0.0
        return 10 * math.log10(PEAK**2 / mean) if mean else None

    @property
    def mean_ssim(self) -> float | None:
        """The mean over tiles of tissue; None when there are none."""
        known = [value for value in self.ssim if not math.isnan(value)]
        return math.fsum(known) / len(known) if known else None


@dataclass(frozen=True)
class _Seen:
    how: str
    sizes: tuple[int, int]
    digest: bytes
    quality: Quality | None = None
    wrong: str = ""


def prove(
    plans: Sequence[Plan], source: Payloads, output: Payloads, each: Callable[..., Iterable[Any]] = map
) -> dict[int, Sums]:
    """Number of a board -> what was found there; every tile is read from both files."""
    by_number = {plan.board.number: plan for plan in plans}
    found = {number: Sums() for number in by_number}

    def look(item: tuple[int, int]) -> _Seen:
        number, tile = item
        got = output.read(number, tile)
        return _look(by_number[number], tile, source.read(number, tile), got)

    items = [(number, tile) for number, plan in by_number.items() for tile in range(len(source.at[number]))]
    for (number, tile), seen in zip(items, each(look, items), strict=True):
        rows, cols = by_number[number].board.visible(tile)
        _add(found[number], tile, seen, rows.stop * cols.stop)
    for number, sums in found.items():
        # tiles that share their bytes count once
        for payloads, name in ((source, "bytes_in"), (output, "bytes_out")):
            pairs = np.stack([payloads.at[number], payloads.count[number]], axis=1)
            setattr(sums, name, int(np.unique(pairs[pairs[:, 1] > 0], axis=0)[:, 1].sum()))
    return found


def _look(plan: Plan, tile: int, stored: bytes, got: bytes) -> _Seen:
    sizes, digest = (len(stored), len(got)), hashlib.sha256(stored).digest()
    if not stored:
        return _Seen("absent", sizes, digest, wrong="bytes where the source has none" if got else "")
    how = plan.stands(tile)
    if how:
        wanted = b"" if how == "empty" else plan.blank
        return _Seen(how, sizes, digest, wrong="" if _bare(got) == wanted else "is not the blank tile")
    if got == stored:
        return _Seen("as is", sizes, digest, Quality(1.0, math.inf, 1.0, 0.0))
    if plan.family is None:
        return _Seen("as is", sizes, digest, wrong="other bytes than its source")
    try:
        if plan.way is not None and plan.value is None and (plan.exact or b"jbrd" in got[:64]):
            same = grow(got, plan.way) == stored
            quality = Quality(1.0, math.inf, 1.0, 0.0)
            return _Seen(
                "transcoded", sizes, digest, quality, "" if same else "does not come back as its source's bytes"
            )
        shown, inside = plan.family.decode(_bare(got), plan.board.level.tile), plan.board.visible(tile)
        quality = judge(plan.wanted(tile, stored)[inside], shown[inside])
    except SlimscanError as error:
        return _Seen("recoded", sizes, digest, wrong=str(error))
    missed = plan.floors is not None and not quality.passes(plan.floors)
    return _Seen("recoded", sizes, digest, quality, "misses a floor" if missed else "")


def _bare(got: bytes) -> bytes:
    """Without the zero that fills a DICOM item behind an end marker up to an even length (PS3.5 A.4)."""
    return got[:-1] if got.endswith(b"\xff\xd9\x00") else got


def _add(sums: Sums, tile: int, seen: _Seen, pixels: int) -> None:
    sums.tiles[seen.how] += 1
    sums.digests += seen.digest
    if seen.sizes[1] > seen.sizes[0] and seen.how not in ("shared", "painted"):
        sums.larger += 1
        sums.larger_bytes += seen.sizes[1] - seen.sizes[0]
    if seen.wrong:
        sums.wrong.append((tile, seen.wrong))
    if seen.quality is not None:
        sums.mse.append(seen.quality.mse)
        sums.pixels.append(pixels)
        sums.ssim.append(seen.quality.ssim)
        if seen.quality.window < sums.worst[0]:
            sums.worst = (seen.quality.window, tile)
            sums.least = seen.quality


def others_equal(source: Payloads, output: Payloads, done: Mapping[int, Any]) -> list[int]:
    """Numbers of pages that were not to be touched, and whose payloads are other bytes than the source's."""
    return [
        number
        for number in source.at
        if number not in done
        and not all(
            len(source.at[number]) == len(output.at[number]) and source.read(number, k) == output.read(number, k)
            for k in range(len(source.at[number]))
        )
    ]


def reader_sees(
    opened: AbstractContextManager[Slide], plans: Sequence[Plan], source: Payloads, output: Payloads
) -> Iterator[str]:
    """What is not right when the output is opened as a slide, a sentence each: sides of levels, pixels of one tile a level."""
    with opened as slide:
        for plan in plans:
            level, (high, wide) = plan.board.level, plan.board.level.tile
            if plan.board.index >= len(slide.levels) or slide.levels[plan.board.index].shape != level.shape:
                yield f"level {plan.board.index} is not there"
                continue
            tiles = (k for k in range(level.tiles) if output.count[plan.board.number][k] and not plan.is_glass(k))
            tile = next(tiles, None)
            if tile is None:
                continue
            row, col = plan.board.place(tile)
            h, w = min(high, level.shape[0] - row * high), min(wide, level.shape[1] - col * wide)
            got = output.read(plan.board.number, tile)
            stored = source.read(plan.board.number, tile)
            if plan.family is None or (plan.way is not None and (plan.exact or b"jbrd" in got[:64])) or got == stored:
                wanted = plan.board.pixels(tile, stored)
            else:
                wanted = plan.family.decode(_bare(got), level.tile)
            shown = slide.read(plan.board.index, row * high, col * wide, h, w)
            off = int(np.abs(shown.astype(np.int16) - wanted[:h, :w].astype(np.int16)).max())
            if off:
                yield f"level {plan.board.index}: a reader shows tile {tile} off by up to {off} grey levels"
