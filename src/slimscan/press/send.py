"""How long an image takes over a line, step by step, beside other ways to send it; by a model, and by the clock."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from slimscan import files
from slimscan.codecs import codec as find_codec
from slimscan.errors import InputError, ServerError, SlimscanError
from slimscan.nouns import Lossless, Volume
from slimscan.press import deliver
from slimscan.press.compress import compress
from slimscan.press.open import lazy
from slimscan.wire import server
from slimscan.wire.client import REQUEST_BYTES
from slimscan.wire.line import throttled
from slimscan.wire.model import Line, line_of
from slimscan.wire.plan import STEPS, Plan
from slimscan.wire.ranges import MOST_RANGES

PLAN_BYTES = 12  # a span of the plan, packed

USABLE = {
    "look": "first usable image (every 8th slice)",
    "region": "the region, as it was stored",
    "rest": "all slices",
    "exact": "the original, exact",
}


@dataclass(frozen=True)
class Sent:
    """One row. bytes: sent until then. clock_s: measured, until the volume lay on the disk; None without --real."""

    what: str
    bytes: int
    model_s: float
    clock_s: float | None = None


@dataclass(frozen=True)
class Simulated:
    """bytes_per_s: what one flow carries. rows: the steps in order, then the other ways."""

    source: str
    line: str
    bytes_per_s: float
    rows: tuple[Sent, ...]
    notes: tuple[str, ...]


def simulated(
    source: str | Path,
    line: str | Line,
    *,
    real: bool = False,
    against: str | Path | None = None,
    codecs: Sequence[str] = (),
) -> Simulated:
    """The times of an .ozx over a line, and of its pixels as .nii.gz and as lossless files of some codecs.

    against: the original; else what the .ozx decodes to. InputError for a line or file that cannot be used.
    """
    over = line if isinstance(line, Line) else line_of(line)
    names = [find_codec(name.strip()).name for name in codecs]  # before anything takes time
    plan = deliver.plan_of(source)
    clock = timed(Path(source), over) if real else {}
    rows, sent, spent = [], 0, over.rtt_s + over.more_seconds(0, PLAN_BYTES * len(plan.spans))
    for step in plan.steps:
        count = plan.bytes_of(step)
        spent += over.more_seconds(sent, count, _requests(plan, step))
        sent += count
        rows.append(Sent(USABLE[step], sent, spent, clock.get(step)))
    notes = [f"model: min(rate, {1460} / rtt x sqrt(3/2) / sqrt(loss)) a second, slow start of 10 segments, no queues"]
    if real:
        notes.append("clock: a proxy of that rate and delay on this machine; loss as the rate that it leaves one flow")
    rows += _others(source, over, against, names, notes)
    return Simulated(str(source), str(over), over.bytes_per_s, tuple(rows), tuple(notes))


def _requests(plan: Plan, step: str) -> int:
    spans = [span for span in plan.spans if STEPS[span.step] == step]
    apart = 1 + sum(a.stop != b.start for a, b in pairwise(spans))
    return max(-(-apart // MOST_RANGES), -(-plan.bytes_of(step) // REQUEST_BYTES))


def _others(
    source: str | Path, over: Line, against: str | Path | None, codecs: Sequence[str], notes: list[str]
) -> list[Sent]:
    """The same image by other ways, whole files: their sizes are measured."""
    volume = lazy(against) if against else _decoded(source, notes)
    rows = []
    with tempfile.TemporaryDirectory(prefix="slimscan-send-") as held:
        if against and str(against).lower().endswith(".nii.gz"):
            size = Path(against).stat().st_size
        else:
            place = Path(held) / "image.nii.gz"
            files.write(volume, place)
            size = place.stat().st_size
        rows.append(Sent(".nii.gz, whole", size, over.seconds(size)))
        for name in codecs:
            try:
                made = compress(volume, Path(held) / f"{name}.ozx", target=Lossless(), codec=name, verify=False)
            except SlimscanError as error:
                notes.append(f"{name}: {error}")
                continue
            rows.append(Sent(f"{name}, lossless, whole", made.payload_bytes, over.seconds(made.payload_bytes)))
    return rows


def _decoded(source: str | Path, notes: list[str]) -> Volume:
    plan = deliver.plan_of(source)
    if "exact" in plan.steps:
        return lazy(source, exact=True)
    notes.append("the other ways send what the file decodes to; name the original with --against where they differ")
    return lazy(source)


def timed(source: Path, over: Line) -> dict[str, float]:
    """Seconds until each step's volume lay on the disk, through a slow proxy on this machine; the file is served here."""
    with (
        tempfile.TemporaryDirectory(prefix="slimscan-send-") as held,
        serving(source.parent) as port,
        throttled(over, port) as meter,
    ):
        done = deliver.receive(f"http://127.0.0.1:{meter.port}/{source.name}", Path(held) / "out.nii")
    return {step.step: step.usable_s for step in done.steps if step.usable_s is not None}


@contextmanager
def serving(folder: Path, token: str = "") -> Iterator[int]:
    """A server over a folder in a thread of this process; its port."""
    for need in server.NEEDS:
        need.demand("sending for real")
    import uvicorn

    listening = server.listen("127.0.0.1", 0)
    if listening is None:
        raise ServerError("this machine lets nothing listen on its loopback")
    made = uvicorn.Server(uvicorn.Config(server.application(folder, token, deliver.shown), **server.SETTINGS))
    thread = threading.Thread(target=made.run, kwargs={"sockets": [listening]}, daemon=True, name="server")
    thread.start()
    try:
        for _ in range(200):
            if made.started:
                break
            time.sleep(0.05)
        else:
            raise InputError(f"{folder}: the server did not start")
        yield listening.getsockname()[1]
    finally:
        made.should_exit = True
        thread.join(10)
        listening.close()
