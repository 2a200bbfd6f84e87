"""The Gaussian window of SSIM: local means, the two factors of SSIM, and the halving between scales.

11 samples a side, sigma 1.5, K1 0.01, K2 0.03 (Wang et al. 2004). Images are worked through in bands of rows, so the
temporaries stay at a few MB for slices of any size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels

Plane = NDArray[np.float64]

SIDE, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
EDGE = SIDE // 2
# Values in one band of a slice; it stays in the processor's cache, which halves the time.
BAND = 1 << 15
_WINDOW = np.exp(-0.5 * (np.arange(-EDGE, EDGE + 1) / SIGMA) ** 2)
_WINDOW /= _WINDOW.sum()


def factors(reference: Pixels, test: Pixels, data_range: float) -> tuple[Plane, Plane]:
    """Luminance and contrast-structure over the valid region, in as many dimensions as the arrays have.

    Their product is SSIM. The arrays have at least 11 samples along each axis, and come back 10 shorter.
    """
    x, y = reference.astype(np.float64), test.astype(np.float64)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y, product, squares = blurred(x), blurred(y), blurred(x * y), blurred(x * x + y * y)
    # The sums of x and y stay together, so that identical images give exactly 1.
    means, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    luminance = (2 * means + c1) / (mean_squares + c1)
    contrast = (2 * (product - means) + c2) / ((squares - mean_squares) + c2)
    return luminance, contrast


def blurred(values: Plane) -> Plane:
    """The Gaussian mean at every place where the window fits, one axis after the other."""
    from scipy import ndimage

    for axis in range(values.ndim - 1):
        front = np.moveaxis(values, axis, 0)
        size = len(front) - 2 * EDGE
        total = front[EDGE : EDGE + size] * _WINDOW[EDGE]
        two = np.empty_like(total)
        for i in range(EDGE):
            np.add(front[i : i + size], front[2 * EDGE - i : 2 * EDGE - i + size], out=two)
            two *= _WINDOW[i]
            total += two
        values = np.moveaxis(total, 0, axis)
    # scipy is the faster along the last axis and the slower along the others.
    return np.asarray(ndimage.correlate1d(values, _WINDOW, axis=-1)[..., EDGE:-EDGE], np.float64)


def bands(rows: int, wanted: int) -> Iterator[slice]:
    """Bands of rows that overlap by 10, so that their valid regions tile that of the whole."""
    step = max(wanted, 2 * SIDE)
    for start in range(0, rows - 2 * EDGE, step):
        yield slice(start, min(start + step + 2 * EDGE, rows))


def valid(values: Pixels) -> Pixels:
    """The part where the window fits: 5 samples off every side."""
    return values[(slice(EDGE, -EDGE),) * values.ndim]


def mirrored(plane: Pixels) -> Pixels:
    """The slice with 5 mirrored samples on every side, so that the valid region is the slice."""
    return np.pad(plane, EDGE, mode="symmetric")


def halved(plane: Pixels) -> Plane:
    """Means of 2x2 pixels; an odd last row or column counts twice."""
    plane = np.pad(plane, [(0, n % 2) for n in plane.shape], mode="edge")
    rows = np.add(plane[0::2], plane[1::2], dtype=np.float64)
    return np.asarray(0.25 * (rows[:, 0::2] + rows[:, 1::2]))


def enlarged(plane: Plane, shape: tuple[int, ...], factor: int) -> Plane:
    """Linear interpolation between the centres of pixels `factor` wide, flat beyond the outermost centres."""
    for axis, size in enumerate(shape):
        at = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, plane.shape[axis] - 1)
        below = np.minimum(at.astype(np.intp), max(plane.shape[axis] - 2, 0))
        above = np.minimum(below + 1, plane.shape[axis] - 1)
        part = np.expand_dims(at - below, 1 - axis)
        plane = plane.take(below, axis) * (1 - part) + plane.take(above, axis) * part
    return plane
