"""A goal: a target in the numbers that a search compares, with the tolerance that the contract allows.

Every goal is "as coarse as may be": bytes at most, squared error at most, or largest error at most a limit. `aim` is
where a search steers to, `enough` where it may stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slimscan.press.probe import Sample

Measure = Literal["bytes", "sse", "worst"]

RATIO_TOLERANCE = 0.02
PSNR_TOLERANCE_DB = 0.1


@dataclass(frozen=True, slots=True)
class Goal:
    """measure: what is compared. limit: must not be exceeded. aim, enough: where to steer, and where to stop.

    least: the contract's other edge; below it the target is missed on the harmless side. For "bytes" and "sse" the
    numbers are sums over the pieces and scale with their share of the volume.
    """

    measure: Measure
    limit: float
    aim: float
    enough: float
    least: float = 0.0

    def of(self, samples: Sequence[Sample]) -> float:
        """What is compared, over these samples."""
        if self.measure == "bytes":
            return float(sum(sample.nbytes for sample in samples))
        if self.measure == "sse":
            return math.fsum(sample.sse for sample in samples)
        return max((sample.worst for sample in samples), default=0.0)

    def part(self, share: float) -> Goal:
        """The goal of a share of the volume."""
        if self.measure == "worst":
            return self
        return Goal(self.measure, self.limit * share, self.aim * share, self.enough * share, self.least * share)

    def met(self, got: float) -> bool:
        """Within the limit, and close enough to it."""
        return self.enough <= got <= self.limit

    def kept(self, got: float) -> bool:
        """Within the contract: what one chunk by itself has to meet."""
        return (self.least or self.enough) <= got <= self.limit


def bytes_goal(raw_bytes: int, ratio: float, overhead: int) -> Goal:
    """Payload bytes for a ratio on disk: the file is at least as small as asked, and at most 2 % smaller."""
    whole = raw_bytes / ratio
    return Goal(
        "bytes",
        whole - overhead,
        whole * (1 - 0.25 * RATIO_TOLERANCE) - overhead,
        whole * (1 - 0.75 * RATIO_TOLERANCE) - overhead,
        whole / (1 + RATIO_TOLERANCE) - overhead,
    )


def most_goal(raw_bytes: int, ratio: float) -> Goal:
    """Payload bytes for a ratio that may not be exceeded: at least raw_bytes / ratio, and at most 2 % more."""
    return bytes_goal(raw_bytes, ratio / (1 + RATIO_TOLERANCE), 0)


def psnr_goal(db: float, peak: float, samples: int) -> Goal:
    """Sum of squared errors for a PSNR: at least as good as asked, and at most 0.1 dB better."""

    def sse(decibels: float) -> float:
        return samples * peak**2 / 10 ** (decibels / 10)

    return Goal(
        "sse",
        sse(db),
        sse(db + 0.3 * PSNR_TOLERANCE_DB),
        sse(db + 0.9 * PSNR_TOLERANCE_DB),
        sse(db + PSNR_TOLERANCE_DB),
    )


def error_goal(bound: float) -> Goal:
    """Largest error: never above the bound, and at least 85 % of it used where the codec allows."""
    return Goal("worst", bound + 1e-9 * max(1.0, abs(bound)), bound, 0.85 * bound)
