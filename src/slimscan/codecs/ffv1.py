"""FFV1 version 3 (RFC 9043) by FFmpeg: exact, very fast, a standard of film archives.

A group of 32 slices whose statistics carry on from slice to slice. The payload is kept without a container: a checksum,
then the shape, FFmpeg's header and one packet a slice (`sealed`). Layouts of up to 8 bits are coded as 8-bit grey, others as 16-bit grey, at the same cost.
"""

from __future__ import annotations

import struct

import numpy as np

from slimscan.codecs.guard import decoded
from slimscan.codecs.samples import span
from slimscan.codecs.sealed import opened, seal
from slimscan.codecs.video import AV, packets, pictures, size, unsigned
from slimscan.errors import CodecError, InputError
from slimscan.nouns import Codec, Holds, Layout, Pixels

_OPTIONS = {"level": "3", "slices": "1", "slicecrc": "0", "context": "0", "g": "32"}


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """A group (z, y, x) to one payload; value: None, for there is no loss; InputError for a number."""
    if value is not None:
        raise InputError(f"ffv1 is always exact and has no quality; ask for lossless, got {value:g}")
    frames = unsigned(pixels, layout)
    if layout.bits <= 8:
        header, found = packets("ffv1", (frame.astype(np.uint8) for frame in frames), "gray", _OPTIONS)
    else:
        header, found = packets("ffv1", frames, "gray16le", _OPTIONS)
    return seal([_shape(layout), header, *found])


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The group back, in the layout's shape and dtype; CodecError for damaged bytes."""

    shape, header, *found = opened("ffv1", payload, 2 + layout.shape[0])
    if shape != _shape(layout):
        raise CodecError(
            f"ffv1: the chunk of {len(payload)} bytes holds another shape than {layout.shape}; it is damaged"
        )
    form = "gray" if layout.bits <= 8 else "gray16le"
    low, top = span(layout)

    def group(_: bytes) -> Pixels:
        pixels = np.empty(layout.shape[:3], layout.dtype)
        for index, frame in enumerate(pictures("ffv1", found, layout.shape[0], size(layout, 1), form, header)):
            samples = frame.astype(np.int32) + low
            if int(samples.max()) > top:
                raise ValueError(f"a sample of {int(samples.max())}, more than {layout.bits} bits hold")
            pixels[index] = samples.astype(layout.dtype)
        return pixels

    return decoded("ffv1", group, payload, layout)


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
