"""What to send first: the byte ranges of an .ozx in the order in which they make a picture.

    look     everything but chunks, and the base of every 8th slice: a volume whose other slices are interpolated; the
             inside part too where the base shows something else in the region's place
    region   base and inside part of every chunk that holds a part of the region
    rest     the base of all others, every 4th slice, then every 2nd, then all
    exact    the chunks of the residual

A file without region, or without residual, has fewer steps. The layout is that of docs/file-format.md: a zip of stored
entries, sharded zarr arrays with an index of 16 bytes a chunk, and envelopes of version 2 where a region is kept.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import google_crc32c

from slimscan.errors import NotReadable

STEPS = ("look", "region", "rest", "exact")
ENVELOPE = struct.Struct("<HIII")  # of version 2: slices, lengths of mask, base and inside mask
CRC_BYTES = 4
COARSE = 8  # slices between two of the first picture
MOST_CHUNKS = 10_000_000
MOST_JSON = 64 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes start..stop-1 of a file. step: index into STEPS. crc: CRC-32C of these bytes."""

    start: int
    stop: int
    step: int
    crc: int = 0


@dataclass(frozen=True)
class Plan:
    """The spans of a file in the order to send them; together every byte once.

    etag: a strong validator (RFC 9110 clause 8.8.3). slices: along z. steps: the names of those that this file has.
    """

    size: int
    etag: str
    slices: int
    spans: tuple[Span, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        """In order; those without a byte are left out."""
        held = {span.step for span in self.spans}
        return tuple(name for index, name in enumerate(STEPS) if index in held)

    def bytes_of(self, step: str) -> int:
        """How many bytes a step adds; 0 for one that the file has not."""
        return sum(span.stop - span.start for span in self.spans if STEPS[span.step] == step)

    def as_json(self) -> dict[str, Any]:
        """Plain values; spans as [start, stop, step, crc]."""
        spans = [[span.start, span.stop, span.step, span.crc] for span in self.spans]
        return {"plan": 1, "size": self.size, "etag": self.etag, "slices": self.slices, "spans": spans}


def from_json(said: Mapping[str, Any], name: str) -> Plan:
    """The plan that as_json wrote; NotReadable unless its spans are every byte of the file exactly once."""
    try:
        if said["plan"] != 1:
            raise ValueError(f"version {said['plan']} is not known")
        spans = tuple(Span(*(int(n) for n in row)) for row in said["spans"])
        plan = Plan(int(said["size"]), str(said["etag"]), int(said["slices"]), spans)
        end = 0
        for span in sorted(spans, key=lambda span: span.start):
            if span.start != end or span.stop <= end or not 0 <= span.step < len(STEPS):
                raise ValueError(f"bytes {end}..{span.start} are there twice or never")
            end = span.stop
        if end != plan.size or plan.slices < 1 or len(spans) > MOST_CHUNKS:
            raise ValueError(f"{end} bytes are planned, {plan.size} are said")
        if [span.step for span in spans] != sorted(span.step for span in spans):
            raise ValueError("its steps are not in order")
    except (KeyError, TypeError, ValueError) as error:
        raise NotReadable(f"{name}: the server's plan is damaged or not one ({error}); ask whoever runs it") from error
    return plan


@dataclass(frozen=True, slots=True)
class Chunks:
    """One array of the file. name: its path. places: (offset in the file, length with checksum) of every chunk."""

    name: str
    slices: int
    depth: int
    places: tuple[tuple[int, int], ...]


def lay_out(file: IO[bytes], name: str) -> Plan:
    """The plan of an opened .ozx; NotReadable, naming `name`, when it is damaged or not ours."""
    try:
        size = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            root = _json(archive, "zarr.json")
            said = root["attributes"]["slimscan"]
            arrays = [_chunks(archive, file, info.filename) for info in archive.infolist() if _is_array(info.filename)]
            etag = _etag(file, archive, size)
        main = next(found for found in arrays if found.name == "0")
        scheme = said["scheme"]
        filled = bool((scheme.get("inside") or {}).get("filled"))
        firsts = [_first_part(file, place, int(scheme["version"]), filled) for place in main.places]
        spans = _ordered(main, firsts, [found for found in arrays if found.name != "0"], size)
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, TypeError, StopIteration, struct.error) as error:
        raise NotReadable(f"{name}: is no .ozx of slimscan, or is damaged ({type(error).__name__})") from error
    return Plan(size, etag, main.slices, tuple(_sealed(file, spans)))


def interleaved(count: int, stride: int) -> list[tuple[int, int]]:
    """(index, round) of 0..count-1: every stride-th and the last in round 0, then halves of the stride."""
    seen: set[int] = set()
    found = []
    turn = 0
    while True:
        for index in [*range(0, count, stride), *([count - 1] if turn == 0 and count else [])]:
            if index not in seen:
                seen.add(index)
                found.append((index, turn))
        if stride == 1:
            return found
        stride, turn = stride // 2, turn + 1


def stride_of(depth: int) -> int:
    """Chunks between two of the first picture: a power of two, at most COARSE slices together."""
    return max(1, COARSE // (1 << max(0, depth - 1).bit_length()))


def _ordered(main: Chunks, firsts: list[tuple[int, bool]], others: list[Chunks], size: int) -> list[Span]:
    """Spans without checksums. firsts: of every chunk, where its first part ends, and whether it is of the region."""
    ends = [end for end, _ in firsts]
    chunks = sorted(place for found in (main, *others) for place in found.places)
    spans, end = [], 0
    for offset, length in chunks:
        if offset < end:
            raise ValueError("two chunks overlap")
        if offset > end:
            spans.append(Span(end, offset, 0))
        end = offset + length
    if end > size:
        raise ValueError("a chunk lies outside")
    if end < size:
        spans.append(Span(end, size, 0))
    rounds = interleaved(len(main.places), stride_of(main.depth))
    first = {index for index, turn in rounds if turn == 0}
    regional = [index for index, (_, held) in enumerate(firsts) if held]
    spans += [Span(main.places[index][0], ends[index], 0) for index in sorted(first)]
    for index in regional:
        offset, length = main.places[index]
        if index not in first:
            spans.append(Span(offset, ends[index], 1))
        spans.append(Span(ends[index], offset + length, 1))
    sent = first | set(regional)
    spans += [Span(main.places[index][0], ends[index], 2) for index, _ in rounds if index not in sent]
    for found in others:
        spans += [Span(offset, offset + length, 3) for offset, length in found.places]
    return [span for span in spans if span.stop > span.start]


def _first_part(file: IO[bytes], place: tuple[int, int], version: int, filled: bool) -> tuple[int, bool]:
    """Where the first picture of a chunk ends, and whether the chunk holds a part of the region.

    It ends with the base, or with the chunk when that has no inside part or no base. So it does where the region is filled
    in the base: a picture without the very thing that was asked for would mislead.
    """
    offset, length = place
    if version < 2 or length < ENVELOPE.size + CRC_BYTES:
        return offset + length, False
    file.seek(offset)
    _, mask, base, inside = ENVELOPE.unpack(file.read(ENVELOPE.size))
    end = ENVELOPE.size + mask + base
    if end + inside + CRC_BYTES > length:
        raise ValueError("an envelope is longer than its chunk")
    return offset + (end if inside and base and not filled else length), inside > 0


def _is_array(name: str) -> bool:
    return name.endswith("/zarr.json")


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > MOST_JSON:
        raise ValueError("an entry is too long")
    return json.loads(archive.read(name))


def _chunks(archive: zipfile.ZipFile, file: IO[bytes], name: str) -> Chunks:
    """The chunks of the array whose zarr.json is `name`; none for a group."""
    said, path = _json(archive, name), name.removesuffix("/zarr.json")
    if said.get("node_type") != "array":
        return Chunks(path, 0, 1, ())
    shard = said["chunk_grid"]["configuration"]["chunk_shape"]
    inner = said["codecs"][0]["configuration"]["chunk_shape"]
    axis = len(shard) - 3
    count = int(shard[axis]) // int(inner[axis])
    info = next(info for info in archive.infolist() if info.filename.startswith(f"{path}/c/"))
    if info.compress_type != zipfile.ZIP_STORED or not 1 <= count <= MOST_CHUNKS:
        raise ValueError("its chunks are not stored as they are")
    file.seek(info.header_offset)
    start = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(30)[26:30]))
    file.seek(start + info.file_size - 16 * count - CRC_BYTES)
    raw = file.read(16 * count + CRC_BYTES)
    if struct.pack("<I", google_crc32c.value(raw[:-CRC_BYTES])) != raw[-CRC_BYTES:]:
        raise ValueError("the checksum of its index does not match")
    numbers = struct.unpack(f"<{2 * count}Q", raw[:-CRC_BYTES])
    places = tuple((start + numbers[2 * i], numbers[2 * i + 1]) for i in range(count))
    return Chunks(path, int(said["shape"][axis]), int(inner[axis]), places)


def _etag(file: IO[bytes], archive: zipfile.ZipFile, size: int) -> str:
    """Of size and central directory: that holds the CRC-32 of every entry, so a copy keeps it and a change does not."""
    file.seek(archive.start_dir)
    return f'"{hashlib.sha256(str(size).encode() + file.read(MOST_JSON)).hexdigest()[:32]}"'


def _sealed(file: IO[bytes], spans: Iterable[Span]) -> Iterable[Span]:
    for span in spans:
        yield Span(span.start, span.stop, span.step, crc_of(file, span))


def crc_of(file: IO[bytes], span: Span) -> int:
    """CRC-32C of the bytes of a span as they stand in a file."""
    file.seek(span.start)
    return int(google_crc32c.value(file.read(span.stop - span.start)))
