"""From rows to a full grid of losses: duplicated, missing and undefined rows are settled here (STATISTICS section 0)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Contract, Level
from slimscan.stats import case_order, contrast, loss
from slimscan.study.table import Codes, Floats, Table


@dataclass(frozen=True)
class Rows:
    """The rows of one codec, and the grid that must be full: cases in hash order, levels in the contract's order."""

    codec: str
    table: Table
    index: Codes
    cases: tuple[str, ...]
    case: Codes
    levels: tuple[Level, ...]
    level: Codes


@dataclass(frozen=True)
class Grid:
    """Series (case, reader, unit) by levels. cell: reader x cases + case, of every series. x, d: (series, levels)."""

    cell: Codes
    x: Floats
    d: Floats | None
    defined: NDArray[np.bool_]


def rows_of(table: Table, codec: str, levels: tuple[Level, ...], metrics: set[str], organs: set[str]) -> Rows:
    """The codec's rows of the wanted organs and metrics; levels: every level of the codec, mildest first."""
    labels = table.labels
    keep = labels["codec"].codes == labels["codec"].names.index(codec)
    for column, wanted in (("metric", metrics), ("organ", organs)):
        names = labels[column].names
        keep &= np.isin(labels[column].codes, [code for code, name in enumerate(names) if name in wanted])
    index = np.flatnonzero(keep)
    names = labels["case"].names
    codes = labels["case"].codes[index]
    cases = [str(case) for case in case_order(names[code] for code in np.unique(codes))]
    place = {case: i for i, case in enumerate(cases)}
    case = np.array([place.get(name, -1) for name in names], np.intp)[codes]
    where = {level: i for i, level in enumerate(levels)}
    level = np.array([where.get(value, -1) for value in table.levels], np.intp)[table.level[index]]
    return Rows(codec, table, index, tuple(cases), case, levels, level)


def grid_of(rows: Rows, inside: Codes, readers: list[str], part: Contract, organ: str, missing: str) -> Grid:
    """The full grid of one organ and metric; see `losses_of` for what is refused."""
    labels, index = rows.table.labels, rows.index[inside]
    place = {name: i for i, name in enumerate(readers)}
    reader = np.array([place.get(name, -1) for name in labels["reader"].names], np.intp)[labels["reader"].codes[index]]
    cell_of_row = reader * len(rows.cases) + rows.case[inside]
    units = len(labels["unit"].names)
    keys, series = np.unique(cell_of_row * units + labels["unit"].codes[index], return_inverse=True)
    shape = (keys.size, len(rows.levels))
    flat = series * shape[1] + rows.level[inside]
    seen = np.bincount(flat, minlength=keys.size * shape[1])
    if seen.size and seen.max() > 1:
        row = int(index[np.flatnonzero(seen[flat] > 1)[-1]])
        raise InputError(
            f"trials: two rows for {_name(rows, row)}; each case, level, organ, reader and unit comes once"
        )

    def dense(name: str) -> Floats | None:
        column = rows.table.numbers.get(name)
        if column is None:
            return None
        found = np.full(shape, np.nan)
        found.flat[flat] = column[index]
        return found

    value, reference, observer = dense("value"), dense("reference"), dense("observer")
    assert value is not None  # a required column
    present = seen.reshape(shape) > 0
    for name, column in (("reference", reference), ("observer", observer)):
        wanted = part.margin == "observer" if name == "observer" else part.margin in ("absolute", "relative")
        if wanted and column is None:
            raise InputError(f"trials: a margin of kind {part.margin} needs the column {name}; none came")
    undefined = np.zeros(shape[0], np.bool_)
    if reference is not None:
        undefined = np.any(present & ~np.isfinite(reference), axis=1, keepdims=True)[:, 0]
    good = (present & np.isposinf(value if part.direction == "higher" else -value))[~undefined]
    if good.any():
        raise InputError(f"trials: {rows.codec}: an infinitely good value came (direction {part.direction}); check it")
    # A case without any row at all is a series of its own, so that the full grid is what is looked at.
    empty = np.setdiff1d(np.arange(len(readers) * len(rows.cases)), keys // units)
    cell = np.concatenate([keys // units, empty]).astype(np.intp)
    value, reference, observer = (_longer(column, empty.size) for column in (value, reference, observer))
    assert value is not None
    defined = np.concatenate([~undefined, np.ones(empty.size, np.bool_)])
    absent = np.isnan(value) & defined[:, None]
    if absent.any():
        if missing == "error":
            s, level = (int(i[0]) for i in np.nonzero(absent))
            where, who = rows.cases[cell[s] % len(rows.cases)], readers[cell[s] // len(rows.cases)]
            names = [f"case {where}", f"codec {rows.codec}", f"level {rows.levels[level]}"]
            names += [f"{word} {name}" for word, name in (("organ", organ), ("reader", who)) if name]
            raise InputError(
                f"trials: {int(absent.sum())} values are missing, first: {', '.join(names)}; a failed prediction is data "
                '(Dice 0, distance inf); run what is missing, or declare missing="worst"'
            )
        value, reference = _worst(value, reference, absent, cell % len(rows.cases), part)
    if observer is not None and part.margin == "observer":
        observer = _filled(observer, absent, cell % len(rows.cases))
        if (np.isnan(observer) & defined[:, None]).any():
            raise InputError("trials: observer is empty in some rows; the margin observer needs it for every case")
    d = None if reference is None else loss(reference.ravel(), value.ravel(), part.direction).reshape(value.shape)
    if d is not None and part.bound is not None:
        finite = d[defined & np.isfinite(d).all(axis=1)]
        if finite.size and finite.max() > part.bound + 1e-9:
            raise InputError(
                f"trials: a loss of {finite.max():g} is above the declared bound {part.bound:g}; correct it"
            )
    return Grid(cell, _contrasts(value, reference, observer, d, part), d, defined)


def _longer(column: Floats | None, extra: int) -> Floats | None:
    return None if column is None else np.vstack([column, np.full((extra, column.shape[1]), np.nan)])


def _contrasts(
    value: Floats, reference: Floats | None, observer: Floats | None, d: Floats | None, part: Contract
) -> Floats:
    if part.margin == "absolute":
        assert d is not None  # the column was asked for
        return d
    found = contrast(
        part.margin,
        value.ravel(),
        reference=None if reference is None else reference.ravel(),
        observer=None if observer is None else observer.ravel(),
        rho=part.rho,
        threshold=part.threshold,
        better=part.direction,
    )
    return found.reshape(value.shape)


def _filled(column: Floats, absent: NDArray[np.bool_], case: Codes) -> Floats:
    """Absent entries from the same series, else from the same case, else NaN."""
    out = column.copy()
    for groups in (np.arange(case.size), case):
        known = np.isfinite(out)
        totals = np.bincount(groups, weights=np.where(known, out, 0.0).sum(axis=1))
        counts = np.bincount(groups, weights=known.sum(axis=1))
        mean = np.divide(totals, counts, out=np.full(totals.size, np.nan), where=counts > 0)
        out = np.where(absent & ~known, mean[groups][:, None], out)
    return out


def _worst(
    value: Floats, reference: Floats | None, absent: NDArray[np.bool_], case: Codes, part: Contract
) -> tuple[Floats, Floats | None]:
    """Values and references with absent entries at the largest possible loss: min(bound, reference - 0), else infinite."""
    higher, bound = part.direction == "higher", part.bound
    r = np.full_like(value, np.nan) if reference is None else _filled(reference, absent, case)
    known = np.isfinite(r)
    if bound is None:
        r = np.where(known, r, 0.0)
        worst = np.full_like(value, -np.inf if higher else np.inf)
    elif higher:
        r = np.where(known, r, bound)
        worst = np.where(r >= 0.0, np.maximum(r - bound, 0.0), r - bound)
    else:
        r = np.where(known, r, 0.0)
        worst = r + bound
    return np.where(absent, worst, value), None if reference is None else np.where(absent, r, reference)


def _name(rows: Rows, row: int) -> str:
    labels = rows.table.labels
    names = {word: labels[word].names[labels[word].codes[row]] for word in ("case", "codec", "organ", "reader", "unit")}
    names["level"] = str(rows.table.levels[rows.table.level[row]])
    order = ("case", "codec", "level", "organ", "reader", "unit")
    return ", ".join(f"{word} {names[word]}" for word in order if names[word])
