"""Every case compressed once a ratio, decoded, and kept: arrays as .npy, what it cost and what it lost as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan.codecs import codec as find_codec
from slimscan.each import serial
from slimscan.errors import CheckFailed, InputError, TargetUnreachable
from slimscan.nouns import Pixels, Ratio, Setting
from slimscan.press.choose import Case as Asked
from slimscan.press.choose import prober_of
from slimscan.press.copy import Copier
from slimscan.press.probe import Piece
from slimscan.press.search import Axis
from slimscan.press.store import chunk_pieces
from slimscan.study.cache import key_of
from slimscan.study.cases import Case
from slimscan.study.experiments.prepare import Prepared, prepare
from slimscan.study.experiments.words import Experiment, ratio_text

FORMAT = 1
STEPS, NEAR = 24, 0.01  # encodings for one ratio at most; of a logarithm: within 1 %
Values = tuple[float | None, ...]


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
        press = _Press(ready, order)
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


class _Press:
    """One volume to several ratios; what was encoded for one serves the next."""

    def __init__(self, ready: Prepared, order: Order) -> None:
        self.ready, self.words, self.name = ready, order.copies, order.case.path
        self.volume = replace(ready.volume, source=order.case.path)
        self.copier = Copier(self.volume, self.words["codec"], "volume")
        self.copier_ratio = Copier(self.volume, self.words["codec"], self.words["per"])
        self.prober: Any = None
        self.tried: dict[tuple[Piece, ...], dict[float, float]] = {}  # log bytes by place of the knob

    def at(self, ratio: float) -> tuple[Pixels, dict[str, Any]]:
        """(what comes back, what it cost). The nearest ratio that the codec reaches, when it does not reach this one."""
        raw = self.ready.codes.nbytes
        if ratio == 1:
            cost = {
                "file_bytes": raw,
                "payload_bytes": raw,
                "stored_bytes": raw,
                "ratio": 1.0,
                "ratio_payload": 1.0,
                "mse": 0.0,
            }
            return self.ready.codes, cost  # fmt: skip
        copied = self._file(ratio) if self.words["size"] == "file" else self._payload(ratio)
        receipt = copied.receipt
        mse = float(((copied.pixels.astype(np.float64) - self.ready.codes) ** 2).mean())
        counted = receipt.file_bytes if self.words["size"] == "file" else receipt.payload_bytes
        return copied.pixels, {
            "file_bytes": receipt.file_bytes, "payload_bytes": receipt.payload_bytes, "stored_bytes": counted,
            "ratio": raw / receipt.file_bytes, "ratio_payload": raw / receipt.payload_bytes, "mse": mse,
        }  # fmt: skip

    def _file(self, ratio: float) -> Any:
        try:
            return self.copier_ratio.copy(Ratio(ratio))
        except (TargetUnreachable, CheckFailed):
            return self.copier.copy(Setting(self.words["codec"], _coarsest(self.words["codec"])))

    def _payload(self, ratio: float) -> Any:
        values = self._values(ratio)
        return self.copier.copy(Setting(self.words["codec"], values[0]), values=values)

    def _values(self, ratio: float) -> Values:
        """The knob of every chunk for so many payload bytes, over the volume or slice by slice."""
        seen = self.copier.seen
        assert seen is not None
        found = find_codec(self.words["codec"])
        assert found.knob is not None
        if self.prober is None:
            self.prober = prober_of(Asked(self.volume, seen, Ratio(ratio), "volume", serial), found.name)
        pieces = chunk_pieces(self.volume.shape[0], self.prober.scheme.depth)
        groups = [(piece,) for piece in pieces] if self.words["per"] == "slice" else [tuple(pieces)]
        out: list[float | None] = []
        for group in groups:
            share = sum(stop - start for start, stop in group) / self.volume.shape[0]
            value = self._nearest(group, Axis(found.knob), share * self.ready.codes.nbytes / ratio)
            out += [value] * len(group)
        return tuple(out)

    def _nearest(self, group: tuple[Piece, ...], axis: Axis, wanted: float) -> float:
        """The knob whose payload is nearest to so many bytes: secants on their logarithm, halved where those creep.

        press's own search mixes neighbouring qualities over slices to save encodings; here one quality is wanted.
        """
        tried = self.tried.setdefault(group, {})

        def size(place: float) -> float:
            if place not in tried:
                samples = self.prober.run(group, [axis.value(place)] * len(group), spool=False)
                tried[place] = math.log(max(1, sum(sample.nbytes for sample in samples)))
            return tried[place]

        aim = math.log(wanted)
        size(0.0), size(1.0)
        for step in range(STEPS):
            if min(abs(got - aim) for got in tried.values()) <= NEAR:
                break
            low = max((place for place, got in tried.items() if got <= aim), default=None)
            high = min(
                (place for place, got in tried.items() if got > aim and (low is None or place > low)), default=None
            )
            if low is None or high is None:  # outside what the knob reaches
                break
            rise = tried[high] - tried[low]
            part = (aim - tried[low]) / rise if rise > 0 and step % 3 else 0.5
            place = axis.place(axis.value(low + min(max(part, 0.02), 0.98) * (high - low)))
            if place in tried:  # between two steps of the knob
                break
            size(place)
        return axis.value(min(tried, key=lambda place: abs(tried[place] - aim)))

    def close(self) -> None:
        """Give temporary disk space back."""
        self.copier.close()
        self.copier_ratio.close()
        if self.prober is not None:
            self.prober.spool.close()


def _coarsest(name: str) -> float:
    knob = find_codec(name).knob
    assert knob is not None
    return knob.low if knob.finer == "high" else knob.high


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
