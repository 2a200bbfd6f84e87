"""One CT of the protocol: its Hounsfield units, the region, the diffused image, and what diffusion changed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.metrics.entropy import entropy
from slimscan.metrics.fidelity import errors
from slimscan.metrics.ssim import ssim
from slimscan.nouns import Region, Volume
from slimscan.study.recipes.luu2021.coders import Voxels

PEAK = 65535.0
"""L of the paper's eq. 3: 2^16 - 1, the range of the 16-bit type, whatever range the values use."""


@dataclass(frozen=True)
class Diffusion:
    """k, iterations: eq. 2 and section III.C. dims: 2 slice by slice, 3 across slices too. grow: kernel of the dilation in
    voxels (x, y, z). threshold: larger weights become 1.
    """

    k: float = 0.4
    iterations: int = 15
    dims: int = 2
    grow: str = "30x30x1"
    threshold: float = 0.75


@dataclass(frozen=True)
class Pair:
    """original, diffused: (z, y, x) int16, HU. inside: bool, where the region's weight is 1. weights: float32 in 0..1.

    seconds: of the diffusion.
    """

    original: Voxels
    diffused: Voxels
    weights: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    seconds: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Where nothing may change."""
        return self.weights >= 1


def hounsfield(volume: Volume) -> Voxels:
    """The volume's real values as int16 (z, y, x), rounded: the paper's 16-bit NIfTI. InputError when they do not fit."""
    if len(volume.shape) != 3:
        raise InputError(f"{volume.source}: is {volume.shape}; the protocol takes grey volumes (z, y, x)")
    real = volume.slices(0, volume.shape[0]).astype(np.float64) * volume.slope + volume.intercept
    if not np.isfinite(real).all() or real.min() < -32768 or real.max() > 32767:
        raise InputError(
            f"{volume.source}: values from {real.min():g} to {real.max():g} do not fit 16 bits; the protocol takes CT in HU"
        )
    return np.rint(real).astype(np.int16)


def region(spec: str, volume: Volume, said: Diffusion) -> Region:
    """The region that `--roi SPEC` would name, grown and thresholded as the protocol says; on the volume's grid."""
    from slimscan.press.where import region_of

    return region_of(spec, volume, grow=said.grow, threshold=said.threshold)


def diffuse(original: Voxels, weights: NDArray[np.float32], spacing_mm: tuple[float, float, float], said: Diffusion) -> Voxels:  # fmt: skip
    """The diffused image, rounded to HU; equal to the original wherever the weight is 1."""
    from slimscan.regions.calm import calm

    found = calm(original, weights, k=said.k, iterations=said.iterations, spacing_mm=spacing_mm, dims=said.dims)
    return np.asarray(found, np.int16)


def prepare(volume: Volume, where: Region, said: Diffusion) -> Pair:
    """The volume and its diffused twin."""
    original = hounsfield(volume)
    weights = where.weights(0, volume.shape[0])
    warm = slice(0, 1)
    diffuse(
        original[warm], weights[warm], volume.spacing_mm, said
    )  # compiled functions are loaded before the clock runs
    started = time.perf_counter()
    diffused = diffuse(original, weights, volume.spacing_mm, said)
    seconds = time.perf_counter() - started
    changed = int((diffused != original)[weights >= 1].sum())
    if changed:
        raise InputError(
            f"{volume.source}: {changed} voxels inside the region were changed; this is a fault, report it"
        )
    return Pair(original, diffused, weights, volume.spacing_mm, seconds)


def quality(original: Voxels, test: Voxels, inside: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """PSNR and SSIM of the paper's III.B, and what they need to be understood.

    psnr_db: eq. 3 and 4, peak 65535; inf when nothing differs. ssim_dtype: eq. 5 with L = 65535, as written; ssim_range:
    with L = max - min of the original, which the paper's own values of SSIM call for. Gaussian 11x11x1, sigma 1.5.
    inside: adds psnr_inside_db, ssim_inside (L = range) and max_error_inside, over those voxels. entropy: bits a voxel.
    """
    found = {
        "psnr_db": errors(original, test).psnr_db(PEAK),
        "ssim_dtype": ssim(original, test, PEAK),
        "ssim_range": ssim(original, test, "range"),
        "entropy": entropy(test),
    }
    if inside is not None and inside.any():
        within = errors(original, test, inside)
        found |= {
            "psnr_inside_db": within.psnr_db(PEAK),
            "ssim_inside": ssim(original, test, "range", mask=inside),
            "max_error_inside": within.max_abs,
        }
    return found


def sweep(pair: Pair, said: Diffusion, ks: Sequence[float], iterations: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Fig. 3: PSNR, SSIM and the BZ2 ratio of every K with every number of iterations, on one image."""
    import bz2

    for k in ks:
        for count in iterations:
            now = Diffusion(k, count, said.dims, said.grow, said.threshold)
            diffused = diffuse(pair.original, pair.weights, pair.spacing_mm, now)
            off = errors(pair.original, diffused)
            raw = np.ascontiguousarray(diffused, "<i2").tobytes()
            yield {
                "k": k,
                "iterations": count,
                "psnr_db": off.psnr_db(PEAK) if off.mse else math.inf,
                "ssim_range": ssim(pair.original, diffused, "range"),
                "bz2_ratio": len(raw) / len(bz2.compress(raw, 9)),
            }
