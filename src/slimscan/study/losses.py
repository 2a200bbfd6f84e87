"""From rows to one loss a case and level: missing rows, undefined references, units and readers (STATISTICS section 0)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Contract, Level
from slimscan.stats import Clusters, case_order, clusters_of, contrast, loss
from slimscan.study.table import Codes, Floats, Table

EXACT = 1e10  # losses are whole multiples of 1e-10, so sums of them are exact and no order of rows can be seen


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
class Losses:
    """What one organ (metric, reader) lost. x, tail: (levels, cases), loss or contrast, and what the tail test counts.

    d: the plain loss against the reference, None without a reference. readers: x by reader where three or more were
    averaged. dropped: cases without a defined reference. clusters: by level, None when every case has one unit.
    """

    part: Contract
    organ: str
    reader: str
    cases: tuple[str, ...]
    x: Floats
    tail: Floats
    d: Floats | None
    dropped: int
    units: int
    clusters: tuple[Clusters, ...] | None
    readers: Floats | None

    @property
    def label(self) -> str:
        """Organ, metric and reader, as far as they have names."""
        reader = f"reader {self.reader}" if self.reader else ""
        return " ".join(word for word in (self.organ, self.part.metric, reader) if word)


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


def losses_of(rows: Rows, part: Contract, organ: str, whole: Contract) -> list[Losses]:
    """The losses of one organ and metric: one entry, or one a reader when each must pass.

    InputError for duplicated keys, missing rows (unless declared), NaN values, and losses beyond the declared bound.
    """
    labels = rows.table.labels
    inside = np.ones(rows.index.size, np.bool_)
    for column, name in (("organ", organ), ("metric", part.metric)):
        names = labels[column].names
        if name in names:
            inside &= labels[column].codes[rows.index] == names.index(name)
    readers = sorted({labels["reader"].names[code] for code in np.unique(labels["reader"].codes[rows.index])})
    grid = _grid(rows, np.flatnonzero(inside), readers, part, organ, whole.missing)
    return list(_groups(grid, rows, part, organ, readers, whole))


@dataclass(frozen=True)
class _Grid:
    """Series (case, reader, unit) by levels. cell: reader x cases + case, of every series. x, d: (series, levels)."""

    cell: Codes
    x: Floats
    d: Floats | None
    defined: NDArray[np.bool_]


def _grid(rows: Rows, inside: Codes, readers: list[str], part: Contract, organ: str, missing: str) -> _Grid:
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
    return _Grid(cell, _contrasts(value, reference, observer, d, part), d, defined)


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


def _groups(
    grid: _Grid, rows: Rows, part: Contract, organ: str, readers: list[str], whole: Contract
) -> Iterator[Losses]:
    n, many = len(rows.cases), len(readers)
    used = grid.cell[grid.defined]
    count = np.bincount(used, minlength=many * n).reshape(many, n)
    x = _means(grid.x[grid.defined], used, many * n).reshape(-1, many, n)
    d = None if grid.d is None else _means(grid.d[grid.defined], used, many * n).reshape(-1, many, n)
    worst = np.full(x.shape, -np.inf)
    for level in range(len(x)):
        np.maximum.at(worst[level].reshape(-1), used, grid.x[grid.defined, level])
    each = [[i] for i in range(many)] if whole.readers == "every" else [list(range(many))]
    for chosen in each:
        valid = count[chosen].min(axis=0) > 0
        mean, largest = x[:, chosen][:, :, valid], worst[:, chosen][:, :, valid].max(axis=1)
        merged = mean.mean(axis=1) if len(chosen) > 1 else mean[:, 0]
        plain = None if d is None else d[:, chosen][:, :, valid].mean(axis=1)
        sizes = count[chosen].sum(axis=0)[valid]
        picked = grid.defined & np.isin(grid.cell // n, chosen) & valid[grid.cell % n]
        clusters = None
        if sizes.size and sizes.max() > 1:
            clusters = tuple(_clusters(column, grid.cell[picked] % n, n) for column in grid.x[picked].T)
        yield Losses(
            part,
            organ,
            readers[chosen[0]] if whole.readers == "every" else "",
            tuple(case for case, yes in zip(rows.cases, valid, strict=True) if yes),
            merged,
            largest if whole.tail_unit == "worst" else merged,
            plain,
            int(n - valid.sum()),
            int(sizes.sum()),
            clusters,
            mean.swapaxes(0, 1) if len(chosen) > 2 else None,
        )


def _means(x: Floats, cells: Codes, many: int) -> Floats:
    """(levels, cells) means of (series, levels); NaN where a cell has no series."""
    counts = np.bincount(cells, minlength=many)
    whole = np.rint(x * EXACT)
    sums = np.stack([np.bincount(cells, weights=column, minlength=many) for column in whole.T])
    means: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0) / EXACT
    return means


def _clusters(x: Floats, case: Codes, many: int) -> Clusters:
    finite = np.isfinite(x)
    x, case = x[finite], case[finite]
    x = x - (x.mean() if x.size else 0.0)
    sizes = np.bincount(case, minlength=many).astype(np.float64)
    sums, squares = (np.bincount(case, weights=w, minlength=many).astype(np.float64) for w in (x, x * x))
    some = sizes > 0
    return clusters_of(sizes[some], sums[some], squares[some])


def _name(rows: Rows, row: int) -> str:
    labels = rows.table.labels
    names = {word: labels[word].names[labels[word].codes[row]] for word in ("case", "codec", "organ", "reader", "unit")}
    names["level"] = str(rows.table.levels[rows.table.level[row]])
    order = ("case", "codec", "level", "organ", "reader", "unit")
    return ", ".join(f"{word} {names[word]}" for word in order if names[word])
