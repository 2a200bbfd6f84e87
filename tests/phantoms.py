"""Small images with the traits of real ones: smooth tissue, edges, noise that differs by region, flat air."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from slimscan.nouns import Volume


def head(shape: tuple[int, int, int] = (24, 96, 96), seed: int = 7, noise: float = 6.0) -> Volume:
    """A CT-like head: int16, air at -1000 with noise, skull, brain, a table; 1 x 1 x 2 mm."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    radius = np.sqrt((x / 0.75) ** 2 + (y / 0.85) ** 2 + (z / 1.4) ** 2)
    pixels = np.full(shape, -1000.0)
    pixels[radius < 1] = 900
    pixels[radius < 0.88] = 40
    texture = ndimage.gaussian_filter(rng.normal(size=shape), (1, 2, 2))
    pixels += np.where(radius < 0.88, 60 * texture / max(texture.std(), 1e-9), 0)
    pixels[y > 0.93] = -200
    pixels = ndimage.gaussian_filter(pixels, (0.3, 0.6, 0.6)) + rng.normal(scale=noise, size=shape)
    affine = np.array([[-1.0, 0, 0, 90], [0, -1.0, 0, 100], [0, 0, 2.0, -30], [0, 0, 0, 1]])
    return Volume(np.clip(np.rint(pixels), -1024, 3071).astype(np.int16), affine, unit="HU", source="head")


def masked(shape: tuple[int, int, int] = (12, 80, 80), seed: int = 3) -> Volume:
    """A skull-stripped MRI: uint16, 0 outside, noisy tissue inside."""
    rng = np.random.default_rng(seed)
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = x**2 + y**2 < 0.6
    tissue = 600 + 150 * ndimage.gaussian_filter(rng.normal(size=shape), 1.5) * 4 + rng.normal(scale=12, size=shape)
    return Volume(np.where(inside, np.clip(np.rint(tissue), 1, 4095), 0).astype(np.uint16), source="masked")


def slide(shape: tuple[int, int, int] = (3, 64, 72), seed: int = 1) -> Volume:
    """RGB: uint8, pink tissue on white."""
    rng = np.random.default_rng(seed)
    cloud = ndimage.gaussian_filter(rng.normal(size=(*shape, 3)), (0.5, 2, 2, 0))
    pixels = np.array([225, 160, 200]) + 260 * cloud
    return Volume(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), source="slide")
