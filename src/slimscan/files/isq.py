"""Scanco ISQ: micro-CT as the scanner stores it, read only.

A header of 512-byte blocks, then int16, little endian, x fastest. The fields are those that ITKIOScanco and BoneJ read
(VMS records): 44 sides, 56 extents in micrometres, 88 mu_scaling, 108 sample time, 508 last block of the header. Stored
values over mu_scaling are linear attenuation in 1/cm; the file knows no direction, so voxel axes are taken as RAS+ axes.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from slimscan.errors import InputError, NotReadable
from slimscan.files.format import Format
from slimscan.files.guard import damaged, must_hold, reading
from slimscan.files.lazy import native
from slimscan.nouns import Volume

TITLE = "Scanco ISQ"
MAGIC = b"CTDATA-HEADER_V1"
_BLOCK = 512
_LONGEST_HEADER = 64 << 20


def sniff(_: Path, head: bytes) -> bool:
    """The sixteen letters that open every file of the family."""
    return head.startswith(MAGIC)


def read(path: Path) -> Volume:
    """The reconstructed volume, memory-mapped, with slope and intercept to attenuation in 1/cm."""
    with reading(path, TITLE), path.open("rb") as file:
        head = file.read(_BLOCK)
        if len(head) < _BLOCK:
            raise damaged(path, TITLE, f"its header is {len(head)} bytes, want {_BLOCK}")
        sides = struct.unpack_from("<3i", head, 44)
        extents_um = struct.unpack_from("<3i", head, 56)
        (last_block,) = struct.unpack_from("<i", head, 508)
        if min(sides) < 0 or last_block < 0:
            raise damaged(path, TITLE, f"a side or the start of the samples is negative: {sides}, {last_block}")
        if min(sides) == 0:
            raise NotReadable(f"{path}: holds no voxels: its sides are {list(sides)}; fetch it again")
        if min(extents_um) <= 0:
            raise InputError(
                f"{path}: is a scout view or raw projections ({TITLE} family), not a volume; name the .ISQ"
            )
        held, offset = path.stat().st_size, (last_block + 1) * _BLOCK
        total = int(np.prod(sides, dtype=object)) * 2
        must_hold(path, TITLE, total, held - offset)
        if offset > _LONGEST_HEADER:
            raise damaged(path, TITLE, f"its samples start at byte {offset}, later than any")
        if held - offset - total > _BLOCK:  # VMS fills the last block
            raise damaged(path, TITLE, f"it holds {held - offset} bytes of samples, its header describes {total}")
        pixels = np.memmap(path, "<i2", "r", offset, sides[::-1]).view(np.ndarray)
        x, y, z = (extent / 1000 / side for extent, side in zip(extents_um, sides, strict=True))
        (mu_scaling,) = struct.unpack_from("<i", head, 88)
        return Volume(
            native(pixels),
            np.diag([x, y, z, 1.0]),
            16,
            slope=1 / mu_scaling if mu_scaling > 0 else 1.0,
            unit="1/cm" if mu_scaling > 0 else "",
            about=_about(head),
            source=str(path),
        )


def _about(head: bytes) -> dict[str, int | str]:
    """Acquisition facts; the patient's name (offset 128) is left out."""

    def number(offset: int) -> int:
        return int(struct.unpack_from("<i", head, offset)[0])

    return {
        "format": TITLE,
        "scanner_id": number(32),
        "scanner_type": number(104),
        "slice_thickness_um": number(68),
        "slice_increment_um": number(72),
        "mu_scaling": number(88),
        "samples": number(92),
        "projections": number(96),
        "scan_distance_um": number(100),
        "sample_time_us": number(108),
        "measurement": number(112),
        "energy_v": number(168),
        "intensity_ua": number(172),
    }


ISQ = Format(
    name="isq",
    title=TITLE,
    suffixes=(".isq",),
    sniff=sniff,
    read=read,
    write=None,
    note="micro-CT as the scanner stores it",
)
