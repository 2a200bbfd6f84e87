"""The search chunk by chunk: every chunk has its own place on the knob and its own goal.

Used for a largest error, where one bad chunk would decide for all, and for `--per slice`, where each slice meets the
target by itself, as the papers did. All chunks take a step together, in parallel; those that are done rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from slimscan.nouns import Codec
from slimscan.press.allot import Found
from slimscan.press.goal import Goal
from slimscan.press.probe import Piece, Prober, Sample
from slimscan.press.search import Axis, Curve, Unreachable, Value, corrected, slope_of, solve

ROUNDS = 5
PART_STEPS = 6


def search_each(
    found: Codec,
    prober: Prober,
    chunks: Sequence[Piece],
    part: Sequence[Piece],
    goals: Sequence[Goal],
    start_value: float | None = None,
) -> Found:
    """The coarsest allowed value for every chunk. Unreachable names the first chunk that has none."""
    assert found.knob is not None
    axis = Axis(found.knob)
    rough = _rough(axis, prober, chunks, part, goals) if start_value is None else None
    if start_value is not None:
        start = axis.place(found.knob.check(found.name, start_value))
    else:
        assert rough is not None
        start = rough.nearest(1)[0]
    curves = [Curve(goal, {}) for goal in goals]
    places: dict[int, float] = dict.fromkeys(range(len(chunks)), start)
    for _ in range(ROUNDS):
        places = {index: axis.place(axis.value(place)) for index, place in places.items()}
        places = {index: place for index, place in places.items() if place not in curves[index].points}
        if not places:
            break
        samples = prober.run([chunks[index] for index in places], [axis.value(place) for place in places.values()])
        ahead: dict[int, float] = {}
        for (index, place), sample in zip(places.items(), samples, strict=True):
            got = goals[index].of([sample])
            curves[index].add(place, got)
            if goals[index].kept(got):
                continue
            # The first correction follows the slope that the part showed; without it a chunk would jump far.
            slope = slope_of(rough, place) if len(curves[index].points) == 1 else None
            further = corrected(curves[index], axis, place, slope) if slope else curves[index].next(axis)
            if further is not None:
                ahead[index] = further
        places = ahead
    values = _chosen(found, axis, prober, chunks, curves)
    samples = prober.run(chunks, values)
    for chunk, value, goal, sample in zip(chunks, values, goals, samples, strict=True):
        if value is None and goal.of([sample]) > goal.limit:  # exact codes of a grid that rounds
            raise _short(chunk, None, goal.of([sample]), goal, goals)
    return Found(tuple(values), tuple(samples))


def _short(chunk: Piece, value: Value, got: float, goal: Goal, goals: Sequence[Goal]) -> Unreachable:
    """What the finest value of a chunk gives, a squared error as if the whole volume were like it."""
    share = goal.limit / sum(each.limit for each in goals) if goal.measure == "sse" else 1.0
    return Unreachable(f"finest for slices {chunk[0]}..{chunk[1] - 1}", value, got / share if share else got)


def _rough(axis: Axis, prober: Prober, chunks: Sequence[Piece], part: Sequence[Piece], goals: Sequence[Goal]) -> Curve:
    """Where a part of the volume meets its share of all goals."""
    goal = goals[0]
    if goal.measure != "worst":
        share = sum(b - a for a, b in part) / sum(b - a for a, b in chunks)
        goal = Goal(
            goal.measure,
            share * sum(goal.limit for goal in goals),
            share * sum(goal.aim for goal in goals),
            share * sum(goal.enough for goal in goals),
            share * sum(goal.least for goal in goals),
        )

    def on(value: float) -> float:
        return goal.of(prober.run(part, [value] * len(part), spool=False))

    return solve(on, axis, goal, 0.5, PART_STEPS)


def _chosen(found: Codec, axis: Axis, prober: Prober, chunks: Sequence[Piece], curves: Sequence[Curve]) -> list[Value]:
    """Of every chunk's probes the one that uses its limit best."""
    values: list[Value] = []
    for chunk, curve in zip(chunks, curves, strict=True):
        allowed = {place: got for place, got in curve.points.items() if got <= curve.goal.limit}
        if allowed:
            place = max(allowed, key=lambda place: (allowed[place], place if curve.goal.measure == "bytes" else -place))
            values.append(axis.value(place))
        elif curve.goal.measure != "bytes" and found.lossless:
            values.append(None)
        else:
            if curve.goal.measure != "bytes":
                place = max(curve.points)
                raise _short(chunk, axis.value(place), curve.points[place], curve.goal, [one.goal for one in curves])
            place = min(curve.points)
            end = f"coarsest for slices {chunk[0]}..{chunk[1] - 1}"
            raise Unreachable(end, axis.value(place), curve.points[place])
    return _exact_where_smaller(found, prober, chunks, curves, values)


def _exact_where_smaller(
    found: Codec, prober: Prober, chunks: Sequence[Piece], curves: Sequence[Curve], values: list[Value]
) -> list[Value]:
    """Chunks whose finest lossy coding is far below its bytes (flat slices) are coded exactly, when that fits."""
    if not found.lossless or curves[0].goal.measure != "bytes":
        return values
    easy = [
        index
        for index, curve in enumerate(curves)
        if values[index] is not None and max(curve.points.values()) < 0.5 * curve.goal.enough
    ]
    if not easy:
        return values
    samples: list[Sample] = prober.run([chunks[index] for index in easy], [None] * len(easy))
    for index, sample in zip(easy, samples, strict=True):
        if sample.nbytes <= curves[index].goal.limit:
            values[index] = None
    return values
