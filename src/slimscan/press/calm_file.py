"""An ordinary file whose outside was made cheap, read back from the disk, and what that gained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import files
from slimscan.codecs import CODECS
from slimscan.codecs import codec as find_codec
from slimscan.each import threads
from slimscan.errors import CheckFailed, InputError
from slimscan.files.lazy import Slices
from slimscan.metrics.entropy import histogram, merged
from slimscan.nouns import Check, Layout, Pixels, Region, Volume
from slimscan.press.calm import Calm, calmed, facts, settings
from slimscan.press.grid import grid_for, stored_bits
from slimscan.press.open import lazy
from slimscan.press.outputs import kind_of
from slimscan.press.staging import admit_output, staged
from slimscan.press.store import chunk_pieces
from slimscan.press.survey import Survey, survey, usable
from slimscan.press.where import THRESHOLD, region_of
from slimscan.regions.outside import coarse, constant, quantised

GAINS = ("gzip", "bz2", "xz", "jpegls", "jpeg2000")  # of Luu 2021, table 3, those that are quick
INSTEAD = "constant, constant:V, coarse:N or quantise:N"


@dataclass(frozen=True)
class Calmed:
    """What was made; the fields are the keys of `calm --json`.

    roi: the region's name, how it was found and its size. how: {outside, k, k_stored, k_real, unit, scale, engine, ...}.
    voxels, inside, changed: counts. max_change_*: in stored units. psnr_outside_db: against the peak 2^bits - 1; None
    when nothing changed. entropy_*: bits a stored sample over the whole volume, None for real-valued samples. ratios:
    codec -> {before, after, gain_percent}: raw bytes over encoded bytes without loss.
    """

    source: str
    output: str
    roi: Mapping[str, Any]
    how: Mapping[str, Any]
    voxels: int
    inside: int
    changed: int
    max_change_inside: float
    max_change_outside: float
    psnr_outside_db: float | None
    peak: float
    entropy_before: float | None
    entropy_after: float | None
    ratios: Mapping[str, Mapping[str, float]]
    raw_bytes: int
    file_bytes: int
    seconds: float
    checks: tuple[Check, ...]


def calm_file(
    source: str | Path,
    output: str | Path,
    roi: str | Region,
    *,
    how: str | Mapping[str, Any] | Calm = Calm(),  # noqa: B008 - frozen
    instead: str | None = None,
    grow: str = "",
    threshold: float = THRESHOLD,
    codecs: Sequence[str] = GAINS,
    force: bool = False,
    untrusted: bool = False,
) -> Calmed:
    """Calm the outside of a region into a file of the format that `output` names, its header kept, and measure.

    roi, grow, threshold: see slimscan.press.where. how: see slimscan.press.calm.settings. instead: another treatment,
    constant[:V], coarse:N or quantise:N. codecs: whose exact size before and after is told.
    CheckFailed when a voxel of the region came back changed, or others than were written; the errors of reading,
    of the region, of the settings and of the destination.
    """
    started = time.perf_counter()
    place = Path(output)
    if kind_of(output) not in ("pixels", "tiff"):
        raise InputError(f"{output}: calm writes decoded pixels: .nii .nii.gz .tif .mha .nrrd")
    chosen = [find_codec(name) for name in codecs]
    inexact = next((one.name for one in chosen if not one.lossless), None)
    if inexact:
        exact = " ".join(name for name, one in CODECS.items() if one.lossless)
        raise InputError(f"--codecs {inexact}: has no exact mode to tell a size by; allowed: {exact}")
    for one in chosen:
        for need in one.needs:
            need.demand(f"--codecs {one.name}")
    admit_output(place, force, Path(source))
    volume = usable(lazy(source, untrusted))
    region = roi if isinstance(roi, Region) else region_of(roi, volume, threshold=threshold, grow=grow)
    seen = survey(volume, threads())
    if instead is None:
        made = calmed(volume, region, settings(how), padding=seen.background)
        told = {"outside": "calm", **facts(made)}
    else:
        made = replace(volume, pixels=_instead(instead, volume, region, seen))
        told = {"outside": instead}
    with staged(place, force) as stage:
        # The file's own threads would hold slabs of their own; slices are made once, in order.
        files.write(made, stage.path)
        back = files.read(stage.path)
        if back.shape != volume.shape:
            raise CheckFailed(f"{source}: shape {volume.shape} came back from {output} as {back.shape}")
        found = _measured(volume, back, region)
        same = Check("inside", "no voxel changed", f"largest change {found.inside:g}", found.inside_same)
        if not same.passed:
            raise CheckFailed(f"{source}: {same.name}: asked {same.asked}, got {same.got}")
        ratios = {one.name: gain for one in chosen if (gain := _gain(one.name, volume, back, seen)) is not None}
        file_bytes = stage.path.stat().st_size
    peak = float(2 ** stored_bits(volume, seen) - 1)
    mse = found.squares / max(1, found.outside_count)
    return Calmed(
        source=str(source), output=str(output), roi={"name": region.name, **region.about}, how=told,
        voxels=math.prod(volume.shape), inside=math.prod(volume.shape) - found.outside_count, changed=found.changed,
        max_change_inside=found.inside, max_change_outside=found.outside,
        psnr_outside_db=10 * math.log10(peak**2 / mse) if mse else None, peak=peak,
        entropy_before=found.before, entropy_after=found.after, ratios=ratios, raw_bytes=_raw(volume),
        file_bytes=file_bytes, seconds=time.perf_counter() - started, checks=(same,),
    )  # fmt: skip


def _instead(text: str, volume: Volume, region: Region, seen: Survey) -> Slices:
    """The volume's pixels under one of the plainer treatments."""
    word, _, rest = text.strip().partition(":")
    try:
        number = float(rest) if rest else None
    except ValueError:
        number = math.nan
    wants = {"constant": False, "coarse": True, "quantise": True}
    if word not in wants or (number is None and wants[word]) or (number is not None and not math.isfinite(number)):
        raise InputError(f'--instead "{text}": want {INSTEAD}')
    if len(volume.shape) != 3 or region.shape != volume.shape:
        raise InputError(f"{volume.source or 'volume'}: the region is {region.shape}, the image {volume.shape}")
    whole = np.dtype(volume.pixels.dtype).kind == "f" and seen.whole

    def load(start: int, stop: int) -> Pixels:
        pixels, kept = volume.slices(start, stop), region.inside(start, stop)
        if seen.background is not None:
            kept = kept | (pixels == seen.background)
        if word == "constant":
            out = constant(pixels, kept, number)
        elif word == "coarse":
            out = coarse(pixels, kept, int(number or 0) if number == int(number or 0) else -1)
        else:
            out = quantised(pixels, kept, float(number or 0), seen.inside_low)
        return np.asarray(np.where(kept, pixels, np.rint(out))) if whole else out

    return Slices(volume.shape, np.dtype(volume.pixels.dtype), load)


@dataclass(frozen=True, slots=True)
class _Sums:
    changed: int
    outside_count: int
    inside: float
    inside_same: bool
    outside: float
    squares: float
    before: float | None
    after: float | None


def _measured(volume: Volume, back: Volume, region: Region) -> _Sums:
    step = max(1, 2_000_000 // max(1, math.prod(volume.shape[1:])))
    parts = list(threads()(partial(_part, volume, back, region), chunk_pieces(volume.shape[0], step)))
    whole = all(part[6] is not None for part in parts)
    entropies = [merged(part[index] for part in parts).entropy_bits if whole else None for index in (6, 7)]
    return _Sums(
        sum(part[0] for part in parts), sum(part[1] for part in parts), max(part[2] for part in parts),
        all(part[3] for part in parts), max(part[4] for part in parts), math.fsum(part[5] for part in parts),
        entropies[0], entropies[1],
    )  # fmt: skip


def _part(volume: Volume, back: Volume, region: Region, piece: tuple[int, int]) -> tuple[Any, ...]:
    before, after, inside = volume.slices(*piece), back.slices(*piece), region.inside(*piece)
    change = np.abs(after.astype(np.float64) - before.astype(np.float64))
    kept, rest = change[inside], change[~inside]
    # Bytes, so that -0.0 and 0.0 differ.
    same = before.dtype == after.dtype and before[inside].tobytes() == after[inside].tobytes()
    try:
        counted = (histogram(before), histogram(after))
    except InputError:
        counted = (None, None)  # type: ignore[assignment]
    squares = float((rest**2).sum())
    most = float(kept.max(initial=0)), float(rest.max(initial=0))
    return int((change > 0).sum()), rest.size, most[0], same, most[1], squares, *counted


def _gain(name: str, volume: Volume, back: Volume, seen: Survey) -> dict[str, float] | None:
    """Raw bytes over encoded bytes, both images on the same grid; None for samples that it does not hold exactly."""
    if not grid_for(volume, seen).exact:
        return None
    sizes = [_encoded(name, one, seen, volume) for one in (volume, back)]
    raw = _raw(volume)
    return {"before": raw / sizes[0], "after": raw / sizes[1], "gain_percent": 100 * (sizes[0] / sizes[1] - 1)}


def _encoded(name: str, volume: Volume, seen: Survey, source: Volume) -> int:
    codec, grid = find_codec(name), grid_for(source, seen)

    def size(piece: tuple[int, int]) -> int:
        codes = grid.codes(volume.slices(*piece))
        return len(codec.encode(codes, Layout(codes.shape, grid.code_dtype, grid.bits), None))

    run: Callable[..., Iterator[int]] = threads() if codec.threads else map
    return sum(run(size, chunk_pieces(volume.shape[0], codec.depth)))


def _raw(volume: Volume) -> int:
    return math.prod(volume.shape) * np.dtype(volume.pixels.dtype).itemsize
