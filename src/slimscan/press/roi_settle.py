"""From a target that speaks of a region to settings: a search for the outside, another for the inside.

In an .ozx the inside is coded beside a coarse base (scheme.py, version 2), so the two searches do not touch each other. In
files that others must read, the pixels outside are changed first (roi_treat.py), and the whole is coded exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.codecs import codec as find_codec
from slimscan.errors import InputError, TargetUnreachable
from slimscan.nouns import Apart, Codec, Lossless, MaxError, Pixels, Psnr, Ratio, Region, Setting
from slimscan.nouns.image import Lazy
from slimscan.press.allot import Found, allot
from slimscan.press.choose import Case, goal_of, part_of, scheme_of, searched
from slimscan.press.goal import Goal, bytes_goal
from slimscan.press.grid import Grid
from slimscan.press.probe import Piece, Prober, Sample
from slimscan.press.roi import voxels_inside
from slimscan.press.roi_code import quantised, restored
from slimscan.press.roi_treat import WAVELET_CODECS, Kind, Treat, knob_of
from slimscan.press.scheme import Inside, Scheme, code_region
from slimscan.press.search import Axis
from slimscan.press.store import chunk_pieces

FLOOR = 10  # the outside of --ratio R is never coded at more than this times R
PARTS = 256  # of a chunk's inside: how finely its mean error is met
HALVINGS = 10  # of what a search left open
WORTH = 0.99  # a base with the region filled must be this much smaller, or it shows the region too


@dataclass(frozen=True, slots=True)
class InsideJob:
    """One chunk's inside for a worker. bounds: (bound, split) in codes."""

    scheme: Scheme
    pixels: Pixels
    inside: Pixels
    bounds: tuple[int, int]


def run_inside(job: InsideJob) -> tuple[bytes, bytes]:
    """Its inside mask and correction."""
    return code_region(job.scheme, job.pixels, job.inside, *job.bounds)


@dataclass(frozen=True)
class _Backed:
    """Calmed pixels with the background of the volume where it was, slices as they are asked for."""

    calmed: Pixels | Lazy
    held: Pixels | Lazy
    background: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x[, c])."""
        return tuple(self.held.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As held."""
        return self.held.dtype

    def __getitem__(self, index: slice) -> Pixels:
        before, after = np.asarray(self.held[index]), np.asarray(self.calmed[index])
        return np.where((before == self.background) | (after == self.background), before, after)


def asked_of(case: Case) -> tuple[Apart, Region]:
    """The target and the region of a case that has them."""
    assert isinstance(case.target, Apart)
    assert case.region is not None
    return case.target, case.region


def prober_for(case: Case, name: str) -> Prober:
    """A prober for one codec and a case with a region; InputError when they do not go together."""
    asked, region = asked_of(case)
    found = find_codec(name)
    outside, where = asked.outside, case.volume.source or "volume"
    if isinstance(outside.target, Setting):
        name = outside.target.codec
        found = find_codec(name)
    exact = not case.envelope or not found.lossy
    goal = asked.whole is not None or isinstance(outside.target, (Ratio, Psnr, MaxError))
    if exact and outside.how and outside.target is not None:
        raise InputError(f"{where}: --outside {outside} needs a lossy codec and an .ozx; say {outside.how} alone")
    if not goal and not found.lossless and outside.target is None:
        raise InputError(
            f"{where}: --outside {outside} with {name}, which has no exact mode: add +ratio:R, or take jpegxl"
        )
    if exact and isinstance(outside.target, Setting):
        raise InputError(
            f"{where}: --outside {outside} needs an .ozx; say ratio, psnr, max-error, calm, constant or coarse"
        )
    if not case.envelope and isinstance(asked.inside, Psnr):
        raise InputError(f"{where}: --inside {asked.inside} needs an .ozx; say lossless or max-error:N")
    volume = case.volume
    if outside.how == "calm":
        from slimscan.press.calm import calmed

        volume = calmed(volume, region, dict(outside.options), padding=case.seen.background)
        if case.seen.background is not None:
            volume = replace(volume, pixels=_Backed(volume.pixels, case.volume.pixels, case.seen.background))
    if case.envelope:
        scheme = replace(scheme_of(case, found), exact=False, inside=Inside())
    else:
        scheme = scheme_of(replace(case, target=Lossless()), found)
    treat = _treat(case, found, scheme, exact and goal)
    quality = isinstance(outside.target, (Psnr, MaxError))
    prober = Prober(volume, scheme, case.each, quality, progress=case.progress, region=region, treat=treat)
    prober.spool.place(case.spool_folder)
    if case.envelope and found.lossy and found.knob is not None and outside.how != "constant":
        prober.scheme = replace(scheme, inside=Inside(_filling_pays(prober, found)))
    return prober


def _filling_pays(prober: Prober, found: Codec) -> bool:
    """Whether a smooth filling makes the base smaller, on a part of the volume at the middle of the knob."""
    assert found.knob is not None
    value = Axis(found.knob).value(0.5)
    part = part_of(prober.volume.shape[0], prober.scheme.depth)
    sizes = []
    for filled in (True, False):
        scheme = replace(prober.scheme, inside=Inside(filled))
        tried = Prober(prober.volume, scheme, prober.each, False, region=prober.region, treat=prober.treat)
        sizes.append(sum(sample.nbytes for sample in tried.run(part, [value] * len(part), spool=False)))
    return sizes[0] < WORTH * sizes[1]


def _treat(case: Case, found: Codec, scheme: Scheme, searching: bool) -> Treat | None:
    """What is done outside before coding; None when nothing is."""
    asked, _ = asked_of(case)
    how, options = asked.outside.how, asked.outside.options
    kind: Kind | None = "constant" if how == "constant" else "coarse" if how == "coarse" else None
    wavelet = found.name in WAVELET_CODECS and case.volume.pixels.dtype.kind in "iu"
    bound = _bound_of(asked, scheme.grid)
    if kind is None and not searching and (case.envelope or not bound):
        return None
    amount: float | None = None
    low, high = _span(case, scheme.grid)
    if kind == "constant":
        # Padding that a header declares must not mix with pixels: then the smallest value beside it.
        smallest = case.seen.inside_low if case.plain and case.volume.padding is not None else case.seen.low
        amount = float(options.get("value", smallest))
        if np.dtype(case.volume.pixels.dtype).kind in "iu" and not low <= amount <= high:
            raise InputError(
                f"{case.volume.source}: --outside constant:{amount:g} does not fit: samples hold {low:g}..{high:g}"
            )
    elif kind == "coarse":
        amount = float(options["levels"])
    elif not searching:  # calm, with a bound inside
        amount = 0.0
    kind = kind or ("wavelet" if wavelet else "levels")
    if case.envelope:
        if kind == "constant":
            low, high = (
                (case.seen.inside_low, case.seen.inside_high)
                if scheme.background is not None
                else (case.seen.low, case.seen.high)
            )
            amount = min(high, max(low, amount or 0.0))  # codes begin at the smallest value that is no background
            amount = float(scheme.grid.codes(np.array([amount], case.volume.pixels.dtype))[0])
        return Treat(kind, amount, 0, 2**scheme.grid.bits - 1)
    if kind == "coarse" and case.volume.pixels.dtype.kind == "f":
        raise InputError(f"{case.volume.source}: --outside coarse wants integer samples here; write .ozx, or say calm")
    near = float(bound) if bound and found.bounded and found.name == "jpegls" else None
    return Treat(kind, amount, low, high, _padding(case), 0 if near else bound, near)


def _padding(case: Case) -> float | None:
    return case.seen.background


def _span(case: Case, grid: Grid) -> tuple[float, float]:
    """Values that may stand in the file: those of its bits; levels count from the smallest that occurs."""
    if case.volume.pixels.dtype.kind == "f":
        return case.seen.low, case.seen.high
    if case.plain and np.dtype(grid.dtype).kind == "i":
        return -(2.0 ** (grid.bits - 1)), 2.0 ** (grid.bits - 1) - 1
    return (0.0, 2.0**grid.bits - 1) if case.plain else (case.seen.low, case.seen.high)


def _bound_of(asked: Apart, grid: Grid) -> int:
    """The largest error inside, in codes; TargetUnreachable when 16 bits are too coarse for it."""
    if not isinstance(asked.inside, MaxError):
        return 0
    most = asked.inside.value + 1e-9 * max(1.0, asked.inside.value)
    codes = most if grid.exact else (most - grid.step / 2) / grid.step
    if codes < 0:
        raise TargetUnreachable(
            f"--inside max-error:{asked.inside.value:g} is finer than half the 16-bit step {grid.step:g} that these samples"
            " are mapped to; ask for more"
        )
    return int(min(codes, 65535))


def settle_roi(case: Case, prober: Prober) -> tuple[list[Piece], Found, int]:
    """(chunks, what was found for each, bytes that the inside takes); the payloads lie in the prober's spool.

    TargetUnreachable, in one line, when the outside or the whole cannot be had.
    """
    asked, region = asked_of(case)
    pieces = chunk_pieces(case.volume.shape[0], prober.scheme.depth)
    if asked.whole is not None:
        return _whole(case, prober, pieces)
    inner = _inner(case, prober, pieces, _bounds(case, prober, pieces))
    outside = asked.outside.target
    if outside is None or isinstance(outside, Setting):
        value = outside.value if outside is not None else None
        if prober.treat is not None and prober.treat.near is not None:
            value = prober.treat.near
        values = (value,) * len(pieces)
        return pieces, Found(values, tuple(prober.run(pieces, values))), inner
    voxels = voxels_inside(region)
    samples = case.seen.samples // max(1, int(np.prod(case.volume.shape[:3]))) * (int(np.prod(region.shape)) - voxels)
    if not samples and not isinstance(outside, MaxError):
        raise TargetUnreachable(
            f"{case.volume.source}: the region is the whole image; --outside {outside} has nothing to act on"
        )
    beside = 0 if case.envelope else inner
    if not samples:
        knob = find_codec(prober.scheme.codec).knob
        values = (None if prober.treat is not None or knob is None else Axis(knob).value(0.0),) * len(pieces)
        return pieces, Found(values, tuple(prober.run(pieces, values))), inner
    apart = replace(case, target=outside, seen=replace(case.seen, samples=samples), overhead=-beside)
    goal = goal_of(apart)
    assert goal is not None
    return pieces, _search(apart, prober, goal, "--outside "), inner


def _search(case: Case, prober: Prober, goal: Goal, words: str) -> Found:
    found = find_codec(prober.scheme.codec)
    if prober.treat is not None and prober.treat.searched:
        knob = knob_of(prober.treat.kind, prober.treat.low, prober.treat.high)
        found = replace(found, knob=knob, bounded=prober.treat.kind == "levels", lossless=True)
    try:
        return searched(case, found, prober, goal)
    except TargetUnreachable as error:
        closer = _closer(prober, found, goal)
        if closer is not None:
            return closer
        raise TargetUnreachable(str(error).replace(": --", f": {words}", 1)) from None


def _closer(prober: Prober, found: Codec, goal: Goal) -> Found | None:
    """Halve what lies between the two values that a search ended with: the curve of a treatment is no straight line.

    None where there are no two values, or nothing between them.
    """
    pieces = chunk_pieces(prober.volume.shape[0], prober.scheme.depth)
    if found.knob is None or goal.measure == "worst":
        return None
    axis = Axis(found.knob)
    tried: dict[float, list[Sample]] = {}
    for value in {value for _, value in prober.samples if value is not None}:
        if all((piece, value) in prober.samples for piece in pieces):
            tried[axis.place(value)] = [prober.samples[piece, value] for piece in pieces]
    for _ in range(HALVINGS):
        allowed = [place for place, samples in tried.items() if goal.of(samples) <= goal.limit]
        forbidden = [place for place, samples in tried.items() if goal.of(samples) > goal.limit]
        if not allowed or not forbidden:
            return None
        near, far = min(
            ((one, other) for one in allowed for other in forbidden), key=lambda pair: abs(pair[0] - pair[1])
        )
        middle = axis.place(axis.value((near + far) / 2))
        if middle in tried:
            break
        value = axis.value(middle)
        tried[middle] = prober.run(pieces, [value] * len(pieces))
        if goal.kept(goal.of(tried[middle])):
            return Found((value,) * len(pieces), tuple(tried[middle]))
    pairs: list[tuple[float | None, list[Sample]]] = [(axis.value(place), tried[place]) for place in sorted(tried)]
    for number, samples in pairs:  # the spool keeps whole volumes only
        prober.run(pieces, [number] * len(samples))
    mixed = allot(goal, pairs)
    return mixed if goal.kept(goal.of(mixed.samples)) else None


def _bounds(case: Case, prober: Prober, pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """(bound, split) of every chunk's inside, in codes."""
    asked, _ = asked_of(case)
    if not isinstance(asked.inside, Psnr):
        return [(_bound_of(asked, prober.scheme.grid), 0)] * len(pieces)
    return _for_psnr(case, prober, pieces, asked.inside)


def _for_psnr(case: Case, prober: Prober, pieces: Sequence[Piece], asked: Psnr) -> list[tuple[int, int]]:
    """The coarsest bounds whose mean squared error inside gives the PSNR: one, and one more for a part of each chunk."""
    _, region = asked_of(case)
    grid, held = prober.scheme.grid, []
    for piece in pieces:
        inside, pixels = region.inside(*piece), prober.volume.slices(*piece)
        back = prober.scheme.background
        if back is not None:
            inside = inside & (pixels != back)
        held.append((grid.codes(pixels)[inside], pixels[inside].astype(np.float64)))
    samples = voxels_inside(region) * (case.volume.shape[3] if len(case.volume.shape) == 4 else 1)
    limit = samples * case.peak(asked.peak) ** 2 / 10 ** (asked.db / 10)

    def curve(bound: int) -> Any:
        """Squared errors summed up to every part of the insides."""
        out = np.zeros(PARTS + 1)
        for codes, pixels in held:
            back = grid.stored(restored(quantised(codes, bound), bound, 0, 2**grid.bits - 1).astype(grid.code_dtype))
            squares = (back - pixels) ** 2
            squares = squares.sum(axis=tuple(range(1, squares.ndim)))
            ends = np.arange(PARTS + 1) * len(codes) // PARTS
            out += np.concatenate([[0.0], np.cumsum(squares)])[ends]
        return out

    if curve(0)[-1] > limit:
        raise TargetUnreachable(
            f"{case.volume.source}: --inside {asked}: the 16 bits for these samples end below that; ask for less"
        )
    low, high, top = 0, 1, 2**grid.bits
    while high < top and curve(high)[-1] <= limit:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if curve(middle)[-1] <= limit else (low, middle)
    fine, coarse = curve(low), curve(low + 1)
    sums = coarse + fine[-1] - fine
    part = int(np.flatnonzero(sums <= limit)[-1])
    return [(low, part * len(codes) // PARTS) for codes, _ in held]


def _inner(case: Case, prober: Prober, pieces: Sequence[Piece], bounds: Sequence[tuple[int, int]]) -> int:
    """Bytes that the inside takes; in an .ozx they go to the spool, else they are those of a flat outside."""
    _, region = asked_of(case)
    if not case.envelope:
        flat = 0.5 * (case.seen.inside_low + case.seen.inside_high)
        low, high = _span(case, prober.scheme.grid)
        treat = replace(prober.treat or Treat("constant", flat, low, high), kind="constant", amount=float(int(flat)))
        alone = Prober(case.volume, prober.scheme, case.each, False, region=region, treat=treat)
        return sum(one.nbytes for one in alone.run(pieces, [treat.near] * len(pieces), spool=False))
    jobs = (
        InsideJob(prober.scheme, prober.volume.slices(*piece), region.inside(*piece), bound)
        for piece, bound in zip(pieces, bounds, strict=True)
    )
    total = 0
    for piece, (where, correction) in zip(pieces, case.each(run_inside, jobs), strict=True):
        prober.keep_inside(piece, where, correction)
        total += len(where) + len(correction)
    return total


def _whole(case: Case, prober: Prober, pieces: list[Piece]) -> tuple[list[Piece], Found, int]:
    """The smallest bound inside that leaves the outside enough of the whole file's bytes, which then gets the rest."""
    asked, region = asked_of(case)
    assert asked.whole is not None
    goal = bytes_goal(case.raw_bytes, asked.whole.value, case.overhead)
    share = 1 - voxels_inside(region) / max(1, int(np.prod(region.shape)))
    floor = case.raw_bytes * share / (FLOOR * asked.whole.value)
    least = _bound_of(asked, prober.scheme.grid)
    top = max(least, min(255 if prober.treat is not None and not case.envelope else 65535, 2 ** (case.bits - 3)))
    sizes: dict[int, int] = {}

    def size(bound: int) -> int:
        _rebound(prober, bound)
        sizes[bound] = _inner(case, prober, pieces, [(bound, 0)] * len(pieces))
        return sizes[bound]

    room = goal.limit - floor
    low, high = least - 1, least
    if size(high) > 8 * room:  # hardly to be had: look at the end first
        high = top
    while size(high) > room:
        if high >= top:
            best = case.raw_bytes / max(1.0, sizes[high] + floor + case.overhead)
            raise TargetUnreachable(
                f"{case.volume.source or 'volume'}: --ratio {asked.whole.value:g} with this region cannot be met: with an error of"
                f" {high} inside it still takes {sizes[high]} bytes; ratios up to {best:.4g} are possible,"
                " or take a smaller region"
            )
        low, high = high, min(top, max(1, 2 * high))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if size(middle) <= room else (middle, high)
    while True:
        inner = size(high)
        whole = replace(case, target=asked.whole, overhead=case.overhead + (inner if case.envelope else 0))
        goal = bytes_goal(case.raw_bytes, asked.whole.value, whole.overhead)
        try:
            return pieces, _search(whole, prober, goal, "--"), inner
        except TargetUnreachable:
            if high >= top:
                raise
            high = min(top, max(high + 1, 4 * high))  # the outside takes more than its floor


def _rebound(prober: Prober, bound: int) -> None:
    """Another bound inside, for pixels that are changed before coding; what was tried with the last one is forgotten."""
    treat = prober.treat
    if treat is None or prober.scheme.inside is not None:
        return
    near = float(bound) if prober.scheme.codec == "jpegls" and bound else None
    fresh = replace(treat, bound=0 if near else bound, near=near)
    if fresh != treat:
        prober.treat = fresh
        prober.samples.clear()
        prober.spool.forget()


def bounds_text(case: Case, prober: Prober) -> str:
    """What the setting says behind the codec's own: how the inside and the outside came about."""
    treat = prober.treat
    if prober.scheme.inside is not None:
        return f"inside {asked_of(case)[0].inside}" if asked_of(case)[0].whole is None else "inside first"
    return "region kept" if treat is None else f"outside {treat.kind}"
