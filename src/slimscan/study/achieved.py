"""What each level achieved in bytes, and whether the order of levels is an order of ratios."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Achieved
from slimscan.study.grid import Rows
from slimscan.study.table import Floats


def achieved_of(rows: Rows) -> tuple[Achieved | None, ...]:
    """By level: mean, median and smallest ratio over cases, and all raw bytes over all encoded bytes; None when not given.

    A case's ratio is the mean over its rows (units, organs, readers). Bytes of an image that several organs or readers
    share count once: they are averaged over rows of one case and unit, then summed.
    """
    numbers = rows.table.numbers
    ratio, raw, encoded = (numbers.get(name) for name in ("achieved_cr", "raw_bytes", "encoded_bytes"))
    total: Floats | None = None
    if raw is not None and encoded is not None:
        a, b = raw[rows.index], encoded[rows.index]
        if np.isfinite(b).any() and np.nanmin(b) <= 0:
            raise InputError(f"trials: {rows.codec}: encoded_bytes {np.nanmin(b):g}; want numbers above 0")
        total = _sums(rows, a) / _sums(rows, b)
        if ratio is None:
            ratio = raw / encoded
    if ratio is None:
        return (None,) * len(rows.levels)
    column = ratio[rows.index]
    known = np.isfinite(column) & (column > 0)
    if not known[~np.isnan(column)].all():
        raise InputError(
            f"trials: {rows.codec}: achieved_cr {np.nanmin(column):g}; want original/compressed bytes above 0"
        )
    n, many = len(rows.cases), len(rows.levels)
    cell = rows.level * n + rows.case
    # Sorted first, so that the sums do not depend on the order of rows.
    order = np.argsort(column, kind="stable")
    order = order[known[order]]
    sums = np.bincount(cell[order], weights=column[order], minlength=n * many)
    counts = np.bincount(cell[order], minlength=n * many)
    means = np.divide(sums, counts, out=np.full(n * many, np.nan), where=counts > 0).reshape(many, n)
    found: list[Achieved | None] = []
    for level in range(many):
        here = np.sort(means[level][~np.isnan(means[level])])
        if not here.size:
            found.append(None)
            continue
        both = None if total is None or not np.isfinite(total[level]) else float(total[level])
        found.append(Achieved(float(here.mean()), float(np.median(here)), float(here[0]), both))
    return tuple(found)


def _sums(rows: Rows, column: Floats) -> Floats:
    """(levels,) sums over cases and units of a column that is averaged where several rows share a case and unit."""
    unit = rows.table.labels["unit"].codes[rows.index]
    keys, place = np.unique(
        (rows.level * len(rows.cases) + rows.case) * (int(unit.max()) + 1) + unit, return_inverse=True
    )
    level = keys // ((int(unit.max()) + 1) * len(rows.cases))
    mean = np.bincount(place, weights=column) / np.bincount(place)
    return np.bincount(level, weights=mean, minlength=len(rows.levels)).astype(np.float64)


def identical_of(rows: Rows) -> tuple[bool, ...]:
    """By level: whether every row says that the decoded array is bit-identical; False without such a column."""
    if rows.table.identical is None:
        return (False,) * len(rows.levels)
    column = rows.table.identical[rows.index]
    return tuple(bool(column[rows.level == level].all()) for level in range(len(rows.levels)))


def in_order(achieved: tuple[Achieved | None, ...]) -> bool:
    """Whether the mean ratio never falls from one level to the next, as far as it is known."""
    means = [one.mean for one in achieved if one is not None]
    return all(after >= before * (1.0 - 1e-12) for before, after in pairwise(means))
