"""DICOM Segmentations out, by highdicom, on the grid of the series that they belong to.

The same mask on the same series gives the same bytes: UIDs are made of what is in the file, dates are the series' own.
The first and the last slice always get a frame, so that every reader sees the whole grid and not the span of a segment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slimscan.errors import InputError
from slimscan.files.dicom import derive as dicom_derive
from slimscan.files.dicom import frames as dicom_frames
from slimscan.files.dicom import save as dicom_save
from slimscan.files.dicom import seggrid, segvalues
from slimscan.files.dicom.open import identity, open_dataset, quiet
from slimscan.files.dicom.segheader import PRIVATE
from slimscan.files.dicom.segterms import Code, Segment
from slimscan.files.dicom.segvalues import ALGORITHMS, TOP
from slimscan.files.dicom.source import about_dicom, sources
from slimscan.files.dicom.syntax import DEFLATED, EXPLICIT, RLE
from slimscan.files.guard import one_line
from slimscan.nouns import Needs, Pixels, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Kind = Literal["auto", "binary", "fractional", "labelmap"]
NEEDS = Needs("highdicom", "highdicom", "seg")
PACKINGS = {"none": EXPLICIT, "deflate": DEFLATED, "rle": RLE}
_TYPE_2 = (
    *(
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
        "StudyID",
        "StudyDate",
        "StudyTime",
    ),
    *("ReferringPhysicianName", "Modality"),
)
_NATIVE_LIMIT = (1 << 32) - 2


@dataclass(frozen=True)
class Written:
    """What went into the file. values: labels, or probabilities in steps of 1/255, (z, y, x) on the series' grid.

    worst: the largest |probability - stored|, 0 unless kind is fractional.
    """

    kind: str
    values: Pixels
    segments: tuple[Segment, ...]
    frames: int
    worst: float


def write(
    mask: Volume,
    series: Volume,
    path: Path,
    *,
    labels: Mapping[int, Any] | None = None,
    kind: Kind = "auto",
    packing: str = "none",
    algorithm: tuple[str, str] | None = None,
) -> Written:
    """The mask as a DICOM Segmentation of the series, which was read from DICOM files that are still there.

    mask: (z, y, x) of labels 0 to 65535, or of probabilities 0 to 1 (fractional, stored in 255 steps), on the grid of
    the series up to swapped and turned axes. labels: label -> name, or what `segterms.given` takes; default: what a
    mask that was itself a segmentation says, else "Label N". Every label that occurs becomes a segment, numbered from 1
    in rising order; a mask without any gets one segment without voxels. algorithm: (MANUAL | SEMIAUTOMATIC | AUTOMATIC,
    name). MissingExtra without highdicom. GeometryError: grids differ. InputError: no labels, no series, impossible names.
    """
    NEEDS.demand("writing DICOM segmentations")
    if packing not in PACKINGS:
        raise InputError(f'{path}: packing "{packing}" is not known; allowed: {", ".join(PACKINGS)}, all lossless')
    if algorithm is not None and (algorithm[0] not in ALGORITHMS or not 0 < len(algorithm[1]) <= 64):
        raise InputError(
            f"{path}: algorithm {algorithm}; want one of {', '.join(ALGORITHMS)} and a name of 1 to 64 characters"
        )
    files = sources(series)
    if files is None or about_dicom(series).get("geometry") != "planes":
        raise InputError(f"{series.source}: is no DICOM series with a place in space; a segmentation refers to one")
    if len(mask.shape) != 3:
        raise InputError(f"{mask.source}: has {mask.shape[3]} colours a voxel; want labels or probabilities")
    chosen, values, worst = segvalues.values_of(mask, kind)
    if chosen == "binary" and packing == "rle":
        raise InputError(f"{path}: RLE holds no frames of one bit (PS3.5 8.2.2); use deflate, or --kind labelmap")
    values = seggrid.onto(mask, values, series)
    held, segments = segvalues.numbered(mask, values, dict(labels or {}), chosen, algorithm)
    with quiet():
        found = _highdicom(path, series, files, held, segments, chosen)
        frames = _frames(found, packing)
    with dicom_save.Spool(path, frames) as spool:
        dicom_save.save(path, found, b"\0" * 128, None, PACKINGS[packing], spool, range(len(spool)))
    return Written(chosen, values, segments, int(found.NumberOfFrames), worst)


def _highdicom(
    path: Path, series: Volume, files: list[tuple[Path, int]], held: Pixels, segments: Sequence[Segment], kind: str
) -> Dataset:
    """The data set with native pixel data; a voxel that highdicom needs to make the outer frames is cleared again."""
    from highdicom.seg import Segmentation

    images = [_image(file, series) for file in dict.fromkeys(file for file, _ in files)]
    first = images[0]
    order = [frame for _, frame in files] if len(images) == 1 else list(range(len(files)))
    pixels = np.empty_like(held)
    pixels[order] = held  # in the order of the files' own frames
    outer = [order[z] for z in {0, len(order) - 1} if kind == "binary" and not held[z].any()] if held.any() else []
    pixels[outer, 0, 0] = 1
    _fits(path, pixels, kind)
    digest = hashlib.sha256(json.dumps([kind, [one.plain() for one in segments]]).encode())
    digest.update(np.ascontiguousarray(held).tobytes())
    names = ["seg", *map(str, about_dicom(series)["sop_uids"]), digest.hexdigest()]
    day, hour = _when(first)
    try:
        found = Segmentation(
            images,
            (pixels / np.float32(TOP)).astype(np.float32) if kind == "fractional" else pixels,
            kind.upper(),
            [_description(one) for one in segments],
            series_instance_uid=dicom_derive.uid("series", *names),
            series_number=1000 + int(first.get("SeriesNumber") or 0),
            sop_instance_uid=dicom_derive.uid("instance", *names),
            instance_number=1,
            manufacturer="slimscan",
            manufacturer_model_name="slimscan",
            software_versions=Needs("slimscan", "slimscan").version(),
            device_serial_number="none",
            max_fractional_value=TOP,
            content_label="SEGMENTATION",
            omit_empty_frames=kind == "binary",
            transfer_syntax_uid=EXPLICIT,
            series_description=f"Segmentation {first.get('SeriesDescription') or ''}".strip()[:64],
            content_date=day,
            content_time=hour,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"{series.source}: highdicom cannot segment this series: {one_line(error)}; correct its headers"
        ) from error
    _settle(found, names, segments)
    _clear(found, images, outer)
    return found


def _image(file: Path, series: Volume) -> Dataset:
    """The header of one source file; what anonymisers empty and a reference needs is filled the same way in every run."""
    found = open_dataset(file)[0]
    found.SOPClassUID, found.SOPInstanceUID = identity(found)
    if not found.SOPInstanceUID or not found.SOPClassUID:
        raise InputError(f"{file}: names no SOP class or instance UID, so that no segmentation can refer to it")
    for keyword in _TYPE_2:
        if found.get(keyword) is None:
            setattr(found, keyword, "")
    # As the writer of images names what has no name (write.py), so that both stand in one study.
    geometry = f"{series.shape}{np.round(np.asarray(series.affine_mm), 5).tolist()}"
    for keyword, kind in (
        ("StudyInstanceUID", "study"),
        ("FrameOfReferenceUID", "frame of reference"),
        ("SeriesInstanceUID", "series"),
    ):
        if not found.get(keyword):
            setattr(found, keyword, dicom_derive.uid(kind, Path(series.source).name, geometry))
    return found


def _fits(path: Path, pixels: Pixels, kind: str) -> None:
    """InputError when native pixel data would be larger than its length can say."""
    area = pixels.shape[1] * pixels.shape[2]
    if kind == "binary":
        size = sum(int(np.count_nonzero(np.bincount(plane.reshape(-1))[1:])) for plane in pixels) * area // 8
    else:
        size = pixels.size * pixels.itemsize
    if size > _NATIVE_LIMIT:
        raise InputError(
            f"{path}: {size} bytes of frames; a DICOM file holds 4 GiB of them; use --kind labelmap, or fewer labels"
        )


def _when(image: Dataset) -> tuple[str, str]:
    """The series' own date and time: the same in every run. 1 January 1900 when it has none."""
    for name in ("Content", "Acquisition", "Series", "Study"):
        day = str(image.get(f"{name}Date") or "")
        if len(day) == 8 and day.isdecimal():
            hour = str(image.get(f"{name}Time") or "").partition(".")[0]
            return day, hour if len(hour) == 6 and hour.isdecimal() else "000000"
    return "19000101", "000000"


def _description(segment: Segment) -> Any:
    from highdicom.seg import SegmentDescription

    return SegmentDescription(
        segment.number, segment.label, _concept(segment.category), _concept(segment.type), "MANUAL"
    )


def _concept(one: Code) -> Any:
    from highdicom.sr.coding import CodedConcept

    return CodedConcept(one.value, one.scheme, one.meaning)


def _settle(found: Dataset, names: Sequence[str], segments: Sequence[Segment]) -> None:
    """Out goes what hangs on the clock or on chance; in goes what highdicom has no argument for."""
    from pydicom.sequence import Sequence as Items

    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        found.pop(keyword, None)
    for item in found.get("ContributingEquipmentSequence") or []:
        if item.get("ManufacturerModelName") == "highdicom":
            item.pop("ContributionDateTime", None)
    dimension = dicom_derive.uid("dimension", *names)
    for item in [*found.DimensionOrganizationSequence, *found.DimensionIndexSequence]:
        item.DimensionOrganizationUID = dimension
    found.SpecificCharacterSet = "ISO_IR 192"
    of_number = {segment.number: segment for segment in segments}
    for item in found.SegmentSequence:
        segment = of_number.get(int(item.SegmentNumber))  # None: the background of a LABELMAP, which highdicom adds
        item.SegmentAlgorithmType, name = (segment or segments[0]).algorithm
        if item.SegmentAlgorithmType != "MANUAL":
            item.SegmentAlgorithmName = name
        if segment is None:
            continue
        if segment.side is not None:
            kind = item.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = Items([_concept(segment.side)])
        if segment.value != segment.number:
            group, creator, element = PRIVATE
            item.private_block(group, creator, create=True).add_new(element, "US", segment.value)


def _clear(found: Dataset, images: Sequence[Dataset], outer: Sequence[int]) -> None:
    if not outer:
        return
    from slimscan.files.dicom import attributes

    planes = [attributes.planes(Path("series"), image, int(image.get("NumberOfFrames") or 1)) or () for image in images]
    places = [plane.position for one in planes for plane in one]
    data, area = bytearray(found.PixelData), found.Rows * found.Columns
    for k, group in enumerate(found.PerFrameFunctionalGroupsSequence):
        identified = group if "SegmentIdentificationSequence" in group else found.SharedFunctionalGroupsSequence[0]
        if identified.SegmentIdentificationSequence[0].ReferencedSegmentNumber != 1:
            continue
        where = [float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient]
        if any(np.allclose(where, places[n], rtol=0, atol=1e-3) for n in outer):
            data[k * area // 8] &= ~(1 << (k * area % 8)) & 0xFF
    found.PixelData = bytes(data)


def _frames(found: Dataset, packing: str) -> list[bytes]:
    """What goes into the file: one block, or the frames as RLE."""
    data = bytes(found.PixelData)
    del found.PixelData
    if packing != "rle":
        return [data]
    dtype = f"<u{found.BitsAllocated // 8}"
    count = found.Rows * found.Columns * int(found.NumberOfFrames)
    pixels = np.frombuffer(data, dtype, count).reshape(-1, found.Rows, found.Columns)
    return [dicom_frames.rle_frame(frame) for frame in pixels]
