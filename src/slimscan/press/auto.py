"""--codec auto: every codec that can meet the target, tried on a part of the volume; the best of them on all of it.

At a given ratio the best is the one with the smallest squared error, else the one with the fewest bytes. Parts mislead
by a few per cent, so all that come within REACH of the best on the part are compared on the whole volume.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

from slimscan.codecs import CODECS
from slimscan.errors import CodecError, InputError, LayoutRefused, MissingExtra, TargetUnreachable
from slimscan.nouns import Codec, Lossless, MaxError
from slimscan.press.choose import Case, goal_of, part_of, prober_of, settle
from slimscan.press.outputs import IN_DICOM, IN_TIFF, Kind, guess_overhead
from slimscan.press.probe import Sample
from slimscan.press.search import Axis, Unreachable, solve
from slimscan.press.store import chunk_pieces

REACH = 1.12  # candidates within 12 % of the best on the part are encoded whole
FINALISTS = 3
STEPS = 7


def candidates_for(case: Case, kind: Kind) -> list[Codec]:
    """The codecs that can be asked: right for the kind of file, for exact or lossy, and installed."""
    allowed = {"tiff": IN_TIFF, "dicom": IN_DICOM}.get(kind, tuple(CODECS))
    exact = _exact(case)
    return [
        found
        for name, found in CODECS.items()
        if name in allowed
        and (found.lossless if exact else found.lossy)
        and not any(need.missing() for need in found.needs)
    ]


def choose_codec(case: Case, kind: Kind) -> tuple[str, tuple[dict[str, Any], ...]]:
    """(name, table): the codec to use, and what every candidate gave, best first.

    A row: codec, and either why it was not considered, or its value, bytes and PSNR on the part, those on the whole
    volume for the finalists, and the seconds it cost. TargetUnreachable when no codec meets the target.
    """
    rows = [_tried(case, kind, found) for found in candidates_for(case, kind)]
    able = sorted((row for row in rows if "score" in row), key=lambda row: float(row["score"]))
    if not able:
        told = "; ".join(str(row["refused"]) for row in rows) or "no codec is installed for this"
        raise TargetUnreachable(f"{case.volume.source}: no codec meets {case.target}: {told}")
    finalists = [row for row in able if row["score"] <= able[0]["score"] * REACH][:FINALISTS]
    if len(finalists) > 1:
        for row in finalists:
            _whole(case, kind, row)
        finalists.sort(key=lambda row: float(row.get("whole_score", math.inf)))
    best = finalists[0]
    rest = [row for row in [*able, *(row for row in rows if "score" not in row)] if row not in finalists]
    table = [{key: value for key, value in row.items() if "score" not in key} for row in [*finalists, *rest]]
    table[0]["chosen"] = True
    return str(best["codec"]), tuple(table)


def _exact(case: Case) -> bool:
    return isinstance(case.target, Lossless) or (isinstance(case.target, MaxError) and case.target.value < 0.5)


def _tried(case: Case, kind: Kind, found: Codec) -> dict[str, Any]:
    """One codec on its part of the volume."""
    started = time.perf_counter()
    try:
        row = _on_part(case, kind, found)
    except (InputError, LayoutRefused, CodecError, MissingExtra, TargetUnreachable) as error:
        row = {"refused": str(error)}
    except Unreachable as reached:
        row = {"refused": f"{found.name} does not reach {case.target} on a part of the volume ({reached.end} setting)"}
    return {"codec": found.name} | row | {"seconds": round(time.perf_counter() - started, 3)}


def _on_part(case: Case, kind: Kind, found: Codec) -> dict[str, Any]:
    prober = prober_of(replace(case, progress=None), found.name)
    try:
        slices = case.volume.shape[0]
        # Long groups predict over many slices: a short part would wrong them, so a whole chunk is the least.
        pieces = chunk_pieces(slices, prober.scheme.depth)
        part = part_of(slices, prober.scheme.depth)
        if found.chunk == "slab" and part[0] not in pieces:
            part = [pieces[(len(pieces) - 1) // 2]]
        share = sum(stop - start for start, stop in part) / slices
        goal = goal_of(replace(case, overhead=guess_overhead(kind, case.volume, prober.scheme, case.bits)))
        if goal is None or _exact(case):
            samples = prober.run(part, [None] * len(part), spool=False)
            return _row(case, None, samples, share, bits=True)
        if goal.limit <= 0:
            raise Unreachable("any", None, 0.0)
        assert found.knob is not None
        axis, scaled = Axis(found.knob), goal.part(share)
        prober.measure = True
        curve = solve(
            lambda value: scaled.of(prober.run(part, [value] * len(part), spool=False)), axis, scaled, 0.5, STEPS
        )
        allowed, forbidden = curve.bracket()
        if allowed is None and (goal.measure == "bytes" or not found.lossless):
            raise Unreachable("coarsest" if goal.measure == "bytes" else "finest", None, 0.0)
        # Between two probes the curve is straight in the logarithm: compare codecs at the goal, not beside it.
        places = [place for place in (allowed, forbidden) if place is not None]
        rows = [prober.run(part, [axis.value(place)] * len(part), spool=False) for place in places]
        scores = [_score(case, samples) for samples in rows]
        row = _row(case, axis.value(places[0]), rows[0], share, bits=goal.measure != "bytes")
        if len(rows) == 2:
            at = [math.log(max(scaled.of(samples), 1e-9)) for samples in rows]
            weight = (math.log(max(scaled.aim, 1e-9)) - at[0]) / (at[1] - at[0]) if at[1] != at[0] else 0.0
            weight = min(1.0, max(0.0, weight))
            row["score"] = (
                math.exp(math.log(max(scores[0], 1e-9)) * (1 - weight) + math.log(max(scores[1], 1e-9)) * weight)
                / share
            )
        return row
    finally:
        prober.spool.close()


def _score(case: Case, samples: list[Sample]) -> float:
    """Squared error at a given size; bytes otherwise."""
    goal = goal_of(case)
    if goal is not None and goal.measure == "bytes":
        return math.fsum(sample.sse for sample in samples)
    return float(sum(sample.nbytes for sample in samples))


def _row(case: Case, value: float | None, samples: list[Sample], share: float, *, bits: bool) -> dict[str, Any]:
    voxels = sum(sample.voxels for sample in samples)
    mse = math.fsum(sample.sse for sample in samples) / voxels
    return {
        "value": value,
        "part": round(share, 4),
        "bits_per_voxel": round(8 * sum(sample.nbytes for sample in samples) / voxels, 4),
        "psnr_db": round(10 * math.log10(case.peak("stored") ** 2 / mse), 3) if mse > 0 else None,
        "score": (sum(sample.nbytes for sample in samples) if bits else math.fsum(s.sse for s in samples)) / share,
    }


def _whole(case: Case, kind: Kind, row: dict[str, Any]) -> None:
    """A finalist on the whole volume."""
    started = time.perf_counter()
    prober = prober_of(case, str(row["codec"]))
    try:
        case = replace(case, overhead=guess_overhead(kind, case.volume, prober.scheme, case.bits))
        prober.measure = True
        pieces, found = settle(case, prober)
        samples = list(found.samples) if found else prober.run(pieces, [None] * len(pieces), spool=False)
        row["whole_score"] = _score(case, samples) + (case.overhead if _exact(case) else 0)
        row["whole_bytes"] = sum(sample.nbytes for sample in samples)
        mse = math.fsum(sample.sse for sample in samples) / case.seen.samples
        row["whole_psnr_db"] = round(10 * math.log10(case.peak("stored") ** 2 / mse), 3) if mse > 0 else None
    except TargetUnreachable as error:
        row["refused"] = str(error)
    finally:
        prober.spool.close()
        row["seconds"] = round(float(row["seconds"]) + time.perf_counter() - started, 3)
