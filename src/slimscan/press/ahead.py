"""Chunks decoded while the bytes behind them are still coming: a volume is there soon after the last byte of it.

Over a thin line a processor waits most of the time. What is decoded here is kept for the volumes that are written after
each step; what fails here fails again, with its message, where the volume is made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child
from slimscan.each import cores
from slimscan.files.ozx import Box, open_box
from slimscan.nouns import Pixels
from slimscan.press import residual
from slimscan.press.residual import Residual
from slimscan.press.scheme import Scheme, decode_within, limits_of
from slimscan.press.store import chunk_pieces, described
from slimscan.wire.plan import Plan, Span

MOST_BYTES = 512 << 20  # raw samples of a volume that is kept decoded, twice when it has a residual
MAIN, BESIDE = 0, 1


@dataclass
class _File:
    """One version of a file on the server. places: (start, stop, array, index) of its chunks, in order of start."""

    etag: str
    box: Box
    scheme: Scheme
    shape: tuple[int, ...]
    limits: child.Limits | None
    rest: Residual | None
    places: list[tuple[int, int, int, int]]
    starts: list[int]
    here: dict[int, int] = field(default_factory=dict)  # start -> stop of spans that are here
    decoded: dict[tuple[int, int], Future[Pixels]] = field(default_factory=dict)


class Ahead:
    """Decodes on threads of its own what client.receive says has come. Use as a context manager."""

    def __init__(self, untrusted: bool | child.Limits = False) -> None:
        self._untrusted = untrusted
        self._pool = ThreadPoolExecutor(cores(), "decoding ahead")
        self._early: list[Span] = []  # what came before the file could be opened
        self._file: _File | None = None
        self._etag = ""
        self._awaited = 0  # spans of the first step that are not here yet

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_unused: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def came(self, plan: Plan, body: Path, span: Span) -> None:
        """A span is here; a chunk that it completes is decoded when a core is free. Returns at once."""
        if plan.etag != self._etag:
            self._etag, self._file, self._early = plan.etag, None, []
            self._awaited = sum(one.step == 0 for one in plan.spans)
        if self._file is not None:
            self._reached(self._file, span)
        elif self._awaited:
            self._early.append(span)
            self._awaited -= span.step == 0
            if not self._awaited:  # what is no chunk comes with the first step
                early, self._early = self._early, []
                file = self._file = self._opened(plan, body)
                for one in early if file is not None else ():
                    assert file is not None
                    self._reached(file, one)

    def chunk(self, plan: Plan, index: int) -> Pixels | None:
        """Stored pixels of a chunk that is here whole; None when it was not decoded, or could not be."""
        return self._result(plan, MAIN, index)

    def original(self, plan: Plan) -> Pixels | None:
        """The whole original, base and residual together; None unless every chunk of it was decoded.

        What was kept is let go.
        """
        file = self._file
        if file is None or file.etag != plan.etag or file.rest is None:
            return None
        count = len(residual.pieces_of(file.rest, file.shape[0]))
        parts = [self._result(plan, BESIDE, index) for index in range(count)]
        found = [part for part in parts if part is not None]
        self._file = None
        file.decoded.clear()
        return np.concatenate(found) if len(found) == count else None

    def _result(self, plan: Plan, array: int, index: int) -> Pixels | None:
        file = self._file
        future = file.decoded.get((array, index)) if file is not None and file.etag == plan.etag else None
        if future is None:
            return None
        try:
            return future.result()
        except Exception:  # noqa: BLE001 it is raised where the chunk is decoded again
            return None

    def _opened(self, plan: Plan, body: Path) -> _File | None:
        """The file, once all that is not a chunk is here; None for one that is too large to keep, or damaged."""
        try:
            with child.apart(self._untrusted):
                box = open_box(body)
                scheme, _said, shape = described(box)
                limits = limits_of(scheme)
            rest = None if box.residual is None else residual.described(box.residual.array, str(body))
        except Exception:  # noqa: BLE001 as above
            return None
        if int(np.prod(shape, dtype=np.int64)) * np.dtype(scheme.grid.dtype).itemsize > MOST_BYTES:
            return None
        chunks = [(MAIN, box.chunks)] + ([(BESIDE, box.residual.chunks)] if box.residual is not None else [])
        places = sorted(
            (offset, offset + length, array, index)
            for array, found in chunks
            for index, (offset, length) in enumerate(found)
        )
        return _File(plan.etag, box, scheme, shape, limits, rest, places, [place[0] for place in places])

    def _reached(self, file: _File, span: Span) -> None:
        """Note a span, and decode the chunk that is whole now."""
        file.here[span.start] = span.stop
        at = bisect_right(file.starts, span.start) - 1
        if at < 0 or span.start >= file.places[at][1]:
            return
        start, stop, array, index = file.places[at]
        while start in file.here and start < stop:
            start = file.here[start]
        if start == stop and (array, index) not in file.decoded:
            work: Callable[..., Pixels] = _main if array == MAIN else _exact
            file.decoded[array, index] = self._pool.submit(work, file, index)


def _main(file: _File, index: int) -> Pixels:
    first, last = chunk_pieces(file.shape[0], file.scheme.depth)[index]
    return decode_within(file.limits, file.scheme, file.box.chunk(index), (last - first, *file.shape[1:]))


def _exact(file: _File, index: int) -> Pixels:
    """The original of one chunk of the residual. The chunks of the base came before it, so no future waits for a later."""
    assert file.rest is not None
    assert file.box.residual is not None
    first, last = residual.pieces_of(file.rest, file.shape[0])[index]
    depth = file.scheme.depth
    touched = range(first // depth, -(-last // depth))
    base = np.concatenate([file.decoded[MAIN, one].result() for one in touched])
    cut: Any = base[first - touched[0] * depth : last - touched[0] * depth]
    return residual.decode_within(file.limits, file.rest, file.box.residual.chunk(index), np.ascontiguousarray(cut))


__all__ = ["Ahead"]
