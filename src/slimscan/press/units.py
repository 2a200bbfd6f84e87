"""--max-error in the image's own unit: 5HU, "0.01 1/cm", "3 stored".

Stored values s mean slope * s + intercept in the unit that the header names, so an error of e stored units is one of
|slope| * e there. The bound is divided exactly, in fractions of the decimal numbers that were written, and rounded down to
whole stored units where samples are whole: 0.3 at a slope of 0.1 is 3, not 2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Check, MaxError, Volume

STORED = "stored"
_FORM = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*?)?\s*", re.ASCII)


def parse(text: str) -> MaxError:
    """The bound that `text` says: a number, and a unit or none; InputError with the form that is wanted."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise InputError(f'--max-error "{text}": want a number, and a unit or none, for example 2, 5HU or "0.01 1/cm"')
    unit = found[2] or ""
    return MaxError(float(found[1]), "" if unit.lower() == STORED else unit)


def stored(asked: MaxError, volume: Volume) -> MaxError:
    """The bound in stored units, rounded down where samples are integers.

    InputError when the image has another unit than the one asked for, or none.
    """
    if (
        not asked.unit or not asked.value >= 0 or asked.value == float("inf")
    ):  # what no image can meet is told elsewhere
        return replace(asked, unit="")
    unit, where = real_unit(volume), volume.source or "volume"
    if not unit:
        raise InputError(
            f"{where}: --max-error {asked.value:g} {asked.unit}: the image names no unit; say a plain number, in stored units"
            + (f" of {abs(volume.slope):g} each" if abs(volume.slope) != 1 else "")
        )
    if unit.casefold() != asked.unit.casefold():
        raise InputError(
            f"{where}: --max-error {asked.value:g} {asked.unit}: the unit of the image is {unit}; say the bound in {unit}, "
            "or a plain number for stored units"
        )
    bound = Fraction(repr(float(asked.value))) / abs(Fraction(repr(float(volume.slope))))
    return MaxError(float(bound.__floor__()) if np.dtype(volume.pixels.dtype).kind in "iu" else float(bound))


def real_unit(volume: Volume) -> str:
    """The unit of slope * stored + intercept, "" when the header names none, or has a table in place of a slope."""
    looked_up = bool((volume.about.get("dicom") or {}).get("modality_lut"))
    return "" if looked_up or volume.slope == 0 else volume.unit


def real(error: float | None, volume: Volume) -> float | None:
    """A largest error in the image's unit; None without an error or a unit."""
    return None if error is None or not real_unit(volume) else error * abs(volume.slope)


def in_both(promised: Sequence[Check], asked: MaxError, volume: Volume, worst: float) -> list[Check]:
    """The check of the bound in the unit that was asked for, with the stored units beside it."""
    if not asked.unit:
        return list(promised)
    got = f"{real(worst, volume):.6g} {real_unit(volume)} ({worst:g} stored)"
    return [
        replace(
            one, asked=f"at most {asked.value:g} {asked.unit} ({one.asked.removeprefix('at most ')} stored)", got=got
        )
        if one.name == "max_error"
        else one
        for one in promised
    ]
