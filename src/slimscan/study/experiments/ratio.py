"""One volume compressed to asked ratios, or to the nearest that its codec reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from slimscan.codecs import codec as find_codec
from slimscan.each import serial
from slimscan.errors import CheckFailed, TargetUnreachable
from slimscan.nouns import Pixels, Ratio, Setting
from slimscan.press.choose import Case, prober_of
from slimscan.press.copy import Copier
from slimscan.press.probe import Piece
from slimscan.press.search import Axis
from slimscan.press.store import chunk_pieces
from slimscan.study.experiments.prepare import Prepared

STEPS, NEAR = 24, 0.01  # encodings for one ratio at most; of a logarithm: within 1 %
Values = tuple[float | None, ...]


class Press:
    """One volume to several ratios; what was encoded for one serves the next."""

    def __init__(self, ready: Prepared, words: Mapping[str, Any], source: str) -> None:
        self.ready, self.words = ready, words
        self.volume = replace(ready.volume, source=source)
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
            self.prober = prober_of(Case(self.volume, seen, Ratio(ratio), "volume", serial), found.name)
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
