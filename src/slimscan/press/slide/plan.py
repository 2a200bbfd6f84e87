"""What becomes of the tiles of one level: a plan that answers for each of them, and how the plan is chosen.

A level has one compression in its file, so the choice is for the level: on a sample spread over it, each way is tried and
the one of the fewest bytes is taken; as it is, when none is smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import SlimscanError
from slimscan.files.slides.rewrite import AS_IS, EMPTY, Answer, Shared
from slimscan.files.slides.rewrite_lay import Value
from slimscan.press.slide.blank import blank_like, white
from slimscan.press.slide.board import Board
from slimscan.press.slide.families import FAMILIES, JPEG2000, JPEGXL, Family
from slimscan.press.slide.quality import Floors, Quality, Tile, judge
from slimscan.press.slide.transcode import PACKERS, Way, plain_way, shrink
from slimscan.regions.tissue import Tissue

SAMPLE = 16
Grid = NDArray[np.bool_]
Read = Callable[[int, int], bytes]  # (number of a board, tile) -> bytes as stored


class NoWay(SlimscanError):
    """A tile has no form in the family that its level was planned for; number: of the board."""

    def __init__(self, number: int) -> None:
        super().__init__(f"a tile of page {number} does not fit the plan of its level")
        self.number = number


@dataclass(frozen=True)
class Plan:
    """family None: tiles stay as they are. exact: tiles of the family come back as their source's bytes (JPEG XL), by `way`.
    value: the fixed setting of `paper`. floors: the check of `small`. glass: True where a tile shows none but glass;
    left: what stands there, "keep", "shared", "empty" or "paint". blank: the white tile in the level's own form.
    bare: of the glass, where a tile of no bytes may stand with "empty" (None: everywhere); the others are shared.
    tissue: with "paint", pixels outside it become white in tiles that are not all glass.
    """

    board: Board
    family: Family | None = None
    exact: bool = False
    way: Way | None = None
    value: float | None = None
    floors: Floors | None = None
    glass: Grid | None = None
    left: str = "keep"
    blank: bytes | None = None
    tissue: Tissue | None = None
    bare: Grid | None = None

    def is_glass(self, tile: int) -> bool:
        """Whether the tile is left out or painted."""
        return self.glass is not None and self.left != "keep" and bool(self.glass[self.board.place(tile)])

    def stands(self, tile: int) -> str:
        """What stands in the place of a tile of glass: "empty", "shared" or "painted"; "" where the tile itself is coded."""
        if not self.is_glass(tile):
            return ""
        if self.left == "empty" and (self.bare is None or self.bare[self.board.place(tile)]):
            return "empty"
        return "" if self.blank is None else "painted" if self.left == "paint" else "shared"

    def wanted(self, tile: int, stored: bytes) -> Tile:
        """The pixels that are to be shown: the tile's own, its glass painted white where that was asked for."""
        pixels = self.board.pixels(tile, stored)
        if self.tissue is None:
            return pixels
        level, (row, col) = self.board.level, self.board.place(tile)
        held = self.tissue.pixels
        scale = [
            most / (whole * step)
            for most, whole, step in zip(self.tissue.shape, level.shape, self.tissue.step, strict=True)
        ]
        y, x = (
            np.minimum(((at * side + np.arange(side) + 0.5) * by).astype(np.int64), grid - 1)
            for at, side, by, grid in zip((row, col), level.tile, scale, held.shape, strict=True)
        )
        return np.where(held[np.ix_(y, x)][..., None], pixels, np.uint8(255))

    def answer(self, tile: int, stored: bytes) -> Answer:
        """What stands in the output for a stored tile; NoWay when the plan cannot hold it."""
        stands = self.stands(tile)
        if stands == "empty":
            return EMPTY
        if stands and self.blank is not None:
            return Shared(self.blank) if stands == "shared" else self.blank
        if self.family is None:
            return AS_IS
        if self.value is not None:
            return self.family.encode(self.wanted(tile, stored), self.value)
        kept = self._kept(stored)
        if self.exact:
            if kept is None:
                raise NoWay(self.board.number)
            return kept
        assert self.floors is not None
        pixels = self.board.pixels(tile, stored)
        seen = self.board.visible(tile)
        found = smallest(self.family, pixels, self.floors, None if kept is None else len(kept), seen)
        if found is not None:
            return found
        if kept is None and self.family.codec.lossless:
            kept = self.family.encode(pixels, None)
        if kept is None:
            raise NoWay(self.board.number)
        return kept

    def _kept(self, stored: bytes) -> bytes | None:
        """The tile without further loss in the family's compression, None when there is no such form."""
        assert self.family is not None
        level = self.board.level
        if self.family.number == JPEGXL.number:
            return stored if level.compression == "jpegxl" else shrink(stored, self.way) if self.way else None
        # JPEG tiles would have to share their level's colour and subsampling with those that are coded anew
        return stored if self.family is JPEG2000 and level.compression == "jpeg2000" and level.colour == "rgb" else None


def smallest(
    family: Family,
    pixels: Tile,
    floors: Floors,
    below: int | None,
    seen: tuple[slice, slice] = (slice(None), slice(None)),
) -> bytes | None:
    """The tile at the coarsest setting that passes the floors, by bisection; None when none does in fewer than `below`.

    below: bytes of what would be taken otherwise. seen: rows and columns that count, those inside the level.
    """
    low, high, found = 0, len(family.settings), None
    while low < high:
        middle = (low + high) // 2
        coded = family.encode(pixels, family.settings[middle])
        if (below is None or len(coded) < below) and checked(family, pixels, coded, seen).passes(floors):
            found, high = coded, middle
        elif below is not None and len(coded) >= below:
            high = middle  # finer settings take still more
        else:
            low = middle + 1
    return found


def checked(family: Family, pixels: Tile, coded: bytes, seen: tuple[slice, slice]) -> Quality:
    """The quality of what is seen of a coded tile, decoded again."""
    shape: tuple[int, int] = (pixels.shape[0], pixels.shape[1])
    return judge(pixels[seen], family.decode(coded, shape)[seen])


def with_blank(plan: Plan, read: Read) -> Plan:
    """The plan with the tile that stands for glass: white in its family's form, else as the level stores tiles; where
    neither can be made, the smallest stored tile of glass. Unchanged when nothing is left out.
    """
    board, level = plan.board, plan.board.level
    if plan.glass is None or plan.left == "keep" or not plan.glass.any():
        return plan
    if plan.left == "empty" and (plan.bare is None or bool((plan.bare | ~plan.glass).all())):
        return plan
    if plan.family is not None:
        return replace(plan, blank=plan.family.encode(white(level.tile), plan.value or plan.family.paper))
    blank, smallest_glass = None, b""
    for tile in np.flatnonzero([plan.is_glass(tile) for tile in range(level.tiles)]).tolist():
        stored = read(board.number, tile)
        if stored and not smallest_glass:
            blank = blank_like(stored, board.stream(stored), level.compression, level.tile, level.colour)
        if stored and (not smallest_glass or len(stored) < len(smallest_glass)):
            smallest_glass = stored
        if blank is not None:
            break
    return replace(plan, blank=blank or smallest_glass or None)


def tags(plan: Plan, aperio: bool) -> dict[int, Value]:
    """The TIFF tags that change with the plan; None leaves a tag out."""
    family = plan.family
    # GDAL_NODATA: what tifffile fills tiles of no bytes with, black without it
    empty: dict[int, Value] = (
        {42113: "255"} if plan.left == "empty" and plan.glass is not None and plan.glass.any() else {}
    )
    if family is None:
        return empty
    number = family.aperio if aperio and family.aperio else family.number
    # predictor, JPEG tables, and how YCbCr was made: all speak of the stored samples
    changed: dict[int, Value] = {259: number, 317: None, 347: None, 529: None, 530: None, 531: None, 532: None}
    if plan.board.level.colour != "grey":
        changed |= {262: family.photometric, 530: family.subsampling}
    return changed | empty


def spread(board: Board, plan: Plan, read: Read) -> list[tuple[int, bytes]]:
    """Up to SAMPLE stored tiles, evenly spread over those that are not left out."""
    there = [tile for tile in range(board.level.tiles) if not plan.is_glass(tile)]
    chosen = [there[k * len(there) // min(SAMPLE, len(there))] for k in range(min(SAMPLE, len(there)))]
    found = [(tile, read(board.number, tile)) for tile in chosen]
    return [(tile, stored) for tile, stored in found if stored]


def way_of(board: Board, sample: Sequence[tuple[int, bytes]]) -> Way | None:
    """How the level's tiles go into JPEG XL and back; None when one of the sample does not."""
    level = board.level
    if level.compression == "jpeg":
        way: Way | None = Way("jpeg", board.prefix, level.tile)
    elif level.compression in PACKERS and level.colour == "rgb" and sample:
        tile, stored = sample[0]
        inside = board.visible(tile)
        seen = board.pixels(tile, stored)[inside]
        way = plain_way(stored, level.compression, level.tile, lambda got: bool((got[inside] == seen).all()))
    else:
        way = None
    if way is None or any(shrink(stored, way) is None for _, stored in sample):
        return None
    return way


def choose_exact(start: Plan, read: Read) -> Plan:
    """JPEG XL for the level when its sample comes back whole and smaller, else as it is."""
    sample = spread(start.board, start, read)
    way = way_of(start.board, sample)
    if way is None or not sample:
        return start
    planned = replace(start, family=JPEGXL, exact=True, way=way)
    return planned if _cost(planned, sample) < sum(len(stored) for _, stored in sample) else start


def choose_small(start: Plan, floors: Floors, read: Read, families: Mapping[str, Family] = FAMILIES) -> Plan:
    """The family whose passing tiles take the fewest bytes on the sample; the level as it is when none takes fewer."""
    sample = spread(start.board, start, read)
    if not sample:
        return start
    best, least = start, float(sum(len(stored) for _, stored in sample))
    way = way_of(start.board, sample)
    for family in families.values():
        if start.board.level.colour == "grey" and way is None:
            continue
        planned = replace(start, family=family, way=way, floors=floors, exact=start.board.level.colour == "grey")
        cost = _cost(planned, sample)
        if cost < least:
            best, least = planned, cost
    return best


def _cost(plan: Plan, sample: Sequence[tuple[int, bytes]]) -> float:
    total = 0
    for tile, stored in sample:
        try:
            answer = plan.answer(tile, stored)
        except NoWay:
            return float("inf")
        total += len(answer) if isinstance(answer, bytes) else len(stored)
    return float(total)
