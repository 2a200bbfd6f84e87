"""Paired losses: one dot a patient and level, with the margin and the cap (nothing hides in a mean)."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import Any

from slimscan.report.chart import CAP, CERTIFIED, INK, MARGIN, colour, svg
from slimscan.report.html import Html, figure, join, paragraph, section, tag
from slimscan.report.numbers import declared, plural, ratio, title_of
from slimscan.report.results import Decisive, Results, median, number_of
from slimscan.report.sentences import lower_first

KEY, TITLE = "losses", "Loss of every patient"
MOST = 8  # organs and metrics drawn for each codec


def losses(results: Results) -> Html:
    """The section: one chart for every codec and deciding number."""
    parts: list[Html] = []
    drawn = 0
    for one in results.decisive[:MOST]:
        for index, name in enumerate(results.codecs):
            found = [(step, nominal, results.losses(one, name, step)) for step, nominal in results.steps(name)]
            if not any(values for _, _, values in found):
                continue
            organ = f" of {one.organ}" if one.organ not in ("", "foreground") else ""
            alt = f"Loss of {title_of(one.metric)}{organ} of every patient at each level of {name}, with the margin and the cap"
            chart = svg(partial(_draw, results, one, name, index, found), 4.1, alt, f"{KEY}{drawn}")
            parts += [
                tag("h3", f"{name}: {lower_first(title_of(one.metric))}{organ}"),
                figure(chart, _caption(one, found)),
            ]
            drawn += 1
    if not parts:
        return section(KEY, TITLE, paragraph("No patient has both scores, so no loss can be drawn.", class_="absent"))
    if len(results.decisive) > MOST:
        parts.append(
            paragraph(
                f"{len(results.decisive) - MOST} more are judged but not drawn; their rows are in the table of trials.",
                class_="absent",
            )
        )
    return section(KEY, TITLE, join(parts))


def _draw(
    results: Results,
    one: Decisive,
    name: str,
    index: int,
    found: list[tuple[int, float, dict[str, float]]],
    canvas: Any,
) -> None:
    axes = canvas.add_subplot()
    every = [value for _, _, values in found for value in values.values()]
    reach = 1.6 * one.cap  # beyond it a dot is drawn at the edge as a triangle: one failure must not flatten the others
    top = min(max([one.cap * 1.15, *(value for value in every if math.isfinite(value))]), reach) * 1.06
    bottom = max(min([0.0, *(value for value in every if math.isfinite(value))]), -reach) * 1.08 - 0.04 * top
    for place, (_, nominal, values) in enumerate(found):
        level = results.judged(name, nominal)
        across = [place + _aside(case) for case in values]
        up = [min(max(value, bottom), top) for value in values.values()]
        inside = [bottom < value < top for value in values.values()]
        for shape, keep in (("o", True), ("^", False)):
            x = [a for a, b in zip(across, inside, strict=True) if b is keep]
            y = [a for a, b in zip(up, inside, strict=True) if b is keep]
            axes.scatter(
                x,
                y,
                s=17 if keep else 42,
                marker=shape,
                color=colour(index),
                alpha=0.5,
                linewidths=0,
                zorder=3,
                clip_on=False,
            )
        capped = [min(max(value, -one.cap), one.cap) for value in values.values()]
        if capped:
            middle = math.fsum(capped) / len(capped)
            axes.plot([place - 0.3, place + 0.3], [middle, middle], color=INK, linewidth=2.2, zorder=5)
            upper = number_of(results.evidence(one, name, nominal), "upper_T4")
            if math.isfinite(upper):
                axes.errorbar(
                    [place],
                    [middle],
                    yerr=[[0], [max(upper - middle, 0)]],
                    color=INK,
                    capsize=5,
                    linewidth=1.5,
                    zorder=5,
                )
        if level is not None and level.get("certified"):
            axes.axvspan(place - 0.46, place + 0.46, color=CERTIFIED, alpha=0.07, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=1)
    axes.axhline(
        one.null,
        color=MARGIN,
        linewidth=1.4,
        linestyle=(0, (6, 3)),
        label=f"margin \u03b4 = {declared(one.null)}" if one.null else "margin: 0",
    )
    axes.axhline(one.cap, color=CAP, linewidth=1.4, linestyle=(0, (1, 1.6)), label=f"cap B = {declared(one.cap)}")
    axes.set_ylim(bottom, top)
    axes.set_xlim(-0.6, len(found) - 0.4)
    axes.set_xticks(
        range(len(found)), [f"{nominal:g}\n{ratio(median(results.ratios(name, step)))}" for step, nominal, _ in found]
    )
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("nominal level, and the median ratio achieved there (mild to strong)")
    unit = f" [{one.unit}]" if one.unit else ""
    axes.set_ylabel(
        f"loss{unit}: above 0 is worse" if one.margin == "absolute" else f"shortfall{unit}: above 0 is worse"
    )
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=9)


def _aside(case: str) -> float:
    """Where a patient's dot stands beside the middle of its level: the same at every level, whatever the order."""
    return (int.from_bytes(hashlib.sha256(case.encode()).digest()[:4], "big") / 2**32 - 0.5) * 0.56


def _caption(one: Decisive, found: list[tuple[int, float, dict[str, float]]]) -> str:
    counts = [len(values) for _, _, values in found if values]
    over = [sum(value > one.cap for value in values.values()) for _, _, values in found]
    what = "Loss against the uncompressed image" if one.margin == "absolute" else "Shortfall against the contract"
    n = plural(max(counts, default=0), "patient")
    said = (
        f"{what}, one dot a patient ({n}), at the same place across in every level. The bar is the mean with single losses counted "
        "to the cap at most, its whisker reaches to the upper bound of the verdict; shaded levels are certified. "
        f"Patients beyond the cap {declared(one.cap, one.unit)}, level by level: {', '.join(str(count) for count in over)}."
    )
    beyond = any(abs(value) > 1.6 * one.cap for _, _, values in found for value in values.values())
    return said + (" Triangles lie beyond the edge of the chart." if beyond else "")
