"""The rows of Luu 2021's Table 3 as functions, and the rows that this package adds.

General coders take the whole volume as one stream of little-endian int16, as the paper fed NIfTI files to them, at their
tools' own default levels; image coders go slice by slice or slab by slab through the registry CODECS. Bytes are those of
the streams, without a container.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from slimscan.codecs import codec
from slimscan.errors import CodecError, InputError
from slimscan.nouns import Layout, Needs

Voxels = NDArray[np.int16]  # (z, y, x), HU
AV = Needs("av", "av", "video")
_EXACT_TOLERANCE = 0.49  # under one half: rounded to whole numbers, nothing is left of the error


@dataclass(frozen=True)
class Coder:
    """One row. paper: its column in Table 3, "" when this package adds it. pack: streams of a volume; unpack: the way back.

    exact: nothing may be lost, which every measurement checks. note: how it differs from the paper's tool.
    """

    name: str
    title: str
    paper: str
    exact: bool
    pack: Callable[[Voxels], list[bytes]]
    unpack: Callable[[list[bytes], tuple[int, int, int]], Voxels]
    note: str = ""
    needs: tuple[Needs, ...] = ()


def _stream(pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]) -> tuple[Callable[..., list[bytes]], Callable[..., Voxels]]:  # fmt: skip
    def packed(pixels: Voxels) -> list[bytes]:
        return [pack(np.ascontiguousarray(pixels, "<i2").tobytes())]

    def unpacked(streams: list[bytes], shape: tuple[int, int, int]) -> Voxels:
        return np.frombuffer(unpack(streams[0]), "<i2").astype(np.int16).reshape(shape)

    return packed, unpacked


def _zip(raw: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("image.raw"), raw, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _unzip(packed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return archive.read("image.raw")


def _zstd(raw: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_encode(raw, level=9))


def _unzstd(packed: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(packed))


def _codes(pixels: Voxels) -> tuple[NDArray[np.uint16], int, int]:
    """HU counted from the smallest, that smallest, and the bits that the largest needs."""
    low = int(pixels.min())
    codes = (pixels.astype(np.int32) - low).astype(np.uint16)
    return codes, low, max(1, int(codes.max()).bit_length())


def _pack(pixels: Voxels, *, name: str, value: float | None) -> list[bytes]:
    """Streams of a codec of the registry; the first, 3 bytes, says the smallest value and the bits."""
    found = codec(name)
    codes, low, bits = _codes(pixels)
    depth = 1 if found.chunk == "slice" else found.depth
    streams = [low.to_bytes(2, "little", signed=True) + bytes([bits])]
    for start in range(0, len(codes), depth):
        part = np.ascontiguousarray(codes[start : start + depth])
        streams.append(found.encode(part, Layout(part.shape, "uint16", bits), value))
    return streams


def _unpack(streams: list[bytes], shape: tuple[int, int, int], *, name: str) -> Voxels:
    found = codec(name)
    low, bits = int.from_bytes(streams[0][:2], "little", signed=True), streams[0][2]
    depth = 1 if found.chunk == "slice" else found.depth
    out = np.empty(shape, np.int16)
    for index, start in enumerate(range(0, shape[0], depth), start=1):
        layout = Layout((min(depth, shape[0] - start), *shape[1:]), "uint16", bits)
        out[start : start + depth] = (found.decode(streams[index], layout).astype(np.int32) + low).astype(np.int16)
    return out


def _speck(pixels: Voxels, slab: int = 32) -> list[bytes]:
    return [_speck_slab(np.ascontiguousarray(pixels[z : z + slab], np.float32)) for z in range(0, len(pixels), slab)]


def _speck_slab(part: NDArray[np.float32]) -> bytes:
    import imagecodecs

    if len(part) == 1:  # its 3D decoder ends the process on one slice
        return bytes(imagecodecs.sperr_encode(part[0], _EXACT_TOLERANCE, "pwe", header=False, numthreads=1))
    return bytes(imagecodecs.sperr_encode(part, _EXACT_TOLERANCE, "pwe", numthreads=1))


def _unspeck(streams: list[bytes], shape: tuple[int, int, int], slab: int = 32) -> Voxels:
    import imagecodecs

    out = np.empty(shape, np.int16)
    for stream, start in zip(streams, range(0, shape[0], slab), strict=True):
        part = (min(slab, shape[0] - start), *shape[1:])
        if part[0] == 1:
            back = imagecodecs.sperr_decode(stream, shape=part[1:], dtype=np.float32, header=False, numthreads=1)
        else:
            back = imagecodecs.sperr_decode(stream, shape=part, dtype=np.float32, numthreads=1)
        out[start : start + slab] = np.rint(back).astype(np.int16).reshape(part)
    return out


def _general(name: str, title: str, paper: str, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes], note: str = "") -> Coder:  # fmt: skip
    return Coder(name, title, paper, True, *_stream(pack, unpack), note)


def _image(name: str, title: str, paper: str = "", value: float | None = None, note: str = "", video: bool = False) -> Coder:  # fmt: skip
    pack, unpack = partial(_pack, name=name, value=value), partial(_unpack, name=name)
    return Coder(name, title, paper, value is None, pack, unpack, note, (AV,) if video else ())


def coders(hevc_qp: float = 0.0, av1_crf: float = 1.0) -> Mapping[str, Coder]:
    """All rows by name, the paper's first, in its order. hevc_qp, av1_crf: where the lossy rows stand, finest by default."""
    rows = (
        _general("gz", "gzip", "GZ", partial(gzip.compress, compresslevel=6, mtime=0), gzip.decompress, "level 6"),
        _general("zip", "zip (deflate)", "ZIP", _zip, _unzip, "the same deflate as gzip, in another container"),
        _general("bz2", "bzip2", "BZ2", partial(bz2.compress, compresslevel=9), bz2.decompress, "level 9"),
        _general(
            "7z", "7z (LZMA2)", "7z", partial(lzma.compress, preset=6), lzma.decompress,
            "liblzma preset 6 in an .xz: LZMA2 in another container than 7z's",
        ),
        Coder("spiht", "SPIHT, by its successor SPECK", "SPIHT", True, _speck, _unspeck,
              "SPERR: 3D wavelet, SPECK, and the corrections that make rounded values exact; SPIHT itself has no free coder"),
        _image("jpegls", "JPEG-LS", "JLS"),
        _image("jpeg2000", "JPEG 2000, reversible", "J2K"),
        _image("hevc-intra", "HEVC, each slice alone", "HEVC", hevc_qp, "x265, 12-bit grey; visually lossless, not exact", True),
        _image("hevc-gop8", "HEVC, random access", "", hevc_qp, "groups of 8 slices; the paper leaves it for the future", True),
        _image("av1-gop8", "AV1, random access", "", av1_crf, "10-bit: its finest is coarser than HEVC's", True),
        _image("htj2k", "HTJ2K, reversible"),
        _image("jpegxl", "JPEG XL, lossless"),
        _general("zstd", "Zstandard", "", _zstd, _unzstd, "level 9"),
    )  # fmt: skip
    return MappingProxyType({row.name: row for row in rows})


NAMES = tuple(coders())

ABSENT: Mapping[str, str] = {
    "RAR": "its encoder is proprietary, and no free one exists",
    "iSyntax": "Philips' own format; free software reads files of slides, and none writes it",
}
"""Columns of Table 3 that free software cannot measure, and why."""


def chosen(names: tuple[str, ...], hevc_qp: float = 0.0, av1_crf: float = 1.0) -> dict[str, Coder]:
    """The rows of these names; InputError for an unknown one, MissingExtra when its package is not installed."""
    known = coders(hevc_qp, av1_crf)
    out = {}
    for name in names:
        if name not in known:
            absent = {key.lower(): f"{key}: {why}" for key, why in ABSENT.items()}
            why = f" ({absent[name.lower()]})" if name.lower() in absent else ""
            raise InputError(f'coder "{name}" is not known{why}; allowed: {", ".join(known)}')
        for need in known[name].needs:
            need.demand(f"the coder {name}")
        out[name] = known[name]
    return out


def checked(coder: Coder, original: Voxels, decoded: Voxels) -> None:
    """CodecError when a coder that calls itself exact gave back anything else."""
    changed = int((original != decoded).sum()) if coder.exact else 0
    if changed:
        raise CodecError(f"{coder.name}: is exact by its name; voxels that came back changed: {changed}")
