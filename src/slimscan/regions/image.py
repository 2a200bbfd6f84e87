"""Regions from the image itself: body, lung, bone and what is not air, by thresholds in real units and by connection.

CT has a scale of its own: air is -1000 HU, water 0. Everything else has none, and Otsu's threshold parts the dark from
the bright; lung and bone cannot be told that way and are refused. Which of both was done is said in `how`.
Planes across the patient are filled, so that the lungs belong to the body; the table is cut off by an opening.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Pixels, Volume
from slimscan.regions.grow import ball, grow
from slimscan.regions.threshold import split

Mask = NDArray[np.bool_]  # (z, y, x)

SKIN_HU = -300.0  # between air (-1000) and fat (-100), nearer to fat: clothes and foam are left out
AIR_HU = -500.0  # half-way between air and water
LUNG_HU = -400.0
GAS_HU = -950.0  # the middle of bowel gas lies below, of lung above
BONE_HU, CORTEX_HU = 200.0, 400.0  # grown from cortex into what is connected to it and at least as dense as spongy bone
TABLE_MM = 4.0  # radius of the opening that cuts a table's shell from the back
LUNG_ML, BONE_ML = 20.0, 1.0  # smaller pieces are none
PART = 0.005  # of the largest piece: arms beside the body
HOLLOW = 0.5  # of the outline: what an opening takes more of is a shell, and is kept whole
MARROW_MM2 = 2500.0  # holes in a plane of bone; the brain inside the skull is none
VESSEL_MM2 = 500.0  # holes in a plane of lung; the heart between both lungs is none
KINDS = {
    "body": "the patient: everything inside the skin, lungs and bowel gas with it, the table left out",
    "lung": "air-filled lung with its vessels (CT)",
    "bone": "bone from 200 HU on that is connected to 400 HU, marrow filled (CT; contrast medium may be as dense)",
    "nonair": "everything that is not the air around it: the patient, the table, the coil",
}


@dataclass(frozen=True)
class Found:
    """mask: (z, y, x) bool. how: by what it was found, with thresholds and units."""

    mask: Mask
    how: str


def scale_of(volume: Volume, asked: str = "") -> tuple[str, str]:
    """("hu" or "otsu", why). asked: "hu" or "otsu" decides; else the unit, the modality, and at last values of -500 and less.

    A NIfTI file does not say that it holds HU; no other kind of image has values like that.
    """
    if asked:
        return asked, "as asked"
    modality = (volume.about.get("dicom") or {}).get("modality", "")
    if volume.unit == "HU" or (modality == "CT" and not volume.unit):
        return "hu", f"the image says {volume.unit or modality}"
    if modality or volume.unit:
        return "otsu", f"the image says {modality or volume.unit}"
    planes = (volume.slices(z, z + 1) for z in range(volume.shape[0]))
    low = min(float((plane.min() if volume.slope > 0 else plane.max()) * volume.slope) for plane in planes)
    low += volume.intercept
    if low <= -500:
        return "hu", f"values begin at {low:g}"
    return "otsu", f"values begin at {low:g} and no unit is given"


def find(volume: Volume, kind: str, asked: str = "") -> Found:
    """The region of that kind; asked: "hu" or "otsu" overrides what the image says of its scale.

    volume: (z, y, x), or (z, y, x, c), whose samples are averaged. InputError: an unknown kind, lung or bone without HU, and
    a kind that is not in the image.
    """
    what = volume.source or "image"
    if kind not in KINDS:
        raise InputError(f'image:{kind}: "{kind}" is not known; allowed: {", ".join(KINDS)}')
    if asked not in ("", "hu", "otsu"):
        raise InputError(f'image:{kind},{asked}: "{asked}" is not known; allowed: hu, otsu, or nothing')
    scale, why = scale_of(volume, asked)
    if kind in ("lung", "bone") and scale != "hu":
        raise InputError(
            f"{what}: image:{kind} needs a CT in HU, and {why}; give a mask, or image:{kind},hu when the values are HU"
        )
    if scale == "hu":
        skin, air = SKIN_HU, AIR_HU
        said = f"HU ({why})"
    else:
        skin = air = _otsu(volume)
        said = f"Otsu's threshold {skin:.6g} ({why})"
    if kind == "nonair":
        solid = _above(volume, air)
        mask = _fill(_largest(solid, 0.0, least=27), volume)
        return Found(_some(mask, what, kind, air, scale), f"above {air:g}, {said}, holes filled in planes")
    body = _body(_above(volume, skin), volume, scale)
    if kind == "body":
        opened = f", opened by {TABLE_MM:g} mm" if scale == "hu" else ""
        said = f"above {skin:g}, {said}{opened}, largest pieces, holes filled in planes"
        return Found(_some(body, what, kind, skin, scale), said)
    _some(body, what, "body", skin, scale)
    return _lung(volume, body, what, said) if kind == "lung" else _bone(volume, body, what, said)


def _body(solid: Mask, volume: Volume, scale: str) -> Mask:
    outline = _fill(_largest(solid, PART if scale == "otsu" else 1.0), volume)
    if scale == "otsu":
        return _largest(outline, PART)  # no table is seen, and dark tissue inside may lie below the threshold
    kernel = ball(TABLE_MM, _across(volume))
    core = _largest(~grow(~solid, kernel), PART)  # outside the image counts as inside: a patient may be cut off
    opened = solid & grow(
        core, ball(2 * TABLE_MM, _across(volume))
    )  # fingers and ears come back, a long table does not
    body = _fill(_largest(opened, PART), volume)
    return body if np.count_nonzero(body) >= HOLLOW * np.count_nonzero(outline) else outline


def _lung(volume: Volume, body: Mask, what: str, said: str) -> Found:
    from scipy import ndimage

    airy = body & ~_above(volume, LUNG_HU)
    pieces, count = ndimage.label(airy)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * abs(_voxel_mm3(volume)) / 1000
    keep = np.zeros(count + 1, bool)
    places = ndimage.find_objects(pieces)
    for number in np.flatnonzero(sizes >= LUNG_ML):
        if number:
            part = places[number - 1]
            piece = pieces[part] == number
            middle = ndimage.binary_erosion(piece)  # without the rim, which is partly tissue
            values = _real(volume, part)[middle if middle.any() else piece]
            keep[number] = float(np.median(values)) > GAS_HU
    mask = keep[pieces]
    del pieces
    mask = _fill(mask | (_closed(mask, 5.0, volume) & body), volume, VESSEL_MM2)
    if not mask.any():
        raise InputError(
            f"{what}: image:lung finds none: no piece of {LUNG_ML:g} mL inside the body lies between {GAS_HU:g} and"
            f" {LUNG_HU:g} HU"
        )
    return Found(mask, f"inside the body, {GAS_HU:g} to {LUNG_HU:g}, {said}, pieces of {LUNG_ML:g} mL, closed by 5 mm")


def _bone(volume: Volume, body: Mask, what: str, said: str) -> Found:
    from scipy import ndimage

    dense = _above(volume, BONE_HU) & body
    pieces, count = ndimage.label(dense, np.ones((3, 3, 3), bool))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * abs(_voxel_mm3(volume)) / 1000
    keep = np.zeros(count + 1, bool)
    keep[np.unique(pieces[_above(volume, CORTEX_HU) & body])] = True
    keep &= sizes >= BONE_ML
    keep[0] = False
    mask = keep[pieces]
    mask = _fill(mask | _closed(mask, 4.0, volume) & body, volume, MARROW_MM2)
    if not mask.any():
        raise InputError(f"{what}: image:bone finds none: no piece of {BONE_ML:g} mL is above {CORTEX_HU:g} HU")
    return Found(
        mask,
        f"above {BONE_HU:g} and connected to {CORTEX_HU:g}, {said}, pieces of {BONE_ML:g} mL, closed by 4 mm, marrow filled",
    )


def _real(volume: Volume, part: tuple[slice, ...]) -> Pixels:
    pixels = volume.slices(part[0].start, part[0].stop)[(slice(None), *part[1:])].astype(np.float64)
    return (pixels.mean(axis=3) if pixels.ndim == 4 else pixels) * volume.slope + volume.intercept


def _by_slice(volume: Volume, function: Callable[[Pixels], Pixels]) -> Mask:
    out = np.empty(volume.shape[:3], bool)
    for z in range(volume.shape[0]):
        plane = volume.slices(z, z + 1)[0]
        out[z] = function(plane.astype(np.float64).mean(axis=2) if plane.ndim == 3 else plane)
    return out


def _above(volume: Volume, real: float) -> Mask:
    stored = (real - volume.intercept) / volume.slope
    return _by_slice(volume, (lambda plane: plane > stored) if volume.slope > 0 else (lambda plane: plane < stored))


def _otsu(volume: Volume) -> float:
    """Otsu's threshold on the histogram of all slices, padding left out, in real units; whole values are counted exactly."""
    ends = [(float(part.min()), float(part.max())) for part in _planes(volume)]
    low, high = min(one for one, _ in ends), max(one for _, one in ends)
    if not np.isfinite(low + high):
        raise InputError(f"{volume.source or 'image'}: holds NaN or infinity; no threshold can be found")
    exact = volume.pixels.dtype.kind in "iu" and high - low <= 65535 and len(volume.shape) == 3
    bins = int(high - low) + 1 if exact else 4096
    counts = np.zeros(bins, np.float64)
    width = 1.0 if exact else max(high - low, np.finfo(float).tiny) / bins
    for part in _planes(volume):
        at = np.minimum(((part - low) / width).astype(np.int64), bins - 1)
        counts += np.bincount(at.ravel(), minlength=bins)
    levels = low + width * (np.arange(bins) + (0 if exact else 1))
    if volume.padding is not None and exact and low <= volume.padding <= high:
        counts[int(volume.padding - low)] = 0
    return (high if np.count_nonzero(counts) < 2 else split(counts, levels)) * volume.slope + volume.intercept


def _planes(volume: Volume) -> Iterator[Pixels]:
    """The planes as float64, one at a time."""
    for z in range(volume.shape[0]):
        plane = volume.slices(z, z + 1)[0].astype(np.float64)
        yield plane.mean(axis=2) if plane.ndim == 3 else plane


def _across(volume: Volume) -> tuple[float, float, float]:
    """Spacing (z, y, x) for kernels in planes across the patient: along the patient no voxel is near."""
    spacing = list(volume.spacing_mm)
    spacing[_long_axis(volume)] = 1e6
    return spacing[0], spacing[1], spacing[2]


def _long_axis(volume: Volume) -> int:
    """The array axis (z, y, x) that runs most along the patient, from feet to head (RAS+ z)."""
    turn = np.asarray(volume.affine_mm, np.float64)[2, :3] / np.asarray(volume.spacing_mm)[::-1]
    return 2 - int(np.argmax(np.abs(turn)))


def _voxel_mm3(volume: Volume) -> float:
    return float(np.linalg.det(np.asarray(volume.affine_mm, np.float64)[:3, :3]))


def _closed(mask: Mask, radius_mm: float, volume: Volume) -> Mask:
    """Closing by a disk in planes across the patient."""
    kernel = ball(radius_mm, _across(volume))
    return ~grow(~grow(mask, kernel), kernel)


def _largest(mask: Mask, share: float, least: int = 1) -> Mask:
    """Pieces (6 neighbours) of at least `share` of the largest and `least` voxels."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    keep = (sizes >= share * sizes.max()) & (sizes >= least)
    keep[0] = False
    return np.asarray(keep[pieces])


def _fill(mask: Mask, volume: Volume, most_mm2: float = np.inf) -> Mask:
    """Holes of at most that area filled in every plane across the patient.

    A hole is what cannot be reached from the plane's edge without crossing the mask.
    """
    from scipy import ndimage

    out = mask.copy()
    axis = _long_axis(volume)
    pixel_mm2 = float(np.prod(volume.spacing_mm)) / volume.spacing_mm[axis]
    for plane in np.moveaxis(out, axis, 0):
        if not plane.any():
            continue
        holes, count = ndimage.label(~plane)
        if count:
            stays = np.bincount(holes.ravel()) * pixel_mm2 > most_mm2
            stays[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = True
            stays[0] = False
            np.copyto(plane, ~stays[holes])
    return out


def _some(mask: Mask, what: str, kind: str, threshold: float, scale: str) -> Mask:
    if not mask.any():
        unit = " HU" if scale == "hu" else ""
        raise InputError(
            f"{what}: image:{kind} finds nothing above {threshold:g}{unit}; the image is empty, or give a mask"
        )
    return mask
