"""From metric to loss, and from margin to one contrast a case (STATISTICS sections 0 and 1)."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from slimscan.errors import InputError
from slimscan.stats.values import Floats, floats, rate, rounded, same_length

Better = Literal["higher", "lower"]
KINDS = ("absolute", "relative", "threshold", "observer")
SALT = "verdict-v1|"


def sign(better: str) -> float:
    """1.0 when higher is better, -1.0 when lower is; InputError for another word."""
    if better not in ("higher", "lower"):
        raise InputError(f'better "{better}" is not known; allowed: higher lower')
    return 1.0 if better == "higher" else -1.0


def loss(reference: ArrayLike, value: ArrayLike, better: Better = "higher") -> Floats:
    """What each case lost, (n,): reference - value when higher is better, value - reference when lower is.

    Positive is harm; it is never made absolute. Rounded to 1e-10. Units of the metric. An infinite value on the bad
    side (a distance to an empty mask) is an infinite loss; NaN stays NaN, and the tests refuse it. Empty gives empty.
    """
    a, b = floats(reference, "reference"), floats(value, "value")
    same_length(a, b, "reference and value")
    with np.errstate(invalid="ignore"):  # inf - inf: both undefined, NaN says so
        return rounded(sign(better) * (a - b))


def contrast(
    kind: str,
    value: ArrayLike,
    reference: ArrayLike | None = None,
    observer: ArrayLike | None = None,
    delta: float | None = None,
    rho: float | None = None,
    threshold: float | None = None,
    better: Better = "higher",
) -> Floats:
    """One number a case, (n,), whose expectation is >= 0 under H0 (harmful), rounded to 1e-10. Empty gives empty.

    absolute: loss - delta. relative: (1 - rho) reference - value, exact and linear, no plug-in mean. threshold:
    threshold - value, needs no reference. observer (also written observer_paired): the second observer's agreement on
    the same case minus value. Signs turn round when lower is better (relative: value - (1 + rho) reference).
    InputError when the number or column that the kind needs is absent.
    """
    s, v = sign(better), floats(value, "value")

    def column(values: ArrayLike | None, name: str) -> Floats:
        if values is None:
            raise InputError(f"a margin of kind {kind} needs {name}=, one number a case; none came")
        found = floats(values, name)
        same_length(found, v, f"{name} and value")
        return found

    def number(given: float | None, name: str) -> float:
        if given is None:
            raise InputError(f"a margin of kind {kind} needs {name}=, a number; none came")
        return float(given)

    with np.errstate(invalid="ignore"):
        if kind == "absolute":
            found = loss(column(reference, "reference"), v, better) - number(delta, "delta")
        elif kind == "relative":
            found = s * ((1.0 - s * rate(number(rho, "rho"), "rho")) * column(reference, "reference") - v)
        elif kind == "threshold":
            found = s * (number(threshold, "threshold") - v)
        elif kind in ("observer", "observer_paired"):
            found = s * (column(observer, "observer") - v)
        else:
            raise InputError(f'margin kind "{kind}" is not known; allowed: {" ".join(KINDS)}')
        return rounded(found)


def case_order(case_ids: Iterable[Hashable]) -> list[Hashable]:
    """The ids in the fixed order in which the betting test sees them: ascending sha256("verdict-v1|" + id).

    The order matters to that test, so it is a function of the names alone, and the salt is no option.
    """
    return sorted(case_ids, key=lambda case: hashlib.sha256(f"{SALT}{case}".encode()).hexdigest())
