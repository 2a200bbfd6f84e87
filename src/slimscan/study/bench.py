"""The bench of one image: what is needed of it, read or computed when first asked for, and kept while it is worked on."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.codecs import codec as find_codec
from slimscan.errors import CheckFailed, InputError, LayoutRefused, TargetUnreachable
from slimscan.nouns import Pixels, Psnr, Target, Volume
from slimscan.press.copy import Copied, Copier
from slimscan.press.open import read
from slimscan.press.receipt import versions
from slimscan.press.surveyed import surveyed
from slimscan.study import tasks
from slimscan.study.cache import Cache, key_of
from slimscan.study.cases import Case
from slimscan.study.levels import CodecPlan, Level
from slimscan.study.task import Asked, Task, as_labels, as_numbers

FORMAT = 1  # of what is cached; changes when a result would


@dataclass
class Clock:
    """Seconds by what they went into."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Count the time inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - started


class Failed(Exception):
    """A task gave no usable answer; the text says what it said."""


@dataclass
class Bench:
    """One image of a study with its cache. copy() and answer() are what everything else is made of."""

    case: Case
    base: Path
    cache: Cache
    keep_predictions: bool
    clock: Clock = field(default_factory=Clock)
    _copiers: dict[tuple[str, str], Copier] = field(default_factory=dict)
    _pixels: dict[str, Pixels] = field(default_factory=dict)

    @functools.cached_property
    def volume(self) -> Volume:
        """The uncompressed image in memory, its stored bits known."""
        with self.clock.during("read"):
            return surveyed(read(self.case.path)).volume

    @functools.cached_property
    def mask(self) -> Pixels | None:
        """The reference labels (z, y, x), or None; InputError when they lie on another grid."""
        if self.case.mask is None:
            return None
        with self.clock.during("read"):
            labels = as_labels(read(self.case.mask).pixels, np.shape(read(self.case.mask).pixels))
        if labels.shape != self.volume.shape[:3]:
            raise InputError(
                f"{self.case.mask}: the mask is {labels.shape}, its image {self.volume.shape[:3]}; give it on that grid"
            )
        return labels

    def facts(self) -> dict[str, Any]:
        """What the image is: for certificates, which speak for images like these."""

        def compute() -> dict[str, Any]:
            volume = self.volume
            pixels = np.asarray(volume.pixels)
            return {
                "shape": list(volume.shape),
                "dtype": str(pixels.dtype),
                "bits": volume.bits,
                "spacing_mm": [round(step, 6) for step in volume.spacing_mm],
                "low": float(pixels.min()) * volume.slope + volume.intercept,
                "high": float(pixels.max()) * volume.slope + volume.intercept,
                "unit": volume.unit,
                "modality": modality(volume),
                "raw_bytes": int(pixels.nbytes),
            }

        found: dict[str, Any] = self.cache.facts("images", key_of(FORMAT, self.case.sha256), compute)
        return found

    def copy_facts(self, plan: CodecPlan, level: Level, others: Mapping[str, CodecPlan]) -> tuple[str, dict[str, Any]]:
        """(key, what compressing to that level gave): searched once, then known."""
        target = self.target(plan, level, others)
        key = self._copy_key(plan, target)
        known = self.cache.known("copies", key)
        if known is None:
            known = self.cache.keep("copies", key, self._compress(plan, target, key))
        return key, known

    def target(self, plan: CodecPlan, level: Level, others: Mapping[str, CodecPlan]) -> Target:
        """What is asked of the codec; for a matched one, the PSNR that the other codec reached on this image."""
        if plan.match is None:
            assert level.target is not None
            return level.target
        other = others[plan.match]
        twin = other.levels[level.step - 1]
        _, facts = self.copy_facts(other, twin, others)
        reached = facts.get("psnr_db")
        if reached is None or not np.isfinite(reached):
            knob = find_codec(other.name).knob  # nothing was lost, or it was not reached: the number that was asked
            decibels = other.kind == "psnr" or (other.kind == "settings" and knob is not None and knob.unit == "dB")
            reached = level.nominal if decibels else 100.0
        return Psnr(round(float(reached), 4), other.peak)

    def _copy_key(self, plan: CodecPlan, target: Target) -> str:
        name = Path(self.case.path).name  # it travels in the file, so it counts in its size
        asked = [type(target).__name__, repr(target)]
        return key_of(FORMAT, self.case.sha256, name, plan.name, asked, plan.per, _versions(plan.name))

    def _compress(self, plan: CodecPlan, target: Target, key: str) -> dict[str, Any]:
        try:
            copied = self._copied(plan, target, None, key)
        except (TargetUnreachable, LayoutRefused, CheckFailed) as error:  # CheckFailed: the search ended beside it
            return {"status": "unreachable", "note": str(error), "target": str(target), "psnr_db": None}
        receipt = copied.receipt
        return {
            "status": "ok",
            "note": "",
            "target": str(target),
            "setting": receipt.setting,
            "values": list(copied.values),
            "raw_bytes": receipt.raw_bytes,
            "file_bytes": receipt.file_bytes,
            "payload_bytes": receipt.payload_bytes,
            "ratio": receipt.ratio,
            "ratio_payload": receipt.ratio_payload,
            "psnr_db": float("inf") if receipt.identical else receipt.psnr_db,
            "max_abs_error": receipt.max_abs_error,
            "snr_db": snr_db(np.asarray(self.volume.pixels), receipt.mse or 0.0),
            "identical": receipt.identical,
        }

    def _copied(self, plan: CodecPlan, target: Target, values: Any, key: str) -> Copied:
        volume = self.volume
        with self.clock.during("codec"):
            copier = self._copiers.get((plan.name, plan.per))
            if copier is None:
                per: Any = plan.per
                copier = self._copiers[plan.name, plan.per] = Copier(volume, plan.name, per)
            copied = copier.copy(target, values=values, peak=plan.peak)
        self._pixels = {key: copied.pixels}  # the latest one only: memory stays at a few volumes
        return copied

    def decoded(self, plan: CodecPlan, target: Target, key: str, facts: Mapping[str, Any]) -> Volume:
        """What comes back from the compressed image; no search is made for it."""
        if key not in self._pixels:
            self._copied(plan, target, tuple(facts["values"]), key)
        return replace(self.volume, pixels=self._pixels[key])

    def answer(self, task: Task, key: str, image: Any, asked: Asked, keep: bool) -> Any:
        """Labels or numbers of a task; `image` is called when the answer is not known. Failed when there is none."""
        entry = self.answer_key(task, key)
        failed = self.cache.known("failures", entry) if keep else None
        if failed is not None:
            raise Failed(str(failed))
        if keep and task.kind == "mask":
            return self.cache.labels("predictions", entry, lambda: self._run(task, image, asked, entry))
        return self._run(task, image, asked, entry if keep else None)

    def _run(self, task: Task, image: Any, asked: Asked, entry: str | None) -> Any:
        volume = image()
        with self.clock.during("task"):
            try:
                answer = task.predict(volume, asked)
                return as_labels(answer, volume.shape) if task.kind == "mask" else as_numbers(answer)
            except MemoryError:
                raise
            except Exception as error:  # whatever somebody's task raises is its answer to this image
                text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
                text = " ".join(text.replace(str(self.base), ".").split())[:300]
                if entry is not None:
                    self.cache.keep("failures", entry, text)
                raise Failed(text) from error

    def answer_key(self, task: Task, key: str) -> str:
        """What decides an answer: the pixels, the task, and the mask or name when the task sees them."""
        seen = {"image": None, "mask": self.case.mask_sha256, "name": [self.case.image, self.case.mask_sha256]}
        return key_of(FORMAT, key, self.case.sha256, task.version, seen[task.sees])

    def asked(self, codec: str = "raw", level: str = "raw") -> Asked:
        """What a task is told beside the image."""
        return Asked(self.case.case, self.case.image, codec, level, self.mask, self.base)

    def close(self) -> None:
        """Give temporary disk space back."""
        with self.clock.during("codec"):
            for copier in self._copiers.values():
                copier.close()


def snr_db(pixels: Pixels, mse: float) -> float:
    """10 log10(variance of the image / mean squared error), at most 200 dB: how far the error is below the contrast.

    The proxy of a certificate's gate. Unlike a PSNR it still tells images apart at a level that fixes the PSNR.
    """
    variance = float(pixels.var(dtype=np.float64))
    if mse <= 0:
        return 200.0
    return float(np.clip(10 * np.log10(max(variance, 1e-300) / mse), -200.0, 200.0))


def modality(volume: Volume) -> str:
    """The modality that the header names, "" when it does not."""
    dicom = volume.about.get("dicom")
    if isinstance(dicom, Mapping):
        for name in ("Modality", "modality", "00080060"):
            if dicom.get(name):
                return str(dicom[name])
    return str(volume.about.get("modality", ""))


@functools.cache
def _versions(codec: str) -> dict[str, str]:
    found = versions(codec)
    found.pop("python", None)  # the same codec in another interpreter gives the same bytes
    return found


_TASKS: dict[str, Task] = {}


def task_of(said: Mapping[str, Any], base: Path) -> Task:
    """The task of checked words, made once a process (a model is loaded once)."""
    key = json.dumps([dict(said), str(base)], sort_keys=True)
    if key not in _TASKS:
        _TASKS[key] = tasks.make(said, base)
    return _TASKS[key]
