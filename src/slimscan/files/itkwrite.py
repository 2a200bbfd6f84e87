"""MetaImage and NRRD out, packed and streamed: a volume of any size passes through a few megabytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import OutputError
from slimscan.files.deflate import pack
from slimscan.files.guard import writing
from slimscan.files.itkheader import META_TYPES
from slimscan.files.lazy import slabs
from slimscan.nouns import Volume

# The first name of each type is the one that ITK writes.
_META_NAMES = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "u4": "UINT"} | {
    code: name for name, code in META_TYPES.items() if code in ("i8", "u8", "f4", "f8")
}
_NRRD_NAMES = {
    "i1": "signed char", "u1": "unsigned char", "i2": "short", "u2": "unsigned short", "i4": "int", "u4": "unsigned int",
    "i8": "int64", "u8": "uint64", "f4": "float", "f8": "double",
}  # fmt: skip


def _code(volume: Volume, path: Path, title: str) -> str:
    code = volume.pixels.dtype.str[1:]
    if code not in _NRRD_NAMES:
        raise OutputError(
            f"{path}: {title} cannot hold {volume.pixels.dtype}; allowed: {', '.join(_NRRD_NAMES.values())}"
        )
    return code


def _lps(volume: Volume, path: Path, title: str) -> NDArray[np.float64]:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(volume.affine_mm, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise OutputError(f"{path}: {title} wants voxels with three finite spacings; they are {volume.spacing_mm} mm")
    return affine


def _sizes(volume: Volume) -> tuple[list[int], int]:
    """(sizes of the axes, x first, frames apart; samples a voxel)."""
    depth, height, width, *samples = volume.shape
    frames = int(volume.about.get("frames", 1) or 1)
    stacked = [depth // frames, frames] if frames > 1 and depth % frames == 0 else [depth]
    return [width, height, *stacked], samples[0] if samples else 1


def _extra(volume: Volume) -> Mapping[str, Any]:
    """Entries that came with a MetaImage or NRRD header, each in one line."""
    found = volume.about.get("metadata", {})
    if not isinstance(found, Mapping):
        return {}
    return {
        str(key): str(value)
        for key, value in found.items()
        if not any(mark in f"{key}{value}" for mark in "\r\n") and not any(mark in str(key) for mark in ":=#")
    }


def _row(values: Any) -> str:
    return " ".join(repr(float(value)) for value in values)


def _total(volume: Volume) -> int:
    return int(np.prod(volume.shape, dtype=np.int64)) * volume.pixels.dtype.itemsize


def _chunks(volume: Volume) -> Any:
    little = volume.pixels.dtype.newbyteorder("<")
    return (slab.astype(little, copy=False).tobytes() for slab in slabs(volume))


def write_meta(volume: Volume, path: Path) -> None:
    """One .mha, zlib; OutputError for samples or geometry that MetaImage cannot hold."""
    code = _code(volume, path, "MetaImage")
    lps = _lps(volume, path, "MetaImage")
    sizes, samples = _sizes(volume)
    count = len(sizes)
    z, y, x = volume.spacing_mm
    spacing = [x, y, z, 1.0][:count]
    matrix = np.eye(count)
    matrix[:3, :3] = (lps[:3, :3] / [x, y, z]).T  # MetaIO writes one axis after the other
    lines = [
        "ObjectType = Image",
        f"NDims = {count}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {'':20}",
        f"TransformMatrix = {_row(matrix.ravel())}",
        f"Offset = {_row([*lps[:3, 3], 0.0][:count])}",
        f"CenterOfRotation = {_row([0.0] * count)}",
        f"ElementSpacing = {_row(spacing)}",
        f"DimSize = {' '.join(map(str, sizes))}",
    ]
    if (volume.slope, volume.intercept) != (1.0, 0.0):
        lines.append(f"ElementToIntensityFunctionSlope = {volume.slope!r}")
        lines.append(f"ElementToIntensityFunctionOffset = {volume.intercept!r}")
    lines += [f"{key} = {value}" for key, value in _extra(volume).items()]
    if samples > 1:
        lines.append(f"ElementNumberOfChannels = {samples}")
    lines += [f"ElementType = MET_{_META_NAMES[code]}", "ElementDataFile = LOCAL\n"]
    head = "\n".join(lines).encode("latin-1", "replace")
    with writing(path), path.open("wb") as file:
        file.write(head)
        pack(file, _chunks(volume), _total(volume), "zlib")
        size = file.tell() - len(head)
        file.seek(head.index(b"CompressedDataSize = ") + len(b"CompressedDataSize = "))
        file.write(b"%d" % size)


def write_nrrd(volume: Volume, path: Path) -> None:
    """One .nrrd, gzip; OutputError for samples or geometry that NRRD cannot hold."""
    code = _code(volume, path, "NRRD")
    lps = _lps(volume, path, "NRRD")
    sizes, samples = _sizes(volume)
    count = len(sizes)
    axes = np.eye(count)
    axes[:3, :3] = lps[:3, :3].T
    directions = ["none"] * (samples > 1) + [f"({','.join(repr(float(v)) for v in axis)})" for axis in axes]
    origin = ",".join(repr(float(v)) for v in [*lps[:3, 3], 0.0][:count])
    kinds = ["vector"] * (samples > 1) + ["domain"] * count
    lines = [
        "NRRD0004",
        f"type: {_NRRD_NAMES[code]}",
        f"dimension: {len(kinds)}",
        "space: left-posterior-superior" if count == 3 else f"space dimension: {count}",
        f"sizes: {' '.join(map(str, [*([samples] if samples > 1 else []), *sizes]))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {' '.join(kinds)}",
        "endian: little",
        "encoding: gzip",
        f"space origin: ({origin})",
    ]
    if (volume.slope, volume.intercept) != (1.0, 0.0):
        lines += [f"RescaleSlope:={volume.slope!r}", f"RescaleIntercept:={volume.intercept!r}"]
    lines += [f"{key}:={value}" for key, value in _extra(volume).items()]
    with writing(path), path.open("wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode("latin-1", "replace"))
        pack(file, _chunks(volume), _total(volume))
