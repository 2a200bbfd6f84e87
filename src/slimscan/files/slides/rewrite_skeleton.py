"""All bytes of a TIFF file but its payloads, so that the payloads alone give the same file back, byte for byte.

A skeleton is a magic number, a header in JSON and, deflated, the runs of bytes that belong to no tile or strip. Put where
they were they are a file with holes, whose own directories say which tile fills which hole.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import ChecksumError, InputError, OutputError
from slimscan.files.slides.rewrite_ifd import Structure, read_structure, structure

MAGIC = b"slimskel1\n"
_MOST = 256 << 20  # bytes outside payloads: directories and lists of tiles are some 20 bytes a tile
_CHUNK = 4 << 20

Payload = Callable[[int, int], bytes]


def skeleton(source: Path) -> bytes:
    """What `source` holds beside its tiles and strips, with the SHA-256 of the whole file.

    NotReadable for a damaged file; InputError when more than 256 MB of it belong to no tile or strip.
    """
    found = structure(source)
    runs = _runs(found)
    held = int(runs[:, 1].sum())
    if held > _MOST:
        raise InputError(
            f"{source}: {held} bytes belong to no tile or strip, of which {_MOST} may be kept; it cannot be restored byte for byte"
        )
    packer = zlib.compressobj(9)
    parts = [packer.compress(np.diff(runs.ravel(), prepend=0).astype("<i8").tobytes())]
    with source.open("rb") as file:
        for at, length in runs.tolist():
            file.seek(at)
            parts.append(packer.compress(file.read(length)))
    parts.append(packer.flush())
    about = {"size": found.size, "runs": len(runs), "sha256": sha256(source)}
    return MAGIC + json.dumps(about, sort_keys=True).encode() + b"\n" + b"".join(parts)


def from_skeleton(kept: bytes, out: Path, payload: Payload) -> str:
    """Write the file that the skeleton was taken from to `out`, with payload(page, index) -> bytes in its holes; its SHA-256.

    ChecksumError when a payload is not of the length that was there or the whole is another file than the source, and
    when the skeleton is damaged; nothing is left then.
    """
    about, runs, body = _unpack(kept)
    try:
        with out.open("w+b") as file:
            file.truncate(about["size"])
            start = 0
            for at, length in runs.tolist():
                file.seek(at)
                file.write(body[start : start + length])
                start += length
            file.flush()
            found = read_structure(file, out)
            for page in found.pages:
                offsets, counts = found.payloads(page.number)
                for index in np.flatnonzero(counts > 0).tolist():
                    given = payload(page.number, index)
                    if len(given) != counts[index]:
                        raise ChecksumError(
                            f"{out}: payload {index} of page {page.number} had {int(counts[index])} bytes, {len(given)} "
                            "came back; the compressed slide is damaged, copy it anew"
                        )
                    file.seek(int(offsets[index]))
                    file.write(given)
        got = sha256(out)
        if got != about["sha256"]:
            raise ChecksumError(f"{out}: is not the file that was compressed (its SHA-256 differs); nothing was kept")
    except OSError as error:
        _gone(out)
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from error
    except BaseException:
        _gone(out)
        raise
    return got


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _runs(found: Structure) -> NDArray[np.int64]:
    """(n, 2): start and length of what lies between the payloads, in the order of the file."""
    every = [found.payloads(page.number) for page in found.pages]
    starts = np.concatenate([at[counts > 0] for at, counts in every] or [np.zeros(0, np.int64)])
    lengths = np.concatenate([counts[counts > 0] for _, counts in every] or [np.zeros(0, np.int64)])
    order = np.argsort(starts, kind="stable")
    ends = np.maximum.accumulate(np.concatenate([[0], (starts + lengths)[order]]))
    nexts = np.concatenate([starts[order], [found.size]])
    free = nexts > ends
    return np.stack([ends[free], (nexts - ends)[free]], axis=1)


def _unpack(kept: bytes) -> tuple[dict[str, Any], NDArray[np.int64], bytes]:
    damaged = ChecksumError("the skeleton of the slide is damaged; copy the compressed slide anew")
    if not kept.startswith(MAGIC):
        raise damaged
    try:
        line, _, packed = kept[len(MAGIC) :].partition(b"\n")
        about = json.loads(line)
        count = int(about["runs"])
        unpacker = zlib.decompressobj()
        flat = unpacker.decompress(packed, _MOST + 16 * count)
        runs = np.cumsum(np.frombuffer(flat, "<i8", 2 * count)).reshape(count, 2)
        body = flat[16 * count :]
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise damaged from error
    if (
        len(body) != int(runs[:, 1].sum())
        or not unpacker.eof
        or (runs < 0).any()
        or runs.sum(axis=1).max(initial=0) > about["size"]
    ):
        raise damaged
    return about, runs, body


def _gone(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
