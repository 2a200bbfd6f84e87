"""Calming with torch, on a GPU when there is one: the equations of slimscan.regions.calm on tensors, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels
from slimscan.regions.calm_flow import Flow, closed, exponent, stored

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]

# Tensors of the size of a slab that live at once: u, q, three faces, differences, sums and fluxes, and what torch makes.
_TENSORS = 24
_SHARE = 0.5  # of the free memory of the GPU
_CPU_BYTES = 1 << 30


def has_gpu() -> bool:
    """Whether torch finds one that it can use."""
    import torch

    return bool(torch.cuda.is_available())


def calmed(pixels: Pixels, weights: NDArray[Any], flow: Flow, each: Each = map) -> Pixels:  # noqa: ARG001 - one GPU
    """As slimscan.regions.calm_numpy.calmed, within rounding."""
    out = np.empty_like(pixels)
    depth = len(pixels)
    halo = flow.iterations if flow.dims == 3 else 0
    most = max(1, _room() // (_TENSORS * flow.work.itemsize * max(1, pixels[0].size)) - 2 * halo)
    for start in range(0, depth, most):
        stop = min(start + most, depth)
        first, last = max(0, start - halo), min(depth, stop + halo)
        made = _slab(pixels[first:last], weights[first:last], flow)
        out[start:stop] = made[start - first : stop - first]
    return out


def _room() -> int:
    """Bytes for tensors."""
    import torch

    return int(torch.cuda.mem_get_info()[0] * _SHARE) if has_gpu() else _CPU_BYTES


def _slab(pixels: Pixels, weights: NDArray[Any], flow: Flow) -> Pixels:
    import torch

    device = "cuda" if has_gpu() else "cpu"
    shut, power = closed(pixels, flow.padding), exponent(pixels)
    samples, soft = pixels.astype(flow.work), 1 - weights.astype(flow.work)
    if shut is not None:
        samples[shut], soft[shut] = 0, -1
    if power:
        samples = np.ldexp(samples, -power)
    s, a = flow.factors(2.0**-power)
    with torch.inference_mode():
        u, q = torch.from_numpy(samples).to(device), torch.from_numpy(soft).to(device)
        made = _diffused(u, q, flow, s.tolist(), a.tolist()).cpu().numpy()
    return np.where(soft > 0, stored(np.ldexp(made, power) if power else made, pixels.dtype), pixels)


def _diffused(u: Any, q: Any, flow: Flow, s: list[float], a: list[float]) -> Any:
    import torch

    axes = range(3 - flow.dims, 3)
    faces = {axis: torch.minimum(_low(q, axis), _high(q, axis)) for axis in axes}
    for _ in range(flow.iterations):
        d, both = {}, {}
        for axis in axes:
            d[axis] = (_high(u, axis) - _low(u, axis)).mul_(faces[axis] >= 0)
            both[axis] = torch.zeros_like(u)
            _low(both[axis], axis).add_(d[axis])
            _high(both[axis], axis).add_(d[axis])
        new = u.clone()
        for axis in axes:
            square = s[axis] * d[axis] ** 2
            for other in axes:
                if other != axis:
                    across = _low(both[other], axis) + _high(both[other], axis)
                    square.addcmul_(across, across, value=s[3 + other])
            flux = square.sqrt_().neg_().exp2_().mul_(faces[axis]).mul_(d[axis])
            _low(new, axis).add_(flux, alpha=a[axis])
            _high(new, axis).sub_(flux, alpha=a[axis])
        u = new
    return u


def _low(tensor: Any, axis: int) -> Any:
    return tensor.narrow(axis, 0, tensor.shape[axis] - 1)


def _high(tensor: Any, axis: int) -> Any:
    return tensor.narrow(axis, 1, tensor.shape[axis] - 1)
