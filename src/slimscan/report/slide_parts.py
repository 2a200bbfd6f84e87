"""Tables and drawings of a slide's page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slimscan.press.slide.check import Checked
from slimscan.report import html
from slimscan.report.chart import INK, colour
from slimscan.report.numbers import DASH, number

WORDS = {True: "holds", False: "does not hold", None: "told"}
BADGES = {True: "badge a", False: "badge no", None: "badge b"}
ANSWERS = {"opens": "badge a", "wrong": "badge no", "refuses": "badge no", "unknown": "badge b"}


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def findings_table(found: Checked) -> html.Html:
    """What was looked at."""
    rows = [
        [one.name, html.tag("span", WORDS[one.passed], class_=BADGES[one.passed]), one.said] for one in found.findings
    ]
    return html.table(("looked at", "", "found"), rows, left=3, caption="Checks against the source.")


def readers_table(found: Checked) -> html.Html:
    """Who opens such a file."""
    if not found.readers:
        return html.paragraph("Nobody wrote down which readers open such a file.", class_="absent")
    rows = [[one.name, html.tag("span", one.answer, class_=ANSWERS[one.answer]), one.why] for one in found.readers]
    return html.table(("reader", "", ""), rows, left=3, caption="Known readers, from what such files did to them.")


def levels_table(found: Checked) -> html.Html:
    """A line a level."""
    head = (
        "level", "at", "tiles", "looked at", "same", "left out", "PSNR, dB", "SSIM", "MS-SSIM", "lowest SSIM", "bits a pixel",
        "saved", "saved of JPEG 90", "reading a tile, ms", "of the source, ms",
    )  # fmt: skip
    rows = [
        [
            str(one.level), DASH if one.magnification is None else f"{one.magnification:.3g}x", str(one.tiles or DASH), str(one.looked),
            str(one.same), str(one.left_out), "exact" if math.isinf(one.psnr_db) else number(one.psnr_db), _four(one.ssim),
            _four(one.ms_ssim), _four(one.lowest), number(one.bpp), _percent(one.saved),
            DASH if one.saved_jpeg90 is None else _percent(one.saved_jpeg90), number(one.decode_ms), number(one.decode_source_ms),
        ]
        for one in found.lines
    ]  # fmt: skip
    caption = "Tiles of tissue that were not left out; saved: of those tiles that were looked at, beside the source's and beside JPEG of quality 90."
    return html.table(head, rows, caption=caption, dense=True)


def ladder_drawn(figure: Any, *, names: Sequence[str], counts: Sequence[int]) -> None:
    """A bar a file."""
    axes = figure.add_subplot()
    axes.barh(range(len(names)), counts, color=[INK if n == 0 else colour(0) for n in range(len(names))], height=0.6)
    for n, count in enumerate(counts):
        axes.text(count, n, f"  {size(count)}, {100 * count / counts[0]:.0f} %", va="center")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, max(counts) * 1.25)
    axes.set_xticks([])
    axes.grid(visible=False)


def _four(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.4f}"


def _percent(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.1f}\u00a0%".replace("-", "\u2212")
