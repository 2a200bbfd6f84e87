"""Allotment: two neighbouring values over the chunks of one volume, so that their sum meets a goal.

The finer value goes to chunks spread evenly through the volume, then single chunks are exchanged where that comes
closer. A sum of bytes or of squared errors is met as closely as one chunk's difference allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimscan.press.goal import Goal
from slimscan.press.probe import Sample

Value = float | None

EXCHANGE_CHUNKS = 1000  # above that one chunk is less than the tolerance anyway


@dataclass(frozen=True)
class Found:
    """What a search ends with: the knob's value (None: lossless) and the sample of every chunk, in order."""

    values: tuple[Value, ...]
    samples: tuple[Sample, ...]


def allot(goal: Goal, tried: Sequence[tuple[Value, Sequence[Sample]]]) -> Found:
    """The mixture of two tried values (coarse to fine) that comes closest to the goal without exceeding its limit."""
    allowed = [(value, samples) for value, samples in tried if goal.of(samples) <= goal.limit]
    forbidden = [(value, samples) for value, samples in tried if goal.of(samples) > goal.limit]
    base = max(allowed, key=lambda pair: goal.of(pair[1]))
    if not forbidden or goal.measure == "worst":
        return Found((base[0],) * len(base[1]), tuple(base[1]))
    other = min(forbidden, key=lambda pair: goal.of(pair[1]))
    taken = _spread(goal, base[1], other[1])
    values = tuple(other[0] if take else base[0] for take in taken)
    samples = tuple(o if take else b for b, o, take in zip(base[1], other[1], taken, strict=True))
    return Found(values, samples)


def _spread(goal: Goal, base: Sequence[Sample], other: Sequence[Sample]) -> list[bool]:
    """Which chunks take the other value: evenly spread first, then the best fit of what is left."""
    cost = [goal.of([o]) - goal.of([b]) for b, o in zip(base, other, strict=True)]
    room = goal.limit - goal.of(base)
    want = goal.aim - goal.of(base)
    count = len(cost)
    taken = [False] * count
    share = want / sum(cost) if sum(cost) > 0 else 0.0
    debt = 0.0
    for index in range(count):  # as a line is drawn with pixels
        debt += share
        if debt >= 0.5 and cost[index] <= room:
            taken[index] = True
            room -= cost[index]
            debt -= 1.0
    for index in sorted(range(count), key=lambda chunk: -cost[chunk]):  # fill what is left, largest first
        if room <= goal.limit - goal.aim:
            break
        if not taken[index] and 0 < cost[index] <= room:
            taken[index] = True
            room -= cost[index]
    return _exchanged(cost, taken, room, goal.limit - goal.aim)


def _exchanged(cost: Sequence[float], taken: list[bool], room: float, enough: float) -> list[bool]:
    """Swap a chunk that has the finer value with a slightly dearer one that has not, while room is left."""
    if len(cost) > EXCHANGE_CHUNKS:
        return taken
    price, has = np.array(cost, np.float64), np.array(taken)
    for _ in range(len(cost)):
        if room <= enough or has.all() or not has.any():
            break
        gain = price[~has][None, :] - price[has][:, None]
        gain[gain > room] = -np.inf
        give, take = np.unravel_index(int(np.argmax(gain)), gain.shape)
        if gain[give, take] <= 0:
            break
        room -= float(gain[give, take])
        leaves, enters = np.flatnonzero(has)[give], np.flatnonzero(~has)[take]
        has[leaves], has[enters] = False, True
    return [bool(flag) for flag in has]
