"""Patches of slides made other ones: flips, blur, coarser pixels, brightness, hue and saturation, lines in the glass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slimscan.models.tissue_net_words import Augment

Rgb = NDArray[np.uint8]
Mask = NDArray[np.uint8]


def augmented(pixels: Rgb, mask: Mask, random: np.random.Generator, words: Augment) -> tuple[Rgb, Mask]:
    """A patch uint8 (h, w, 3) and its mask uint8 (h, w), changed at random; the same generator gives the same.

    Glass lines are put on patches without tissue alone, after everything else (wsi2025, 2.2.3).
    """
    for axis in (0, 1):
        if random.random() < 0.5:
            pixels, mask = np.flip(pixels, axis), np.flip(mask, axis)
    found = pixels.astype(np.float32)
    if random.random() < words.chance:
        found = blurred(found, random.uniform(*words.blur))
    if random.random() < words.chance:
        found = pooled(found, int(random.integers(words.pool[0], words.pool[1] + 1)))
    if random.random() < words.chance:
        found = found * random.uniform(*words.factor) + random.uniform(*words.added)
    if random.random() < words.chance:
        found = tinted(np.clip(found, 0, 255), random.uniform(*words.hue))
    if not mask.any() and random.random() < words.chance:
        found = lined(found, random, words)
    return np.rint(np.clip(found, 0, 255)).astype(np.uint8), np.ascontiguousarray(mask)


def blurred(pixels: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    """A Gaussian over rows and columns; the edge continues."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(pixels, (deviation, deviation, 0), mode="nearest"), np.float32)


def pooled(pixels: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Squares of side x side become their mean; those at the far border are cut off by it. Same shape."""
    rows, columns = np.arange(0, pixels.shape[0], side), np.arange(0, pixels.shape[1], side)
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=0), columns, axis=1)
    high = np.diff(np.append(rows, pixels.shape[0]))
    wide = np.diff(np.append(columns, pixels.shape[1]))
    mean = sums / (high[:, None] * wide[None])[..., None]
    return np.asarray(mean.repeat(high, axis=0).repeat(wide, axis=1), np.float32)


def tinted(pixels: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Hue (turned on from red) and saturation times a factor, brightness (HSV value) as it is; 0 to 255, grey stays grey."""
    high, low = pixels.max(axis=-1), pixels.min(axis=-1)
    chroma = high - low
    safe = np.where(chroma > 0, chroma, 1)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    hue = np.where(
        high == red,
        ((green - blue) / safe) % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = (hue * factor) % 6
    span = np.minimum(chroma * factor, high)
    # Each channel falls from the value by the chroma, the further the hue is from it.
    turn = (np.array([5, 3, 1], np.float32) + hue[..., None]) % 6
    fall = np.clip(np.minimum(turn, 4 - turn), 0, 1)
    return np.asarray(high[..., None] - span[..., None] * fall, np.float32)


def lined(pixels: NDArray[np.float32], random: np.random.Generator, words: Augment) -> NDArray[np.float32]:
    """Some rows and columns of a grid darkened, as edges of the cover glass are (imgaug's BlendAlphaRegularGrid)."""
    rows, columns = random.random(words.grid) < words.line, random.random(words.grid) < words.line
    down = np.arange(pixels.shape[0]) * words.grid // pixels.shape[0]
    across = np.arange(pixels.shape[1]) * words.grid // pixels.shape[1]
    dark = rows[down][:, None] | columns[across][None]
    return np.where(dark[..., None], pixels * np.float32(words.dark), pixels)
