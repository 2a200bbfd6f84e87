"""One DICOM file on disk: data set, then pixel data, native or encapsulated with the offset table that its size needs."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from slimscan.errors import InputError
from slimscan.files.dicom.derive import IMPLEMENTATION
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

    digests: SHA-256 of every frame; digest: of all.
    """

    def __init__(self, path: Path, frames: Iterable[bytes]) -> None:
        place = next((str(folder) for folder in path.parents if folder.is_dir()), None)
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_MEMORY, dir=place)  # noqa: SIM115 __exit__
        self._spans: list[tuple[int, int]] = []
        self.digests: list[str] = []
        at, whole = 0, hashlib.sha256()
        for frame in frames:
            with writing(path):
                self._file.write(frame)
            self._spans.append((at, len(frame)))
            self.digests.append(hashlib.sha256(frame).hexdigest())
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

    def __getitem__(self, k: int) -> bytes:
        self._file.seek(self._spans[k][0])
        return self._file.read(self._spans[k][1])


def save(
    path: Path, found: Dataset, preamble: bytes, meta: Dataset | None, syntax: str, spool: Spool, slices: Sequence[int]
) -> None:
    """Write the data set (without pixel data) and the frames `slices` of the spool, in that order.

    Explicit VR Little Endian, or what `syntax` says. meta: the source's file meta information, kept but for what names
    this file and its writer.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import UID

    new = FileMetaDataset()
    for element in meta or ():
        if element.tag.element not in (0x0000, 0x0001):
            new.add(element)
    new.MediaStorageSOPClassUID, new.MediaStorageSOPInstanceUID = UID(found.SOPClassUID), UID(found.SOPInstanceUID)
    new.TransferSyntaxUID = UID(syntax)
    new.ImplementationClassUID, new.ImplementationVersionName = UID(IMPLEMENTATION), "SLIMSCAN"
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
        file.write(preamble + b"DICM")
        about_file = DicomBytesIO()
        write_file_meta_info(about_file, new, enforce_standard=True)
        file.write(about_file.getvalue())
        # Not dcmwrite: it refuses transfer syntaxes that it does not know yet (JPEG XL). A data set that was read in the
        # same encoding is copied element for element.
        if syntax == DEFLATED:
            found.add_new(0x7FE00010, vr, _even(b"".join(spool[k] for k in slices)))
            packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            file.write(_even(packer.compress(_encoded(found)) + packer.flush()))
            return
        file.write(_encoded(found[:0x7FE00010]))
        _pixels(file, spool, slices, vr, encapsulated, wide)
        file.write(_encoded(found[0x7FE00011:]))


def _encoded(found: Dataset) -> bytes:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    content = DicomBytesIO()
    content.is_implicit_VR, content.is_little_endian = False, True
    write_dataset(content, found)
    return content.getvalue()


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
