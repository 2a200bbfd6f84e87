"""A network on a whole volume: in one piece, in overlapping patches, or slice by slice. NumPy alone, torch or not."""

from __future__ import annotations

import math

import numpy as np

from slimscan.models.network import Forward, batch, places, weights, whole
from slimscan.models.spec import NetSpec
from slimscan.nouns import Pixels

OVERLAP = 0.5
_VOXELS_AT_ONCE = 1 << 20  # of slices in one batch
_WHOLE = 2  # a volume of at most so many patches' voxels goes through in one piece: cheaper, and no seams


def scores(ready: Pixels, forward: Forward, net: NetSpec, patch: tuple[int, int, int]) -> Pixels:
    """Logits float32 (classes, z, y, x) of a ready volume (z, y, x).

    3D: patches that overlap by half, blended by their voxels' distance from the patch's ends; small volumes at once.
    2D: whole slices, some at a time. Sides are continued by their edge to net.multiple and cut again.
    BadAnswer when the network's output has another form. An empty volume has empty logits.
    """
    out = np.zeros((net.classes, *ready.shape), np.float32)
    if not ready.size:
        return out
    if max(ready.shape[3 - net.dims :]) <= net.multiple:  # one voxel at the deepest level has no spread to normalise
        wide = np.pad(ready, ((0, 0), (0, 0), (0, 2 * net.multiple - ready.shape[2])), mode="edge")
        return scores(wide, forward, net, patch)[..., : ready.shape[2]]
    if net.dims == 2:
        many = max(1, _VOXELS_AT_ONCE // (ready.shape[1] * ready.shape[2]))
        for start in range(0, len(ready), many):
            out[:, start : start + many] = np.moveaxis(batch(ready[start : start + many], forward, net.multiple), 0, 1)
        return out
    if math.prod(side + -side % net.multiple for side in ready.shape) <= _WHOLE * math.prod(patch):
        return np.asarray(whole(ready, forward, net.multiple), np.float32)
    total = np.zeros(ready.shape, np.float32)
    blend = weights(tuple(min(side, most) for side, most in zip(patch, ready.shape, strict=True)))
    for place in places(ready.shape, patch, OVERLAP):
        out[(slice(None), *place)] += whole(ready[place], forward, net.multiple) * blend
        total[place] += blend
    out /= total
    return out


def named(logits: Pixels, net: NetSpec) -> Pixels:
    """uint16 (z, y, x): the label of the largest logit, the first of equal ones."""
    return np.asarray(np.asarray(net.values, np.uint16)[logits.argmax(axis=0)])
