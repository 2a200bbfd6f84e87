"""The container: OME-Zarr 0.5 in a folder (.zarr) or in one stored zip file (.ozx, RFC-9 of OME-NGFF).

One array "0" in one shard (zarr's sharding_indexed codec): a shard is the chunks one after the other and an index of
16 bytes a chunk, so that a volume of any number of slices is a handful of zip entries and one slice is one short read.
This file knows names, offsets and checksums; what a chunk means is decided one floor up.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import google_crc32c

from slimscan.errors import ChecksumError, NotReadable
from slimscan.files.guard import reading

SHARD = "0/c/"
RESIDUAL = "residual/"
RESIDUAL_JSON = "residual/zarr.json"
RESIDUAL_SHARD = "residual/c/"
CRC_BYTES = 4
MOST_BESIDE = 256 << 20  # bytes of metadata, unpacked
EPOCH = (1980, 1, 1, 0, 0, 0)  # one date for every entry: the same input gives the same bytes
COMMENT = json.dumps({"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}).encode()
ENTRY_BYTES = 30 + 46  # a local header and its line in the central directory, names apart
END_BYTES = 22 + len(COMMENT)


# What zipfile raises for damaged archives: a flipped bit may name another compression, or claim a password.
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)


def compact(value: Any) -> bytes:
    """JSON without spaces, in a fixed order."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


class Writer:
    """Writes the container's entries in order: metadata, the shard, extras. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: list[tuple[int, int]] = []  # (offset, length) of every chunk, once the shard is written
        self.shard_path = path
        self.beside: list[tuple[int, int]] = []  # the same of the residual's shard
        self.beside_path = path
        self._zip = (
            None if path.suffix.lower() == ".zarr" or path.is_dir() else zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        )
        if self._zip is None:
            path.mkdir(exist_ok=True)
        else:
            self._zip.comment = COMMENT

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._zip is not None:
            self._zip.close()

    def entry(self, name: str, content: bytes) -> None:
        """A small entry, whole."""
        if self._zip is not None:
            self._zip.writestr(_info(name), content)
            return
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def shard(self, name: str, chunks: Iterable[bytes]) -> int:
        """The shard, chunk by chunk as they come, each with its checksum; returns the bytes of the chunks alone."""
        payload, self.shard_path, self.places = self._shard(name, chunks)
        return payload

    def residual(self, described: bytes, name: str, chunks: Iterable[bytes]) -> int:
        """The array "residual": its zarr.json and its shard; returns the bytes that it adds to the container."""
        self.entry(RESIDUAL_JSON, described)
        payload, self.beside_path, self.beside = self._shard(name, chunks)
        shard = payload + len(self.beside) * (CRC_BYTES + 16) + CRC_BYTES
        zipped = sum(ENTRY_BYTES + 2 * len(one) for one in (RESIDUAL_JSON, name)) + 20 if self._zip is not None else 0
        return len(described) + shard + zipped

    def _shard(self, name: str, chunks: Iterable[bytes]) -> tuple[int, Path, list[tuple[int, int]]]:
        """(bytes of the chunks alone, where they lie, place of each)."""
        places: list[tuple[int, int]] = []
        if self._zip is not None:
            info = _info(name)
            with self._zip.open(info, "w", force_zip64=True) as out:
                payload = _write_shard(out, chunks, places)
            start = info.header_offset + 30 + len(name) + 20  # zip64 sizes take 20 bytes of the local header
            assert self._zip.fp is not None
            self._zip.fp.flush()
            return payload, self.path, [(start + offset, length) for offset, length in places]
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            return _write_shard(file, chunks, places), path, places

    def written(self, index: int) -> bytes:
        """The payload of a chunk, read back from the disk; ChecksumError when it is not what was written."""
        return read_chunk(self.shard_path, *self.places[index], index)

    def written_beside(self, index: int) -> bytes:
        """The payload of a chunk of the residual, read back likewise."""
        return read_chunk(self.beside_path, *self.beside[index], index, "residual chunk")


def overhead(entries: Mapping[str, int], chunks: int, *, zipped: bool) -> int:
    """Bytes of a container beside its payloads: {name: length} of the small entries, and the shard's frame."""
    inside = sum(entries.values()) + chunks * (CRC_BYTES + 16) + CRC_BYTES
    if not zipped:
        return inside
    names = [*entries, SHARD + "0/0/0"]
    return inside + sum(ENTRY_BYTES + 2 * len(name) for name in names) + 20 + END_BYTES


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _write_shard(out: IO[bytes], chunks: Iterable[bytes], places: list[tuple[int, int]]) -> int:
    index = bytearray()
    offset = payload = 0
    for chunk in chunks:
        sealed = chunk + struct.pack("<I", google_crc32c.value(chunk))
        out.write(sealed)
        index += struct.pack("<QQ", offset, len(sealed))
        places.append((offset, len(sealed)))
        offset += len(sealed)
        payload += len(chunk)
    out.write(index)
    out.write(struct.pack("<I", google_crc32c.value(bytes(index))))
    return payload


@dataclass(frozen=True)
class Beside:
    """The array "residual" of a container. array: its zarr.json. chunks: (offset, length) of every one in `shard_path`.

    nbytes: what it adds to the container.
    """

    array: Mapping[str, Any]
    shard_path: Path
    chunks: tuple[tuple[int, int], ...]
    nbytes: int

    def chunk(self, index: int) -> bytes:
        """The payload of one chunk; ChecksumError when its bytes are not those that were written."""
        return read_chunk(self.shard_path, *self.chunks[index], index, "residual chunk")


@dataclass(frozen=True)
class Box:
    """An opened container. root, array: the two zarr.json. chunks: (offset, length) of every chunk in `shard_path`.

    residual: what restores the original, None without one.
    """

    path: Path
    root: Mapping[str, Any]
    array: Mapping[str, Any]
    shard_path: Path
    chunks: tuple[tuple[int, int], ...]
    extras: Mapping[str, bytes]
    residual: Beside | None = None

    def chunk(self, index: int) -> bytes:
        """The payload of one chunk, read alone; ChecksumError when its bytes are not those that were written."""
        return read_chunk(self.shard_path, *self.chunks[index], index)

    @property
    def payload_bytes(self) -> int:
        """Encoded chunks only, without checksums and index."""
        return sum(length - CRC_BYTES for _, length in self.chunks)


def read_chunk(path: Path, offset: int, length: int, index: int, what: str = "chunk") -> bytes:
    """One sealed chunk from a shard, its checksum checked and taken off."""
    with reading(path, "OME-Zarr"), path.open("rb", buffering=0) as file:
        file.seek(offset)
        sealed = file.read(length)
    payload, said = sealed[:-CRC_BYTES], sealed[-CRC_BYTES:]
    if len(sealed) != length or struct.pack("<I", google_crc32c.value(payload)) != said:
        raise ChecksumError(
            f"{path}: {what} {index} is damaged (its checksum does not match); restore the file from a copy"
        )
    return payload


def is_box(path: Path) -> bool:
    """Whether the path holds a zarr hierarchy: a zip whose first entry is zarr.json, or a folder with one."""
    if path.is_dir():
        return (path / "zarr.json").is_file() or (path / ".zgroup").is_file() or (path / ".zarray").is_file()
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head[:4] == b"PK\x03\x04" and head[30:39] == b"zarr.json"


def is_ours(path: Path) -> bool:
    """Whether the hierarchy says that slimscan wrote it, however damaged the rest is."""
    try:
        if path.is_dir():
            return b'"slimscan"' in (path / "zarr.json").read_bytes()
        with path.open("rb") as file:
            return b'"slimscan"' in file.read(1 << 16)
    except OSError:
        return False


def open_box(path: Path) -> Box:
    """Read the metadata and the shard's index of a container that slimscan wrote; NotReadable when it is damaged."""
    try:
        return _open_folder(path) if path.is_dir() else _open_zip(path)
    except (*BROKEN_ZIP, OSError, KeyError, ValueError, TypeError, IndexError, struct.error) as error:
        raise NotReadable(f"{path}: this OME-Zarr is damaged or cut short ({error}); restore it from a copy") from error


def _open_zip(path: Path) -> Box:
    with zipfile.ZipFile(path) as archive:
        small = [info for info in archive.infolist() if info.filename.startswith("slimscan/")]
        small += [archive.getinfo("zarr.json"), archive.getinfo("0/zarr.json")]
        if sum(info.file_size for info in small) > MOST_BESIDE:
            raise ValueError(f"what stands beside its pixels is more than {MOST_BESIDE} bytes")
        root = json.loads(archive.read("zarr.json"))
        array = json.loads(archive.read("0/zarr.json"))
        extras = {info.filename: archive.read(info) for info in small if info.filename.startswith("slimscan/")}
        chunks = _stored_chunks(archive, path, SHARD, _count(array))
        residual = None
        if RESIDUAL_JSON in archive.namelist():
            info = archive.getinfo(RESIDUAL_JSON)
            if info.file_size > MOST_BESIDE:
                raise ValueError(f"the description of its residual is more than {MOST_BESIDE} bytes")
            beside = json.loads(archive.read(info))
            held = [info for info in archive.infolist() if info.filename.startswith(RESIDUAL)]
            added = sum(info.file_size + ENTRY_BYTES + 2 * len(info.filename) for info in held) + 20
            places = _stored_chunks(archive, path, RESIDUAL_SHARD, _count(beside))
            residual = Beside(beside, path, places, added)
    return Box(path, root, array, path, chunks, extras, residual)


def _stored_chunks(archive: zipfile.ZipFile, path: Path, under: str, count: int) -> tuple[tuple[int, int], ...]:
    """Where the chunks of the shard below `under` lie in the zip file."""
    shard = next((info for info in archive.infolist() if info.filename.startswith(under)), None)
    if shard is None:
        raise ValueError(f"it holds no {'residual' if under == RESIDUAL_SHARD else 'pixels'}")
    if shard.compress_type != zipfile.ZIP_STORED:
        raise ValueError("its shard is not stored as it is")
    with path.open("rb") as file:
        file.seek(shard.header_offset)
        header = file.read(30)
        if header[:4] != b"PK\x03\x04":
            raise ValueError("a zip entry does not begin where it should")
        name, extra = struct.unpack("<HH", header[26:30])
        return _index(file, shard.header_offset + 30 + name + extra, shard.file_size, count)


def _open_folder(path: Path) -> Box:
    root = json.loads((path / "zarr.json").read_bytes())
    array = json.loads((path / "0" / "zarr.json").read_bytes())
    shard, chunks = _folder_chunks(path / "0", _count(array))
    extras = {f"slimscan/{place.name}": place.read_bytes() for place in sorted((path / "slimscan").glob("*"))}
    residual = None
    if (path / RESIDUAL_JSON).is_file():
        beside = json.loads((path / RESIDUAL_JSON).read_bytes())
        added = sum(place.stat().st_size for place in (path / "residual").rglob("*") if place.is_file())
        residual = Beside(beside, *_folder_chunks(path / "residual", _count(beside)), added)
    return Box(path, root, array, shard, chunks, extras, residual)


def _folder_chunks(array: Path, count: int) -> tuple[Path, tuple[tuple[int, int], ...]]:
    """The shard of an array in a folder, and where its chunks lie in it."""
    shard = next((place for place in sorted((array / "c").rglob("*")) if place.is_file()), None)
    if shard is None:
        raise ValueError(f"it holds no {'pixels' if array.name == '0' else array.name}")
    with shard.open("rb") as file:
        return shard, _index(file, 0, shard.stat().st_size, count)


def _count(array: Mapping[str, Any]) -> int:
    """Chunks along z in the shard, from the sharding codec's own words."""
    codec = array["codecs"][0]
    if codec["name"] != "sharding_indexed":
        raise ValueError("it was not written by slimscan")
    shard = array["chunk_grid"]["configuration"]["chunk_shape"]
    inner = codec["configuration"]["chunk_shape"]
    axis = len(shard) - 3
    count = int(shard[axis]) // int(inner[axis])
    if count < 1 or count > 10_000_000:
        raise ValueError(f"it claims {count} chunks")
    return count


def _index(file: IO[bytes], start: int, size: int, count: int) -> tuple[tuple[int, int], ...]:
    length = 16 * count + CRC_BYTES
    if size < length:
        raise ValueError("its index is cut short")
    file.seek(start + size - length)
    raw = file.read(length)
    if struct.pack("<I", google_crc32c.value(raw[:-CRC_BYTES])) != raw[-CRC_BYTES:]:
        raise ValueError("the checksum of its index does not match")
    places = struct.unpack(f"<{2 * count}Q", raw[:-CRC_BYTES])
    pairs = tuple((start + places[2 * i], places[2 * i + 1]) for i in range(count))
    if any(offset + extent > start + size - length or extent < CRC_BYTES for offset, extent in pairs):
        raise ValueError("its index points outside the file")
    return pairs
