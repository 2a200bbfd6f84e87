"""How a volume is described in OME-Zarr 0.5: the two zarr.json, and what slimscan adds to them.

Grey volumes are stored (z, y, x); colour ones (c, z, y, x), as OME-NGFF orders its axes, with zarr's own transpose
codec. Geometry that NGFF cannot say (a rotation) stands beside its scale in the attributes under "slimscan".
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from slimscan.codecs import codec
from slimscan.errors import NotReadable
from slimscan.files.ozx import MOST_BESIDE, Box, compact
from slimscan.nouns import Volume
from slimscan.press.scheme import Scheme

FORMAT = 1  # of the attributes; older ones stay readable
RECEIPT = "slimscan/receipt.json.z"
ABOUT = "slimscan/about.json.z"
HEADER = "slimscan/header."


def chunk_pieces(slices: int, depth: int) -> list[tuple[int, int]]:
    """Slices start..stop-1 of every chunk."""
    return [(start, min(start + depth, slices)) for start in range(0, slices, depth)]


def root_json(volume: Volume, scheme: Scheme, bits: int) -> dict[str, Any]:
    """The group's zarr.json."""
    z, y, x = volume.spacing_mm
    colour = len(volume.shape) == 4
    space = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    axes = [{"name": "c", "type": "channel"}, *space] if colour else space
    scale = [1.0, z, y, x] if colour else [z, y, x]
    ome = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}],
            }
        ],
    }
    said = {
        "format": FORMAT,
        "bits": bits,
        "affine_mm": [float(v) for v in np.asarray(volume.affine_mm, np.float64).ravel()],
        "padding": volume.padding,
        "slope": volume.slope,
        "intercept": volume.intercept,
        "unit": volume.unit,
        "scheme": scheme.as_json(),
    }
    return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome, "slimscan": said}}


def array_json(volume: Volume, scheme: Scheme) -> dict[str, Any]:
    """The array's zarr.json: one shard, one chunk a slice or slab."""
    slices, height, width = volume.shape[:3]
    colour = volume.shape[3:]
    count = len(chunk_pieces(slices, scheme.depth))
    inner = [*colour, scheme.depth, height, width]
    shape = [*colour, slices, height, width]
    shard = [*colour, count * scheme.depth, height, width]
    transpose = [{"name": "transpose", "configuration": {"order": [1, 2, 3, 0]}}] if colour else []
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": scheme.grid.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": inner,
                    "codecs": [*transpose, *_pixel_codecs(scheme), {"name": "crc32c"}],
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "dimension_names": [*("c" for _ in colour), "z", "y", "x"],
    }


def shard_key(volume: Volume) -> str:
    """The name of the only shard."""
    return "0/c/" + "/".join("0" * len(volume.shape))


def _pixel_codecs(scheme: Scheme) -> list[dict[str, Any]]:
    """How zarr turns chunks into pixels: by imagecodecs-zarr's names where a chunk is a bare standard codestream."""
    found = codec(scheme.codec)
    standard = found.zarr_name
    full = scheme.grid.bits == 8 * np.dtype(scheme.grid.code_dtype).itemsize
    clamped = (
        scheme.exact or found.zarr_bits or full
    )  # else an overshoot of loss comes back as it is, or wrapped around
    if not (standard and clamped and scheme.bare and scheme.grid.exact and np.dtype(scheme.grid.dtype).kind in "iu"):
        return [{"name": "slimscan", "configuration": scheme.as_json()}]
    bare = {"name": standard, "configuration": {}}
    if scheme.grid.identity:
        return [bare]
    shift = {
        "offset": scheme.grid.offset,
        "scale": 1,
        "dtype": np.dtype(scheme.grid.dtype).newbyteorder("<").str,
        "astype": np.dtype(scheme.grid.code_dtype).newbyteorder("<").str,
    }
    return [{"name": "numcodecs.fixedscaleoffset", "configuration": shift}, bare]


def extras(volume: Volume) -> dict[str, bytes]:
    """The header of the source as it was, so that it can be written back byte for byte."""
    about = _without_place(volume.about)
    found = {ABOUT: zlib.compress(compact(about), 9)} if about else {}
    return found | {f"{HEADER}{name}.z": zlib.compress(raw, 9) for name, raw in volume.raw_header.items()}


def _without_place(about: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a header but for the folder it lay in: that is this machine's business, and differs between runs."""
    kept = dict(about)
    if isinstance(kept.get("dicom"), dict):
        kept["dicom"] = {key: value for key, value in kept["dicom"].items() if key != "folder"}
    return kept


def described(box: Box) -> tuple[Scheme, Mapping[str, Any], tuple[int, ...]]:
    """(scheme, what slimscan said of the volume, shape (z, y, x[, c])) of a container; NotReadable when not ours."""
    said = box.root.get("attributes", {}).get("slimscan")
    if not isinstance(said, dict) or "scheme" not in said:
        raise NotReadable(f"{box.path}: this OME-Zarr was not written by slimscan")
    if int(said.get("format", 0)) > FORMAT:
        raise NotReadable(f"{box.path}: file format {said['format']} is newer than {FORMAT}; update slimscan")
    shape = tuple(int(n) for n in box.array["shape"])
    scheme = Scheme.from_json(said["scheme"])
    if len(shape) == 4:
        shape = (*shape[1:], shape[0])
    if len(shape) not in (3, 4) or min(shape) < 1 or len(chunk_pieces(shape[0], scheme.depth)) != len(box.chunks):
        raise NotReadable(
            f"{box.path}: shape {shape} does not go with its {len(box.chunks)} chunks; the file is damaged"
        )
    return scheme, said, shape


def volume_facts(box: Box, said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Volume beside its pixels."""
    try:
        about = json.loads(_unpacked(box.extras[ABOUT])) if ABOUT in box.extras else {}
        about |= _history(box, about)
        headers = {
            name.removeprefix(HEADER).removesuffix(".z"): _unpacked(raw)
            for name, raw in box.extras.items()
            if name.startswith(HEADER)
        }
        return {
            "affine_mm": np.array(said["affine_mm"], np.float64).reshape(4, 4),
            "bits": int(said["bits"]),
            "padding": said["padding"],
            "slope": float(said["slope"]),
            "intercept": float(said["intercept"]),
            "unit": str(said["unit"]),
            "about": about | {"bits_declared": True},
            "raw_header": headers,
            "source": str(box.path),
        }
    except (KeyError, ValueError, TypeError, zlib.error) as error:
        raise NotReadable(f"{box.path}: the description of the volume is damaged ({error!r})") from error


def _unpacked(packed: bytes) -> bytes:
    """A small entry; ValueError, before memory is taken for it, when it is none."""
    stream = zlib.decompressobj()
    content = stream.decompress(packed, MOST_BESIDE)
    if not stream.eof:
        raise ValueError(f"an entry is cut off, or more than {MOST_BESIDE} bytes")
    return content


# Defined terms of LossyImageCompressionMethod, DICOM PS3.3 C.7.6.1.1.5.1; other codecs go by their own name.
METHODS = {
    "jpeg2000": "ISO_15444_1",
    "htj2k": "ISO_15444_15",
    "jpegls": "ISO_14495_1",
    "jpegxl": "ISO_18181_1",
    "jpeg": "ISO_10918_1",
    "hevc": "ISO_23008_2",
}


def _history(box: Box, about: Mapping[str, Any]) -> dict[str, Any]:
    """That these pixels were compressed with loss, for whoever writes them on: {"lossy": {ratio, method}} or nothing.

    "generations": those that `about` carries from earlier files, and this one.
    """
    receipt = receipt_of(box)
    exact = receipt.get("identical")
    if exact is None and receipt:  # it was not read back
        exact = str(receipt["setting"]).endswith("@lossless")
    if not receipt or exact:
        return {}
    name = str(receipt["codec"])
    method = METHODS.get(name.split("-")[0], name.upper()[:16])
    this = {"ratio": float(receipt["ratio_payload"]), "method": method}
    earlier = about.get("generations") or ([about["lossy"]] if about.get("lossy") else [])
    return {"lossy": this, "generations": [*earlier, this]}


def receipt_of(box: Box) -> dict[str, Any]:
    """The receipt that travels in the file; empty when there is none."""
    try:
        found = json.loads(_unpacked(box.extras[RECEIPT])) if RECEIPT in box.extras else {}
    except (ValueError, zlib.error) as error:
        raise NotReadable(f"{box.path}: its receipt is damaged ({error})") from error
    return dict(found)
