"""The figures of the protocol of Luu 2021: ratios (Fig. 5), times (Fig. 6), and the sweep of K and iterations (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slimscan.report.chart import INK, SOFT, colour, marker
from slimscan.study.recipes.luu2021.coders import coders
from slimscan.study.recipes.luu2021.evidence import by_patient
from slimscan.study.recipes.luu2021.paper import TABLE_3
from slimscan.study.recipes.luu2021.run import Found

_IMAGES = (("original", "none", -0.16), ("diffused", "full", 0.16))


def ratios_drawn(figure: Any, *, found: Found) -> None:
    """One row a coder: every patient's ratio on both images, their medians joined, and the paper's medians."""
    known, names = coders(), [one.coder for one in found.improvements]
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        paper = TABLE_3.get(known[name].paper)
        for image, fill, shift in _IMAGES:
            values = list(by_patient(found.rows, name, image).values())
            axes.plot(values, [place + shift] * len(values), "o", color=colour(0), fillstyle=fill, markersize=7, label=image if place == 0 else None)  # fmt: skip
            axes.plot([np.median(values)] * 2, [place + shift - 0.13, place + shift + 0.13], color=INK, linewidth=1.6)
            if paper is not None:
                value = paper.original if image == "original" else paper.diffused
                axes.plot([value], [place + shift], "x", color=colour(1), markersize=7, label=f"Luu 2021, {image}" if place == 0 and image == "diffused" else None)  # fmt: skip
    _rows(axes, [known[name].title for name in names])
    axes.set_xlim(left=0)
    axes.set_xlabel("compression ratio (x:1); the bar is the median over patients")
    handles, labels = axes.get_legend_handles_labels()
    said = [label.replace("Luu 2021, diffused", "Luu 2021, medians") for label in labels]
    axes.legend(handles, said, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def costs_drawn(figure: Any, *, found: Found) -> None:
    """One row a coder: milliseconds a slice there and back, on both images."""
    from matplotlib.ticker import FuncFormatter

    known, names = coders(), [one.coder for one in found.improvements]
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        for index, (key, said) in enumerate((("encode_s", "compression"), ("decode_s", "decompression"))):
            for image, fill, shift in _IMAGES:
                mine = [r for r in found.rows if r["coder"] == name and r["image"] == image]
                value = 1e3 * float(np.mean([r[key] / r["slices"] for r in mine]))
                label = f"{said}, {image}" if place == 0 else None
                axes.plot([value], [place + shift], marker(index), color=colour(index), fillstyle=fill, markersize=7, label=label)  # fmt: skip
    _rows(axes, [known[name].title for name in names])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.set_xlabel("milliseconds a slice, one core (logarithmic)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def sweep_drawn(figure: Any, *, points: Sequence[Mapping[str, float]]) -> None:
    """Three panels over iterations, one line a K."""
    panels = (
        ("psnr_db", "PSNR, dB (peak 65535)"),
        ("ssim_range", "SSIM (L = max - min)"),
        ("bz2_ratio", "ratio of BZ2"),
    )
    for index, (key, title) in enumerate(panels):
        axes = figure.add_subplot(1, 3, index + 1)
        for n, k in enumerate(sorted({point["k"] for point in points})):
            mine = [point for point in points if point["k"] == k]
            axes.plot([p["iterations"] for p in mine], [p[key] for p in mine], color=colour(n), marker=marker(n), markersize=5, label=f"K {k:g}")  # fmt: skip
            for p in mine:
                if (p["k"], p["iterations"]) == (0.4, 15):
                    axes.plot([15], [p[key]], "o", color=INK, fillstyle="none", markersize=13)
        if key == "ssim_range":
            axes.axhline(0.95, color=SOFT, linestyle=(0, (5, 3)), linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("iterations")
        if index == 0:
            axes.legend(loc="best", fontsize=9)


def _rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
