"""What the wavelet codecs share around OpenJPEG."""

from __future__ import annotations

import imagecodecs
import numpy as np

from slimscan.nouns import Layout, Pixels


def opened(codestream: bytes) -> Pixels:
    """A codestream as (y, x[, c]); OpenJPEG clamps to the codestream's own precision, and decodes HTJ2K too."""
    return np.asarray(imagecodecs.jpeg2k_decode(codestream, planar=False, numthreads=1))


def resolutions(layout: Layout, most: int = 6) -> int:
    """1 to `most`, so that the smallest image has sides above 8: one level more costs bytes and gains none."""
    return min(most, max(1, (min(layout.shape[1:3]) - 1).bit_length() - 3))


def without_comments(codestream: bytes) -> bytes:
    """The codestream without COM segments (ISO/IEC 15444-1 A.9.2): some 40 bytes a slice that name the library."""
    header, rest = split(codestream)
    return header + rest


def split(codestream: bytes) -> tuple[bytes, bytes]:
    """(main header without COM segments, everything from the first SOT on) of an undamaged codestream."""
    kept, at = [codestream[:2]], 2
    while codestream[at : at + 2] != b"\xff\x90":
        end = at + 2 + int.from_bytes(codestream[at + 2 : at + 4])
        if codestream[at : at + 2] != b"\xff\x64":
            kept.append(codestream[at:end])
        at = end
    return b"".join(kept), codestream[at:]
