"""Where the bytes go: one function a kind of output. OUT's suffix decides the kind.

.ozx .zarr                   chunks of any codec, with the receipt inside
.tif .tiff                   OME-TIFF of JPEG 2000 or JPEG XL codestreams
.dcm, a folder ending in /   DICOM with a standard transfer syntax
.nii .nii.gz .mha .nrrd      decoded pixels, for programs that know none of this
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Literal

from slimscan import files
from slimscan.each import threads
from slimscan.errors import InputError
from slimscan.files import ozx
from slimscan.files.dicom.geometry import FRAMES
from slimscan.files.tiffreceipt import ROOM
from slimscan.nouns import Check, Pixels, Volume
from slimscan.press import residual
from slimscan.press.dicom import IN_DICOM, guess_headers, write_dicom
from slimscan.press.open import ChunkedPixels
from slimscan.press.scheme import Scheme, decode
from slimscan.press.store import RECEIPT, array_json, chunk_pieces, extras, root_json, shard_key
from slimscan.press.survey import Survey

Kind = Literal["box", "tiff", "dicom", "pixels"]

RECEIPT_GUESS = 620  # bytes of a compressed receipt, before it is known

# Codecs whose codestreams other programs read in these files.
IN_TIFF = ("jpeg2000", "jpegxl")


def kind_of(output: str | Path) -> Kind:
    """The kind of output that a name asks for; InputError with the names that are allowed."""
    text = str(output)
    name = Path(text).name.lower()
    if name.endswith((".ozx", ".zarr")):
        return "box"
    if name.endswith((".tif", ".tiff")):
        return "tiff"
    if name.endswith(".dcm") or text.endswith("/"):
        return "dicom"
    if name.endswith((".nii", ".nii.gz", ".mha", ".nrrd")):
        return "pixels"
    raise InputError(
        f"{output}: the name of the output decides its format; allowed: .ozx .zarr .nii .nii.gz .tif .mha .nrrd .dcm, "
        "or a folder ending in / for DICOM"
    )


def admit_codec(kind: Kind, name: str, output: str | Path) -> None:
    """InputError when files of that kind have no place for the codec."""
    allowed = {"tiff": IN_TIFF, "dicom": IN_DICOM}.get(kind)
    if allowed and name not in allowed:
        raise InputError(f"{output}: this format holds {', '.join(allowed)}, not {name}; choose one, or write .ozx")


@dataclass(frozen=True)
class Written:
    """payload_bytes: of the chunks alone. decode: index of a chunk -> its pixels, read from what lies on the disk.

    finish: puts the receipt in and closes the file. checks, notes: for the receipt, what this kind of file adds to it.
    residual_bytes: what a residual adds to the file, None without one; restored: slices start..stop-1 -> the original,
    from base and residual on the disk.
    """

    payload_bytes: int
    decode: Callable[[int], Pixels]
    finish: Callable[[bytes], None]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    residual_bytes: int | None = None
    restored: Callable[[int, int], Pixels] | None = None


def box_entries(volume: Volume, scheme: Scheme, bits: int) -> dict[str, bytes]:
    """The small entries of a container, but for the receipt."""
    return {
        "zarr.json": ozx.compact(root_json(volume, scheme, bits)),
        "0/zarr.json": ozx.compact(array_json(volume, scheme)),
        **extras(volume),
    }


def guess_overhead(kind: Kind, volume: Volume, scheme: Scheme, bits: int, *, single: bool = False) -> int:
    """Bytes of the output beside its payloads, before it is written; what was written corrects the guess.

    single: all slices in one DICOM file, with one header. A guess too low costs a second writing, one too high could
    refuse a target that can be met: so it is low.
    """
    if kind == "pixels":
        return 0  # the target speaks of the codec's bytes: decoded pixels have a size of their own
    chunks = len(chunk_pieces(volume.shape[0], scheme.depth))
    if kind == "box":
        sizes = {name: len(content) for name, content in box_entries(volume, scheme, bits).items()}
        return ozx.overhead(sizes | {RECEIPT: RECEIPT_GUESS}, chunks, zipped=True)
    if kind == "tiff":
        return 600 + ROOM + chunks * 180
    return guess_headers(volume, single)


def write_box(
    path: Path,
    volume: Volume,
    scheme: Scheme,
    bits: int,
    payloads: Iterable[bytes],
    receipt_name: str,
    beside: Survey | None = None,
) -> Written:
    """A container, open until finish() is called with the receipt. beside: write the residual too, of a volume so surveyed."""
    writer = ozx.Writer(path)
    entries = box_entries(volume, scheme, bits)
    try:
        for name in ("zarr.json", "0/zarr.json"):
            writer.entry(name, entries.pop(name))
        payload_bytes = writer.shard(shard_key(volume), payloads)
        base = ChunkedPixels(volume.shape, scheme, writer.written, volume.source)
        added, restored = (None, None) if beside is None else _write_residual(writer, volume, scheme, base, beside)
        for name, content in entries.items():
            writer.entry(name, content)
    except BaseException:
        writer.__exit__()
        raise
    pieces = chunk_pieces(volume.shape[0], scheme.depth)

    def decode_chunk(index: int) -> Pixels:
        start, stop = pieces[index]
        return decode(scheme, writer.written(index), (stop - start, *volume.shape[1:]))

    def finish(receipt: bytes) -> None:
        with writer:
            if receipt:
                writer.entry(receipt_name, receipt)

    return Written(payload_bytes, decode_chunk, finish, residual_bytes=added, restored=restored)


def _write_residual(
    writer: ozx.Writer, volume: Volume, scheme: Scheme, base: ChunkedPixels, seen: Survey
) -> tuple[int, Callable[[int, int], Pixels]]:
    """(bytes that the residual adds, what reads the original back from the disk)."""

    def decoded(start: int, stop: int) -> Pixels:
        return base[start:stop]

    found = residual.choose(volume, seen, scheme, decoded)
    described = ozx.compact(residual.array_json(found, volume.shape))
    key = "residual/" + shard_key(volume).removeprefix("0/")
    added = writer.residual(described, key, residual.payloads(found, volume, decoded, threads()))
    pieces = residual.pieces_of(found, volume.shape[0])

    def restore(index: int, payload: bytes) -> Pixels:
        return residual.decode(found, payload, decoded(*pieces[index]))

    back = ChunkedPixels(volume.shape, scheme, writer.written_beside, volume.source, depth=found.depth, decode=restore)
    return added, lambda start, stop: back[start:stop]


def write_other(
    kind: Kind,
    path: Path,
    volume: Volume,
    scheme: Scheme,
    payload: Callable[[int], bytes],
    lossless: bool,
    setting: str = "",
) -> Written:
    """Any other kind of file, whole, from payloads by chunk; what is read back comes through the file's own reader."""
    pieces = chunk_pieces(volume.shape[0], scheme.depth)
    finish: Callable[[bytes], None] = lambda _receipt: None  # noqa: E731 nothing to close
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    if kind == "pixels":
        decoded = ChunkedPixels(volume.shape, scheme, payload, volume.source)
        files.write(replace(volume, pixels=decoded), path)
        payload_bytes = sum(len(payload(index)) for index in range(len(pieces)))
    elif kind == "dicom":
        out = write_dicom(path, volume, scheme, payload, lossless, setting)
        checks, notes = out.checks, out.notes
        payload_bytes, finish = out.files.coded_bytes, partial(_finish_dicom, out.files.lowest)
    else:
        from slimscan.files import tiffwrite

        payload_bytes = 0

        def frames() -> Iterator[bytes]:
            nonlocal payload_bytes
            for index in range(len(pieces)):
                frame = payload(index)
                payload_bytes += len(frame)
                yield frame

        tiffwrite.write_encoded(path, volume, frames(), scheme.codec, scheme.grid.bits)
        finish = partial(_finish_tiff, path)
    held, lock = cache(partial(_read_back, path, volume)), Lock()
    if kind != "dicom":  # hundreds of headers are read again only to be verified
        held()

    def back(index: int) -> Pixels:
        with lock:
            found = held()
        return found.slices(*pieces[index])

    return Written(payload_bytes, back, finish, checks, notes)


def _read_back(path: Path, volume: Volume) -> Volume:
    """What was written; InputError when it is another shape than the volume."""
    about = volume.about.get("dicom") or {}
    back = files.read(path, frames=about.get("geometry") == FRAMES and path.suffix.lower() == ".dcm")
    if back.shape != volume.shape:
        raise InputError(f"{path}: a volume of shape {volume.shape} comes back as {back.shape}; write .ozx instead")
    return back


def _finish_tiff(path: Path, receipt: bytes) -> None:
    from slimscan.files.tiffreceipt import fill

    if receipt:
        fill(path, receipt)


def _finish_dicom(lowest: Path, receipt: bytes) -> None:
    from slimscan.files.dicom.block import fill

    if receipt:
        fill(lowest, receipt)
