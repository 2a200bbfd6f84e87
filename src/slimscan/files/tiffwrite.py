"""TIFF out: OME-TIFF of decoded pixels, or of JPEG 2000 and JPEG XL codestreams that were made elsewhere.

Deflate with horizontal differencing is what every TIFF reader opens, Fiji's included. Compression 34712 (JPEG 2000) and
50002 (JPEG XL) are the tags that tifffile and libtiff's registry use; Bio-Formats reads the first.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import OutputError
from slimscan.files import tiffreceipt
from slimscan.files.guard import one_line, writing
from slimscan.files.lazy import slabs
from slimscan.files.tiffmeta import AFFINE_KEY, RESCALE_KEY
from slimscan.nouns import Pixels, Volume

# Codec -> (TIFF compression, first bytes of its bare codestreams and boxes, whether signed samples come back).
ENCODED: dict[str, tuple[int, tuple[bytes, ...], bool]] = {
    "jpeg2000": (34712, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), True),
    "htj2k": (34712, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), True),
    "jpegxl": (50002, (b"\xff\x0a", b"\0\0\0\x0cJXL "), False),
}

# Pixel types of OME-XML 2016-06 that numpy and slimscan hold.
_OME_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
# Classic TIFF counts bytes in 32 bits; the rest of the room is for headers and for codecs that expand noise.
_CLASSIC_LIMIT = 3 << 30


def write(volume: Volume, path: Path) -> None:
    """OME-TIFF, deflate, one page a slice; OutputError for samples that OME-TIFF cannot hold."""
    predictor = 2 if volume.pixels.dtype.kind in "ui" else 1
    planes = (plane for slab in slabs(volume) for plane in slab)
    _write(volume, path, planes, 8, volume.bits, {"predictor": predictor})


def write_encoded(path: Path, volume: Volume, frames: Iterable[bytes], codec_name: str, bits: int) -> None:
    """OME-TIFF whose strips are the codestreams of `frames`, one a slice, in order, as the codec made them.

    bits: significant bits of a sample, as encoded. Room for a receipt is left (tiffreceipt.fill). OutputError for a codec that TIFF has no number for, for signed
    samples in JPEG XL, and for frames that are not codestreams or not one a slice.
    """
    if codec_name not in ENCODED:
        raise OutputError(
            f"{path}: TIFF has no place for {codec_name}; allowed: {' '.join(ENCODED)}, or decoded pixels"
        )
    tag, magics, signed = ENCODED[codec_name]
    kind = volume.pixels.dtype.kind
    if kind != "u" and not (signed and kind == "i"):
        raise OutputError(
            f"{path}: {codec_name} in TIFF cannot hold {volume.pixels.dtype}; allowed: unsigned integers"
            + (" and signed ones" if signed else "; use jpeg2000 or decoded pixels")
        )
    args: dict[str, Any] = {"rowsperstrip": volume.shape[1]}
    if kind == "u":  # tifffile knows 12 bits of unsigned samples only; OME-XML says it for both
        args["compressionargs"] = {"bitspersample": max(bits, 9 if volume.pixels.dtype.itemsize == 2 else 1)}
    depth, left = volume.shape[0], iter(frames)
    _write(volume, path, _checked(path, left, depth, codec_name, magics), tag, bits, args, receipt=True)
    if next(left, None) is not None:
        raise OutputError(f"{path}: more {codec_name} codestreams came than {depth} slices; want one a slice")


def _checked(
    path: Path, frames: Iterator[bytes], depth: int, codec_name: str, magics: tuple[bytes, ...]
) -> Iterator[bytes]:
    count = 0
    for count, frame in enumerate(frames, 1):
        if not frame.startswith(magics):
            raise OutputError(f"{path}: frame {count} of {depth} is no {codec_name} codestream; want one a slice")
        yield frame
    if count != depth:
        raise OutputError(f"{path}: {count} {codec_name} codestreams came for {depth} slices; want one a slice")


def _write(
    volume: Volume,
    path: Path,
    planes: Iterator[Pixels] | Iterator[bytes],
    compression: int,
    bits: int,
    args: dict[str, Any],
    receipt: bool = False,
) -> None:
    import tifffile

    dtype = volume.pixels.dtype
    if dtype.name not in _OME_TYPES:
        raise OutputError(f"{path}: OME-TIFF cannot hold {dtype}; allowed: {' '.join(_OME_TYPES)}")
    shape, axes = _axes(volume)
    colour = len(volume.shape) == 4
    raw_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    with writing(path):
        try:
            with tifffile.TiffWriter(path, bigtiff=raw_bytes > _CLASSIC_LIMIT, ome=True) as tif:
                tif.write(
                    planes,
                    shape=shape,
                    dtype=dtype.newbyteorder("="),
                    photometric="rgb" if colour and volume.shape[3] in (3, 4) else "minisblack",
                    planarconfig="contig" if colour else None,
                    compression=compression,
                    software="slimscan",
                    metadata=_metadata(volume, axes, bits, receipt),
                    **args,
                )
        except (ValueError, RuntimeError, StopIteration) as error:
            raise OutputError(f"{path}: cannot be written as TIFF: {one_line(error)}") from error


def _axes(volume: Volume) -> tuple[tuple[int, ...], str]:
    """(shape, axes) with frames apart when the volume is a stack of them."""
    depth, *plane = volume.shape
    frames = int(volume.about.get("frames", 1) or 1)
    samples = "S" if len(plane) == 3 else ""
    if frames > 1 and depth % frames == 0:
        return (frames, depth // frames, *plane), "TZYX" + samples
    return (depth, *plane), "ZYX" + samples


def _metadata(volume: Volume, axes: str, bits: int, receipt: bool) -> dict[str, Any]:
    z, y, x = volume.spacing_mm
    affine = [[float(value) for value in row] for row in np.asarray(volume.affine_mm, np.float64)]
    # tifffile would draw a random identifier; equal images shall make equal files.
    name = f"{Path(volume.source).name} {volume.shape} {volume.pixels.dtype} {affine}"
    metadata: dict[str, Any] = {
        "axes": axes,
        "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}",
        "Creator": "slimscan",
        "MapAnnotation": {AFFINE_KEY: json.dumps(affine)},
    }
    if (volume.slope, volume.intercept, volume.unit) != (1.0, 0.0, ""):
        metadata["MapAnnotation"][RESCALE_KEY] = json.dumps([volume.slope, volume.intercept, volume.unit])
    if receipt:
        metadata["MapAnnotation"][tiffreceipt.KEY] = tiffreceipt.EMPTY
    if volume.pixels.dtype.kind in "ui":
        metadata["SignificantBits"] = bits
    if min(x, y, z) > 0:
        for axis, size in (("X", x), ("Y", y), ("Z", z)):
            metadata[f"PhysicalSize{axis}"], metadata[f"PhysicalSize{axis}Unit"] = size, "mm"
    return metadata
