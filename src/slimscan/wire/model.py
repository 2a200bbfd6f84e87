"""A line on paper: how long bytes take over a link of some rate, loss and round-trip time.

    one TCP flow carries at most  (MSS / RTT) x sqrt(3 / 2) / sqrt(p)     Mathis et al., CCR 27(3), 1997, eq. 3
    and at most                   rate x MSS / (MSS + 40)                 headers of IPv4 and TCP

A transfer costs one round trip to connect and one for every request; the flow begins with 10 segments in a round trip
(RFC 6928) and doubles until it carries what it can. Queues, other flows and changes of path are left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from slimscan.errors import InputError

MSS = 1460  # bytes
HEADERS = 40
FIRST_WINDOW = 10 * MSS
MATHIS = math.sqrt(3 / 2)
_UNITS = {"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([a-z%]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """rate: bits a second. loss: share of packets, 0..1. rtt_s: round-trip time in s."""

    rate: float
    loss: float = 0.0
    rtt_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.rate / 1e6:g}mbps,loss={self.loss * 100:g}%,rtt={self.rtt_s * 1000:g}ms"

    @property
    def bytes_per_s(self) -> float:
        """Payload that one flow carries once it is up to speed."""
        wire = self.rate / 8 * MSS / (MSS + HEADERS)
        if self.loss <= 0 or self.rtt_s <= 0:
            return wire
        return min(wire, MSS / self.rtt_s * MATHIS / math.sqrt(self.loss))

    def seconds(self, count: float, requests: int = 1) -> float:
        """For `count` bytes in so many requests over one connection that has yet to be made."""
        return self.rtt_s + self.more_seconds(0, count, requests)

    def more_seconds(self, before: float, count: float, requests: int = 1) -> float:
        """For `count` bytes on a connection that has carried `before` bytes."""
        return requests * self.rtt_s + self._flow(before + count) - self._flow(before)

    def _flow(self, count: float) -> float:
        """Until the last of `count` bytes, from the first: exponential growth, then steady."""
        full = self.bytes_per_s
        if self.rtt_s <= 0 or full * self.rtt_s <= FIRST_WINDOW:
            return count / full
        window, spent = float(FIRST_WINDOW), 0.0
        while window < full * self.rtt_s:
            if count <= window:
                return spent + count / full
            count -= window
            spent += self.rtt_s
            window *= 2
        return spent + count / full


def line_of(said: str) -> Line:
    """ "2mbps,loss=1%,rtt=120ms" as a Line; InputError with what is allowed for anything else."""
    rate, loss, rtt = 0.0, 0.0, 0.0
    try:
        for index, part in enumerate(said.lower().replace(" ", "").split(",")):
            name, _, value = part.rpartition("=")
            number = _NUMBER.fullmatch(value)
            if number is None:
                raise ValueError(part)
            amount, unit = float(number[1]), number[2]
            if unit in _UNITS and name in ("", "rate") and index == 0:
                rate = amount * _UNITS[unit]
            elif name == "loss" and unit == "%":
                loss = amount / 100
            elif name == "rtt" and unit in ("ms", "s"):
                rtt = amount / 1000 if unit == "ms" else amount
            else:
                raise ValueError(part)
        if not 1e3 <= rate <= 1e12 or not 0 <= loss <= 0.5 or rtt > 60:
            raise ValueError(said)
    except ValueError as error:
        raise InputError(
            f'--simulate {said!r}: "{error}" is no part of a line; write RATE[,loss=P%][,rtt=Tms] with a rate of 1kbps to '
            "1000gbps, loss of 0 to 50 % and rtt of 0 to 60 s, such as 2mbps,loss=1%,rtt=120ms"
        ) from error
    return Line(rate, loss, rtt)
