"""Volumes written while bytes go on coming: OUT is the best of what is here, whole or not at all."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child, files
from slimscan.errors import CheckFailed
from slimscan.files.ozx import open_box
from slimscan.nouns import Check, Pixels, Volume
from slimscan.press.ahead import Ahead
from slimscan.press.decompress import decompress
from slimscan.press.open import lazy
from slimscan.press.outputs import kind_of
from slimscan.press.partial import Superseded, told, volume_at
from slimscan.press.staging import staged
from slimscan.press.store import receipt_of
from slimscan.wire.plan import STEPS, Plan

IN_MEMORY = 2 << 30  # bytes of raw samples that are decoded at once


@dataclass(frozen=True)
class StepDone:
    """One step. arrived_s, usable_s: seconds from the start until its bytes were here, and until OUT held its volume.

    usable_s is None when more came before it was written. says: how much of the volume is there.
    """

    step: str
    bytes: int
    arrived_s: float
    usable_s: float | None
    says: str


@dataclass
class Writer:
    """Writes OUT in a thread of its own while bytes go on coming; only the newest step is written."""

    place: Path
    wanted: bool  # a volume after every step, not only the last
    started: float
    untrusted: bool | child.Limits
    ahead: Ahead
    steps: list[StepDone] = field(default_factory=list)
    checks: tuple[Check, ...] = ()
    final: bool = False  # OUT was decoded from all slices
    _next: list[tuple[str, Plan, Path]] = field(default_factory=list)
    _change: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False
    _error: BaseException | None = None
    _thread: threading.Thread | None = None

    def __enter__(self) -> Writer:
        self._thread = threading.Thread(target=self._run, name="writer of OUT")
        self._thread.start()
        return self

    def __exit__(self, kind: Any, *_unused: object) -> None:
        with self._change:
            self._ended = True
            self._change.notify_all()
        assert self._thread is not None
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def arrived(self, step: str, plan: Plan, body: Path) -> None:
        """A step is complete; an error of the last writing is raised here."""
        with self._change:
            if self._error is not None:
                raise self._error
            self.steps.append(StepDone(step, plan.bytes_of(step), time.perf_counter() - self.started, None, ""))
            self._next.append((step, plan, body))
            self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._next and not self._ended:
                    self._change.wait()
                if not self._next:
                    return
                step, plan, body = self._next[-1]
                self._next.clear()
            try:
                with child.apart(self.untrusted):
                    says = self._write(step, plan, body)
            except Superseded:
                continue
            except BaseException as error:  # noqa: BLE001 it is raised in the thread that waits
                self._error = error
                return
            with self._change:
                now = time.perf_counter() - self.started
                at = next(i for i, done in enumerate(self.steps) if done.step == step)
                self.steps[at] = replace(self.steps[at], usable_s=now if says else None, says=says)

    def _write(self, step: str, plan: Plan, body: Path) -> str:
        """Write what a step made possible; "" when OUT has to wait."""
        if kind_of(self.place) == "box":
            return ""
        index = STEPS.index(step)
        # The region is what is waited for: its volume is not given up for one of a few more bytes.
        ready = partial(self.ahead.chunk, plan)
        volume, state = volume_at(body, plan, index, lambda: step != "region" and bool(self._next), ready)
        if state.whole == state.slices:
            self.checks = self._whole(body, plan, volume, exact=step == "exact")
            self.final = True
            return str(state)
        if not self.wanted:
            return ""
        with staged(self.place, True) as stage:
            files.write(told(volume, state) if ".nii" in self.place.name.lower() else volume, stage.path)
        return str(state)

    def _whole(self, body: Path, plan: Plan, volume: Volume, *, exact: bool) -> tuple[Check, ...]:
        """Write a volume of which every slice is there, its samples checked against the receipt's checksum.

        It is decoded once where it fits into memory, else once to write and once to check.
        """
        said = receipt_of(open_box(body)).get("sha256" if exact else "decoded_sha256")
        raw = int(np.prod(volume.shape, dtype=np.int64)) * volume.pixels.dtype.itemsize
        if raw > IN_MEMORY or said is None:
            return decompress(body, self.place, force=True, untrusted=self.untrusted, exact=exact).checks
        with staged(self.place, True) as stage:
            found = lazy(body, exact=True) if exact else volume
            before = self.ahead.original(plan) if exact else None
            pixels = found.slices(0, found.shape[0]) if before is None else before
            same = _sha256(pixels) == said
            name, asked = (
                ("exact", "the original's samples") if exact else ("receipt", "the samples that were verified")
            )
            check = Check(name, f"{asked}, by their sha256", "yes" if same else "no", same)
            if not same:
                raise CheckFailed(f"{body}: {name}: asked {check.asked}, got no; fetch the file again")
            files.write(replace(found, pixels=pixels), stage.path)
        return (check,)


def _sha256(pixels: Pixels) -> str:
    """As receipts have it: stored samples in C order, little endian."""
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()
