"""The protocol over one's slides: pyramids and patches of each, kept slide by slide in the folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.files.slides import open_slide
from slimscan.nouns.slide import Slide
from slimscan.press.slide.measure import Row, Summary, by_magnification, difference, measured, summary, through, worst
from slimscan.press.slide.sample import Patch, magnification, patches
from slimscan.press.staging import staged
from slimscan.study.recipes.wsi2025.pyramids import Pyramid, pyramids, saved, tissue, told, white_tile
from slimscan.study.recipes.wsi2025.words import Protocol

FORMAT = 1  # of a slide's JSON
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Picture:
    """The worst patch of a codec (Figs 9 and 10), and what every other codec makes of the same patch."""

    row: Row
    original: NDArray[np.uint8]
    decoded: NDArray[np.uint8]
    difference: NDArray[np.float64]
    ssim: Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """Everything that the page shows. slides: facts of each. white: bytes of a white tile of 256 by codec."""

    protocol: Protocol
    slides: tuple[Mapping[str, Any], ...]
    rows: tuple[Row, ...]
    lines: tuple[Summary, ...]
    magnifications: Mapping[tuple[str, float], Summary]
    pyramids: tuple[Pyramid, ...]
    saved: Mapping[tuple[str, str, str], float]
    white: Mapping[str, int]
    worst: tuple[Picture, ...]


def run(protocol: Protocol, folder: Path, progress: Progress | None = None) -> Found:
    """Measure every slide into folder/slides/NAME.json, and draw the conclusions.

    A slide that was measured under the same words is not measured again. Errors name the slide.
    """
    parts = [
        _kept(protocol, name, path, folder / "slides" / f"{name}.json", progress) for name, path in protocol.slides
    ]
    rows = tuple(Row(**row) for part in parts for row in part["rows"])
    found = tuple(Pyramid(**one) for part in parts for one in part["pyramids"])
    if not rows and not found:
        raise InputError("no slide gave a patch or a pyramid; look at [patches] and [pyramids]")
    return Found(
        protocol,
        tuple(part["slide"] for part in parts),
        rows,
        tuple(summary(rows)),
        by_magnification(rows),
        found,
        saved(found, protocol.said["codecs"]["against"]),
        {name: white_tile(*one) for name, one in protocol.codecs.items()},
        tuple(worst_pictures(protocol, rows)),
    )


def _kept(protocol: Protocol, name: str, path: Path, place: Path, progress: Progress | None) -> dict[str, Any]:
    """The slide's JSON from the folder, or measured now and written there."""
    stamp = _stamp(protocol, path)
    if place.exists():
        try:
            known: dict[str, Any] = _finite(json.loads(place.read_text("utf-8")))
        except ValueError:
            known = {}
        if known.get("stamp") == stamp:
            return known
    with open_slide(path) as slide:
        found = {"stamp": stamp, **slide_measured(protocol, name, slide, progress)}
    place.parent.mkdir(parents=True, exist_ok=True)
    with staged(place, force=True) as stage:
        stage.path.write_text(json.dumps(_plain(found), indent=1), "utf-8")
    return found


def _stamp(protocol: Protocol, path: Path) -> str:
    """What decides a slide's numbers: the words, how many slides share the patches, and the file's size and time."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    seen = [[one.name, one.stat().st_size, one.stat().st_mtime_ns] for one in files]
    words = {name: protocol.said[name] for name in ("patches", "codecs", "pyramids")}
    power = protocol.said["slides"]["magnification"]
    return hashlib.sha256(
        json.dumps([FORMAT, words, power, len(protocol.slides), seen], sort_keys=True).encode()
    ).hexdigest()


def slide_measured(protocol: Protocol, name: str, slide: Slide, progress: Progress | None = None) -> dict[str, Any]:
    """One slide: {"slide": ..., "rows": [...], "pyramids": [...]}."""
    said = protocol.said["pyramids"]
    power = _power(protocol, slide)
    seen = tissue(slide, power, said["magnification"], protocol.methods)
    whole = pyramids(
        slide, name, protocol.codecs, said["glass"], seen,
        margin=said["margin"], most=said["most"], seed=protocol.said["patches"]["seed"], progress=progress,
    )  # fmt: skip
    rows = []
    for wanted in protocol.said["patches"]["magnifications"]:
        drawn = _patches(protocol, name, slide, wanted)
        mine = list(
            measured(protocol.codecs, protocol.said["codecs"]["against"], drawn, protocol.said["patches"]["repeats"])
        )
        rows += [asdict(row) for row in mine]
        if progress is not None:
            progress(f"{name}, patches at {wanted:g}x", 1, 1)
    facts = {
        "name": name,
        "format": slide.format,
        "levels": [list(one.shape) for one in slide.levels],
        "compression": sorted({one.compression for one in slide.levels}),
        "magnification": power,
        "tissue_percent": 100 * seen.share,
        "tiles": sum(one.tiles for one in slide.levels),
        "stored_bytes": _stored(slide),
    }
    return {"slide": facts, "rows": rows, "pyramids": told(whole)}


def _power(protocol: Protocol, slide: Slide) -> float:
    given = protocol.said["slides"]["magnification"]
    if slide.magnification is None and slide.mpp is None and given:
        return float(given)
    return magnification(slide)


def _patches(protocol: Protocol, name: str, slide: Slide, wanted: float) -> Any:
    said = protocol.said["patches"]
    return patches(
        slide, wanted, size=said["size"], share=said["tissue"], most=math.ceil(said["most"] / len(protocol.slides)),
        seed=said["seed"], power=_power(protocol, slide), name=name,
    )  # fmt: skip


def _stored(slide: Slide) -> int | None:
    """Bytes of the tiles as they lie in the file; None where a format hands out no tiles."""
    if not all(one.tiles for one in slide.levels):
        return None
    return sum(
        len(slide.tile(index, row, col))
        for index, one in enumerate(slide.levels)
        for row in range(one.grid[0])
        for col in range(one.grid[1])
    )


def worst_pictures(protocol: Protocol, rows: tuple[Row, ...]) -> list[Picture]:
    """The worst patch of every codec, drawn again from its slide."""
    out = []
    for name, (codec, value) in protocol.codecs.items():
        for row in worst(rows, name):
            patch = _again(protocol, row)
            if patch is None:
                continue
            _, back, _, _ = through(codec, value, patch.pixels)
            same = {
                one.codec: one.ssim
                for one in rows
                if (one.slide, one.magnification, one.y, one.x) == (row.slide, row.magnification, row.y, row.x)
            }
            out.append(Picture(row, patch.pixels, back, difference(patch.pixels, back), same))
    return out


def _again(protocol: Protocol, row: Row) -> Patch | None:
    with open_slide(dict(protocol.slides)[row.slide]) as slide:
        for patch in _patches(protocol, row.slide, slide, row.magnification):
            if (patch.y, patch.x) == (row.y, row.x):
                return patch  # type: ignore[no-any-return]
    return None


def _plain(value: Any) -> Any:
    """JSON has no infinity: it is written as a word."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return float(value) if value in ("inf", "nan") else value
