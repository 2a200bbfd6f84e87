"""What a mask holds: labels or probabilities, and the segments that they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.files.dicom import segterms
from slimscan.files.dicom.segterms import Segment
from slimscan.nouns import Pixels, Volume

ALGORITHMS = ("MANUAL", "SEMIAUTOMATIC", "AUTOMATIC")
TOP = 255  # MaximumFractionalValue
_UNSAID = ("SEMIAUTOMATIC", "unknown")  # a mask file does not say who made it, and DICOM has no word for that


def values_of(mask: Volume, kind: str) -> tuple[str, Pixels, float]:
    """The kind, and labels as uint8 or uint16 or probabilities in steps of 1/255, with the largest rounding of these."""
    stored = mask.slices(0, mask.shape[0])
    scaled = (mask.slope, mask.intercept) != (1.0, 0.0)
    real = stored * np.float64(mask.slope) + mask.intercept if scaled else stored
    if real.dtype == bool:
        real = real.astype(np.uint8)
    if not real.size or not np.isfinite(real).all():
        raise InputError(
            f"{mask.source}: holds {'NaN or infinity' if real.size else 'no voxels'}; want labels or probabilities"
        )
    low, high = float(real.min()), float(real.max())
    whole = real.dtype.kind in "iu" or bool((real == np.rint(real)).all())
    if kind not in ("auto", "binary", "fractional", "labelmap"):
        raise InputError(f'{mask.source}: kind "{kind}" is not known; allowed: binary, fractional, labelmap')
    if kind == "fractional" or (kind == "auto" and not whole):
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"{mask.source}: values from {low:g} to {high:g}; want probabilities from 0 to 1, or whole labels"
            )
        steps = np.rint(real * np.float64(TOP)).astype(np.uint8)
        return "fractional", steps, float(np.abs(steps / np.float64(TOP) - real).max())
    if not whole or not 0 <= low <= high <= 65535:
        raise InputError(f"{mask.source}: values from {low:g} to {high:g}; want whole labels from 0 to 65535")
    return "binary" if kind == "auto" else kind, real.astype(np.uint8 if high < 256 else np.uint16), 0.0


def numbered(
    mask: Volume, values: Pixels, labels: dict[int, Any], kind: str, algorithm: tuple[str, str] | None
) -> tuple[Pixels, tuple[Segment, ...]]:
    """Labels as segment numbers, and the segments: 1, 2, ... without a gap unless in a LABELMAP (C.8.20.4, SegmentNumber)."""
    told = [one for one in mask.about.get("segments") or [] if isinstance(one, Mapping)]
    known = {int(one.get("value", 0)): one for one in told} | labels
    where = mask.source or "mask"
    if kind == "fractional":
        present = [next(iter(labels), 0) or (int(told[0]["value"]) if len(told) == 1 else 1)]
    else:
        counts = np.zeros(int(values.max()) + 1, np.int64)
        for plane in values:  # slice by slice: bincount works on int64
            counts += np.bincount(plane.reshape(-1), minlength=len(counts))
        present = [int(value) for value in np.flatnonzero(counts) if value] or [next(iter(known), 1)]
    segments = []
    for place, value in enumerate(present, 1):
        number = value if kind == "labelmap" else place
        one = segterms.given(number, value, known.get(value, f"Label {value}"), where)
        made = algorithm or (one.algorithm if one.algorithm[0] in ALGORITHMS and one.algorithm[1] else _UNSAID)
        segments.append(replace(one, algorithm=made))
    if kind != "binary" or present == list(range(1, len(present) + 1)):
        return values, tuple(segments)
    numbers = np.zeros(max(present) + 1, np.uint8 if len(present) < 256 else np.uint16)
    numbers[present] = np.arange(1, len(present) + 1)
    return numbers[values], tuple(segments)
