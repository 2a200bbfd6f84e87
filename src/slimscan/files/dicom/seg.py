"""DICOM Segmentations in (PS3.3 A.51, C.8.20): frames of segments become one label map, or one segment a mask.

BINARY has a bit a voxel and a frame for every slice of every segment, empty ones left out; FRACTIONAL a byte; LABELMAP
(PS3.3 A.51, SOP class .66.7) a number a voxel. Frames are found by their place in space, slices without one are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.files.dicom.segframes import Held
from slimscan.files.dicom.segheader import LABELMAP, SEGMENTATION, open_segmentation
from slimscan.files.lazy import Slices
from slimscan.nouns import Pixels, Volume


def sop_class(head: bytes) -> str:
    """The class that the first bytes of a DICOM file name, "" when they name none."""
    for mark in (b"\x02\x00\x02\x00UI", b"\x08\x00\x16\x00UI"):
        at = head.find(mark)
        if at >= 0:
            size = int.from_bytes(head[at + 6 : at + 8], "little")
            return head[at + 8 : at + 8 + size].rstrip(b"\0 ").decode("ascii", "replace")
    return ""


def is_segmentation(head: bytes) -> bool:
    """Whether a DICOM file with these first bytes is a segmentation."""
    return sop_class(head) in (SEGMENTATION, LABELMAP)


def read(path: Path) -> Volume:
    """A label map (z, y, x) of uint8 or uint16, 0 where no segment is; a FRACTIONAL segment as uint8, slope 1 / maximum.

    about["segments"]: one {number, value, label, category, type, side, algorithm} a segment; value is what its voxels
    hold here. about["segmentation"]: {kind, label, series_uid, sop_uid, study_uid, frame_of_reference_uid, of_series}.
    InputError: segments that overlap, named, with the way to take one; several FRACTIONAL segments; lossy pixels.
    GeometryError: frames without place, or on no regular grid. NotReadable: a damaged file.
    """
    held = open_segmentation(path)
    if held.kind == "FRACTIONAL":
        if len(held.segments) > 1:
            raise InputError(
                f"{path}: holds {len(held.segments)} FRACTIONAL segments, one image holds one; {_take(held)}"
            )
        return _volume(held, np.dtype(np.uint8), lambda out, k: np.copyto(out, held.frame(k)), range(len(held.slices)))
    values = {segment.number: segment.value for segment in held.segments}
    dtype = np.dtype(np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    if held.kind == "LABELMAP":
        names = np.arange(65536 if held.head and held.head.allocated == 16 else 256)
        names[list(values)] = list(values.values())
        return _volume(
            held,
            _least(held, dtype),
            lambda out, k: np.copyto(out, names[held.frame(k)], "unsafe"),
            range(len(held.slices)),
        )
    numbers = {segment.value: segment.number for segment in held.segments}

    def add(out: Pixels, k: int) -> None:
        voxels = held.frame(k).astype(bool, copy=False)
        met = out[voxels]
        if met.any():
            other = numbers[int(met[met > 0][0])]
            raise InputError(
                f"{path}: segments {_named(held, other)} and {_named(held, held.numbers[k])} overlap in"
                f" {int(np.count_nonzero(met))} voxels of slice {held.slices[k]}, and a label map holds one a voxel;"
                f" {_take(held)}"
            )
        out[voxels] = values[held.numbers[k]]

    found = _volume(held, dtype, add, range(len(held.slices)))
    if not held.disjoint:  # the file does not say that nothing overlaps: look now, not when pixels are asked for
        counts = np.bincount(held.slices, minlength=held.shape[0])
        for z in np.flatnonzero(counts > 1):
            found.slices(int(z), int(z) + 1)
    return found


def read_segment(path: Path | str, number: int) -> Volume:
    """One segment, overlapping others or not: uint8, 0 and 1, on the grid of the whole file; FRACTIONAL as in `read`.

    InputError naming the segments that there are when there is no such number.
    """
    held = open_segmentation(Path(path))
    if number not in {segment.number for segment in held.segments}:
        raise InputError(f"{path}: has no segment {number}; it has {_listed(held)}")
    mine = [k for k in range(len(held.slices)) if held.kind == "LABELMAP" or held.numbers[k] == number]

    def add(out: Pixels, k: int) -> None:
        pixels = held.frame(k)
        np.copyto(out, pixels == number if held.kind == "LABELMAP" else pixels, "unsafe")

    found = _volume(held, np.dtype(np.uint8), add, mine)
    only = next(segment for segment in held.segments if segment.number == number)
    return replace(found, about={**found.about, "segments": [replace(only, value=1).plain()]})


def _volume(held: Held, dtype: Any, add: Callable[[Pixels, int], None], frames: Sequence[int]) -> Volume:
    at: dict[int, list[int]] = {}
    for k in frames:
        at.setdefault(held.slices[k], []).append(k)

    def load(start: int, stop: int) -> Pixels:
        out = np.zeros((stop - start, *held.shape[1:]), dtype)
        for z in range(start, stop):
            for k in at.get(z, ()):
                add(out[z - start], k)
        return out

    return Volume(
        pixels=Slices(held.shape, np.dtype(dtype), load),
        affine_mm=held.affine_mm,
        bits=8 * np.dtype(dtype).itemsize,
        slope=1.0 / held.top if held.kind == "FRACTIONAL" else 1.0,
        about={"segments": [segment.plain() for segment in held.segments], "segmentation": held.facts},
        source=str(held.path),
    )


def _least(held: Held, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A label map may hold numbers that no segment describes (a background of 65535): its own type holds them all."""
    assert held.head is not None
    return max(dtype, np.dtype(held.head.dtype), key=lambda one: one.itemsize)


def _named(held: Held, number: int) -> str:
    return f'{number} "{next((one.label for one in held.segments if one.number == number), "")}"'


def _listed(held: Held) -> str:
    shown = ", ".join(_named(held, segment.number) for segment in held.segments[:6])
    return shown + (f" and {len(held.segments) - 6} more" if len(held.segments) > 6 else "")


def _take(held: Held) -> str:
    return f"it has {_listed(held)}; take one: slimscan dicom take {held.path} --segment N -o OUT.nii.gz"
