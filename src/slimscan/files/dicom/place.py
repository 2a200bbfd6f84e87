"""Where the frames of a DICOM file lie in it, found without reading them, and the bytes of one frame.

Native pixel data is one block; encapsulated pixel data is a list of fragments that a basic or extended offset table
(PS3.5 A.4, PS3.3 C.7.6.3.1.8), or else the end markers of the codestreams, divide into frames.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from slimscan import child
from slimscan.errors import NotReadable
from slimscan.files.guard import reading

PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_INFLATE_LIMIT = 1 << 31

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where pixel data lies. frames: the fragments (offset, length) of each frame; native data has one span a frame.

    inflated: offsets count in the inflated data set. words: 8-bit samples were written as 16-bit words (VR OW).
    native_bytes: length of the native block, 0 when encapsulated.
    """

    path: Path
    frames: tuple[tuple[Span, ...], ...]
    encapsulated: bool
    inflated: bool = False
    words: bool = False
    native_bytes: int = 0

    def read(self, frame: int, limit: int | None = None) -> bytes:
        """The bytes of one frame, at most the first `limit` of them; NotReadable when the file has changed since."""
        with reading(self.path, "DICOM"), opened(self.path, self.inflated) as file:
            parts, left = [], limit
            for offset, length in self.frames[frame]:
                wanted = length if left is None else min(length, left)
                file.seek(offset)
                part = file.read(wanted)
                if len(part) != wanted:
                    raise NotReadable(f"{self.path}: frame {frame + 1} ends early; the file changed while it was read")
                parts.append(part)
                if left is not None:
                    left -= wanted
                    if not left:
                        break
        return parts[0] if len(parts) == 1 else b"".join(parts)  # no copy of a native frame


def opened(path: Path, inflated: bool) -> BinaryIO:
    """The file, or its inflated data set, ready to read from."""
    if not inflated:
        return path.open("rb")
    limits = child.asked()
    return io.BytesIO(_inflate(path, path.stat().st_mtime_ns, limits.most if limits else _INFLATE_LIMIT))


@lru_cache(maxsize=2)
def _inflate(path: Path, stamp: int, limit: int) -> bytes:  # noqa: ARG001 the stamp is part of the cache's key
    """The data set of a deflated file (PS3.5 A.5); `stamp` keeps a changed file out of the cache."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 140)  # (0002,0000) stands first behind DICM: the length of the group
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data[144 + length :], limit)
    except zlib.error as error:
        raise NotReadable(f"{path}: the deflated data set is damaged: {error}") from None
    if inflater.unconsumed_tail:
        raise NotReadable(f"{path}: the deflated data set is larger than {limit} bytes; inflate it first")
    if not inflater.eof:
        raise NotReadable(f"{path}: the deflated data set is cut off")
    return content


def locate(
    file: BinaryIO,
    path: Path,
    *,
    frames: int,
    frame_bytes: int,
    tables: tuple[bytes, bytes],
    implicit: bool,
    little: bool,
    inflated: bool,
    one_fragment: bool,
) -> Place:
    """The place of every frame. `file` stands at the pixel data element.

    frame_bytes: of one native frame. tables: the values of Extended Offset Table and its Lengths, empty when absent.
    one_fragment: the transfer syntax allows one fragment a frame only (RLE).
    NotReadable: no pixel data, a cut file, another number of frames than the header says.
    """
    order = "<" if little else ">"
    start = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(start)
    head = file.read(8 if implicit else 12)
    if len(head) < (8 if implicit else 12):
        raise NotReadable(f"{path}: the file holds no pixel data; it is cut off, or no image")
    tag: tuple[int, ...] = struct.unpack_from(f"{order}HH", head)
    if tag != PIXEL_DATA:
        raise NotReadable(f"{path}: ({tag[0]:04X},{tag[1]:04X}) stands where pixel data should; damaged file")
    (length,) = struct.unpack_from(f"{order}I", head, 4 if implicit else 8)
    words = implicit or head[4:6] == b"OW"
    at = file.tell()
    if length == 0xFFFFFFFF:
        table, fragments, _ = _fragments(file, path, end)
        if one_fragment and len(fragments) != frames:
            raise NotReadable(_count(path, len(fragments), frames))
        spans = _divide(file, path, fragments, table, tables, frames)
        return Place(path, spans, True, inflated)
    held = min(length, end - at)
    if held < frame_bytes * frames:
        if held >= frame_bytes and held % frame_bytes == 0 and held == length:
            raise NotReadable(_count(path, held // frame_bytes, frames))
        raise NotReadable(
            f"{path}: pixel data hold {held} bytes, {frames} frame(s) need {frame_bytes * frames}; the file is cut off"
        )
    native = tuple(((at + k * frame_bytes, frame_bytes),) for k in range(frames))
    return Place(path, native, False, inflated, words, length)


def behind(file: BinaryIO, path: Path, implicit: bool, little: bool) -> int:
    """Where the elements behind the pixel data begin; `file` stands at the pixel data element, or at its end without any."""
    head = file.read(8 if implicit else 12)
    if len(head) < (8 if implicit else 12):
        return file.tell()
    (length,) = struct.unpack_from("<I" if little else ">I", head, 4 if implicit else 8)
    if length == 0xFFFFFFFF:
        start = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(start)
        return _fragments(file, path, end)[2]
    return file.tell() + int(length)


def _count(path: Path, held: int, frames: int) -> str:
    return f"{path}: NumberOfFrames says {frames}, the pixel data hold {held}; fetch the file again"


def _fragments(file: BinaryIO, path: Path, end: int) -> tuple[bytes, list[Span], int]:
    """The basic offset table, where every fragment lies, and where all that ends."""
    spans: list[Span] = []
    while True:
        head = file.read(8)
        if len(head) < 8:
            break  # some writers leave the last delimiter out; the frames are counted below
        group, element, length = struct.unpack("<HHI", head)
        tag = group << 16 | element
        if tag == _END:
            break
        at = file.tell()
        if tag != _ITEM or at + length > end:
            raise NotReadable(f"{path}: fragment {len(spans)} of the pixel data is cut off or damaged at byte {at - 8}")
        spans.append((at, length))
        file.seek(at + length)
    if not spans:
        raise NotReadable(f"{path}: the encapsulated pixel data hold no fragment")
    behind_all = file.tell()
    file.seek(spans[0][0])
    return file.read(spans[0][1]), spans[1:], behind_all


def _divide(
    file: BinaryIO, path: Path, fragments: list[Span], table: bytes, tables: tuple[bytes, bytes], frames: int
) -> tuple[tuple[Span, ...], ...]:
    if len(fragments) < frames:
        raise NotReadable(_count(path, len(fragments), frames))
    if frames == 1:
        return (tuple(fragments),)
    if len(fragments) == frames:
        return tuple((fragment,) for fragment in fragments)
    first = fragments[0][0] - 8
    wide = tables[0]
    if wide and len(wide) == 8 * frames:
        starts = [offset + first for offset in struct.unpack(f"<{frames}Q", wide)]
    elif len(table) == 4 * frames:
        starts = [offset + first for offset in struct.unpack(f"<{frames}I", table)]
    else:
        starts = [fragments[0][0] - 8]
        for (offset, length), following in pairwise(fragments):
            file.seek(max(offset, offset + length - 4))
            if b"\xff\xd9" in file.read(min(length, 4)):
                starts.append(following[0] - 8)
    known = {offset - 8: k for k, (offset, _) in enumerate(fragments)}
    if len(starts) != frames or not set(starts) <= known.keys() or starts != sorted(set(starts)):
        raise NotReadable(
            f"{path}: {len(fragments)} fragments cannot be divided into {frames} frames; the offset table is wrong"
        )
    edges = [known[start] for start in starts] + [len(fragments)]
    return tuple(tuple(fragments[a:b]) for a, b in pairwise(edges))
