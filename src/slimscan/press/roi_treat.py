"""What is done to pixels outside a region before they are coded exactly, so that any decoder gives the region exactly.

wavelet   for codecs of the reversible 5/3 wavelet (JPEG 2000, HTJ2K): its coefficients, which those codecs store, are
          quantised wherever no voxel of the region hangs on them. What comes back from coarse integers has the same coarse
          integers for coefficients, so zeros stay zeros. It is what Maxshift (ISO/IEC 15444-1 annex H) promises, in pixels.
levels    for all others: values become multiples of 2n + 1 above the smallest; for an error of n + 1/4 the upper quarter of
          every slice those of 2n + 3
constant  one value outside
coarse    the finest levels of the wavelet are left out: fewer resolutions

Coefficients of a subband are quantised by the powers of two next to the step over the norm of its synthesis (as in
OpenJPEG's opj_dwt_norms), with a dead zone of that step itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slimscan.codecs.lifting import forward53, inverse53
from slimscan.nouns import Knob, Pixels

Kind = Literal["wavelet", "levels", "constant", "coarse"]
Mask = NDArray[np.bool_]

WAVELET_CODECS = ("jpeg2000", "htj2k")
LEVELS = 5  # of the wavelet, as many as the codecs take
STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)  # tried for a bound inside, against the bound
# Norms of the synthesis of the 5/3 by level, finest first: detail along one axis, and along both.
_ONE, _BOTH = (1.038, 1.592, 2.919, 5.703, 11.33), (0.7186, 0.9218, 1.586, 3.043, 6.019)


@dataclass(frozen=True, slots=True)
class Treat:
    """amount: what the kind takes, None: the value of the knob that is searched. low, high: values that may occur.

    padding: a value that stays where it stands, and appears nowhere else, or None. bound: the largest error inside.
    near: the codec keeps that bound itself, by this value of its own knob.
    """

    kind: Kind
    amount: float | None
    low: float
    high: float
    padding: float | None = None
    bound: int = 0
    near: float | None = None

    @property
    def searched(self) -> bool:
        """Whether the knob is the treatment's."""
        return self.amount is None


def knob_of(kind: Kind, low: float, high: float) -> Knob:
    """The knob of a treatment that is searched, for values that span low..high."""
    top = max(4.0, 2.0 * (high - low))
    if kind == "wavelet":
        return Knob("step", "stored units", 1.0, top, finer="low", scale="log")
    return Knob("error", "stored units", 1.0, max(2.0, math.floor(top / 4)), finer="low", step=1 / 16, scale="log")


def treated(treat: Treat, pixels: Pixels, inside: Mask | None, value: float | None = None) -> Pixels:
    """The pixels (z, y, x[, c]), changed where `inside` (z, y, x) is False and they are not padding.

    value: of the knob, for a treatment that is searched; None there: nothing is changed. inside None: nothing is kept.
    """
    amount = value if treat.searched else treat.amount
    keep = np.zeros(pixels.shape[:3], bool) if inside is None else inside.copy()
    if treat.padding is not None and pixels.ndim == 3:
        keep |= pixels == treat.padding
    out = pixels
    if treat.bound and treat.near is None and inside is not None:
        out = _bounded(treat, pixels, inside, keep)
    if amount is not None:
        out = _outside(treat, out, keep, amount)
    if out is pixels:
        return pixels
    out = np.clip(out, treat.low, treat.high).astype(pixels.dtype)
    kept = keep if not treat.bound or treat.near is not None or inside is None else keep & ~inside
    meant = treat.padding is None or pixels.ndim == 4 or (treat.kind == "constant" and amount == treat.padding)
    stay = kept if meant else kept | (out == treat.padding)
    return np.asarray(np.where(_spread(stay, pixels), pixels, out))


def _outside(treat: Treat, pixels: Pixels, keep: Mask, amount: float) -> Pixels:
    if treat.kind == "constant":
        return np.asarray(np.where(_spread(keep, pixels), pixels, np.array(amount).astype(pixels.dtype)))
    if treat.kind == "levels":
        return np.asarray(np.where(_spread(keep, pixels), pixels, _stepped(pixels, treat.low, amount)))
    if treat.kind == "coarse":
        return _wavelet(pixels, keep, 0.0, int(amount))
    # What is cut off at the ends of the type comes back as detail: values keep some way from them.
    away = min(amount / 4, (treat.high - treat.low) / 8)
    lifted = np.clip(pixels, math.ceil(treat.low + away), math.floor(treat.high - away))
    return _wavelet(np.asarray(np.where(_spread(keep, pixels), pixels, lifted)), keep, amount, 0)


def _stepped(pixels: Pixels, low: float, bound: float) -> Pixels:
    """Multiples of 2 * bound + 1 above low, at most `bound` away; of 2 * bound for floats."""
    if pixels.dtype.kind == "f":
        return np.asarray(low + np.rint((pixels - low) / (2 * bound)) * (2 * bound))
    rows, first = pixels.shape[1], int(low)
    n = np.full((rows, 1), math.floor(bound), np.int64)
    n[: round(rows * (bound - math.floor(bound)))] += 1
    n = n.reshape(1, rows, *[1] * (pixels.ndim - 2))
    return np.asarray((pixels.astype(np.int64) - first + n) // (2 * n + 1) * (2 * n + 1) + first)


def _bounded(treat: Treat, pixels: Pixels, inside: Mask, keep: Mask) -> Pixels:
    """Pixels whose inside is off by at most the bound, and cheaper to code for it."""
    where = _spread(inside & ~(keep & ~inside), pixels)
    if treat.kind != "wavelet":
        return np.asarray(np.where(where, _stepped(pixels, treat.low, treat.bound), pixels))
    best = pixels
    others = np.ones(inside.shape, bool)
    if treat.padding is not None and pixels.ndim == 3:
        others = pixels != treat.padding
    for strength in STRENGTHS:
        tried = np.clip(_wavelet(pixels, ~others, strength * treat.bound, 0), treat.low, treat.high)
        if np.abs(tried.astype(np.int64) - pixels)[where].max(initial=0) > treat.bound:
            break
        best = tried.astype(pixels.dtype)
    return best


def _wavelet(pixels: Pixels, keep: Mask, step: float, left_out: int) -> Pixels:
    """Detail below `step` gone and the rest quantised, or the finest levels gone, where nothing that is kept needs it."""
    planes = [pixels] if pixels.ndim == 3 else [pixels[..., index] for index in range(pixels.shape[3])]
    done = [_plane(plane.astype(np.int32), keep, step, left_out) for plane in planes]
    return done[0] if pixels.ndim == 3 else np.stack(done, axis=3)


def _plane(plane: NDArray[np.int32], keep: Mask, step: float, left_out: int) -> NDArray[np.int32]:
    views: list[tuple[Any, Mask]] = []
    out, kept = plane, keep
    for level in range(LEVELS if not left_out else min(left_out, LEVELS)):
        view = out[:, :: 2**level, :: 2**level]
        if min(view.shape[1:]) < 2:
            break
        kept = _needed(_needed(kept, 1), 2)
        one, both = _ONE[level], _BOTH[level]
        view[...] = _along(_along(view, 1, forward53), 2, forward53)
        for y, x, norm in ((0, 1, one), (1, 0, one), (1, 1, both)):
            band = view[:, y::2, x::2]
            free = ~kept[:, y::2, x::2]
            band[free] = 0 if left_out else _dead(band[free], step / norm)
        views.append((view, kept))
        kept = kept[:, ::2, ::2]
    for view, _ in reversed(views):
        view[...] = _along(_along(view, 2, inverse53), 1, inverse53)
    return out


def _along(planes: Any, axis: int, lift: Any) -> Any:
    return np.moveaxis(lift(np.ascontiguousarray(np.moveaxis(planes, axis, 0)), 1), 0, axis)


def _needed(kept: Mask, axis: int) -> Mask:
    """Which coefficients, interleaved along an axis, samples that are kept hang on: one even sample on the three around
    it, one odd sample on the five around it (inverse of the lifting, equations F-5 and F-6)."""
    line = np.moveaxis(kept, axis, 0)
    near, wide = line.copy(), line.copy()
    for away in (1, 2):
        target = near if away == 1 else wide
        for use in (near, wide) if away == 1 else (target,):
            use[away:] |= line[:-away]
            use[:-away] |= line[away:]
    near[1::2] = wide[1::2]
    return np.asarray(np.moveaxis(near, 0, axis))


def _dead(band: Any, step: float) -> Any:
    if step <= 1:
        return band
    level = math.log2(step)
    power = np.full(band.shape, 1 << math.floor(level), np.int32)
    power[: round(len(band) * (level - math.floor(level)))] *= 2  # from one power to the next little by little
    size = np.abs(band)
    half = np.where(size < power, power * 3 // 4, size // power * power + power // 2)
    return np.where(size < step, 0, np.sign(band) * half)


def _spread(mask: Mask, pixels: Pixels) -> Mask:
    """A mask of voxels over their samples."""
    return mask if pixels.ndim == 3 else mask[..., None]
