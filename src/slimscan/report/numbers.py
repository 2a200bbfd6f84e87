"""Numbers as people read them: with a unit, with few digits, and never "nan"."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slimscan.metrics import METRICS

DASH = "\u2013"
MINUS = "\u2212"
CHANGE = "_change_percent"


def number(value: float | None, digits: int = 3) -> str:
    """A number in `digits` significant digits, never in powers of ten between 0.0001 and a million; a dash for none."""
    if value is None or math.isnan(value):
        return DASH
    if math.isinf(value):
        return "infinite" if value > 0 else f"{MINUS}infinite"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}".replace("-", MINUS)


def declared(value: float | None, unit: str = "") -> str:
    """A number that somebody chose, as it was written: 0.02, not 0.0200."""
    if value is None or not math.isfinite(value):
        return number(value)
    said = f"{value:.10g}".replace("-", MINUS)
    return f"{said}\u00a0{unit}" if unit else said


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign; 0 has none."""
    said = number(value, digits)
    return f"+{said}" if value is not None and value > 0 and said != DASH else said


def percent(share: float | None, digits: int = 2) -> str:
    """A share 0..1 as percent."""
    return DASH if share is None or math.isnan(share) else f"{number(100 * share, digits)}\u00a0%"


def ratio(value: float | None) -> str:
    """A compression ratio: 12.3:1."""
    return DASH if value is None or math.isnan(value) else f"{number(value)}:1"


def p_value(value: float | None) -> str:
    """A p, in four places at most; "<0.0001" below."""
    if value is None or math.isnan(value):
        return DASH
    return "<0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def with_unit(value: float | None, unit: str, digits: int = 3) -> str:
    """A value with its unit; a pure number has none."""
    said = number(value, digits)
    return said if said == DASH or not unit else f"{said}\u00a0{unit}"


def unit_of(metric: str, distances: str = "mm") -> str:
    """The unit of a metric's numbers; "" for a pure number. distances: "voxels" when the study measured them so."""
    if metric.endswith(CHANGE):
        return "%"
    found = METRICS.get("hausdorff" if metric == "hd95" else metric)
    unit = found.unit if found else ""
    return (
        unit.replace("mm^3", "voxels").replace("mm", "voxels")
        if distances == "voxels"
        else unit.replace("^3", "\u00b3")
    )


def title_of(metric: str) -> str:
    """What a metric is called in sentences."""
    if metric.endswith(CHANGE):
        return f"change of {title_of(metric.removesuffix(CHANGE))}"
    if metric == "hd95":
        return "Hausdorff distance, 95th percentile"
    found = METRICS.get(metric)
    return found.title if found else metric


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 patient", "3 patients"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""
