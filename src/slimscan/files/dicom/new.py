"""A minimal, valid data set for an image that came from elsewhere (NIfTI, TIFF, ...), with empty patient fields.

Which SOP class: CT Image Storage when the modality is CT or the unit is HU, MR Image Storage when the modality is MR,
both with 16 bits allocated as their IODs want; everything else is Secondary Capture, to which the Image Plane attributes
are added (a Standard Extended SOP Class, PS3.2), so that viewers stack the slices. One file of several slices is a
Multi-frame Secondary Capture with plane functional groups, which holds unsigned samples only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimscan.errors import InputError
from slimscan.files.dicom.derive import uid
from slimscan.files.dicom.geometry import Plane
from slimscan.nouns import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CT, MR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
FALLBACK = {"CT": CT, "MR": MR}
_FRAMES_BYTE, _FRAMES_WORD, _FRAMES_COLOUR = f"{SC}.2", f"{SC}.3", f"{SC}.4"


@dataclass(frozen=True, slots=True)
class Names:
    """The UIDs of a new image: study and frame of reference by its geometry, series by its bytes."""

    study: str
    frame: str
    series: str


def fresh(volume: Volume, planes: list[Plane], names: Names, digest: str, first: int) -> Dataset:
    """The data set of one instance that holds `planes`, without its pixel attributes. digest: of its pixel data.

    One plane is a single-frame image; more are a multi-frame secondary capture. first: its number in the series, from 0.
    InputError: several planes that no multi-frame class holds.
    """
    from pydicom.dataset import Dataset

    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    kind = _kind(volume) if len(planes) == 1 else _frames_kind(volume)
    modality = {CT: "CT", MR: "MR"}.get(kind) or str(_dicom(volume).get("modality") or "OT")
    found.SOPClassUID, found.SOPInstanceUID = kind, uid("instance", names.series, str(first), digest)
    for keyword in (
        *("StudyDate", "StudyTime", "AccessionNumber", "Manufacturer", "ReferringPhysicianName", "PatientName"),
        *(
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyID",
            "SeriesNumber",
            "PositionReferenceIndicator",
            "Laterality",
        ),
    ):
        setattr(found, keyword, "")
    found.Modality = modality
    found.StudyInstanceUID, found.SeriesInstanceUID = names.study, names.series
    found.FrameOfReferenceUID = names.frame
    found.InstanceNumber = first + 1
    found.ImageType = (
        ["ORIGINAL", "PRIMARY", "AXIAL"]
        if kind == CT
        else ["ORIGINAL", "PRIMARY", "OTHER"]
        if kind == MR
        else ["DERIVED", "SECONDARY"]
    )
    if kind in (CT, MR):
        found.PatientPosition = ""
        found.AcquisitionNumber = ""
    if kind == CT:
        found.KVP = ""
    elif kind == MR:
        found.ScanningSequence, found.SequenceVariant = "RM", "NONE"
        for keyword in ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"):
            setattr(found, keyword, "")
    else:
        found.ConversionType = "WSD"
        found.PatientOrientation = ""
    if (
        volume.pixels.dtype.kind in "iu"
        and len(volume.shape) == 3
        and (kind != MR or (volume.slope, volume.intercept) != (1, 0))
    ):
        found.RescaleIntercept, found.RescaleSlope = _decimal(volume.intercept), _decimal(volume.slope)
        found.RescaleType = "HU" if kind == CT else (volume.unit or "US")[:64]
    if len(planes) == 1:
        _place(found, found, found, planes[0])
    else:
        _stacked(found, planes)
    return found


def _dicom(volume: Volume) -> Any:
    return volume.about.get("dicom") or {}


def _kind(volume: Volume) -> str:
    fits = len(volume.shape) == 3 and volume.pixels.dtype.itemsize == 2
    modality = str(_dicom(volume).get("modality") or "")
    if fits and volume.bits >= 12 and (modality == "CT" or volume.unit == "HU"):
        return CT
    return MR if fits and modality == "MR" else SC


def _frames_kind(volume: Volume) -> str:
    dtype, colour = volume.pixels.dtype, len(volume.shape) == 4
    if dtype == "uint8" and volume.bits == 8:
        return _FRAMES_COLOUR if colour else _FRAMES_BYTE
    if dtype == "uint16" and volume.bits > 8 and not colour:
        return _FRAMES_WORD
    raise InputError(
        f"{volume.source or 'volume'}: {volume.bits}-bit {dtype}{' RGB' if colour else ''} in one .dcm file of"
        f" {volume.shape[0]} slices: DICOM's multi-frame secondary capture holds 8-bit or 9 to 16-bit unsigned grey, or"
        " 8-bit RGB; write a folder (a path that ends in /)"
    )


def _place(position: Dataset, turn: Dataset, sizes: Dataset, plane: Plane) -> None:
    position.ImagePositionPatient = [_decimal(value) for value in plane.position]
    turn.ImageOrientationPatient = [_decimal(value) for value in plane.along_row + plane.along_column]
    sizes.PixelSpacing = [_decimal(value) for value in plane.spacing]
    sizes.SliceThickness = "" if plane.thickness is None else _decimal(plane.thickness)


def _stacked(found: Dataset, planes: list[Plane]) -> None:
    """The functional groups of a multi-frame secondary capture, and what its module wants (C.8.6.3)."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence
    from pydicom.tag import Tag

    turn, sizes, shared = Dataset(), Dataset(), Dataset()
    groups = []
    for plane in planes:
        position, group = Dataset(), Dataset()
        _place(position, turn, sizes, plane)
        group.PlanePositionSequence = Sequence([position])
        groups.append(group)
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([turn]), Sequence([sizes])
    found.SharedFunctionalGroupsSequence = Sequence([shared])
    found.PerFrameFunctionalGroupsSequence = Sequence(groups)
    found.NumberOfFrames = len(planes)
    found.FrameIncrementPointer = Tag(0x0018, 0x2005)
    step = planes[0].thickness or 1.0
    found.SliceLocationVector = [_decimal(k * step) for k in range(len(planes))]
    found.BurnedInAnnotation = "NO"
    # Type 1 in C.7.6.16, and nobody knows it; a date that is plainly none, and the same in every run.
    found.ContentDate, found.ContentTime = "19000101", "000000"
    if "RescaleSlope" in found:
        found.PresentationLUTShape = "IDENTITY"


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (VR DS)."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)
