"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr).

SimpleITK reads the geometry of NRRD, in all its dialects; that of MetaImage is three lines of numbers. The samples are
mapped or unpacked here, where a header can be doubted before memory is taken. ITK counts millimetres in LPS+, so x and y change their sign (RAS+). A fourth
dimension is stacked: (t*z, y, x) with about["frames"] = t. Header entries that the formats do not define stand in
about["metadata"] and are written back.
"""

from __future__ import annotations

import bz2
import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, NotReadable
from slimscan.files.deflate import MEMORY_LIMIT, inflate
from slimscan.files.format import Format
from slimscan.files.guard import damaged, must_hold, reading
from slimscan.files.itkheader import META, NRRD, Samples, check_sizes, meta, nrrd
from slimscan.files.itkwrite import write_meta, write_nrrd
from slimscan.files.lazy import native
from slimscan.nouns import Needs, Pixels, Volume

SIMPLEITK = Needs("SimpleITK", "SimpleITK")

_META_KNOWN = {
    "ObjectType", "ObjectSubType", "NDims", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData",
    "CompressedDataSize", "TransformMatrix", "Orientation", "Rotation", "Offset", "Position", "Origin", "CenterOfRotation",
    "AnatomicalOrientation", "ElementSpacing", "ElementSize", "DimSize", "ElementNumberOfChannels", "ElementType",
    "ElementDataFile", "HeaderSize", "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset",
}  # fmt: skip


def sniff_meta(_: Path, head: bytes) -> bool:
    """Lines "Key = Value" of which one is NDims."""
    start = head.lstrip()
    return b"NDims" in head and b"=" in head and start.startswith((b"ObjectType", b"NDims", b"Comment", b"ObjectSub"))


def sniff_nrrd(_: Path, head: bytes) -> bool:
    """The magic of NRRD, any version."""
    return head.startswith(b"NRRD000")


def read_meta(path: Path) -> Volume:
    """A MetaImage, memory-mapped when its samples are raw and in one file."""
    with reading(path, META):
        samples = meta(path)
        known = samples.fields
        slope = float(known.get("ElementToIntensityFunctionSlope", 1))
        intercept = float(known.get("ElementToIntensityFunctionOffset", 0))
        extra = {key: value[:500] for key, value in known.items() if key not in _META_KNOWN}
        return _volume(path, samples, slope, intercept, extra)


def read_nrrd(path: Path) -> Volume:
    """A NRRD, memory-mapped when its samples are raw and in one file."""
    with reading(path, NRRD):
        samples = nrrd(path)
        extra = {key[1:]: value[:500] for key, value in samples.fields.items() if key.startswith("=")}
        slope, intercept = float(extra.pop("RescaleSlope", 1)), float(extra.pop("RescaleIntercept", 0))
        return _volume(path, samples, slope, intercept, extra)


def _volume(path: Path, samples: Samples, slope: float, intercept: float, extra: dict[str, str]) -> Volume:
    check_sizes(path, samples)
    if samples.data is not None and not samples.data.is_file():
        raise NotReadable(
            f"{path}: its samples should be in {samples.data}, which is not there; put it beside the header"
        )
    sizes, colours, affine = (_meta_geometry if samples.title == META else _nrrd_geometry)(path, samples)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) > 4:
        raise InputError(
            f"{path}: has {len(sizes)} dimensions {sizes}; allowed: up to 4 (x, y, z, time); split it first"
        )
    x, y, z, frames = sizes + [1] * (4 - len(sizes))
    shape = (frames * z, y, x, *((colours,) if colours > 1 else ()))
    if int(np.prod(shape, dtype=object)) * samples.dtype.itemsize != samples.total:
        raise damaged(path, samples.title, f"its sizes {samples.sizes} are not those of the image, {sizes}")
    if not (np.isfinite(affine).all() and np.isfinite((slope, intercept)).all()):
        raise damaged(path, samples.title, "its geometry or rescaling is not finite")
    first = next((n for n in samples.sizes), 1)
    if samples.data is None or (colours > 1 and (first != colours or samples.sizes[-1] == colours != sizes[-1])):
        pixels = _by_itk(path, samples, shape)
    else:
        pixels = _pixels(path, samples.data, samples).reshape(shape)
    about: dict[str, Any] = {"format": samples.title, "sizes": sizes, "encoding": samples.encoding}
    if frames > 1:
        about["frames"] = frames
    if extra:
        about["metadata"] = dict(list(extra.items())[:100])
    return Volume(
        native(pixels),
        affine,
        samples.dtype.itemsize * 8,
        slope=slope,
        intercept=intercept,
        about=about,
        source=str(path),
    )


def _meta_geometry(path: Path, samples: Samples) -> tuple[list[int], int, NDArray[np.float64]]:
    """(sizes of the spatial and time axes, x first; samples a voxel; affine in RAS+ mm)."""
    colours = samples.colours or 1
    sizes = list(samples.sizes[1:] if colours > 1 else samples.sizes)
    count = len(sizes)

    def numbers(names: tuple[str, ...], default: NDArray[np.float64]) -> NDArray[np.float64]:
        text = next((samples.fields[name] for name in names if name in samples.fields), None)
        return default if text is None else np.array(text.split(), np.float64).reshape(default.shape)

    axes = numbers(("TransformMatrix", "Rotation", "Orientation"), np.eye(count))
    spacing = numbers(("ElementSpacing", "ElementSize"), np.ones(count))
    origin = numbers(("Offset", "Position", "Origin"), np.zeros(count))
    if not spacing.all():
        raise damaged(path, META, f"a spacing is zero: {spacing}")
    return sizes, colours, _ras(axes.T * spacing, origin)


def _ras(axes: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Steps (columns) and origin in LPS+ mm of two, three or four axes, as a 4x4 affine in RAS+ mm."""
    space = min(len(origin), 3)
    lps = np.eye(4)
    lps[:space, :space] = axes[:space, :space]
    lps[:space, 3] = origin[:space]
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps)


def _nrrd_geometry(path: Path, _: Samples) -> tuple[list[int], int, NDArray[np.float64]]:
    """The same as ITK understands a NRRD header."""
    sitk: Any = importlib.import_module("SimpleITK")

    warns = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("NrrdImageIO")
        reader.ReadImageInformation()
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warns)
    count = reader.GetDimension()
    direction = np.array(reader.GetDirection(), np.float64).reshape(count, count)
    affine = _ras(direction * np.array(reader.GetSpacing()), np.array(reader.GetOrigin()))
    return [int(n) for n in reader.GetSize()], int(reader.GetNumberOfComponents()), affine


def _pixels(path: Path, data: Path, samples: Samples) -> Pixels:
    """All samples in file order (total,), mapped or unpacked."""
    total, offset, held = samples.total, samples.offset, data.stat().st_size
    if samples.encoding in ("gzip", "zlib"):
        container = "gzip" if samples.encoding == "gzip" else "zlib"
        return inflate(data, samples.title, total, offset, container).view(samples.dtype)  # type: ignore[arg-type]
    if samples.encoding == "raw":
        offset = held - total if offset == -1 else offset
        must_hold(data, samples.title, total, held - max(offset, 0))
        mapped = np.memmap(data, np.uint8, "r", shape=(held,))[offset:]
        if len(mapped) - total > 1 << 20 or mapped[total:].any():
            raise damaged(data, samples.title, f"it holds {len(mapped)} bytes of samples, its header describes {total}")
        return np.ndarray((total // samples.dtype.itemsize,), samples.dtype, mapped.view(np.ndarray))
    if total > MEMORY_LIMIT:
        raise InputError(
            f"{path}: {total} bytes in encoding {samples.encoding}; allowed: up to {MEMORY_LIMIT}; use gzip"
        )
    with data.open("rb") as file:
        file.seek(max(offset, 0))
        packed = file.read()
    return _small(data, packed, samples)


def _small(data: Path, packed: bytes, samples: Samples) -> Pixels:
    """The rarer encodings, in memory."""
    count = samples.total // samples.dtype.itemsize
    if samples.encoding == "text":
        must_hold(data, samples.title, 2 * count - 1, len(packed))
        found = np.array(packed.split()[: count + 1], dtype=np.bytes_)
        values = found.astype(np.float64) if samples.dtype.kind == "f" else found.astype(np.int64)
        if len(values) != count or not (values.astype(samples.dtype) == values).all():
            raise damaged(data, samples.title, f"{len(values)} numbers, or numbers that do not fit; want {count}")
        return values.astype(samples.dtype)
    if samples.encoding == "hex":
        must_hold(data, samples.title, 2 * samples.total, len(packed))
        unpacked = bytes.fromhex(packed.decode("ascii"))
    else:
        unpacker = bz2.BZ2Decompressor()
        unpacked = unpacker.decompress(packed, samples.total + 1)
        if not unpacker.eof:  # the end holds the checksum
            unpacked += unpacker.decompress(b"", 1)
        if not unpacker.eof:
            raise damaged(data, samples.title, "the packed bytes break off")
    if len(unpacked) != samples.total:
        raise damaged(data, samples.title, f"{len(unpacked)} bytes of samples, its header describes {samples.total}")
    return np.frombuffer(unpacked, samples.dtype)


def _by_itk(path: Path, samples: Samples, shape: tuple[int, ...]) -> Pixels:
    """Samples in several files, or with colour as the slowest axis: ITK puts them together in memory."""
    sitk: Any = importlib.import_module("SimpleITK")

    beside = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
    must_hold(path, samples.title, samples.total, beside if samples.encoding == "raw" else beside * 1032)
    if samples.total > MEMORY_LIMIT:
        raise InputError(
            f"{path}: {samples.total} bytes in several files; allowed: up to {MEMORY_LIMIT}; put them in one"
        )
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).reshape(shape))


METAIMAGE = Format(
    name="metaimage",
    title="MetaImage",
    suffixes=(".mha",),
    sniff=sniff_meta,
    read=read_meta,
    write=write_meta,
    needs=(SIMPLEITK,),
    note="the format of ITK; a .mhd with its .raw or .zraw is read, and written as one .mha",
)
NRRD_FORMAT = Format(
    name="nrrd",
    title="NRRD",
    suffixes=(".nrrd",),
    sniff=sniff_nrrd,
    read=read_nrrd,
    write=write_nrrd,
    needs=(SIMPLEITK,),
    note="the format of 3D Slicer; a .nhdr with its data file is read, and written as one .nrrd",
)
