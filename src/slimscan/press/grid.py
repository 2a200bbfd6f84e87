"""The grid: how stored values become the unsigned integers that codecs take, and back.

    stored = offset + step * code,  0 <= code < 2**bits

Integers are shifted by their minimum (step 1, exact): no sign, no unused bits. Values that need more than 16 bits, or
floats that are not whole, are mapped linearly to 16 bits; then half a step is lost, recorded, and counted in every error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimscan.nouns import Pixels, Volume
from slimscan.press.survey import Survey


@dataclass(frozen=True, slots=True)
class Grid:
    """dtype: the stored type. bits: significant bits of a code. code_dtype: the type that the codec sees.

    stored_bits: those of a stored sample where a code takes more of them (its sign is spread), else 0; a writer's own.
    """

    dtype: str
    offset: float
    step: float
    bits: int
    code_dtype: str
    stored_bits: int = 0

    @property
    def identity(self) -> bool:
        """Whether codes are the stored values themselves."""
        return self.dtype == self.code_dtype and self.offset == 0 and self.step == 1

    @property
    def exact(self) -> bool:
        """Whether every stored value comes back from its code."""
        return self.step == 1

    def codes(self, pixels: Pixels) -> Pixels:
        """Stored values to unsigned codes."""
        if self.identity:
            return pixels
        if self.step == 1 and pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
            # Modular arithmetic in 16 bits: exact, and no wider copy.
            shifted = pixels.astype(np.uint16) - np.uint16(int(self.offset) & 0xFFFF)
            return shifted.astype(self.code_dtype, copy=False)
        scaled = (pixels.astype(np.float64) - self.offset) / self.step
        return np.clip(np.rint(scaled), 0, 2**self.bits - 1).astype(self.code_dtype)

    def stored(self, codes: Pixels) -> Pixels:
        """Unsigned codes to stored values of the stored type."""
        if self.identity:
            return codes
        kind = np.dtype(self.dtype)
        if self.step == 1 and kind.kind in "iu" and kind.itemsize <= 2:
            shifted = codes.astype(np.uint16) + np.uint16(int(self.offset) & 0xFFFF)
            return shifted.astype(kind)
        values = codes * self.step + self.offset
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            return np.clip(np.rint(values), limits.min, limits.max).astype(kind)
        return np.asarray(values.astype(kind))


def grid_for(volume: Volume, seen: Survey, *, background: bool = False) -> Grid:
    """The grid of a surveyed volume: exact when its integers span at most 16 bits.

    background: a mask keeps the background apart, so the grid need not hold its value.
    """
    dtype = stored_dtype(volume)
    bottom, top = (seen.inside_low, seen.inside_high) if background else (seen.low, seen.high)
    if not (seen.whole and top - bottom <= 65535):
        span = top - bottom
        # A step of 1 stands for exact, which only a constant image is.
        step = 1.0 if span == 0 else span / 65535 if span != 65535 else span / 65534
        return Grid(dtype, bottom, step, 16, "uint16")
    high, low = int(top), int(bottom)
    shifted = low if low < 0 or dtype not in ("uint8", "uint16") or high.bit_length() > (high - low).bit_length() else 0
    bits = max(1, (high - shifted).bit_length())
    if shifted and np.dtype(dtype).kind in "iu":
        # The largest code must be a value of the type, or a decoder that overshoots 255 would wrap around to 0.
        shifted = min(shifted, int(np.iinfo(dtype).max) - (2**bits - 1))
    return Grid(dtype, float(shifted), 1.0, bits, "uint8" if bits <= 8 else "uint16")


def plain_grid(volume: Volume, seen: Survey) -> Grid:
    """Codes are the stored values themselves, sign and all: for files whose readers know no grid.

    bits: those that the header declares, or that the values need, one more for a sign.
    """
    dtype = stored_dtype(volume)
    bits = stored_bits(volume, seen)
    if np.dtype(dtype).kind == "i" and seen.whole:
        bits = max(bits if declared(volume) else 8, int(max(seen.high, -1 - seen.low)).bit_length() + 1)
    return Grid(dtype, 0.0, 1.0, bits, dtype)


def declared(volume: Volume) -> bool:
    """Whether the header said how many bits a sample has."""
    return bool(volume.about.get("bits_declared")) or "dicom" in volume.about


def stored_dtype(volume: Volume) -> str:
    """The stored type in this machine's byte order."""
    return str(np.dtype(volume.pixels.dtype).newbyteorder("="))


def stored_bits(volume: Volume, seen: Survey) -> int:
    """Bits of a stored sample: what the header declares, but for a 16-bit container the bits that its range needs.

    The peak of a PSNR named "stored" is 2**bits - 1. A reader that knows the bits (DICOM's BitsStored) is believed;
    others say the size of the container, and 12-bit pixels in uint16 must not gain 24 dB from it.
    """
    if declared(volume):
        return volume.bits
    if np.dtype(volume.pixels.dtype).itemsize == 1:
        return 8
    if not seen.whole or seen.high - seen.low > 65535:
        return 16
    top = seen.high if seen.low >= 0 else seen.high - seen.low  # background counts: the header would hold it
    return min(16, max(8, int(top).bit_length()))
