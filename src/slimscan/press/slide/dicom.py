"""One DICOM whole-slide instance through the press: its frames are the tiles of one level.

exact: JPEG frames in the transfer syntax JPEG XL JPEG Recompression (PS3.5 A.4.13), native ones in JPEG XL Lossless; the header
stays, the SOP Instance UID too. What loses or leaves something out is a derived instance with UIDs of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from slimscan.each import Each
from slimscan.errors import ChecksumError, InputError, NotReadable
from slimscan.files.dicom.derive import derive
from slimscan.files.slides.dicomlevel import Piece, piece, tiling
from slimscan.files.slides.open import open_slide
from slimscan.files.slides.rewrite import AS_IS, EMPTY, Shared
from slimscan.files.slides.rewrite_skeleton import sha256
from slimscan.files.slides.splice import SOI, spliced
from slimscan.nouns.slide import Slide
from slimscan.press.slide.board import Board, Payloads
from slimscan.press.slide.plan import Plan
from slimscan.press.slide.quality import Tile

RECOMPRESSED, LOSSLESS = "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.110"
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_PIXELS = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"
_TRAILING = b"\xfc\xff\xfc\xffOB\x00\x00"
_MOST = 256 << 20

Payload = Callable[[int, int], bytes]


@contextmanager
def alone(path: Path) -> Iterator[Slide]:
    """The slide of this one file, whatever instances of its series lie beside it.

    InputError for a folder of several files: each instance is compressed by itself.
    """
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder; a DICOM slide is compressed instance by instance, name one of its .dcm files"
        )
    with tempfile.TemporaryDirectory(prefix="slimscan-") as folder:
        link = Path(folder) / f"{path.stem[:40]}.dcm"
        link.symlink_to(path.resolve())
        with open_slide(link) as slide:
            yield slide


def board(path: Path) -> Board:
    """The level that the file's frames make."""
    found = piece(path)
    made = tiling(path, [found])
    places = {int(frame): (int(r), int(c)) for (r, c), frame in np.ndenumerate(made.frame) if frame >= 0}

    def seen(tile: int) -> Tile:
        return found.plain(found.place.read(tile))

    prefix = SOI
    if found.compression == "jpeg":
        first = found.place.read(0)
        stream = spliced(first, None, found.colour)
        prefix = stream[: len(stream) - len(first) + 2]
    return Board(0, 0, made.level, prefix, seen, places, made.turn)


@contextmanager
def frames(path: Path, every: bool = False) -> Iterator[Payloads]:  # noqa: ARG001 (an instance has no other pictures)
    """Where the frames lie; InputError for frames in several fragments."""
    spans = _spans(piece(path))
    with path.open("rb") as file:
        yield Payloads(path, {0: spans[:, 0]}, {0: spans[:, 1]}, file.fileno())


def write(source: Path, out: Path, plans: Sequence[Plan], each: Each) -> None:
    """The instance with its frames as the plan answers; NoWay as by the plan."""
    (plan,) = plans
    found = piece(source)
    spans = _spans(found)
    tally = hashlib.sha256()
    lengths: list[int] = []
    replaced = False
    with frames(source) as stored, tempfile.TemporaryFile(dir=out.parent) as held:

        def answer(tile: int) -> bytes:
            nonlocal replaced
            got = stored.read(0, tile)
            given = plan.answer(tile, got)
            if given is EMPTY:
                raise InputError(
                    f"{source}: --glass empty: frames of no bytes are not DICOM; take shared, which writes a small white one"
                )
            if given is AS_IS:
                return got
            replaced = replaced or not plan.exact
            return given.payload if isinstance(given, Shared) else bytes(given)  # type: ignore[arg-type]

        for payload in each(answer, range(len(spans))):
            tally.update(payload)
            lengths.append(len(payload))
            held.write(payload)
        native = not found.place.encapsulated
        if native and plan.family is None:
            if replaced:
                raise InputError(
                    f"{source}: its frames are not encapsulated, so glass cannot be smaller; take small or exact"
                )
            shutil.copyfile(source, out)
            return
        held.seek(0)
        header = _header(source, found, plan, tally.hexdigest(), sum(lengths), replaced)
        with out.open("wb") as file:
            file.write(header)
            _frames_out(file, held, lengths)


def attach(path: Path, data: bytes) -> None:
    """The ledger as Data Set Trailing Padding (PS3.10 7.2), which readers pass over."""
    if len(data) % 2:
        data = data + b"\x00"
    with path.open("ab") as file:
        file.write(_TRAILING + struct.pack("<I", len(data)) + data)


def skeleton(source: Path) -> bytes:
    """What the file holds beside its frames, and where they lay."""
    spans = _spans(piece(source))
    size = source.stat().st_size
    ends = np.concatenate([[0], spans.sum(axis=1)])
    starts = np.concatenate([spans[:, 0], [size]])
    if (starts < ends).any():
        raise NotReadable(f"{source}: its frames overlap; the file is damaged, fetch it again")
    if int((starts - ends).sum()) > _MOST:
        raise InputError(
            f"{source}: more than {_MOST >> 20} MB of it are not frames; it cannot be restored byte for byte"
        )
    packer = zlib.compressobj(9)
    parts = [packer.compress(np.diff(spans.ravel(), prepend=0).astype("<i8").tobytes())]
    with source.open("rb") as file:
        for start, end in zip(ends.tolist(), starts.tolist(), strict=True):
            file.seek(start)
            parts.append(packer.compress(file.read(end - start)))
    about = {"frames": len(spans), "size": size, "sha256": sha256(source)}
    return json.dumps(about, sort_keys=True).encode() + b"\n" + b"".join([*parts, packer.flush()])


def from_frames(kept: bytes, out: Path, payload: Payload) -> str:
    """Write the file of the skeleton with payload(0, frame) in its holes; its SHA-256. ChecksumError when it is another."""
    line, _, packed = kept.partition(b"\n")
    about = json.loads(line)
    unpacker = zlib.decompressobj()
    flat = unpacker.decompress(packed, _MOST + 16 * int(about["frames"]))
    spans = np.cumsum(np.frombuffer(flat, "<i8", 2 * int(about["frames"]))).reshape(-1, 2)
    at, rest = 0, memoryview(flat)[16 * len(spans) :]
    with out.open("wb") as file:
        for frame, (start, length) in enumerate(spans.tolist()):
            between = start - file.tell()
            file.write(rest[at : at + between])
            at += between
            given = payload(0, frame)
            if len(given) != length:
                raise ChecksumError(
                    f"{out}: frame {frame + 1} had {length} bytes, {len(given)} came back; copy the compressed slide anew"
                )
            file.write(given)
        file.write(rest[at:])
    got = sha256(out)
    if got != about["sha256"]:
        raise ChecksumError(f"{out}: is not the file that was compressed (its SHA-256 differs); nothing was kept")
    return got


def _spans(found: Piece) -> Any:
    """(frames, 2): offset and length of each."""
    if found.place.inflated or any(len(one) != 1 for one in found.place.frames):
        raise InputError(
            f"{found.path}: its frames lie in several fragments, or the file is deflated; write it anew in one fragment a frame"
        )
    return np.array([one[0] for one in found.place.frames], np.int64).reshape(-1, 2)


def _header(source: Path, found: Piece, plan: Plan, digest: str, coded: int, replaced: bool) -> bytes:
    """File meta information and data set up to Pixel Data, explicit VR little endian."""
    import pydicom

    from slimscan.files.dicom.open import quiet

    with quiet():
        read = pydicom.dcmread(source, stop_before_pixels=True)
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in read:
                del read[keyword]
        syntax = str(read.file_meta.TransferSyntaxUID)
        if plan.family is not None and plan.exact:
            syntax = RECOMPRESSED if found.compression == "jpeg" else LOSSLESS
        elif plan.family is not None:
            syntax = plan.family.syntax
        if replaced:
            raw = found.frames * found.tile[0] * found.tile[1] * 3
            lossy, method = plan.family is not None, plan.family.method if plan.family else None
            series = f"{plan.left} {plan.family.name if plan.family else ''} {plan.value} {plan.floors}"
            copy = "" if lossy else "tiles of glass replaced by white ones, all others as they were"
            derive(read, digest=digest, series=series, ratio=raw / max(1, coded) if lossy else None, method=method,
                   lossy=lossy, copy=copy)  # fmt: skip
            read.file_meta.MediaStorageSOPInstanceUID = read.SOPInstanceUID
            if plan.family is not None:
                read.PhotometricInterpretation = {"jpeg": "YBR_FULL_422", "jpeg2000": "YBR_ICT"}.get(
                    plan.family.name, "RGB"
                )
                read.PlanarConfiguration = 0
        read.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        buffer = io.BytesIO()
        read.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=False, force_encoding=True)
    return buffer.getvalue()


def _frames_out(file: BinaryIO, held: BinaryIO, lengths: Sequence[int]) -> None:
    """Pixel Data with a basic offset table where its 32 bits reach, else an empty one (PS3.5 A.4)."""
    padded = [length + length % 2 for length in lengths]
    offsets = np.concatenate([[0], np.cumsum(np.array(padded, np.int64) + 8)])
    table = offsets[:-1].astype("<u4").tobytes() if offsets[-1] < 1 << 32 else b""
    file.write(_PIXELS + _ITEM + struct.pack("<I", len(table)) + table)
    for length, full in zip(lengths, padded, strict=True):
        file.write(_ITEM + struct.pack("<I", full) + held.read(length) + b"\x00" * (full - length))
    file.write(_SEQUENCE_END)
