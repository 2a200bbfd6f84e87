"""A certificate at work: one new image, compressed as far as was shown to be safe for images like it, or less far.

The image must lie inside the certificate's population. Then the strongest certified level is tried; the file is let
through by the calibrated gate, else the next milder level is tried, and at last the image is kept without loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.codecs import CODECS
from slimscan.errors import InputError, TargetUnreachable
from slimscan.nouns import Check, Lossless, MaxError, Psnr, Ratio, Receipt, Setting, Target, Volume
from slimscan.press.compress import compress
from slimscan.press.copy import Copied, Copier
from slimscan.press.open import read
from slimscan.press.outputs import admit_codec, kind_of
from slimscan.press.receipt import versions
from slimscan.press.staging import admit_output
from slimscan.press.surveyed import surveyed
from slimscan.study.bench import modality, snr_db
from slimscan.study.certificate import load

SLACK = 0.05  # of the span of spacing or values: an image that far outside is still like those of the study
EXACT = ("jpegxl", "jpeg2000")  # the fallback, when the certified codec has no exact mode


@dataclass(frozen=True)
class Step:
    """One level that was tried. passed: whether the gate let the file through."""

    level: float
    target: str
    proxy: float | None
    decision: str
    passed: bool


def apply_certificate(
    source: str | Path | Volume,
    output: str | Path,
    certificate: str | Path | Mapping[str, Any],
    *,
    force: bool = False,
    each: Any = None,
    verify: bool = True,
    allow_lossy_again: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Receipt:
    """Compress one image under a certificate; what was decided stands in the receipt's checks and in the file.

    The checks begin with one named "certificate": asked, the certified level; got, the level that was used and why.
    InputError when the image is outside what the certificate covers, or another version of the encoder is installed;
    otherwise as compress(). The volume is held in memory.
    """
    said = certificate if isinstance(certificate, Mapping) else load(Path(certificate))
    kind, place = kind_of(output), Path(output)
    admit_output(place, force, None if isinstance(source, Volume) else Path(source))
    admit_codec(kind, said["codec"]["name"], output)
    admit_versions(said)
    volume = source if isinstance(source, Volume) else read(source)
    volume = surveyed(replace(volume, pixels=np.asarray(volume.pixels[0 : volume.shape[0]]))).volume
    admit(volume, said["population"])
    steps, target = choose(volume, said)
    name = said["codec"]["name"] if steps and steps[-1].passed else _exact(said["codec"]["name"])
    told = {
        "study": said["study"],
        "plan_sha256": said["plan_sha256"],
        "certified": f"{said['codec']['name']} level {said['verdict']['level']}",
        "used": str(target),
        "steps": [vars_of(step) for step in steps],
    }
    receipt = compress(
        replace(volume, about={**volume.about, "certificate": told}),
        output,
        target=target,
        codec=name,
        per=said["codec"]["per"],
        peak=_peak(said["codec"]["peak"]),
        each=each,
        verify=verify,
        force=force,
        allow_lossy_again=allow_lossy_again,
        progress=progress,
    )
    note = Check("certificate", told["certified"], _spoken(steps, target), True)
    return replace(receipt, checks=(note, *receipt.checks))


def choose(volume: Volume, said: Mapping[str, Any]) -> tuple[list[Step], Target]:
    """(what was tried, what to use): from the strongest certified level down to Lossless()."""
    codec = said["codec"]
    copier = Copier(volume, codec["name"], codec["per"])
    pixels = np.asarray(volume.pixels)
    steps: list[Step] = []
    try:
        for rung in reversed(said["ladder"]):
            target = target_of(rung, codec)
            try:
                copied: Copied = copier.copy(target, peak=_peak(codec["peak"]))
            except TargetUnreachable as error:
                steps.append(Step(rung["level"], str(target), None, f"cannot be reached: {error}", False))
                continue
            proxy = -snr_db(pixels, copied.receipt.mse or 0.0)
            decision = decide(proxy, rung["gate"])
            passed = decision == "ACCEPT"
            steps.append(Step(rung["level"], str(target), round(proxy, 4), decision, passed))
            if passed:
                return steps, target
    finally:
        copier.close()
    return steps, Lossless()


def decide(proxy: float, gate: Mapping[str, Any]) -> str:
    """ "ACCEPT", "REJECT" (the proxy says more harm than was calibrated for) or "OUT_OF_RANGE" (never seen).

    Exact copies (-200) pass whatever the gate says.
    """
    if proxy <= -200.0:
        return "ACCEPT"
    if gate["tau"] is None or gate["tau"] == "none":
        return "REJECT"
    if not gate["low"] <= proxy <= gate["high"]:
        return "OUT_OF_RANGE"
    return "ACCEPT" if gate["tau"] == "all" or proxy < gate["tau"] else "REJECT"


def admit(volume: Volume, population: Mapping[str, Any]) -> None:
    """InputError when the image is not like those that the certificate speaks for, naming the first difference."""
    name = volume.source or "the image"
    here = modality(volume)
    if population["modality"] and here and here not in population["modality"]:
        raise _outside(name, "modality", here, ", ".join(population["modality"]))
    if volume.bits not in population["bits"]:
        raise _outside(name, "bits a sample", str(volume.bits), ", ".join(map(str, population["bits"])))
    if volume.unit and population["unit"] and volume.unit not in population["unit"]:
        raise _outside(name, "unit", volume.unit, ", ".join(population["unit"]))
    low, high = population["spacing_mm"]["low"], population["spacing_mm"]["high"]
    for axis, step, a, b in zip("zyx", volume.spacing_mm, low, high, strict=True):
        if not a * (1 - SLACK) <= step <= b * (1 + SLACK):
            raise _outside(name, f"spacing along {axis}", f"{step:.4g} mm", f"{a:.4g} to {b:.4g} mm")
    pixels = np.asarray(volume.pixels)
    values = [float(end) * volume.slope + volume.intercept for end in (pixels.min(), pixels.max())]
    span = population["values"]["high"] - population["values"]["low"]
    a, b = population["values"]["low"] - SLACK * span, population["values"]["high"] + SLACK * span
    if min(values) < a or max(values) > b:
        came = f"{min(values):g} to {max(values):g}"
        raise _outside(name, "range of values", came, f"inside {a:g} to {b:g}")


def admit_versions(said: Mapping[str, Any]) -> None:
    """InputError when the encoder is not the one that was studied: other bytes were never judged."""
    codec = said["codec"]
    if codec["name"] not in CODECS:
        raise InputError(
            f"the certificate speaks of the codec {codec['name']}, which is not known here; update slimscan"
        )
    here = versions(codec["name"])
    for package in sorted({need.package for need in CODECS[codec["name"]].needs}):
        if codec["versions"].get(package) != here.get(package):
            raise InputError(
                f"the certificate was made with {package} {codec['versions'].get(package)}, installed is "
                f"{here.get(package)}: other bytes were never judged; install that version, or run the study again"
            )


def target_of(rung: Mapping[str, Any], codec: Mapping[str, Any]) -> Target:
    """What is asked of the codec at one rung of the ladder; a matched level asks for its nominal PSNR."""
    level, kind = float(rung["level"]), rung["kind"]
    if kind == "ratios":
        return Ratio(level)
    if kind == "max_error":
        return MaxError(level)
    if kind == "settings":
        return Setting(codec["name"], level)
    return Psnr(level, _peak(codec["peak"]))  # of a matched codec: the nominal PSNR of the codec that it matches


def vars_of(step: Step) -> dict[str, Any]:
    """A step as plain values."""
    return {
        "level": step.level,
        "target": step.target,
        "proxy": step.proxy,
        "decision": step.decision,
    }


def _peak(peak: Any) -> Any:
    return peak if isinstance(peak, str) else float(peak)


def _exact(codec: str) -> str:
    return codec if codec in CODECS and CODECS[codec].lossless else EXACT[0] if EXACT[0] in CODECS else EXACT[1]


def _outside(name: str, what: str, came: str, allowed: str) -> InputError:
    return InputError(
        f"{name}: {what} is {came}, the certificate speaks for {allowed}; use --lossless, or study images like this one"
    )


def _spoken(steps: list[Step], target: Target) -> str:
    used = str(target)
    if steps and steps[-1].passed and len(steps) == 1:
        return f"{used}, let through by the gate"
    reasons = "; ".join(f"level {step.level:g}: {step.decision}" for step in steps if not step.passed)
    fallback = "nothing is lost" if isinstance(target, Lossless) else "let through by the gate"
    return f"{used}, {fallback}, after {reasons or 'no level was certified'}"
