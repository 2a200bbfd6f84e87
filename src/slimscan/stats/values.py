"""What every test needs at its door: numbers that are numbers, rates that are rates, results that are no booleans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError

Floats = NDArray[np.float64]
Numbers = Sequence[float] | NDArray[np.float64] | Iterable[float]

DECIMALS = 10
"""Losses are rounded to 1e-10 after subtraction: 0.91 - 0.90 is not 0.01 in binary, and d > B is compared strictly."""


def no_truth(result: object) -> NoReturn:
    """A result is evidence, no yes or no: TypeError, saying what to write instead."""
    raise TypeError(
        f"{type(result).__name__} is neither true nor false: failing to certify is not a finding of harm; "
        "compare its p with alpha yourself"
    )


def floats(values: ArrayLike | Numbers, name: str) -> Floats:
    """The values as a flat float64 array (n,); InputError for anything that is not one row of numbers."""
    try:
        array = np.asarray(values if hasattr(values, "__len__") else list(values), dtype=np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{name}: want a flat list of numbers, got {type(values).__name__} of others") from None
    if array.ndim != 1:
        raise InputError(f"{name}: want a flat list of numbers, got shape {array.shape}; average inside a case first")
    return array


def sample(values: ArrayLike | Numbers, name: str) -> Floats:
    """The same, without NaN: a test must not guess what an undefined loss means. Infinite values pass."""
    array = floats(values, name)
    if np.isnan(array).any():
        where = int(np.flatnonzero(np.isnan(array))[0])
        raise InputError(
            f"{name}: value {where} of {array.size} is NaN; a failed case is data (Dice 0, distance inf), "
            "an undefined reference drops the case before the test"
        )
    return array


def same_length(first: Floats, second: Floats, names: str) -> None:
    """InputError when two columns do not belong to the same cases."""
    if first.size != second.size:
        raise InputError(f"{names}: want one value a case in both, got {first.size} and {second.size}")


def rate(value: float, name: str) -> float:
    """A probability strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} {value:g} is outside 0..1 (both ends excluded); give a rate such as 0.05")
    return float(value)


def positive(value: float, name: str) -> float:
    """A finite number above 0."""
    if not 0.0 < value < np.inf:
        raise InputError(f"{name} {value:g} is not allowed; want a finite number above 0")
    return float(value)


def rounded(values: Floats) -> Floats:
    """Rounded to 1e-10, with -0.0 written as 0.0; infinite values stay."""
    return np.round(values, DECIMALS) + 0.0
