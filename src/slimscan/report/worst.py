"""The worst cases as pictures: original, compressed, difference, and both contours."""

from __future__ import annotations

from typing import Any

import numpy as np

from slimscan.report.again import Again, Shown, Take, organ_masks, picks, telling_slice
from slimscan.report.chart import png
from slimscan.report.html import Html, figure, image, join, paragraph, section, tag
from slimscan.report.numbers import listed, number, plural, ratio, signed, title_of
from slimscan.report.results import Results, plain
from slimscan.report.slices import Cut, cut, hang, letters, outline, tall

KEY, TITLE = "worst", "The worst cases"
CONTOURS = (  # mask, colour, line, width, words; the wider one below, so that both are seen where they agree
    ("truth", "#F0E442", ":", 1.4, "reference mask"),
    ("before", "#56B4E9", "-", 2.8, "on the original"),
    ("after", "#E69F00", "-", 1.2, "on the compressed"),
)


def worst_cases(results: Results, take: Take) -> Html:
    """The section: for each codec the patient that lost most, where it is certified and where it is not any more."""
    parts: list[Html] = []
    for shown in picks(results):
        found = take(shown.image, shown.codec, shown.step)
        title = tag("h3", f"{shown.codec}, {results.level_text(shown.codec, shown.level)}: {shown.role}")
        if isinstance(found, str):
            parts += [title, paragraph(f"Case {shown.case} cannot be shown: {found}", class_="absent")]
        else:
            parts += [title, _picture(results, shown, found)]
        if gone := results.absent(shown.one, shown.codec, shown.step):
            parts.append(
                paragraph(
                    f"{plural(len(gone), 'patient')} could not be compressed to this level and {'counts' if len(gone) == 1 else 'count'} "
                    f"as the worst loss; there is no picture of {listed(gone)}.",
                    class_="small soft",
                )
            )
    if not parts:
        return section(KEY, TITLE, paragraph("No patient has a loss, so no case is the worst.", class_="absent"))
    intro = paragraph(
        "Of each codec the patient that lost most, at the strongest certified level and at the first that is not. Without a certified "
        "level: at the mildest and the strongest. The slice is the one where the two masks differ most; where they do not "
        "differ, the one with the largest error.",
    )
    return section(KEY, TITLE, intro, join(parts))


def _picture(results: Results, shown: Shown, found: Again) -> Html:
    masks = organ_masks(results, shown.one, found)
    z = telling_slice(found, masks)
    one = cut(found, masks, z)
    data = png(lambda canvas: _draw(canvas, one), (10.4, tall(one, 2.5) + 1.15), 120)
    alt = f"Slice {z} of case {shown.case}: original, compressed, difference, and the contours on both"
    return figure(image(data, alt), _caption(results, shown, found, one, z))


def _draw(canvas: Any, one: Cut) -> None:
    from matplotlib.lines import Line2D

    grid = canvas.add_gridspec(2, 4, height_ratios=(tall(one, 2.5), 0.13))
    axes = [canvas.add_subplot(grid[0, n]) for n in range(4)]
    low, high = one.window
    shown: dict[str, Any] = {
        "vmin": low,
        "vmax": high,
        "aspect": one.aspect,
        "interpolation": "nearest",
        "cmap": "gray",
    }
    grey = axes[0].imshow(one.original, **shown)
    axes[1].imshow(one.decoded, **shown)
    difference = one.decoded - one.original
    limit = float(np.abs(difference).max()) or 1.0
    red = axes[2].imshow(difference, **(shown | {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}))
    axes[3].imshow(one.decoded, alpha=0.85, **shown)
    for ax, name in zip(
        axes, ("original", "compressed", "compressed \u2212 original", "contours, on the compressed"), strict=True
    ):
        hang(ax, name if ax is not axes[3] or one.masks else "this task gives no masks")
        letters(ax, one.view)
    for mappable, place in ((grey, grid[1, 0:2]), (red, grid[1, 2])):
        bar = canvas.colorbar(mappable, cax=canvas.add_subplot(place), orientation="horizontal")
        bar.set_label(one.unit, fontsize=8.5)
        bar.ax.tick_params(labelsize=8)
    said = []
    line: Any
    for key, colour, line, width, words in CONTOURS:
        if key in one.masks:
            outline(axes[3], one.masks[key], colour, line, width)
            said.append(Line2D([], [], color=colour, linestyle=line, linewidth=2.4, label=words))
    below = canvas.add_subplot(grid[1, 3])
    below.set_axis_off()
    if said:
        below.legend(
            handles=said,
            loc="upper center",
            bbox_to_anchor=(0.5, 1.6),
            fontsize=8.5,
            handlelength=1.6,
            labelspacing=0.25,
        )


def _caption(results: Results, shown: Shown, found: Again, one: Cut, z: int) -> str:
    rows = [row for row in results.scores(shown.one, shown.codec, shown.step) if row["image"] == shown.image]
    reached = plain(rows[0]["achieved_cr"]) if rows else float("nan")
    value = plain(rows[0]["value"]) if rows else float("nan")
    reference = plain(rows[0]["reference"]) if rows else float("nan")
    unit = f"\u00a0{shown.one.unit}" if shown.one.unit else ""
    organ = f" of {shown.one.organ}" if shown.one.organ not in ("", "foreground") else ""
    name = shown.case if shown.image == shown.case else f"{shown.case}, image {shown.image}"
    said = (
        f"Case {name}, slice z = {z} (of 0 to {found.original.shape[0] - 1}), {ratio(reached)}. "
        f"{title_of(shown.one.metric)}{organ} {number(reference)}{unit} on the original, {number(value)}{unit} on the compressed; "
        f"{'loss' if shown.one.margin == 'absolute' else 'shortfall'} {signed(shown.loss)}{unit} (above 0 is worse). Both pictures share one grey window."
    )
    if one.cropped:
        said += " Cut to the surroundings of the masks."
    if not one.view.edges:
        said += " The file states no orientation; rows are shown as they are stored."
    note = next((str(row["note"]) for row in rows if row.get("note")), "")
    return said + (f" The task said: {note}" if note else "")
