"""Exact copies of DICOM files under new UIDs, so that a lossless recoding can stand beside its original in an archive.

A lossless recoding keeps its SOP Instance UID, as it should: it is the same image. Where both must be held at once the
copy needs UIDs of its own, and says what it is: its source is referenced and its derivation described (PS3.3
C.7.6.1.1.3 and .4). ImageType stays, because the values are still the original ones (C.7.6.1.1.2); it claims no lossy
compression, and keeps claims that were there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from slimscan.errors import InputError
from slimscan.files.dicom.derive import IMPLEMENTATION, derive
from slimscan.files.dicom.open import open_dataset, quiet
from slimscan.files.dicom.syntax import SYNTAXES
from slimscan.files.guard import reading, writing

_BLOCK = 1 << 20


def renew(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of the files of one series in `folder`, under new SOP Instance UIDs and one new SeriesInstanceUID.

    Pixel data and what stands behind them are copied byte for byte; UIDs are made of the old ones and those bytes, so
    that the same work gives the same UIDs. Files keep their names. Explicit VR Little Endian, encapsulated or not;
    InputError for anything else. Empty when there are no sources.
    """
    digests = [_tail_digest(path) for path in sources]
    series = hashlib.sha256("".join(digests).encode()).hexdigest()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path, digest in zip(sources, digests, strict=True):
        target = folder / path.name
        with reading(path, "DICOM"), quiet():
            found, at, _ = open_dataset(path)
            syntax = str(found.file_meta.TransferSyntaxUID)
            name = SYNTAXES[syntax].name if syntax in SYNTAXES else syntax
            derive(
                found,
                digest=digest,
                series=series,
                ratio=None,
                method=None,
                lossy=False,
                copy=f"exact recoding as {name} under new UIDs",
            )
            head = _head(found)
        with writing(target), target.open("wb") as file, path.open("rb") as source:
            file.write(head)
            source.seek(at)
            shutil.copyfileobj(source, file, _BLOCK)
        made.append(target)
    return made


def _tail_digest(path: Path) -> str:
    with reading(path, "DICOM"), quiet():
        found, at, inflated = open_dataset(path)
        if inflated or found.original_encoding != (False, True):
            raise InputError(f"{path}: new UIDs are given to Explicit VR Little Endian files only; recode it first")
    digest = hashlib.sha256(b"copy")
    with path.open("rb") as file:
        file.seek(at)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _head(found: object) -> bytes:
    """Preamble, file meta information and the data set up to its pixel data."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset, write_file_meta_info
    from pydicom.uid import UID

    meta = found.file_meta  # type: ignore[attr-defined]
    meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID  # type: ignore[attr-defined]
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(IMPLEMENTATION), "SLIMSCAN"
    content = DicomBytesIO()
    content.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(content, meta, enforce_standard=True)
    content.is_implicit_VR, content.is_little_endian = False, True
    write_dataset(content, found)  # type: ignore[arg-type]
    return bytes(content.getvalue())
