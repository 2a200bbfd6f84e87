"""--codec auto: every codec that can meet the target, on a few slices, then the good ones on a part, the best on all.

At a given ratio the best is the one with the smallest squared error, else the one with the fewest bytes. Every stage
starts where the one before ended, and nothing is encoded twice: the winner's payloads are those that are written. Parts
mislead by a few per cent, so all that come within REACH of the best are compared on the whole volume.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from slimscan.codecs import CODECS
from slimscan.errors import SlimscanError, TargetUnreachable
from slimscan.nouns import Codec, Lossless, MaxError
from slimscan.press.choose import Case, goal_of, part_of, prober_of, settle
from slimscan.press.dicom import AUTO_IN_DICOM
from slimscan.press.goal import Goal
from slimscan.press.outputs import IN_TIFF, Kind
from slimscan.press.probe import Piece, Prober, Sample
from slimscan.press.scheme import Scheme
from slimscan.press.search import Axis, Curve, Unreachable, solve, solve_with_slope
from slimscan.press.store import chunk_pieces

FIRST_SLICES = 8  # of the first look
HOPEFUL = {
    "slice": 1.5,
    "slab": 2.0,
    "tile": 1.5,
}  # times the best of the first look; groups of slices look worse there
REACH = 1.12  # candidates within 12 % of the best on the part are encoded whole
FINALISTS = 3
PART_STEPS = 3
SLACK = 1.15  # how far a part of the volume may miss the goal at the knob's end


@dataclass
class Candidate:
    """One codec on its way through the stages. score: smaller is better. curve: its last probes, to start from."""

    codec: Codec
    prober: Prober | None = None
    curve: Curve | None = None
    score: float = math.inf
    row: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


Look = Callable[[Candidate, Case, Prober], None]
Guess = Callable[[Scheme], int]


@dataclass(frozen=True)
class Choice:
    """The codec to use with its prober and probes, and the table: what every candidate gave, best first.

    A row: codec, seconds, and either `refused` (why it was not considered) or its value, bits a voxel and PSNR on the
    part that it was tried on, and whole_bytes and whole_psnr_db for the finalists; `chosen` marks the first.
    """

    prober: Prober
    curve: Curve | None
    table: tuple[dict[str, Any], ...]


def candidates_for(case: Case, kind: Kind) -> list[Codec]:
    """The codecs that can be asked: right for the kind of file, for exact or lossy, and installed."""
    allowed = {"tiff": IN_TIFF, "dicom": AUTO_IN_DICOM}.get(kind, tuple(CODECS))
    exact = _exact(case)
    return [
        found
        for name, found in CODECS.items()
        if name in allowed
        and (found.lossless if exact else found.lossy)
        and not any(need.missing() for need in found.needs)
    ]


def choose_codec(case: Case, kind: Kind, guess: Guess) -> Choice:
    """Try all, keep the best. guess: scheme -> bytes of the file beside its payloads.

    TargetUnreachable, with every codec's reason, when none meets the target.
    """
    field_of = [Candidate(found) for found in candidates_for(case, kind)]
    seen = _ranked(field_of, case, guess, _first_look)
    hopeful = [c for c in seen if c.score <= seen[0].score * HOPEFUL[c.codec.chunk]]
    queue = _ranked(hopeful, case, guess, _on_part) or _ranked(
        [c for c in seen if c not in hopeful], case, guess, _on_part
    )
    finalists = [c for c in queue if c.score <= queue[0].score * REACH][:FINALISTS]
    running = finalists
    if len(finalists) > 1:
        running = _ranked(finalists, case, guess, _on_whole)
        spare = [c for c in queue if c not in finalists]
        while not running and spare:  # what a part promised may fail on the whole
            running = _ranked([spare.pop(0)], case, guess, _on_whole)
    for candidate in field_of:
        if candidate.prober is not None and (not running or candidate is not running[0]):
            candidate.prober.spool.close()
    if not running:
        told = "; ".join(str(c.row.get("refused")) for c in field_of) or "no codec is installed for this"
        raise TargetUnreachable(f"{case.volume.source or 'volume'}: no codec meets {case.target}: {told}")
    winner = running[0]
    assert winner.prober is not None
    winner.row["chosen"] = True
    rest = sorted((c for c in field_of if c not in running), key=lambda c: ("refused" in c.row, c.score))
    table = tuple({"codec": c.codec.name} | c.row | {"seconds": round(c.seconds, 3)} for c in [*running, *rest])
    return Choice(winner.prober, winner.curve, table)


def _ranked(candidates: list[Candidate], case: Case, guess: Guess, look: Look) -> list[Candidate]:
    """Those that pass a stage, best first."""
    for candidate in candidates:
        _timed(candidate, case, guess, look)
    return sorted((c for c in candidates if "refused" not in c.row), key=lambda c: c.score)


def _exact(case: Case) -> bool:
    return isinstance(case.target, Lossless) or (isinstance(case.target, MaxError) and case.target.value < 0.5)


def _timed(candidate: Candidate, case: Case, guess: Guess, look: Look) -> None:
    started = time.perf_counter()
    try:
        if candidate.prober is None:
            candidate.prober = prober_of(case, candidate.codec.name)
            candidate.prober.measure = True
        look(candidate, replace(case, overhead=guess(candidate.prober.scheme)), candidate.prober)
    except SlimscanError as error:
        candidate.row = {"refused": str(error)}
    except Unreachable as reached:
        end = f"{reached.end} setting" if reached.value is not None else "its own description is too large"
        candidate.row = {"refused": f"{candidate.codec.name} does not reach {case.target} ({end})"}
    candidate.seconds += time.perf_counter() - started


def _first_look(candidate: Candidate, case: Case, prober: Prober) -> None:
    """A few slices: a run of them for codecs that predict along z, else spread."""
    slices = case.volume.shape[0]
    if candidate.codec.chunk == "slab":
        run = min(slices, FIRST_SLICES, prober.scheme.depth)
        pieces = [((slices - run) // 2, (slices - run) // 2 + run)]
    else:
        count = min(slices, FIRST_SLICES // 2)
        pieces = [(z, z + 1) for z in sorted({int((i + 0.5) * slices / count) for i in range(count)})]
    _look(candidate, case, prober, pieces, steps=7)


def _on_part(candidate: Candidate, case: Case, prober: Prober) -> None:
    """About an eighth of the volume, in whole chunks: a shorter group of slices would wrong long predictions."""
    slices = case.volume.shape[0]
    pieces = chunk_pieces(slices, prober.scheme.depth)
    part = part_of(slices, prober.scheme.depth)
    if candidate.codec.chunk == "slab" and part[0] not in pieces:
        part = [pieces[(len(pieces) - 1) // 2]]
    _look(candidate, case, prober, part, steps=PART_STEPS)


def _look(candidate: Candidate, case: Case, prober: Prober, part: list[Piece], steps: int) -> None:
    """Score one codec at the goal on some pieces; the score is scaled to the whole volume."""
    whole = case.volume.shape[0]
    share = sum(stop - start for start, stop in part) / whole
    all_chunks = part == chunk_pieces(whole, prober.scheme.depth)
    goal = goal_of(case)
    if goal is None or _exact(case):
        samples = prober.run(part, [None] * len(part), spool=all_chunks)
        candidate.score = sum(sample.nbytes for sample in samples) / share + case.overhead
        candidate.row = _row(case, None, samples, share)
        return
    if goal.measure == "bytes" and goal.limit <= 0:
        raise Unreachable("any", None, 0.0)
    assert candidate.codec.knob is not None
    axis, scaled = Axis(candidate.codec.knob), goal.part(share)

    def on(value: float) -> list[Sample]:
        return prober.run(part, [value] * len(part), spool=all_chunks)

    if candidate.curve is None:
        curve = solve(lambda value: scaled.of(on(value)), axis, scaled, 0.5, steps)
    else:
        curve = solve_with_slope(lambda value: scaled.of(on(value)), axis, scaled, candidate.curve, steps)
    candidate.curve = curve
    near = curve.nearest(2)
    allowed, forbidden = curve.bracket()
    got = scaled.of(on(axis.value(near[0])))
    at_end = curve.next(axis) is None
    # A part may miss what the whole volume reaches: only what is clearly out of reach is refused here.
    too_much = allowed is None and got > scaled.limit * SLACK
    too_little = forbidden is None and got < scaled.least / SLACK
    if at_end and goal.measure == "bytes" and too_much:
        raise Unreachable("coarsest", axis.value(near[0]), 0.0)
    if (
        at_end
        and not candidate.codec.lossless
        and ((goal.measure == "bytes" and too_little) or (goal.measure != "bytes" and too_much))
    ):
        raise Unreachable("finest", axis.value(near[0]), 0.0)
    at = [(scaled.of(on(axis.value(place))), _score(goal, on(axis.value(place)))) for place in near]
    candidate.score = _at_goal(at, scaled.aim) / share
    candidate.row = _row(case, axis.value(near[0]), on(axis.value(near[0])), share)


def _on_whole(candidate: Candidate, case: Case, prober: Prober) -> None:
    """A finalist on the whole volume."""
    pieces, found = settle(case, prober, candidate.curve)
    samples = list(found.samples) if found else prober.run(pieces, [None] * len(pieces))
    goal = goal_of(case)
    exact = goal is None or _exact(case)
    nbytes = sum(sample.nbytes for sample in samples)
    candidate.score = nbytes + case.overhead if exact or goal is None else _score(goal, samples)
    mse = math.fsum(sample.sse for sample in samples) / case.seen.samples
    candidate.row |= {"whole_bytes": nbytes, "whole_psnr_db": _psnr(case, mse)}


def _score(goal: Goal, samples: list[Sample]) -> float:
    """Squared error where bytes are given, bytes where quality is."""
    if goal.measure == "bytes":
        return math.fsum(sample.sse for sample in samples)
    return float(sum(sample.nbytes for sample in samples))


def _at_goal(points: list[tuple[float, float]], aim: float) -> float:
    """The score at the goal: between two probes the curve is straight in the logarithm of both."""
    (x0, y0), *more = [(math.log(max(x, 1e-9)), math.log(max(y, 1e-9))) for x, y in points]
    if not more or more[0][0] == x0:
        return math.exp(y0)
    (x1, y1) = more[0]
    weight = (math.log(max(aim, 1e-9)) - x0) / (x1 - x0)
    return math.exp(y0 + min(1.5, max(-0.5, weight)) * (y1 - y0))


def _row(case: Case, value: float | None, samples: list[Sample], share: float) -> dict[str, Any]:
    voxels = sum(sample.voxels for sample in samples)
    return {
        "value": value,
        "part": round(share, 4),
        "bits_per_voxel": round(8 * sum(sample.nbytes for sample in samples) / voxels, 4),
        "psnr_db": _psnr(case, math.fsum(sample.sse for sample in samples) / voxels),
    }


def _psnr(case: Case, mse: float) -> float | None:
    return round(10 * math.log10(case.peak("stored") ** 2 / mse), 3) if mse > 0 else None
