"""DICOM images in and out: read.py and write.py are the doors, derive.py is what a derived instance says of itself.

The doors are opened when a DICOM image comes: a NIfTI file need not wait for their imports.
"""

from __future__ import annotations

from pathlib import Path

from slimscan.files.dicom.open import files_in, head_of, is_dicom
from slimscan.files.format import Format
from slimscan.nouns import Needs, Volume


def sniff(path: Path, head: bytes) -> bool:
    """A DICOM file, with or without preamble, or a folder that holds at least one."""
    try:
        if path.is_dir():
            return any(is_dicom(file, head_of(file)) for file in files_in(path))
        return is_dicom(path, head)
    except OSError:
        return False


def is_image_file(path: Path) -> bool:
    """Whether a file's content is DICOM and may be an image: no DICOMDIR and no segmentation."""
    from slimscan.files.dicom.seg import is_segmentation

    head = head_of(path)
    return path.name.upper() != "DICOMDIR" and is_dicom(path, head) and not is_segmentation(head)


def _read(path: Path, frames: bool = False) -> Volume:
    from slimscan.files.dicom import seg
    from slimscan.files.dicom.read import read

    inside = files_in(path) if path.is_dir() else [path]
    if len(inside) == 1 and seg.is_segmentation(head_of(inside[0])):
        return seg.read(inside[0])
    return read(path, frames=frames)


def read_frames(path: Path) -> Volume:
    """The frames of one file, each for itself: see read.read."""
    return _read(path, True)


def _write(volume: Volume, path: Path) -> None:
    from slimscan.files.dicom.write import write

    write(volume, path)


DICOM = Format(
    name="dicom",
    title="DICOM",
    suffixes=("/", ".dcm"),
    sniff=sniff,
    read=_read,
    write=_write,
    needs=(Needs("pydicom", "pydicom"),),
    note="single and multi-frame, CT and MR classic and enhanced; strict geometry",
)
