"""Attributes of a data set as plain, checked values: numbers, planes in space, scales and padding.

Clauses are of DICOM PS3.3. Attributes of a multi-frame image stand in its functional groups, those of a classic one in
the data set itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimscan.errors import NotReadable
from slimscan.files.dicom.geometry import Plane
from slimscan.files.guard import one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def whole(path: Path, found: Any, keyword: str) -> int | None:
    """A whole number, None when absent or empty; NotReadable for anything else."""
    value = found.get(keyword)
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise NotReadable(f"{path}: {keyword} is {one_line(ValueError(value))}; want one whole number") from None


def numbers(path: Path, found: Any, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """The values of a decimal attribute, None when absent or empty; NotReadable for text or another count."""
    value = found.get(keyword)
    if value is None or value == "":
        return None
    try:
        values = tuple(float(v) for v in ([value] if isinstance(value, (int, float, str)) else value))
    except (TypeError, ValueError):
        raise NotReadable(f"{path}: {keyword} is {one_line(ValueError(value))}; want numbers") from None
    if not values:
        return None
    if (count is not None and len(values) != count) or not all(abs(v) < float("inf") for v in values):
        raise NotReadable(f"{path}: {keyword} is {one_line(ValueError(values))}; want {count or 'finite'} number(s)")
    return values


def words(found: Any, keyword: str) -> tuple[str, ...]:
    """The values of a text attribute; none when it is absent."""
    value = found.get(keyword)
    return () if value is None or value == "" else (value,) if isinstance(value, str) else tuple(map(str, value))


def planes(path: Path, found: Any, frames: int) -> tuple[Plane, ...] | None:
    """One plane a frame, None when any frame has no place in space. NotReadable for impossible values."""
    if "PerFrameFunctionalGroupsSequence" in found:
        groups = list(found.PerFrameFunctionalGroupsSequence)
        if len(groups) != frames:
            raise NotReadable(f"{path}: NumberOfFrames says {frames}, the functional groups describe {len(groups)}")
        shared = next(iter(found.get("SharedFunctionalGroupsSequence") or []), None)
        planes = [_frame_plane(path, k, group, shared) for k, group in enumerate(groups)]
        return tuple(plane for plane in planes if plane) if all(planes) else None
    plane = _plane(path, path.name, found, found, found)
    if plane is None or frames == 1:
        return None if plane is None else (plane,)
    offsets = numbers(path, found, "GridFrameOffsetVector")  # a dose grid, C.8.8.3.2
    if offsets is None or len(offsets) != frames or offsets[0] != 0:
        return None
    origin, normal = plane.position, plane.normal
    return tuple(
        Plane(
            f"{path.name} frame {k + 1}",
            (origin[0] + d * normal[0], origin[1] + d * normal[1], origin[2] + d * normal[2]),
            plane.along_row,
            plane.along_column,
            plane.spacing,
        )
        for k, d in enumerate(offsets)
    )


def _frame_plane(path: Path, k: int, group: Dataset, shared: Dataset | None) -> Plane | None:
    def macro(keyword: str) -> Any:
        for place in (group, shared):
            items = place.get(keyword) if place is not None else None
            if items:
                return items[0]
        return {}

    position, turn, sizes = (
        macro(f"{name}Sequence") for name in ("PlanePosition", "PlaneOrientation", "PixelMeasures")
    )
    return _plane(path, f"{path.name} frame {k + 1}", position, turn, sizes)


def _plane(path: Path, name: str, position: Any, turn: Any, sizes: Any) -> Plane | None:
    where = numbers(path, position, "ImagePositionPatient", 3)
    cosines = numbers(path, turn, "ImageOrientationPatient", 6)
    spacing = numbers(path, sizes, "PixelSpacing", 2)
    if where is None or cosines is None or spacing is None:
        return None
    row, column = cosines[:3], cosines[3:]
    lengths = [
        sum(a * a for a in row),
        sum(a * a for a in column),
        abs(sum(a * b for a, b in zip(row, column, strict=True))),
    ]
    if not (abs(lengths[0] - 1) < 0.01 and abs(lengths[1] - 1) < 0.01 and lengths[2] < 0.01) or min(spacing) <= 0:
        raise NotReadable(
            f"{path}: ImageOrientationPatient {cosines} or PixelSpacing {spacing} is impossible:"
            " want two unit vectors at a right angle, and positive mm"
        )
    gap = numbers(path, sizes, "SpacingBetweenSlices", 1) or numbers(path, sizes, "SliceThickness", 1)
    thickness = abs(gap[0]) if gap and gap[0] else None
    return Plane(name, (where[0], where[1], where[2]), row, column, (spacing[0], spacing[1]), thickness)  # type: ignore[arg-type]


def spacing(path: Path, found: Any) -> tuple[tuple[float, float] | None, str]:
    """(between rows, between columns) in mm of an image without place in space, and the attribute that said so."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = numbers(path, found, keyword, 2)
        if values and min(values) > 0:
            return (values[0], values[1]), keyword
    return None, ""


def rescale(path: Path, found: Any, sop_class: str) -> tuple[tuple[float, float, str], ...]:
    """(slope, intercept, unit) of every frame, or one for all; a CT without RescaleType is in HU (C.8.2.1.1.2)."""
    from pydicom.uid import CTImageStorage

    def one(place: Any) -> tuple[float, float, str]:
        slope, intercept = numbers(path, place, "RescaleSlope", 1), numbers(path, place, "RescaleIntercept", 1)
        unit = str(place.get("RescaleType", "") or ("HU" if slope and sop_class == CTImageStorage else ""))
        return (slope[0] if slope else 1.0), (intercept[0] if intercept else 0.0), "" if unit == "US" else unit

    grid = numbers(path, found, "DoseGridScaling", 1)
    if grid:
        return ((grid[0], 0.0, str(found.get("DoseUnits", ""))),)
    if "PerFrameFunctionalGroupsSequence" not in found:
        return (one(found),)
    shared: Any = next(iter(found.get("SharedFunctionalGroupsSequence") or []), {})
    sequences = [
        group.get("PixelValueTransformationSequence") or shared.get("PixelValueTransformationSequence")
        for group in found.PerFrameFunctionalGroupsSequence
    ]
    return tuple(one(items[0]) if items else one(found) for items in sequences)


def padding(found: Any, keyword: str, allocated: int, stored: int, signed: bool) -> int | None:
    """PixelPaddingValue as a stored value; it is written as US or SS, and not always as the one that fits the pixels."""
    try:
        value = int(found.get(keyword))
    except (TypeError, ValueError):
        return None
    if signed and value >= 1 << (allocated - 1):
        value -= 1 << allocated
    if not signed and value < 0:
        value += 1 << allocated
    low = -(1 << (stored - 1)) if signed else 0
    return value if low <= value < low + (1 << stored) else None
