"""What every codec needs around its library call: slices in, damaged bytes turned into one kind of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from slimscan.errors import CodecError
from slimscan.nouns import Layout, Pixels


def one_slice(pixels: Pixels) -> Pixels:
    """(1, y, x[, c]) as a contiguous (y, x) or (y, x, 3)."""
    if pixels.shape[0] != 1:
        raise ValueError(f"a slice codec takes one slice a chunk, got {pixels.shape[0]}")
    plane = pixels[0, :, :, 0] if pixels.shape[3:] == (1,) else pixels[0]
    return np.ascontiguousarray(plane)


def guarded(codec: str, call: Callable[[bytes], Any], payload: bytes) -> Any:
    """call(payload); whatever the library raises becomes a CodecError."""
    if not payload:
        raise CodecError(f"{codec}: a chunk of 0 bytes; the file is damaged")
    try:
        return call(payload)
    except Exception as error:  # libraries raise many kinds on damaged bytes; all mean the same here
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CodecError(f"{codec}: {len(payload)} bytes do not decode ({reason}); the chunk is damaged") from error


def decoded(codec: str, call: Callable[[bytes], Any], payload: bytes, layout: Layout) -> Pixels:
    """call(payload) in the layout's shape and dtype; whatever the library raises or returns wrong becomes a CodecError."""
    return fitted(codec, np.asarray(guarded(codec, call, payload)), layout)


def fitted(codec: str, pixels: Pixels, layout: Layout) -> Pixels:
    """The pixels in the layout's shape and dtype, or a CodecError when they are of another size or kind."""
    if pixels.size != int(np.prod(layout.shape, dtype=np.int64)):
        raise CodecError(f"{codec}: decoded {pixels.shape}, the layout says {layout.shape}; the chunk is damaged")
    if pixels.dtype != np.dtype(layout.dtype):
        raise CodecError(f"{codec}: decoded {pixels.dtype}, the layout says {layout.dtype}; the chunk is damaged")
    return pixels.reshape(layout.shape)
