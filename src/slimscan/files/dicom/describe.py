"""What new pixel data make true of a data set: codestreams that agree with one another, and the Image Pixel attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimscan.errors import CodecError
from slimscan.files.dicom import save as dicom_save
from slimscan.files.dicom import source as dicom_source
from slimscan.files.dicom.codestream import Codestream, ends, inspect
from slimscan.files.dicom.syntax import SYNTAXES
from slimscan.nouns import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")


def checked(path: Path, volume: Volume, spool: dicom_save.Spool, syntax: str) -> Codestream | None:
    """What all codestreams agree on; CodecError for one that is of another size, precision or standard."""
    kind = SYNTAXES[syntax].kind
    size = (*volume.shape[1:3], volume.shape[3] if len(volume.shape) == 4 else 1)
    if kind in ("native", "rle", "deflate"):
        return None
    first: Codestream | None = None
    for k in range(len(spool)):
        payload = spool[k]
        stream = inspect(payload)
        if stream.kind != kind or (stream.rows, stream.columns, stream.samples or size[2]) != size:
            raise CodecError(
                f"{path}: frame {k + 1} is {stream.kind} of {stream.rows} x {stream.columns} x {stream.samples},"
                f" want {kind} of {size[0]} x {size[1]} x {size[2]}"
            )
        if kind != "jpegxl" and not ends(payload):
            raise CodecError(f"{path}: frame {k + 1} has no end marker; it is cut off")
        first = first or stream
        if (stream.precision, stream.signed, stream.colour_transform) != (
            first.precision,
            first.signed,
            first.colour_transform,
        ):
            raise CodecError(
                f"{path}: frame {k + 1} has {stream.precision} bits a sample, frame 1 has {first.precision};"
                " encode every slice with the stored bits of the volume"
            )
    if first is None or first.precision is None:
        return first
    whole = volume.pixels.dtype.itemsize * 8
    sign_lost = volume.pixels.dtype.kind == "i" and not first.signed and first.precision not in (volume.bits, whole)
    if sign_lost or first.precision > whole or (first.signed and volume.pixels.dtype.kind == "u"):
        raise CodecError(
            f"{path}: codestreams of {first.precision} {'signed' if first.signed else 'unsigned'} bits for"
            f" {volume.bits}-bit {volume.pixels.dtype} pixels; encode with the stored bits and the sign of the volume"
        )
    return first


def describe(
    found: Dataset, volume: Volume, stream: Codestream | None, padding_range: tuple[int, int] | None, fresh: bool
) -> None:
    """The Image Pixel attributes that the new pixel data make true (C.7.6.3). fresh: no source said anything before."""
    colour = len(volume.shape) == 4
    signed = int(volume.pixels.dtype.kind == "i")
    spread = stream is not None and signed and not stream.signed  # two's complement, its sign spread over the sample
    bits = volume.bits if stream is None or stream.precision is None or spread else stream.precision
    found.Rows, found.Columns = volume.shape[1], volume.shape[2]
    found.SamplesPerPixel = volume.shape[3] if colour else 1
    found.BitsAllocated = volume.pixels.dtype.itemsize * 8
    found.BitsStored, found.HighBit = bits, bits - 1
    found.PixelRepresentation = signed
    if colour:
        space = "RGB"
        if stream is not None and stream.colour_transform:
            space = "YBR_RCT" if stream.reversible else "YBR_ICT"
        found.PhotometricInterpretation = space
        found.PlanarConfiguration = 0
    else:
        was = str(
            found.get("PhotometricInterpretation", "") or dicom_source.about_dicom(volume).get("photometric") or ""
        )
        found.PhotometricInterpretation = was if was in _GREY[: 3 if _has_palette(found) else 2] else _GREY[1]
        if "PlanarConfiguration" in found:
            del found.PlanarConfiguration
    vr = "SS" if signed else "US"
    if padding_range is not None:
        found.add_new("PixelPaddingValue", vr, padding_range[0])
        found.add_new("PixelPaddingRangeLimit", vr, padding_range[1])
    elif volume.padding is not None and "PixelPaddingValue" not in found and fresh:
        found.add_new("PixelPaddingValue", vr, volume.padding)
        limit = dicom_source.about_dicom(volume).get("padding_range_limit")
        if limit is not None:
            found.add_new("PixelPaddingRangeLimit", vr, int(limit))


def _has_palette(found: Dataset) -> bool:
    """Whether its colours are in the data set, as they are or segmented (C.7.9.2)."""
    return "RedPaletteColorLookupTableData" in found or "SegmentedRedPaletteColorLookupTableData" in found
