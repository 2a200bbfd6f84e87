"""Padding in a lossy DICOM image: as which values it comes back, and whether those are padding only.

Padding is what lies outside the field of view. In an .ozx a mask brings it back exactly; a codestream that everybody
reads has no mask, and -2000 comes back as -2006..-1995. DICOM has a place for that, PixelPaddingRangeLimit (PS3.3
C.7.5.1.1.2): all values from PixelPaddingValue to it are padding. That is true only when no other pixel has such a
value, in the source or after decoding, so every pixel is looked at; else the image is refused.

Padding right below the image (0 under an MR that begins at 1) would never pass. Where samples have a sign it is moved
further down before coding, and the file says where to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.each import threads
from slimscan.errors import TargetUnreachable
from slimscan.nouns import Check, Pixels, Volume
from slimscan.nouns.image import Lazy
from slimscan.press.survey import Survey

MOVED = "padding_moved_from"  # in a volume's `about`
ROOM_SHARE = 8  # room below the image, as a share of its range: 20:1 needed a tenth of it on a head MR
ROOM_LEAST = 64
SPARE = 1  # units on either side, for decoders that round otherwise: the 9/7 wavelet is computed in floats


@dataclass(frozen=True, slots=True)
class Found:
    """How padding came back. check: what is promised of it, for the receipt.

    declare: (PixelPaddingValue, PixelPaddingRangeLimit), all between which is padding; None: what the source said holds.
    """

    check: Check
    declare: tuple[int, int] | None = None


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


def with_room(volume: Volume, seen: Survey) -> tuple[Volume, Survey]:
    """The volume with its padding moved down, when it lies so near below the image that loss would mix them.

    As it came where nothing is near, or cannot be moved: colours, no sign, inverted grey, a range of padding, a type that
    ends too soon. `about` then holds MOVED, the value that padding had.
    """
    said, dicom = padding_of(volume), volume.about.get("dicom") or {}
    if said is None or said[0] != said[1] or seen.background != said[0] or volume.pixels.dtype.kind != "i":
        return volume, seen
    span = max(1, int(seen.inside_high - seen.inside_low))
    room = max(ROOM_LEAST, 1 << (span // ROOM_SHARE).bit_length())
    old, new = said[0], int(seen.inside_low) - room
    if not new < old < seen.inside_low or new < np.iinfo(volume.pixels.dtype).min + room:
        return volume, seen
    if dicom.get("photometric", "MONOCHROME2") != "MONOCHROME2":
        return volume, seen
    about = {**volume.about, MOVED: old}
    moved = replace(volume, pixels=_Moved(volume.pixels, old, new), padding=new, about=about)
    return moved, replace(seen, low=float(new), background=float(new))


@dataclass(frozen=True)
class _Moved:
    """Pixels with one value replaced by another, slices as they are asked for."""

    held: Pixels | Lazy
    old: int
    new: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""
        return tuple(self.held.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As held."""
        return self.held.dtype

    def __getitem__(self, index: slice) -> Pixels:
        pixels = np.asarray(self.held[index])
        return np.where(pixels == self.old, np.array(self.new, pixels.dtype), pixels)


def padding_found(
    volume: Volume, decode: Callable[[int], Pixels], name: str, setting: str, *, spare: int = SPARE
) -> Found | None:
    """How padding is to be declared in the decoded image; None when the source has none.

    decode: slice k as (1, y, x) of the volume's type. TargetUnreachable when other pixels have values of padding.
    """
    said = padding_of(volume)
    if said is None:
        return None
    seen = _looked(volume, decode, said)
    came = _ends(seen.padding) if seen.padding.any() else said
    real = seen.source | seen.decoded
    if _hit(real, came):
        raise TargetUnreachable(
            f"{name}: padding {_said(said)} comes back as {came[0]}..{came[1]} from {setting}, and other pixels have such"
            " values: DICOM could not tell them apart; ask for more quality or --lossless, or write .ozx, which keeps"
            " padding exact"
        )
    asked = f"{_said(said)} comes back in a range that no other pixel has"
    if MOVED not in volume.about and said[0] <= came[0] and came[1] <= said[1] and not _hit(real, said):
        return Found(Check("padding", asked, f"{_said(came)}, the nearest other pixel is {_nearest(real, said)}", True))
    info = np.iinfo(volume.pixels.dtype)
    wide = max(came[0] - spare, int(info.min)), min(came[1] + spare, int(info.max))
    low, high = came if _hit(real, wide) else wide
    inverted = (volume.about.get("dicom") or {}).get("photometric") == "MONOCHROME1"
    got = f"{_said(came)}, declared as {low}..{high}, the nearest other pixel is {_nearest(real, (low, high))}"
    return Found(Check("padding", asked, got, True), (high, low) if inverted else (low, high))


def _hit(flags: Pixels, ends: tuple[int, int]) -> bool:
    return bool(flags[ends[0] - _LOW : ends[1] - _LOW + 1].any())


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


def _nearest(flags: Pixels, ends: tuple[int, int]) -> str:
    """The value that occurs and is nearest to the range."""
    at = np.flatnonzero(flags) + _LOW
    if not len(at):
        return "none"
    gaps = np.where(at < ends[0], ends[0] - at, at - ends[1])
    return str(int(at[int(np.argmin(gaps))]))


def _said(said: tuple[int, int]) -> str:
    return str(said[0]) if said[0] == said[1] else f"{said[0]}..{said[1]}"
