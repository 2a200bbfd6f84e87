"""One image there and back without leaving a file: decoded pixels and a receipt, for studies.

The container is written to a temporary folder all the same, because a size is measured on what was written. Searches
for several targets of one codec share their probes: what was encoded once for one target serves the next.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from slimscan.codecs import codec as find_codec
from slimscan.each import Each, serial
from slimscan.errors import CheckFailed, InputError
from slimscan.nouns import Check, Lossless, MaxError, Peak, Pixels, Psnr, Receipt, Setting, Target, Volume
from slimscan.press.choose import Case, Per, check_target, prober_of, settle
from slimscan.press.compress import TRIES, Order, _admit_lossy, _on_grid
from slimscan.press.outputs import guess_overhead, write_box
from slimscan.press.probe import Job, Piece, Prober, run_job
from slimscan.press.receipt import sign, travelling
from slimscan.press.store import RECEIPT, chunk_pieces
from slimscan.press.survey import Survey, survey, usable
from slimscan.press.units import stored
from slimscan.press.verify import checks, measure, ratio_check

Values = tuple[float | None, ...]


@dataclass(frozen=True)
class Copied:
    """pixels: what came back, in the source's shape and type. values: the knob of every chunk (None: lossless).

    The receipt's `source` and `output` are the source's name; `probes` is empty, so that the numbers of a file do not
    depend on what was tried before it. `seconds` counts everything, the search included.
    """

    pixels: Pixels
    receipt: Receipt
    values: Values


@dataclass
class Copier:
    """Copies of one volume by one codec. Close it to give temporary disk space back."""

    volume: Volume
    codec: str
    per: Per = "volume"
    each: Each = serial
    seen: Survey | None = None
    _probers: dict[tuple[bool, bool], Prober] = field(default_factory=dict)
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def __post_init__(self) -> None:
        self.volume = usable(self.volume)
        pixels = self.volume.pixels
        if not isinstance(pixels, np.ndarray):
            self.volume = replace(self.volume, pixels=np.asarray(pixels[0 : pixels.shape[0]]))
        if self.seen is None:
            self.seen = survey(self.volume, self.each)
        find_codec(self.codec)

    def copy(self, target: Target, *, values: Values | None = None, peak: Peak = "stored") -> Copied:
        """The volume compressed to `target` and decoded again.

        values: what an earlier copy to the same target found; no search is made then. peak: of the receipt's PSNR.
        InputError, LayoutRefused or TargetUnreachable when it cannot be; CheckFailed when a promise is not kept.
        """
        started = time.perf_counter()
        check_target(target)
        target = _on_grid(stored(target, self.volume) if isinstance(target, MaxError) else target)
        if isinstance(target, Setting) and target.codec != self.codec:
            raise InputError(f"{target} names another codec than {self.codec}; give one of its own settings")
        _admit_lossy(self.volume, target)
        assert self.seen is not None
        case = Case(self.volume, self.seen, target, self.per, self.each)
        prober = self._prober(case)
        if isinstance(target, Psnr):
            peak = target.peak
        extra = guess_overhead("box", self.volume, prober.scheme, case.bits)
        failed: list[Check] = []
        for _ in range(TRIES):
            case = replace(case, overhead=extra)
            copied = _once(case, prober, values, peak, started, self._place())
            failed = [check for check in copied.receipt.checks if not check.passed]
            if not failed:
                return copied
            counted = copied.receipt.file_bytes - copied.receipt.payload_bytes
            if [check.name for check in failed] != ["ratio"] or counted == extra or values is not None:
                break
            extra = counted
        told = "; ".join(f"{check.name}: asked {check.asked}, got {check.got}" for check in failed)
        raise CheckFailed(f"{self.volume.source}: {told}")

    def _prober(self, case: Case) -> Prober:
        target = case.target
        exact = isinstance(target, Lossless) or (isinstance(target, Setting) and target.value is None)
        key = (exact, isinstance(target, Psnr))
        fresh = prober_of(case, self.codec)
        known = self._probers.setdefault(key, fresh)
        if known.scheme != fresh.scheme or known.measure != fresh.measure:  # a largest error beside a ratio
            known.spool.close()
            self._probers[key] = known = fresh
        return known

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="slimscan-")
        return Path(self._folder.name) / "copy.ozx"

    def close(self) -> None:
        """Give the temporary disk space back."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        for prober in self._probers.values():
            prober.spool.close()
        self._probers.clear()


def _once(case: Case, prober: Prober, known: Values | None, peak: Peak, started: float, place: Path) -> Copied:
    volume, scheme = case.volume, prober.scheme
    values, payloads, pieces = _payloads(case, prober, known)
    written = write_box(place, volume, scheme, case.bits, payloads, RECEIPT)
    decoded = [written.decode(index) for index in range(len(pieces))]
    measured = measure(volume, lambda index: decoded[index], pieces, case.each, scheme.background)
    promised = checks(case.target, measured, case.peak(peak), str(peak), case.per)
    order = Order(Path(volume.source), "box", case.target, peak, True, False, started)
    receipt = sign(order, case, scheme, values, (), written.payload_bytes, measured, promised)
    written.finish(travelling(receipt, measured))
    receipt = receipt.on_disk(place.stat().st_size)
    exact = all(value is None for value in values)
    promised = [*promised, *ratio_check(case.target, case.per, receipt.ratio, exact, rounds=not scheme.grid.exact)]
    seconds = time.perf_counter() - started
    receipt = replace(
        receipt, checks=tuple(promised), seconds=seconds, megabytes_per_second=receipt.raw_bytes / 1e6 / seconds
    )
    return Copied(np.concatenate(decoded), receipt, values)


def _payloads(case: Case, prober: Prober, known: Values | None) -> tuple[Values, Sequence[bytes], list[Piece]]:
    """(knob, bytes, slices) of every chunk: searched, looked up after a search, or encoded at known values."""
    pieces = chunk_pieces(case.volume.shape[0], prober.scheme.depth)
    if known is None:
        _, found = settle(case, prober)
        if found is not None:
            keys = zip(pieces, found.values, strict=True)
            return found.values, [prober.spool.get(key) for key in keys], pieces
    given = case.target.value if isinstance(case.target, Setting) else None
    values = (given,) * len(pieces) if known is None else known
    if len(values) != len(pieces):
        raise InputError(f"{case.volume.source}: {len(values)} values for {len(pieces)} chunks; search again")
    jobs = (
        Job(prober.scheme, case.volume.slices(*piece), value, False)
        for piece, value in zip(pieces, values, strict=True)
    )
    return values, [payload for payload, _, _ in case.each(run_job, jobs)], pieces
