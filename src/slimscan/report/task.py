"""The task's score against the ratio, with the lines of the observers and the certified level (Cunha 2023, Fig. 12)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from slimscan.report.chart import CERTIFIED, INK, MARGIN, colour, marker, ratio_axis, svg
from slimscan.report.html import Html, figure, join, paragraph, section, tag
from slimscan.report.numbers import declared, listed, number, plural, title_of
from slimscan.report.results import Decisive, Results, mean, median, number_of, plain
from slimscan.report.sentences import axis_label

KEY, TITLE = "task", "The task against the ratio"
MOST = 12  # panels; more organs than these are named, not drawn
_OWN = {"jaccard_mean": "iaov", "jaccard": "iaov", "average_hausdorff": "iaov_hausdorff_mm"}
_OTHER = {"jaccard_mean": "ieov", "jaccard": "ieov", "average_hausdorff": "ieov_hausdorff_mm"}


def task(results: Results) -> Html:
    """The section; one panel for every deciding metric and organ, then for those that were measured beside it."""
    shown = [one for one in (*results.decisive, *beside(results)) if _points(results, one)]
    if not shown:
        return section(KEY, TITLE, paragraph("No task gave a score, so there is nothing to draw.", class_="absent"))
    parts = []
    for index, one in enumerate(shown[:MOST]):
        judged = one in results.decisive
        name = f"{title_of(one.metric)}{f' of {one.organ}' if one.organ not in ('', 'foreground') else ''}"
        alt = f"{name} of task {one.task} against achieved compression ratio for {listed(results.codecs)}, means over patients with the middle 90 percent"
        drawn = svg(partial(_draw, results, one), 3.9, alt, f"{KEY}{index}")
        parts.append(tag("h3", name, "" if judged else " (measured beside; it does not decide)"))
        parts.append(figure(drawn, _caption(results, one)))
    left = [f"{title_of(one.metric)} {one.organ}" for one in shown[MOST:]]
    note = paragraph(f"Not drawn, but in the rows: {listed(left)}.", class_="absent") if left else None
    return section(KEY, TITLE, join([*parts, note]))


def beside(results: Results) -> list[Decisive]:
    """Mask metrics that were measured but do not decide, of the organs that do."""
    known = {(one.task, one.metric, one.organ) for one in results.decisive}
    out: dict[tuple[str, str, str], Decisive] = {}
    for row in results.rows:
        key = (str(row["task"]), str(row["metric"]), str(row["organ"]))
        if key in known or key in out or row["direction"] == "none" or key[1].startswith("value"):
            continue
        if results.decisive and key[0] == results.decisive[0].task:
            out[key] = Decisive(*key, str(row["direction"]), results.unit(key[1]), {"margin": "none"})
    return list(out.values())


def _points(results: Results, one: Decisive) -> dict[str, list[tuple[float, float, float, float, int]]]:
    """Of each codec (ratio, mean, low, high, infinite) at its levels; infinite distances are counted, not averaged."""
    out: dict[str, list[tuple[float, float, float, float, int]]] = {}
    for name in results.codecs:
        for step, _ in results.steps(name):
            values = list(results.per_case(one, name, step).values())
            finite = sorted(value for value in values if math.isfinite(value))
            across = results.ratios(name, step)
            if finite and across:
                low, high = (finite[round(share * (len(finite) - 1))] for share in (0.05, 0.95))
                out.setdefault(name, []).append((median(across), mean(finite), low, high, len(values) - len(finite)))
    return out


def _draw(results: Results, one: Decisive, canvas: Any) -> None:
    axes = canvas.add_subplot()
    points = _points(results, one)
    across = [point[0] for found in points.values() for point in found]
    ratio_axis(axes, across)
    for index, name in enumerate(results.codecs):
        if name not in points:
            continue
        x, y, low, high, _ = zip(*points[name], strict=True)
        axes.fill_between(x, low, high, color=colour(index), alpha=0.11, linewidth=0)
        axes.plot(x, y, color=colour(index), marker=marker(index), markersize=6, linewidth=1.8, label=name, zorder=4)
    for value, words, colour_, style in _lines(results, one):
        axes.axhline(value, color=colour_, linestyle=style, linewidth=1.4, label=f"{words} {number(value)}", zorder=2)
    for index, name in enumerate(results.codecs):
        _certified(axes, results, name, index, points.get(name) or [])
    low, high = axes.get_ylim()
    # Scores that differ in the fourth digit must not look like a cliff.
    least = 0.02 if one.unit == "" else 0.0
    if high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least / 2, middle + least / 2)
    axes.set_ylabel(axis_label(one).replace(", ", ",\n", 1))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)


def _certified(axes: Any, results: Results, name: str, index: int, points: list[Any]) -> None:
    codec = results.by_codec.get(name) or {}
    step = results.step_of(name, codec.get("level"))
    if step is None or not results.ratios(name, step):
        return
    x = median(results.ratios(name, step))
    axes.axvline(x, color=colour(index), linewidth=1.3, linestyle=(0, (1, 2)), zorder=1)
    found = [point for point in points if point[0] == x]
    if found:
        axes.scatter([x], [found[0][1]], s=230, facecolors="none", edgecolors=CERTIFIED, linewidths=2.2, zorder=6)


def _lines(results: Results, one: Decisive) -> list[tuple[float, str, str, Any]]:
    """Horizontal lines: the uncompressed score, the observers, and the contract's own."""
    out: list[tuple[float, str, str, Any]] = []
    raw = _over_cases(results, one, "reference")
    perfect = 1.0 if one.direction == "higher" else 0.0
    if not math.isnan(raw):
        words = "uncompressed, by definition" if raw == perfect and not results.observers else "uncompressed, mean"
        out.append((raw, words, INK, (0, (6, 3))))
    if one.margin == "absolute" and not math.isnan(raw):
        edge = raw - one.null if one.direction == "higher" else raw + one.null
        out.append(
            (
                edge,
                "margin: uncompressed \u2212 \u03b4 ="
                if one.direction == "higher"
                else "margin: uncompressed + \u03b4 =",
                MARGIN,
                "-",
            )
        )
    if one.margin == "relative" and not math.isnan(raw):
        share = number_of(one.contract, "rho")
        edge = raw * (1 - share if one.direction == "higher" else 1 + share)
        sign = "\u2212" if one.direction == "higher" else "+"
        out.append((edge, f"margin: uncompressed {sign} {declared(100 * share, '%')} =", MARGIN, "-"))
    if one.margin == "threshold":
        out.append((number_of(one.contract, "threshold"), "threshold of the contract", MARGIN, "-"))
    other = _over_cases(results, one, "observer")
    if not math.isnan(other):
        out.append((other, "second observer, mean", "#CC79A7", (0, (3, 2))))
    seen = observed(results, one)
    if "own" in seen:
        out.append((seen["own"], "intra-observer (IaOV)", "#B00020", (0, (5, 2, 1, 2))))
    if "other" in seen and math.isnan(other):
        out.append((seen["other"], "inter-observer (IeOV)", "#CC79A7", (0, (3, 2))))
    return out


def observed(results: Results, one: Decisive) -> Mapping[str, float]:
    """Means of intra- and inter-observer variability over images, from observers.json, where the metric has them."""
    images = results.observers.get("images") or results.observers.get("observers") or []
    out = {}
    for key, names in (("own", _OWN), ("other", _OTHER)):
        word = names.get(one.metric)
        found = [
            plain(((image.get("organs") or {}).get(one.organ) or {}).get(word))
            for image in images
            if image.get("task") == one.task and word
        ]
        finite = [value for value in found if math.isfinite(value)]
        if finite:
            out[key] = mean(finite)
    return out


def _over_cases(results: Results, one: Decisive, column: str) -> float:
    for name in results.codecs:
        for step, _ in results.steps(name):
            found = [value for value in results.per_case(one, name, step, column).values() if math.isfinite(value)]
            if found:
                return mean(found)
    return math.nan


def _caption(results: Results, one: Decisive) -> str:
    points = _points(results, one)
    lost = sum(point[4] for found in points.values() for point in found)
    cases = len({row["case"] for row in results.rows})
    said = f"Mean over {plural(cases, 'patient')} at each level; the band holds the middle 90 % of them."
    if any((codec or {}).get("level") is not None for codec in results.by_codec.values()):
        said += " A dotted line in the codec's colour and a green ring mark its strongest certified level."
    else:
        said += " No level is certified."
    if one.margin == "absolute":
        said += f" The red line lies \u03b4 = {declared(one.null, one.unit)} from the mean on the uncompressed images; a curve above or below it decides nothing by itself, the bound does."
    if one.margin == "none":
        said += " This number was measured beside the contract's."
    gone = {
        case for name in results.codecs for step, _ in results.steps(name) for case in results.absent(one, name, step)
    }
    if gone:
        said += f" {plural(len(gone), 'patient')} could not be compressed to every level and {'is' if len(gone) == 1 else 'are'} left out of its mean there; in the verdict they count as the worst loss."
    if lost:
        said += f" {plural(lost, 'infinite distance')} (an empty mask) cannot be averaged and {'is' if lost == 1 else 'are'} left out of the mean here; in the verdict each counts as the cap."
    return said
