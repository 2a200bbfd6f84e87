"""pcodec (Loncaric, Jeppesen, Zinberg 2025): numbers in bins with an entropy coder, exact, in slabs of slices."""

from __future__ import annotations

import imagecodecs
import numpy as np

from slimscan.codecs.guard import fitted, guarded
from slimscan.codecs.sealed import opened, seal
from slimscan.errors import CodecError, InputError
from slimscan.nouns import NUMBERS, Codec, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """A slab (z, y, x[, c]) to a sealed pcodec file; value must be None."""
    if value is not None:
        raise InputError(f"pcodec is exact only and has no knob; got {value:g}, use --lossless")
    return seal(
        [bytes(imagecodecs.pcodec_encode(np.ascontiguousarray(pixels, layout.dtype).reshape(-1), level=8))], layout
    )


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slab back, in the layout's shape and dtype; CodecError for damaged bytes."""
    (stream,) = opened("pcodec", payload, 1, layout)
    count = (int(np.prod(layout.shape, dtype=np.int64)),)
    if _told(stream) != count[0]:
        raise CodecError(f"pcodec: the stream does not say {count[0]} numbers; the chunk is damaged")
    flat = guarded("pcodec", lambda data: imagecodecs.pcodec_decode(data, count, np.dtype(layout.dtype)), stream)
    return fitted("pcodec", np.asarray(flat), layout)


def _told(stream: bytes) -> int:
    """The count in pco's standalone header: magic, version, type, then 6 bits that say how many bits of it follow, less 1."""
    bits = int.from_bytes(stream[6:15], "little")
    return (bits >> 6) & ((2 << (bits & 63)) - 1)


CODEC = Codec(
    name="pcodec",
    title="pcodec, binned numbers",
    standard="pco 1.0 (pcodec)",
    knob=None,
    lossless=True,
    bounded=False,
    chunk="slab",
    depth=16,
    holds=NUMBERS,
    encode=encode,
    decode=decode,
    fragile=True,
)
