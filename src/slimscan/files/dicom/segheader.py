"""The header of a DICOM Segmentation as plain values, checked before a voxel is touched (PS3.3 A.51, C.8.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimscan import child
from slimscan.errors import GeometryError, InputError, NotReadable
from slimscan.files.dicom import attributes, seggrid
from slimscan.files.dicom import place as place_of
from slimscan.files.dicom.geometry import Plane
from slimscan.files.dicom.header import header
from slimscan.files.dicom.open import open_dataset, quiet
from slimscan.files.dicom.place import Place
from slimscan.files.dicom.segframes import Held
from slimscan.files.dicom.segterms import Code, Segment
from slimscan.files.dicom.syntax import RLE, SYNTAXES, refused
from slimscan.files.guard import reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SEGMENTATION, LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
PRIVATE = (0x0053, "SLIMSCAN", 0x10)  # in a segment's item, US: its label in the mask, where that is no SegmentNumber


def open_segmentation(path: Path) -> Held:
    """Everything but pixels, checked."""
    with reading(path, "DICOM segmentation"), quiet():
        found, at, inflated = open_dataset(path)
        return _held(path, found, at, inflated)


def _held(path: Path, found: Dataset, at: int, inflated: bool) -> Held:
    syntax = str(found.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in SYNTAXES:
        raise InputError(f"{path}: {refused(syntax)}")
    if str(found.get("LossyImageCompression", "")) == "01":
        raise InputError(f"{path}: a segmentation that went through lossy compression; its voxels cannot be trusted")
    kind = "LABELMAP" if found.SOPClassUID == LABELMAP else str(found.get("SegmentationType", ""))
    allocated = attributes.whole(path, found, "BitsAllocated") or 0
    if allocated not in {"BINARY": (1, 8), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}.get(kind, ()):
        raise NotReadable(
            f'{path}: SegmentationType "{kind}" with {allocated} bits; want BINARY, FRACTIONAL or LABELMAP'
        )
    rows, columns, frames = (attributes.whole(path, found, key) or 0 for key in ("Rows", "Columns", "NumberOfFrames"))
    planes = attributes.planes(path, found, frames) if frames > 0 else None
    if not planes:
        raise GeometryError(
            f"{path}: its frames have no place in space (a slide, or a picture); want slices of a volume"
        )
    numbers = _numbers(path, found, frames, kind)
    sizes = _group(found, 0, "PixelMeasuresSequence")
    declared = attributes.numbers(path, sizes, "SpacingBetweenSlices", 1)
    step = abs(declared[0]) if declared else None
    try:
        slices, affine_mm, count = seggrid.spread(planes, step)
        before, after = _around(found, planes, count)
        if before or after:
            slices, affine_mm, count = seggrid.spread(planes, step, before, after)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    seen = set(zip(slices, numbers, strict=True))
    if len(seen) != frames:
        raise GeometryError(f"{path}: a segment has two frames in one slice; want one (no times or channels)")
    common: dict[str, Any] = {
        "path": path,
        "kind": kind,
        "segments": tuple(_segments(path, found)),
        "slices": tuple(slices),
        "numbers": numbers,
        "shape": (count, rows, columns),
        "affine_mm": affine_mm,
        "syntax": syntax,
        "top": attributes.whole(path, found, "MaximumFractionalValue") or 255,
        "limits": child.asked(),
        "disjoint": found.get("SegmentsOverlap") == "NO",
        "facts": {
            "kind": kind,
            "label": str(found.get("ContentLabel", "")),
            "series_uid": str(found.get("SeriesInstanceUID", "")),
            "sop_uid": str(found.get("SOPInstanceUID", "")),
            "study_uid": str(found.get("StudyInstanceUID", "")),
            "frame_of_reference_uid": str(found.get("FrameOfReferenceUID", "")),
            "of_series": [str(one.get("SeriesInstanceUID", "")) for one in found.get("ReferencedSeriesSequence") or []],
        },
    }
    unknown = set(numbers) - {segment.number for segment in common["segments"]} - {0}
    if unknown:
        raise NotReadable(f"{path}: frames of segment {min(unknown)}, which SegmentSequence does not describe")
    if allocated > 1:
        return Held(**common, head=header(path))
    return Held(**common, bits=_place(path, found, at, inflated, syntax, rows * columns, frames))


def _place(path: Path, found: Dataset, at: int, inflated: bool, syntax: str, count: int, frames: int) -> Place:
    """Where the bits of each frame lie: native frames follow each other without filling, and may begin inside a byte."""
    encapsulated = SYNTAXES[syntax].encapsulated
    if encapsulated and SYNTAXES[syntax].kind not in ("deflate", "rle", "jpeg2000"):
        raise InputError(
            f"{path}: {SYNTAXES[syntax].name} holds no frames of one bit; want native, deflated, RLE or JPEG 2000"
        )
    with place_of.opened(path, inflated) as file:
        file.seek(at)
        place = place_of.locate(
            file,
            path,
            frames=frames if encapsulated else 1,
            frame_bytes=(frames * count + 7) // 8,
            tables=(bytes(found.get("ExtendedOffsetTable", b"")), bytes(found.get("ExtendedOffsetTableLengths", b""))),
            implicit=bool(found.original_encoding[0]),
            little=bool(found.original_encoding[1]),
            inflated=inflated,
            one_fragment=syntax == RLE,
        )
    if encapsulated or not place.frames:
        return place
    if place.words and not found.original_encoding[1]:
        raise InputError(
            f"{path}: bits in big-endian words (VR OW); want bytes (OB), or a little-endian transfer syntax"
        )
    first = place.frames[0][0][0]
    edges = [(k * count // 8, ((k + 1) * count + 7) // 8) for k in range(frames)]
    return replace(place, frames=tuple(((first + a, b - a),) for a, b in edges), words=False)


def _numbers(path: Path, found: Dataset, frames: int, kind: str) -> tuple[int, ...]:
    if kind == "LABELMAP":
        return (0,) * frames
    numbers = []
    for k in range(frames):
        number = attributes.whole(path, _group(found, k, "SegmentIdentificationSequence"), "ReferencedSegmentNumber")
        if number is None:
            raise NotReadable(f"{path}: frame {k + 1} does not say its segment (ReferencedSegmentNumber); damaged file")
        numbers.append(number)
    return tuple(numbers)


def _group(found: Dataset, k: int, keyword: str) -> Any:
    """The functional group of one frame, its own or the shared one, {} without."""
    for place in (found.PerFrameFunctionalGroupsSequence[k], *(found.get("SharedFunctionalGroupsSequence") or [])):
        items = place.get(keyword)
        if items:
            return items[0]
    return {}


def _segments(path: Path, found: Dataset) -> list[Segment]:
    out = []
    for item in found.get("SegmentSequence") or []:
        number = attributes.whole(path, item, "SegmentNumber")
        if not number:
            continue  # the background of a LABELMAP
        value = number
        if (PRIVATE[0], 0x0010) in item:
            try:
                value = int(item.private_block(PRIVATE[0], PRIVATE[1])[PRIVATE[2]].value)
            except (KeyError, TypeError, ValueError):
                value = number
        category, kind = (_code(item.get(f"SegmentedProperty{name}CodeSequence")) for name in ("Category", "Type"))
        sides = [
            one.get("SegmentedPropertyTypeModifierCodeSequence")
            for one in item.get("SegmentedPropertyTypeCodeSequence") or []
        ]
        algorithm = (str(item.get("SegmentAlgorithmType", "")), str(item.get("SegmentAlgorithmName", "")))
        label = str(item.get("SegmentLabel", "") or f"Segment {number}")
        side = _code(sides[0]) if sides and sides[0] else None
        out.append(Segment(number, value, label, category, kind, side, algorithm))
    values = [segment.value for segment in out]
    if len(set(values)) != len(values) or not all(0 < value < 65536 for value in values):
        return [replace(segment, value=segment.number) for segment in out]
    return out


def _code(items: Any) -> Code:
    if not items:
        return Code("", "", "")
    value = next((items[0].get(key) for key in ("CodeValue", "LongCodeValue", "URNCodeValue") if items[0].get(key)), "")
    return Code(str(value), str(items[0].get("CodingSchemeDesignator", "")), str(items[0].get("CodeMeaning", "")))


def _around(found: Dataset, planes: Sequence[Plane], count: int) -> tuple[int, int]:
    """Slices of the referenced series below and above the frames, which span `count`; (0, 0) when the file does not tell.

    It tells when it lists the series' instances in order of position: then the instances that the frames name are as
    many apart in the list as the frames are in space.
    """
    series = found.get("ReferencedSeriesSequence") or []
    listed = (
        [str(one.ReferencedSOPInstanceUID) for one in (series[0].get("ReferencedInstanceSequence") or [])]
        if len(series) == 1
        else []
    )
    if len(listed) <= count:
        return 0, 0
    place = {uid: index for index, uid in enumerate(listed)}
    depth_of: dict[int, float] = {}
    for k in range(len(planes)):
        derivation = found.PerFrameFunctionalGroupsSequence[k].get("DerivationImageSequence") or []
        sources = [one for item in derivation for one in item.get("SourceImageSequence") or []]
        if len(sources) == 1 and str(sources[0].get("ReferencedSOPInstanceUID", "")) in place:
            depth_of[place[str(sources[0].ReferencedSOPInstanceUID)]] = float(
                np.asarray(planes[k].position) @ planes[k].normal
            )
    if len(depth_of) < 2 or len(place) != len(listed):
        return 0, 0
    indices = np.array(sorted(depth_of))
    known = np.array([depth_of[int(index)] for index in indices])
    step = (known[-1] - known[0]) / (indices[-1] - indices[0])
    if not step or np.abs(known - known[0] - step * (indices - indices[0])).max() > 0.25 * abs(step):
        return 0, 0
    ahead, behind = int(indices[0]), int(len(listed) - 1 - indices[-1])
    return (ahead, behind) if step > 0 else (behind, ahead)
