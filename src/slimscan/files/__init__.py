"""File formats: each is asked by content whether it knows a file; the registry FORMATS.

A format is added by one file that defines a `Format`, and one word in the tuple below. Messages about a file name it, what
was found in it, and what can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from slimscan.errors import InputError, NotReadable, OutputError
from slimscan.files.dicom import DICOM, read_frames
from slimscan.files.format import Format
from slimscan.files.guard import read_head, reading, writing
from slimscan.files.isq import ISQ
from slimscan.files.itk import METAIMAGE, NRRD_FORMAT
from slimscan.files.niftiwrite import NIFTI
from slimscan.files.tiffstack import TIFF
from slimscan.nouns import Volume

_ALL: tuple[Format, ...] = (DICOM, NIFTI, TIFF, METAIMAGE, NRRD_FORMAT, ISQ)

FORMATS: Mapping[str, Format] = MappingProxyType({found.name: found for found in _ALL})

# First bytes of what people mistake for an image that can be read here.
_OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"\x89HDF": "an HDF5 file",
    b"PK\x03\x04": "a zip archive (an .ozx is one; a .npz too)",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive",
    b"\xff\x4f\xff\x51": "a bare JPEG 2000 codestream",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\x1f\x8b\x08": "a gzip stream that holds no NIfTI header",
    b"CDF": "a NetCDF or MINC file",
    b"AIMDATA": "a Scanco AIM file",
}


def read(path: Path | str, *, frames: bool = False) -> Volume:
    """The image at `path`, a file or a folder, by the format that knows its content.

    frames: of one DICOM file whose frames may make no volume (several orientations, gaps, other scales): they come in
    file order then, as slices (z, y, x[, c]) whose place in space the affine does not tell. InputError for other images.

    NotReadable when no format does, when several do, or when the file is damaged; GeometryError for slices that do not
    make one volume; InputError for images that slimscan does not take (five dimensions, complex samples).
    """
    path = Path(path)
    head = read_head(path)
    found = which(path, head)
    for need in found.needs:
        need.demand(f"reading {found.title}")
    with reading(path, found.title):
        if frames:
            if found is not DICOM:
                raise InputError(f"{path}: is {found.title}; frames for themselves are read from single DICOM files")
            return read_frames(path)
        return found.read(path)


def which(path: Path, head: bytes | None = None) -> Format:
    """The format that knows the content of `path`; NotReadable, with what was found, when it is not exactly one."""
    head = read_head(path) if head is None else head
    with reading(path, "unknown"):
        known = [found for found in _ALL if found.sniff(path, head)]
    if len(known) == 1:
        return known[0]
    if known:
        raise NotReadable(
            f"{path}: holds images of several formats ({', '.join(found.title for found in known)}); put one series in a "
            "folder of its own"
        )
    raise NotReadable(
        f"{path}: {_looks_like(path, head)}; formats that can be read: {', '.join(found.title for found in _ALL)}"
    )


def _looks_like(path: Path, head: bytes) -> str:
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir())
        if not inside:
            return "is an empty folder; name one with an image in it"
        shown = ", ".join(inside[:3]) + (", ..." if len(inside) > 3 else "")
        return f"is a folder of {len(inside)} things ({shown}) and none is a slice; name one file or folder in it"
    for magic, title in _OTHERS.items():
        if head.startswith(magic):
            return f"looks like {title}; convert it first"
    hints = [found.title for found in _ALL if path.name.lower().endswith(found.suffixes)]
    hint = f"is named like {hints[0]}, and its content is not that" if hints else "is not an image that is known here"
    return f"{hint} (first bytes {head[:8].hex(' ')}); fetch it again or convert it"


def suffix_format(path: Path | str) -> Format:
    """The format that a name asks for; InputError, with the names that are allowed, when none does.

    A name that ends with "/" is a folder.
    """
    name = str(path).lower()
    matches = [(len(suffix), found) for found in _ALL for suffix in found.suffixes if name.endswith(suffix)]
    if matches:
        found = max(matches, key=lambda match: match[0])[1]
        if found.write is not None:
            return found
        raise InputError(f"{path}: {found.title} is read only; {_writable()}")
    raise InputError(f"{path}: the end of the name says no format that can be written; {_writable()}")


def _writable() -> str:
    return "allowed: " + " ".join(suffix for found in _ALL if found.write for suffix in found.suffixes)


def write(volume: Volume, path: Path | str) -> None:
    """The decoded pixels at `path`, in the format that the end of the name says; "/" at the end makes a folder.

    InputError for a name that says no format, OutputError for what the format cannot hold or the system refuses. Writes
    straight to `path`: staging, overwriting and renaming are for the caller.
    """
    found = suffix_format(path)
    for need in found.needs:
        need.demand(f"writing {found.title}")
    if found.write is None:
        raise OutputError(f"{path}: {found.title} is read only; {_writable()}")
    with writing(Path(path)):
        found.write(volume, Path(path))


__all__ = ["FORMATS", "Format", "read", "suffix_format", "which", "write"]
