"""Receiving: a file filled in beside its place, span by span, that any kill leaves ready to go on.

The folder OUT.part holds body.ozx, as long as the file on the server from the first moment with holes where nothing has
come yet, and plan.json. There is no journal to keep in step: what is here is what matches the plan's checksums.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from slimscan.errors import NotReadable, OutputError, ServerError
from slimscan.wire.fetch import Changed, Cut, Door, get_plan, get_ranges
from slimscan.wire.plan import STEPS, Plan, Span, crc_of, from_json
from slimscan.wire.ranges import MOST_RANGES, Range

BODY, PLAN, LOCK = "body.ozx", "plan.json", "lock"
REQUEST_BYTES = 4 << 20  # of one request: several seconds of a thin line, so that round trips count little
TRIES = 6  # in a row without one whole span
WAIT_S = 0.5
RESTARTS = 3

Say = Callable[[str], None]
Arrived = Callable[[str, Plan, Path], None]  # (step, plan, path of the body) when a step is complete
Passed = Callable[[int, int], None]  # (bytes here, bytes of the file)
Came = Callable[[Plan, Path, Span], None]  # (plan, path of the body, span): these bytes are here and match


@dataclass
class Receiving:
    """What a transfer did. fetched: bytes of spans that came in this run. found: those that were here before."""

    plan: Plan
    fetched: int = 0
    found: int = 0
    requests: int = 0
    cuts: int = 0


def receive(
    door: Door,
    folder: Path,
    until: str,
    *,
    arrived: Arrived | None = None,
    passed: Passed | None = None,
    came: Came | None = None,
    say: Say | None = None,
    wait_s: float = WAIT_S,
) -> Receiving:
    """Fill folder/body.ozx with every step up to `until`, going on where an earlier run stopped.

    arrived is called after each step that is complete, also when an earlier run completed it; came after each span. Both
    must return at once. ServerError in one line when the line stays cut, or the server sends what its own plan denies;
    OutputError for a full disk. The folder stays.
    """
    say = say or (lambda _text: None)
    with _alone(folder):
        for _ in range(RESTARTS):
            try:
                return _receive(door, folder, until, arrived, passed, came, say, wait_s)
            except Changed:
                say("the file on the server has changed: starting over")
                (folder / PLAN).unlink(missing_ok=True)
                (folder / BODY).unlink(missing_ok=True)
    raise ServerError(f"{door}: the file on the server changes faster than it can be received; try again later")


def _receive(
    door: Door,
    folder: Path,
    until: str,
    arrived: Arrived | None,
    passed: Passed | None,
    came: Came | None,
    say: Say,
    wait_s: float,
) -> Receiving:
    plan = _agreed(door, folder, say, wait_s)
    done = Receiving(plan)
    wanted = [span for span in plan.spans if span.step <= STEPS.index(until)]
    with _body(folder / BODY, plan.size) as file:
        missing = [span for span in wanted if crc_of(file, span) != span.crc]
        done.found = sum(span.stop - span.start for span in wanted) - sum(span.stop - span.start for span in missing)
        if done.found:
            say(f"going on: {done.found} bytes are here already")
        absent = set(missing)
        told = came and partial(came, plan, folder / BODY)
        for step in sorted({span.step for span in wanted}):
            for span in wanted if told is not None else ():
                if span.step == step and span not in absent:
                    assert told is not None
                    told(span)
            _fill(door, plan, [span for span in missing if span.step == step], file, done, passed, told, say, wait_s)
            if arrived is not None:
                arrived(STEPS[step], plan, folder / BODY)
    return done


def _fill(
    door: Door,
    plan: Plan,
    missing: list[Span],
    file: IO[bytes],
    done: Receiving,
    passed: Passed | None,
    told: Callable[[Span], None] | None,
    say: Say,
    wait_s: float,
) -> None:
    """Fetch spans until all are here and match."""
    tries, wrong = 0, 0
    while missing:
        batch = _batch(missing)
        coming = deque(batch)  # ranges come in the order in which they were asked for

        def sink(offset: int, data: bytes, coming: deque[Span] = coming) -> None:
            file.seek(offset)
            file.write(data)
            done.fetched += len(data)
            if passed is not None:
                passed(done.found + done.fetched, plan.size)
            while told is not None and coming and offset < coming[0].stop <= offset + len(data):
                file.flush()
                span = coming.popleft()
                if crc_of(file, span) == span.crc:
                    told(span)

        why = ""
        try:
            done.requests += 1
            get_ranges(door, plan, joined(batch), sink)
        except Cut as error:
            done.cuts += 1
            why = str(error)
        file.flush()
        left = [span for span in batch if crc_of(file, span) != span.crc]
        if not why and left:
            wrong += 1
            if wrong == 3:
                raise ServerError(
                    f"{door}: bytes {left[0].start}..{left[0].stop - 1} do not match the server's own checksum, three "
                    "times over; its file is damaged, or something between changes what is sent"
                )
        missing = [*left, *missing[len(batch) :]]
        tries = 0 if len(left) < len(batch) else tries + 1
        if why:
            if tries >= TRIES:
                raise ServerError(f"{door}: the line is cut ({why}); what came is kept, run the same command to go on")
            say(f"the line was cut ({why}): trying again")
            time.sleep(min(30.0, wait_s * 2**tries))


def _batch(missing: list[Span]) -> list[Span]:
    """The first spans that make one request."""
    found: list[Span] = []
    size = parts = 0
    for span in missing:
        new = not found or found[-1].stop != span.start
        if found and (parts + new > MOST_RANGES or size + span.stop - span.start > REQUEST_BYTES):
            break
        found.append(span)
        parts += new
        size += span.stop - span.start
    return found


def joined(spans: list[Span]) -> list[Range]:
    """Ranges of spans, neighbours in one."""
    found: list[Range] = []
    for span in spans:
        if found and found[-1][1] == span.start:
            found[-1] = (found[-1][0], span.stop)
        else:
            found.append((span.start, span.stop))
    return found


def _agreed(door: Door, folder: Path, say: Say, wait_s: float) -> Plan:
    """The plan of the file as it is on the server now; an earlier one is kept when it still holds."""
    place = folder / PLAN
    held: Plan | None = None
    try:
        held = from_json(json.loads(place.read_bytes()), str(place))
    except (OSError, ValueError, NotReadable):
        held = None
    for tries in range(TRIES):
        try:
            plan = get_plan(door, held.etag if held else "")
            break
        except Cut as error:
            if tries == TRIES - 1:
                raise ServerError(f"{door}: cannot be reached ({error}); is the server running there?") from error
            time.sleep(min(30.0, wait_s * 2**tries))
    if plan is None:
        assert held is not None
        return held
    if held is not None and plan.etag != held.etag:
        say("the file on the server has changed: starting over")
    (folder / BODY).unlink(missing_ok=True)
    if plan.size > shutil.disk_usage(folder).free:
        raise OutputError(f"{folder}: the disk has no room for {plan.size} bytes; name another place")
    fresh = folder / f"{PLAN}.new"
    fresh.write_text(json.dumps(plan.as_json(), separators=(",", ":")))
    fresh.replace(place)
    return plan


@contextmanager
def _body(place: Path, size: int) -> Iterator[IO[bytes]]:
    """The body, as long as it will be, with holes."""
    try:
        file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644), "r+b")
        with file:
            file.truncate(size)
            yield file
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror or error})") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process fills the same folder meanwhile, where the system has locks; the folder exists inside."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    with lock:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                f"{folder}: another process is receiving into it; wait for it, or name another OUT"
            ) from error
        yield
