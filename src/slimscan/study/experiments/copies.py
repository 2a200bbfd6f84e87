"""Every case compressed once a ratio, decoded, and kept: arrays as .npy, what it cost and what it lost as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan.errors import InputError
from slimscan.nouns import Pixels
from slimscan.study.cache import key_of
from slimscan.study.cases import Case
from slimscan.study.experiments.prepare import Prepared, prepare
from slimscan.study.experiments.ratio import Press
from slimscan.study.experiments.words import Experiment, ratio_text

FORMAT = 1


@dataclass(frozen=True)
class Order:
    """The copies of one case, with everything that a worker needs. key: the hash of all that decides them."""

    case: Case
    classes: Mapping[str, tuple[int, ...]]
    grid: Mapping[str, Any]
    copies: Mapping[str, Any]
    ratios: tuple[float, ...]
    folder: Path
    key: str


@dataclass(frozen=True)
class Copies:
    """The copies of one case. facts: slope, intercept, spacing_mm (z, y, x), raw_bytes, low, high, classes (voxels of each),
    key, and by ratio text in "of": ratio, ratio_payload, file_bytes, payload_bytes, stored_bytes, mse (of codes).
    """

    case: Case
    folder: Path
    facts: Mapping[str, Any]

    def real(self, ratio: str) -> Pixels:
        """The image decoded at that ratio ("1": uncompressed) in real values, float64 (z, y, x)."""
        codes = np.load(self.folder / f"{ratio}.npy").astype(np.float64)
        return np.asarray(codes * self.facts["slope"] + self.facts["intercept"])

    def mask(self) -> Pixels:
        """Channels (z, y, x) uint8."""
        return np.asarray(np.load(self.folder / "mask.npy"))

    def psnr_db(self, ratio: str, peak: float) -> float:
        """10 log10(peak^2 / mean squared error); inf when nothing differs (Kurmukov 2024, eq. 3)."""
        mse = self.facts["of"][ratio]["mse"]
        return 10 * math.log10(peak**2 / mse) if mse > 0 else math.inf


def orders_of(experiment: Experiment, folder: Path) -> list[Order]:
    """One order a case."""
    said = experiment.said
    copies = {word: said["copies"][word] for word in ("codec", "size", "per")}
    out = []
    for case in experiment.cases:
        key = key_of(
            FORMAT, slimscan.__version__, case.sha256, case.mask_sha256, dict(said["grid"]), copies,
            {name: list(values) for name, values in experiment.classes.items()},
        )  # fmt: skip
        place = folder / "copies" / f"{case.image.replace('/', '_')}-{key[:12]}"
        out.append(Order(case, experiment.classes, said["grid"], copies, experiment.ratios, place, key))
    return out


def made(order: Order) -> Copies:
    """The copies of a case: read where they stand, else compressed now, ratio by ratio."""
    known = _known(order)
    of: dict[str, Any] = dict(known.get("of", {}))
    missing = [ratio for ratio in order.ratios if ratio_text(ratio) not in of]
    if missing:
        ready = prepare(order.case, order.classes, order.grid)
        order.folder.mkdir(parents=True, exist_ok=True)
        if not known:
            _save(order.folder / "mask.npy", ready.mask)
            known = _facts(order, ready)
        press = Press(ready, order.copies, order.case.path)
        try:
            for ratio in missing:
                pixels, of[ratio_text(ratio)] = press.at(ratio)
                _save(order.folder / f"{ratio_text(ratio)}.npy", pixels)
        finally:
            press.close()
        known = {**known, "of": of}
        write(order.folder / "facts.json", json.dumps(known, indent=1).encode())
    return Copies(order.case, order.folder, known)


def peak_of(experiment: Experiment, copies: Mapping[str, Copies]) -> float:
    """The peak of every PSNR: as said, 4096 for CT in its own numbers, else max - min over the set."""
    said = experiment.said
    if said["copies"]["peak"] is not None:
        return float(said["copies"]["peak"])
    if said["cases"]["modality"].upper() == "CT" and said["grid"]["bits"] == 0:
        return 4096.0
    low = min(one.facts["low"] for one in copies.values())
    return float(max(1.0, max(one.facts["high"] for one in copies.values()) - low))


def _facts(order: Order, ready: Prepared) -> dict[str, Any]:
    names = list(order.classes)
    return {
        "key": order.key,
        "case": order.case.image,
        "slope": ready.slope,
        "intercept": ready.intercept,
        "spacing_mm": list(ready.volume.spacing_mm),
        "shape": list(ready.codes.shape),
        "dtype": str(ready.codes.dtype),
        "raw_bytes": int(ready.codes.nbytes),
        "low": float(ready.codes.min()),
        "high": float(ready.codes.max()),
        "classes": {name: int((ready.mask == number).sum()) for number, name in enumerate(names, start=1)},
    }


def _known(order: Order) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((order.folder / "facts.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if known.get("key") == order.key else {}


def _save(place: Path, pixels: Pixels) -> None:
    hidden = place.with_name(f".{place.stem}.{os.getpid()}.npy")
    np.save(hidden, pixels)
    hidden.replace(place)


def write(place: Path, data: bytes) -> None:
    """A file that appears whole or not at all."""
    hidden = place.with_name(f".{place.name}.{os.getpid()}")
    hidden.write_bytes(data)
    hidden.replace(place)


def check_classes(experiment: Experiment, copies: Mapping[str, Copies]) -> None:
    """InputError for a class that never occurs."""
    for name, values in experiment.classes.items():
        if not any(one.facts["classes"][name] for one in copies.values()):
            raise InputError(
                f"[cases] classes: {name} = {list(values)} occurs in none of {len(copies)} masks; correct its label value"
            )
