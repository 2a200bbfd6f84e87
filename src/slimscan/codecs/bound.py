"""From a bound on whole numbers to a tolerance on floats."""

from __future__ import annotations

from slimscan.errors import InputError
from slimscan.nouns import Layout

CEILING = 65536.0


def tolerance(codec: str, value: float | None, layout: Layout) -> float:
    """The float tolerance that keeps rounded samples within `value` stored units: value - 0.5.

    Rounding to whole numbers adds at most one half, and that to float32 before it one unit in the 24th bit. Errors are whole numbers, so 2.999 bounds them by 2 and gives away the least.
    InputError for None: these codecs are never promised to be exact.
    """
    if value is None:
        raise InputError(f"{codec} is not exact; ask for a largest error, or choose jpegxl or jpeg2000 for lossless")
    return value - 0.5 - 2.0 ** (layout.bits - 24)
