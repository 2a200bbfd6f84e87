"""Charts as SVG inside the page: drawn by matplotlib, the same bytes every time, letters as paths."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from slimscan.report.html import Html, text
from slimscan.report.numbers import declared

# Okabe and Ito's colours, which colour-blind readers tell apart; markers say the same again without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5B5B5B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, SOFT, GRID = "#1c2530", "#55606c", "#e3e7eb"
CERTIFIED = "#00664b"
MARGIN, CAP = "#B00020", "#7A3E00"
WIDTH = 10.4  # inches; the page shows a chart at about this size

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters everywhere
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "slimscan",
}


def svg(draw: Callable[[Any], None], height: float, alt: str, key: str, width: float = WIDTH) -> Html:
    """What `draw` puts on a matplotlib Figure, as inline SVG of `width` x `height` inches.

    key: unlike that of any other chart of the page; it stands before every id. alt: what the chart shows, in words.
    """
    data = io.BytesIO()
    _save(
        draw,
        (width, height),
        data,
        format="svg",
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    found = data.getvalue().decode("utf-8")
    found = found[found.index("<svg") :]
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    found = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", found, flags=re.DOTALL)
    found = re.sub(r"<!--.*?-->", "", found, flags=re.DOTALL)
    # In HTML5 an inline SVG needs no namespaces; without them the page names no address at all.
    found = re.sub(r"\sxmlns(?::\w+)?=\"[^\"]*\"", "", found)
    found = re.sub(r"\sxlink:href=", " href=", found)
    found = re.sub(r"\s(width|height)=\"[\d.]+pt\"", "", found, count=2)
    found = re.sub(r'\bid="', f'id="{key}-', found)
    found = re.sub(r'href="#', f'href="#{key}-', found)
    found = re.sub(r"url\(#", f"url(#{key}-", found)
    found = re.sub(r"[ \t]*\n\s*", "\n", found)
    label = f'<svg role="img" aria-label="{text(alt)}" stroke-linejoin="round" stroke-linecap="butt"'
    return Html(found.replace("<svg", label, 1).strip())


def png(draw: Callable[[Any], None], size: tuple[float, float], dpi: int = 130) -> bytes:
    """What `draw` puts on a matplotlib Figure of that size in inches, as PNG."""
    data = io.BytesIO()
    _save(draw, size, data, format="png", dpi=dpi, metadata={"Software": None})
    return data.getvalue()


def colour(index: int) -> str:
    """The colour of the index-th codec."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Its marker."""
    return MARKERS[index % len(MARKERS)]


def ratio_axis(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis of compression ratios with plain numbers, 1 2 5 10 20 ..., a little wider than the values."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    finite = [value for value in values if math.isfinite(value) and value > 0] or [1.0, 10.0]
    low, high = min(finite), max(finite)
    room = max((high / low) ** 0.07, 1.12)
    low, high = low / room, high * room
    # The coarsest of these that gives five marks or more.
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [step * 10.0**power for power in range(-3, 8) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 5:
            break
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: declared(value)))
    axes.set_xlabel("achieved compression ratio (x:1, logarithmic axis)")


def _save(draw: Callable[[Any], None], size: tuple[float, float], place: Any, **options: Any) -> None:
    import matplotlib as mpl
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A user's own style sheet must not change what a report looks like.
    with matplotlib.style.context("default", after_reset=True), mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(place, **options)
