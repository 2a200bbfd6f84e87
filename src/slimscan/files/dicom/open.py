"""A DICOM file opened up to its pixel data: recognised by content, and deflated data sets inflated within limits."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slimscan.files.dicom import place as place_of
from slimscan.files.dicom.scan import PIXELS, Elements, scan
from slimscan.files.dicom.syntax import DEFLATED
from slimscan.files.guard import HEAD, reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def dataset(path: Path) -> Dataset:
    """Everything in the file but its pixel data, what stands behind them too; NotReadable with the reason.

    Left out: signatures, which new pixel data make void, and padding at the end of the file.
    """
    from pydicom.filereader import read_dataset

    with reading(path, "DICOM"), quiet():
        held, at, inflated = open_elements(path)
        found = held.whole() if isinstance(held, Elements) else held
        implicit, little = (bool(value) for value in found.original_encoding)
        with place_of.opened(path, inflated) as file:
            file.seek(at)
            start = place_of.behind(file, path, implicit, little)
            if start >= file.seek(0, io.SEEK_END):
                return found
            file.seek(start)
            # Zeros behind the end are no elements: a deflated file can hold a gigabyte of them.
            tail = read_dataset(file, implicit, little, stop_when=lambda tag, _vr, _length: tag <= PIXELS[0])
        for tag in tail.keys():  # noqa: SIM118 iterating a data set would parse its elements
            if tag.group not in (0xFFFA, 0xFFFC):
                found[tag] = tail.get_item(tag)
        return found


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom warns about every odd value of a file; what matters here is checked and said by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path, head: bytes) -> bool:
    """Whether the content is DICOM: DICM behind the preamble, or a data set without preamble that names its class."""
    if head[128:132] == b"DICM":
        return True
    little = head[:1] in (b"\x02", b"\x08") and head[1:2] == b"\0" and head[3:4] == b"\0"
    big = head[:2] == b"\0\x08" and head[2:3] == b"\0"
    if not (little or big) or len(head) < 16:
        return False
    try:
        import pydicom

        with quiet():
            tags = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            return bool(tags.get("SOPClassUID"))
    except Exception:  # noqa: BLE001 whatever goes wrong: it is not DICOM
        return False


def files_in(folder: Path) -> list[Path]:
    """The files in the folder by name, hidden ones left out, one level deep."""
    return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def head_of(path: Path) -> bytes:
    """The first bytes of a file, as many as is_dicom wants."""
    with path.open("rb") as file:
        return file.read(HEAD)


def identity(found: Dataset | Elements) -> tuple[str, str]:
    """SOP class and instance UID; some anonymisers empty them and leave those of the file meta information."""
    if isinstance(found, Elements):
        return (
            str(found.get("SOPClassUID") or found.about_file("MediaStorageSOPClassUID")),
            str(found.get("SOPInstanceUID") or found.about_file("MediaStorageSOPInstanceUID")),
        )
    meta = getattr(found, "file_meta", None) or {}
    return (
        str(found.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""),
        str(found.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or ""),
    )


def open_elements(path: Path) -> tuple[Dataset | Elements, int, bool]:
    """Like open_dataset, but only the places of the elements where the file is of the usual kind: ten times as fast."""
    found = scan(path)
    return open_dataset(path) if found is None else (found, found.pixels, False)


def open_dataset(path: Path) -> tuple[Dataset, int, bool]:
    """The data set up to its pixel data, where these begin, and whether that counts in the inflated data set."""
    import pydicom
    from pydicom.filereader import read_dataset

    with path.open("rb") as file:
        start = file.read(4096)
        if start[128:132] == b"DICM" and DEFLATED.encode() in start[132:]:
            file.seek(0)
            meta = pydicom.dcmread(io.BytesIO(_before_deflated(start)), force=True)
            if meta.file_meta.get("TransferSyntaxUID") == DEFLATED:
                inner = place_of.opened(path, True)
                found = read_dataset(inner, False, True, stop_when=lambda tag, _vr, _length: tag in PIXELS)
                found = pydicom.FileDataset(str(path), found, start[:128], meta.file_meta, False, True)
                return found, inner.tell(), True
        file.seek(0)
        found = pydicom.dcmread(file, force=True, stop_before_pixels=True)
        return found, file.tell(), False


def _before_deflated(start: bytes) -> bytes:
    """The preamble and the file meta group."""
    (length,) = struct.unpack_from("<I", start, 140)
    return start[: 144 + length]
