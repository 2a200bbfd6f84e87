"""Batches for the tissue network: every magnification as often, patches of one without replacement (wsi2025, 2.2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.models.normal import ready
from slimscan.models.spec import FitSpec, NormSpec
from slimscan.models.tissue_net_augment import augmented
from slimscan.models.tissue_net_words import Augment
from slimscan.nouns import Pixels


@dataclass(frozen=True)
class Ground:
    """All patches of one magnification. load(k), k < count: RGB uint8 (side, side, 3) and mask uint8 (side, side) of 0 and 1."""

    magnification: float
    count: int
    load: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def draws(counts: Sequence[int], seed: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """(ground, patch) without end, from the draw `first` on; the same draws of a seed wherever one starts.

    Grounds are equally likely; the patches of one come in a new random order every time that all of them were seen.
    """
    if not counts or min(counts) < 1:
        raise InputError("the tissue network wants at least one patch at every magnification; got none")
    random = np.random.default_rng((seed, 0))
    seen = [0] * len(counts)
    for number in _forever():
        which = int(random.integers(len(counts)))
        epoch, place = divmod(seen[which], counts[which])
        seen[which] += 1
        if number >= first:
            yield which, int(np.random.default_rng((seed, 1, which, epoch)).permutation(counts[which])[place])


def batches(
    grounds: Sequence[Ground], fit: FitSpec, norm: NormSpec, start_step: int = 0, words: Augment | None = None
) -> Iterator[tuple[Pixels, Pixels]]:
    """x float32 (n, 3, side, side) ready for the network, y uint8 (n, side, side); step k is the same wherever one starts.

    words: how patches are changed, None: as in Augment(). InputError: no patch, or one of another size than fit.patch.
    """
    how = Augment() if words is None else words
    order = draws([one.count for one in grounds], fit.seed, start_step * fit.batch)
    for step in _forever(start_step):
        random = np.random.default_rng((fit.seed, 2, step))
        images, masks = [], []
        for _ in range(fit.batch):
            which, patch = next(order)
            pixels, mask = grounds[which].load(patch)
            if mask.shape != fit.patch[1:] or pixels.shape != (*mask.shape, 3):
                raise InputError(
                    f"a patch is {pixels.shape} with a mask of {mask.shape}; want sides of {fit.patch[1:]}"
                )
            pixels, mask = augmented(pixels, mask, random, how)
            images.append(pixels)
            masks.append(mask)
        yield np.ascontiguousarray(np.moveaxis(ready(np.stack(images), norm), -1, 1)), np.stack(masks)


def _forever(first: int = 0) -> Iterator[int]:
    while True:
        yield first
        first += 1
