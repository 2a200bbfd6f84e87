"""Real values of an image made ready for a network; the same for torch and ONNX, and torch is not needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from slimscan.errors import InputError
from slimscan.models.spec import NormSpec
from slimscan.nouns import Pixels


def ready(pixels: Pixels, norm: NormSpec) -> Pixels:
    """float32 of the same shape: the network's input for pixels in their real unit, any shape, any type.

    A volume of one value becomes zeros under zscore. No pixels stay none. InputError for NaN or infinity, of which a
    network makes an empty mask that looks like an answer.
    """
    values = windowed(pixels, norm)
    if not np.isfinite(values).all():
        raise InputError("the image holds NaN or infinity, and a network has no answer to them; replace them first")
    if not values.size:
        return values.astype(np.float32)
    if norm.way == "zscore":
        middle, spread = float(values.mean()), float(values.std())
    elif norm.way == "trainset":
        middle, spread = norm.mean, norm.deviation
    else:
        middle, spread = norm.low, norm.high - norm.low
    values -= middle
    values /= spread if spread > 0 else 1.0
    return values.astype(np.float32)


def windowed(pixels: Pixels, norm: NormSpec) -> Pixels:
    """float64, a copy: cut to the window, then rounded to norm.bits between low and high (or the volume's own ends)."""
    values = np.array(pixels, np.float64)
    if math.isfinite(norm.low) or math.isfinite(norm.high):
        np.clip(values, norm.low, norm.high, out=values)
    if norm.bits and values.size:
        low = norm.low if math.isfinite(norm.low) else float(values.min())
        high = norm.high if math.isfinite(norm.high) else float(values.max())
        step = (high - low) / ((1 << norm.bits) - 1)
        if step > 0:
            values = np.rint((values - low) / step) * step + low
    return values


def measured(norm: NormSpec, volumes: Iterable[Pixels]) -> NormSpec:
    """The norm with mean and deviation of all voxels of the training volumes (real unit); others than trainset as they are.

    InputError for no voxels.
    """
    if norm.way != "trainset":
        return norm
    count, middle, squares = 0, 0.0, 0.0
    for volume in volumes:  # Chan's update: no sum of large squares
        values = windowed(volume, norm)
        if not values.size:
            continue
        mean = float(values.mean())
        apart = mean - middle
        together = count + values.size
        squares += float(values.var()) * values.size + apart * apart * count * values.size / together
        middle += apart * values.size / together
        count = together
    if not count:
        raise InputError("the training set holds no voxel; a mean needs at least one volume")
    return replace(norm, mean=middle, deviation=max(math.sqrt(squares / count), 1e-12))
