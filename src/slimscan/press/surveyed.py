"""A volume whose stored bits are known, for every number that is measured against a peak."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from slimscan.each import threads
from slimscan.nouns import Peak, Volume
from slimscan.press.choose import stored_peak
from slimscan.press.grid import stored_bits
from slimscan.press.survey import Survey, survey


@dataclass(frozen=True)
class Surveyed:
    """volume: its `bits` are those that a PSNR's stored peak means. seen: the survey."""

    volume: Volume
    seen: Survey

    def peak(self, named: Peak) -> Peak:
        """The same peak, but for floats the number itself: they have no stored bits but those that they need."""
        floats = np.dtype(self.volume.pixels.dtype).kind == "f"
        return stored_peak(self.volume, self.seen) if named == "stored" and floats else named


def surveyed(volume: Volume) -> Surveyed:
    """Look at every voxel once; InputError for none, NaN or infinities."""
    seen = survey(volume, threads())
    return Surveyed(replace(volume, bits=stored_bits(volume, seen)), seen)
