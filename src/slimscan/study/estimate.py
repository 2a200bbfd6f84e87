"""An honest time left: what is still to do, at the speed that was seen for the same codec, by the workers at work."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Estimate:
    """total: work by codec, in any unit that grows with it (levels x bytes). Told of what is done, asked what is left.

    A codec that has not run yet is taken to be as fast as the mean of the others. Nothing is said before the first job
    is done.
    """

    total: dict[str, float]
    done: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, codec: str, work: float, seconds: float) -> None:
        """Some work of a codec took a worker that long."""
        self.done[codec] = self.done.get(codec, 0.0) + work
        self.seconds[codec] = self.seconds.get(codec, 0.0) + seconds

    def left(self, elapsed: float) -> float | None:
        """Seconds until the end, `elapsed` seconds after the start; None when nothing is known yet."""
        done, seconds = sum(self.done.values()), sum(self.seconds.values())
        if done <= 0 or elapsed <= 0:
            return None
        mean = seconds / done
        ahead = 0.0
        for codec, work in self.total.items():
            rest = max(0.0, work - self.done.get(codec, 0.0))
            known = self.done.get(codec, 0.0) > 0
            ahead += rest * (self.seconds[codec] / self.done[codec] if known else mean)
        at_once = max(seconds / elapsed, 1e-9)  # workers really at work, waiting and starting included
        return ahead / at_once

    @property
    def share(self) -> float:
        """How much of the expected time is behind, 0 to 1."""
        rest = self.left(1.0)
        seconds = sum(self.seconds.values())
        return 0.0 if rest is None or seconds <= 0 else seconds / (seconds + rest * seconds)


def spoken(seconds: float | None) -> str:
    """A duration for people, not more precise than it is."""
    if seconds is None:
        return "time left not known yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
