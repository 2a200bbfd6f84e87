"""Losses of a segmentation, on logits (n, classes, [z,] y, x) and targets (n, [z,] y, x) of channel indices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from slimscan.errors import InputError
from slimscan.models.spec import FitSpec

_NOTHING = 1e-5  # voxels; a class that is nowhere in the batch and nowhere predicted has a Dice of 1

Loss = Callable[[Tensor, Tensor], Tensor]


def loss(fit: FitSpec, classes: int) -> Loss:
    """The loss that a training names; lower is better.

    dice: - sum of weight_i DSC_i over the classes without background (El Khoury 2021, eq. 6), each DSC over the whole
    batch. cross_entropy: eq. 7, as a mean over voxels. dice_ce: that plus 1 - mean weighted DSC.
    InputError when the weights are not as many as the classes without background.
    """
    said = fit.weights or (1.0,) * (classes - 1)
    if len(said) != classes - 1:
        raise InputError(f"training weights: want {classes - 1}, one a class without background; got {list(said)}")
    total = sum(said)
    if not total > 0:
        raise InputError(f"training weights = {list(said)}: at least one must be above 0")

    def dice(logits: Tensor, target: Tensor) -> Tensor:
        scores = overlaps(logits, target)
        return -(scores * scores.new_tensor(said)).sum()

    def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), target.long())

    def both(logits: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits, target) + 1.0 + dice(logits, target) / total

    return {"dice": dice, "cross_entropy": cross_entropy, "dice_ce": both}[fit.loss]


def overlaps(logits: Tensor, target: Tensor) -> Tensor:
    """DSC of the classes without background, (classes - 1,) float32: 2 sum(p t) / sum(p + t) over batch and space (eq. 2)."""
    chances = torch.softmax(logits.float(), dim=1)
    found = []
    for index in range(1, logits.shape[1]):
        p, t = chances[:, index], (target == index).float()
        found.append((2 * (p * t).sum() + _NOTHING) / (p.sum() + t.sum() + _NOTHING))
    return torch.stack(found)
