"""The codecs: one standard a file, two functions and one record of facts; the registry CODECS.

A codec is added by one file that defines CODEC (or several records), and one word in the tuple below.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from slimscan.codecs import (
    av1,
    ffv1,
    general,
    hevc,
    htj2k,
    jpeg,
    jpeg2000,
    jpeg2000z,
    jpegls,
    jpegxl,
    pcodec,
    rle,
    sperr,
    sz3,
    zfp,
)
from slimscan.errors import InputError, LayoutRefused
from slimscan.nouns import Codec, Layout

_ALL: tuple[Codec, ...] = (
    jpeg2000.CODEC,
    htj2k.CODEC,
    jpegls.CODEC,
    jpegxl.CODEC,
    hevc.CODEC,
    hevc.GOP8,
    hevc.INTRA,
    av1.CODEC,
    av1.GOP8,
    sperr.CODEC,
    jpeg2000z.CODEC,
    sz3.CODEC,
    zfp.CODEC,
    jpeg.CODEC,
    *general.CODECS_GENERAL,
    pcodec.CODEC,
    rle.CODEC,
    ffv1.CODEC,
)

CODECS: Mapping[str, Codec] = MappingProxyType({codec.name: codec for codec in _ALL})


def codec(name: str) -> Codec:
    """The codec of that name, ready to use; InputError for an unknown name, MissingExtra when its package is not there."""
    found = CODECS.get(name)
    if found is None:
        raise InputError(f'codec "{name}" is not known; allowed: auto {" ".join(CODECS)}')
    for need in found.needs:
        need.demand(f"the codec {name}")
    return found


def admit(found: Codec, layout: Layout) -> None:
    """LayoutRefused, naming the reason, when the codec cannot hold the layout."""
    reason = found.holds.refuses(layout)
    if reason:
        raise LayoutRefused(f"{found.name} cannot hold {reason}; `slimscan codecs` lists what each codec holds")
