"""The rows of a study: their columns, their order, and how they get to the disk so that nothing is ever half there.

While a study runs, rows are appended as parts: small Parquet files that appear whole under their name or not at all. At
the end the parts become one sorted file; the parts go only once that stands. kill -9 at any moment leaves whole parts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.nouns import Needs
from slimscan.study.folder import Folder

PYARROW = Needs("pyarrow", "pyarrow", "study")

COLUMNS: Mapping[str, str] = {
    "case": "string",  # the patient or animal: the independent unit
    "image": "string",  # one image of the case; the same as case when there is one
    "unit": "string",  # the image's name when its case has several, else ""
    "codec": "string",
    "level": "double",  # nominal number of the level
    "step": "int32",  # 1 for the mildest level of the codec, 2 for the next ...
    "target": "string",  # what was asked of the codec, "psnr:55dB,peak=stored"
    "setting": "string",  # where its knob stood, "jpeg2000@54.7"
    "task": "string",
    "metric": "string",
    "direction": "string",  # which way is better: higher, lower, none
    "organ": "string",
    "reader": "string",  # "" unless people drew
    "fold": "string",  # "" unless the task has folds
    "value": "double",  # on the compressed image
    "reference": "double",  # the same on the uncompressed image; NaN: the organ is not there
    "observer": "double",  # agreement of a second reader on this case; NaN without one
    "achieved_cr": "double",  # raw bytes / bytes counted (file or payload, as the study says)
    "ratio": "double",  # raw bytes / bytes of the file
    "ratio_payload": "double",  # raw bytes / bytes of the chunks
    "raw_bytes": "int64",
    "file_bytes": "int64",
    "payload_bytes": "int64",
    "encoded_bytes": "int64",  # the bytes that achieved_cr counts
    "psnr_db": "double",  # inf when nothing differs
    "max_abs_error": "double",
    "snr_db": "double",  # variance of the image over the mean squared error: the proxy of the gate
    "identical": "bool",  # every voxel came back as it was
    "status": "string",  # ok, empty, failed, unreachable, missing
    "note": "string",  # what a failure said
    "job": "string",  # fingerprint of everything that decides the row
}

ORDER = ("codec", "step", "task", "organ", "metric", "reader", "case", "image", "unit")

Row = dict[str, Any]


def sort_key(row: Row) -> tuple[Any, ...]:
    """Where a row stands in trials.parquet."""
    return tuple(row[name] for name in ORDER)


def write(rows: Sequence[Row], path: Path) -> None:
    """Rows to one Parquet file, in their order; it appears whole or not at all, and the same rows give the same bytes."""
    pa, pq = _arrow()
    schema = pa.schema([(name, getattr(pa, _ARROW[kind])()) for name, kind in COLUMNS.items()])
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    found = pa.table(columns, schema=schema)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    with hidden.open("wb") as file:
        pq.write_table(found, file, compression="zstd", version="2.6", store_schema=False)
        file.flush()
        os.fsync(file.fileno())
    hidden.replace(path)


def read(path: Path) -> list[Row]:
    """The rows of a file, in its order; InputError when it is no file of rows."""
    pa, pq = _arrow()
    try:
        found = pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        raise InputError(f"{path}: is not there; run the study first") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from error
    missing = [name for name in COLUMNS if name not in found.column_names]
    if missing:
        raise InputError(f"{path}: the column {missing[0]} is missing; this is not a study's table of trials")
    return list(found.select(list(COLUMNS)).to_pylist())


class Parts:
    """The parts of a folder: read what is there, append what comes."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._next = 0
        folder.parts.mkdir(parents=True, exist_ok=True)
        for path in folder.parts.glob(".*"):
            path.unlink()  # a part that was being written when the run was killed

    def rows(self) -> list[Row]:
        """All rows of all parts; a damaged part (a power cut) counts as not written."""
        out: list[Row] = []
        for path in sorted(self._folder.parts.glob("*.parquet")):
            self._next = max(self._next, int(path.stem) + 1)
            try:
                out += read(path)
            except InputError:
                path.unlink()
        return out

    def append(self, rows: Sequence[Row]) -> None:
        """One more part."""
        if rows:
            write(rows, self._folder.parts / f"{self._next:06}.parquet")
            self._next += 1

    def finish(self, rows: Iterable[Row]) -> None:
        """The sorted file in place of the parts."""
        write(sorted(rows, key=sort_key), self._folder.trials)
        for path in self._folder.parts.glob("*"):
            path.unlink()
        self._folder.parts.rmdir()


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as columns by name."""
    return {name: [row[name] for row in rows] for name in COLUMNS}


def nan_if_none(value: float | None) -> float:
    """JSON's null back as NaN."""
    return math.nan if value is None else float(value)


_ARROW = {"string": "string", "double": "float64", "int32": "int32", "int64": "int64", "bool": "bool_"}


def _arrow() -> Any:
    PYARROW.demand("a study's table of trials")
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet
