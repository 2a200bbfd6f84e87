"""The DICOM source of a volume: which files its slices came from, and their data sets ready for new pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimscan.errors import InputError
from slimscan.files.dicom import attributes, block
from slimscan.files.dicom import derive as dicom_derive
from slimscan.files.dicom import frames as dicom_frames
from slimscan.files.dicom import new as dicom_new
from slimscan.files.dicom.geometry import FRAMES, LPS_TO_RAS
from slimscan.files.dicom.header import header
from slimscan.files.dicom.open import dataset, identity
from slimscan.files.dicom.syntax import SYNTAXES
from slimscan.nouns import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Instance:
    """One file to write: its name in a folder, and which slices its frames are, in frame order."""

    name: str
    slices: list[int]
    source: Path | None


def about_dicom(volume: Volume) -> Any:
    """What dicom.read left in `about`, {} for a volume from elsewhere."""
    return volume.about.get("dicom") or {}


def sources(volume: Volume) -> list[tuple[Path, int]] | None:
    """The file and frame of every slice when all source files are still there, else None.

    InputError when the volume has another number of slices than its source.
    """
    dicom = about_dicom(volume)
    if not dicom.get("files") or not dicom.get("folder"):
        return None  # the folder does not travel with an .ozx
    folder = Path(dicom["folder"])
    placed = [(folder / name, int(k)) for name, k in zip(dicom["files"], dicom["frames"], strict=True)]
    if not all(file.is_file() for file in {file for file, _ in placed}):
        return None
    if len(placed) != volume.shape[0]:
        raise InputError(
            f'{folder}: the volume has {volume.shape[0]} slices, its DICOM source {len(placed)}; take "dicom" out of'
            " about to write it as a new image"
        )
    return placed


def taken(
    volume: Volume, instance: Instance, source: list[tuple[Path, int]] | None, names: dicom_new.Names
) -> tuple[Dataset, bytes, Dataset | None]:
    """The source's data set, checked to be the one the volume came from, free of what the new pixels make wrong."""
    file = instance.source
    if file is None or source is None:
        raise ValueError("an instance without a source has nothing to take")
    found = dataset(file)
    uid = about_dicom(volume)["sop_uids"][instance.slices[0]]
    kind, held_uid = identity(found)
    rows, columns = found.get("Rows"), found.get("Columns")
    if held_uid != uid or (rows, columns) != volume.shape[1:3]:
        raise InputError(
            f"{file}: is not the file that the volume was read from ({rows} x {columns}, UID {held_uid},"
            f" want {volume.shape[1]} x {volume.shape[2]}, UID {uid}); read the source again"
        )
    if len(instance.slices) != int(found.get("NumberOfFrames") or 1):
        raise InputError(
            f"{file}: holds {found.get('NumberOfFrames')} frames, the volume {len(instance.slices)} of them"
        )
    _same_place(volume, instance, found, file)
    # What an anonymiser emptied and a DICOM file cannot be without.
    found.SOPClassUID = kind or dicom_new.FALLBACK.get(str(found.get("Modality", "")), dicom_new.SC)
    found.SOPInstanceUID = uid or dicom_derive.uid("source", names.series, *map(str, instance.slices))
    found.StudyInstanceUID = found.get("StudyInstanceUID") or names.study
    found.SeriesInstanceUID = found.get("SeriesInstanceUID") or names.series
    block.drop(found)  # its checksums are of the old frames
    if _overlaid(found):
        _free_overlays(found, file, [source[k][1] for k in instance.slices])
    syntax = str(found.file_meta.get("TransferSyntaxUID", "")) if hasattr(found, "file_meta") else ""
    if syntax in SYNTAXES and SYNTAXES[syntax].method and about_dicom(volume).get("lossy_before"):
        held = header(file)
        coded = sum(length for frame in held.place.frames for _, length in frame)
        dicom_derive.remember(found, syntax, held.raw_frame * held.frames, coded)
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "MACParametersSequence"):
        if keyword in found:
            del found[keyword]
    return found, getattr(found, "preamble", None) or b"\0" * 128, getattr(found, "file_meta", None)


def _same_place(volume: Volume, instance: Instance, found: Dataset, file: Path) -> None:
    """InputError when the volume was moved, turned or resampled since it was read: its source's geometry is written."""
    planes = attributes.planes(file, found, len(instance.slices))
    if planes is None or about_dicom(volume).get("geometry") == FRAMES:
        return
    for k, plane in zip(instance.slices, planes, strict=True):
        want = np.array([*plane.position, 1.0])
        got = LPS_TO_RAS @ np.asarray(volume.affine_mm) @ np.array([0.0, 0.0, k, 1.0])
        if np.linalg.norm(got - want) > 0.5 * min(*plane.spacing, volume.spacing_mm[0]):
            raise InputError(
                f"{file}: {plane.name} lies at {np.round(want[:3], 3).tolist()} mm (LPS), the volume says"
                f' {np.round(got[:3], 3).tolist()}; take "dicom" out of about to write a moved volume as a new image'
            )


def _overlaid(found: Dataset) -> list[int]:
    """The overlay groups whose planes hide in the pixel words (retired, PS3.3-2004 C.9.2)."""
    return [
        group
        for group in range(0x6000, 0x6020, 2)
        if (group, 0x0010) in found and (group, 0x3000) not in found and (group, 0x0102) in found
    ]


def _free_overlays(found: Dataset, file: Path, frames: list[int]) -> None:
    """Move them into Overlay Data, because stored values keep no bits above or below."""
    held = header(file)
    if SYNTAXES[held.syntax].kind not in ("native", "rle"):
        raise InputError(f"{file}: has an overlay inside its compressed pixels; decompress it with its own tools first")
    for group in _overlaid(found):
        rows, columns = int(found[group, 0x0010].value), int(found[group, 0x0011].value)
        bits = np.stack([dicom_frames.overlay_bits(held, k, int(found[group, 0x0102].value)) for k in frames])
        packed = np.packbits(bits[:, :rows, :columns].reshape(-1), bitorder="little").tobytes()
        found.add_new((group, 0x3000), "OW", packed + b"\0" * (len(packed) % 2))
        found.add_new((group, 0x0100), "US", 1)
        found.add_new((group, 0x0102), "US", 0)
        if len(frames) > 1:
            found.add_new((group, 0x0015), "IS", len(frames))


def instances(path: Path, volume: Volume, source: list[tuple[Path, int]] | None, single: bool) -> Iterator[Instance]:
    """The files to write: one a slice, or one for a multi-frame source or a single .dcm path, frames in the source's order.

    InputError: several single-frame files are asked to become one.
    """
    slices = list(range(volume.shape[0]))
    if source is None:
        if single:
            yield Instance(path.name, slices, None)
        else:
            yield from (Instance(f"{k + 1:05d}.dcm", [k], None) for k in slices)
        return
    files = list(dict.fromkeys(file for file, _ in source))
    if single and len(files) > 1:
        raise InputError(
            f"{path}: the source is a series of {len(files)} single-frame files, which keep their identity in a folder only;"
            " give a path that ends in /"
        )
    held: dict[Path, list[int]] = {file: [] for file in files}
    for k in slices:
        held[source[k][0]].append(k)
    for n, file in enumerate(files):
        mine = sorted(held[file], key=lambda k: source[k][1])
        yield Instance(f"{n + 1:05d}.dcm" if len(files) > 1 else f"{file.stem}.dcm", mine, file)
