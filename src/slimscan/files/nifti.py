"""NIfTI-1 and NIfTI-2: .nii, .nii.gz and .hdr/.img pairs, three- and four-dimensional.

The standard (nifti.nimh.nih.gov) stores voxels with i fastest, so the file read in order is already (k, j, i) = (z, y, x).
A fourth dimension, time, is stacked: t frames of z slices are read as (t*z, y, x) with about["frames"] = t, and written
back as four dimensions. Samples stay as stored; scl_slope and scl_inter become slope and intercept. The header's own
bytes, extensions included, stand in raw_header["nifti"] for writing them back byte for byte.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, NotReadable
from slimscan.files import niftiheader
from slimscan.files.deflate import inflate
from slimscan.files.guard import damaged, must_hold, reading
from slimscan.files.lazy import native
from slimscan.files.niftiheader import LABELS, SAMPLES
from slimscan.nouns import Needs, Volume

NIBABEL = Needs("nibabel", "nibabel")
TITLE = "NIfTI"

_UNIT_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
_LONGEST_HEADER = 64 << 20


@dataclass(frozen=True)
class Header:
    """A parsed header. fields: by name (niftiheader); order: "<" or ">"; shape: (z, y, x[, c]) with frames stacked."""

    fields: Any
    order: Literal["<", ">"]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    frames: int
    affine_mm: NDArray[np.float64]
    slope: float
    intercept: float
    offset: int

    @property
    def data_bytes(self) -> int:
        """Bytes of all samples."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def kind(head: bytes) -> tuple[int, Literal["<", ">"], bool] | None:
    """(version, byte order, whether the pixels stand in the same file) of a NIfTI header, else None."""
    for order in ("<", ">"):
        sizeof = int.from_bytes(head[:4], "little" if order == "<" else "big")
        magic = head[344:348] if sizeof == 348 else head[4:8] if sizeof == 540 else b""
        if magic in (b"n+1\0", b"ni1\0", b"n+2\0", b"ni2\0"):
            return (1 if sizeof == 348 else 2), order, magic[1:2] == b"+"
    return None


def is_gzip(head: bytes) -> bool:
    """Whether these are the first bytes of a gzip stream."""
    return head[:3] == b"\x1f\x8b\x08"


def unpacked(head: bytes) -> bytes:
    """The first bytes of the content, unpacked when they are gzip; b"" when they do not unpack."""
    if not is_gzip(head):
        return head
    try:
        return zlib.decompressobj(31).decompress(head, 4096)
    except zlib.error:
        return b""


def sniff(path: Path, head: bytes) -> bool:
    """A NIfTI header, plain or packed, or the .img beside one."""
    if kind(unpacked(head)):
        return True
    partner = _header_of(path)
    return head != b"" and partner is not None and kind(unpacked(_first(partner, 4096))) is not None


def _first(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def _header_of(path: Path) -> Path | None:
    """The .hdr that stands beside an .img, or None."""
    for image, header in ((".img", ".hdr"), (".img.gz", ".hdr.gz"), (".img", ".hdr.gz"), (".img.gz", ".hdr")):
        if path.name.lower().endswith(image):
            for name in (header, header.upper()):
                partner = path.with_name(path.name[: -len(image)] + name)
                if partner.is_file():
                    return partner
    return None


def _image_of(header: Path) -> Path:
    stem = header.name.lower().removesuffix(".gz").removesuffix(".hdr")
    for suffix in (".img", ".img.gz", ".IMG"):
        partner = header.with_name(header.name[: len(stem)] + suffix)
        if partner.is_file():
            return partner
    raise NotReadable(f"{header}: is the header of a NIfTI pair, and {stem}.img is not beside it; put it there")


def parse(block: bytes, path: Path) -> Header:
    """The header in these bytes; NotReadable when it contradicts itself, InputError for what slimscan does not take."""
    found = kind(block)
    if found is None:
        raise damaged(path, TITLE, "the header is not one of NIfTI-1 or NIfTI-2")
    version, order, joined = found
    size = niftiheader.SIZES[version]
    if len(block) < size:
        raise damaged(path, TITLE, f"the header is cut off after {len(block)} of {size} bytes")
    fields = niftiheader.fields(block, version, order)
    code = int(fields["datatype"])
    if code not in SAMPLES:
        raise InputError(
            f"{path}: samples of NIfTI type {code}; allowed: integers and floats of 8 to 64 bits, RGB24 and RGBA32; "
            "convert the image first"
        )
    sample, samples = SAMPLES[code]
    dtype = np.dtype(order + sample)
    if int(fields["bitpix"]) not in (0, dtype.itemsize * 8 * samples):
        raise damaged(path, TITLE, f"type {code} has not {int(fields['bitpix'])} bits a voxel")
    frames, spatial = _shape(path, [int(n) for n in fields["dim"]])
    shape = (frames * spatial[0], *spatial[1:], *((samples,) if samples > 1 else ()))
    try:
        affine = niftiheader.affine(fields, version)
        slope, intercept = niftiheader.slope_intercept(fields)
    except ValueError as error:
        raise damaged(path, TITLE, str(error)) from None
    affine[:3] *= _UNIT_MM.get(niftiheader.unit(fields), 1.0)
    if not np.isfinite(affine).all():
        raise damaged(path, TITLE, "its affine is not finite")
    lowest = size + 4 if joined else 0
    offset = int(fields["vox_offset"]) or lowest
    if not lowest <= offset <= _LONGEST_HEADER:
        raise damaged(path, TITLE, f"vox_offset {offset} is not in {lowest}..{_LONGEST_HEADER}")
    return Header(fields, order, dtype, shape, frames, affine, slope, intercept, offset)


def _shape(path: Path, dim: list[int]) -> tuple[int, tuple[int, int, int]]:
    """(frames, (z, y, x)) of a dim field."""
    if not 1 <= dim[0] <= 7:
        raise damaged(path, TITLE, f"dim[0] is {dim[0]}, want 1 to 7")
    sides = dim[1 : 1 + dim[0]]
    if min(sides) < 0:
        raise damaged(path, TITLE, f"a side is negative: {sides}")
    if min(sides) == 0:
        raise NotReadable(f"{path}: holds no voxels: its sides are {sides}; fetch or export it again")
    while len(sides) > 1 and sides[-1] == 1:
        sides.pop()
    if len(sides) > 4:
        raise InputError(
            f"{path}: has {len(sides)} dimensions {sides}; allowed: up to 4 (x, y, z, time); split it first"
        )
    x, y, z, frames = sides + [1] * (4 - len(sides))
    return frames, (z, y, x)


def read(path: Path) -> Volume:
    """The image, memory-mapped when it is not packed."""
    with reading(path, TITLE):
        header_path = _header_of(path) or path
        head = _first(header_path, 4096)
        found = kind(unpacked(head))
        if found is None:
            raise damaged(header_path, TITLE, "the header is not one of NIfTI-1 or NIfTI-2")
        header = parse(unpacked(head), header_path)
        if found[2]:
            raw, data = _joined(path, header, is_gzip(head))
        else:
            raw, data = _pair(header_path, header)
        pixels = np.ndarray(header.shape, header.dtype, data, 0)
        return Volume(
            pixels=native(pixels),
            affine_mm=header.affine_mm,
            bits=header.dtype.itemsize * 8,
            slope=header.slope,
            intercept=header.intercept,
            about=_about(header),
            raw_header={"nifti": raw},
            source=str(path),
        )


def _joined(path: Path, header: Header, packed: bool) -> tuple[bytes, NDArray[np.uint8]]:
    total = header.offset + header.data_bytes
    data = _bytes(path, total, packed)
    return data[: header.offset].tobytes(), data[header.offset :]


def _pair(header_path: Path, header: Header) -> tuple[bytes, NDArray[np.uint8]]:
    raw = header_path.read_bytes()
    if is_gzip(raw):
        raw = zlib.decompressobj(31).decompress(raw, _LONGEST_HEADER)
    image = _image_of(header_path)
    total = header.offset + header.data_bytes
    return raw, _bytes(image, total, is_gzip(_first(image, 3)))[header.offset :]


def _bytes(path: Path, total: int, packed: bool) -> NDArray[np.uint8]:
    """The first `total` bytes of the content; the rest may only be a little padding of zeros."""
    if packed:
        return inflate(path, TITLE, total)
    held = path.stat().st_size
    must_hold(path, TITLE, total, held)
    data = np.memmap(path, np.uint8, "r", shape=(held,))
    if held - total > 1 << 20 or data[total:].any():
        raise damaged(path, TITLE, f"it holds {held} bytes, its header describes {total}")
    return data[:total]


def _about(header: Header) -> dict[str, Any]:
    fields = header.fields
    about: dict[str, Any] = {
        "format": "NIfTI-1" if int(fields["sizeof_hdr"]) == 348 else "NIfTI-2",
        "dim": [int(n) for n in fields["dim"][1 : 1 + int(fields["dim"][0])]],
        "pixdim": [round(float(n), 6) for n in np.nan_to_num(fields["pixdim"][1 : 1 + int(fields["dim"][0])])],
        "datatype": LABELS[int(fields["datatype"])],
        "units": niftiheader.unit(fields),
        "qform_code": int(fields["qform_code"]),
        "sform_code": int(fields["sform_code"]),
    }
    for name in ("descrip", "aux_file", "intent_name"):
        text = bytes(fields[name]).split(b"\0")[0].decode("latin-1").strip()
        if text:
            about[name] = text
    if header.frames > 1:
        about["frames"] = header.frames
    return about
