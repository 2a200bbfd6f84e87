"""Masks as DICOM Segmentations there and back: read, written beside its place, read again and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slimscan import files
from slimscan.errors import CheckFailed, InputError
from slimscan.files.dicom import seg, segwrite
from slimscan.nouns import Volume
from slimscan.press.open import lazy, read
from slimscan.press.outputs import kind_of
from slimscan.press.staging import admit_output, staged


def write_segmentation(
    mask: str | Path | Volume,
    series: str | Path,
    output: str | Path,
    *,
    labels: Mapping[int, Any] | None = None,
    kind: str = "auto",
    packing: str = "none",
    algorithm: tuple[str, str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write the mask as a DICOM Segmentation of the series, read it back, and say what was measured.

    labels: label -> name, or a table as in a labels file (segterms.given). kind: auto, binary, labelmap, fractional.
    packing: none, deflate, rle. algorithm: (MANUAL | SEMIAUTOMATIC | AUTOMATIC, name). Returns {output, kind, packing,
    segments, frames, shape (z, y, x), raw_bytes, file_bytes, ratio, largest_rounding, identical}.

    InputError, GeometryError, MissingExtra, OutputError before anything stands at output; CheckFailed when what was read
    back is not the mask, and nothing is left there then either.
    """
    place = Path(output)
    admit_output(place, force, None if isinstance(mask, Volume) else Path(mask))
    admit_output(place, force, Path(series))
    drawn = mask if isinstance(mask, Volume) else read(mask)
    below = lazy(series)
    with staged(place, force) as stage:
        done = segwrite.write(
            drawn,
            below,
            stage.path,
            labels=labels,
            kind=kind,  # type: ignore[arg-type] # checked there
            packing=packing,
            algorithm=algorithm,
        )
        back = files.read(stage.path)
        off = float(np.abs(back.affine_mm - below.affine_mm).max()) if back.shape == done.values.shape else np.inf
        if off > 1e-3 or not np.array_equal(back.slices(0, back.shape[0]), done.values):
            raise CheckFailed(f"{output}: what was read back is not the mask; nothing was written, please report it")
        size = stage.path.stat().st_size
    return {
        "output": str(output),
        "kind": done.kind,
        "packing": packing,
        "segments": [segment.plain() for segment in done.segments],
        "frames": done.frames,
        "shape": list(done.values.shape),
        "raw_bytes": done.values.nbytes,
        "file_bytes": size,
        "ratio": done.values.nbytes / size,
        "largest_rounding": done.worst,
        "identical": True,
    }


def take_segment(source: str | Path, number: int, output: str | Path, *, force: bool = False) -> dict[str, Any]:
    """Write one segment of a DICOM Segmentation as a mask of 0 and 1, or as a probability map.

    output: .nii .nii.gz .mha .nrrd. Returns {output, segments (the one), shape, voxels (that are not 0)}. InputError: no
    segmentation, no such segment, another kind of output.
    """
    place, origin = Path(output), Path(source)
    if kind_of(output) != "pixels":
        raise InputError(f"{output}: one segment goes into .nii, .nii.gz, .mha or .nrrd")
    admit_output(place, force, origin)
    if not (origin.is_file() and seg.is_segmentation(files.guard.read_head(origin))):
        raise InputError(f"{source}: is no DICOM Segmentation file; `slimscan info` says what it is")
    found = seg.read_segment(origin, number)
    with staged(place, force) as stage:
        files.write(found, stage.path)
    return {
        "output": str(output),
        "segments": found.about["segments"],
        "shape": list(found.shape),
        "voxels": int(np.count_nonzero(found.slices(0, found.shape[0]))),
    }
