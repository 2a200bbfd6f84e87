"""FFV1 version 3 (RFC 9043) by FFmpeg: exact, very fast, a standard of film archives.

A group of 32 slices whose statistics carry on from slice to slice. The payload is kept without a container: a checksum,
then the shape, FFmpeg's header and one packet a slice (`sealed`). Layouts of up to 8 bits are coded as 8-bit grey, others as 16-bit grey, at the same cost.
"""

from __future__ import annotations

import struct

from slimscan.codecs.guard import decoded
from slimscan.codecs.sealed import opened, seal
from slimscan.codecs.video import AV, packets, pictures, restored, scaled, size
from slimscan.errors import CodecError, InputError
from slimscan.nouns import Codec, Holds, Layout, Pixels

_LEAST = 4  # large frames are cut into 2x2 parts, which a side of 1 cannot be


def _options(sides: tuple[int, int]) -> dict[str, str]:
    """FFmpeg codes a frame in one piece, which is smallest, up to 288x352 only."""
    pieces = "1" if sides[0] <= 288 and sides[1] <= 352 else "4"
    return {"level": "3", "slices": pieces, "slicecrc": "0", "context": "0", "g": "32"}


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """A group (z, y, x) to one payload; value: None, for there is no loss; InputError for a number."""
    if value is not None:
        raise InputError(f"ffv1 is always exact and has no quality; ask for lossless, got {value:g}")
    sides = size(layout, _LEAST)
    form, dtype = _form(layout)
    frames = (frame.astype(dtype) for frame in scaled(pixels, layout, sides, layout.bits, 1.0))
    header, found = packets("ffv1", frames, form, _options(sides))
    return seal([_shape(layout), header, *found])


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The group back, in the layout's shape and dtype; CodecError for damaged bytes."""
    shape, header, *found = opened("ffv1", payload, 2 + layout.shape[0])
    if shape != _shape(layout):
        raise CodecError(
            f"ffv1: a chunk of {len(payload)} bytes is of another shape than {layout.shape}; it is damaged"
        )

    def group(_: bytes) -> Pixels:
        frames = pictures("ffv1", found, layout.shape[0], size(layout, _LEAST), _form(layout)[0], header)
        return restored(frames, layout, layout.bits, 1.0)

    return decoded("ffv1", group, payload, layout)


def _form(layout: Layout) -> tuple[str, str]:
    """FFmpeg's name of the pixel format and its dtype."""
    return ("gray", "uint8") if layout.bits <= 8 else ("gray16le", "uint16")


def _shape(layout: Layout) -> bytes:
    """What FFV1 leaves to the container: without it a wrong width decodes, to a wrong picture."""
    return struct.pack("<3I", *layout.shape[:3])


CODEC = Codec(
    name="ffv1",
    title="FFV1, exact, slices with carried statistics",
    standard="RFC 9043, version 3 (FFmpeg)",
    knob=None,
    lossless=True,
    bounded=False,
    chunk="slab",
    depth=32,
    holds=Holds(samples=(1,), max_side=32767),
    encode=encode,
    decode=decode,
    needs=(AV,),
    note="exact at 50 MB/s and more; 5 to 30 % more bytes than JPEG XL",
)
