"""The tissue network over a whole slide at one magnification: patches that overlap by a tenth, stitched between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.models.network import Forward
from slimscan.models.normal import ready
from slimscan.models.spec import NetSpec, NormSpec
from slimscan.models.tissue_net_words import OVERLAP, PATCH

Read = Callable[[int, int, int, int], NDArray[np.uint8]]


def segmented(
    read: Read,
    shape: tuple[int, int],
    forward: Forward,
    net: NetSpec,
    norm: NormSpec,
    *,
    patch: int = PATCH,
    overlap: float = OVERLAP,
    chance: float = 0.5,
    at_once: int = 4,
) -> NDArray[np.bool_]:
    """Tissue, bool (h, w), where the network's probability is above `chance`; lower is safer.

    read(y, x, h, w): RGB uint8 of the slide at this magnification, white outside; shape: its (height, width). Only patches
    are held, never the picture. Neighbours meet in the middle of what they share, away from the edges that see least.
    InputError: a network that is not for RGB, a patch that does not fit it, an overlap outside 0..0.5, no chance of 0..1.
    """
    if net.dims != 2 or net.inputs != 3 or net.classes != 2:
        raise InputError(
            f"a tissue network takes RGB patches and gives 2 classes; this one is {net.dims}D with {net.inputs} inputs and"
            f" {net.classes} classes: train one with `slimscan slide train-tissue`"
        )
    if patch < net.multiple or patch % net.multiple:
        raise InputError(f"patch = {patch}: want a multiple of {net.multiple} pixels")
    if not 0 <= overlap <= 0.5:
        raise InputError(f"overlap = {overlap:g}: want 0 to 0.5 of a patch")
    if not 0 < chance < 1:
        raise InputError(f"chance = {chance:g}: want a probability between 0 and 1")
    found = np.zeros(shape, bool)
    cut = float(np.log(chance / (1 - chance)))
    rows, columns = (list(owned(side, patch, overlap)) for side in shape)
    for some in _some(itertools.product(rows, columns), at_once):
        pixels = np.stack([read(row[0], column[0], patch, patch) for row, column in some])
        logits = forward(np.ascontiguousarray(np.moveaxis(ready(pixels, norm), -1, 1)))
        for (row, column), one in zip(some, logits, strict=True):
            (y, top, end), (x, left, right) = row, column
            tissue = one[1] - one[0] > cut
            found[top:end, left:right] = tissue[top - y : end - y, left - x : right - x]
    return found


def owned(side: int, patch: int, overlap: float) -> Iterator[tuple[int, int, int]]:
    """Along one axis: where patches begin, and from where to where each one's answer counts; together all of 0..side."""
    step = max(1, round(patch * (1 - overlap)))
    last = max(0, side - patch)
    starts = sorted({*range(0, last, step), last})
    for number, start in enumerate(starts):
        first = 0 if number == 0 else (starts[number - 1] + patch + start) // 2
        end = side if number == len(starts) - 1 else (start + patch + starts[number + 1]) // 2
        yield start, first, end


def _some(
    pairs: Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]], many: int
) -> Iterator[list[tuple[tuple[int, int, int], tuple[int, int, int]]]]:
    while some := list(itertools.islice(pairs, many)):
        yield some
