"""DICOM out of the press: which codec has which transfer syntax, what it asks of the samples, and the files themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import slimscan
from slimscan.codecs import codec as find_codec
from slimscan.errors import LayoutRefused
from slimscan.nouns import Check, Volume
from slimscan.press.grid import Grid
from slimscan.press.history import for_dicom
from slimscan.press.padding import MOVED, padding_found
from slimscan.press.scheme import Scheme, decode
from slimscan.press.survey import Survey

if TYPE_CHECKING:
    from slimscan.files.dicom.write import Files

# codec -> (lossless, lossy) transfer syntax, DICOM PS3.5 section 10; "" where there is none.
TRANSFER_SYNTAX = {
    "jpeg2000": ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
    "jpegls": ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
    "htj2k": ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.203"),
    "rle": ("1.2.840.10008.1.2.5", ""),
    "deflate": ("1.2.840.10008.1.2.1.99", ""),
    "jpegxl": ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112"),
}
IN_DICOM = tuple(TRANSFER_SYNTAX)
AUTO_IN_DICOM = ("jpeg2000", "jpegls", "rle")  # what every hospital program that was tried opens
WHOLE = ("deflate",)  # the data set is coded, not its frames
NOTES = {
    "jpegxl": "JPEG XL in DICOM is experimental: most viewers and archives do not open it yet; jpeg2000 and jpegls they do",
    "htj2k": "HTJ2K in DICOM is young: many archives refuse to store it; jpeg2000 and jpegls they take",
}
_BLOCK = 120  # bytes of our block but for checksums
_MOST_HEADER = 1 << 16
_UNSIGNED = ("jpegls", "jpegxl")  # codestreams without a sign
_NEAR = 255  # the largest NEAR of JPEG-LS at 16 bits


@dataclass(frozen=True)
class Out:
    """What was written: the files, what was promised of them beside the pixels, and what a reader should know."""

    files: Files
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def dicom_grid(name: str, grid: Grid, volume: Volume, seen: Survey, exact: bool) -> Grid:
    """The plain grid as that codec's DICOM codestreams want it.

    JPEG-LS and JPEG XL know no sign: signed samples go in as two's complement in all bits of their container, which is
    what readers undo (PS3.5 8.2.3). BitsStored of an exact image stays as it was: DCMTK and GDCM write it so, and GDCM
    does not spread the sign of a codestream that says fewer bits than its container. Lossy, a value next to the type's own end would come back with the other sign:
    LayoutRefused, and for JPEG XL always, because -1 and 0 are far apart there.
    """
    if name not in _UNSIGNED or np.dtype(grid.dtype).kind != "i":
        return grid
    where, bits = volume.source or "volume", 8 * np.dtype(grid.dtype).itemsize
    if not exact and name == "jpegxl":
        raise LayoutRefused(
            f"{where}: lossy JPEG XL in DICOM holds no sign, and these samples have one; use jpeg2000, or write .ozx"
        )
    room = min(_NEAR, 2 ** (bits - 1) - 1)
    low, high = -(2 ** (bits - 1)) + room, 2 ** (bits - 1) - 1 - room
    if not exact and (seen.low < low or seen.high > high):
        raise LayoutRefused(
            f"{where}: near-lossless JPEG-LS in DICOM holds signed samples of {low}..{high}, so that no sign turns; these"
            f" reach {seen.low:g}..{seen.high:g}; use jpeg2000, or write .ozx"
        )
    return Grid(grid.dtype, 0.0, 1.0, bits, f"uint{bits}", grid.bits)


def guess_headers(volume: Volume, single: bool) -> int:
    """Bytes of the files beside coded pixels, before they are written: a little less than what it will be.

    A header of the source, where there is one, and our block; single: one file for all slices.
    """
    from slimscan.files.dicom.block import RESERVED

    dicom, slices = volume.about.get("dicom") or {}, volume.shape[0]
    names: list[str] = list(dict.fromkeys(dicom.get("files") or ()))
    first = Path(dicom["folder"]) / names[0] if names and dicom.get("folder") else None
    if first is None or not first.is_file():
        return RESERVED + (1200 + slices * 48 if single else slices * 1200)
    from slimscan.files.dicom.header import header

    held = header(first)
    coded = held.place.native_bytes or sum(length for frame in held.place.frames for _, length in frame)
    about_one = max(1000, min(first.stat().st_size - coded, _MOST_HEADER))
    return int(RESERVED + len(names) * (about_one + _BLOCK) + slices * 40)


def write_dicom(
    path: Path, volume: Volume, scheme: Scheme, payload: Callable[[int], bytes], lossless: bool, setting: str
) -> Out:
    """The instances of a volume at `path`, a folder or one .dcm, with room for the receipt. payload: of slice k.

    TargetUnreachable when padding would mix with other pixels; InputError and CodecError as write_encoded has them.
    """
    from slimscan.files.dicom.block import Note
    from slimscan.files.dicom.write import write_encoded, write_exact

    note = Note(f"slimscan {slimscan.__version__}", setting)
    volume = for_dicom(volume, decoded=scheme.codec in WHOLE)
    exact, lossy = TRANSFER_SYNTAX[scheme.codec]
    told: tuple[str, ...] = (NOTES[scheme.codec],) if scheme.codec in NOTES else ()
    if scheme.codec in WHOLE:
        return Out(write_exact(replace(volume, bits=scheme.grid.bits), path, exact, note), notes=told)
    found, old = None, volume.about.get(MOVED)
    lossless = lossless and old is None  # moved padding makes another image, which keeps no claims
    bits = (scheme.grid.stored_bits if lossless else 0) or scheme.grid.bits
    if old is not None:
        told += (
            f"padding was moved from {old} to {volume.padding} before coding, so that loss cannot mix it with the image;"
            " errors and sha256 are of the samples with it moved",
        )
    if not lossless:
        spare = 0 if find_codec(scheme.codec).bounded else 1
        shape = (1, *volume.shape[1:])
        name = volume.source or "volume"
        found = padding_found(volume, lambda k: decode(scheme, payload(k), shape), name, setting, spare=spare)

    def frames() -> Iterator[bytes]:
        for k in range(volume.shape[0]):
            yield payload(k)

    written = write_encoded(
        path,
        replace(volume, bits=bits),
        frames(),
        transfer_syntax=exact if lossless else lossy,
        ratio=None,
        method=None,
        lossless=lossless,
        padding_range=None if found is None else found.declare,
        note=note,
    )
    return Out(written, () if found is None else (found.check,), told)
