"""Tissue masks from the colours of a picture of the slide: uint8 (h, w, 3) RGB in, bool (h, w) out, True where tissue is.

Each is meant to err on the side of tissue: pen marks, dust and debris that a method sees are kept. Stitching leaves pure
white (255) beside glass (about 240); all but `colour` measure from the line between the two, so that such an edge is no tissue.
A picture without pixels has an empty mask. InputError for anything but uint8 RGB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.regions.threshold import split
from slimscan.regions.tissue.disk import closed

Mask = NDArray[np.bool_]
Rgb = NDArray[np.uint8]

COLOUR = 85.0  # distance to white, wsi2025, eq. 1
CLOSING = 9  # pixels, wsi2025, 2.2.3
RELATIVE = 24.0  # distance from the glass's own colour: JPEG at quality 30 strays half as far
LEAST, MOST = 16.0, COLOUR  # an Otsu threshold lies between: below is noise of glass, above it tissue would be lost
LEAST_CHROMA, MOST_CHROMA = 12.0, 40.0
BITS, LEAST_BITS, MOST_BITS = 16, 0.9, 2.2  # grey steps of 16 levels; entropy of a square in bits
SQUARE = 9  # pixels, side of the square whose entropy counts

_BAND_PIXELS = 1 << 20  # floats of one band of rows at a time: memory stays far below the picture's own
_LOOKED_AT = 1 << 21  # pixels, evenly spread, are enough to know the colour of glass
_FEW = 0.02  # of the picture must be bright for its colour to be glass


def colour(pixels: Rgb) -> Mask:
    """Further than 85 from white in RGB, then closed with a disk of radius 9 (wsi2025, eq. 1; FAST's TissueSegmentation)."""
    white = np.array([255, 255, 255])
    return closed(_over(pixels, lambda band: _distance(band, white, white), COLOUR), CLOSING)


def otsu(pixels: Rgb) -> Mask:
    """Otsu's threshold of the distance from glass, kept within 16 to 85: a slide of glass alone is not cut in two."""
    return _by_otsu(pixels, _from_glass(pixels), LEAST, MOST)


def saturation(pixels: Rgb) -> Mask:
    """Otsu's threshold of chroma (largest minus smallest channel, less that of glass), kept within 12 to 40. Drops grey debris."""
    tint = glass_colour(pixels)
    own = float(tint.max() - tint.min())
    return _by_otsu(pixels, lambda band: np.maximum(_chroma(band) - own, 0), LEAST_CHROMA, MOST_CHROMA)


def relative(pixels: Rgb) -> Mask:
    """Further than 24 from the line between this slide's glass and white: finds faint strands that `colour` misses."""
    return _over(pixels, _from_glass(pixels), RELATIVE)


def entropy(pixels: Rgb) -> Mask:
    """Squares of 9 x 9 pixels whose distances from glass, in steps of 16, are many: Otsu's threshold within 0.9 to 2.2 bits.

    Finds pale tissue by its texture. A square at the border continues by its edge.
    """
    far = _from_glass(pixels)
    steps = np.empty(pixels.shape[:2], np.uint8)
    for rows in _bands(pixels):
        steps[rows] = np.minimum(far(pixels[rows]) / BITS, 255 // BITS)
    if not steps.size:
        return np.zeros(steps.shape, bool)
    bits = np.empty(steps.shape, np.uint8)
    half = SQUARE // 2
    padded = np.pad(steps, half, mode="edge")
    counts = np.zeros(256, np.float64)
    for rows in _bands(pixels):
        bits[rows] = np.rint(_bits(padded[rows.start : rows.stop + 2 * half]) * 50)
        counts += np.bincount(bits[rows].ravel(), minlength=256)
    cut = min(max(split(counts, np.arange(256.0)), LEAST_BITS * 50), MOST_BITS * 50)
    return np.asarray(bits > cut)


METHODS: Mapping[str, Callable[[Rgb], Mask]] = {
    "colour": colour,
    "otsu": otsu,
    "saturation": saturation,
    "relative": relative,
    "entropy": entropy,
}


def glass_colour(pixels: Rgb) -> NDArray[np.float64]:
    """The colour of this slide's glass, (3,): the most frequent bright one that is not pure white, or white.

    Bright: no channel below 190 and almost grey, so that pale tissue is not taken for glass. Pure white (255, 255, 255) is what stitching
    leaves. White when less than 2 % of the picture is bright.
    """
    _checked(pixels)
    thin = max(1, math.isqrt(pixels.shape[0] * pixels.shape[1] // _LOOKED_AT))
    pixels = pixels[::thin, ::thin]
    grey = np.zeros(256, np.int64)
    sums = np.zeros((256, 3), np.float64)
    for rows in _bands(pixels):
        flat = pixels[rows].reshape(-1, 3)
        low, high = _ends(flat)
        flat = flat[(low >= 190) & (high - low <= 24) & (low < 255)]
        middle = flat[:, 1]
        grey += np.bincount(middle, minlength=256)
        for channel in range(3):
            sums[:, channel] += np.bincount(middle, flat[:, channel], minlength=256)
    if grey.sum() <= _FEW * pixels.shape[0] * pixels.shape[1]:
        return np.full(3, 255.0)
    wide = np.convolve(grey, np.ones(5), mode="same")
    at = int(wide.argmax())
    near = slice(max(0, at - 2), at + 3)
    return np.asarray(sums[near].sum(axis=0) / max(1, int(grey[near].sum())))


def away(pixels: Rgb, glass: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distance of every pixel in RGB from the line between `glass` (3,) and white: float32 (h, w), 0 to 442."""
    _checked(pixels)
    return _distance(pixels, glass, np.array([255, 255, 255]))


def _from_glass(pixels: Rgb) -> Callable[[Rgb], NDArray[np.float32]]:
    glass = glass_colour(pixels)
    return lambda band: away(band, glass)


def _distance(pixels: Rgb, first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.float32]:
    start = np.asarray(first, np.float32)
    along = np.asarray(second, np.float32) - start
    apart = pixels.astype(np.float32) - start
    length = float(along @ along)
    if length > 0:
        apart -= np.clip(apart @ along / length, 0, 1)[..., None] * along
    return np.asarray(np.sqrt(np.einsum("...c,...c->...", apart, apart)), np.float32)


def _chroma(pixels: Rgb) -> NDArray[np.float32]:
    low, high = _ends(pixels)
    return (high - low).astype(np.float32)


def _ends(pixels: Rgb) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _bits(padded: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shannon entropy in bits of every square of SQUARE x SQUARE: (h + 8, w + 8) becomes (h, w)."""
    h, w = padded.shape[0] - SQUARE + 1, padded.shape[1] - SQUARE + 1
    total = SQUARE * SQUARE  # fits a byte, so that sums of shifted rows and columns are fast
    table = np.arange(total + 1, dtype=np.float64) / total
    table[1:] *= -np.log2(table[1:])
    small = table.astype(np.float32)
    found = np.zeros((h, w), np.float32)
    steps = np.flatnonzero(np.bincount(padded.ravel(), minlength=256))
    if len(steps) < 2:
        return found
    for step in steps:
        here = (padded == step).view(np.uint8)
        tall = here[:h].copy()
        for row in range(1, SQUARE):
            tall += here[row : row + h]
        count = tall[:, :w].copy()
        for column in range(1, SQUARE):
            count += tall[:, column : column + w]
        found += small[count]
    return found


def _by_otsu(pixels: Rgb, measure: Callable[[Rgb], NDArray[np.float32]], least: float, most: float) -> Mask:
    _checked(pixels)
    counts = np.zeros(443, np.float64)
    for rows in _bands(pixels):
        counts += np.bincount(measure(pixels[rows]).astype(np.int32).ravel(), minlength=443)
    cut = split(counts, np.arange(443.0)) + 1 if pixels.size else least
    return _over(pixels, measure, min(max(cut, least), most))


def _over(pixels: Rgb, measure: Callable[[Rgb], NDArray[np.float32]], cut: float) -> Mask:
    _checked(pixels)
    found = np.zeros(pixels.shape[:2], bool)
    for rows in _bands(pixels):
        found[rows] = measure(pixels[rows]) > cut
    return found


def _bands(pixels: Rgb) -> Iterator[slice]:
    high = max(1, _BAND_PIXELS // max(1, pixels.shape[1]))
    for start in range(0, pixels.shape[0], high):
        yield slice(start, min(start + high, pixels.shape[0]))


def _checked(pixels: Rgb) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"a tissue mask wants RGB pixels uint8 (h, w, 3); got {pixels.dtype} {pixels.shape}")
