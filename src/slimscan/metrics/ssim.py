"""Structural similarity: SSIM in slices and in 3D, MS-SSIM, and their maps.

One Gaussian window throughout: 11 samples a side, sigma 1.5, K1 0.01, K2 0.03. Values are means over the valid region
only (5 samples in from each border), as in the original. Pixels are taken as stored, in float64, and never shifted.

A slice with a side under 11 samples has no valid region: its value is NaN, never that of a smaller window, which would
be another metric. MS-SSIM uses the scales that still hold 11 samples a side, all five from 161 a side; the weights of
fewer are divided by their sum, so that the values stay comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from slimscan.errors import InputError
from slimscan.metrics.fidelity import pair, peak_value
from slimscan.metrics.metric import Metric
from slimscan.metrics.window import BAND, SIDE, Plane, bands, enlarged, factors, halved, mirrored, valid
from slimscan.nouns import Peak, Pixels

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True, slots=True)
class Similarity:
    """SSIM and MS-SSIM of one slice; NaN when a side is under 11 samples or the mask leaves nothing to average."""

    ssim: float
    ms_ssim: float


def similarity(reference: Pixels, test: Pixels, data_range: float, mask: Pixels | None = None) -> Similarity:
    """Both of one slice in one pass, finite pixels: (y, x), or (y, x, c) whose samples are averaged.

    data_range: the peak, above 0. mask: (y, x), non-zero is counted; at coarser scales a pixel counts by the share of
    it that is inside.
    """
    if reference.ndim == 3:
        each = [similarity(reference[..., c], test[..., c], data_range, mask) for c in range(reference.shape[2])]
        return Similarity(float(np.mean([s.ssim for s in each])), float(np.mean([s.ms_ssim for s in each])))
    first, second = reference, test
    share = None if mask is None else (mask != 0).astype(np.float64)
    scales = scale_weights(reference.shape)
    ssim_full, product = math.nan, 1.0 if scales else math.nan
    for scale, weight in enumerate(scales):
        if scale:
            first, second = halved(first), halved(second)
            share = None if share is None else halved(share)
        whole, contrast = _means(first, second, data_range, share)
        if scale == 0:
            ssim_full = whole
        # A negative mean has no real power; the papers' images never reach one.
        product *= max(whole if scale == len(scales) - 1 else contrast, 0.0) ** weight
    return Similarity(ssim_full, product)


def scale_weights(shape: tuple[int, ...]) -> tuple[float, ...]:
    """The MS-SSIM weights of the scales that a (y, x) shape holds, finest first: the five, or fewer with sum 1, or ()."""
    side, kept = min(shape[:2]), []
    for weight in SCALE_WEIGHTS:
        if side < SIDE:
            break
        kept.append(weight)
        side = (side + 1) // 2
    # The five published weights sum to 1.0001 and stay as published.
    return SCALE_WEIGHTS if len(kept) == len(SCALE_WEIGHTS) else tuple(weight / sum(kept) for weight in kept)


def ssim(
    reference: ArrayLike,
    test: ArrayLike,
    peak: Peak = "stored",
    bits: int | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """SSIM in 2D, the mean over the valid region of each slice and then over slices; 1 when identical.

    reference, test: (y, x), (z, y, x) or (z, y, x, c); the colour samples are averaged. peak: the data range, see
    fidelity.peak_value. mask: without the colour axis, non-zero is counted; slices outside it are left out.
    NaN: a side under 11 samples. InputError: empty, not finite, shapes differ, no peak.
    Source: Wang et al. 2004, IEEE Trans. Image Processing 13(4), eq. 13.
    """
    return _mean([s.ssim for s in _slices(reference, test, peak, bits, mask)])


def ms_ssim(
    reference: ArrayLike,
    test: ArrayLike,
    peak: Peak = "stored",
    bits: int | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Multi-scale SSIM in 2D, the mean over slices; 1 when identical.

    Five scales, each half of the one before (means of 2x2, an odd last row or column doubled): contrast-structure of
    every scale and luminance of the coarsest, raised to the weights; a negative mean counts as 0. Fewer scales for
    small slices, see scale_weights. Inputs, NaN and errors as for ssim.
    Source: Wang, Simoncelli and Bovik 2003, Asilomar, eq. 7.
    """
    return _mean([s.ms_ssim for s in _slices(reference, test, peak, bits, mask)])


def ssim_3d(
    reference: ArrayLike,
    test: ArrayLike,
    peak: Peak = "stored",
    bits: int | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """SSIM with a window of 11x11x11 voxels (not mm), the mean over the valid region of the volume; 1 when identical.

    reference, test: (z, y, x) or (z, y, x, c); inputs, NaN (any side under 11) and errors as for ssim.
    Source: Wang et al. 2004, eq. 13, with the window in three dimensions.
    """
    first, second, data_range = _admitted(reference, test, peak, bits)
    if first.ndim < 3:
        raise InputError(f"the images are {first.shape}; ssim_3d takes (z, y, x) or (z, y, x, c)")
    inside = None if mask is None else np.asarray(mask)
    if inside is not None and inside.shape != first.shape[:3]:
        raise InputError(f"the mask is {inside.shape} and the image is {first.shape}; give a mask of that shape")
    total, count = slab_ssim_3d(list(first), list(second), data_range, None if inside is None else list(inside))
    return total / count if count else math.nan


def slab_ssim_3d(
    reference: Sequence[Pixels], test: Sequence[Pixels], data_range: float, mask: Sequence[Pixels] | None = None
) -> tuple[float, float]:
    """(sum of the 3D SSIM over the valid region, voxels counted) of a slab of slices (y, x[, c]); (0, 0) under 11.

    Slabs that overlap by 10 slices cover the valid region of a volume once: their sums add up to the volume's.
    """
    height, width = reference[0].shape[:2]
    if min(len(reference), height, width) < SIDE:
        return 0.0, 0.0
    sums, counts = [], []
    for rows in bands(height, 8 * BAND // (len(reference) * width)):
        first = np.stack([plane[rows] for plane in reference])
        second = np.stack([plane[rows] for plane in test])
        inside = None if mask is None else valid(np.stack([plane[rows] for plane in mask])) != 0
        colours = [(first, second)]
        if first.ndim == 4:
            colours = [(first[..., c], second[..., c]) for c in range(first.shape[3])]
        for x, y in colours:
            luminance, contrast = factors(x, y, data_range)
            luminance *= contrast
            sums.append(float(luminance.sum() if inside is None else luminance[inside].sum()))
            counts.append(float(luminance.size if inside is None else inside.sum()))
    return math.fsum(sums), math.fsum(counts)


def ssim_map(reference: ArrayLike, test: ArrayLike, data_range: float) -> Plane:
    """SSIM at every pixel of a slice (y, x), borders by mirroring (the value leaves them out); errors as for ssim."""
    first, second = _plane(reference, test)
    luminance, contrast = factors(mirrored(first), mirrored(second), peak_value(data_range))
    return luminance * contrast


def ms_ssim_map(reference: ArrayLike, test: ArrayLike, data_range: float) -> Plane:
    """MS-SSIM at every pixel of a slice (y, x): each scale's map brought to full size (linear), then multiplied.

    Borders by mirroring; negative values count as 0, as in ms_ssim. A slice with a side under 11 samples gives NaN.
    Source: the maps of Cunha 2023, Fig. 8.
    """
    first, second = _plane(reference, test)
    data_range = peak_value(data_range)
    shape, scales = first.shape, scale_weights(first.shape)
    product = np.full(shape, 1.0 if scales else math.nan)
    for scale, weight in enumerate(scales):
        if scale:
            first, second = halved(first), halved(second)
        luminance, contrast = factors(mirrored(first), mirrored(second), data_range)
        part = luminance * contrast if scale == len(scales) - 1 else contrast
        product *= np.maximum(enlarged(part, shape, 2**scale), 0.0) ** weight
    return product


def _means(x: Pixels, y: Pixels, data_range: float, share: Plane | None) -> tuple[float, float]:
    """Means of SSIM and of contrast-structure over the valid region, weighted by share; NaN when no weight is there."""
    whole, part, weight = [], [], []
    for rows in bands(x.shape[0], BAND // x.shape[1]):
        luminance, contrast = factors(x[rows], y[rows], data_range)
        luminance *= contrast
        if share is None:
            weight.append(float(contrast.size))
        else:
            inside = valid(share[rows])
            luminance *= inside
            contrast *= inside
            weight.append(float(inside.sum()))
        whole.append(float(luminance.sum()))
        part.append(float(contrast.sum()))
    total = math.fsum(weight)
    return (math.fsum(whole) / total, math.fsum(part) / total) if total else (math.nan, math.nan)


def _admitted(reference: ArrayLike, test: ArrayLike, peak: Peak, bits: int | None) -> tuple[Pixels, Pixels, float]:
    first, second = pair(reference, test)
    if first.ndim not in (2, 3, 4):
        raise InputError(f"the images are {first.shape}; allowed: (y, x), (z, y, x) or (z, y, x, c)")
    return first, second, peak_value(peak, first, bits)


def _plane(reference: ArrayLike, test: ArrayLike) -> tuple[Pixels, Pixels]:
    first, second = pair(reference, test)
    if first.ndim != 2:
        raise InputError(f"the images are {first.shape}; a map is made of one slice (y, x)")
    return first, second


def _slices(
    reference: ArrayLike, test: ArrayLike, peak: Peak, bits: int | None, mask: ArrayLike | None
) -> list[Similarity]:
    first, second, data_range = _admitted(reference, test, peak, bits)
    inside = None if mask is None else np.asarray(mask)
    if inside is not None and inside.shape != first.shape[:3]:
        raise InputError(f"the mask is {inside.shape} and the image is {first.shape}; give a mask of that shape")
    if first.ndim == 2:
        return [similarity(first, second, data_range, inside)]
    return [
        similarity(first[z], second[z], data_range, None if inside is None else inside[z])
        for z in range(first.shape[0])
    ]


def _mean(values: list[float]) -> float:
    """The mean of those that are defined; NaN when none is."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


METRICS = (
    Metric(
        "ssim", "Structural similarity, slice by slice", "", "higher", -1.0, 1.0,
        "mean of (2 mx my + C1)(2 cov + C2) / ((mx^2 + my^2 + C1)(vx + vy + C2)), Gaussian window 11x11, sigma 1.5, "
        "C1 = (0.01 peak)^2, C2 = (0.03 peak)^2, then over slices",
        "Wang et al. 2004, IEEE Trans. Image Processing 13(4), eq. 13", ssim, "image",
    ),
    Metric(
        "ssim_3d", "Structural similarity with a window in three dimensions", "", "higher", -1.0, 1.0,
        "as ssim with a window of 11x11x11 voxels, over the volume",
        "Wang et al. 2004, eq. 13, in three dimensions", ssim_3d, "image",
    ),
    Metric(
        "ms_ssim", "Multi-scale structural similarity, slice by slice", "", "higher", 0.0, 1.0,
        "product over scales of mean contrast-structure^w, with luminance at the coarsest; "
        "w = 0.0448 0.2856 0.3001 0.2363 0.1333, then over slices",
        "Wang, Simoncelli and Bovik 2003, Asilomar, eq. 7", ms_ssim, "image",
    ),
)  # fmt: skip
