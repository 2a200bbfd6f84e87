"""Growing: grey dilation by an ellipsoid in voxels or a ball in mm, exact, a few slices at a time.

Luu 2021 (III.C) dilates the liver's probability map "with a circular kernel of 30x30x1 voxels", then sets what is larger
than 0.75 to 1. Dilation by a flat kernel is the largest weight under it; for a mask that is the usual dilation. The
kernel is taken apart into disks, one a slice, and a disk into chords along x that grow by one voxel at a time, so that a
disk of radius r costs about 4 r passes over a slice instead of 3 r^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Lazy

Weights = NDArray[Any]  # (z, y, x) bool, or float32 in 0..1
_EDGE = 1e-9  # of the radius: voxels on the edge of the kernel belong to it, however the spacing was rounded


@dataclass(frozen=True, slots=True)
class Kernel:
    """A flat kernel, symmetric in all axes. chords[dz][dy]: how far the chord at that distance reaches along x, -1: not at all.

    text: as people wrote it, with its unit.
    """

    chords: tuple[tuple[int, ...], ...]
    text: str

    @property
    def reach(self) -> int:
        """Slices that it reaches up and down."""
        return len(self.chords) - 1

    def array(self) -> NDArray[np.bool_]:
        """The kernel as an array (z, y, x), for looking at it."""
        rows = max(len(disk) for disk in self.chords) - 1
        columns = max(max(disk) for disk in self.chords)
        out = np.zeros((2 * self.reach + 1, 2 * rows + 1, 2 * columns + 1), bool)
        for dz, disk in enumerate(self.chords):
            for dy, half in enumerate(disk):
                for z in {self.reach - dz, self.reach + dz}:
                    for y in {rows - dy, rows + dy}:
                        out[z, y, columns - half : columns + half + 1] = half >= 0
        return out


def ellipsoid(voxels: tuple[float, float, float]) -> Kernel:
    """The kernel of these diameters in voxels (z, y, x): offsets d with the sum of (2 d / diameter)^2 at most 1.

    A diameter of 1 reaches no neighbour, 3 one to each side, 30 fifteen (31 voxels: a kernel has a middle). InputError
    below 1 and above 1001.
    """
    if not all(1 <= side <= 1001 for side in voxels):
        raise InputError(f"grow {_sides(voxels)} voxels: a kernel's diameters are 1 to 1001 voxels each, as in 30x30x1")
    return _kernel(tuple(side / 2 for side in voxels), f"{_sides(voxels)} voxels (x, y, z)")


def ball(radius_mm: float, spacing_mm: tuple[float, float, float]) -> Kernel:
    """The kernel of all voxel centres at most `radius_mm` away; spacing_mm (z, y, x).

    InputError for a radius below 0, or one of more than 500 voxels.
    """
    if not (radius_mm >= 0 and np.isfinite(radius_mm)):
        raise InputError(f"grow {radius_mm:g} mm: want a radius of 0 mm or more")
    voxels = tuple(max(radius_mm / step, 1e-3) for step in spacing_mm)
    if max(voxels) > 500:
        raise InputError(
            f"grow {radius_mm:g} mm: is {max(voxels):.0f} voxels of this image; allowed: 500; ask for less"
        )
    return _kernel(voxels, f"{radius_mm:g} mm")


def parse(text: str, spacing_mm: tuple[float, float, float]) -> Kernel:
    """The kernel that "30x30x1" (diameters along x, y, z in voxels) or "10mm" (a radius) names; InputError otherwise."""
    said = text.strip().lower().replace(" ", "")
    try:
        if said.endswith("mm"):
            return ball(float(said[:-2]), spacing_mm)
        x, y, z = (float(part) for part in said.removesuffix("voxels").split("x"))
    except ValueError:
        raise InputError(
            f'grow "{text}": want diameters in voxels along x, y and z such as 30x30x1, or a radius such as 10mm'
        ) from None
    return ellipsoid((z, y, x))


def grow(weight: Weights | Lazy, kernel: Kernel, start: int = 0, stop: int | None = None) -> Weights:
    """Slices start..stop-1 of the dilated weight, of its type; outside the image nothing is.

    weight: (z, y, x) bool, or float32 without NaN and not below 0; slices up to `kernel.reach` away are read.
    """
    depth = int(weight.shape[0])
    stop = depth if stop is None else min(stop, depth)
    out = np.zeros((max(0, stop - start), *weight.shape[1:]), weight.dtype)
    for z in range(max(0, start - kernel.reach), min(depth, stop + kernel.reach)):
        plane = np.asarray(weight[z : z + 1])[0]
        if not plane.any():
            continue
        view = plane.view(np.uint8) if plane.dtype == np.bool_ else plane
        into = out.view(np.uint8) if out.dtype == np.bool_ else out
        for dz, disk in enumerate(kernel.chords):
            places = [at for at in {z - dz, z + dz} if start <= at < stop]
            if places:
                rows, columns, grown = _disk(view, disk)
                for at in places:
                    part = into[at - start, rows, columns]
                    np.maximum(part, grown, out=part)
    return out


def above(weight: Weights, threshold: float) -> Weights:
    """The weight with 1 wherever it is larger than `threshold` (Luu 2021: 0.75); a mask stays as it is."""
    if weight.dtype == np.bool_:
        return weight
    return np.where(weight > np.float32(threshold), np.float32(1), weight).astype(np.float32, copy=False)


def grown(weight: Weights | Lazy, kernel: Kernel | None, threshold: float) -> Callable[[int, int], Weights]:
    """A function (start, stop) that gives slices of the weight, dilated, then set to 1 above the threshold, in this order."""

    def load(start: int, stop: int) -> Weights:
        part = np.asarray(weight[start:stop]) if kernel is None else grow(weight, kernel, start, stop)
        return above(part, threshold)

    return load


def _disk(plane: Weights, chords: tuple[int, ...]) -> tuple[slice, slice, Weights]:
    """Where the plane (y, x) dilated by one disk is not 0, and what stands there."""
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    high, wide = plane.shape
    reach = max(dy for dy, half in enumerate(chords) if half >= 0)
    top, bottom = max(0, int(rows[0]) - reach), min(high, int(rows[-1]) + reach + 1)
    left, right = max(0, int(columns[0]) - chords[0]), min(wide, int(columns[-1]) + chords[0] + 1)
    source = np.ascontiguousarray(plane[int(rows[0]) : int(rows[-1]) + 1, left:right])
    out = np.zeros((bottom - top, right - left), plane.dtype)
    first, last = int(rows[0]) - top, int(rows[0]) - top + len(source)  # where the source's rows lie in `out`
    wider, half = source.copy(), 0
    for dy in range(reach, -1, -1):
        while half < chords[dy]:
            half += 1
            np.maximum(wider[:, half:], source[:, :-half], out=wider[:, half:])
            np.maximum(wider[:, :-half], source[:, half:], out=wider[:, :-half])
        for shift in {-dy, dy}:
            low, end = max(0, first + shift), min(len(out), last + shift)
            if low < end:
                part = wider[low - first - shift : end - first - shift]
                np.maximum(out[low:end], part, out=out[low:end])
    return slice(top, bottom), slice(left, right), out


def _kernel(radii: tuple[float, ...], text: str) -> Kernel:
    rz, ry, rx = radii
    disks = []
    for dz in range(int(np.floor(rz * (1 + _EDGE))) + 1):
        disk = []
        for dy in range(int(np.floor(ry * (1 + _EDGE))) + 1):
            rest = 1.0 - (dz / rz) ** 2 - (dy / ry) ** 2
            if rest < -2 * _EDGE:
                break
            disk.append(int(np.floor(rx * np.sqrt(max(rest, 0.0)) * (1 + _EDGE) + _EDGE)))
        disks.append(tuple(disk))
    return Kernel(tuple(disks), text)


def _sides(voxels: tuple[float, float, float]) -> str:
    return "x".join(f"{side:g}" for side in voxels[::-1])
