"""The pieces of a page of experiments, so that HTML and Markdown say the same; and lines of DSC against ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slimscan.report.experiments_read import MEAN, Found, Scores
from slimscan.report.experiments_stats import Estimate, crossed, mean, tolerance
from slimscan.report.numbers import DASH, MINUS


@dataclass(frozen=True)
class Block:
    """kind: h2, h3, p, absent, table, figure, picture or finding. text: heading, paragraph, caption, sentence.

    left: text columns of a table. marked: its rows that stand out (the paper's own). code: of a finding. png: of a picture.
    """

    kind: str
    text: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left: int = 1
    marked: Sequence[int] = ()
    key: str = ""
    draw: Callable[[Any], None] | None = None
    height: float = 4.0
    code: str = ""
    png: bytes = b""


@dataclass(frozen=True)
class Series:
    """One line: at `ratio` the network that `trained` names for it (None: not there), tested at that ratio.

    line: its key in verdicts.json, behind the network's name: "1", "1+each" ...
    """

    label: str
    network: str
    trained: Callable[[float], str | None]
    ratios: tuple[float, ...]
    line: str = ""

    def columns(self, found: Found, name: str, column: str = "dsc") -> dict[float, Scores]:
        """Scores by ratio, those with any patient."""
        out = {}
        for ratio in self.ratios:
            text = self.trained(ratio)
            scores = found.scores(self.network, text, ratio, name, column) if text is not None else {}
            if scores:
                out[ratio] = scores
        return out

    def means(self, found: Found, name: str) -> dict[float, Estimate]:
        """Mean DSC with its interval, by ratio."""
        return {ratio: mean(list(scores.values())) for ratio, scores in self.columns(found, name).items()}

    def tolerance(self, found: Found, name: str) -> float | None:
        """The highest ratio tested with mean DSC >= 0.7."""
        means = self.means(found, name)
        return tolerance(list(means), [one.mean for one in means.values()])

    def crossed(self, found: Found, name: str) -> Estimate:
        """Where the line falls through 0.7, between the ratios tested."""
        columns = self.columns(found, name)
        return crossed(list(columns), list(columns.values()))


def fixed(found: Found, network: str, trained: str, label: str) -> Series:
    """One network tested at all its ratios."""
    return Series(label, network, lambda _ratio: trained, tuple(found.ratios(network, trained)), trained)


def times(ratio: float | None) -> str:
    """A ratio that was asked for: 48:1."""
    return DASH if ratio is None or not math.isfinite(ratio) else f"{ratio:g}:1"


def within(one: Estimate, digits: int = 3, signed: bool = False) -> str:
    """ "0.848 [0.840, 0.857]"; without interval the number alone."""
    if not math.isfinite(one.mean):
        return DASH
    form = f"{{:{'+' if signed else ''}.{digits}f}}"

    def said(value: float) -> str:
        return form.format(value).replace("-", MINUS)

    return f"{said(one.mean)} [{said(one.low)}, {said(one.high)}]" if one.known else said(one.mean)


def interval(one: Estimate, digits: int = 3) -> str:
    """ "95 % interval 0.012 to 0.034"."""
    if not one.known:
        return "no interval"
    low, high = (f"{value:.{digits}f}".replace("-", MINUS) for value in (one.low, one.high))
    return f"95 % interval {low} to {high}"


def spread(scores: Scores, whole: int, digits: int = 3) -> str:
    """Mean ± deviation over patients, as the papers print it; the number of patients where it is not `whole`."""
    if not scores:
        return DASH
    one = mean(list(scores.values()))
    said = f"{one.mean:.{digits}f}" + (f" ± {one.sd:.{digits}f}" if math.isfinite(one.sd) else "")
    return said if one.n == whole else f"{said} ({one.n})"


def organs(found: Found) -> tuple[str, ...]:
    """What tables walk: every class, and their mean when there are several."""
    return (*found.classes, MEAN) if len(found.classes) > 1 else found.classes


def score_table(found: Found, series: Sequence[Series], name: str) -> list[Block]:
    """DSC above SMBD, a row a line, a column a ratio: the layout of El Khoury's tables."""
    ratios = sorted({ratio for one in series for ratio in one.ratios})
    rows = []
    for column, title, digits in (("dsc", "DSC", 3), ("smbd_mm", "SMBD, mm", 2)):
        for one in series:
            columns = one.columns(found, name, column)
            whole = max((len(scores) for scores in one.columns(found, name).values()), default=0)
            if columns or column == "dsc":
                rows.append(
                    [f"{title}, {one.label}", *(spread(columns.get(ratio, {}), whole, digits) for ratio in ratios)]
                )
    if not any(cell != DASH for row in rows for cell in row[1:]):
        return [
            Block(
                "absent", f"{name}: no patient has this class in both the mask and the table, so there are no scores."
            )
        ]
    out = [Block("table", "", ("", *map(times, ratios)), rows)]
    if not any(row[0].startswith("SMBD") for row in rows):
        out.append(Block("absent", f"{name}: SMBD was not measured, or a mask was empty every time."))
    return out


def tolerance_table(found: Found, series: Sequence[Series]) -> Block:
    """Tolerance by the paper's rule, the crossing between ratios, and what slimscan certifies."""
    rows = []
    for one in series:
        for name in organs(found):
            columns = one.columns(found, name)
            if not columns:
                continue
            limit, place = one.tolerance(found, name), one.crossed(found, name)
            between = (
                f"above {max(columns):g}"
                if place.mean == math.inf
                else "below all"
                if place.mean == 0
                else within(place, 1)
            )
            rows.append(
                [
                    one.label,
                    name,
                    times(limit) if limit else "none",
                    between,
                    certified_text(found, one.network, one.line),
                ]
            )
    return Block(
        "table",
        "Tolerance: the highest ratio tested whose mean DSC is at least 0.7; where the curve crosses 0.7 between ratios (linear in "
        "log ratio, 95 % bootstrap interval over patients); and the strongest ratio that slimscan certifies for this network.",
        ("network", "class", "tolerance", "crosses 0.7 at", "certified"),
        rows,
        2,
    )  # fmt: skip


def certified(found: Found, network: str, line: str) -> float | None:
    """The certified ratio of verdicts.json; None when nothing is certified, NaN when there is no verdict."""
    one = found.verdicts.get(f"{network}/{line}")
    if not isinstance(one, dict) or "certified_ratio" not in one:
        return math.nan
    value = one["certified_ratio"]
    if value is None:  # with a code it was judged and failed, without one it could not be judged
        return None if one.get("code") else math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def certified_text(found: Found, network: str, line: str) -> str:
    """For a cell."""
    value = certified(found, network, line)
    return "nothing" if value is None else "no verdict" if math.isnan(value) else times(value)
