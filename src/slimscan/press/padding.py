"""Padding in a lossy DICOM image: as which values it comes back, and whether those are padding only.

Padding is what lies outside the field of view. In an .ozx a mask brings it back exactly; a codestream that everybody
reads has no mask, and -2000 comes back as -2006..-1995. DICOM has a place for that, PixelPaddingRangeLimit (PS3.3
C.7.5.1.1.2): all values from PixelPaddingValue to it are padding. That is true only when no other pixel has such a
value, in the source or after decoding, so every pixel is looked at; else the image is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from slimscan.each import threads
from slimscan.errors import TargetUnreachable
from slimscan.nouns import Check, Pixels, Volume

SPARE = 1  # units on either side, for decoders that round otherwise: the 9/7 wavelet is computed in floats


@dataclass(frozen=True, slots=True)
class Range:
    """The values that are padding in the file: from `value` (PixelPaddingValue) to `limit`, inclusive, in either order.

    check: what is promised of it, for the receipt.
    """

    value: int
    limit: int
    check: Check


@dataclass
class _Seen:
    """Which values occur, counted from -32768 (one flag each): padding decoded, other pixels in the source and decoded."""

    padding: Pixels
    source: Pixels
    decoded: Pixels


_LOW = -32768
_FLAGS = 32768 + 65536


def padding_of(volume: Volume) -> tuple[int, int] | None:
    """The smallest and largest value that the source calls padding; None for colours and where it says nothing."""
    if volume.padding is None or len(volume.shape) == 4 or volume.pixels.dtype.kind not in "iu":
        return None
    limit = (volume.about.get("dicom") or {}).get("padding_range_limit")
    ends = (int(volume.padding), int(volume.padding if limit is None else limit))
    return min(ends), max(ends)


def padding_range(
    volume: Volume, decode: Callable[[int], Pixels], name: str, setting: str, *, spare: int = SPARE
) -> Range | None:
    """How padding is to be declared in the decoded image; None when there is none, or when it came back exactly.

    decode: slice k as (1, y, x) of the volume's type. TargetUnreachable when other pixels have values of padding.
    """
    said = padding_of(volume)
    if said is None:
        return None
    seen = _looked(volume, decode, said)
    if not seen.padding.any():
        _refuse_if(seen.decoded[said[0] - _LOW : said[1] - _LOW + 1].any(), name, said, said, setting)
        return None
    came = _ends(seen.padding)
    real = seen.source | seen.decoded
    hit = real[came[0] - _LOW : came[1] - _LOW + 1]
    _refuse_if(hit.any(), name, said, came, setting)
    if said[0] <= came[0] and came[1] <= said[1] and not real[said[0] - _LOW : said[1] - _LOW + 1].any():
        return None
    info = np.iinfo(volume.pixels.dtype)
    wide = max(came[0] - spare, int(info.min)), min(came[1] + spare, int(info.max))
    low, high = wide if not real[wide[0] - _LOW : wide[1] - _LOW + 1].any() else came
    inverted = (volume.about.get("dicom") or {}).get("photometric") == "MONOCHROME1"
    got = f"{came[0]}..{came[1]}, declared as {low}..{high}, the nearest other pixel is {_nearest(real, low, high)}"
    check = Check("padding", f"{_said(said)} comes back in a range that no other pixel has", got, True)
    return Range(high, low, check) if inverted else Range(low, high, check)


def _refuse_if(hit: bool | np.bool_, name: str, said: tuple[int, int], came: tuple[int, int], setting: str) -> None:
    if hit:
        raise TargetUnreachable(
            f"{name}: padding {_said(said)} comes back as {came[0]}..{came[1]} from {setting}, and other pixels have such"
            " values: DICOM could not tell them apart; ask for more quality or --lossless, or write .ozx, which keeps"
            " padding exact"
        )


def _looked(volume: Volume, decode: Callable[[int], Pixels], said: tuple[int, int]) -> _Seen:
    def one(k: int) -> _Seen:
        source = volume.slices(k, k + 1)
        mask = (source >= said[0]) & (source <= said[1])
        decoded = decode(k)
        return _Seen(_flags(decoded[mask]), _flags(source[~mask]), _flags(decoded[~mask]))

    whole = _Seen(*(np.zeros(_FLAGS, bool) for _ in range(3)))
    for part in threads()(one, range(volume.shape[0])):
        whole.padding |= part.padding
        whole.source |= part.source
        whole.decoded |= part.decoded
    return whole


def _flags(values: Pixels) -> Pixels:
    flags = np.zeros(_FLAGS, bool)
    flags[values.astype(np.int32) - _LOW] = True
    return flags


def _ends(flags: Pixels) -> tuple[int, int]:
    at = np.flatnonzero(flags)
    return int(at[0]) + _LOW, int(at[-1]) + _LOW


def _nearest(flags: Pixels, low: int, high: int) -> str:
    """The value that occurs and is nearest to low..high."""
    at = np.flatnonzero(flags) + _LOW
    if not len(at):
        return "none"
    gaps = np.where(at < low, low - at, at - high)
    return str(int(at[int(np.argmin(gaps))]))


def _said(said: tuple[int, int]) -> str:
    return str(said[0]) if said[0] == said[1] else f"{said[0]}..{said[1]}"
