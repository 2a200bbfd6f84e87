"""A slide as DICOM: one VL Whole Slide Microscopy Image a level (PS3.3 A.32.8), its frames the tiles' codestreams.

TILED_FULL holds every tile. TILED_SPARSE leaves tiles out and says of each frame where it belongs (PS3.3 C.7.6.17.3): the way
of DICOM to leave glass out. Frames are spooled beside their file, then copied behind the header with an Extended Offset
Table (PS3.3 C.7.6.3.1.8); a frame costs some 30 bytes of memory, whatever the slide's size.
"""

from __future__ import annotations

import shutil
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from slimscan.errors import InputError, OutputError
from slimscan.files.slides.rewrite_dicomhead import About, Frames, beside, dataset

Payload = Callable[[int, int, int], bytes]
_FRAMES, _PLACE, _CONTENT = b"\x00\x52\x30\x92", b"\x48\x00\x1a\x02", b"\x20\x00\x11\x91"
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNTIL_END = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class Instance:
    """One file that was written. frames: tiles in it; left_out: tiles of its grid that are not."""

    path: Path
    frames: int
    left_out: int
    bytes_out: int


def write_dicom(
    folder: Path,
    levels: Sequence[Frames],
    payload: Payload,
    about: About,
    *,
    sparse: bool = False,
    pictures: Mapping[str, tuple[bytes, tuple[int, int]]] | None = None,
    each: Callable[..., Iterable[Any]] = map,
) -> tuple[Instance, ...]:
    """Write level_0.dcm, level_1.dcm, ... and label.dcm, overview.dcm, thumbnail.dcm into a new folder.

    payload(level, row, col): a whole codestream of the level's transfer syntax (Slide.stream gives one), b"" for a tile that
    is left out, which only sparse allows. pictures: "label", "macro" or "thumbnail" -> a JPEG of YCbCr, (height, width).
    each: a map in order; with processes, `payload` must pickle.
    InputError for a folder that exists, a missing tile without sparse, or a level without tiles; OutputError for what
    cannot be written. Nothing is left then.
    """
    if folder.exists():
        raise InputError(f"{folder}: exists already; name a new folder for the DICOM slide")
    done = []
    try:
        folder.mkdir(parents=True)
        for k, level in enumerate(levels):
            done.append(_instance(folder / f"level_{k}.dcm", k, levels, payload, about, sparse, each))
            if not done[-1].frames:
                raise InputError(f"level {k} of {level.shape[1]} x {level.shape[0]}: every tile was left out; keep one")
        for number, (name, (jpeg, shape)) in enumerate((pictures or {}).items(), len(levels)):
            path = folder / f"{'overview' if name == 'macro' else name}.dcm"
            with path.open("w+b") as file:
                _write(
                    file,
                    beside(name, jpeg, shape, levels[0], about, number),
                    (),
                    [len(jpeg)],
                    [jpeg + bytes(len(jpeg) % 2)],
                )
            done.append(Instance(path, 1, 0, path.stat().st_size))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return tuple(done)


def _instance(
    path: Path,
    k: int,
    levels: Sequence[Frames],
    payload: Payload,
    about: About,
    sparse: bool,
    each: Callable[..., Iterable[Any]],
) -> Instance:
    level = levels[k]
    rows, cols = level.grid
    spool = path.with_suffix(".frames")
    lengths, kept = array("Q"), array("Q")
    try:
        with spool.open("w+b") as frames:
            places = ((k, row, col) for row in range(rows) for col in range(cols))
            for index, stream in enumerate(each(partial(_asked, payload), places)):
                if stream:
                    frames.write(stream + bytes(len(stream) % 2))
                    lengths.append(len(stream))
                    kept.append(index)
                elif not sparse:
                    raise InputError(
                        f"level {k}, tile ({index // cols}, {index % cols}): is not there, and TILED_FULL holds every tile; ask "
                        "for a sparse slide"
                    )
            size = frames.tell()
            frames.seek(0)
            head = dataset(k, levels, about, len(kept), size, sparse)
            with path.open("w+b") as file:
                groups = (_place(level, int(index)) for index in kept) if sparse else ()
                _write(file, head, groups, lengths, iter(lambda: frames.read(1 << 20), b""))
    finally:
        with suppress(OSError):
            spool.unlink(missing_ok=True)
    return Instance(path, len(kept), rows * cols - len(kept), path.stat().st_size)


def _asked(payload: Payload, place: tuple[int, int, int]) -> bytes:
    return payload(*place)


def _write(file: BinaryIO, head: Any, groups: Iterable[bytes], lengths: Sequence[int], chunks: Iterable[bytes]) -> None:
    """The data set, the frames' functional groups, the tables and the frames. chunks: frames padded to even lengths."""
    from pydicom import dcmwrite

    dcmwrite(file, head, enforce_file_format=True)
    first = True
    for group in groups:
        if first:
            file.write(_FRAMES + b"SQ\0\0" + _UNTIL_END)
        first = False
        file.write(group)
    if not first:
        file.write(_SEQUENCE_END + bytes(4))
    at, offsets = 0, array("Q")
    for length in lengths:
        offsets.append(at)
        at += 8 + length + length % 2
    even = array("Q", (length + length % 2 for length in lengths))  # with the padding: wsidicom refuses odd ones
    for element, values in ((1, offsets), (2, even)):
        file.write(struct.pack("<HH2sHI", 0x7FE0, element, b"OV", 0, 8 * len(values)))
        file.write(struct.pack(f"<{len(values)}Q", *values))
    file.write(struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + _ITEM + bytes(4))
    source, held = iter(chunks), bytearray()
    for length in lengths:
        padded = length + length % 2
        while len(held) < padded:
            held += next(source, bytes(padded - len(held)))
        file.write(_ITEM + struct.pack("<I", padded))
        file.write(held[:padded])
        del held[:padded]
    file.write(_SEQUENCE_END + bytes(4))


def _place(level: Frames, index: int) -> bytes:
    """The functional groups of one frame: its place in the index, in the pixel matrix (from 1) and on the slide (mm, um)."""
    row, col = divmod(index, level.grid[1])
    y, x = row * level.tile[0], col * level.tile[1]
    place = b"".join(
        (
            _element(0x0040, 0x072A, b"DS", _decimal(level.origin[0] - y * level.mpp[0] / 1000)),
            _element(0x0040, 0x073A, b"DS", _decimal(level.origin[1] - x * level.mpp[1] / 1000)),
            _element(0x0040, 0x074A, b"DS", b"0 "),
            _element(0x0048, 0x021E, b"SL", struct.pack("<i", x + 1)),
            _element(0x0048, 0x021F, b"SL", struct.pack("<i", y + 1)),
        )
    )
    content = _element(0x0020, 0x9157, b"UL", struct.pack("<II", col + 1, row + 1))
    return _item(_sequence(_CONTENT, content) + _sequence(_PLACE, place))


def _element(group: int, element: int, kind: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, element, kind, len(value)) + value


def _item(body: bytes) -> bytes:
    return _ITEM + struct.pack("<I", len(body)) + body


def _sequence(tag: bytes, body: bytes) -> bytes:
    inner = _item(body)
    return tag + b"SQ\0\0" + struct.pack("<I", len(inner)) + inner


def _decimal(value: float) -> bytes:
    text = f"{value:.6f}".encode()
    return text + b" " * (len(text) % 2)
