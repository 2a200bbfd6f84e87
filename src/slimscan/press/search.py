"""The search: which place of the knob meets a goal, in few encodings.

1. Walk the knob on a small part of the volume until the goal is met there.
2. Encode the whole volume at that value; correct by the slope that the part showed; at most a few times.
3. What one value cannot meet, two neighbouring values mixed over chunks can (`allot`): the way a coarse knob (a QP, a
   NEAR) reaches any ratio or PSNR. The exact coding of a codec is its last, finest neighbour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimscan.nouns import Codec, Knob
from slimscan.press.allot import Found, allot
from slimscan.press.goal import Goal
from slimscan.press.probe import Piece, Prober, Sample

PART_STEPS = 8  # probes of the part
BUDGET = 6  # encodings of the whole volume, those of the part counted by their share
NARROW = 1e-4  # of the line: places closer than that are one
NOTHING = 1e-3  # stands for zero under a logarithm

Value = float | None


class Unreachable(Exception):
    """No value, and no mixture, meets the goal.

    end: "coarsest" or "finest", the end of the knob that does not suffice, or "between" two neighbouring values.
    got: what that end gives, or the neighbour that is allowed. beyond: the neighbour that is not.
    """

    def __init__(self, end: str, value: Value, got: float, beyond: float | None = None) -> None:
        super().__init__(end)
        self.end = end
        self.value = value
        self.got = got
        self.beyond = beyond


@dataclass(frozen=True)
class Axis:
    """A knob as a line from coarse (0) to fine (1)."""

    knob: Knob

    def value(self, place: float) -> float:
        """The knob's value at a place, on its grid."""
        place = min(1.0, max(0.0, place))
        coarse, fine = (self.knob.high, self.knob.low) if self.knob.finer == "low" else (self.knob.low, self.knob.high)
        if self.knob.scale == "log":
            value = math.exp(math.log(coarse) + place * (math.log(fine) - math.log(coarse)))
        else:
            value = coarse + place * (fine - coarse)
        if self.knob.step:
            value = self.knob.low + round((value - self.knob.low) / self.knob.step) * self.knob.step
            return min(self.knob.high, max(self.knob.low, value))
        return float(format(min(self.knob.high, max(self.knob.low, value)), ".6g"))

    def place(self, value: float) -> float:
        """Where a value lies, 0 coarse to 1 fine."""
        coarse, fine = (self.knob.high, self.knob.low) if self.knob.finer == "low" else (self.knob.low, self.knob.high)
        if self.knob.scale == "log":
            return (math.log(value) - math.log(coarse)) / (math.log(fine) - math.log(coarse))
        return (value - coarse) / (fine - coarse)

    def beside(self, place: float, away: int) -> float:
        """The next useful place towards fine (away 1) or coarse (-1): the next value of a stepped knob."""
        if not self.knob.step:
            return min(1.0, max(0.0, place + away * NARROW))
        up = (self.knob.finer == "high") == (away > 0)
        value = self.value(place) + (self.knob.step if up else -self.knob.step)
        return self.place(min(self.knob.high, max(self.knob.low, value)))


@dataclass
class Curve:
    """Places tried and what came of them, for one set of pieces. Finer places give more bytes and less error."""

    goal: Goal
    points: dict[float, float]

    def add(self, place: float, got: float) -> None:
        """Remember a probe."""
        self.points[place] = got

    def nearest(self, count: int) -> list[float]:
        """The places tried whose results are closest to the goal, the closest first."""
        aim = self._log(self.goal.aim)
        return sorted(self.points, key=lambda place: abs(self._log(self.points[place]) - aim))[:count]

    def bracket(self) -> tuple[float | None, float | None]:
        """(the allowed place next to the goal, the forbidden one next to it)."""
        allowed = [place for place, got in self.points.items() if got <= self.goal.limit]
        forbidden = [place for place, got in self.points.items() if got > self.goal.limit]
        if self.goal.measure == "bytes":  # finer is larger: allowed places are coarse
            return (max(allowed) if allowed else None, min(forbidden) if forbidden else None)
        return (min(allowed) if allowed else None, max(forbidden) if forbidden else None)

    def next(self, axis: Axis) -> float | None:
        """Where to try next, or None at the knob's end and when the bracket is as narrow as the knob."""
        allowed, forbidden = self.bracket()
        if allowed is None or forbidden is None:
            at = forbidden if allowed is None else allowed
            assert at is not None
            away = -1 if (allowed is None) == (self.goal.measure == "bytes") else 1
            least = axis.beside(at, away)
            if least == at:
                return None
            guess = self._extrapolate(at, away)
            return min(1.0, max(0.0, guess)) if abs(guess - at) > abs(least - at) else least
        away = 1 if forbidden > allowed else -1
        nearest, farthest = axis.beside(allowed, away), axis.beside(forbidden, -away)
        if (farthest - nearest) * away < -1e-9:
            return None
        low, high = self._log(self.points[allowed]), self._log(self.points[forbidden])
        share = (self._log(self.goal.aim) - low) / (high - low) if high > low else 0.5
        if len(self.points) > 5:  # a bent curve: regula falsi creeps, so pull towards the middle
            share = 0.5 * share + 0.25
        guess = allowed + min(max(share, 0.02), 0.98) * (forbidden - allowed)
        bounds = sorted((nearest, farthest))
        return min(max(guess, bounds[0]), bounds[1])

    def _extrapolate(self, at: float, away: int) -> float:
        near = sorted(self.points, key=lambda place: abs(place - at))[:2]
        if len(near) == 2:
            rise = (self._log(self.points[near[0]]) - self._log(self.points[near[1]])) / (near[0] - near[1])
            if rise:
                step = (self._log(self.goal.aim) - self._log(self.points[at])) / rise
                if step * away > 0:
                    return at + math.copysign(min(max(abs(step), 0.004), 0.5), away)
        return at + away * (0.08 if len(self.points) < 2 else 0.25)

    def _log(self, got: float) -> float:
        return math.log(max(got, NOTHING))


def solve(probe: Callable[[float], float], axis: Axis, goal: Goal, start: float, steps: int) -> Curve:
    """Probe until the goal is met, the bracket is as narrow as the knob, or the steps are used up."""
    curve = Curve(goal, {})
    place: float | None = axis.place(axis.value(start))
    while place is not None and len(curve.points) < steps:
        place = axis.place(axis.value(place))
        if place in curve.points:
            break
        got = probe(axis.value(place))
        curve.add(place, got)
        if goal.met(got):
            break
        place = curve.next(axis)
    return curve


def search_volume(
    found: Codec, prober: Prober, chunks: Sequence[Piece], part: Sequence[Piece], goal: Goal, known: Curve | None = None
) -> Found:
    """One quality over the whole volume. Unreachable when neither a value nor a mixture meets the goal.

    known: what was tried on some part of it already.
    """
    assert found.knob is not None
    axis = Axis(found.knob)
    whole = sum(stop - start for start, stop in chunks)
    share = sum(stop - start for start, stop in part) / whole

    def on(pieces: Sequence[Piece], value: Value) -> list[Sample]:
        return prober.run(pieces, [value] * len(pieces), spool=pieces is chunks)

    rough = known
    spent = 0.0
    if rough is None and share < 0.6:
        scaled = goal.part(share)
        rough = solve(lambda value: scaled.of(on(part, value)), axis, scaled, 0.5, PART_STEPS)
        spent = share * len(rough.points)
    exact = solve_with_slope(lambda value: goal.of(on(chunks, value)), axis, goal, rough, int(BUDGET - spent))
    tried: list[tuple[Value, list[Sample]]] = [
        (axis.value(place), on(chunks, axis.value(place))) for place in sorted(exact.points)
    ]  # coarse to fine
    for value, samples in tried:
        if goal.met(goal.of(samples)):
            return Found((value,) * len(chunks), tuple(samples))
    allowed, forbidden = exact.bracket()
    if goal.measure == "bytes" and allowed is None:
        raise Unreachable("coarsest", tried[0][0], goal.of(tried[0][1]))
    if _short_of_exact(goal, allowed, forbidden) and found.lossless:
        tried.append((None, on(chunks, None)))
        if goal.measure == "bytes" and goal.of(tried[-1][1]) <= goal.limit:
            return Found((None,) * len(chunks), tuple(tried[-1][1]))
    elif goal.measure != "bytes" and allowed is None:
        raise Unreachable("finest", tried[-1][0], goal.of(tried[-1][1]))
    if all(goal.of(samples) > goal.limit for _, samples in tried):  # exact codes of a grid that rounds
        raise Unreachable("finest", tried[-1][0], goal.of(tried[-1][1]))
    mixed = allot(goal, tried)
    if 0 < goal.of(mixed.samples) < goal.least and (goal.measure == "sse" or mixed.values[0] is not None):
        # Too few chunks to mix: say the nearest on both sides.
        above = min((goal.of(samples) for _, samples in tried if goal.of(samples) > goal.limit), default=None)
        raise Unreachable("between", mixed.values[0], goal.of(mixed.samples), above)
    return mixed


def solve_with_slope(probe: Callable[[float], float], axis: Axis, goal: Goal, rough: Curve | None, steps: int) -> Curve:
    """Like solve(), but it starts where another part of the volume ended, and corrects by the slope seen there."""
    curve = Curve(goal, {})
    place: float | None = axis.place(axis.value(0.5 if rough is None else rough.nearest(1)[0]))
    while place is not None and len(curve.points) < steps:
        place = axis.place(axis.value(place))
        if place in curve.points:
            break
        got = probe(axis.value(place))
        curve.add(place, got)
        if goal.met(got):
            break
        slope = slope_of(rough, place) if len(curve.points) == 1 else None
        place = corrected(curve, axis, place, slope) if slope else curve.next(axis)
    return curve


def corrected(curve: Curve, axis: Axis, place: float, slope: float) -> float:
    """One step along a known slope from the only point of a curve."""
    step = (curve._log(curve.goal.aim) - curve._log(curve.points[place])) / slope
    least = axis.beside(place, 1 if step > 0 else -1)
    return least if abs(step) < abs(least - place) else min(1.0, max(0.0, place + step))


def slope_of(rough: Curve | None, place: float) -> float | None:
    """The logarithm's change with the place, next to it, on another part of the volume; None when that is no guide."""
    if rough is None or len(rough.points) < 2:
        return None
    near = sorted(rough.points, key=lambda other: abs(other - place))[:2]
    rise = rough._log(rough.points[near[0]]) - rough._log(rough.points[near[1]])
    slope = rise / (near[0] - near[1])
    return slope if (slope > 0) == (rough.goal.measure == "bytes") and slope else None


def _short_of_exact(goal: Goal, allowed: float | None, forbidden: float | None) -> bool:
    """Whether the goal lies between the finest lossy value and exact coding."""
    return (goal.measure == "bytes" and forbidden is None) or (goal.measure != "bytes" and allowed is None)
