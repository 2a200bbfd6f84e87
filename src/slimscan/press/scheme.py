"""The scheme: everything a reader must know to turn the bytes of one chunk into stored pixels.

A chunk of one slice without background is the codec's bare codestream. Otherwise it is an envelope:

    u16 slices | u32 length of mask | mask | codestream          (little endian)

mask: where the background value stands, as a lossless one-bit JPEG XL image of the slices below one another; length 0
when no voxel is background. The codestream is empty when every voxel is. Background voxels are replaced before encoding
by the smallest other value, so that they cost nothing and do not ring.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np

from slimscan import child
from slimscan.codecs import admit, codec
from slimscan.codecs.headers import check_jpegxl
from slimscan.errors import CodecError
from slimscan.nouns import Layout, Pixels
from slimscan.press.grid import Grid

ENVELOPE = struct.Struct("<HI")
VERSION = 1


@dataclass(frozen=True, slots=True)
class Scheme:
    """codec: its name. depth: slices a chunk. background: stored value that is restored exactly, or None.

    fill: code that stands where background was. bare: chunks are codestreams without an envelope.
    exact: every chunk is coded without loss; known to a writer only.
    """

    codec: str
    grid: Grid
    depth: int
    background: float | None = None
    fill: int = 0
    exact: bool = False

    @property
    def bare(self) -> bool:
        """Whether a chunk is the codec's codestream and nothing else."""
        return self.depth == 1 and self.background is None

    def layout(self, shape: tuple[int, ...]) -> Layout:
        """What the codec is told of a chunk of that shape."""
        return Layout(shape, self.grid.code_dtype, self.grid.bits)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the attributes of a file."""
        return {
            "version": VERSION,
            "codec": self.codec,
            "dtype": self.grid.dtype,
            "offset": self.grid.offset,
            "step": self.grid.step,
            "bits": self.grid.bits,
            "code_dtype": self.grid.code_dtype,
            "depth": self.depth,
            "background": self.background,
            "fill": self.fill,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Scheme:
        """The scheme that as_json wrote; CodecError for a newer version or missing words."""
        try:
            if int(said["version"]) > VERSION:
                raise CodecError(f"chunk format version {said['version']} is newer than {VERSION}: update slimscan")
            grid = Grid(
                str(said["dtype"]),
                float(said["offset"]),
                float(said["step"]),
                int(said["bits"]),
                str(said["code_dtype"]),
            )
            background = None if said["background"] is None else float(said["background"])
            scheme = cls(str(said["codec"]), grid, int(said["depth"]), background, int(said["fill"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(f"the description of the chunks is damaged: {error!r}") from error
        if np.dtype(scheme.grid.dtype).kind not in "iuf" or not 1 <= scheme.grid.bits <= 64 or scheme.depth < 1:
            raise CodecError(f"the description of the chunks is damaged: {dict(said)}")
        return scheme


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chunk ready for its codec: codes with background filled in, and the coded mask.

    mask: where background stands, None when nowhere.
    """

    codes: Pixels
    head: bytes
    empty: bool
    mask: Pixels | None = None


def prepare(scheme: Scheme, pixels: Pixels, head: bytes | None = None) -> Prepared:
    """Stored pixels (z, y, x[, c]) to codes and envelope; head: the envelope, when it was coded before."""
    if scheme.background is None:
        return Prepared(scheme.grid.codes(pixels), b"" if scheme.bare else ENVELOPE.pack(pixels.shape[0], 0), False)
    mask = pixels == scheme.background
    if not mask.any():
        return Prepared(scheme.grid.codes(pixels), ENVELOPE.pack(pixels.shape[0], 0), False)
    codes = scheme.grid.codes(pixels)
    codes = np.where(mask, np.array(scheme.fill, codes.dtype), codes)
    if head is None:
        packed = _mask_bytes(mask)
        head = ENVELOPE.pack(pixels.shape[0], len(packed)) + packed
    return Prepared(codes, head, bool(mask.all()), mask)


def head_of(scheme: Scheme, payload: bytes) -> bytes:
    """The envelope of a payload that encode() returned: the same at every place of the knob."""
    return b"" if scheme.bare else payload[: ENVELOPE.size + ENVELOPE.unpack_from(payload)[1]]


def encode(scheme: Scheme, ready: Prepared, value: float | None) -> bytes:
    """The bytes of one chunk at one place of the codec's knob (None: lossless)."""
    if ready.empty:
        return ready.head
    found = codec(scheme.codec)
    layout = scheme.layout(ready.codes.shape)
    admit(found, layout)
    return ready.head + found.encode(ready.codes, layout, value)


def decode(scheme: Scheme, payload: bytes, shape: tuple[int, ...], mask: Pixels | None = None) -> Pixels:
    """Stored pixels of one chunk; shape (z, y, x[, c]); mask: that of the payload, when it is known already.

    CodecError for damaged bytes.
    """
    found = codec(scheme.codec)
    if scheme.bare:
        return scheme.grid.stored(found.decode(payload, scheme.layout(shape)))
    if len(payload) < ENVELOPE.size:
        raise CodecError(f"{scheme.codec}: a chunk of {len(payload)} bytes is cut short")
    slices, length = ENVELOPE.unpack_from(payload)
    if slices != shape[0] or len(payload) < ENVELOPE.size + length:
        raise CodecError(f"{scheme.codec}: the chunk says {slices} slices, {shape[0]} are expected; it is damaged")
    body = payload[ENVELOPE.size + length :]
    if mask is None and length:
        mask = _mask(payload[ENVELOPE.size : ENVELOPE.size + length], shape)
    if not body and mask is not None:
        codes = np.zeros(shape, scheme.grid.code_dtype)
    else:
        codes = found.decode(body, scheme.layout(shape))
    pixels = scheme.grid.stored(codes)
    if mask is not None and scheme.background is not None:
        pixels = np.where(mask, np.array(scheme.background).astype(pixels.dtype), pixels)
    return pixels


def limits_of(scheme: Scheme) -> child.Limits | None:
    """Of the child that decodes a file's chunks: when it was asked for, or the codec is fragile; None: decode here."""
    asked = child.asked()
    if asked is None and codec(scheme.codec).fragile and child.available():
        return child.Limits(most=1 << 62)
    return asked


def decode_within(limits: child.Limits | None, scheme: Scheme, payload: bytes, shape: tuple[int, ...]) -> Pixels:
    """decode(), by a child when there are limits; CodecError also when the child did not live through it."""
    if limits is None:
        return decode(scheme, payload, shape)
    codec(scheme.codec)  # a missing package is no fault of the file
    return child.decode("slimscan.press.scheme:decode", (scheme, payload, shape), shape, scheme.grid.dtype, limits)


def _mask_bytes(mask: Pixels) -> bytes:
    if mask.all():
        return b"\x01"
    tall = np.ascontiguousarray(mask.reshape(-1, mask.shape[2]), np.uint8)
    return bytes(imagecodecs.jpegxl_encode(tall, lossless=True, effort=3, bitspersample=1, numthreads=1))


def _mask(packed: bytes, shape: tuple[int, ...]) -> Pixels:
    if packed == b"\x01":
        return np.ones(shape, bool)
    check_jpegxl("the background mask", packed, Layout((1, shape[0] * shape[1], shape[2]), "uint8", 1))
    try:
        tall = imagecodecs.jpegxl_decode(packed, numthreads=1)
    except Exception as error:  # whatever the library raises means damaged bytes
        raise CodecError(f"the background mask does not decode: {error}") from error
    if tall.shape != (shape[0] * shape[1], shape[2]):
        raise CodecError(f"the background mask is {tall.shape}, expected {(shape[0] * shape[1], shape[2])}")
    return np.asarray(tall.reshape(shape) > 0)
