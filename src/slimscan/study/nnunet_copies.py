"""One case of a run of nnU-Net, compressed to a ratio and decoded again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.codecs import codec as find_codec
from slimscan.nouns import Peak, Ratio, Volume
from slimscan.press.choose import Case, scheme_of
from slimscan.press.copy import Copier
from slimscan.press.outputs import guess_overhead


@dataclass(frozen=True)
class Copy:
    """What one case came to at one ratio. bytes: stored, by what the plan's ratios count."""

    volume: Volume
    ratio_achieved: float
    ratio_payload: float
    psnr_db: float
    stored: int

    def facts(self) -> dict[str, float]:
        """The numbers without the volume."""
        return {
            "ratio_achieved": self.ratio_achieved,
            "ratio_payload": self.ratio_payload,
            "psnr_db": self.psnr_db,
            "stored": self.stored,
        }


def copied(image: Volume, ratio: float, words: Mapping[str, Any]) -> Copy:
    """The image compressed to a ratio and decoded again; itself at ratio 1, which stores the raw samples.

    words: codec, size, per and peak. TargetUnreachable when the codec cannot go so far on an image this small.
    """
    pixels = np.asarray(image.pixels[0 : image.shape[0]])
    image = replace(image, pixels=pixels)
    if ratio == 1:
        return Copy(image, 1.0, 1.0, math.inf, pixels.nbytes)
    copier = Copier(image, words["codec"], words["per"])
    try:
        peak: Peak = words["peak"] if words["peak"] in ("stored", "range", "dtype") else float(words["peak"])
        wanted = pixels.nbytes / ratio
        asked = wanted + (_container(copier, ratio) if words["size"] == "payload" else 0)
        tries = []
        for _ in range(4):
            made = copier.copy(Ratio(pixels.nbytes / asked), peak=peak)
            off = wanted - made.receipt.payload_bytes
            tries.append((abs(off), made))
            if words["size"] == "file" or abs(off) <= 0.02 * wanted:
                break
            asked += off
        made = min(tries, key=lambda one: one[0])[1]
    finally:
        copier.close()
    receipt = made.receipt
    decibels = math.inf if receipt.identical or receipt.psnr_db is None else receipt.psnr_db
    stored = receipt.payload_bytes if words["size"] == "payload" else receipt.file_bytes
    return Copy(replace(image, pixels=made.pixels), receipt.ratio, receipt.ratio_payload, decibels, int(stored))


def _container(copier: Copier, ratio: float) -> int:
    """Bytes that the file will hold beside its payload, guessed before it is written."""
    assert copier.seen is not None  # taken when the copier was made
    case = Case(copier.volume, copier.seen, Ratio(ratio), copier.per, copier.each)
    return guess_overhead("box", copier.volume, scheme_of(case, find_codec(copier.codec)), case.bits)
