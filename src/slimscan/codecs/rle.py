"""RLE Lossless (DICOM PS3.5 annex G): PackBits of every byte plane, slice by slice. Exact, fast, and open to every viewer."""

from __future__ import annotations

import numpy as np

from slimscan import rle
from slimscan.codecs.guard import one_slice
from slimscan.errors import CodecError, InputError
from slimscan.nouns import Codec, Holds, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:  # noqa: ARG001 the signature of a codec
    """One slice (1, y, x[, c]) to one RLE frame; InputError for a value: there is no knob."""
    if value is not None:
        raise InputError(f"rle is exact only and has no knob; got {value:g}, use --lossless")
    return rle.encode(one_slice(pixels))


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape and dtype; CodecError for damaged bytes."""
    dtype = np.dtype(layout.dtype)
    try:
        words = rle.decode(payload, layout.shape[1], layout.shape[2], layout.samples, dtype.itemsize, strict=True)
    except CodecError as error:
        raise CodecError(f"rle: {error}; the chunk is damaged") from error
    return words.view(dtype).reshape(layout.shape)


CODEC = Codec(
    name="rle",
    title="RLE Lossless, PackBits slice by slice",
    standard="DICOM PS3.5 annex G",
    knob=None,
    lossless=True,
    bounded=False,
    chunk="slice",
    holds=Holds(),
    encode=encode,
    decode=decode,
    note="every DICOM viewer opens it; large",
)
