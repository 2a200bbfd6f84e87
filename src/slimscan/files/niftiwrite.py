"""NIfTI out: the header as it came when it still describes the pixels, an edited or a new one when it does not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimscan.errors import OutputError
from slimscan.files.deflate import pack
from slimscan.files.format import Format
from slimscan.files.guard import writing
from slimscan.files.lazy import slabs
from slimscan.files.nifti import NIBABEL, Header, kind, parse, read, sniff
from slimscan.files.niftiheader import SAMPLES, SIZES
from slimscan.nouns import Volume


def write(volume: Volume, path: Path) -> None:
    """The volume as .nii, or .nii.gz when the name says so; OutputError for samples that NIfTI cannot hold."""
    code = _code(volume, path)
    block, order = _header(volume, path, code)
    dtype = np.dtype(order + SAMPLES[code][0])
    chunks = (slab.astype(dtype, copy=False).tobytes() for slab in slabs(volume))
    total = len(block) + int(np.prod(volume.shape, dtype=np.int64)) * dtype.itemsize
    with writing(path), path.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            pack(file, _after(block, chunks), total)
        else:
            for chunk in _after(block, chunks):
                file.write(chunk)


def _after(block: bytes, chunks: Any) -> Any:
    yield block
    yield from chunks


def _code(volume: Volume, path: Path) -> int:
    """The NIfTI data type of the volume's samples."""
    sample, samples = volume.pixels.dtype.str[1:], volume.shape[3] if len(volume.shape) == 4 else 1
    for code, held in SAMPLES.items():
        if held == (sample, samples):
            return code
    raise OutputError(
        f"{path}: NIfTI cannot hold {samples} sample(s) of {volume.pixels.dtype} a voxel; allowed: one integer or float "
        "of 8 to 64 bits (no float16), or 3 or 4 of uint8; write .tif, .mha or .nrrd instead"
    )


def _header(volume: Volume, path: Path, code: int) -> tuple[bytes, str]:
    """(all bytes before the voxels, byte order of the voxels)."""
    raw = volume.raw_header.get("nifti", b"")
    found = kind(raw)
    if found is None or max(volume.shape[:3]) > 32767 >= _longest(raw, path):
        return _new(volume, code), "<"
    header = parse(raw, path)
    if not _describes(header, volume, code):
        fields = _fields(raw, found)
        _edit(header, fields, volume, code)
        raw = fields.binaryblock + raw[fields.sizeof_hdr :]
    return (raw if found[2] else _joined(_fields(raw, found), raw)), header.order


def _fields(raw: bytes, found: tuple[int, Literal["<", ">"], bool]) -> Any:
    """nibabel's structure of the header, which can be changed."""
    nibabel: Any = importlib.import_module("nibabel")
    version, order, _ = found
    made = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    return made(raw[: SIZES[version]], endianness=order, check=False)


def _longest(raw: bytes, path: Path) -> int:
    return max(parse(raw, path).shape[:3])


def _describes(header: Header, volume: Volume, code: int) -> bool:
    """Whether type, shape, geometry and rescaling of the header are those of the volume."""
    return (
        int(header.fields["datatype"]) == code
        and header.shape == volume.shape
        and np.allclose(header.affine_mm, volume.affine_mm, rtol=1e-6, atol=1e-6)
        and np.allclose((header.slope, header.intercept), (volume.slope, volume.intercept), rtol=1e-6, atol=0)
    )


def _edit(header: Header, fields: Any, volume: Volume, code: int) -> None:
    """Change what no longer holds in the fields of the header, and nothing else."""
    if int(fields["datatype"]) != code:
        fields["datatype"], fields["bitpix"] = code, np.dtype(SAMPLES[code][0]).itemsize * 8 * SAMPLES[code][1]
    if header.shape[:3] != volume.shape[:3]:
        depth, height, width = volume.shape[:3]
        frames = header.frames if depth % header.frames == 0 else 1
        fields.set_data_shape((width, height, depth // frames, *((frames,) if frames > 1 else ())))
    if not np.allclose(header.affine_mm, volume.affine_mm, rtol=1e-6, atol=1e-6):
        _place(fields, volume, int(fields["sform_code"]) or int(fields["qform_code"]) or 1)
    if not np.allclose((header.slope, header.intercept), (volume.slope, volume.intercept), rtol=1e-6, atol=0):
        fields["scl_slope"], fields["scl_inter"] = volume.slope, volume.intercept


def _place(fields: Any, volume: Volume, code: int) -> None:
    """The volume's affine in mm as sform, and as qform where that can hold it (no shear)."""
    affine = np.asarray(volume.affine_mm, np.float64)
    z, y, x = volume.spacing_mm
    count = max(3, int(fields["dim"][0]))
    fields["dim"][0] = count
    fields["pixdim"][1:4] = (x, y, z)
    fields.set_xyzt_units("mm", _time_unit(fields))
    fields.set_sform(affine, code)
    if min(x, y, z) > 0 and np.isfinite(affine).all():
        fields.set_qform(affine, code, strip_shears=True)
        if not np.allclose(fields.get_qform(), affine, rtol=1e-4, atol=1e-4):
            fields["qform_code"] = 0


def _time_unit(fields: Any) -> str | None:
    try:
        return str(fields.get_xyzt_units()[1])
    except KeyError:
        return None


def _new(volume: Volume, code: int) -> bytes:
    """A new header and an empty extension field."""
    nibabel: Any = importlib.import_module("nibabel")
    depth, height, width = volume.shape[:3]
    frames = int(volume.about.get("frames", 1) or 1)
    frames = frames if frames > 1 and depth % frames == 0 else 1
    sides = (width, height, depth // frames, *((frames,) if frames > 1 else ()))
    long = max(sides) > 32767
    fields = (nibabel.Nifti2Header if long else nibabel.Nifti1Header)(endianness="<")
    fields["magic"] = b"n+2" if long else b"n+1"
    fields["vox_offset"] = 544 if long else 352
    fields["datatype"], fields["bitpix"] = code, np.dtype(SAMPLES[code][0]).itemsize * 8 * SAMPLES[code][1]
    fields.set_data_shape(sides)
    fields["scl_slope"], fields["scl_inter"] = volume.slope, volume.intercept
    fields["descrip"] = b"slimscan"
    _place(fields, volume, 1)
    return bytes(fields.binaryblock) + bytes(4)


def _joined(fields: Any, raw: bytes) -> bytes:
    """The header of a .hdr/.img pair as the head of one .nii file: magic and vox_offset change, extensions stay."""
    size = int(fields["sizeof_hdr"])
    extensions = raw[size:] if len(raw) >= size + 4 else bytes(4)
    extensions += bytes(-(size + len(extensions)) % 16)
    fields["magic"] = b"n+1" if size == 348 else b"n+2"
    fields["vox_offset"] = size + len(extensions)
    return bytes(fields.binaryblock) + extensions


NIFTI = Format(
    name="nifti",
    title="NIfTI-1 and NIfTI-2",
    suffixes=(".nii.gz", ".nii"),
    sniff=sniff,
    read=read,
    write=write,
    needs=(NIBABEL,),
    note="header kept byte for byte; a pair of .hdr and .img is read, and written as one .nii",
)
