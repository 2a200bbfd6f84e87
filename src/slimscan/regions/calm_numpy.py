"""Calming in plain NumPy: what runs without numba, and the same equations in the fewest words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels
from slimscan.regions.calm_flow import Flow, closed, exponent, stored

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def calmed(pixels: Pixels, weights: NDArray[Any], flow: Flow, each: Each = map) -> Pixels:
    """(z, y, x) calmed: slices for themselves through `each` when flow.dims is 2, else the volume at once."""
    if flow.dims == 3:
        return _calmed((pixels, weights), flow)
    out = np.empty_like(pixels)
    pairs = ((pixels[z], weights[z]) for z in range(len(pixels)))
    for z, one in enumerate(each(lambda pair: _calmed(pair, flow), pairs)):
        out[z] = one
    return out


def _calmed(pair: tuple[Pixels, NDArray[Any]], flow: Flow) -> Pixels:
    pixels, weights = pair
    shut, power = closed(pixels, flow.padding), exponent(pixels)
    u = pixels.astype(flow.work)
    q = 1 - weights.astype(flow.work)
    if shut is not None:
        u[shut], q[shut] = 0, -1
    if power:
        u = np.ldexp(u, -power)
    s, a = flow.factors(2.0**-power)
    u = diffused(u, q, flow.iterations, s[3 - u.ndim : 3], s[6 - u.ndim :], a[3 - u.ndim :])
    return np.where(q > 0, stored(np.ldexp(u, power) if power else u, pixels.dtype), pixels)


def diffused(
    u: NDArray[Any], q: NDArray[Any], iterations: int, steep: NDArray[Any], across: NDArray[Any], step: NDArray[Any]
) -> NDArray[Any]:
    """u after all iterations; u and q = 1 - p (or -1: closed) of two or three axes; factors along each axis."""
    axes = range(u.ndim)
    faces = [np.minimum(_low(q, axis), _high(q, axis)) for axis in axes]
    for _ in range(iterations):
        d = [np.where(face >= 0, _high(u, axis) - _low(u, axis), u.dtype.type(0)) for axis, face in enumerate(faces)]
        both = [_ended(one, axis, 0, 1) + _ended(one, axis, 1, 0) for axis, one in enumerate(d)]
        change = np.zeros_like(u)
        for axis in axes:
            square = steep[axis] * d[axis] ** 2
            for other in axes:
                if other != axis:
                    square += across[other] * (_low(both[other], axis) + _high(both[other], axis)) ** 2
            flux = faces[axis] * np.exp2(-np.sqrt(square)) * d[axis]
            change += step[axis] * (_ended(flux, axis, 0, 1) - _ended(flux, axis, 1, 0))
        u = u + change
    return u


def _low(array: NDArray[Any], axis: int) -> NDArray[Any]:
    return array[(slice(None),) * axis + (slice(None, -1),)]


def _high(array: NDArray[Any], axis: int) -> NDArray[Any]:
    return array[(slice(None),) * axis + (slice(1, None),)]


def _ended(array: NDArray[Any], axis: int, before: int, after: int) -> NDArray[Any]:
    """With a 0 before or after along the axis: no face beyond the border."""
    return np.pad(array, [(before, after) if other == axis else (0, 0) for other in range(array.ndim)])


def gradient_squares(slab: Pixels, first: int, last: int, flow: Flow) -> tuple[float, int]:
    """Sum of squared gradient magnitudes over the open voxels of slices first..last - 1, and how many there are.

    slab: (z, y, x) with the slices before and after where the volume has them. Central differences, border mirrored.
    """
    u = slab.astype(np.float64)
    shut = closed(slab, flow.padding)
    if shut is not None:
        u[shut] = np.nan
    total = np.zeros(last - first)
    for axis in range(3 - flow.dims, 3):
        d = np.diff(u, axis=axis) / flow.spacing[axis]
        d[np.isnan(d)] = 0
        central = (_ended(d, axis, 0, 1) + _ended(d, axis, 1, 0))[first:last] / 2
        total += (central**2).sum(axis=(1, 2))
    return float(total.sum()), int(np.isfinite(u[first:last]).sum())
