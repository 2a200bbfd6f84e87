"""Which reader opens a slide: asked by content, as for every file."""

from __future__ import annotations

from pathlib import Path

from slimscan.errors import NotReadable
from slimscan.files.guard import read_head
from slimscan.files.slides.dicom import is_dicom, open_dicom
from slimscan.files.slides.openslide_door import open_door, vendor
from slimscan.files.slides.tiff import open_tiff
from slimscan.files.tiff import is_tiff
from slimscan.nouns.slide import Slide

KINDS = "Aperio SVS, Hamamatsu NDPI, Leica SCN, MIRAX MRXS, OME-TIFF, tiled TIFF, DICOM whole slide"
# What OpenSlide reads from TIFF files whose tiles lie over each other or are cut otherwise than TIFF says.
_BY_OPENSLIDE = ("hamamatsu", "leica", "mirax", "trestle", "ventana", "philips", "sakura", "zeiss")


def open_slide(path: Path | str) -> Slide:
    """The slide at `path`, a file or the folder of a DICOM slide; use it with `with`.

    NotReadable, in one sentence, for a damaged file and for what is no slide; MissingExtra where OpenSlide is needed.
    """
    path = Path(path)
    head = read_head(path)
    if is_dicom(head) or path.is_dir():
        return open_dicom(path)
    if not is_tiff(head):
        return _other(path, head)
    # tiles of these are no tiles of the picture: scans overlap, or several lie on one canvas
    if vendor(path) in _BY_OPENSLIDE:
        return open_door(path)
    return open_tiff(path)


def _other(path: Path, head: bytes) -> Slide:
    if path.suffix.lower() == ".mrxs" or vendor(path) in _BY_OPENSLIDE:
        return open_door(path)  # a MIRAX file itself may hold anything; the folder beside it is the slide
    raise NotReadable(
        f"{path}: is not a slide that is known here (first bytes {head[:8].hex(' ')}); formats that can be read: {KINDS}"
    )
