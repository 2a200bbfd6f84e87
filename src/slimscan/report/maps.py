"""Where likeness was lost: MS-SSIM at every pixel (Cunha 2023, Fig. 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.metrics import ms_ssim_map
from slimscan.metrics.fidelity import peak_value
from slimscan.nouns import Pixels
from slimscan.report.again import Again, Shown, Take, organ_masks, picks, telling_slice
from slimscan.report.chart import png
from slimscan.report.html import Html, figure, image, join, paragraph, section, tag
from slimscan.report.numbers import listed, number, ratio
from slimscan.report.results import Results, median
from slimscan.report.slices import Cut, cut, hang, letters, outline, tall

KEY, TITLE = "maps", "Where likeness is lost"
LEAST = 11  # samples a side that the smallest scale needs


def maps(results: Results, take: Take) -> Html:
    """The section: for each codec its worst case, at the certified (or mildest) and at the strongest level."""
    parts: list[Html] = []
    for name in results.codecs:
        shown = next((one for one in picks(results) if one.codec == name), None)
        if shown is not None:
            parts += [tag("h3", name), _row(results, shown, take)]
    if not parts:
        return section(KEY, TITLE, paragraph("No case has a loss, so none was chosen.", class_="absent"))
    return section(KEY, TITLE, join(parts))


def _row(results: Results, shown: Shown, take: Take) -> Html:
    steps = [step for step, _ in results.steps(shown.codec) if results.ratios(shown.codec, step)]
    wanted = list(dict.fromkeys([shown.step, steps[-1]]))
    found = [(step, take(shown.image, shown.codec, step)) for step in wanted]
    whole = [(step, one) for step, one in found if isinstance(one, Again)]
    if not whole:
        return paragraph(f"Case {shown.case} cannot be shown: {next(str(one) for _, one in found)}", class_="absent")
    first = whole[0][1]
    if min(first.original.shape[1:3]) < LEAST:
        return paragraph(
            f"A slice of case {shown.case} has a side under {LEAST} pixels: MS-SSIM is not defined there.",
            class_="absent",
        )
    masks = organ_masks(results, shown.one, first)
    z = telling_slice(first, masks)
    base = {name: mask for name, mask in masks.items() if name == "before"}
    # The range of this image, whatever the PSNRs name: against 16 stored bits every map would be one plain colour.
    peak = peak_value("range", first.original.slices(0, first.original.shape[0]), first.original.bits)
    cuts = [(step, cut(one, base, z), _map(one, base, z, peak)) for step, one in whole]
    titles = [
        f"{results.level_text(shown.codec, dict(results.steps(shown.codec))[step])}\n{ratio(median(results.ratios(shown.codec, step)))} (median)"
        for step, _, _ in cuts
    ]
    height = tall(cuts[0][1], 3.2) + 0.6
    data = png(lambda canvas: _draw(canvas, cuts[0][1], [one for _, _, one in cuts], titles), (10.4, height), 120)
    means = [
        f"{title.split(chr(10))[0]} {number(float(one.mean()), 4)}"
        for title, (_, _, one) in zip(titles, cuts, strict=True)
    ]
    caption = (
        f"Case {shown.case}, slice z = {z}: MS-SSIM between the original and the compressed slice at every pixel; 1 is alike, lower is less. "
        f"Its peak is the range of the image, {number(peak)}. "
        f"Mean of the picture: {listed(means)}. All maps share one scale, which need not reach 0. The light outline is the segmentation "
        "on the original."
    )
    return figure(image(data, f"MS-SSIM maps of case {shown.case} slice {z} for {shown.codec}"), caption)


def _map(found: Again, masks: Mapping[str, Pixels], z: int, peak: float) -> NDArray[np.float64]:
    """The map of slice z, turned and cut like the slice itself."""
    volume = found.original
    reference, test = (one.slices(z, z + 1)[0].astype(np.float64) for one in (volume, found.decoded))
    if reference.ndim == 3:
        reference, test = reference.mean(axis=2), test.mean(axis=2)
    plane = ms_ssim_map(reference, test, peak)
    one = replace(volume, pixels=plane[None], slope=1.0, intercept=0.0)
    return cut(Again(one, one), {name: mask[z : z + 1] for name, mask in masks.items()}, 0).original


def _draw(canvas: Any, one: Cut, found: Sequence[NDArray[np.float64]], titles: Sequence[str]) -> None:
    axes = canvas.subplots(1, 3)
    axes[0].imshow(
        one.original, cmap="gray", vmin=one.window[0], vmax=one.window[1], aspect=one.aspect, interpolation="nearest"
    )
    hang(axes[0], "original")
    letters(axes[0], one.view)
    low = min(float(plane.min()) for plane in found)
    low = min(max(low, 0.0), 0.95)
    shown: Any = None
    for ax, plane, title in zip(axes[1:], found, titles, strict=False):
        shown = ax.imshow(plane, cmap="cividis", vmin=low, vmax=1.0, aspect=one.aspect, interpolation="nearest")
        hang(ax, title)
        if "before" in one.masks:
            outline(ax, one.masks["before"], "#ffffff", "-", 0.8, halo=0.9)
    for ax in axes[1 + len(found) :]:
        ax.set_axis_off()
    canvas.colorbar(shown, ax=list(axes), shrink=0.85, pad=0.01, aspect=28).set_label("MS-SSIM, higher is more alike")
