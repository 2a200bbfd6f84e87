"""The scheme: everything a reader must know to turn the bytes of one chunk into stored pixels.

A chunk of one slice without background is the codec's bare codestream. Otherwise it is an envelope:

    u16 slices | u32 length of mask | mask | codestream          (little endian)

mask: where the background value stands, as a lossless one-bit JPEG XL image of the slices below one another; length 0
when no voxel is background. The codestream is empty when every voxel is. Background voxels are replaced before encoding
by the smallest other value, so that they cost nothing and do not ring.

With a region of interest the envelope is version 2, which begins with the base and can be cut off behind it:

    u16 slices | u32 length of mask | u32 length of base | u32 length of inside mask | mask | base | inside mask | correction

base: the codestream of the whole chunk, region and all, or with the region filled smoothly (`filled`). inside mask: the
region, coded like the mask; length 0 where the chunk has none of it. correction: the codes inside that are not background
(roi_code.py), which replace those of the base.
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
from slimscan.press.roi_code import code_inside, read_inside
from slimscan.press.roi_fill import filled

ENVELOPE = struct.Struct("<HI")
ENVELOPE_2 = struct.Struct("<HIII")
VERSION = 2
MASK_EFFORT, INSIDE_MASK_EFFORT = 3, 7  # of JPEG XL; a smooth outline takes a quarter less at 7


@dataclass(frozen=True, slots=True)
class Inside:
    """That chunks keep a region apart. filled: the base holds something smooth there, not the image."""

    filled: bool = True


@dataclass(frozen=True, slots=True)
class Scheme:
    """codec: its name. depth: slices a chunk. background: stored value that is restored exactly, or None.

    fill: code that stands where background was. bare: chunks are codestreams without an envelope.
    exact: every chunk is coded without loss; known to a writer only. inside: chunks keep a region apart (version 2).
    """

    codec: str
    grid: Grid
    depth: int
    background: float | None = None
    fill: int = 0
    exact: bool = False
    inside: Inside | None = None

    @property
    def bare(self) -> bool:
        """Whether a chunk is the codec's codestream and nothing else."""
        return self.depth == 1 and self.background is None and self.inside is None

    def layout(self, shape: tuple[int, ...]) -> Layout:
        """What the codec is told of a chunk of that shape."""
        return Layout(shape, self.grid.code_dtype, self.grid.bits)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the attributes of a file."""
        said = {} if self.inside is None else {"inside": {"filled": self.inside.filled}}
        return {
            "version": 1 if self.inside is None else VERSION,
            "codec": self.codec,
            "dtype": self.grid.dtype,
            "offset": self.grid.offset,
            "step": self.grid.step,
            "bits": self.grid.bits,
            "code_dtype": self.grid.code_dtype,
            "depth": self.depth,
            "background": self.background,
            "fill": self.fill,
        } | said

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
            inside = Inside(bool(said["inside"]["filled"])) if said.get("inside") else None
            scheme = cls(str(said["codec"]), grid, int(said["depth"]), background, int(said["fill"]), inside=inside)
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


def prepare(scheme: Scheme, pixels: Pixels, head: bytes | None = None, inside: Pixels | None = None) -> Prepared:
    """Stored pixels (z, y, x[, c]) to codes and envelope; head: the envelope, when it was coded before.

    inside: (z, y, x) bool, the voxels that are kept apart.
    """
    codes, mask = scheme.grid.codes(pixels), None
    if scheme.background is not None:
        mask = pixels == scheme.background
        mask = mask if mask.any() else None
    if mask is not None:
        codes = np.where(mask, np.array(scheme.fill, codes.dtype), codes)
        if head is None:
            packed = _mask_bytes(mask, MASK_EFFORT)
            head = ENVELOPE.pack(pixels.shape[0], len(packed)) + packed
    elif head is None:
        head = b"" if scheme.bare else ENVELOPE.pack(pixels.shape[0], 0)
    if scheme.inside is not None and scheme.inside.filled and inside is not None and inside.any():
        back = np.zeros(inside.shape, bool) if mask is None else _voxels(mask)
        if (back | inside).all():
            return Prepared(codes, head, True, mask)
        codes = filled(codes, inside & ~back, ~(inside | back))
    return Prepared(codes, head, mask is not None and bool(mask.all()), mask)


def head_of(scheme: Scheme, payload: bytes) -> bytes:
    """The envelope of a payload that encode() returned: the same at every place of the knob."""
    if scheme.inside is not None:
        slices, length, _, _ = ENVELOPE_2.unpack_from(payload)
        return ENVELOPE.pack(slices, length) + payload[ENVELOPE_2.size : ENVELOPE_2.size + length]
    return b"" if scheme.bare else payload[: ENVELOPE.size + ENVELOPE.unpack_from(payload)[1]]


def encode(scheme: Scheme, ready: Prepared, value: float | None) -> bytes:
    """The bytes of one chunk at one place of the codec's knob (None: lossless); with a region those of its base."""
    body = b""
    if not ready.empty:
        found = codec(scheme.codec)
        layout = scheme.layout(ready.codes.shape)
        admit(found, layout)
        body = found.encode(ready.codes, layout, value)
    if scheme.inside is None:
        return ready.head + body
    slices, length = ENVELOPE.unpack_from(ready.head)
    return ENVELOPE_2.pack(slices, length, len(body), 0) + ready.head[ENVELOPE.size :] + body


def code_region(scheme: Scheme, pixels: Pixels, inside: Pixels, bound: int = 0, split: int = 0) -> tuple[bytes, bytes]:
    """(inside mask, correction) of one chunk of stored pixels, both empty where nothing is inside (z, y, x).

    bound, split: in codes, as code_inside() takes them.
    """
    if not inside.any():
        return b"", b""
    known = inside
    if scheme.background is not None:
        known = inside & ~_voxels(pixels == scheme.background)
    return _mask_bytes(inside, INSIDE_MASK_EFFORT), code_inside(scheme.grid.codes(pixels), known, bound, split)


def with_inside(base: bytes, where: bytes, correction: bytes) -> bytes:
    """A chunk of version 2: base, as encode() gave it, with what code_region() gave behind."""
    if not where:
        return base
    slices, mask, body, _ = ENVELOPE_2.unpack_from(base)
    return ENVELOPE_2.pack(slices, mask, body, len(where)) + base[ENVELOPE_2.size :] + where + correction


@dataclass(frozen=True, slots=True)
class Parts:
    """What lies in an envelope; where and correction are empty without a region."""

    slices: int
    mask: bytes
    base: bytes
    where: bytes = b""
    correction: bytes = b""


def parts_of(scheme: Scheme, payload: bytes, whole: bool = True) -> Parts:
    """The parts of one chunk that is not bare; whole False: it may have been cut off anywhere behind its base.

    CodecError when it is cut before.
    """
    envelope = ENVELOPE if scheme.inside is None else ENVELOPE_2
    if len(payload) < envelope.size:
        raise CodecError(f"{scheme.codec}: a chunk of {len(payload)} bytes is cut short")
    slices, *lengths = envelope.unpack_from(payload)
    ends = [int(end) for end in envelope.size + np.cumsum(lengths, dtype=np.int64)]
    if len(payload) < ends[-1 if whole else min(1, len(ends) - 1)]:
        raise CodecError(
            f"{scheme.codec}: the chunk says {ends[-1]} bytes, and {len(payload)} are there; it is damaged"
        )
    mask = payload[envelope.size : ends[0]]
    if scheme.inside is None:
        return Parts(slices, mask, payload[ends[0] :])
    base = payload[ends[0] : ends[1]]
    return Parts(slices, mask, base, payload[ends[1] : ends[2]], payload[ends[2] :])


def decode(
    scheme: Scheme, payload: bytes, shape: tuple[int, ...], mask: Pixels | None = None, inside: bool = True
) -> Pixels:
    """Stored pixels of one chunk; shape (z, y, x[, c]); mask: that of the payload, when it is known already.

    inside False: what the base alone shows, for a chunk with a region. CodecError for damaged bytes.
    """
    found = codec(scheme.codec)
    if scheme.bare:
        return scheme.grid.stored(found.decode(payload, scheme.layout(shape)))
    parts = parts_of(scheme, payload, whole=inside)
    if parts.slices != shape[0]:
        raise CodecError(
            f"{scheme.codec}: the chunk says {parts.slices} slices, {shape[0]} are expected; it is damaged"
        )
    if mask is None and parts.mask:
        mask = _mask(parts.mask, shape)
    if not parts.base and (mask is not None or parts.where):
        codes = np.full(shape, scheme.fill, scheme.grid.code_dtype)
    else:
        codes = found.decode(parts.base, scheme.layout(shape))
    if inside and parts.where:
        region = _mask(parts.where, shape[:3])
        if mask is not None:
            region &= ~_voxels(mask)
        codes = np.array(codes)  # decoders may hand out memory that is not ours
        codes[region] = read_inside(parts.correction, region, shape[3:], 2**scheme.grid.bits - 1)
    pixels = scheme.grid.stored(codes)
    if mask is not None and scheme.background is not None:
        pixels = np.where(mask, np.array(scheme.background).astype(pixels.dtype), pixels)
    return pixels


def _voxels(mask: Pixels) -> Pixels:
    """A mask of samples as one of voxels: True where every sample of a voxel is background."""
    return mask if mask.ndim == 3 else np.asarray(mask.all(axis=3))


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


def _mask_bytes(mask: Pixels, effort: int) -> bytes:
    if mask.all():
        return b"\x01"
    tall = np.ascontiguousarray(mask.reshape(-1, mask.shape[2]), np.uint8)
    return bytes(imagecodecs.jpegxl_encode(tall, lossless=True, effort=effort, bitspersample=1, numthreads=1))


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
