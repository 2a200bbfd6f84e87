"""The drawing of a panel: three pictures above, a profile and its difference below."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.report.view import View

Plane = NDArray[np.float64]

# Okabe and Ito's colours, which colour-blind readers tell apart.
ORIGINAL, DECODED, MARK = "#000000", "#D55E00", "#E69F00"
_CHANNELS = ("red", "green", "blue")
_READABLE = 320  # columns of a profile; more turn into a thicket
_DOTS = 450  # a picture is at least this many dots a side; larger differences are thinned so that no error is lost


@dataclass(frozen=True)
class Look:
    """One slice, turned as it is shown, and what stands around it.

    stored, place: the largest error in the stored slice (y, x) and in the picture (row, column). original, decoded:
    (rows, columns) or RGB (rows, columns, 3). profile: both in the channel of the largest error. difference: decoded -
    original; of RGB, at each pixel that of the channel that errs most. window: black and white, in `unit`.
    """

    view: View
    stored: tuple[int, int]
    place: tuple[int, int]
    original: Plane
    decoded: Plane
    profile: tuple[Plane, Plane]
    difference: Plane
    channel: int | None
    unit: str
    window: tuple[float, float]
    z: int
    rmse: float

    @property
    def largest(self) -> float:
        """The largest error with its sign."""
        return float(self.difference[self.place])


@dataclass(frozen=True)
class _Scale:
    """Lengths along the picture: the step between pixels, the place of the first one's centre, and the unit."""

    rows: float
    columns: float
    centre: float
    unit: str

    def extent(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) of a picture, in its unit."""
        left, top = (self.centre - 0.5) * self.columns, (self.centre - 0.5) * self.rows
        return left, left + width * self.columns, top + height * self.rows, top


def draw(shown: Look, heading: tuple[str, str]) -> bytes:
    """The PNG; heading: a bold line and a plain one."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = shown.difference.shape
    scale = _scale(shown.view, height, width)
    tall = float(np.clip(4.6 * (height * scale.rows) / (width * scale.columns), 1.8, 6.4))
    # A user's own style sheet must not change what a report looks like.
    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(16.0, tall + 5.0), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(4, 3, height_ratios=(0.55, tall, 2.1, 1.2))
        _head(figure.add_subplot(grid[0, :]), heading)
        _pictures(figure, [figure.add_subplot(grid[1, i]) for i in range(3)], shown, scale)
        line = figure.add_subplot(grid[2, :])
        _profile(line, figure.add_subplot(grid[3, :], sharex=line), shown, scale)
        data = io.BytesIO()
        figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _scale(view: View, height: int, width: int) -> _Scale:
    if view.row_mm is None or view.column_mm is None:
        return _Scale(1.0, 1.0, 0.0, "voxels")
    small = max(height * view.row_mm, width * view.column_mm) < 2
    factor = 1e3 if small else 1.0
    return _Scale(view.row_mm * factor, view.column_mm * factor, 0.5, "µm" if small else "mm")


def _head(axes: Any, heading: tuple[str, str]) -> None:
    axes.set_axis_off()
    axes.text(0, 1, heading[0], fontsize=16, fontweight="bold", va="top", transform=axes.transAxes)
    axes.text(0, 0, heading[1], fontsize=11.5, va="bottom", transform=axes.transAxes)


def _pictures(figure: Any, axes: list[Any], shown: Look, scale: _Scale) -> None:
    from matplotlib import patheffects

    height, width = shown.difference.shape
    box = scale.extent(height, width)
    low, high = shown.window
    grey: Any = None
    for ax, name, image in zip(axes, ("Original", "Decoded"), (shown.original, shown.decoded), strict=False):
        if image.ndim == 3:
            ax.imshow(np.clip((image - low) / (high - low), 0, 1), extent=box)
        else:
            grey = ax.imshow(image, cmap="gray", vmin=low, vmax=high, extent=box)
        ax.set_title(name, fontsize=13)
    if grey is not None:
        bar = figure.colorbar(grey, ax=axes[:2], extend="both", shrink=0.9, pad=0.01, aspect=30)
        bar.set_label(f"{shown.unit}, window {low:.4g} to {high:.4g}")
    limit, more = _limit(shown.difference)
    thin, rows, columns = _strongest(shown.difference, _DOTS)
    red = axes[2].imshow(
        thin, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=scale.extent(rows, columns), interpolation="nearest"
    )
    axes[2].set_title("Difference: decoded - original", fontsize=13)
    bar = figure.colorbar(red, ax=axes[2], extend="both" if more else "neither", shrink=0.9, pad=0.02, aspect=30)
    bar.set_label(f"{shown.unit}, the largest is {shown.largest:+.4g}")
    _mark(axes, shown, scale)
    for ax in axes:
        ax.set_xlim(box[0], box[1])
        ax.set_ylim(box[2], box[3])
        ax.set_xlabel(scale.unit)
    axes[0].set_ylabel(scale.unit)
    if shown.channel is not None:
        axes[2].set_xlabel(f"{scale.unit} (at each pixel the channel that errs most)")
    outline = [patheffects.withStroke(linewidth=2.5, foreground="black")]
    places = ((0.5, 0.975, "center", "top"), (0.5, 0.025, "center", "bottom"), (0.02, 0.5, "left", "center"),
              (0.98, 0.5, "right", "center"))  # fmt: skip
    for letter, (x, y, across, up) in zip(shown.view.edges, places, strict=False):
        axes[0].text(x, y, letter, ha=across, va=up, transform=axes[0].transAxes, color="white", fontsize=12,
                     fontweight="bold", path_effects=outline)  # fmt: skip


def _mark(axes: list[Any], shown: Look, scale: _Scale) -> None:
    """The profile's line and the largest error, on all three pictures."""
    from matplotlib import patheffects

    row, column = (scale.centre + shown.place[0]) * scale.rows, (scale.centre + shown.place[1]) * scale.columns
    ends = [(scale.centre - 0.5 + end) * scale.columns for end in _span(shown)]
    halo = [patheffects.withStroke(linewidth=2.4, foreground="black", alpha=0.45)]
    for ax, colour, effects in zip(axes, (MARK, MARK, "black"), (halo, halo, None), strict=True):
        ax.plot(ends, [row, row], color=colour, linewidth=1.1, linestyle=(0, (6, 4)), path_effects=effects)
        ax.scatter([column], [row], s=150, facecolors="none", edgecolors=colour, linewidths=1.6, path_effects=effects)


def _span(shown: Look) -> tuple[int, int]:
    """The columns start..stop-1 of the profile: the whole row, or the part around the error that can still be read."""
    width = shown.difference.shape[1]
    start = min(max(shown.place[1] - _READABLE // 2, 0), max(width - _READABLE, 0))
    return start, min(start + _READABLE, width)


def _profile(line: Any, below: Any, shown: Look, scale: _Scale) -> None:
    row, column = shown.place
    start, stop = _span(shown)
    edges = (scale.centre - 0.5 + np.arange(start, stop + 1)) * scale.columns
    original, decoded = shown.profile[0][row, start:stop], shown.profile[1][row, start:stop]
    line.stairs(original, edges, baseline=None, color=ORIGINAL, linewidth=2.2, alpha=0.6, label="original")
    line.stairs(decoded, edges, baseline=None, color=DECODED, linewidth=1.3, label="decoded")
    below.stairs(decoded - original, edges, fill=True, color=DECODED, alpha=0.85)
    below.axhline(0, color="black", linewidth=0.8)
    stored = shown.stored[1] if shown.view.transpose else shown.stored[0]
    channel = "" if shown.channel is None else f", {_CHANNELS[shown.channel]} channel"
    line.set_title(f"Profile along the dashed line ({shown.view.line} = {stored}{channel})", fontsize=13, loc="left")
    line.set_ylabel(shown.unit)
    line.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    line.tick_params(labelbottom=False)
    below.set_ylabel("difference")
    ends = f", {shown.view.edges[2]} to {shown.view.edges[3]}" if shown.view.edges else ""
    below.set_xlabel(f"{scale.unit} along the line{ends}")
    reach = 1.15 * max(float(np.abs(decoded - original).max()), 1e-12)
    below.set_ylim(-reach, reach)
    for ax in (line, below):
        ax.set_xlim(edges[0], edges[-1])
        ax.axvline((scale.centre + column) * scale.columns, color=MARK, linewidth=1.3, linestyle=(0, (6, 4)))
        ax.grid(alpha=0.3)


def _limit(difference: Plane) -> tuple[float, bool]:
    """Where the difference colours end, and whether some errors are larger: a single one must not pale the others."""
    size = np.abs(difference)
    largest, most = float(size.max()), float(np.percentile(size, 99.9))
    limit = most if 0 < 1.5 * most < largest else largest
    return limit or 1.0, limit < largest


def _strongest(plane: Plane, dots: int) -> tuple[Plane, int, int]:
    """The plane thinned to at most `dots` a side, of each block the value furthest from 0; and the rows and columns
    that it covers, which may be a few more than there are.
    """
    factor = -(-max(plane.shape) // dots)
    if factor <= 1:
        return plane, *plane.shape
    padded = np.pad(plane, [(0, -n % factor) for n in plane.shape])
    rows, columns = padded.shape
    four = padded.reshape(rows // factor, factor, columns // factor, factor).swapaxes(1, 2)
    blocks = four.reshape(rows // factor, columns // factor, factor * factor)
    strongest = np.abs(blocks).argmax(axis=2)[..., None]
    return np.take_along_axis(blocks, strongest, axis=2)[..., 0], rows, columns
