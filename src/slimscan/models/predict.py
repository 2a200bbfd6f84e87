"""A trained network run on a volume in its real unit."""

from __future__ import annotations

import functools

import numpy as np
import torch

from slimscan.errors import InputError
from slimscan.models import sliding
from slimscan.models.checkpoint import Network
from slimscan.models.network import Forward
from slimscan.models.normal import ready
from slimscan.models.unet import build
from slimscan.nouns import Pixels


def logits(network: Network, pixels: Pixels, device: str = "auto") -> Pixels:
    """float32 (classes, z, y, x) of pixels (z, y, x) in their real unit (HU ...): see sliding.scores.

    device: auto (a GPU when torch finds one), cpu or cuda. InputError for pixels of other dimensions, or no such device.
    """
    if pixels.ndim != 3:
        raise InputError(f"a network wants a volume (z, y, x); got {pixels.shape}")
    forward = opened(network, str(chosen(device)))
    return sliding.scores(ready(pixels, network.norm), forward, network.net, network.fit.patch)


def labels(network: Network, pixels: Pixels, device: str = "auto") -> Pixels:
    """uint16 (z, y, x): label values, network.net.values, of pixels (z, y, x) in their real unit."""
    return sliding.named(logits(network, pixels, device), network.net)


def chosen(device: str) -> torch.device:
    """The device of "auto", "cpu" or "cuda"; InputError for cuda where torch finds no GPU."""
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise InputError('device = "cuda": torch finds no GPU here; say "cpu" or "auto", or install torch with CUDA')
    return torch.device("cuda" if there and device != "cpu" else "cpu")


@functools.lru_cache(maxsize=2)
def opened(network: Network, device: str) -> Forward:
    """The network with its weights on a device, as a function of NumPy batches."""
    module = build(network.net)
    module.load_state_dict(dict(network.weights))
    order = memory(network.net.dims)
    module = module.to(device=device, memory_format=order).eval()

    def forward(batch: Pixels) -> Pixels:
        # oneDNN takes a slow way for a batch of one in 3D: two of the same take half its time.
        twice = np.repeat(batch, 2, axis=0) if len(batch) == 1 and batch.ndim == 5 and device == "cpu" else batch
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(twice)).to(device=device, memory_format=order)
            return np.asarray(module(x)[: len(batch)].float().cpu().contiguous().numpy())

    return forward


def memory(dims: int) -> torch.memory_format:
    """Channels last, which makes convolutions about twice as fast on a CPU, and half precision faster on a GPU."""
    return torch.channels_last if dims == 2 else torch.channels_last_3d
