"""A volume from a part of its file: what has come is decoded, what has not is interpolated between its neighbours.

Which bytes are there follows from the plan and the last step that is complete, so that a server with the whole file and
a client with a part of it show the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child
from slimscan.each import threads
from slimscan.errors import CodecError
from slimscan.files.lazy import Slices
from slimscan.files.ozx import Box, open_box
from slimscan.nouns import Pixels, Volume
from slimscan.press.scheme import Scheme, decode, decode_within, limits_of
from slimscan.press.store import chunk_pieces, described, volume_facts
from slimscan.wire.plan import STEPS, Plan, stride_of

WHOLE, BASE, MISSING = "whole", "base", "missing"
DESCRIP = {348: 148, 540: 240}  # NIfTI-1 and -2: size of the header -> where its 80 bytes of free text stand


@dataclass(frozen=True)
class State:
    """How much of a volume is there after a step. Slices decoded whole, from their base alone, and interpolated.

    spacing: every so many slices, from the first, one is there after the first step.
    """

    step: str
    slices: int
    whole: int
    base: int
    interpolated: int
    spacing: int = 1

    def __str__(self) -> str:
        parts = [f"{self.whole} of {self.slices} slices as stored"]
        parts += [f"{self.base} coarse"] if self.base else []
        parts += [f"{self.interpolated} interpolated"] if self.interpolated else []
        return f"{self.step}: {', '.join(parts)}"


class Superseded(Exception):
    """More has come meanwhile: this volume is no longer wanted."""


def volume_at(
    body: Path,
    plan: Plan,
    step: int,
    stop: Callable[[], bool] | None = None,
    ready: Callable[[int], Pixels | None] | None = None,
) -> tuple[Volume, State]:
    """The volume of a file of which the steps 0..step are there, its pixels lazy. ready: chunks decoded before, or None.

    Interpolated slices are linear between the nearest ones that are there, background values the nearest one's. stop:
    asked before every read; when it says True, Superseded is raised. NotReadable, CodecError or ChecksumError when the
    bytes are damaged.
    """
    box = open_box(body)
    scheme, said, shape = described(box)
    there = _there(box, plan, step)
    pieces = chunk_pieces(shape[0], scheme.depth)
    counts = dict.fromkeys((WHOLE, BASE, MISSING), 0)
    for (start, end), held in zip(pieces, there, strict=True):
        counts[held] += end - start
    state = State(
        STEPS[step], shape[0], counts[WHOLE], counts[BASE], counts[MISSING], stride_of(scheme.depth) * scheme.depth
    )
    limits = limits_of(scheme)

    def chunk(index: int) -> Pixels:
        start, end = pieces[index]
        size = (end - start, *shape[1:])
        try:
            if there[index] == WHOLE:
                before = None if ready is None else ready(index)
                if before is not None:
                    return before
                return decode_within(limits, scheme, box.chunk(index), size)
            return _coarse(limits, scheme, _bytes(box, plan, index), size)
        except CodecError as error:
            raise type(error)(f"{body}: chunk {index}: {error}") from error

    present = [index for index, held in enumerate(there) if held != MISSING]
    load = partial(_slices, shape, scheme, pieces, present, chunk, stop or (lambda: False))
    facts = volume_facts(box, said)
    dtype = np.dtype(scheme.grid.dtype)
    return Volume(Slices(shape, dtype, load), **facts), state


def told(volume: Volume, state: State) -> Volume:
    """The volume with what is missing of it said in the free text of its NIfTI header, where viewers show it."""
    raw = volume.raw_header.get("nifti") or _blank()
    order = "little" if int.from_bytes(raw[:4], "little") in DESCRIP else "big"
    place = DESCRIP.get(int.from_bytes(raw[:4], order))  # type: ignore[arg-type] # one of the two literals
    if place is None:
        return volume
    text = f"INCOMPLETE {state}".encode("ascii", "replace")[:79].ljust(80, b"\0")
    return replace(volume, raw_header={**volume.raw_header, "nifti": raw[:place] + text + raw[place + 80 :]})


def _blank() -> bytes:
    nibabel: Any = importlib.import_module("nibabel")
    header = nibabel.Nifti1Header(endianness="<")
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_data_shape((1, 1, 1))
    return bytes(header.binaryblock) + bytes(4)


def _there(box: Box, plan: Plan, step: int) -> list[str]:
    """What is there of every chunk."""
    stops = {span.start: span.stop for span in plan.spans if span.step <= step}
    found = []
    for offset, length in box.chunks:
        first = stops.get(offset)
        last = stops.get(first, first) if first is not None and first != offset + length else first
        found.append(MISSING if first is None else WHOLE if last == offset + length else BASE)
    return found


def _bytes(box: Box, plan: Plan, index: int) -> bytes:
    """The first part of a chunk, unsealed: the checksum of the whole chunk comes with its end."""
    offset = box.chunks[index][0]
    stop = next(span.stop for span in plan.spans if span.start == offset)
    with box.shard_path.open("rb") as file:
        file.seek(offset)
        return file.read(stop - offset)


def _coarse(limits: child.Limits | None, scheme: Scheme, payload: bytes, shape: tuple[int, ...]) -> Pixels:
    """The base of a chunk of envelope version 2, alone."""
    if limits is None:
        return base_alone(scheme, payload, shape)
    return child.decode("slimscan.press.partial:base_alone", (scheme, payload, shape), shape, scheme.grid.dtype, limits)


def base_alone(scheme: Scheme, payload: bytes, shape: tuple[int, ...]) -> Pixels:
    """Stored pixels of a chunk at the quality of its outside; payload may end after the base."""
    return decode(scheme, payload, shape, inside=False)


def _slices(
    shape: tuple[int, ...],
    scheme: Scheme,
    pieces: list[tuple[int, int]],
    present: list[int],
    chunk: Callable[[int], Pixels],
    stop: Callable[[], bool],
    first: int,
    last: int,
) -> Pixels:
    """Slices first..last-1: decoded, or interpolated."""
    if stop():
        raise Superseded
    rows = np.repeat([index in set(present) for index in range(len(pieces))], [b - a for a, b in pieces])
    known = np.flatnonzero(rows)
    zs = np.arange(first, last)
    low = known[np.maximum(np.searchsorted(known, zs, "right") - 1, 0)]
    high = known[np.minimum(np.searchsorted(known, zs), len(known) - 1)]
    below, above = dict(zip(zs.tolist(), low.tolist(), strict=True)), dict(zip(zs.tolist(), high.tolist(), strict=True))
    wanted = sorted({z // scheme.depth for z in (*below.values(), *above.values())})
    held = dict(zip(wanted, threads()(chunk, wanted), strict=True))
    out = np.empty((last - first, *shape[1:]), scheme.grid.dtype)
    for z in range(first, last):
        a, b = (held[k // scheme.depth][k % scheme.depth] for k in (below[z], above[z]))
        out[z - first] = a if below[z] == above[z] else _between(a, b, below[z], above[z], z, scheme.background)
    return out


def _between(a: Pixels, b: Pixels, below: int, above: int, z: int, background: float | None) -> Pixels:
    if z < below or above <= below:
        return b if above >= z else a
    share = (z - below) / (above - below)
    mixed = (1 - share) * a.astype(np.float64) + share * b.astype(np.float64)
    near = a if share < 0.5 else b
    if background is not None:
        mixed = np.where((a == background) | (b == background), near, mixed)
    return np.rint(mixed).astype(a.dtype) if a.dtype.kind in "iu" else mixed.astype(a.dtype)
