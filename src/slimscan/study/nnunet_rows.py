"""The rows of a run of nnU-Net: written, read, and their means."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError

COLUMNS = (
    "experiment", "fold", "network", "dims", "trained", "tested", "patient", "case", "class", "dsc", "smbd_mm",
    "ratio_achieved", "ratio_payload", "psnr_db", "peak", "train_bytes",
)  # fmt: skip


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line a (trained, tested, class): n, mean and deviation of DSC, mean ratios of file and payload."""
    out: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        out.setdefault((str(row["trained"]), str(row["tested"]), str(row["class"])), []).append(row)
    lines = []
    for (trained, tested, organ), mine in out.items():
        dsc = [float(row["dsc"]) for row in mine if row["dsc"] not in ("", None)]
        ratio, payload = (
            float(np.mean([float(row[name]) for row in mine])) for name in ("ratio_achieved", "ratio_payload")
        )
        lines.append(
            {
                "trained": trained,
                "tested": tested,
                "class": organ,
                "n": len(dsc),
                "dsc": float(np.mean(dsc)) if dsc else math.nan,
                "deviation": float(np.std(dsc, ddof=1)) if len(dsc) > 1 else math.nan,
                "ratio": ratio,
                "ratio_payload": payload,
            }
        )
    return lines


def read_rows(folder: Path) -> list[dict[str, str]]:
    """rows.csv; InputError when it is not there."""
    try:
        with (folder / "rows.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{folder / 'rows.csv'}: cannot be read ({error.strerror or error})") from None


def write_rows(place: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """rows.csv, whole or not at all."""
    hidden = place.with_name(f".{place.name}")
    with hidden.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    hidden.replace(place)
