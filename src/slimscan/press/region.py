"""A region written as a mask, with what it covers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import files
from slimscan.errors import CheckFailed, InputError
from slimscan.files.lazy import Slices
from slimscan.nouns import Region, Volume
from slimscan.press.open import lazy
from slimscan.press.outputs import kind_of
from slimscan.press.staging import admit_output, staged
from slimscan.press.where import THRESHOLD, TIMEOUT_S, region_of

SUFFIXES = ".nii .nii.gz .mha .nrrd"


def write_region(
    spec: str,
    image: str | Path | Volume,
    output: str | Path | None = None,
    *,
    grow: str = "",
    threshold: float = THRESHOLD,
    timeout: float = TIMEOUT_S,
    force: bool = False,
    untrusted: bool = False,
) -> dict[str, Any]:
    """Find the region that `spec` names on the image, and write it: uint8 0 and 1, or float32 probabilities.

    output: .nii .nii.gz .mha .nrrd, or None to measure only. Returns {output, spec, kind, name, how, threshold, grow,
    shape (z, y, x), voxels, inside, part, fraction, slices, slices_inside, millilitres}. Errors as `region_of`;
    OutputError for the destination; CheckFailed when what was read back is not the region.
    """
    if output is not None:
        if kind_of(output) != "pixels":
            raise InputError(
                f"{output}: a region goes into {SUFFIXES}; `slimscan dicom seg` writes a DICOM Segmentation"
            )
        admit_output(Path(output), force, None if isinstance(image, Volume) else Path(image))
    volume = image if isinstance(image, Volume) else lazy(image, untrusted)
    region = region_of(spec, volume, grow=grow, threshold=threshold, timeout=timeout, untrusted=untrusted)
    if output is not None:
        with staged(Path(output), force) as stage:
            mask = as_volume(region, volume)
            files.write(mask, stage.path)
            back = files.read(stage.path)
            if not all(np.array_equal(back.slices(z, z + 1), mask.slices(z, z + 1)) for z in range(mask.shape[0])):
                raise CheckFailed(
                    f"{output}: what was read back is not the region; nothing was written, please report it"
                )
    return {"output": None if output is None else str(output), **region.about, "shape": list(region.shape)}


def as_volume(region: Region, volume: Volume) -> Volume:
    """The region as an image on the grid of the volume: uint8 0 and 1, or float32 in 0..1."""
    mask = np.dtype(region.weight.dtype) == np.bool_
    dtype = np.dtype(np.uint8 if mask else np.float32)
    pixels = Slices(region.shape, dtype, lambda start, stop: np.asarray(region.weight[start:stop]).astype(dtype))
    about = {"frames": volume.about["frames"]} if "frames" in volume.about else {}
    made = Volume(pixels, volume.affine_mm, dtype.itemsize * 8, about=about, source=region.source)
    return replace(made, pixels=pixels[0 : region.shape[0]])
