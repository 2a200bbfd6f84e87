"""RLE Lossless of DICOM (PS3.5 annex G): a segment of PackBits for every byte of every sample of one slice.

It stands below codecs and files because both need it: a codec of that name, and the frames of a DICOM file.
"""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np

from slimscan.errors import CodecError
from slimscan.nouns import Pixels

HEADER = struct.Struct("<16I")  # number of segments, and where each begins (G.5)
_MOST = 15


def encode(pixels: Pixels) -> bytes:
    """One slice (y, x[, c]) of 1 or 2 bytes a sample, at most 15 bytes a voxel, as one RLE frame of even length."""
    size = pixels.dtype.itemsize
    planes = pixels.reshape(*pixels.shape[:2], -1)
    segments: list[bytes] = []
    for sample in range(planes.shape[2]):
        raw = np.ascontiguousarray(planes[:, :, sample], pixels.dtype.newbyteorder(">")).view(np.uint8)
        raw = raw.reshape(*pixels.shape[:2], size)
        for byte in range(size):
            # Rows are packed one by one: a run must not cross the end of a row (G.3.1).
            packed = bytes(imagecodecs.packbits_encode(raw[:, :, byte].copy("C"), axis=-1))
            segments.append(packed + b"\0" * (len(packed) % 2))
    if len(segments) > _MOST:
        raise ValueError(f"an RLE frame has at most {_MOST} segments, got {len(segments)}")
    offsets = [HEADER.size]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    return HEADER.pack(len(segments), *offsets, *([0] * (_MOST - len(offsets)))) + b"".join(segments)


def decode(payload: bytes, rows: int, columns: int, samples: int, size: int, *, strict: bool = False) -> Pixels:
    """Raw words (rows, columns, samples), unsigned, of `size` bytes; CodecError for damage.

    Some writers pack more than an image; what follows it is passed over unless `strict`.
    """
    area, wanted = rows * columns, size * samples
    if len(payload) < HEADER.size:
        raise CodecError("the RLE frame is shorter than its header")
    count, *offsets = HEADER.unpack_from(payload)
    if count != wanted:
        raise CodecError(f"the RLE frame has {count} segments, {samples} sample(s) of {size} byte(s) need {wanted}")
    edges = [*offsets[:count], len(payload)]
    if edges != sorted(edges) or edges[0] < HEADER.size:
        raise CodecError(f"the RLE frame says that its segments begin at {offsets[:count]} of {len(payload)} bytes")
    planes = np.empty((samples, size, area), np.uint8)
    for k in range(count):
        held = _unpacked(payload[edges[k] : edges[k + 1]], k)
        if len(held) < area or (strict and len(held) != area):
            raise CodecError(f"RLE segment {k + 1} holds {len(held)} bytes, {rows} x {columns} need {area}")
        planes[k // size, k % size] = held[:area]
    words = np.ascontiguousarray(planes.transpose(2, 0, 1)).view(f">u{size}").astype(f"u{size}")
    return words.reshape(rows, columns, samples)


def _unpacked(packed: bytes, k: int) -> Pixels:
    """PackBits undone; the zero that makes a segment even begins a run of one byte that never comes."""
    try:
        return np.frombuffer(bytes(imagecodecs.packbits_decode(packed)), np.uint8)
    except Exception as error:  # the library raises several kinds on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CodecError(f"RLE segment {k + 1} of {len(packed)} bytes does not decode ({reason})") from error
