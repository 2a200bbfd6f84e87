"""One loss a case and level: units averaged inside the case, then readers; a patient is n (STATISTICS section 0)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimscan.nouns import Contract
from slimscan.stats import Clusters, clusters_of
from slimscan.study.grid import Grid, Rows, grid_of
from slimscan.study.table import Codes, Floats

EXACT = 1e10  # losses are whole multiples of 1e-10, so sums of them are exact and no order of rows can be seen


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
    grid = grid_of(rows, np.flatnonzero(inside), readers, part, organ, whole.missing)
    return list(_groups(grid, rows, part, organ, readers, whole))


def _groups(
    grid: Grid, rows: Rows, part: Contract, organ: str, readers: list[str], whole: Contract
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
    order = np.lexsort((x, case))  # one order of adding, whatever the order of rows
    x, case = x[order], case[order]
    x = x - (x.mean() if x.size else 0.0)
    sizes = np.bincount(case, minlength=many).astype(np.float64)
    sums, squares = (np.bincount(case, weights=w, minlength=many).astype(np.float64) for w in (x, x * x))
    some = sizes > 0
    return clusters_of(sizes[some], sums[some], squares[some])
