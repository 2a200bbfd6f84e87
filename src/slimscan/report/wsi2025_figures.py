"""Drawings of the slide paper's protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from slimscan.report.chart import INK, SOFT, colour, marker
from slimscan.study.recipes.wsi2025.paper import FIG_6, TABLE_3
from slimscan.study.recipes.wsi2025.run import Found, Picture
from slimscan.study.recipes.wsi2025.words import family_of


def saved_drawn(figure: Any, *, found: Found) -> None:
    """One row a codec and kind of glass: percent saved, a mark a slide, the paper's range as a bar."""
    axes = figure.add_subplot()
    keys = list(dict.fromkeys((one.codec, one.glass) for one in found.pyramids))
    barred = False
    for place, (codec, glass) in enumerate(keys):
        paper = FIG_6.get((family_of(codec), glass)) if codec in ("jpeg@90", "jpegxl@1") else None
        if paper is not None:
            axes.plot(
                paper,
                [place, place],
                color=SOFT,
                linewidth=7,
                alpha=0.35,
                solid_capstyle="butt",
                label=None if barred else "paper, 21 slides",
            )
            barred = True
        for n, one in enumerate(found.slides):
            value = found.saved.get((one["name"], codec, glass))
            if value is not None:
                label = one["name"] if place == 0 and len(found.slides) <= 8 else None
                axes.plot([value], [place], marker(n), color=colour(n), markersize=8, label=label)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(keys)), [f"{codec}, {glass}" for codec, glass in keys])
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("percent saved of the JPEG pyramid with its glass")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def patches_drawn(figure: Any, *, found: Found) -> None:
    """SSIM over bits a pixel, a dot a patch, the paper's mean as a cross."""
    axes = figure.add_subplot()
    for n, line in enumerate(found.lines):
        mine = [row for row in found.rows if row.codec == line.codec]
        axes.plot(
            [row.bpp for row in mine],
            [row.ssim for row in mine],
            marker(n),
            color=colour(n),
            markersize=4,
            alpha=0.6,
            label=line.codec,
        )
        paper = TABLE_3.get(family_of(line.codec))
        if paper is not None:
            axes.plot(
                [paper.bpp],
                [paper.ssim.mean],
                "x",
                color=colour(n),
                markersize=11,
                markeredgewidth=2.5,
                label=f"paper, {family_of(line.codec)}",
            )
    axes.set_xlabel("bits a pixel")
    axes.set_ylabel("SSIM")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def worst_drawn(figure: Any, *, picture: Picture) -> None:
    """Original, decoded and the difference of their greys."""
    drawn(figure, picture.original, picture.decoded, picture.difference)


def drawn(figure: Any, before: Any, after: Any, difference: Any) -> None:
    """Three pictures beside one another; the difference is blue where it is darker, red where brighter."""
    end = max(4.0, float(np.percentile(np.abs(difference), 99.8)))
    axes = [figure.add_subplot(1, 3, n + 1) for n in range(3)]
    for one, pixels, title in zip(axes, (before, after), ("source", "decoded"), strict=False):
        one.imshow(pixels, interpolation="nearest")
        one.set_title(title)
    shown = axes[2].imshow(difference, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
    axes[2].set_title("decoded \u2212 source, grey levels")
    for one in axes:
        one.set_xticks([])
        one.set_yticks([])
        one.grid(visible=False)
        for spine in one.spines.values():
            spine.set_visible(False)
    figure.colorbar(shown, ax=axes[2], fraction=0.045, pad=0.02)
