"""JPEG-LS (ISO/IEC 14495-1) by CharLS, one codestream a slice: lossless, or with a bound on every voxel's error (NEAR)."""

from __future__ import annotations

import imagecodecs
import numpy as np

from slimscan.codecs import charls
from slimscan.codecs.guard import guarded, one_slice
from slimscan.codecs.headers import SOF_JPEGLS, check_jpeg
from slimscan.codecs.samples import restored, unsigned
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """One slice (1, y, x[, c]) to a bare codestream; value: NEAR, the largest error in stored units, None for lossless.

    Signed samples are counted from their smallest allowed value. The standard's NEAR ends at half the largest sample.
    """
    bits = _bits(layout)
    near = 0 if value is None else min(round(value), 255, (2**bits - 1) // 2)
    # A sample takes at most four times its bits (14495-1 A.5.3, LIMIT); the library reckons with less on noisy colour.
    room = 4 * layout.raw_bytes + 1024
    stream = charls.encode(one_slice(unsigned(pixels, layout)), bits, near, room)
    # imagecodecs puts a SPIFF header (14495-1 annex F, optional) of 46 bytes in front; its end is a second SOI.
    return stream[stream.find(b"\xff\xd8", 2) :] if stream[2:4] == b"\xff\xe8" else stream


def _bits(layout: Layout) -> int:
    """Of a sample in the codestream: a sample of two bytes has nine at least, else it would come back as one byte."""
    return max(2, layout.bits) if np.dtype(layout.dtype).itemsize == 1 else max(9, layout.bits)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slice back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    held = range(2, 9) if np.dtype(layout.dtype).itemsize == 1 else range(9, 17)
    check_jpeg("jpegls", payload, layout, held, SOF_JPEGLS)
    return restored("jpegls", guarded("jpegls", _opened, payload), layout, shifted=True)


def _opened(stream: bytes) -> Pixels:
    return np.asarray(imagecodecs.jpegls_decode(stream))


CODEC = Codec(
    name="jpegls",
    title="JPEG-LS, prediction slice by slice",
    standard="ISO/IEC 14495-1 (CharLS)",
    knob=Knob("near", "stored units", 1.0, 255.0, finer="low", step=1.0, scale="log"),
    lossless=True,
    bounded=True,
    chunk="slice",
    holds=Holds(),
    encode=encode,
    decode=decode,
    zarr_name="imagecodecs_jpegls",
    zarr_bits=False,
    note="no voxel is off by more than NEAR",
)
