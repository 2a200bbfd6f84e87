"""Traces of an earlier JPEG 2000 in pixels: wavelet coefficients that lie half-way between multiples of a step.

JPEG 2000 cuts every code-block's coefficients at a bit-plane: what is left is sign * (k + 1/2) * q for whole k >= 1, or 0,
with a step q of the code-block's own (ISO/IEC 15444-1 E.1, reconstruction at the middle of the interval). Decoding rounds pixels to
integers; transforming them again gives the same coefficients with noise of about 0.3. So in a code-block the mean of
-cos(2 pi c / q) over coefficients beyond 0.75 q is near 1 for the right q, and near 0 for every q in other images. Both
wavelets of the standard are tried (F.3: the 9/7 in floats, the 5/3 in integers), on code-blocks of 64 x 64 from the image's
first pixel, which is what OpenJPEG and most encoders write. The search for quantised coefficients in the domain of the transform is
that of Fan and de Queiroz (2003) for JPEG; the middle of the interval and the vote of code-blocks are slimscan's own.

Nothing is seen of an image that was cropped, turned, scaled or filtered since, was cut into tiles whose size is not a multiple
of 256, was coded with steps below 2, or so coarsely that no code-block of the two finest levels keeps enough coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels

BLOCK = 64
LEVELS = 2
STEPS: NDArray[np.float64] = np.geomspace(2.0, 400.0, 200)
INTEGER_STEPS: NDArray[np.float64] = 2.0 ** np.arange(1.0, 10.0)
LEAST_COUNT = 40  # coefficients beyond 0.75 q
LEAST_HIGHER = 6  # of them beyond 2 q: one height of edges is no lattice
LEAST_MEAN = 0.6  # rounding alone leaves 0.66 at a step of 2; docs/history.md counts false alarms
MOST_COUNT = 512
VOTES = 3
WINDOW = 768  # rows and columns that are looked at, in the middle of larger slices

Lift = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class WaveletTrace:
    """votes: code-blocks on a lattice, of those with coefficients enough to tell (asked), by the wavelet that has more.

    control: votes of the same slices without their first row and column, where no lattice survives. largest: mean of a
    single code-block, at most 1.
    """

    votes: int
    asked: int
    control: int
    wavelet: str
    largest: float

    @property
    def found(self) -> bool:
        """Whether an earlier JPEG 2000 is certain enough to refuse upon."""
        return self.votes >= VOTES + 3 * self.control

    @property
    def suspected(self) -> bool:
        """Whether it is worth a remark."""
        return self.votes >= 2 + 3 * self.control


def wavelet_trace(slices: Sequence[Pixels]) -> WaveletTrace:
    """The trace of one wavelet in some slices (y, x) of one image, together; colour (y, x, c) by its first sample's plane.

    Slices below 128 x 128, or flat, show nothing: WaveletTrace(0, 0, 0, "", 0.0). Costs about 0.2 s for a slice of
    512 x 512.
    """
    planes = [np.asarray(one if one.ndim == 2 else one[..., 0], np.float64) for one in slices]
    planes = [plane[_middle(plane.shape[0]), _middle(plane.shape[1])] for plane in planes]
    planes = [
        plane for plane in planes if min(plane.shape) >= 2 * BLOCK and np.isfinite(plane).all() and np.ptp(plane) > 0
    ]
    best = WaveletTrace(0, 0, 0, "", 0.0)
    for name, lift, steps in (("9/7", _lift_97, STEPS), ("5/3", _lift_53, INTEGER_STEPS)):
        votes, asked, largest = _votes(planes, lift, steps)
        if votes > best.votes or (not best.wavelet and asked):
            control = _votes([plane[1:, 1:] for plane in planes], lift, steps)[0] if votes >= 2 else 0
            best = WaveletTrace(votes, asked, control, name, round(largest, 3))
        if best.found and 2 * best.votes >= best.asked:  # else the other wavelet may explain more
            break
    return best


def _middle(side: int) -> slice:
    """Where to look along a side: from a multiple of the code-blocks' size in pixels of the second level."""
    step = BLOCK << LEVELS
    start = max(0, side - WINDOW) // 2 // step * step
    return slice(start, start + WINDOW)


def _votes(planes: Sequence[NDArray[np.float64]], lift: Lift, steps: NDArray[np.float64]) -> tuple[int, int, float]:
    """(code-blocks that vote, code-blocks that could, the largest mean)."""
    votes, asked, largest = 0, 0, 0.0
    for plane in planes:
        low = plane
        for _ in range(LEVELS):
            low, *bands = _bands(low, lift)
            for band in bands:
                for y in range(0, band.shape[0], BLOCK):
                    for x in range(0, band.shape[1], BLOCK):
                        mean = _lattice(band[y : y + BLOCK, x : x + BLOCK], steps)
                        asked += mean is not None
                        votes += mean is not None and mean >= LEAST_MEAN
                        largest = max(largest, mean or 0.0)
    return votes, asked, largest


def _lattice(block: NDArray[np.float64], steps: NDArray[np.float64]) -> float | None:
    """The largest mean of -cos(2 pi c / q) over the steps; None when no step has coefficients enough."""
    sizes = np.sort(np.abs(block), axis=None)
    found: float | None = None
    for step in steps:
        start = int(np.searchsorted(sizes, 0.75 * step))
        if len(sizes) - start < LEAST_COUNT:
            break
        if len(sizes) - int(np.searchsorted(sizes, 2 * step)) < LEAST_HIGHER:
            continue
        beyond = sizes[start :: max(1, (len(sizes) - start) // MOST_COUNT)]
        found = max(found or 0.0, float(-np.cos(beyond * (2 * np.pi / step)).mean()))
    return found


def _bands(plane: NDArray[np.float64], lift: Lift) -> tuple[NDArray[np.float64], ...]:
    """(LL, HL, LH, HH) of one level: columns first, then rows, as an encoder does it (F.3.2)."""
    low, high = lift(plane)
    ll, hl = lift(low.T)
    lh, hh = lift(high.T)
    return ll.T, hl.T, lh.T, hh.T


def _pairs(lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return lines[0::2].copy(), lines[1::2].copy()


def _after(even: NDArray[np.float64], odd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the even lines on both sides of every odd one, mirrored at the end."""
    beyond = even[1:] if len(even) > len(odd) else np.concatenate([even[1:], even[-1:]])
    sums: NDArray[np.float64] = even[: len(odd)] + beyond
    return sums


def _before(even: NDArray[np.float64], odd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the odd lines on both sides of every even one, mirrored at both ends."""
    ahead = odd if len(odd) == len(even) else np.concatenate([odd, odd[-1:]])
    sums: NDArray[np.float64] = np.concatenate([odd[:1], odd])[: len(even)] + ahead
    return sums


def _lift_97(lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high lines of the irreversible wavelet (ISO/IEC 15444-1 table F.4, equation F-11)."""
    even, odd = _pairs(lines)
    odd += -1.586134342059924 * _after(even, odd)
    even += -0.052980118572961 * _before(even, odd)
    odd += 0.882911075530934 * _after(even, odd)
    even += 0.443506852043971 * _before(even, odd)
    return even / 1.230174104914001, odd * 1.230174104914001 / 2


def _lift_53(lines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high lines of the reversible wavelet (ISO/IEC 15444-1 F.3.8.1.1)."""
    even, odd = _pairs(lines)
    odd -= np.floor(_after(even, odd) / 2)
    even += np.floor((_before(even, odd) + 2) / 4)
    return even, odd
