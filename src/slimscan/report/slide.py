"""The page of one slide and what was made of it: the ladder of sizes, what was left out, every level, the worst tiles,
what was checked and who opens it. One HTML file that needs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slimscan.files.slides import open_slide
from slimscan.nouns.slide import Slide
from slimscan.press.slide import tissue
from slimscan.press.slide.check import Checked, check
from slimscan.press.slide.compare import TileRow, pictures, pooled, worst
from slimscan.press.slide.facts import left_out
from slimscan.press.slide.ledger import read_ledger
from slimscan.press.slide.scaled import fitting
from slimscan.press.staging import admit_output, staged
from slimscan.report import html
from slimscan.report.chart import png
from slimscan.report.slide_parts import findings_table, ladder_drawn, levels_table, readers_table, size
from slimscan.report.style import STYLE
from slimscan.report.wsi2025_figures import drawn

SIDE = 1000  # of the thumbnail
WORST = 3  # tiles of each output


@dataclass(frozen=True)
class Step:
    """One output of the ladder. name: its profile where the file says it, else its file's name."""

    name: str
    checked: Checked
    worst: tuple[tuple[TileRow, NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]], ...]


def write_slide_report(
    source: Path,
    outputs: Sequence[Path],
    place: Path,
    *,
    most: int | None = 64,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, tuple[Checked, ...]]:
    """Check every output against the source, and write the page; (its path, what was found).

    most: tiles a level that are looked at, None: all. Errors as for `check`; OutputError when the page cannot be written, or would
    stand where one of the slides does.
    """
    for slide in (source, *outputs):
        admit_output(place, force, slide)
    steps: list[Step] = []
    with open_slide(source) as before:
        for path in outputs:
            found = check(path, source, most=most, seed=seed, jpeg90=True, progress=progress)
            with open_slide(path) as after:
                shown = tuple((row, *pictures(before, after, row)) for row in worst(found.rows, WORST))
            steps.append(Step(_named(path, steps), found, shown))
        text = page(before, steps)
    with staged(place, force) as stage:
        stage.path.write_text(text, "utf-8")
    return place, tuple(step.checked for step in steps)


def _named(path: Path, before: Sequence[Step]) -> str:
    ledger = read_ledger(path) if path.is_file() else None
    said = {} if ledger is None else dict(ledger.about.get("receipt") or {})
    profile = str(said.get("profile") or (ledger.about.get("profile", "") if ledger else ""))
    glass = str(said.get("glass") or "")
    name = f"{profile}, glass {glass}" if profile and glass and glass != "keep" else profile or path.name
    return name if all(step.name != name for step in before) else f"{name} ({path.name})"


def page(source: Slide, steps: Sequence[Step]) -> str:
    """The page as text."""
    name = source.path.name
    parts = [
        html.tag("h1", f"{name}: what it became"),
        html.paragraph(_about(source), class_="question"),
        _ladder(steps),
        _glass(source, steps),
        *(_output(step) for step in steps),
        html.tag("footer", "Made by slimscan from the two files and nothing else."),
    ]
    head = html.join(
        [
            html.tag("meta", charset="utf-8"),
            html.tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            html.tag("title", f"{name}: what it became"),
            html.tag("style", html.Html(STYLE)),
        ]
    )
    body = html.tag("body", html.tag("main", *parts))
    return "<!DOCTYPE html>\n" + html.tag("html", html.tag("head", head), body, lang="en") + "\n"


def _about(source: Slide) -> str:
    height, width = source.levels[0].shape
    power = f" at {source.magnification:g}x" if source.magnification else ""
    scale = f", {source.mpp[1]:.3g} micrometres a pixel" if source.mpp else ""
    stored = " and ".join(dict.fromkeys(one.compression for one in source.levels if one.compression))
    return f"{width} x {height} pixels{power}{scale}; {len(source.levels)} level{'s' if len(source.levels) > 1 else ''}{f', tiles stored as {stored}' if stored else ''}."


def _ladder(steps: Sequence[Step]) -> html.Html:
    whole = steps[0].checked.source_facts
    start = whole.bytes if whole else 0
    rows: list[list[object]] = [["source", size(start), "", "", "", "", ""]]
    for step in steps:
        kept = [row for row in step.checked.rows if row.fate != "left out" and row.tissue > 0]
        ssim = [row.ssim for row in kept if row.ssim == row.ssim]
        psnr = pooled(kept)
        opened = [one.name for one in step.checked.readers if one.answer == "opens"]
        rows.append(
            [
                step.name, size(step.checked.facts.bytes), f"{100 * (1 - step.checked.facts.bytes / start):.1f} %" if start else "",
                "no pixel differs" if psnr == float("inf") else f"{psnr:.1f} dB" if kept else "",
                f"{sum(ssim) / len(ssim):.4f}" if ssim else "", f"{min(ssim):.4f}" if ssim else "",
                f"{len(opened)} of {len(step.checked.readers)}" if step.checked.readers else "",
            ]
        )  # fmt: skip
    names = ["source", *(step.name for step in steps)]
    counts = [start, *(step.checked.facts.bytes for step in steps)]
    chart = png(partial(ladder_drawn, names=names, counts=counts), (10.4, 1.0 + 0.4 * len(names)), dpi=110)
    return html.section(
        "ladder", "The ladder",
        html.table(
            ("", "bytes", "saved", "PSNR of tissue", "SSIM of tissue", "lowest SSIM of a tile", "known readers that open it"), rows,
            caption="Whole files; likeness over the tiles of tissue that were looked at, as many from each level. SSIM is the mean of R, G and B, which is stricter than luma alone.",
        ),
        html.figure(html.image(chart, "bytes of every file"), "Bytes of every file."),
    )  # fmt: skip


def _glass(source: Slide, steps: Sequence[Step]) -> html.Html:
    """The slide with what the output that leaves out the most leaves out."""
    grids = []
    for step in steps:
        with open_slide(step.checked.path) as out:
            gone, known = left_out(out, 0), left_out(source, 0)
            grid = np.zeros(out.levels[0].grid if out.levels[0].tiles else (0, 0), bool)
            for place in gone:
                if place not in known:
                    grid[place] = True
        grids.append((int(grid.sum()), step.name, grid))
    count, name, grid = max(grids, key=lambda one: one[0])
    if count:
        level = source.levels[0]
        seen = tissue.found(source)
        picture = tissue.picture(source, seen, {0: grid}, 0, SIDE)
        said = (
            f"{name}: {count} of {level.tiles} tiles of level 0 are left out (blue); the red line is the edge of what "
            f"{', '.join(seen.how)} call tissue today, {100 * seen.share:.0f} % of the slide."
        )
    else:
        picture = fitting(source, SIDE).whole()
        said = "The slide. Nothing was left out of it by any of these."
    from slimscan.report.slide_tiles import png as exact

    return html.section("glass", "What was left out", html.figure(html.image(exact(picture), said), said, wide=False))


def _output(step: Step) -> html.Html:
    found = step.checked
    parts: list[object] = [
        html.paragraph(f"{found.path.name}: {'everything that was promised holds' if found.passed else 'something that was promised does not hold'}."),
        findings_table(found), levels_table(found), readers_table(found),
    ]  # fmt: skip
    if step.worst:
        parts.append(html.tag("h3", "Worst tiles"))
    for row, before, after, difference in step.worst:
        said = f"Level {row.level}, row {row.row}, column {row.col}: SSIM {row.ssim:.3f}, {row.psnr_db:.1f} dB, {row.stored} bytes ({row.stored_source} in the source)."
        photo = png(partial(drawn, before=before, after=after, difference=difference), (10.4, 3.9), dpi=110)
        parts.append(html.figure(html.image(photo, said), said))
    return html.section(f"of-{found.path.name}", step.name, *parts)
