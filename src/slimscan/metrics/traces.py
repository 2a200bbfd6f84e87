"""Traces of an earlier JPEG in pixels: coefficients of its 8 x 8 grid that lie on multiples of a step.

JPEG rounds every coefficient c of an 8 x 8 block DCT to a multiple of a step q that depends on the frequency. Decoding rounds
pixels to integers, which spreads coefficients by about 0.29 around those multiples and no further (the DCT keeps the noise's
size). So on the right grid the mean of cos(2 pi c / q) over coefficients beyond q/2 is near exp(-2 pi^2 0.29^2 / q^2), and
on a wrong grid, or in an image that never was a JPEG, near 0. The idea of looking for quantised DCT coefficients is that of
Fan and de Queiroz (IEEE Trans. Image Process. 12(2), 2003, 230-235, section IV); they fit a likelihood, here every frequency
votes, and the same vote on a grid half a block away is the control that cancels what a stretched histogram does.

Steps below 2 leave no trace in rounded pixels, nor does a JPEG whose pixels were scaled, turned by an angle or filtered since.
JPEG 2000 is looked for in wavelet_traces.py; of JPEG-LS near-lossless, JPEG XL and video codecs nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels

BLOCK = 8
STEPS = np.arange(2.0, 129.0)
LEAST_COUNT = 48  # coefficients beyond q/2 that a frequency needs to vote
LEAST_MEAN = 0.5  # of the cosine; the rounding noise alone leaves 0.66 at a step of 2
LEAST_SIGMA = 7.0  # standard errors of the mean, against 127 steps tried
VOTES = 4  # frequencies; docs/history.md counts false alarms
MAX_BLOCKS = 8192


@dataclass(frozen=True, slots=True)
class Trace:
    """votes: frequencies whose coefficients lie on a grid, of those that had coefficients enough to tell (asked).

    control: the same on a grid half a block away. offset: (rows, columns) of the grid. steps: of the voting frequencies,
    as (vertical frequency, horizontal frequency, step), in stored units.
    """

    votes: int
    asked: int
    control: int
    offset: tuple[int, int]
    steps: tuple[tuple[int, int, float], ...]

    @property
    def found(self) -> bool:
        """Whether an earlier JPEG is certain enough to refuse upon."""
        return self.votes >= VOTES + 2 * self.control

    @property
    def suspected(self) -> bool:
        """Whether it is worth a remark."""
        return self.votes >= 2 + 2 * self.control


def jpeg_trace(slices: Sequence[Pixels]) -> Trace:
    """The strongest trace of one grid in some slices (y, x) or (y, x, 3) of one image, together.

    Grids that begin at a corner of the image are tried, and the one that its block edges show. Slices below 32 x 32, or
    with values that are no integers, show nothing: Trace(0, 0, 0, (0, 0), ()). Costs about 50 ms for a slice of 512 x 512.
    """
    planes = [_luma(one) for one in slices if min(one.shape[:2]) >= 4 * BLOCK]
    planes = [plane for plane in planes if plane.size and np.isfinite(plane).all() and np.ptp(plane) > 0]
    nothing = Trace(0, 0, 0, (0, 0), ())
    if not planes:
        return nothing
    height, width = planes[0].shape
    offsets = {(0, 0), (height % BLOCK, width % BLOCK), (height % BLOCK, 0), (0, width % BLOCK), _edges(planes)}
    best = nothing
    for offset in sorted(offsets):
        votes, asked, steps = _votes(_coefficients(planes, offset))
        if votes > best.votes or not best.asked:
            best = Trace(votes, asked, 0, offset, steps)
    if best.votes < 2:
        return best
    half = ((best.offset[0] + 4) % BLOCK, (best.offset[1] + 4) % BLOCK)
    control = _votes(_coefficients(planes, half))[0]
    return Trace(best.votes, best.asked, control, best.offset, best.steps)


def _luma(pixels: Pixels) -> NDArray[np.float64]:
    """One plane: grey as it is, of RGB the Y of JFIF (ITU-R BT.601)."""
    plane = np.asarray(pixels, np.float64)
    return plane if plane.ndim == 2 else plane[..., :3] @ np.array([0.299, 0.587, 0.114])


def _edges(planes: Sequence[NDArray[np.float64]]) -> tuple[int, int]:
    """Where the image jumps most from pixel to pixel beyond what its neighbours do, modulo 8."""
    found = []
    for axis in (0, 1):
        sums, counts = np.zeros(BLOCK), np.zeros(BLOCK)
        for plane in planes:
            lines = plane if axis == 0 else plane.T
            jump = np.abs(np.diff(lines, axis=0))
            beyond = jump[1:-1] - (jump[:-2] + jump[2:]) / 2  # between lines k+1 and k+2
            capped = np.minimum(np.maximum(beyond, -8), 8).mean(axis=1)
            place = (np.arange(len(capped)) + 2) % BLOCK
            sums += np.bincount(place, capped, BLOCK)
            counts += np.bincount(place, minlength=BLOCK)
        found.append(int(np.argmax(sums / np.maximum(counts, 1))))
    return found[0], found[1]


def _coefficients(planes: Sequence[NDArray[np.float64]], offset: tuple[int, int]) -> NDArray[np.float64]:
    """(blocks, 64) orthonormal DCT-II coefficients; blocks that are flat or touch the ends of the range are left out."""
    from scipy.fft import dctn

    found = []
    share = MAX_BLOCKS // len(planes)
    for plane in planes:
        rows, columns = ((side - at) // BLOCK for side, at in zip(plane.shape, offset, strict=True))
        cut = plane[offset[0] : offset[0] + rows * BLOCK, offset[1] : offset[1] + columns * BLOCK]
        blocks = cut.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)
        low, high = plane.min(), plane.max()
        tops, bottoms = blocks.max(axis=(1, 2)), blocks.min(axis=(1, 2))
        blocks = blocks[(tops > bottoms) & (tops < high) & (bottoms > low)]
        if len(blocks) > share:
            blocks = blocks[np.linspace(0, len(blocks) - 1, share).astype(int)]
        found.append(dctn(blocks, axes=(1, 2), norm="ortho").reshape(-1, BLOCK * BLOCK))
    return np.concatenate(found)


def _votes(coefficients: NDArray[np.float64]) -> tuple[int, int, tuple[tuple[int, int, float], ...]]:
    """(frequencies that vote, frequencies that could, (u, v, step) of the votes)."""
    asked, steps = 0, []
    for index in range(1, BLOCK * BLOCK):
        # Equal blocks (a phantom, a repeated pattern) count once: they would make any step look good.
        sizes: NDArray[np.float64] = np.unique(np.round(np.abs(coefficients[:, index]), 3))
        could, step = _step(sizes)
        asked += could
        if step:
            steps.append((index // BLOCK, index % BLOCK, step))
    return len(steps), asked, tuple(steps)


def _step(sizes: NDArray[np.float64]) -> tuple[bool, float]:
    """(whether there were coefficients enough, the step that they lie on or 0). sizes: distinct, ascending."""
    if len(sizes) - int(np.searchsorted(sizes, STEPS[0] / 2)) < LEAST_COUNT:
        return False, 0.0
    best, chosen = 0.0, 0.0
    for step in STEPS:
        beyond = sizes[np.searchsorted(sizes, step / 2) :]
        if len(beyond) < LEAST_COUNT:
            break
        mean = float(np.cos(beyond * (2 * np.pi / step)).mean())
        sigma = mean * np.sqrt(2 * len(beyond))
        # Every divisor of the true step fits too; the largest step that does is the true one.
        if mean >= LEAST_MEAN and sigma >= LEAST_SIGMA and mean >= 0.9 * best:
            best, chosen = max(best, mean), float(step)
    return True, chosen
