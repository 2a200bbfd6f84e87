"""Random crops of volumes in memory: what a training sees, decided by the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from slimscan.errors import InputError
from slimscan.models.spec import FitSpec
from slimscan.nouns import Pixels

_KEPT = 4096  # labelled voxels remembered a class and volume, evenly spread over it


def crops(
    images: Sequence[Pixels],
    masks: Sequence[Pixels],
    fit: FitSpec,
    dims: int,
    seed: int,
    start_step: int = 0,
) -> Iterator[tuple[Pixels, Pixels]]:
    """Batches without end: x float32 (n, 1, [z,] y, x) and y uint8 (n, [z,] y, x) of channel indices.

    images: float32 (z, y, x), already `ready`; masks: uint8 of the same shape. A share fit.foreground of the crops is
    centred on a labelled voxel, all classes of the volume alike; the others lie anywhere. Volumes smaller than a crop are
    continued by their edge. Step k of a seed is the same wherever one starts. InputError for no volumes, or another shape.
    """
    _check(images, masks, fit, dims)
    marked = [_marked(mask) for mask in masks]
    step = start_step
    while True:
        random = np.random.default_rng((seed, step))
        pairs = [_one(images, masks, marked, fit, random) for _ in range(fit.batch)]
        x, y = np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])
        yield (x[:, 0][:, None], y[:, 0]) if dims == 2 else (x[:, None], y)
        step += 1


def _one(
    images: Sequence[Pixels],
    masks: Sequence[Pixels],
    marked: Sequence[Sequence[Pixels]],
    fit: FitSpec,
    random: np.random.Generator,
) -> tuple[Pixels, Pixels]:
    which = int(random.integers(len(images)))
    image, mask, classes = images[which], masks[which], marked[which]
    centred = random.random() < fit.foreground and len(classes) > 0
    corner = []
    if centred:
        voxels = classes[int(random.integers(len(classes)))]
        middle = voxels[int(random.integers(len(voxels)))]
    for axis, (side, patch) in enumerate(zip(image.shape, fit.patch, strict=True)):
        room = side - patch
        if centred and room > 0:
            corner.append(int(np.clip(middle[axis] - patch // 2, 0, room)))
        else:
            corner.append(int(random.integers(min(0, room), max(0, room) + 1)))  # negative: continued before and after
    x, y = cut(image, corner, fit.patch), cut(mask, corner, fit.patch)
    turned = flipped(fit, random)
    x, y = np.flip(x, turned), np.flip(y, turned)
    return x, y


def flipped(fit: FitSpec, random: np.random.Generator) -> tuple[int, ...]:
    """Axes of (z, y, x) along which a crop is flipped this time; half of the crops along each that fit.flips names."""
    return tuple(axis for axis, name in enumerate("zyx") if random.random() < 0.5 and name in fit.flips)


def cut(volume: Pixels, corner: Sequence[int], patch: Sequence[int]) -> Pixels:
    """The patch (z, y, x) that begins at corner, continued by the edge's values where it reaches beyond the volume."""
    inside, pad = [], []
    for at, sides, side in zip(corner, patch, volume.shape, strict=True):
        first, last = max(at, 0), min(at + sides, side)
        inside.append(slice(first, last))
        pad.append((first - at, at + sides - last))
    found = volume[tuple(inside)]
    return np.pad(found, pad, mode="edge") if any(map(any, pad)) else found


def _marked(mask: Pixels) -> list[Pixels]:
    """For each class that occurs without background, voxels (n, 3) of it."""
    found = []
    flat = mask.ravel()
    for index in np.unique(flat):
        if index:
            places = np.flatnonzero(flat == index)
            places = places[:: max(1, len(places) // _KEPT)]
            found.append(np.stack(np.unravel_index(places, mask.shape), axis=1))
    return found


def _check(images: Sequence[Pixels], masks: Sequence[Pixels], fit: FitSpec, dims: int) -> None:
    if not images or len(images) != len(masks):
        raise InputError(f"training wants a mask for every image and at least one; got {len(images)} and {len(masks)}")
    if dims == 2 and fit.patch[0] != 1:
        raise InputError(f"training patch = {list(fit.patch)}: of a 2D network the first side is 1, [1, y, x]")
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if image.shape != mask.shape or image.ndim != 3 or not image.size:
            raise InputError(
                f"training image {number} is {image.shape}, its mask {mask.shape}; want the same (z, y, x), not empty"
            )
