"""The figures of network experiments: DSC against ratio, the train x test matrix, PSNR, stored bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.report.chart import COLOURS, INK, MARGIN, SOFT, colour, marker, ratio_axis
from slimscan.report.experiments_block import Series, certified
from slimscan.report.experiments_read import MEAN, Found
from slimscan.report.experiments_stats import BAR, Estimate

PANELS = 3  # classes that still get a panel each
# Letters inside coloured cells keep their colour whatever the page does to ink and paper.
_DARK, _LIGHT = "#010101", "#fefefe"


def panels(found: Found) -> tuple[str, ...]:
    """What curves show: each class, or their mean when there are many."""
    return found.classes if len(found.classes) <= PANELS else (MEAN,)


def curves_drawn(figure: Any, *, found: Found, series: Sequence[Series], bar: bool = True) -> None:
    """A panel a class: mean DSC with 95 % intervals, the line of 0.7, rings at tolerances, bars at certified ratios."""
    names = panels(found)
    all_axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    every = [ratio for one in series for ratio in one.ratios]
    for axes, name in zip(all_axes, names, strict=True):
        for index, one in enumerate(series):
            means = one.means(found, name)
            if not means:
                continue
            across = [ratio * _apart(index, len(series)) for ratio in means]
            up = [point.mean for point in means.values()]
            reach = [[point.mean - point.low if point.known else 0.0 for point in means.values()],
                     [point.high - point.mean if point.known else 0.0 for point in means.values()]]  # fmt: skip
            axes.errorbar(across, up, yerr=reach, color=colour(index), marker=marker(index + index // len(COLOURS)), markersize=5, linewidth=1.6,
                          elinewidth=1.1, capsize=2.5, label=one.label)  # fmt: skip
            limit = one.tolerance(found, name)
            if bar and limit is not None:
                place = list(means).index(limit)
                axes.scatter([across[place]], [up[place]], s=170, facecolors="none", edgecolors=colour(index), linewidths=1.8, zorder=5)  # fmt: skip
            sure = certified(found, one.network, one.line)
            if sure is not None and not math.isnan(sure):
                axes.axvline(
                    sure * _apart(index, len(series)), color=colour(index), linestyle=(0, (1.5, 1.5)), linewidth=1.5
                )
        ratio_axis(axes, every)
        axes.set_xlabel("compression ratio asked for (x:1)")
        axes.set_title(name)
        if bar:
            axes.axhline(BAR, color=MARGIN, linestyle=(0, (5, 3)), linewidth=1.1)
    all_axes[0].set_ylabel("mean DSC")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 4))


def _apart(index: int, count: int) -> float:
    """Lines stand a little beside each other, so that intervals do not hide intervals."""
    return 1.0 + 0.012 * (index - (count - 1) / 2)


def matrix_drawn(figure: Any, *, trained: Sequence[str], tested: Sequence[str], values: NDArray[np.float64]) -> None:
    """Rows: trained; columns: tested; the number in every cell, nothing where it was not run; a frame where both agree."""
    axes = figure.add_subplot()
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    shown = axes.imshow(
        np.ma.masked_invalid(values), cmap="viridis", aspect="auto", vmin=low, vmax=max(high, low + 1e-3)
    )
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        bright = bool((value - low) / max(high - low, 1e-3) > 0.6)
        if math.isfinite(value):
            axes.text(
                column, row, f"{value:.3f}", ha="center", va="center", color=_DARK if bright else _LIGHT, fontsize=9.5
            )
        if trained[row] == tested[column]:
            axes.add_patch(_frame(column, row, bright))
    axes.set_xticks(range(len(tested)), tested)
    axes.set_yticks(range(len(trained)), trained)
    axes.set_xlabel("tested at")
    axes.set_ylabel("trained at")
    axes.grid(visible=False)
    figure.colorbar(shown, ax=axes, pad=0.015, aspect=25).set_label("mean DSC")


def _frame(column: int, row: int, bright: bool) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=_DARK if bright else _LIGHT, linewidth=1.6
    )


def psnr_drawn(figure: Any, *, found: Found) -> None:
    """PSNR against ratio: the mean over images and all that lies between the least and the largest."""
    axes = figure.add_subplot()
    points = []
    for ratio in sorted(found.images):
        values = [one["psnr_db"] for one in found.images[ratio].values() if math.isfinite(one["psnr_db"])]
        if values:
            points.append((ratio, float(np.mean(values)), min(values), max(values)))
    across, middle, low, high = zip(*points, strict=True)
    axes.fill_between(across, low, high, color=colour(0), alpha=0.16, linewidth=0)
    axes.plot(across, middle, color=colour(0), marker="o", markersize=5)
    ratio_axis(axes, across)
    axes.set_xlabel("compression ratio asked for (x:1)")
    axes.set_ylabel("PSNR, dB")


def bytes_drawn(figure: Any, *, groups: Sequence[tuple[str, Sequence[tuple[str, float, Estimate]]]]) -> None:
    """DSC against the stored bytes of the training images. groups: (label, [(name of the point, bytes, DSC)])."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes = figure.add_subplot()
    for index, (label, points) in enumerate(groups):
        across = [size / 1e6 for _, size, _ in points]
        up = [one.mean for _, _, one in points]
        reach = [[one.mean - one.low if one.known else 0.0 for _, _, one in points], [one.high - one.mean if one.known else 0.0 for _, _, one in points]]  # fmt: skip
        axes.errorbar(across, up, yerr=reach, color=colour(index), marker=marker(index + index // len(COLOURS)), markersize=6, linewidth=1.5, capsize=2.5, label=label)  # fmt: skip
        for (name, _, _), x, y in zip(points, across, up, strict=True):
            up_or_down = -13 if index % 2 == 0 else 8
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, up_or_down), fontsize=8.5, color=SOFT)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("stored training images, MB (logarithmic)")
    axes.set_ylabel("mean DSC")
    axes.legend(loc="lower right")


def learning_drawn(figure: Any, *, panels: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """A row a network: the training loss and the validation score against the step, a line a run."""
    every = figure.subplots(len(panels), 2, squeeze=False)
    for (network, runs), (left, right) in zip(panels, every, strict=True):
        kinds = list(dict.fromkeys(run.kind for run in runs))
        named: set[str] = set()
        for run in runs:
            shade = colour(kinds.index(run.kind))
            label = None if run.kind in named else run.kind
            named.add(run.kind)
            left.plot(*run.loss, color=shade, linewidth=1.0, alpha=0.75, label=label)
            if len(run.validation[0]):
                right.plot(*run.validation, color=shade, linewidth=1.2, marker=".", alpha=0.8)
        left.set_title(network)
        left.set_ylabel("training loss")
        right.set_ylabel("validation DSC")
        if not any(len(run.validation[0]) for run in runs):
            right.text(0.5, 0.5, "no validation in the logs", ha="center", transform=right.transAxes, color=INK)
        left.legend(loc="upper right", fontsize=8.5)
        for axes in (left, right):
            axes.set_xlabel("step")
