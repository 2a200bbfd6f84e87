"""A branching vessel tree drawn into voxels, and a second reading of it: known shapes for tests and benchmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def vessel_tree(shape: tuple[int, int, int] = (300, 300, 200), radius: float = 4.0, seed: int = 0) -> Mask:
    """A tree of tubes that bends and forks until its branches are a voxel wide; about 1 % of the volume.

    Children share their parent's flow by Murray's law (r^3 = r1^3 + r2^3); a branch is about 22 radii long.
    """
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    start = np.array([2.0, shape[1] / 2, shape[2] / 2])
    branches = [(start, np.array([1.0, 0.0, 0.0]), radius)]
    while branches:
        place, heading, r = branches.pop()
        for _ in range(int(22 * r) + 10):
            heading = heading + rng.normal(0, 0.08, 3)
            heading /= np.linalg.norm(heading)
            ahead = place + heading
            for axis in range(3):  # a wall turns the vessel back, as an organ's surface does
                if not r + 1 <= ahead[axis] <= shape[axis] - 2 - r:
                    heading[axis] = -heading[axis]
            place = np.clip(place + heading, 0, np.array(shape) - 1.0)
            _ball(mask, place, r)
        if r > 0.8:
            share = rng.uniform(0.3, 0.7)
            across = np.cross(heading, rng.normal(size=3))
            across /= np.linalg.norm(across)
            for part, side in ((share, 1.0), (1 - share, -1.0)):
                branches.append((place, heading + side * 0.7 * across, r * part ** (1 / 3)))
    return mask


def second_reading(mask: Mask, seed: int = 1) -> Mask:
    """The mask as another reader draws it: moved by a voxel in places, frayed at its border, a few branches missed."""
    rng = np.random.default_rng(seed)
    found = mask.copy()
    depth = mask.shape[0]
    found[depth // 3 : depth // 2] = np.roll(found[depth // 3 : depth // 2], 1, axis=1)
    found &= rng.random(mask.shape) > 0.03
    a, b = (np.sort(rng.integers(0, side, 2)) for side in mask.shape[1:])
    found[depth // 2 :, a[0] : a[0] + 20, b[0] : b[0] + 20] = False
    found[5, 5, 5] = True
    return found


def _ball(mask: Mask, centre: NDArray[np.float64], radius: float) -> None:
    low = np.maximum(np.floor(centre - radius).astype(int), 0)
    high = np.minimum(np.ceil(centre + radius).astype(int) + 1, mask.shape)
    grid = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    inside = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= max(radius, 0.87) ** 2
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= inside
