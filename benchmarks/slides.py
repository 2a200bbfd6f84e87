"""A slide of 100,000 x 100,000 pixels rewritten: memory, time, who opens it, how fast it is read, beside libvips.

    python benchmarks/slides.py [--side 100000] [--vips-side 30000] [--quick] [--folder DIR]

The slide is made from the tiles of CMU-1-Small-Region.svs (in the folder that SLIMSCAN_DATA names), repeated: tissue in a
few ellipses, glass elsewhere, on three levels (1, 4, 16), with its thumbnail, label and macro. Every tile is written out,
none is shared, as scanners do. Tiles of the coarser levels are real tiles too, not means of the finer ones. Each step runs
in a process of its own; peak is the most memory that the system saw it hold (ru_maxrss), with Python and numpy.

as is       every tile copied.
compatible  tiles of glass point to one blank tile a level.
empty       tiles of glass are empty where no tissue of a coarser level gets slow by it, else they share a blank tile.
all empty   tiles of glass are empty: on an Aperio slide OpenSlide then draws coarser levels anew, from finer ones, tissue too.
JPEG        each tile of level 0 decoded and encoded anew (quality 85, 4:2:0), on all cores; libvips does the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import data, table, where

from slimscan.each import threads
from slimscan.files.slides import open_slide
from slimscan.files.slides.rewrite import AS_IS, EMPTY, Answer, Shared, rewrite
from slimscan.files.slides.rewrite_blank import drawn_anew, may_be_empty
from slimscan.files.slides.rewrite_ifd import Page, structure
from slimscan.files.slides.rewrite_lay import HEADER, entry, numbers, with_tags
from slimscan.files.slides.rewrite_new import finish, with_beside

SOURCE = "wsi_he/cmu_small_region.svs"
STEPS = (1, 4, 16)
LIMIT_BYTES = 500e6
QUALITY = 85
# Centres and half axes (y, x) of the tissue, in parts of the side: a fifth of the slide.
ELLIPSES = ((0.3, 0.35, 0.16, 0.2), (0.65, 0.6, 0.14, 0.12), (0.25, 0.75, 0.08, 0.1), (0.8, 0.25, 0.07, 0.11))
FORMS = ("as is", "compatible", "empty", "all empty")


@dataclass(frozen=True)
class Parts:
    """Tiles of the real slide (rows, columns) as stored, and which of them show glass (rows, columns)."""

    tiles: list[list[bytes]]
    glass: np.ndarray


def real() -> Path:
    """The real slide; ends with one line when there is none."""
    folder = data()
    if folder is None or not (folder / SOURCE).is_file():
        sys.exit(f"set SLIMSCAN_DATA to the folder that holds {SOURCE}")
    return folder / SOURCE


def parts() -> Parts:
    """The tiles of the real slide, glass where the darkest hundredth of the pixels is bright."""
    with open_slide(real()) as slide:
        (rows, cols), (th, tw) = slide.levels[0].grid, slide.levels[0].tile
        tiles = [[slide.tile(0, r, c) for c in range(cols)] for r in range(rows)]
        pixels = [[slide.read(0, r * th, c * tw, th, tw) for c in range(cols)] for r in range(rows)]
    glass = np.array([[np.quantile(one.min(axis=-1), 0.01) > 190 for one in row] for row in pixels])
    return Parts(tiles, glass)


def grids(side: int, held: Parts) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each level its side in pixels, the real tile at each place (rows, cols, 2), and True where that shows glass."""
    bare, shown = np.argwhere(held.glass), np.argwhere(~held.glass)
    found: list[tuple[int, np.ndarray, np.ndarray]] = []
    for step in STEPS:
        long = -(-side // step)
        count = -(-long // 240)
        y, x = np.mgrid[:count, :count]
        outside = bare[(y * 31 + x * 17) % len(bare)]
        if not found:
            tissue = np.zeros((count, count), bool)
            for cy, cx, hy, hx in ELLIPSES:
                tissue |= ((y + 0.5) / count - cy) ** 2 / hy**2 + ((x + 0.5) / count - cx) ** 2 / hx**2 < 1
            inside = np.stack([y % held.glass.shape[0], x % held.glass.shape[1]], axis=-1)
        else:  # glass where all tiles below are
            fine = np.pad(found[-1][2], [(0, 4 * count - len(found[-1][2]))] * 2, constant_values=True)
            tissue = ~fine.reshape(count, 4, count, 4).all(axis=(1, 3))
            inside = shown[(y * 31 + x * 17) % len(shown)]
        which = np.where(tissue[..., None], inside, outside)
        found.append((long, which, held.glass[which[..., 0], which[..., 1]]))
    return found


def generate(path: Path, side: int) -> None:
    """Write the slide; nothing but lists of places is held."""
    source, held = real(), parts()
    old = structure(source)
    pages: list[Page] = []
    with path.open("w+b") as file:
        file.write(bytes(HEADER))
        for long, which, _ in grids(side, held):
            at, lengths = [], []
            for row, col in which.reshape(-1, 2).tolist():
                payload = held.tiles[row][col]
                at.append(file.tell())
                lengths.append(len(payload))
                file.write(payload)
            new = {tag: entry(tag, long, "<", old.pages[0].entry(tag)) for tag in (256, 257)}
            pages.append(
                with_tags(old.pages[0], {**new, 324: numbers(324, at, "<", 4), 325: numbers(325, lengths, "<", 4)})
            )
        finish(file, with_beside(pages, file, source, old))


def answer(
    grid: dict[int, np.ndarray], empty: dict[int, np.ndarray], blank: bytes, page: int, index: int, stored: bytes
) -> Answer:
    """A tile of the forms that leave glass out."""
    del stored
    return EMPTY if empty[page].flat[index] else Shared(blank) if grid[page].flat[index] else AS_IS


def form(source: Path, out: Path, side: int, name: str) -> dict[str, Any]:
    """One of FORMS; what the rewriting says, and how many tiles OpenSlide draws anew."""
    held = parts()
    glass = dict(enumerate(grid for _, _, grid in grids(side, held)))
    with open_slide(source) as slide:
        levels = slide.levels
    free = glass if name == "all empty" else may_be_empty(levels, glass)
    none = {k: np.zeros_like(grid) for k, grid in glass.items()}
    empty = free if "empty" in name else none
    numbered = [level.page for level in levels]
    blank = held.tiles[int(np.argwhere(held.glass)[0][0])][int(np.argwhere(held.glass)[0][1])]
    by_page = partial(
        answer,
        *(
            {number: grid[k] for k, number in enumerate(numbered)}
            for grid in (none if name == "as is" else glass, empty)
        ),
        blank,
    )
    done = rewrite(source, out, by_page)
    return {"rewritten": done.__dict__, "anew": drawn_anew(levels, empty)}


def again(tables: bytes, page: int, index: int, stored: bytes) -> bytes:
    """A tile decoded and encoded anew."""
    import imagecodecs

    del page, index
    pixels = imagecodecs.jpeg8_decode(stored, tables=tables, colorspace="RGB", outcolorspace="RGB")
    return imagecodecs.jpeg8_encode(pixels, QUALITY, colorspace="RGB", outcolorspace="YCBCR", subsampling="420")


def recode(source: Path, out: Path) -> dict[str, Any]:
    """Level 0 as JPEG by our rewriter."""
    found = structure(source)
    held = found.pages[0].entry(347)
    tags = {0: {262: 6, 347: None, 530: (2, 2)}}
    done = rewrite(source, out, partial(again, held.raw if held else b""), pages={0}, tags=tags, each=threads())  # type: ignore[arg-type]
    return {"rewritten": done.__dict__}


def by_vips(source: Path, out: Path) -> dict[str, Any]:
    """Level 0 as JPEG by libvips."""
    import pyvips

    image = pyvips.Image.tiffload(str(source), page=0, access="sequential")
    image.tiffsave(str(out), tile=True, tile_width=240, tile_height=240, compression="jpeg", Q=QUALITY, bigtiff=False)
    return {}


def places(side: int, level: int, tissue: bool, count: int) -> np.ndarray:
    """(count, 2): x and y of level 0 at the corners of tiles of tissue, or of glass, of a level."""
    grid = grids(side, parts())[level][2]
    found = np.argwhere(grid != tissue)
    chosen = found[np.linspace(0, len(found) - 1, count).astype(int)]
    return np.asarray(chosen[:, ::-1] * 240 * STEPS[level])


def read_back(path: Path, level: int, side: int) -> dict[str, Any]:
    """Milliseconds of a region of one tile of that level in OpenSlide, of tissue and of glass, and what it says of the file."""
    import openslide

    seconds = {}
    for name, tissue in (("tissue", True), ("glass", False)):
        asked = places(side, level, tissue, 30)
        with openslide.OpenSlide(path) as slide:
            start = time.process_time()
            for x, y in asked.tolist():
                slide.read_region((x, y), level, (240, 240))
            seconds[name] = (time.process_time() - start) / len(asked) * 1e3
    with openslide.OpenSlide(path) as slide:
        return {**seconds, "names": sorted(slide.associated_images), "levels": slide.level_count}


def equal(source: Path, out: Path, side: int) -> dict[str, Any]:
    """Tiles of tissue of levels 0 and 1, properties and pictures compared in OpenSlide."""
    import openslide

    with openslide.OpenSlide(source) as a, openslide.OpenSlide(out) as b:
        said = {key for key in {*a.properties, *b.properties} if a.properties.get(key) != b.properties.get(key)}
        pictures = all(
            np.array_equal(np.asarray(a.associated_images[key]), np.asarray(b.associated_images[key]))
            for key in a.associated_images
        )
        asked = [((int(x), int(y)), level, (240, 240)) for level in range(2) for x, y in places(side, level, True, 20)]
        same = sum(np.array_equal(np.asarray(a.read_region(*one)), np.asarray(b.read_region(*one))) for one in asked)
    return {"properties": sorted(said), "pictures": pictures, "regions": f"{same} of {len(asked)}"}


def child(step: str, source: Path, out: Path, side: int) -> dict[str, Any]:
    """One step, in this process."""
    if step == "generate":
        generate(source, side)
        return {}
    if step in FORMS:
        return form(source, out, side, step)
    if step == "JPEG":
        return recode(source, out)
    if step == "vips":
        return by_vips(source, out)
    if step == "equal":
        return equal(source, out, side)
    return read_back(out, int(step.rsplit(" ", 1)[1]), side)


def run(step: str, source: Path, out: Path, side: int) -> dict[str, Any]:
    """One step in a process of its own: what it says, with `seconds` and `peak` bytes."""
    command = [sys.executable, __file__, "--one", step, str(source), str(out), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{step}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def forms(folder: Path, side: int) -> bool:
    """The table of FORMS; True when memory stays within the limit."""
    source = folder / "source.svs"
    made = run("generate", source, source, side)
    size = source.stat().st_size
    base = run("read 1", source, source, side)
    rows, fits = [], made["peak"] < LIMIT_BYTES
    for name in FORMS:
        out = folder / "out.svs"
        got, seen, same = (run(step, source, out, side) for step in (name, "read 1", "equal"))
        fits &= got["peak"] < LIMIT_BYTES
        done = got["rewritten"]
        rows.append(
            (
                name,
                f"{out.stat().st_size / 1e6:.1f}",
                f"{out.stat().st_size / size:.3f}",
                f"{done['shared']} / {done['empty']}",
                f"{got['seconds']:.1f}",
                f"{got['peak'] / 1e6:.0f}",
                f"{seen['tissue'] / base['tissue']:.2f} / {seen['glass'] / base['glass']:.1f}",
                str(got["anew"]),
                f"{same['regions']} equal, {'pictures equal' if same['pictures'] else 'PICTURES DIFFER'}"
                + "".join(f", {key.rsplit('.', 1)[1]} differs" for key in same["properties"]),
            )
        )
        out.unlink()
    print(f"{side} x {side}: {done['tiles']} tiles and strips, {size / 1e6:.1f} MB, made in {made['seconds']:.1f} s")
    print(f"OpenSlide: {seen['levels']} levels, {', '.join(seen['names'])}")
    print(
        f"A tile of level 1 of the source takes {base['tissue']:.1f} ms of a core (tissue), {base['glass']:.1f} (glass)\n"
    )
    heads = (
        "form",
        "MB",
        "of source",
        "shared / empty",
        "s",
        "peak MB",
        "level 1, tissue / glass",
        "drawn anew",
        "in OpenSlide",
    )
    print(table(heads, rows))
    source.unlink()
    return fits


def beside_vips(folder: Path, side: int) -> None:
    """Seconds of the JPEG path and of libvips for the same pixels, in turns."""
    source, out = folder / "source.svs", folder / "out.svs"
    run("generate", source, source, side)
    ours, theirs = [], []
    for _ in range(2):
        ours.append(run("JPEG", source, out, side))
        theirs.append(run("vips", source, out, side))
        copied = run("compatible", source, out, side)
    best, vips = (min(one["seconds"] for one in found) for found in (ours, theirs))
    print(f"\n{side} x {side}, level 0 decoded and encoded as JPEG, quality {QUALITY}")
    rows = [
        (name, f"{one['seconds']:.2f}", f"{one['seconds'] / vips:.2f}", f"{one['cpu']:.1f}", f"{one['peak'] / 1e6:.0f}")
        for name, one in (
            ("libvips", {**theirs[0], "seconds": vips}),
            ("JPEG", {**ours[0], "seconds": best}),
            ("compatible", copied),
        )
    ]
    print(table(("what", "s", "of libvips", "s of a core", "peak MB"), rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every step stayed within the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100_000, help="pixels of the slide's side")
    parser.add_argument(
        "--vips-side", type=int, default=30_000, help="side of the slide that libvips encodes too, 0 for none"
    )
    parser.add_argument("--quick", action="store_true", help="a slide of 12,000 x 12,000")
    parser.add_argument("--folder", type=Path, help="where the slides are made: 3 GB, removed at the end")
    parser.add_argument("--one", nargs=4, metavar=("STEP", "SOURCE", "OUT", "SIDE"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        step, source, out, side = asked.one
        start = time.perf_counter()
        found = child(step, Path(source), Path(out), int(side))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print(json.dumps({**found, "seconds": time.perf_counter() - start, "cpu": time.process_time(), "peak": peak}))
        return 0
    os.environ.setdefault("VIPS_WARNING", "0")
    print(where())
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        fits = forms(Path(made), 12_000 if asked.quick else asked.side)
        if asked.vips_side:
            beside_vips(Path(made), 6_000 if asked.quick else asked.vips_side)
    if not fits:
        print(f"a step took more than {LIMIT_BYTES / 1e6:.0f} MB")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
