"""HTJ2K codestreams that say the stored bits, which OpenJPH as imagecodecs calls it cannot: it says those of the container.

Two numbers of a codestream hang on the bits P of a sample (ISO/IEC 15444-1): the level that unsigned samples are shifted
by before the wavelet, 2**(P-1) (G.1.2), and for lossy work the steps of the subbands, relative to 2**P (E.1.1). So the
samples are raised by what the larger container would take off too much, and the main header is corrected: SIZ says P,
the exponents of QCD sink by the bits that went, and the guard bits grow by as many, which keeps the number of bit-planes
(E.1.1, equation E-2). Values stay what they were; decoders now clamp to the right span, and DICOM wants it (PS3.5 8.2.4).
"""

from __future__ import annotations

import numpy as np

from slimscan.nouns import Layout, Pixels

_QCD, _SOT = 0xFF5C, 0xFF90
_MOST_GUARD = 7  # three bits of Sqcd
_GUARD = 1  # what OpenJPH writes


def bits_said(layout: Layout, lossy: bool) -> int:
    """The bits that a codestream of that layout can say: the stored ones, for lossy work at most six below all."""
    whole = 8 * np.dtype(layout.dtype).itemsize
    least = whole - (_MOST_GUARD - _GUARD) if lossy else (9 if whole == 16 else 1)
    return max(layout.bits, least)


def raised(pixels: Pixels, layout: Layout, bits: int) -> Pixels:
    """Unsigned samples below 2**bits, raised so that the level shift of their container is that of `bits` bits."""
    whole = 8 * pixels.dtype.itemsize
    if bits == whole or not layout.dtype.startswith("u"):
        return pixels
    more = np.array(2 ** (whole - 1) - 2 ** (bits - 1), pixels.dtype)
    return np.asarray(pixels + more, pixels.dtype)


def saying(codestream: bytes, layout: Layout, bits: int) -> bytes:
    """The codestream of `raised` samples with `bits` in its header."""
    lost = 8 * np.dtype(layout.dtype).itemsize - bits
    if not lost:
        return codestream
    out = bytearray(codestream)
    for sample in range(layout.samples):
        at = 42 + 3 * sample  # Ssiz: the sign, and the bits less one
        out[at] = out[at] & 0x80 | (bits - 1)
    at = 4 + int.from_bytes(out[4:6])
    while (marker := int.from_bytes(out[at : at + 2])) != _SOT:
        length = int.from_bytes(out[at + 2 : at + 4])
        style = out[at + 4]
        if marker == _QCD and style & 31 == 2:  # a step for every subband: exponent of 5 bits, mantissa of 11
            out[at + 4] = style + (lost << 5)
            for step in range(at + 5, at + 2 + length, 2):
                out[step : step + 2] = (int.from_bytes(out[step : step + 2]) - (lost << 11)).to_bytes(2)
        at += 2 + length
    return bytes(out)
