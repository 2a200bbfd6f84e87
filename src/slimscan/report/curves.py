"""Ratio against quality for every codec (Cunha 2023, Fig. 9): what the bytes saved cost in pixels."""

from __future__ import annotations

import math
from typing import Any

from slimscan.report.chart import CERTIFIED, colour, marker, ratio_axis, svg
from slimscan.report.html import Html, figure, paragraph, section, table
from slimscan.report.numbers import listed, number, plural, ratio
from slimscan.report.results import Results, median, plain

KEY, TITLE = "curves", "Ratio against quality"


def curves(results: Results) -> Html:
    """The section; says so when no image could be compressed, or every copy is exact."""
    if not results.images:
        return section(KEY, TITLE, paragraph("No image was compressed, so there is nothing to draw.", class_="absent"))
    lossy = [row for rows in results.images.values() for row in rows if math.isfinite(plain(row["psnr_db"]))]
    if not lossy:
        return section(
            KEY, TITLE, paragraph("Every copy equals its original bit for bit: its PSNR is infinite.", class_="absent")
        )
    images = len({row["image"] for row in lossy})
    alt = (
        f"PSNR in decibels against achieved compression ratio, logarithmic, for {listed(results.codecs)}; "
        "the same numbers stand in the table below"
    )
    drawn = svg(lambda canvas: _draw(canvas, results), 4.3, alt, KEY)
    caption = (
        f"PSNR against the achieved compression ratio of {plural(images, 'image')}: each faint mark is one image at one "
        "level, the line joins the medians of the levels. Higher is better; further right is smaller. "
        f"{_peak(results)} {_rings(results)}"
    )
    return section(KEY, TITLE, figure(drawn, caption), _table(results))


def _draw(canvas: Any, results: Results) -> None:
    axes = canvas.add_subplot()
    every = [plain(row["achieved_cr"]) for rows in results.images.values() for row in rows]
    for index, name in enumerate(results.codecs):
        middles = []
        for step, nominal in results.steps(name):
            rows = [row for row in results.images.get((name, step), ()) if math.isfinite(plain(row["psnr_db"]))]
            if not rows:
                continue
            across, up = [plain(row["achieved_cr"]) for row in rows], [plain(row["psnr_db"]) for row in rows]
            axes.scatter(across, up, s=11, color=colour(index), marker=marker(index), alpha=0.22, linewidths=0)
            middles.append((median(across), median(up)))
            codec = results.by_codec.get(name) or {}
            if codec.get("level") is not None and math.isclose(float(codec["level"]), nominal):
                axes.scatter(*middles[-1], s=230, facecolors="none", edgecolors=CERTIFIED, linewidths=2.2, zorder=5)
        if middles:
            axes.plot(
                *zip(*middles, strict=True),
                color=colour(index),
                marker=marker(index),
                markersize=6,
                linewidth=1.8,
                label=name,
            )
    ratio_axis(axes, every)
    axes.set_ylabel("PSNR [dB], higher is better")
    axes.legend(loc="upper right")


def _table(results: Results) -> Html:
    rows: list[list[object]] = []
    for name in results.codecs:
        for step, nominal in results.steps(name):
            found = results.images.get((name, step), ())
            if not found:
                rows.append([name, results.level_text(name, nominal), "not reached by any image", *[number(None)] * 4])
                continue
            across = [plain(row["achieved_cr"]) for row in found]
            quality = [plain(row["psnr_db"]) for row in found]
            off = [plain(row["max_abs_error"]) for row in found]
            raw, kept = sum(int(row["raw_bytes"]) for row in found), sum(int(row["file_bytes"]) for row in found)
            together = ratio(raw / kept) if kept else number(None)
            rows.append(
                [name, results.level_text(name, nominal), ratio(median(across)), f"{ratio(min(across))} to {ratio(max(across))}", together,
                 number(median(quality), 4), number(max(off))]
            )  # fmt: skip
    head = [
        "codec",
        "level",
        "median ratio",
        "least to largest",
        "all files together",
        "median PSNR [dB]",
        "largest error [stored units]",
    ]
    return table(head, rows, left=2)


def _peak(results: Results) -> str:
    peaks = sorted({str(codec.get("peak") or "stored") for codec in results.plan["codecs"]})
    words = {
        "stored": "2^bits \u2212 1 of the stored bits",
        "range": "the range of the original image",
        "dtype": "the largest value of the sample type",
    }
    apart = " PSNRs of different peaks do not compare." if len(peaks) > 1 else ""
    return f"The PSNR's peak is {listed([words.get(peak, peak) for peak in peaks], 'or')}.{apart}"


def _rings(results: Results) -> str:
    some = any((codec or {}).get("level") is not None for codec in results.by_codec.values())
    return "A green ring marks the strongest certified level." if some else "No level is certified, so none is ringed."
