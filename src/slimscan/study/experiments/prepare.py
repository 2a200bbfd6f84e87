"""One case ready for its codec and its network: on the asked grid, in whole numbers, its mask as channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Pixels, Volume
from slimscan.press.open import read
from slimscan.study.apart import NEAR_MM, apart_mm
from slimscan.study.cases import Case
from slimscan.study.task import real


@dataclass(frozen=True)
class Prepared:
    """codes: (z, y, x) uint8, uint16 or int16, what is compressed. mask: uint8 channels, 0 is the background.

    real value = slope * code + intercept. affine_mm: voxel (x, y, z) to RAS+ mm.
    """

    codes: Pixels
    mask: Pixels
    affine_mm: Pixels
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def volume(self) -> Volume:
        """The codes as an image."""
        return Volume(self.codes, self.affine_mm, 8 * self.codes.dtype.itemsize)


def prepare(case: Case, classes: Mapping[str, tuple[int, ...]], grid: Mapping[str, Any]) -> Prepared:
    """Read, check, resample and scale one case. grid: the words of [grid].

    InputError for a mask on another grid, and for values that are no whole numbers of 16 bits when bits = 0.
    """
    assert case.mask is not None
    image, drawn = read(case.path), read(case.mask)
    labels = np.asarray(drawn.pixels)
    if labels.shape != image.shape[:3]:
        raise InputError(
            f"{case.mask}: the mask is {labels.shape}, its image {image.shape[:3]}; give it on the image's grid"
        )
    apart = apart_mm(image, drawn)
    if apart > NEAR_MM:
        raise InputError(
            f"{case.mask}: the mask lies up to {apart:.3g} mm beside its image {case.path}; give it on the image's grid"
        )
    pixels, affine = real(image), np.asarray(image.affine_mm, np.float64)
    mask = channels(labels, classes)
    if grid["spacing_mm"] is not None or grid["size"] is not None:
        pixels, new = resampled(pixels, affine, grid["spacing_mm"], grid["size"], 1)
        mask, affine = resampled(mask, affine, grid["spacing_mm"], grid["size"], 0)[0], new
        if grid["bits"] == 0:
            pixels = np.rint(pixels)
    codes, slope, intercept = coded(pixels, grid["bits"], grid["low"], grid["high"], case.path)
    return Prepared(codes, mask, affine, slope, intercept)


def channels(labels: Pixels, classes: Mapping[str, tuple[int, ...]]) -> Pixels:
    """Label values to channels: 1 for the first class, 2 for the second ...; every other value is background."""
    out = np.zeros(labels.shape, np.uint8)
    for number, values in enumerate(classes.values(), start=1):
        out[np.isin(labels, values)] = number
    return out


def coded(pixels: Pixels, bits: int, low: float | None, high: float | None, name: str) -> tuple[Pixels, float, float]:
    """(codes, slope, intercept) of real values (z, y, x); an image of one value becomes 0 everywhere."""
    least, most = float(pixels.min()), float(pixels.max())
    if bits:
        start, end = least if low is None else low, most if high is None else high
        slope = (end - start) / (2**bits - 1) if end > start else 1.0
        codes = np.clip(np.rint((pixels - start) / slope), 0, 2**bits - 1)
        return codes.astype(np.uint8 if bits <= 8 else np.uint16), slope, start
    if not np.array_equal(pixels, np.rint(pixels)) or not (
        least >= -32768 and most <= (65535 if least >= 0 else 32767)
    ):
        raise InputError(
            f"{name}: values from {least:g} to {most:g} are no whole numbers of 16 bits; say [grid] bits = 12, or 8 as in "
            "El Khoury 2021"
        )
    kind = np.int16 if least < 0 else np.uint8 if most <= 255 else np.uint16
    return pixels.astype(kind), 1.0, 0.0


def resampled(pixels: Pixels, affine: Pixels, spacing_mm: Any, size: Any, order: int) -> tuple[Pixels, Pixels]:
    """(pixels, affine) on steps and sides (x, y, z) about the same centre; order 1: linear, 0: nearest.

    None keeps the steps, or as many voxels as cover the image. Outside is the smallest value.
    """
    from scipy import ndimage

    old = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))  # x, y, z
    new = old if spacing_mm is None else np.asarray(spacing_mm, np.float64)
    have = np.array(pixels.shape[::-1], np.float64)
    want = np.maximum(1, np.rint(have * old / new)) if size is None else np.asarray(size, np.float64)
    scale = new / old
    offset = (have - 1) / 2 - scale * (want - 1) / 2  # old index of the new first voxel
    filtered: Any = ndimage.affine_transform
    out: Pixels = filtered(
        pixels, scale[::-1], offset[::-1], tuple(int(side) for side in want[::-1]),
        order=order, mode="constant", cval=float(pixels.min()) if order else 0.0,
    )  # fmt: skip
    moved = affine.copy()
    moved[:3, :3] = affine[:3, :3] * scale
    moved[:3, 3] = affine[:3, :3] @ offset + affine[:3, 3]
    return out, moved
