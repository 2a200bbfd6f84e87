"""One DICOM file on disk: data set, then pixel data, native or encapsulated with the offset table that its size needs."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from slimscan.errors import InputError
from slimscan.files.dicom import place as place_of
from slimscan.files.dicom.encode import encoded, file_meta
from slimscan.files.dicom.syntax import DEFLATED, SYNTAXES
from slimscan.files.guard import writing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MEMORY = 64 << 20
_OFFSET_LIMIT = (1 << 32) - 2  # a basic offset table counts in 32 bits; beyond it the extended one is used
_NATIVE_LIMIT = (1 << 32) - 2  # bytes of native pixel data: its length has 32 bits
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


class Spool:
    """Encoded frames as they come, on disk when large: UIDs hang on all bytes, offset tables on all lengths.

    digests: SHA-256 of every frame; digest: of all; padded: SHA-256 of every frame with the byte that makes it even.
    """

    def __init__(self, path: Path, frames: Iterable[bytes]) -> None:
        place = next((str(folder) for folder in path.parents if folder.is_dir()), None)
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_MEMORY, dir=place)  # noqa: SIM115 __exit__
        self._spans: list[tuple[int, int]] = []
        self.digests: list[str] = []
        self.padded: list[bytes] = []
        at, whole = 0, hashlib.sha256()
        for frame in frames:
            with writing(path):
                self._file.write(frame)
            self._spans.append((at, len(frame)))
            held = hashlib.sha256(frame)
            self.digests.append(held.hexdigest())
            held.update(b"\0" * (len(frame) % 2))
            self.padded.append(held.digest())
            whole.update(frame)
            at += len(frame)
        self.digest = whole.hexdigest()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *unused: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._spans)

    def length(self, k: int) -> int:
        """Bytes of frame k."""
        return self._spans[k][1]

    def checksum(self, k: int, encapsulated: bool) -> bytes:
        """SHA-256 of frame k as a reader finds it: a fragment is padded, a native frame is not."""
        return self.padded[k] if encapsulated else bytes.fromhex(self.digests[k])

    def __getitem__(self, k: int) -> bytes:
        self._file.seek(self._spans[k][0])
        return self._file.read(self._spans[k][1])


def save(
    path: Path, found: Dataset, preamble: bytes, meta: Dataset | None, syntax: str, spool: Spool, slices: Sequence[int]
) -> int:
    """Write the data set (without pixel data) and the frames `slices` of the spool, in that order.

    Explicit VR Little Endian, or what `syntax` says. meta: the source's file meta information, kept but for what names
    this file and its writer. Returns the bytes of coded pixels in the file.
    """
    encapsulated = SYNTAXES[syntax].encapsulated
    lengths = [spool.length(k) for k in slices]
    wide = encapsulated and _offsets(lengths)[-1] > _OFFSET_LIMIT
    if wide:
        found.add_new(0x7FE00001, "OV", struct.pack(f"<{len(lengths)}Q", *_offsets(lengths)))
        found.add_new(0x7FE00002, "OV", struct.pack(f"<{len(lengths)}Q", *lengths))
    vr = "OW" if found.BitsAllocated > 8 else "OB"
    if not encapsulated and sum(lengths) > _NATIVE_LIMIT:
        raise InputError(f"{path}: {sum(lengths)} bytes of native pixels in one file; allowed: 4 GiB; write a folder")
    with path.open("wb") as file:
        file.write(preamble + b"DICM" + file_meta(found, meta, syntax))
        # Not dcmwrite: it refuses transfer syntaxes that it does not know yet (JPEG XL). A data set that was read in the
        # same encoding is copied element for element.
        before, behind = encoded(found, stop=0x7FE00010), encoded(found, start=0x7FE00011)
        if syntax == DEFLATED:
            total = sum(lengths)
            head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr.encode(), 0, total + total % 2)
            frames = (spool[k] for k in slices)
            return _deflate(file, before, chain([head], frames, [b"\0" * (total % 2), behind]))
        file.write(before)
        _pixels(file, spool, slices, vr, encapsulated, wide)
        file.write(behind)
    return sum(lengths)


def _deflate(file: IO[bytes], before: bytes, pixels: Iterable[bytes]) -> int:
    """The data set deflated as one stream (PS3.5 A.5); the bytes that the pixels and what follows them take of it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    file.write(packer.compress(before) + packer.flush(zlib.Z_SYNC_FLUSH))  # so that the pixels' share is known
    start = file.tell()
    for part in pixels:
        file.write(packer.compress(part))
    file.write(packer.flush())
    coded = file.tell() - start
    file.write(b"\0" * (file.tell() % 2))
    return coded


def content_of(path: Path, inflated: bool) -> bytes:
    """All bytes of the file, or of its inflated data set: what offsets of its elements count in."""
    with place_of.opened(path, inflated) as file:
        return file.read()


def replace_content(path: Path, content: bytes, pixels: int, deflated: bool) -> None:
    """Write changed bytes of content_of() back. pixels: where pixel data begins in them."""
    if not deflated:
        path.write_bytes(content)
        return
    old = path.read_bytes()
    with path.open("wb") as file:
        file.write(old[: 144 + int.from_bytes(old[140:144], "little")])  # preamble and file meta information
        _deflate(file, content[:pixels], [content[pixels:]])


def _pixels(file: IO[bytes], spool: Spool, slices: Sequence[int], vr: str, encapsulated: bool, wide: bool) -> None:
    lengths = [spool.length(k) for k in slices]
    if not encapsulated:
        total = sum(lengths)
        file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr.encode(), 0, total + total % 2))
        for k in slices:
            file.write(spool[k])
        file.write(b"\0" * (total % 2))
        return
    file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
    # One frame needs no table, and the extended one replaces the basic one (PS3.5 A.4).
    table = b"" if wide or len(lengths) == 1 else struct.pack(f"<{len(lengths)}I", *_offsets(lengths))
    file.write(_item(table))
    for k in slices:
        file.write(_item(spool[k]))
    file.write(_END + b"\0\0\0\0")


def _offsets(lengths: Sequence[int]) -> list[int]:
    """Of each frame's item from the first one's."""
    offsets, at = [], 0
    for length in lengths:
        offsets.append(at)
        at += 8 + length + length % 2
    return offsets


def _item(data: bytes) -> bytes:
    data = _even(data)
    return _ITEM + struct.pack("<I", len(data)) + data


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)
