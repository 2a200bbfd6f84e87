"""Probes: encode pieces of a volume at some place of the knob, decode them, measure, remember.

A probe is never thrown away: what was encoded once for a piece and a value is looked up, and its payload is kept in an
unnamed temporary file, so that the written file is the very bytes that were measured.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from slimscan.each import Each
from slimscan.nouns import Pixels, Region, Volume
from slimscan.press.roi_treat import Treat, treated
from slimscan.press.scheme import Scheme, decode, encode, head_of, prepare, with_inside

Piece = tuple[int, int]  # slices start..stop-1


@dataclass(frozen=True, slots=True)
class Sample:
    """nbytes: payload. sse: sum of squared errors in stored units. worst: largest error. voxels: samples of the piece."""

    nbytes: int
    sse: float
    worst: float
    voxels: int


@dataclass(frozen=True, slots=True)
class Job:
    """One piece at one value, with everything a worker anywhere needs. head: its envelope, when it is known already.

    inside: (z, y, x), a region that is kept apart: errors are those outside. treat: what is done outside before coding.
    """

    scheme: Scheme
    pixels: Pixels
    value: float | None
    measure: bool
    head: bytes | None = None
    inside: Pixels | None = None
    treat: Treat | None = None


def run_job(job: Job) -> tuple[bytes, float, float]:
    """(payload, sum of squared errors, largest error); the errors are NaN when not measured."""
    scheme, pixels, value, treat = job.scheme, job.pixels, job.value, job.treat
    if treat is not None and scheme.inside is None:
        pixels = treated(treat, pixels, job.inside, value)
    ready = prepare(scheme, pixels, job.head, job.inside)
    if treat is not None and scheme.inside is not None and not ready.empty:
        ready = replace(ready, codes=treated(treat, ready.codes, None, value))
    coded = treat.near if treat is not None and treat.searched else value
    payload = encode(scheme, ready, coded)
    if not job.measure:
        return payload, float("nan"), float("nan")
    if value is None and treat is None and scheme.grid.exact:
        return payload, 0.0, 0.0
    if ready.empty and scheme.inside is not None:  # background and region only
        return payload, 0.0, 0.0
    if coded is None and scheme.grid.exact and scheme.inside is None:
        back = pixels
    else:
        back = decode(scheme, payload, job.pixels.shape, ready.mask, False)
    if job.inside is not None:
        where = job.inside if back.ndim == 3 else job.inside[..., None]
        back = np.where(where, job.pixels, back)
    sse, worst = errors(job.pixels, back)
    return payload, sse, worst


def errors(reference: Pixels, test: Pixels) -> tuple[float, float]:
    """(sum of squared differences, largest absolute difference) in float64."""
    if reference.dtype.kind in "iu" and reference.dtype.itemsize <= 2:
        # int32 holds every difference of 16-bit values and float64 every sum of their squares: exact, half the memory.
        difference = np.subtract(reference, test, dtype=np.int32).ravel()
        worst = max(int(difference.max(initial=0)), -int(difference.min(initial=0)))
        if not worst:
            return 0.0, 0.0
        flat = difference.astype(np.float64)
        flat *= flat  # not flat @ flat: BLAS starts threads of its own under every thread here
        return float(flat.sum()), float(worst)
    exact = reference.astype(np.float64) - test.astype(np.float64)
    return float((exact * exact).sum()), float(np.abs(exact).max(initial=0))


@dataclass
class Prober:
    """Runs jobs over pieces of one volume and remembers every sample."""

    volume: Volume
    scheme: Scheme
    each: Each
    measure: bool
    keep: bool = True
    samples: dict[tuple[Piece, float | None], Sample] = field(default_factory=dict)
    heads: dict[Piece, bytes] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    spool: Spool = field(default_factory=lambda: Spool())
    progress: Any = None
    region: Region | None = None
    treat: Treat | None = None
    insides: dict[Piece, int] = field(default_factory=dict)

    def run(self, pieces: Sequence[Piece], values: Sequence[float | None], *, spool: bool = True) -> list[Sample]:
        """The sample of every piece at its value; only what is not known yet is encoded."""
        wanted = [
            (piece, value)
            for piece, value in zip(pieces, values, strict=True)
            if (piece, value) not in self.samples or (spool and (piece, value) not in self.spool)
        ]
        jobs = (
            Job(
                self.scheme,
                self.volume.slices(*piece),
                value,
                self.measure,
                self.heads.get(piece),
                None if self.region is None else self.region.inside(*piece),
                self.treat,
            )
            for piece, value in wanted
        )
        for (piece, value), (payload, sse, worst) in zip(wanted, self.each(run_job, jobs), strict=True):
            voxels = int(np.prod(self.volume.shape[1:])) * (piece[1] - piece[0])
            if piece not in self.heads:
                self.heads[piece] = head_of(self.scheme, payload)
            self.samples[piece, value] = Sample(len(payload), sse, worst, voxels)
            if spool:
                self.spool.put((piece, value), payload)
            if self.progress is not None:
                self.progress(piece[1] - piece[0])
        out = [self.samples[piece, value] for piece, value in zip(pieces, values, strict=True)]
        if wanted:
            self._note(pieces, values, out, len(wanted))
        return out

    def keep_inside(self, piece: Piece, where: bytes, correction: bytes) -> None:
        """Remember what code_region() gave for a piece, in place of what was there."""
        self.insides[piece] = len(where)
        self.spool.put((piece, "inside"), where + correction)

    def payload(self, piece: Piece, value: float | None) -> bytes:
        """The whole chunk of a piece that was run at that value."""
        base = self.spool.get((piece, value))
        if piece not in self.insides:
            return base
        kept, length = self.spool.get((piece, "inside")), self.insides[piece]
        return with_inside(base, kept[:length], kept[length:])

    def _note(
        self, pieces: Sequence[Piece], values: Sequence[float | None], out: Sequence[Sample], encoded: int
    ) -> None:
        slices = sum(stop - start for start, stop in pieces)
        distinct = sorted({-1.0 if value is None else value for value in values})
        voxels = sum(sample.voxels for sample in out)
        self.log.append(
            {
                "codec": self.scheme.codec,
                "value": distinct[0] if len(distinct) == 1 and distinct[0] >= 0 else None,
                "values": [distinct[0], distinct[-1]],
                "slices": slices,
                "part": round(slices / self.volume.shape[0], 4),
                "pieces": len(pieces),
                "encoded": encoded,
                "payload_bytes": sum(sample.nbytes for sample in out),
                "mse": sum(sample.sse for sample in out) / voxels if self.measure else None,
                "max_abs_error": max(sample.worst for sample in out) if self.measure else None,
            }
        )


class Spool:
    """Payloads by key in one unnamed temporary file: nothing is left behind, whatever happens to the process."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._opened: IO[bytes] | None = None
        self._places: dict[Any, tuple[int, int]] = {}
        self._end = 0
        self._lock = threading.Lock()

    def place(self, folder: Path | None) -> None:
        """Use that folder's disk: the output's, since a temporary folder may be memory."""
        self._folder = folder

    @property
    def _file(self) -> IO[bytes]:
        if self._opened is None:
            self._opened = tempfile.TemporaryFile(prefix=".slimscan-", dir=self._folder)  # noqa: SIM115 (kept open)
        return self._opened

    def __contains__(self, key: Any) -> bool:
        return key in self._places

    def forget(self) -> None:
        """Drop every key."""
        with self._lock:
            self._places.clear()
            self._end = 0

    def put(self, key: Any, payload: bytes) -> None:
        """Keep the payload."""
        with self._lock:
            self._file.seek(self._end)
            self._file.write(payload)
            self._places[key] = (self._end, len(payload))
            self._end += len(payload)

    def get(self, key: Any) -> bytes:
        """The payload of that key."""
        with self._lock:
            start, length = self._places[key]
            self._file.seek(start)
            return self._file.read(length)

    def close(self) -> None:
        """Give the disk space back."""
        if self._opened is not None:
            self._opened.close()
