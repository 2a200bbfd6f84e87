"""RT Structure Sets in (PS3.3 A.19, C.8.8.5, C.8.8.6): the contours of one region become a mask on a series' voxels.

A voxel belongs to a region when its centre lies inside by the even-odd rule over all contours of its plane (crossing
number: Shimrat, CACM 5(8), 1962), or on a contour: "points in space lying along the path defined by the contour are
considered to be part of the ROI" (PS3.3 C.8.8.6.3). Even-odd is what CLOSEDPLANAR_XOR means there, and it opens keyholes,
whose channel is walked in both directions. No voxel is part inside, and nothing is filled in between planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import GeometryError, InputError, NotReadable
from slimscan.files.dicom.geometry import LPS_TO_RAS
from slimscan.files.dicom.open import open_dataset, quiet
from slimscan.files.dicom.seg import sop_class
from slimscan.files.guard import damaged, reading
from slimscan.files.lazy import Slices
from slimscan.nouns import Pixels, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
_OFF_PLANE = 0.25  # of the spacing: a contour nearer to a slice than to the middle between two is on it
_ON_EDGE = 1e-3  # of a voxel: coordinates are written in few digits
_PLANAR = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FORMS = "want CLOSED_PLANAR contours of at least 3 points"

Points = NDArray[np.float64]  # (n, 3), mm, LPS


@dataclass(frozen=True)
class Structure:
    """One region of interest. number, name: as in the file; frame: UID of its frame of reference; contours: (kind, points)."""

    number: int
    name: str
    frame: str
    contours: tuple[tuple[str, Points], ...]


def is_structure_set(head: bytes) -> bool:
    """Whether a DICOM file with these first bytes is an RT Structure Set."""
    return sop_class(head) == STRUCTURES


def structures(path: Path | str) -> tuple[Structure, ...]:
    """The regions in the file, in its order, with their contours in LPS mm. NotReadable: no structure set, or damaged."""
    path = Path(path)
    with reading(path, "DICOM"), quiet():
        found = open_dataset(path)[0]
        if str(found.get("SOPClassUID", "")) != STRUCTURES:
            raise NotReadable(f"{path}: is no RT Structure Set; `slimscan info` says what it is")
        frames = _frames(found)
        contours: dict[int, list[tuple[str, Points]]] = {}
        for one in found.get("ROIContourSequence") or []:
            held = contours.setdefault(int(one.ReferencedROINumber), [])
            held += [_contour(path, item) for item in one.get("ContourSequence") or []]
        out = []
        for one in found.get("StructureSetROISequence") or []:
            number = int(one.ROINumber)
            frame = str(one.get("ReferencedFrameOfReferenceUID", "")) or (frames[0] if len(frames) == 1 else "")
            out.append(Structure(number, str(one.get("ROIName", "")).strip(), frame, tuple(contours.get(number, ()))))
    if not out:
        raise damaged(path, "DICOM", "the structure set names no region")
    return tuple(out)


def read_structures(path: Path | str, numbers: Sequence[int], series: Volume) -> Volume:
    """The union of these regions as a mask, uint8 0 and 1, on the voxels of the series, drawn slice by slice.

    InputError: no such number, a region without contours or of points and lines. GeometryError: another frame of
    reference, or a contour on none of the series' planes, tilted against them, or wholly beside them.
    """
    path = Path(path)
    held = {one.number: one for one in structures(path)}
    flat: dict[int, list[tuple[int, Points]]] = {}
    for number in numbers:
        if number not in held:
            raise InputError(f"{path}: has no region {number}; it has {listed(tuple(held.values()))}")
        one = held[number]
        _same_frame(path, one, series)
        for z, points in _planes(path, one, series):
            flat.setdefault(z, []).append((number, points))
    shape = series.shape[:3]

    def load(start: int, stop: int) -> Pixels:
        out = np.zeros((stop - start, *shape[1:]), np.uint8)
        for z in range(start, stop):
            for number in numbers:
                mine = [points for other, points in flat.get(z, ()) if other == number]
                if mine:
                    out[z - start] |= inside(mine, shape[1:])
        return out

    shown = [{"number": number, "value": 1, "label": held[number].name} for number in numbers]
    return Volume(
        pixels=Slices(shape, np.dtype(np.uint8), load),
        affine_mm=series.affine_mm,
        bits=8,
        about={"segments": shown, "structures": {"frame_of_reference_uid": held[numbers[0]].frame}},
        source=str(path),
    )


def inside(contours: Sequence[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(y, x) True where a pixel's centre is inside (even-odd over all contours) or on a contour.

    contours: (n, 2) of x and y in pixels, the centre of the first pixel is (0, 0); closed by themselves. A contour that
    stands there twice counts once.
    """
    high, wide = shape
    crossed = np.zeros((high, wide + 1), np.uint8)
    touched = np.zeros((high, wide), bool)
    for points in _once(contours):
        x0, y0 = points.T
        x1, y1 = np.roll(points, -1, axis=0).T
        rows, columns = _crossings(x0, y0, x1, y1, high)
        # A centre at x is inside when an odd number of crossings lie left of it.
        first = np.clip(np.ceil(columns), 0, wide).astype(np.int64)
        np.bitwise_xor.at(crossed, (rows, first), 1)
        near = np.rint(columns).astype(np.int64)
        on = (np.abs(columns - near) <= _ON_EDGE) & (near >= 0) & (near < wide)
        touched[rows[on], near[on]] = True
        _touch_ends(touched, x0, y0, x1, y1)
    filled = np.bitwise_xor.accumulate(crossed, axis=1)[:, :wide].astype(bool)
    return np.asarray(filled | touched)


def listed(held: Sequence[Structure], most: int = 12) -> str:
    """Numbers and names for a message."""
    shown = ", ".join(f'{one.number} "{one.name}"' for one in held[:most])
    return shown + (f" and {len(held) - most} more" if len(held) > most else "")


def _crossings(x0: Points, y0: Points, x1: Points, y1: Points, high: int) -> tuple[NDArray[np.int64], Points]:
    """(row, x) wherever an edge crosses the line through the centres of a row; half open, so that corners count once."""
    low, top = np.minimum(y0, y1), np.maximum(y0, y1)
    first = np.clip(np.ceil(low), 0, high).astype(np.int64)
    counts = np.maximum(0, np.clip(np.ceil(top), 0, high).astype(np.int64) - first)
    edge = np.repeat(np.arange(len(x0)), counts)
    rows = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
    share = (rows - y0[edge]) / (y1[edge] - y0[edge])
    return rows, x0[edge] + share * (x1[edge] - x0[edge])


def _touch_ends(touched: NDArray[np.bool_], x0: Points, y0: Points, x1: Points, y1: Points) -> None:
    """Centres under corners and under edges along a row, which no crossing names."""
    high, wide = touched.shape
    row, column = np.rint(y0).astype(np.int64), np.rint(x0).astype(np.int64)
    on = (np.abs(y0 - row) <= _ON_EDGE) & (row >= 0) & (row < high)
    corner = on & (np.abs(x0 - column) <= _ON_EDGE) & (column >= 0) & (column < wide)
    touched[row[corner], column[corner]] = True
    for k in np.flatnonzero(on & (np.abs(y1 - row) <= _ON_EDGE)):
        left, right = sorted((x0[k], x1[k]))
        first, last = int(np.ceil(left - _ON_EDGE)), int(np.floor(right + _ON_EDGE))
        touched[row[k], max(0, first) : max(0, last + 1)] = True


def _once(contours: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    seen: dict[bytes, NDArray[np.float64]] = {}
    for points in contours:
        seen.setdefault(np.round(points, 6).tobytes(), np.asarray(points, np.float64))
    return list(seen.values())


def _planes(path: Path, one: Structure, series: Volume) -> list[tuple[int, Points]]:
    """(slice, points (n, 2) as x and y in voxels) of every contour."""
    what = f'{path}: region {one.number} "{one.name}"'
    if not one.contours:
        raise InputError(f"{what} has no contours; choose another, or draw it")
    to_voxels = np.linalg.inv(series.affine_mm) @ LPS_TO_RAS
    out = []
    depth, high, wide = series.shape[:3]
    beside = 0
    for count, (kind, points) in enumerate(one.contours, 1):
        if kind not in _PLANAR or len(points) < 3:
            raise InputError(f"{what}: contour {count} is {kind or 'of no kind'} with {len(points)} point(s); {_FORMS}")
        voxels = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        z = float(np.median(voxels[:, 2]))
        k = round(z)
        off = np.abs(voxels[:, 2] - k).max()
        if off > _OFF_PLANE:
            tilt = float(np.ptp(voxels[:, 2]))
            why = (
                f"spans {tilt:.2f} slices: it is tilted against the slices"
                if tilt > _OFF_PLANE
                else f"lies {off * series.spacing_mm[0]:.3f} mm off slice {k}"
            )
            raise GeometryError(
                f"{what}: contour {count} {why}; contours must lie on the slices of {series.source or 'the image'} (within"
                f" {_OFF_PLANE * series.spacing_mm[0]:.3g} mm): use the series it was drawn on, or a mask"
            )
        if not 0 <= k < depth:
            raise GeometryError(
                f"{what}: contour {count} lies on slice {k}, the image {series.source} has 0..{depth - 1}; use the series it"
                " was drawn on"
            )
        flat = voxels[:, :2]
        beside += bool((flat.max(axis=0) < -0.5).any() or (flat.min(axis=0) > np.array([wide, high]) - 0.5).any())
        out.append((k, flat))
    if beside == len(out):
        raise GeometryError(f"{what} lies wholly beside the image {series.source}; use the series it was drawn on")
    return out


def _same_frame(path: Path, one: Structure, series: Volume) -> None:
    frame = frame_of(series)
    if one.frame and frame and one.frame != frame:
        raise GeometryError(
            f'{path}: region {one.number} "{one.name}" stands in the frame of reference {one.frame}, the image'
            f" {series.source} in {frame}; use the series it was drawn on, or register and resample it"
        )


def frame_of(series: Volume) -> str:
    """The frame of reference UID of the files that a volume was read from; "" when it has none, or they are gone."""
    dicom: Any = series.about.get("dicom") or {}
    if not dicom.get("files") or not dicom.get("folder"):
        return ""
    file = Path(dicom["folder"]) / dicom["files"][0]
    if not file.is_file():
        return ""
    with reading(file, "DICOM"), quiet():
        return str(open_dataset(file)[0].get("FrameOfReferenceUID", ""))


def _frames(found: Dataset) -> list[str]:
    held = [str(one.get("FrameOfReferenceUID", "")) for one in found.get("ReferencedFrameOfReferenceSequence") or []]
    return held or [str(found.get("FrameOfReferenceUID", ""))]


def _contour(path: Path, item: Dataset) -> tuple[str, Points]:
    numbers = np.array([float(number) for number in item.get("ContourData") or []], np.float64)
    if len(numbers) % 3 or not np.isfinite(numbers).all():
        raise damaged(path, "DICOM", f"a contour of {len(numbers)} numbers, want finite triplets")
    return str(item.get("ContourGeometricType", "")), numbers.reshape(-1, 3)
