"""One look at every voxel before anything is encoded: range, whole numbers, background, NaN.

The codecs are told how many bits the samples need, and background that is one flat value comes back exactly, so both
must be known of the whole volume first. It is one pass over the slices, far cheaper than any encoding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from slimscan.each import Each, serial
from slimscan.errors import InputError
from slimscan.files.lazy import native
from slimscan.nouns import Pixels, Volume

BACKGROUND_SHARE = 0.01  # of all voxels must have the smallest value before it is called background
BACKGROUND_FLAT = 0.8  # of those must lie in flat 2x2 blocks: scattered zeros are noise, not background
EXACT = 2**53  # float64 holds every integer below


@dataclass(frozen=True, slots=True)
class Survey:
    """low, high: smallest and largest stored value; inside_low, inside_high: the same without background.

    whole: every value is an integer. background: the value that must come back exactly, or None. samples: their number.
    plain: whole numbers below 2**53 and no -0.0, so that float64 and integer codes hold every one of them bit for bit.
    """

    low: float
    high: float
    inside_low: float
    inside_high: float
    whole: bool
    background: float | None
    samples: int
    plain: bool = True


@dataclass(frozen=True, slots=True)
class _Part:
    low: float
    high: float
    whole: bool
    at_low: int
    nan: int
    first_nan: tuple[int, ...]
    outside: int
    signed_zero: bool = False


@dataclass(frozen=True, slots=True)
class _Inside:
    """low, high: of what is not background (low > high when there is nothing). count, flat: of the background."""

    low: float
    high: float
    count: int
    flat: int


def usable(volume: Volume) -> Volume:
    """The volume with samples in this machine's byte order; InputError when its geometry is not made of finite numbers."""
    numbers = [*np.asarray(volume.affine_mm, np.float64).ravel(), volume.slope, volume.intercept]
    if not np.isfinite(numbers).all():
        raise InputError(
            f"{volume.source or 'volume'}: the affine, slope or intercept holds NaN or infinity; give finite numbers"
        )
    pixels = native(volume.pixels)
    return volume if pixels is volume.pixels else replace(volume, pixels=pixels)


def survey(volume: Volume, each: Each = serial) -> Survey:
    """Look at every slice. InputError for no voxels, NaN or infinities, naming where the first one is."""
    shape = volume.shape
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(
            f"{volume.source or 'volume'}: shape {shape} has no voxels to compress; want (z, y, x) or (z, y, x, c)"
        )
    step = max(1, 2_000_000 // int(np.prod(shape[1:])))
    starts = range(0, shape[0], step)
    parts = list(each(partial(_look, volume, step), starts))
    broken = sum(part.nan for part in parts)
    if broken:
        where = next(
            (start + part.first_nan[0], *part.first_nan[1:])
            for start, part in zip(starts, parts, strict=True)
            if part.nan
        )
        raise InputError(
            f"{volume.source or 'volume'}: {broken} voxels are NaN or infinite, the first at {where} (z, y, x); "
            "replace them by a number before compressing"
        )
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    voxels = int(np.prod(shape))
    background = _background(volume, parts, low, high, voxels)
    inside = (low, high)
    if background is not None:
        padded = any(part.outside for part in parts)
        looked = list(each(partial(_inside, volume, step, background, background == low), starts))
        count, flat = sum(part.count for part in looked), sum(part.flat for part in looked)
        if padded or flat >= BACKGROUND_FLAT * count:
            ranges = [part for part in looked if part.low <= part.high]
            inside = (min(part.low for part in ranges), max(part.high for part in ranges))
        else:
            background = None
    whole = all(part.whole for part in parts)
    plain = whole and max(high, -low) < EXACT and not any(part.signed_zero for part in parts)
    return Survey(low, high, *inside, whole, background, voxels, plain)


def _background(volume: Volume, parts: Iterable[_Part], low: float, high: float, voxels: int) -> float | None:
    """The value that is background: padding, or the smallest one if it should turn out to be flat."""
    if low == high or len(volume.shape) == 4:
        return None
    if any(part.outside for part in parts) and volume.padding is not None:
        return float(volume.padding)
    count = sum(part.at_low for part in parts if part.low == low)
    return low if count >= BACKGROUND_SHARE * voxels else None


def _inside(volume: Volume, step: int, background: float, lowest: bool, start: int) -> _Inside:
    pixels = volume.slices(start, min(start + step, volume.shape[0]))
    mask = pixels == background
    count = int(np.count_nonzero(mask))
    if count == mask.size:
        return _Inside(np.inf, -np.inf, count, _flat(mask) if lowest else 0)
    if lowest and pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 4 and pixels.dtype.isnative:
        # Counted from one above the background, the background itself wraps around to the largest: no copy of the rest.
        kind = np.dtype(f"u{pixels.dtype.itemsize}")
        shift = np.array(int(background) + 1).astype(pixels.dtype).view(kind)
        low = float((pixels.view(kind) - shift).min()) + background + 1
        return _Inside(low, float(pixels.max()), count, _flat(mask) if count else 0)
    inside = pixels[~mask] if count else pixels
    return _Inside(float(inside.min()), float(inside.max()), count, _flat(mask) if lowest and count else 0)


def _look(volume: Volume, step: int, start: int) -> _Part:
    pixels = volume.slices(start, min(start + step, volume.shape[0]))
    signed_zero = False
    if pixels.dtype.kind == "f":
        bad = ~np.isfinite(pixels)
        if bad.any():
            first = np.unravel_index(int(np.argmax(bad)), bad.shape)
            return _Part(0, 0, False, 0, int(bad.sum()), tuple(int(i) for i in first), 0)
        whole = bool((pixels == np.rint(pixels)).all())
        signed_zero = bool((np.signbit(pixels) & (pixels == 0)).any())
    elif pixels.dtype.kind in "iu":
        whole = True
    else:
        raise InputError(
            f"{volume.source or 'volume'}: samples of type {pixels.dtype} cannot be compressed; integers and floats can"
        )
    low, high = pixels.min(), pixels.max()
    at_low = int(np.count_nonzero(pixels == low))
    outside = int(np.count_nonzero(pixels == volume.padding)) if volume.padding is not None else 0
    return _Part(float(low), float(high), whole, at_low, 0, (), outside, signed_zero)


def _flat(mask: Pixels) -> int:
    """How many of the mask's voxels lie in a 2x2 block of it, within their slice."""
    if mask.ndim != 3 or min(mask.shape[1:]) < 2:
        return 0
    block = mask[:, :-1, :-1] & mask[:, 1:, :-1]
    block &= mask[:, :-1, 1:]
    block &= mask[:, 1:, 1:]
    covered = np.zeros_like(mask)
    covered[:, :-1, :-1] = block
    covered[:, 1:, :-1] |= block
    covered[:, :-1, 1:] |= block
    covered[:, 1:, 1:] |= block
    return int(np.count_nonzero(covered))
