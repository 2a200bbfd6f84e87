"""The data sets of a DICOM slide, but for their frames: VL Whole Slide Microscopy Image (PS3.3 A.32.8, C.8.12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimscan.errors import InputError
from slimscan.files.dicom.derive import IMPLEMENTATION, uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
JPEG, JPEG_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"
_METHODS = {JPEG: "ISO_10918_1", JPEG_2000: "ISO_15444_1"}
_COLOURS = ("RGB", "YBR_FULL_422", "YBR_FULL", "YBR_ICT", "YBR_RCT", "MONOCHROME2")
_FLAVOURS = {"label": "LABEL", "macro": "OVERVIEW", "thumbnail": "THUMBNAIL"}
_ORIGIN = (40.0, 20.0)  # mm; where on the glass the pixels lie is not known of a TIFF slide


@dataclass(frozen=True)
class Frames:
    """What the frames of a level are.

    shape: (height, width) in pixels; tile: (height, width) of a frame; mpp: micrometres a pixel (y, x). syntax: the transfer
    syntax of the streams. colour: their Photometric Interpretation. origin: mm on the slide of the first pixel.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    mpp: tuple[float, float]
    syntax: str = JPEG
    colour: str = "RGB"
    origin: tuple[float, float] = _ORIGIN

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of tiles."""
        return -(-self.shape[0] // self.tile[0]), -(-self.shape[1] // self.tile[1])


@dataclass(frozen=True)
class About:
    """What is said of all files. name: of the source, the same name gives the same UIDs. acquired: date and time as DICOM
    writes them (DT). magnification: power of the objective, or None. icc: the colour profile, sRGB when None."""

    name: str
    acquired: str
    patient: str = ""
    magnification: float | None = None
    icc: bytes | None = None
    lossy: bool = True


def dataset(k: int, levels: Sequence[Frames], about: About, frames: int, size: int, sparse: bool) -> Dataset:
    """The data set of level k without its frames, of which there are `frames` with `size` bytes."""
    level = levels[k]
    if level.colour not in _COLOURS:
        raise InputError(f'the colours "{level.colour}" are none of a DICOM slide; allowed: {", ".join(_COLOURS)}')
    if min(*level.shape, *level.tile) < 1 or max(level.tile) > 65535:
        raise InputError(
            f"level {k}: tiles of {level.tile[1]} x {level.tile[0]} cannot be frames; want 1 to 65535 pixels a side"
        )
    found = _common(level, about, k, ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if k else "NONE"])
    _pixels(found, level.tile, level.colour, frames)
    raw = frames * level.tile[0] * level.tile[1] * found.SamplesPerPixel
    _lossy(found, about, level.syntax, raw / max(1, size))
    found.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    organisation = uid("dimensions", about.name)
    found.DimensionOrganizationSequence = [_of(DimensionOrganizationUID=organisation)]
    if sparse:
        found.DimensionIndexSequence = [
            _of(
                DimensionOrganizationUID=organisation,
                DimensionIndexPointer=pointer,
                FunctionalGroupPointer=0x0048021A,
                DimensionDescriptionLabel=label,
            )
            for pointer, label in ((0x0048021E, "Column"), (0x0048021F, "Row"))
        ]
    return found


def beside(name: str, jpeg: bytes, shape: tuple[int, int], base: Frames, about: About, number: int) -> Dataset:
    """The data set of a picture beside the specimen, one frame of JPEG in YCbCr."""
    if name not in _FLAVOURS or max(shape) > 65535:
        raise InputError(f'the picture "{name}" of {shape[1]} x {shape[0]} is none of {", ".join(_FLAVOURS)}')
    scale = base.shape[0] / shape[0], base.shape[1] / shape[1]
    level = Frames(shape, shape, (base.mpp[0] * scale[0], base.mpp[1] * scale[1]), JPEG, "YBR_FULL_422")
    found = _common(
        level, about, number, ["DERIVED", "PRIMARY", _FLAVOURS[name], "RESAMPLED" if name == "thumbnail" else "NONE"]
    )
    _pixels(found, shape, "YBR_FULL_422", 1)
    _lossy(found, about, JPEG, shape[0] * shape[1] * 3 / len(jpeg))
    found.DimensionOrganizationType = "TILED_FULL"
    found.DimensionOrganizationSequence = [_of(DimensionOrganizationUID=uid("dimensions", about.name))]
    found.SpecimenLabelInImage = "NO" if name == "thumbnail" else "YES"
    return found


def _common(level: Frames, about: About, number: int, kind: list[str]) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    found = Dataset()
    meta = found.file_meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.ImplementationClassUID = UID(level.syntax), UID(IMPLEMENTATION)
    found.SpecificCharacterSet = "ISO_IR 192"
    found.ImageType = kind
    found.SOPClassUID, found.SOPInstanceUID = WSI, uid("slide", about.name, str(number), *map(str, level.shape))
    found.AcquisitionDateTime, found.Modality = about.acquired, "SM"
    found.StudyDate = found.SeriesDate = found.ContentDate = about.acquired[:8]
    found.StudyTime = found.ContentTime = about.acquired[8:14]
    found.AccessionNumber = found.ReferringPhysicianName = found.StudyID = found.PatientBirthDate = found.PatientSex = (
        ""
    )
    found.Manufacturer, found.ManufacturerModelName = "slimscan", "slimscan"
    found.DeviceSerialNumber, found.SoftwareVersions = "0", "slimscan"
    found.PatientName = found.PatientID = about.patient
    found.StudyInstanceUID, found.SeriesInstanceUID = uid("slide study", about.name), uid("slide series", about.name)
    found.SeriesNumber, found.InstanceNumber = 1, number + 1
    found.FrameOfReferenceUID, found.PositionReferenceIndicator = uid("slide frame", about.name), "SLIDE_CORNER"
    found.BurnedInAnnotation, found.VolumetricProperties = "NO", "VOLUME"
    height, width = (n * um / 1000 for n, um in zip(level.shape, level.mpp, strict=True))
    found.ImagedVolumeWidth, found.ImagedVolumeHeight, found.ImagedVolumeDepth = width, height, 1.0
    found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns = level.shape
    found.TotalPixelMatrixFocalPlanes, found.NumberOfOpticalPaths = 1, 1
    found.TotalPixelMatrixOriginSequence = [
        _of(XOffsetInSlideCoordinateSystem=level.origin[0], YOffsetInSlideCoordinateSystem=level.origin[1])
    ]
    found.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    found.SpecimenLabelInImage, found.FocusMethod, found.ExtendedDepthOfField = "NO", "AUTO", "NO"
    found.AcquisitionContextSequence = found.IssuerOfTheContainerIdentifierSequence = []
    found.ContainerIdentifier = about.name[:64]
    found.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    found.SpecimenDescriptionSequence = [
        _of(
            SpecimenIdentifier=about.name[:64],
            IssuerOfTheSpecimenIdentifierSequence=[],
            SpecimenUID=uid("specimen", about.name),
            SpecimenPreparationSequence=[],
        )
    ]
    path = _of(
        OpticalPathIdentifier="1",
        IlluminationTypeCodeSequence=[_code("111744", "DCM", "Brightfield illumination")],
        IlluminationColorCodeSequence=[_code("414298005", "SCT", "Full Spectrum")],
        ICCProfile=about.icc or _srgb(),
    )
    if about.magnification is not None:
        path.ObjectiveLensPower = about.magnification
    found.OpticalPathSequence = [path]
    spacing = [f"{um / 1000:.10g}" for um in level.mpp]
    found.SharedFunctionalGroupsSequence = [
        _of(
            PixelMeasuresSequence=[_of(SliceThickness="0.001", PixelSpacing=spacing)],
            WholeSlideMicroscopyImageFrameTypeSequence=[_of(FrameType=kind)],
            OpticalPathIdentificationSequence=[_of(OpticalPathIdentifier="1")],
        )
    ]
    return found


def _pixels(found: Dataset, tile: tuple[int, int], colour: str, frames: int) -> None:
    found.SamplesPerPixel, found.PhotometricInterpretation = 1 if colour == "MONOCHROME2" else 3, colour
    if found.SamplesPerPixel == 3:
        found.PlanarConfiguration = 0
    found.NumberOfFrames, (found.Rows, found.Columns) = frames, tile
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 8, 8, 7, 0


def _lossy(found: Dataset, about: About, syntax: str, ratio: float) -> None:
    found.LossyImageCompression = "01" if about.lossy else "00"
    if about.lossy:
        found.LossyImageCompressionRatio = f"{ratio:.4g}"
        found.LossyImageCompressionMethod = _METHODS.get(syntax, "ISO_10918_1")


def _of(**attributes: Any) -> Dataset:
    from pydicom.dataset import Dataset

    found = Dataset()
    for keyword, value in attributes.items():
        setattr(found, keyword, value)
    return found


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _of(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _srgb() -> bytes:
    """An sRGB profile of even length, which the standard asks of colour slides."""
    from PIL import ImageCms

    raw = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return raw + bytes(len(raw) % 2)
