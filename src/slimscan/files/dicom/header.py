"""The header of one DICOM file as plain values, checked before a pixel is touched.

Clauses are of DICOM PS3.3 (what an attribute means) and PS3.5 (how it is written).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from slimscan.errors import InputError, NotReadable
from slimscan.files.dicom import attributes, block
from slimscan.files.dicom import place as place_of
from slimscan.files.dicom.geometry import Plane
from slimscan.files.dicom.open import identity, open_elements, quiet
from slimscan.files.dicom.place import Place
from slimscan.files.dicom.scan import Elements
from slimscan.files.dicom.syntax import EXPLICIT, EXPLICIT_BIG, IMPLICIT, RLE, SYNTAXES, refused
from slimscan.files.guard import reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_KINDS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_FRAME_LIMIT = 1 << 30  # bytes; a header alone must not make a decoder take all memory


@dataclass(frozen=True)
class Header:
    """What is needed of one file. Frames of a multi-frame file share everything but `planes` and `rescale`.

    allocated, stored, high: bits as in (0028,0100..0102). padding: on the scale of the stored values, None when there
    is none or when it cannot occur. rescale: (slope, intercept, unit) of every frame, or one for all.
    planes: one a frame, None without geometry. spacing: (rows, columns) in mm and the attribute that said so.
    lossy: LossyImageCompression is "01"; ratios, methods: its parallel lists. place: where the frames lie.
    checksums: SHA-256 of every frame where slimscan wrote them, else none.
    """

    path: Path
    syntax: str
    sop_class: str
    sop_uid: str
    series_uid: str
    study_uid: str
    modality: str
    description: str
    body_part: str
    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: int
    padding: int | None
    padding_limit: int | None
    rescale: tuple[tuple[float, float, str], ...]
    lookup: bool
    planes: tuple[Plane, ...] | None
    spacing: tuple[float, float] | None
    spacing_from: str
    lossy: bool
    ratios: tuple[float, ...]
    methods: tuple[str, ...]
    place: Place
    checksums: tuple[bytes, ...] = ()

    @property
    def name(self) -> str:
        """The file's own name, for messages."""
        return self.path.name

    @property
    def dtype(self) -> str:
        """The type that holds a stored sample."""
        return f"{'' if self.signed else 'u'}int{self.allocated}"

    @property
    def raw_frame(self) -> int:
        """Bytes of one frame of the volume: Rows x Columns x samples x bytes allocated."""
        return self.rows * self.columns * self.samples * self.allocated // 8


def header(path: Path) -> Header:
    """The header of an image file.

    NotReadable: no DICOM, no pixel data, cut off. InputError: a kind of image that is not read, with what is.
    """
    with reading(path, "DICOM"), quiet():
        found, at, inflated = open_elements(path)
        with place_of.opened(path, inflated) as file:
            file.seek(at)
            return _header(path, found, file, inflated)


def _header(path: Path, found: Dataset | Elements, file: BinaryIO, inflated: bool) -> Header:
    kind, sop_uid = identity(found)
    if not kind and "Rows" not in found:
        raise NotReadable(f"{path}: is not a DICOM image: it names no SOP class and no Rows; give an image file")
    syntax = _syntax(found)
    whole = {key: attributes.whole(path, found, key) for key in ("Rows", "Columns", "BitsAllocated")}
    if None in whole.values():
        raise NotReadable(
            f"{path}: has no {', '.join(key for key, value in whole.items() if value is None)}:"
            f" {_named(kind)} is no image; give an image file"
        )
    rows, columns, allocated = (whole[key] or 0 for key in ("Rows", "Columns", "BitsAllocated"))
    samples = attributes.whole(path, found, "SamplesPerPixel") or 1
    stored = attributes.whole(path, found, "BitsStored") or allocated
    high = attributes.whole(path, found, "HighBit")
    high = stored - 1 if high is None else high
    frames = attributes.whole(path, found, "NumberOfFrames")
    frames = 1 if frames is None else frames
    photometric = str(found.get("PhotometricInterpretation", "MONOCHROME2" if samples == 1 else "RGB")).strip()
    at = file.tell()
    if file.read(4) in (b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00"):
        raise InputError(f"{path}: pixel data are floating point numbers; allowed: integers of 8 or 16 bits")
    file.seek(at)
    _allowed(path, rows, columns, samples, frames, allocated, stored, high, photometric)
    if syntax not in SYNTAXES:
        raise InputError(f"{path}: {refused(syntax)}")
    signed = bool(attributes.whole(path, found, "PixelRepresentation") or 0)
    half = photometric == "YBR_FULL_422"
    implicit, little = _encoding(found)
    place = place_of.locate(
        file,
        path,
        frames=frames,
        frame_bytes=rows * columns * (2 if half else samples) * allocated // 8,
        tables=(bytes(found.get("ExtendedOffsetTable", b"")), bytes(found.get("ExtendedOffsetTableLengths", b""))),
        implicit=implicit,
        little=little,
        inflated=inflated,
        one_fragment=syntax == RLE,
    )
    if place.encapsulated != SYNTAXES[syntax].encapsulated:
        said = "encapsulated" if place.encapsulated else "native"
        raise NotReadable(
            f"{path}: pixel data are {said}, the transfer syntax {SYNTAXES[syntax].name} is not; damaged file"
        )
    padding, limit = (
        attributes.padding(found, key, allocated, stored, signed)
        for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    spacing, spacing_from = attributes.spacing(path, found)
    return Header(
        path=path,
        syntax=syntax,
        sop_class=kind,
        sop_uid=sop_uid,
        series_uid=str(found.get("SeriesInstanceUID", "")),
        study_uid=str(found.get("StudyInstanceUID", "")),
        modality=str(found.get("Modality", "")),
        description=str(found.get("SeriesDescription", "")),
        body_part=str(found.get("BodyPartExamined", "")),
        rows=rows,
        columns=columns,
        samples=samples,
        frames=frames,
        allocated=allocated,
        stored=stored,
        high=high,
        signed=signed,
        photometric=photometric,
        planar=attributes.whole(path, found, "PlanarConfiguration") or 0,
        padding=padding,
        padding_limit=limit,
        rescale=attributes.rescale(path, found, kind),
        lookup="ModalityLUTSequence" in found,
        planes=attributes.planes(path, found, frames),
        spacing=spacing,
        spacing_from=spacing_from,
        lossy=str(found.get("LossyImageCompression", "")) == "01",
        ratios=attributes.numbers(path, found, "LossyImageCompressionRatio") or (),
        methods=attributes.words(found, "LossyImageCompressionMethod"),
        place=place,
        checksums=block.checksums(found, syntax, frames),
    )


def _allowed(
    path: Path, rows: int, columns: int, samples: int, frames: int, allocated: int, stored: int, high: int, kind: str
) -> None:
    """InputError or NotReadable for pixels that cannot be held, with what is allowed."""
    if not (0 < rows <= 65535 and 0 < columns <= 65535 and frames > 0):
        raise NotReadable(f"{path}: {frames} frame(s) of {rows} x {columns} pixels; want at least one of each")
    if allocated == 1:
        raise InputError(
            f"{path}: 1 bit a sample (a segmentation or a mask); allowed: 8 or 16 bits allocated; give the image itself"
        )
    if allocated not in (8, 16):
        raise InputError(f"{path}: {allocated} bits allocated; allowed: integers of 8 or 16 bits")
    if not (0 < stored <= allocated and stored - 1 <= high < allocated):
        raise NotReadable(
            f"{path}: BitsStored {stored} and HighBit {high} do not fit into {allocated} bits; damaged header"
        )
    colour = kind not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    if kind not in _KINDS or samples != (3 if colour else 1):
        raise InputError(
            f'{path}: {samples} sample(s) a pixel with PhotometricInterpretation "{kind}"; allowed: one sample of'
            f" {', '.join(_KINDS[:3])}, or three of {', '.join(_KINDS[3:])}"
        )
    if rows * columns * samples * allocated // 8 > _FRAME_LIMIT:
        raise InputError(f"{path}: one frame of {rows} x {columns} x {samples} is larger than 1 GiB; cut it into tiles")


def _encoding(found: Dataset | Elements) -> tuple[bool, bool]:
    """Whether the data set is implicit, and whether it is little endian."""
    if isinstance(found, Elements):
        return False, True
    implicit, little = found.original_encoding
    return bool(implicit), bool(little)


def _syntax(found: Dataset | Elements) -> str:
    """The transfer syntax; without file meta information, from how the data set was written."""
    if isinstance(found, Elements):
        return found.about_file("TransferSyntaxUID")
    implicit, little = _encoding(found)
    said = str(getattr(found, "file_meta", {}).get("TransferSyntaxUID", ""))
    return said or (IMPLICIT if implicit else EXPLICIT if little else EXPLICIT_BIG)


def _named(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name if UID(uid).is_valid else "it"  # damaged bytes may hold anything, a patient's name too
