"""Rows in, columns out: one door for lists of mappings or trials, columns, Arrow tables and data frames."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Level

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
REQUIRED = ("case", "codec", "level", "value")
LABELS = ("case", "codec", "unit", "organ", "reader", "fold", "metric")
NO_ROWS = "trials: no rows; a verdict needs at least one case at one level"
NUMBERS = ("value", "reference", "observer", "achieved_cr", "raw_bytes", "encoded_bytes")


@dataclass(frozen=True)
class Labels:
    """A column of names as numbers: codes (rows,) index into names, which are in order of first appearance."""

    names: tuple[str, ...]
    codes: Codes


@dataclass(frozen=True)
class Table:
    """The rows as columns. numbers: NaN where empty, and only the columns that came. levels: distinct settings."""

    labels: Mapping[str, Labels]
    numbers: Mapping[str, Floats]
    levels: tuple[Level, ...]
    level: Codes
    identical: NDArray[np.bool_] | None

    @property
    def rows(self) -> int:
        """How many rows."""
        return int(self.level.size)


def columns_of(trials: Any) -> Mapping[str, Sequence[Any]]:
    """Columns by name of whatever holds rows; InputError when it is none of them."""
    if hasattr(trials, "to_pydict"):  # pyarrow
        found: Mapping[str, Sequence[Any]] = trials.to_pydict()
        return found
    if isinstance(trials, Mapping):
        return trials
    if hasattr(trials, "columns") and hasattr(trials, "__getitem__"):  # pandas, polars
        return {str(name): list(trials[name]) for name in trials.columns}
    if not isinstance(trials, Iterable) or isinstance(trials, (str, bytes)):
        raise InputError(f"trials: want rows (mappings), columns, or a table; got {type(trials).__name__}")
    rows = [_fields(row) for row in trials]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _fields(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    raise InputError(f"trials: want each row as a mapping or a Trial; got {type(row).__name__}")


def table_of(trials: Any) -> Table:
    """The rows of `trials` in columns; InputError for no rows, an absent column, or what is no number."""
    columns = {name: _list(column) for name, column in columns_of(trials).items()}
    if not columns:
        raise InputError(NO_ROWS)
    for name in REQUIRED:
        if name not in columns:
            raise InputError(
                f"trials: column {name} is missing; required: {', '.join(REQUIRED)}; came: {', '.join(columns)}"
            )
    known = [name for name in (*LABELS, *NUMBERS, "level", "identical") if name in columns]
    sizes = {len(columns[name]) for name in known}
    if sizes == {0}:
        raise InputError(NO_ROWS)
    if len(sizes) > 1:
        raise InputError(f"trials: columns of different lengths: {', '.join(f'{k} {len(columns[k])}' for k in known)}")
    rows = sizes.pop()
    labels = {name: labels_of(columns.get(name), rows) for name in LABELS}
    for name in ("case", "codec"):
        if "" in labels[name].names:
            raise InputError(f"trials: row {_first(labels[name], '')} has no {name}; every row needs one")
    levels, codes = _levels(columns["level"])
    numbers = {name: _floats(name, columns[name]) for name in NUMBERS if name in columns}
    identical = np.array([_true(v) for v in columns["identical"]], np.bool_) if "identical" in columns else None
    return Table(labels, _useful(numbers), levels, codes, identical)


def labels_of(column: Sequence[Any] | None, rows: int) -> Labels:
    """A column of names; None, NaN and an absent column are the empty name."""
    if column is None:
        return Labels(("",), np.zeros(rows, np.intp))
    seen: dict[Any, int] = {}
    names: dict[str, int] = {}
    codes = np.empty(rows, np.intp)
    for row, value in enumerate(column):
        code = seen.get(value)
        if code is None:
            empty = value is None or (isinstance(value, float) and math.isnan(value))
            code = seen[value] = names.setdefault("" if empty else str(value), len(names))
        codes[row] = code
    return Labels(tuple(names), codes)


def _first(labels: Labels, name: str) -> int:
    return int(np.flatnonzero(labels.codes == labels.names.index(name))[0])


def _list(column: Any) -> Sequence[Any]:
    found: Sequence[Any] = column.tolist() if hasattr(column, "tolist") else list(column)
    return found


def _levels(column: Sequence[Any]) -> tuple[tuple[Level, ...], Codes]:
    names: dict[Level, int] = {}
    codes = np.empty(len(column), np.intp)
    for row, value in enumerate(column):
        if value is None or value == "" or value != value:
            raise InputError(f"trials: row {row} has no level; want the nominal setting, a number or a name")
        codes[row] = names.setdefault(level_of(value), len(names))
    return tuple(names), codes


def level_of(value: Any) -> Level:
    """A nominal setting: a number where it reads as one (8, 8.0 and "8" are one level), else its name."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(number):
        return str(value)
    return int(number) if number.is_integer() else number


def _floats(name: str, column: Sequence[Any]) -> Floats:
    try:
        return np.asarray(column, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError):
        pass
    found = np.empty(len(column))
    for row, value in enumerate(column):
        try:
            found[row] = math.nan if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            raise InputError(f'trials: row {row} has {name} "{value}"; want a number, or nothing when absent') from None
    return found


def _useful(numbers: Mapping[str, Floats]) -> dict[str, Floats]:
    """Without optional columns that hold nothing: a list of trials carries every field."""
    return {name: column for name, column in numbers.items() if name == "value" or not np.isnan(column).all()}


def _true(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() not in ("true", "false", "1", "0", ""):
            raise InputError(f'trials: identical "{value}"; want true or false')
        return value.lower() in ("true", "1")
    return value is not None and value == value and bool(value)
