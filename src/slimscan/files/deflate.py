"""Deflate streams of known size: unpacked into memory or an unnamed file, and gzip packed in one member.

gzip is RFC 1952, zlib RFC 1950, deflate RFC 1951. One gzip member and not several, as some viewers read only the first.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Literal

import imagecodecs
import numpy as np

from slimscan.errors import OutputError
from slimscan.files.guard import DEFLATE_LIMIT, damaged, must_hold
from slimscan.nouns import Pixels

MEMORY_LIMIT = 1 << 30  # above this, unpacked bytes go to an unnamed file
PACK_LIMIT = 256 << 20  # above this, packing is streamed
_CHUNK = 1 << 20
_LEVEL = 4  # libdeflate 4 packs a CT tighter than zlib 6, at six times its speed

Container = Literal["gzip", "zlib"]


def inflate(path: Path, title: str, total: int, offset: int = 0, container: Container = "gzip") -> Pixels:
    """The `total` bytes that are packed in `path` from `offset` on, as uint8 (total,), read only when on disk.

    NotReadable when the stream is damaged, ends early, or goes on with anything but zero bytes.
    """
    must_hold(path, title, total, max(0, path.stat().st_size - offset), DEFLATE_LIMIT)
    if total > MEMORY_LIMIT:
        return _on_disk(path, title, total, offset, container)
    with path.open("rb") as file:
        file.seek(offset)
        packed = file.read()
    unpack = imagecodecs.gzip_decode if container == "gzip" else imagecodecs.deflate_decode
    held: Any = np.empty(total, np.uint8)
    try:
        if len(unpack(packed, out=held)) == total:  # libdeflate has checked the checksum
            return np.asarray(held)
    except Exception:  # noqa: BLE001 several members, padding or damage: the slower reader below tells which
        pass
    del packed
    filled = 0
    for chunk in _exactly(path, title, total, offset, container):
        held[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    return np.asarray(held)


def _on_disk(path: Path, title: str, total: int, offset: int, container: Container) -> Pixels:
    folder = tempfile.gettempdir()
    short = OutputError(
        f"{path}: unpacking needs {total / 1e9:.1f} GB in the temporary folder {folder}, which has not the room; "
        "set TMPDIR to a folder that has"
    )
    if shutil.disk_usage(folder).free < total:
        raise short
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            for chunk in _exactly(path, title, total, offset, container):
                file.write(chunk)
            file.flush()
        except OSError as error:
            raise short from error
        return np.memmap(file, np.uint8, "r", shape=(total,))


def _exactly(path: Path, title: str, total: int, offset: int, container: Container) -> Iterator[bytes]:
    """Chunks that make `total` bytes; what follows may only be a little padding of zeros."""
    left, padding = total, 0
    try:
        for chunk in _stream(path, offset, container):
            inside, rest = chunk[:left], chunk[left:]
            left -= len(inside)
            padding += len(rest)
            if rest.strip(b"\0") or padding > _CHUNK:
                raise damaged(path, title, f"it holds more than the {total} bytes that its header describes")
            if inside:
                yield inside
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path, title, f"the packed bytes break off or are wrong ({error})") from error
    if left:
        raise damaged(path, title, f"{left} of the {total} bytes that its header describes are missing")


def _stream(path: Path, offset: int, container: Container) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        if container == "gzip":
            with gzip.GzipFile(fileobj=file) as unpacked:
                while chunk := unpacked.read(_CHUNK):
                    yield chunk
            return
        unpacker = zlib.decompressobj()
        while not unpacker.eof:
            packed = unpacker.unconsumed_tail or file.read(_CHUNK)
            if not packed:
                raise EOFError("the stream ends early")
            yield unpacker.decompress(packed, _CHUNK)


def pack(file: IO[bytes], chunks: Iterable[bytes], total: int, container: Container = "gzip") -> None:
    """Write `total` bytes as one gzip member, without name or time, or one zlib stream: equal bytes make equal files."""
    if total <= PACK_LIMIT:
        encode = imagecodecs.gzip_encode if container == "gzip" else imagecodecs.deflate_encode
        file.write(encode(b"".join(chunks), level=_LEVEL))
        return
    is_gzip = container == "gzip"
    file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" if is_gzip else b"\x78\x9c")
    check, size = (0 if is_gzip else 1), 0
    threads = min(4, os.cpu_count() or 1)
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        window = b""
        for chunk in chunks:
            for start in range(0, len(chunk), _CHUNK):
                block = chunk[start : start + _CHUNK]
                waiting.append(pool.submit(_block, block, window))
                window = block[-32768:]
                if len(waiting) > 2 * threads:
                    file.write(waiting.popleft().result())
            check = zlib.crc32(chunk, check) if is_gzip else zlib.adler32(chunk, check)
            size += len(chunk)
        for future in waiting:
            file.write(future.result())
    tail = (
        check.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little") if is_gzip else check.to_bytes(4, "big")
    )
    file.write(b"\x03\0" + tail)


def _block(block: bytes, window: bytes) -> bytes:
    """Deflate blocks that end on a byte and are not the last; `window`: the bytes before, to refer back to."""
    extra: dict[str, Any] = {"zdict": window} if window else {}
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, **extra)
    return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)
