"""Fig. 6: the tiles of a whole pyramid through every codec, with glass kept, painted white, or stored as zero-byte tiles.

What is counted is the tiles' own bytes, which is all that changes; a file adds its tables, its label and its macro.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.each import threads
from slimscan.nouns import Codec, Layout
from slimscan.nouns.slide import Slide
from slimscan.press.slide.sample import magnification, places
from slimscan.press.slide.scaled import scaled
from slimscan.regions.tissue import METHODS, Tissue, glass, united

RGB = NDArray[np.uint8]
PIECE = (256, 256)  # where a format hands out no tiles; also the paper's patches


@dataclass(frozen=True)
class Pyramid:
    """One slide through one codec. bytes: of all tiles; an estimate where `looked` is under `tiles`. seconds: to encode
    the tiles that were looked at. glass_tiles: those of glass alone.
    """

    slide: str
    codec: str
    glass: str
    bytes: float
    tiles: int
    looked: int
    glass_tiles: int
    seconds: float


def tissue(slide: Slide, power: float | None, wanted: float, methods: Sequence[str]) -> Tissue:
    """Where any of the masks sees tissue, made at one magnification (the level's own where the slide has less)."""
    seen = scaled(slide, max(1.0, (power or magnification(slide)) / wanted))
    picture = seen.whole()
    return united(Tissue(METHODS[name](picture), seen.step, slide.levels[0].shape, (name,)) for name in methods)


def pyramids(
    slide: Slide,
    name: str,
    codecs: Mapping[str, tuple[Codec, float | None]],
    kinds: Sequence[str],
    seen: Tissue,
    *,
    margin: float = 0.0,
    most: int = 4000,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Pyramid]:
    """A Pyramid for every codec and kind of glass. Edge tiles are filled with white. Source: wsi2025, sections 2.2.5, 2.4."""
    total: dict[tuple[str, str], list[float]] = {(codec, kind): [0.0, 0.0] for codec in codecs for kind in kinds}
    tiles = looked = empty = 0.0
    for index, level in enumerate(slide.levels):
        tile = level.tile if level.tiles else PIECE
        gone = glass(seen, level.shape, tile, margin)
        chosen = places(level, tile, most, seed + index)
        weight = gone.size / len(chosen)
        work = threads()

        def one(
            place: tuple[int, int], index: int = index, tile: tuple[int, int] = tile, gone: NDArray[np.bool_] = gone
        ) -> dict[tuple[str, str], tuple[int, float]]:
            return _tile(slide, index, place, tile, bool(gone[place]), codecs, kinds, seen)

        for found in work(one, chosen):
            for key, (count, seconds) in found.items():
                total[key][0] += weight * count
                total[key][1] += seconds
            if progress is not None:
                progress(f"{name}, level {index}", 1, len(chosen))
        tiles, looked, empty = tiles + gone.size, looked + len(chosen), empty + float(gone.sum())
    return [
        Pyramid(name, codec, kind, held[0], int(tiles), int(looked), int(empty), held[1])
        for (codec, kind), held in total.items()
    ]


def _tile(
    slide: Slide, index: int, place: tuple[int, int], tile: tuple[int, int], gone: bool,
    codecs: Mapping[str, tuple[Codec, float | None]], kinds: Sequence[str], seen: Tissue,
) -> dict[tuple[str, str], tuple[int, float]]:  # fmt: skip
    """(codec, kind) -> (bytes, seconds) of one tile."""
    y, x = place[0] * tile[0], place[1] * tile[1]
    pixels = slide.read(index, y, x, *tile)
    kept = _part(seen, slide.levels[index].shape, y, x, tile)
    painted = np.where(kept[..., None], pixels, np.uint8(255))
    same = bool(np.array_equal(painted, pixels))
    out = {}
    for name, (codec, value) in codecs.items():
        if "kept" in kinds or same:
            whole = _encoded(codec, value, pixels)
        if set(kinds) - {"kept"}:
            white = whole if same else _white(name, codec, value, tile) if gone else _encoded(codec, value, painted)
        for kind in kinds:
            out[name, kind] = whole if kind == "kept" else (0, 0.0) if gone and kind == "zero-byte" else white
    return out


def _part(seen: Tissue, shape: tuple[int, int], y: int, x: int, tile: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask over a tile, pixel for pixel (nearest)."""
    rows = np.clip(
        ((np.arange(y, y + tile[0]) + 0.5) * seen.shape[0] / shape[0] / seen.step[0]).astype(np.int64),
        0,
        seen.pixels.shape[0] - 1,
    )
    cols = np.clip(
        ((np.arange(x, x + tile[1]) + 0.5) * seen.shape[1] / shape[1] / seen.step[1]).astype(np.int64),
        0,
        seen.pixels.shape[1] - 1,
    )
    return np.asarray(seen.pixels[np.ix_(rows, cols)])


def _encoded(codec: Codec, value: float | None, pixels: RGB) -> tuple[int, float]:
    start = time.perf_counter()
    count = len(codec.encode(pixels[None], Layout((1, *pixels.shape), "uint8", 8), value))
    return count, time.perf_counter() - start


_KNOWN: dict[Any, tuple[int, float]] = {}


def _white(name: str, codec: Codec, value: float | None, tile: tuple[int, int]) -> tuple[int, float]:
    """A tile that is all white, encoded once."""
    if (name, tile) not in _KNOWN:
        _KNOWN[name, tile] = (_encoded(codec, value, np.full((*tile, 3), 255, np.uint8))[0], 0.0)
    return _KNOWN[name, tile]


def white_tile(codec: Codec, value: float | None, side: int = 256) -> int:
    """Bytes of a tile that is all white. Source: wsi2025, sections 2.2.5 and 4.2."""
    return _encoded(codec, value, np.full((side, side, 3), 255, np.uint8))[0]


def saved(found: Sequence[Pyramid], against: str) -> dict[tuple[str, str, str], float]:
    """(slide, codec, glass) -> percent less than the codec `against` with its glass. Source: wsi2025, section 2.2.5."""
    base = {one.slide: one.bytes for one in found if (one.codec, one.glass) == (against, "kept")}
    return {
        (one.slide, one.codec, one.glass): 100 * (1 - one.bytes / base[one.slide])
        for one in found
        if base.get(one.slide)
    }


def told(found: Sequence[Pyramid]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(one) for one in found]
