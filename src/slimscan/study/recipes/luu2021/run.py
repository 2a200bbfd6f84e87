"""The protocol over its cases: one JSON a case, kept, so that a second run only measures what is new."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.metrics.entropy import entropy
from slimscan.nouns import Verdict
from slimscan.press.open import read
from slimscan.press.staging import staged
from slimscan.study.recipes.luu2021 import evidence, reading
from slimscan.study.recipes.luu2021.coders import chosen
from slimscan.study.recipes.luu2021.cost import measure_apart
from slimscan.study.recipes.luu2021.images import Pair, prepare, quality, region, sweep
from slimscan.study.recipes.luu2021.words import Case, Protocol

Progress = Callable[[str, int, int], None]
FORMAT = 1


@dataclass(frozen=True)
class Found:
    """Everything that a page needs. cases: one mapping a CT (case, patient, shape, spacing_mm, entropies, quality of the
    diffused image, seconds). rows: one a case, coder and image ("original", "diffused"). swept: Fig. 3's points.
    """

    protocol: Protocol
    cases: tuple[Mapping[str, Any], ...]
    rows: tuple[Mapping[str, Any], ...]
    swept: tuple[Mapping[str, Any], ...]
    improvements: tuple[evidence.Improvement, ...]
    against: tuple[evidence.Against, ...]
    likeness: Verdict
    readings: reading.Readings | None
    read_verdict: Verdict | None


def run(protocol: Protocol, folder: Path, progress: Progress | None = None) -> Found:
    """Measure every case into folder/cases/NAME.json and draw the conclusions.

    A case that was measured under the same words and from the same files is not measured again.
    """
    chosen(protocol.said["coders"]["names"])  # an unknown or absent coder is told before anything is measured
    parts = []
    for index, case in enumerate(protocol.cases):
        place = folder / "cases" / f"{case.name.replace('/', '_')}.json"
        parts.append(_kept(protocol, case, place, index < protocol.said["sweep"]["cases"]))
        if progress is not None:
            progress(case.name, 1, len(protocol.cases))
    return conclude(protocol, parts)


def conclude(protocol: Protocol, parts: list[dict[str, Any]]) -> Found:
    """The tests and verdicts of measured cases. protocol.said's [reading] files are read here."""
    rows = tuple(row for part in parts for row in part["rows"])
    said = protocol.said
    truth, marks = protocol.file("truth"), protocol.file("marks")
    readings = None if truth is None or marks is None else reading.read(truth, marks, said["reading"]["radius_mm"])
    judged = (
        None if readings is None else reading.verdict(readings, said["contract"]["delta"], said["contract"]["alpha"])
    )
    return Found(
        protocol,
        tuple(part["case"] for part in parts),
        rows,
        tuple(point for part in parts for point in part["swept"]),
        tuple(evidence.improvements(rows)),
        tuple(evidence.against(rows)) if any(row["coder"] == "hevc-intra" for row in rows) else (),
        evidence.likeness(rows, said["contract"]["ssim"], said["contract"]["alpha"]),
        readings,
        judged,
    )


def _kept(protocol: Protocol, case: Case, place: Path, swept: bool) -> dict[str, Any]:
    """The case's JSON from the folder, or measured now and written there."""
    stamp = _stamp(protocol, case, swept)
    if place.exists():
        try:
            known: dict[str, Any] = _finite(json.loads(place.read_text("utf-8")))
        except ValueError:
            known = {}
        if known.get("stamp") == stamp:
            return known
    found = {"stamp": stamp, **measured(protocol, case, swept)}
    place.parent.mkdir(parents=True, exist_ok=True)
    with staged(place, force=True) as stage:
        stage.path.write_text(json.dumps(_told(found), indent=1), "utf-8")
    return found


def _stamp(protocol: Protocol, case: Case, swept: bool) -> str:
    """What decides a case's numbers: the words, and the names, sizes and times of its files."""
    files = [case.image, Path(case.region.partition("#")[0])]
    seen = []
    for one in files:
        some = sorted(one.rglob("*")) if one.is_dir() else [one] if one.exists() else []
        seen += [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in some]
    words = {name: protocol.said[name] for name in ("calm", "coders", "sweep")}
    return hashlib.sha256(json.dumps([FORMAT, words, case.region, swept, seen], sort_keys=True).encode()).hexdigest()


def measured(protocol: Protocol, case: Case, swept: bool) -> dict[str, Any]:
    """One case: {"case": ..., "rows": [...], "swept": [...]}."""
    volume = read(case.image)
    pair = prepare(volume, region(case.region, volume, protocol.diffusion), protocol.diffusion)
    told = {
        "case": case.name,
        "patient": case.patient,
        "shape": list(pair.original.shape),
        "spacing_mm": list(pair.spacing_mm),
        "inside_percent": 100 * float(pair.inside.mean()),
        "diffusion_s": pair.seconds,
        "entropy_original": entropy(pair.original),
        **quality(pair.original, pair.diffused),
    }
    told["entropy_diffused"] = told.pop("entropy")
    rows = [row for name in protocol.said["coders"]["names"] for row in _both(protocol, case, pair, name, told)]
    wish = protocol.said["sweep"]
    points = sweep(pair, protocol.diffusion, wish["k"], [int(n) for n in wish["iterations"]]) if swept else ()
    return {"case": told, "rows": rows, "swept": [{"case": case.name, **point} for point in points]}


def _both(protocol: Protocol, case: Case, pair: Pair, name: str, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A coder's rows on the original and on the diffused image; quality is against the original."""
    said = protocol.said["coders"]
    options = {word: said[word] for word in ("hevc_qp", "av1_crf", "repeats")}
    exact = chosen((name,))[name].exact
    out = []
    with tempfile.TemporaryDirectory() as scratch:
        for image, pixels in (("original", pair.original), ("diffused", pair.diffused)):
            place, back = Path(scratch) / f"{image}.npy", Path(scratch) / f"{image}-back.npy"
            np.save(place, pixels)
            cost = measure_apart(name, place, None if exact else back, options)
            seen: dict[str, float]
            if not exact:
                seen = quality(pair.original, np.load(back), pair.inside)
            elif image == "diffused":
                seen = {key: told[key] for key in ("psnr_db", "ssim_dtype", "ssim_range")} | _untouched()
            else:
                seen = {"psnr_db": math.inf, "ssim_dtype": 1.0, "ssim_range": 1.0} | _untouched()
            out.append(
                {
                    "case": case.name, "patient": case.patient, "coder": name, "image": image, "exact": exact,
                    "raw_bytes": pixels.nbytes, "ratio": pixels.nbytes / cost.bytes, "slices": pixels.shape[0],
                    **dataclasses.asdict(cost), **seen,
                }
            )  # fmt: skip
    return out


def _untouched() -> dict[str, float]:
    return {"psnr_inside_db": math.inf, "ssim_inside": 1.0, "max_error_inside": 0.0}


def _told(value: Any) -> Any:
    """JSON has no infinity: it is written as a word."""
    if isinstance(value, Mapping):
        return {key: _told(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_told(inner) for inner in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return math.inf if value == "inf" else value
