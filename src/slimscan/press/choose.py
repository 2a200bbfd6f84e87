"""From a target to settings: one codec's search, with the sentence for what cannot be reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimscan.codecs import admit
from slimscan.codecs import codec as find_codec
from slimscan.each import Each
from slimscan.errors import InputError, LayoutRefused, TargetUnreachable
from slimscan.nouns import Codec, Knob, Layout, Lossless, MaxError, Peak, Psnr, Ratio, Region, Setting, Target, Volume
from slimscan.press.allot import Found
from slimscan.press.dicom import dicom_grid
from slimscan.press.goal import Goal, bytes_goal, error_goal, most_goal, psnr_goal
from slimscan.press.grid import Grid, grid_for, plain_grid, stored_bits, stored_dtype
from slimscan.press.probe import Piece, Prober
from slimscan.press.scheme import Scheme
from slimscan.press.search import Curve, Unreachable, search_volume
from slimscan.press.search_each import search_each
from slimscan.press.store import chunk_pieces
from slimscan.press.survey import EXACT, Survey

Per = Literal["volume", "slice"]

SLAB_BYTES = 96 << 20  # of raw samples in one chunk, at most: a few slabs are under way at once


@dataclass(frozen=True)
class Case:
    """A surveyed volume and what is asked of it. overhead: bytes of the file beside payloads. plain: no grid, no mask.

    dicom: the codestreams are for DICOM, whose readers expect two's complement where a codec knows no sign. region: of
    interest, for a target that speaks of one; envelope: whether chunks keep it apart (else pixels outside are changed).
    """

    volume: Volume
    seen: Survey
    target: Target
    per: Per
    each: Each
    overhead: int = 0
    plain: bool = False
    dicom: bool = False
    spool_folder: Path | None = None
    progress: Any = None
    region: Region | None = None
    envelope: bool = False

    @property
    def bits(self) -> int:
        """Stored bits of a sample."""
        return stored_bits(self.volume, self.seen)

    @property
    def raw_bytes(self) -> int:
        """Voxels x samples x whole bytes per stored sample."""
        return self.seen.samples * np.dtype(self.volume.pixels.dtype).itemsize

    def peak(self, named: Peak) -> float:
        """The number behind a named peak."""
        if named == "stored":
            return stored_peak(self.volume, self.seen)
        if named == "range":
            return self.seen.high - self.seen.low
        if named == "dtype":
            kind = np.dtype(self.volume.pixels.dtype)
            if kind.kind not in "iu":
                raise InputError(f"{self.volume.source}: --peak dtype needs integer samples, these are {kind}")
            return float(np.iinfo(kind).max) - float(np.iinfo(kind).min)
        return float(named)


def stored_peak(volume: Volume, seen: Survey) -> float:
    """2**bits - 1; for samples that need more than 16 bits or are not whole, the range that 16 bits are spread over."""
    if seen.whole and seen.high - seen.low <= 65535:
        return float(2 ** stored_bits(volume, seen) - 1)
    return seen.high - seen.low


def scheme_of(case: Case, found: Codec) -> Scheme:
    """How this codec codes this case; LayoutRefused when it cannot."""
    exact = isinstance(case.target, Lossless) or (isinstance(case.target, Setting) and case.target.value is None)
    if not exact and max(case.seen.high, -case.seen.low) >= EXACT and np.dtype(case.volume.pixels.dtype).kind in "iu":
        raise LayoutRefused(
            f"{case.volume.source or 'volume'}: integers of 2**53 and more cannot be measured to one unit, the largest is "
            f"{case.seen.high:g}; use --lossless, or subtract an offset first"
        )
    background = None if exact or case.plain else case.seen.background
    grid = grid_for(case.volume, case.seen, background=background is not None)
    if case.plain:
        grid = plain_grid(case.volume, case.seen)
        if case.dicom:
            grid = dicom_grid(found.name, grid, case.volume, case.seen, exact)
    elif exact and not (grid.exact and case.seen.plain):
        dtype = stored_dtype(case.volume)
        grid = Grid(dtype, 0.0, 1.0, 8 * np.dtype(dtype).itemsize, dtype)
    depth = _depth(case.volume, found)
    admit(found, Layout((1, *case.volume.shape[1:]), grid.code_dtype, grid.bits))
    return Scheme(found.name, grid, depth, background, exact=exact)


def _depth(volume: Volume, found: Codec) -> int:
    """Slices a chunk: the codec's own, fewer where slices are so large that a slab would fill the memory."""
    if found.chunk != "slab":
        return 1
    slice_bytes = int(np.prod(volume.shape[1:])) * np.dtype(volume.pixels.dtype).itemsize
    return min(found.depth, max(1, SLAB_BYTES // max(1, slice_bytes)))


def part_of(slices: int, depth: int) -> list[Piece]:
    """About an eighth of the volume, spread over it: whole chunks where there are enough of them."""
    pieces = chunk_pieces(slices, depth)
    if len(pieces) >= 8:
        count = min(max(2, round(len(pieces) / 8)), max(2, 96 // depth))
    elif depth > 1 and slices >= 24:
        run = min(depth, max(4, slices // 16))
        return [(start, start + run) for start in (slices // 4 - run // 2, 3 * slices // 4 - run // 2)]
    elif depth == 1 and slices >= 4:
        count = slices // 4
    else:
        return pieces
    picks = sorted({int((index + 0.5) * len(pieces) / count) for index in range(count)})
    return [pieces[pick] for pick in picks]


def goal_of(case: Case) -> Goal | None:
    """The target as a goal over the whole volume; None when nothing is to be searched."""
    if isinstance(case.target, Ratio) and case.target.most:
        return most_goal(case.raw_bytes, case.target.value)
    if isinstance(case.target, Ratio):
        return bytes_goal(case.raw_bytes, case.target.value, case.overhead)
    if isinstance(case.target, Psnr):
        return psnr_goal(case.target.db, case.peak(case.target.peak), case.seen.samples)
    if isinstance(case.target, MaxError):
        return error_goal(case.target.value)
    return None


def check_target(target: Target) -> None:
    """InputError for a number that no image can meet."""
    if isinstance(target, Ratio) and not (math.isfinite(target.value) and target.value >= 1):
        raise InputError(f"--ratio {target.value:g}: want a number of at least 1, for example 20")
    if isinstance(target, Psnr) and not 0 < target.db <= 200:
        raise InputError(f"--psnr {target.db:g}: want decibels between 0 and 200, for example 55")
    if isinstance(target, Psnr) and not isinstance(target.peak, str) and not target.peak > 0:
        raise InputError(f"--peak {target.peak:g}: want stored, range, dtype or a positive number")
    if isinstance(target, MaxError) and not (math.isfinite(target.value) and target.value >= 0):
        raise InputError(f"--max-error {target.value:g}: want a number of at least 0, in stored units")


def prober_of(case: Case, name: str) -> Prober:
    """A prober for one codec; MissingExtra or LayoutRefused when it cannot be used here."""
    goal = goal_of(case)
    quality = goal is not None and goal.measure != "bytes"
    prober = Prober(case.volume, scheme_of(case, find_codec(name)), case.each, quality, progress=case.progress)
    prober.spool.place(case.spool_folder)
    return prober


def settle(case: Case, prober: Prober, known: Curve | None = None) -> tuple[list[Piece], Found | None]:
    """Search the setting of every chunk with the prober's codec; known: what was tried on a part of it already.

    Returns the chunks and what was found; None when the setting is given and nothing needs to be searched. The payloads
    lie in the prober's spool. TargetUnreachable says what the codec can do instead.
    """
    scheme = prober.scheme
    found = find_codec(scheme.codec)
    goal = goal_of(case)
    pieces = chunk_pieces(case.volume.shape[0], scheme.depth)
    if goal is None or (goal.measure == "worst" and goal.limit < 0.5 and scheme.grid.exact):
        return pieces, None
    if goal.measure == "worst" and not scheme.grid.exact and goal.limit < scheme.grid.step / 2:
        raise TargetUnreachable(
            f"{case.volume.source}: --max-error {goal.limit:g} is finer than half the 16-bit step {scheme.grid.step:g} "
            "that these samples are mapped to; ask for more, or --lossless"
        )
    if found.knob is None:
        raise InputError(f"{case.target} with {found.name}: it is exact only; use --lossless, or a lossy codec")
    return pieces, searched(case, found, prober, goal, known)


def searched(case: Case, found: Codec, prober: Prober, goal: Goal, known: Curve | None = None) -> Found:
    """Search that goal with that knob; TargetUnreachable says what it can do instead."""
    pieces = chunk_pieces(case.volume.shape[0], prober.scheme.depth)
    part = part_of(case.volume.shape[0], prober.scheme.depth)
    try:
        return _search(case, found, prober, pieces, part, goal, known)
    except Unreachable as reached:
        raise TargetUnreachable(_sentence(case, found, goal, reached)) from None


def _search(
    case: Case,
    found: Codec,
    prober: Prober,
    pieces: list[Piece],
    part: Sequence[Piece],
    goal: Goal,
    known: Curve | None,
) -> Found:
    assert found.knob is not None
    if goal.measure == "bytes" and goal.limit <= 0:
        raise Unreachable("coarsest", None, 0.0)
    if goal.measure == "worst":
        start = None
        if found.bounded:
            bound = _bound(found.knob, prober.scheme.grid, goal.aim)
            start = min(found.knob.high, max(found.knob.low, bound))
        return search_each(found, prober, pieces, part, [goal] * len(pieces), start)
    if case.per == "slice":
        slices = case.volume.shape[0]
        goals = [goal.part((stop - begin) / slices) for begin, stop in pieces]
        return search_each(found, prober, pieces, part, goals)
    return search_volume(found, prober, pieces, part, goal, known)


def _bound(knob: Knob, grid: Grid, aim: float) -> float:
    """The knob of a bounded codec for a largest error: a fraction below one rounds away on an exact grid."""
    if not grid.exact:
        return (aim - grid.step / 2) / grid.step
    return aim if knob.step else math.floor(aim) + 0.999


def _sentence(case: Case, found: Codec, goal: Goal, reached: Unreachable) -> str:
    assert found.knob is not None
    where = case.volume.source or "volume"
    value = "exact codes" if reached.value is None else f"{found.knob.name} {reached.value:g}"
    asked = f"{where}: {_option(case.target)} cannot be met by {found.name}"
    if reached.end == "between" and reached.beyond is None:
        told = _told(case, goal, reached.got)
        if goal.measure == "bytes":
            return f"{asked}: its finest setting, {value}, gives {told}; ask for that or more, or take another codec"
        return f"{asked}: its coarsest setting, {value}, is finer than that and gives {told}; ask for that or more"
    if reached.end == "between":
        near = sorted(_told(case, goal, got) for got in (reached.got, reached.beyond) if got is not None)
        return f"{asked}: its knob is too coarse for so few chunks and gives {' or '.join(near)}; ask for one of these"
    if goal.measure == "bytes" and goal.limit <= 0:
        best = case.raw_bytes / max(1, case.overhead)
        return (
            f"{asked}: the file's own description is {case.overhead} bytes; ratios up to {best:.1f} are possible at all"
        )
    if goal.measure == "bytes":
        best = case.raw_bytes / (reached.got + case.overhead)
        if " for slices" in reached.end:
            return f"{asked}: its {reached.end} setting, {value}, is still {reached.got:.0f} bytes; ask less or --per volume"
        return f"{asked}: its coarsest setting, {value}, gives ratio {best:.4g}; ask for at most that, or take another codec"
    if goal.measure == "sse":
        db = 10 * math.log10(goal.limit / max(reached.got, 1e-12))
        limit = case.target.db if isinstance(case.target, Psnr) else 0.0
        if reached.value is None:
            return f"{asked}: its 16 bits for these samples end at {limit + db:.2f} dB; ask for at most that, or --lossless"
        return f"{asked}: its finest setting, {value}, gives {limit + db:.2f} dB; ask for at most that, or take another codec"
    return (
        f"{asked}: its finest setting, {value}, leaves an error of {reached.got:g}; ask for that, or take another codec"
    )


def _told(case: Case, goal: Goal, got: float) -> str:
    """A sum of bytes or of squared errors in the words of the target."""
    if goal.measure == "bytes":
        return f"ratio {case.raw_bytes / (got + case.overhead):.4g}"
    assert isinstance(case.target, Psnr)
    return f"{case.target.db + 10 * math.log10(goal.limit / max(got, 1e-12)):.2f} dB"


def _option(target: Target) -> str:
    """The target in the words of the command line."""
    if isinstance(target, Ratio):
        return f"--ratio {target.value:g}"
    if isinstance(target, Psnr):
        return f"--psnr {target.db:g} (peak {target.peak})"
    return f"--max-error {target.value:g}" if isinstance(target, MaxError) else str(target)
