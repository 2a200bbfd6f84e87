"""Small slides made of a real crop, for formats that no free file is at hand for; OpenSlide opens each of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from slimscan.files.slides import open_slide

CROP = Path(__file__).parent.parent / "examples/data/cmu_small_crop.svs"
Picture = NDArray[np.uint8]
_APERIO = "Aperio Image Library v12.0.0 \r\n{w}x{h} [0,0 {w}x{h}] (256x256) |AppMag = 40|MPP = 0.2500"


def picture() -> Picture:
    """(960, 1200, 3): tissue and glass."""
    with open_slide(CROP) as slide:
        return slide.read(0, 0, 0, 960, 1200)


def svs(path: Path, compression: Any, photometric: str = "rgb", args: Any = None, description: str = _APERIO) -> Path:
    """An Aperio-like pyramid of two levels (960 x 1200, 240 x 300) with a thumbnail between them."""
    base = picture()
    common: dict[str, Any] = {"metadata": None, "software": False}
    tiled = common | {"tile": (256, 256), "compression": compression, "photometric": photometric}
    with tifffile.TiffWriter(path) as out:
        for pixels in (base, base[::8, ::8], base[::4, ::4]):
            words = description.format(h=len(pixels), w=pixels.shape[1])
            if len(pixels) == 120:
                out.write(pixels, photometric="rgb", compression="jpeg", rowsperstrip=120, description=words, **common)
            else:
                out.write(pixels, compressionargs=args or {}, description=words, **tiled)
    return path


def encoded_svs(path: Path, tag: int, tiles: Iterator[bytes], photometric: str = "rgb") -> Path:
    """One level of 960 x 1200 in tiles of 256 x 256 that are already encoded, under any compression tag."""
    common: dict[str, Any] = {"metadata": None, "software": False, "tile": (256, 256), "dtype": "uint8"}
    words = _APERIO.format(h=960, w=1200)
    with tifffile.TiffWriter(path) as out:
        out.write(tiles, shape=(960, 1200, 3), compression=34712, photometric="rgb", description=words, **common)
    retag(path, 0, 259, tag)
    if photometric == "ycbcr":
        retag(path, 0, 262, 6)
    return path


def cut(side: int = 256) -> Iterator[Picture]:
    """The picture in tiles, row by row, the last ones filled up with white."""
    base = picture()
    rows, cols = -(-len(base) // side), -(-base.shape[1] // side)
    full = np.full((rows * side, cols * side, 3), 255, np.uint8)
    full[: len(base), : base.shape[1]] = base
    for row in range(rows):
        for col in range(cols):
            yield np.ascontiguousarray(full[row * side : (row + 1) * side, col * side : (col + 1) * side])


def retag(path: Path, page: int, code: int, value: Any) -> None:
    """Change a tag in place."""
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[page].tags[code].overwrite(value)


def empty_tiles(path: Path, page: int, numbers: list[int]) -> None:
    """Make tiles of a page zero bytes long."""
    with tifffile.TiffFile(path) as tif:
        offsets, counts = (list(tif.pages[page].tags[code].value) for code in (324, 325))
    for number in numbers:
        offsets[number] = counts[number] = 0
    retag(path, page, 324, offsets)
    retag(path, page, 325, counts)


def plain(path: Path, levels: int = 3, **more: Any) -> Path:
    """A generic pyramid, 0.5 micrometres a pixel."""
    base = picture()
    with tifffile.TiffWriter(path) as out:
        for k in range(levels):
            common: dict[str, Any] = {"resolution": (20000 / 2**k, 20000 / 2**k), "resolutionunit": "CENTIMETER"} | more
            out.write(
                np.ascontiguousarray(base[:: 2**k, :: 2**k]),
                photometric="rgb",
                subfiletype=int(k > 0),
                metadata=None,
                **({"tile": (256, 256), "compression": "deflate"} | common),
            )
    return path


def ome(path: Path) -> Path:
    """An OME-TIFF of three levels (SubIFDs) with a label image, 0.5 micrometres a pixel."""
    base = picture()
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True) as out:
        tiled: dict[str, Any] = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb"}
        out.write(base, subifds=2, metadata={"axes": "YXS"} | sizes, **tiled)
        for k in (2, 4):
            out.write(np.ascontiguousarray(base[::k, ::k]), subfiletype=1, **tiled)
        small = np.ascontiguousarray(base[::8, ::8])
        out.write(small, photometric="rgb", metadata={"axes": "YXS", "Name": "label image"})
    return path


def dicom(
    folder: Path,
    kind: str = "full",
    syntax: str = "jpeg",
    *,
    skip: tuple[int, ...] = (),
    parts: int = 1,
    spacing: bool = True,
) -> Path:
    """A folder with a DICOM slide: two levels (960 x 1200 and 480 x 600) and a label.

    kind: "full" (TILED_FULL) or "sparse", which leaves out the frames of level 0 that `skip` names. syntax: "jpeg", "native",
    "rle", "jpeg2000", "jpegxl". parts: files that level 0 is split into (a concatenation).
    """
    folder.mkdir()
    base = picture()
    for number, (step, flavour) in enumerate(((1, "VOLUME"), (2, "VOLUME"), (8, "LABEL"))):
        pixels = np.ascontiguousarray(base[::step, ::step])
        side = len(pixels) if flavour == "LABEL" else 240
        tiles = list(_tiles(pixels, side))
        left_out = skip if number == 0 else ()
        kept = [k for k in range(len(tiles)) if k not in left_out]
        many = parts if number == 0 else 1
        for part in range(many):
            mine = kept[part * len(kept) // many : (part + 1) * len(kept) // many]
            first = part * len(kept) // many
            header = _wsi_header(pixels, side, flavour, number * 10 + part, step if spacing else 0)
            if many > 1:
                header.ConcatenationUID = "1.2.826.0.1.3680043.8.498.77"
                header.ConcatenationFrameOffsetNumber = first
                header.InConcatenationNumber = part + 1
                header.InConcatenationTotalNumber = many
            _places(header, mine, pixels.shape[1], side, kind if flavour == "VOLUME" else "full")
            _save(header, [tiles[k] for k in mine], syntax, folder / f"{number}_{part}.dcm")
    return folder


def _tiles(pixels: Picture, side: int) -> Iterator[Picture]:
    width = pixels.shape[1] if side == len(pixels) else side
    for y in range(0, len(pixels), side):
        for x in range(0, pixels.shape[1], width):
            tile = np.full((side, width, 3), 255, np.uint8)
            piece = pixels[y : y + side, x : x + width]
            tile[: piece.shape[0], : piece.shape[1]] = piece
            yield tile


def _wsi_header(pixels: Picture, side: int, flavour: str, number: int, step: int) -> Any:
    from pydicom.dataset import Dataset

    uid = "1.2.826.0.1.3680043.8.498."
    head = Dataset()
    head.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    head.SOPInstanceUID = f"{uid}{100 + number}"
    head.StudyInstanceUID, head.SeriesInstanceUID, head.FrameOfReferenceUID = f"{uid}1", f"{uid}2", f"{uid}3"
    head.Modality, head.InstanceNumber = "SM", number + 1
    head.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    head.PatientName, head.PatientID, head.ContainerIdentifier = "made", "made", "made"
    head.SamplesPerPixel, head.PlanarConfiguration = 3, 0
    head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelRepresentation = 8, 8, 7, 0
    head.Rows, head.Columns = side, pixels.shape[1] if flavour == "LABEL" else side
    head.TotalPixelMatrixRows, head.TotalPixelMatrixColumns = pixels.shape[:2]
    head.TotalPixelMatrixFocalPlanes, head.NumberOfOpticalPaths = 1, 1
    head.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    head.TotalPixelMatrixOriginSequence = [origin]
    optical = Dataset()
    optical.OpticalPathIdentifier, optical.ObjectiveLensPower, optical.ICCProfile = "0", "20", b"profile0"
    head.OpticalPathSequence = [optical]
    if step:
        measures, shared = Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = [0.0005 * step, 0.0005 * step], 0.001
        shared.PixelMeasuresSequence = [measures]
        head.SharedFunctionalGroupsSequence = [shared]
    return head


def _places(header: Any, frames: list[int], width: int, side: int, kind: str) -> None:
    from pydicom.dataset import Dataset

    header.NumberOfFrames = len(frames)
    header.DimensionOrganizationType = "TILED_FULL" if kind == "full" else "TILED_SPARSE"
    if kind == "full":
        return
    cols, groups = -(-width // side), []
    for frame in frames:
        place, group = Dataset(), Dataset()
        place.RowPositionInTotalImagePixelMatrix = frame // cols * side + 1
        place.ColumnPositionInTotalImagePixelMatrix = frame % cols * side + 1
        place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = "0"
        place.ZOffsetInSlideCoordinateSystem = "0"
        group.PlanePositionSlideSequence = [place]
        groups.append(group)
    header.PerFrameFunctionalGroupsSequence = groups


_SYNTAXES = {
    "jpeg": ("1.2.840.10008.1.2.4.50", "YBR_FULL_422"),
    "native": ("1.2.840.10008.1.2.1", "RGB"),
    "rle": ("1.2.840.10008.1.2.5", "RGB"),
    "jpeg2000": ("1.2.840.10008.1.2.4.90", "YBR_RCT"),
    "jpegxl": ("1.2.840.10008.1.2.4.201", "YBR_FULL_422"),
}


def encode(tile: Picture, syntax: str) -> bytes:
    """One tile as a frame of that syntax."""
    from slimscan import rle

    if syntax == "native":
        return tile.tobytes()
    if syntax == "rle":
        return rle.encode(tile)
    if syntax == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(tile, level=0, reversible=True, mct=True, codecformat="j2k"))
    stream = bytes(imagecodecs.jpeg8_encode(tile, level=85, subsampling="422"))
    return bytes(imagecodecs.jpegxl_encode_jpeg(stream)) if syntax == "jpegxl" else stream


def _save(header: Any, tiles: list[Picture], syntax: str, path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate

    uid, header.PhotometricInterpretation = _SYNTAXES[syntax]
    if syntax in ("jpeg", "jpegxl"):
        header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "10"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    meta.TransferSyntaxUID = uid
    header.file_meta = meta
    frames = [encode(tile, syntax) for tile in tiles]
    header.PixelData = b"".join(frames) if syntax == "native" else encapsulate(frames, has_bot=True)
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = syntax != "native"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.save_as(path, enforce_file_format=True)
    if syntax == "jpegxl":  # pydicom does not know JPEG XL; the name that it writes instead is as long
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.4.111"))
