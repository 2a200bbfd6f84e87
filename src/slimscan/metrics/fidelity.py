"""How far pixels are from what they were: MSE, MAE, largest error, PSNR, and the sums that they are made of.

The sums of one slice are an ErrorSums; `pooled` adds any number of them, so a volume larger than memory is compared
slice by slice, in any order and in threads. Pooling adds with math.fsum, so the order does not matter, and the one-shot
functions go through the same sums: they agree with the streamed ones to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError
from slimscan.metrics.metric import Metric
from slimscan.nouns import Peak, Pixels

_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """Sums over the differences test - reference of `count` samples, in their unit (sum_squares: in its square)."""

    count: int = 0
    sum_squares: float = 0.0
    sum_abs: float = 0.0
    max_abs: float = 0.0

    @property
    def mse(self) -> float:
        """Mean squared error; NaN when nothing was counted."""
        return self.sum_squares / self.count if self.count else math.nan

    @property
    def mae(self) -> float:
        """Mean absolute error; NaN when nothing was counted."""
        return self.sum_abs / self.count if self.count else math.nan

    def psnr_db(self, peak: float) -> float:
        """10 log10(peak^2 / MSE) in dB; inf when nothing differs, NaN when nothing was counted."""
        return psnr_from_mse(self.mse, peak)


def error_sums(reference: Pixels, test: Pixels, mask: Pixels | None = None) -> ErrorSums:
    """The sums of one slice or block, worked through in parts of at most about a million samples.

    reference, test: the same shape, any real type. mask: the same shape, or that without the colour axis; non-zero is
    counted. Samples of at most 16 bits are subtracted in int32, all others in float64: differences of integers are
    exact up to 2**53 and never wrap. InputError: shapes differ. The empty case: all sums are 0.
    """
    if reference.shape != test.shape:
        raise InputError(f"the reference is {reference.shape} and the test is {test.shape}; give images of one shape")
    if (
        mask is not None
        and mask.shape != reference.shape
        and (reference.ndim < 3 or mask.shape != reference.shape[:-1])
    ):
        raise InputError(f"the mask is {mask.shape} and the image is {reference.shape}; give a mask of that shape")
    if reference.size > _PART and reference.shape[0] > 1:
        step = max(1, reference.shape[0] * _PART // reference.size)
        parts = (slice(start, start + step) for start in range(0, reference.shape[0], step))
        return pooled(error_sums(reference[p], test[p], None if mask is None else mask[p]) for p in parts)
    if mask is not None:
        inside = mask != 0
        reference, test = reference[inside], test[inside]
    if reference.size == 0:
        return ErrorSums()
    distance = absolute_difference(reference, test)
    largest = float(distance.max())
    values = distance.astype(np.float64, copy=False).ravel()
    total = float(values.sum())
    # Pairwise sums of squares: exact for integers up to 2**53, and the same for any number of BLAS threads.
    return ErrorSums(values.size, float(np.square(values, out=values).sum()), total, largest)


def absolute_difference(reference: Pixels, test: Pixels) -> NDArray[Any]:
    """|test - reference| as int32 for samples of at most 16 bits, else as float64; the shape of the inputs."""
    small = all(a.dtype.kind in "iub" and a.dtype.itemsize <= 2 for a in (reference, test))
    kind = np.int32 if small else np.float64
    difference = np.asarray(np.subtract(test, reference, dtype=kind))
    return np.asarray(np.abs(difference, out=difference))


def pooled(sums: Iterable[ErrorSums]) -> ErrorSums:
    """One ErrorSums for all samples of several; independent of their order. The empty case: all sums are 0."""
    parts = tuple(sums)
    return ErrorSums(
        sum(p.count for p in parts),
        math.fsum(p.sum_squares for p in parts),
        math.fsum(p.sum_abs for p in parts),
        max((p.max_abs for p in parts), default=0.0),
    )


def errors(reference: ArrayLike, test: ArrayLike, mask: ArrayLike | None = None) -> ErrorSums:
    """The sums over whole arrays; (z, y, x[, c]) is taken slice by slice. InputError: empty, or shapes differ."""
    first, second = pair(reference, test)
    inside = None if mask is None else np.asarray(mask)
    if first.ndim < 3:
        found = error_sums(first, second, inside)
    elif inside is not None and inside.shape[:3] != first.shape[:3]:
        raise InputError(f"the mask is {inside.shape} and the image is {first.shape}; give a mask of that shape")
    else:
        found = pooled(
            error_sums(first[z], second[z], None if inside is None else inside[z]) for z in range(first.shape[0])
        )
    if found.count == 0:
        raise InputError("the mask is empty; give a mask with at least one voxel inside")
    return found


def pair(reference: ArrayLike, test: ArrayLike) -> tuple[Pixels, Pixels]:
    """Both as arrays; InputError when they are empty, not finite real numbers, or of different shapes."""
    first, second = np.asarray(reference), np.asarray(test)
    for name, array in (("reference", first), ("test", second)):
        if array.dtype.kind not in "iubf":
            raise InputError(f"the {name} holds samples of type {array.dtype}; allowed: integers, bool and floats")
        if array.size == 0:
            raise InputError(f"the {name} has no samples, its shape is {array.shape}; give an image with at least one")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = ~np.isfinite(array)
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InputError(f"the {name} holds {bad.sum()} NaN or infinite values, first at {where}; mend them")
    if first.shape != second.shape:
        raise InputError(f"the reference is {first.shape} and the test is {second.shape}; give images of one shape")
    return first, second


def peak_value(peak: Peak, reference: Pixels | None = None, bits: int | None = None) -> float:
    """The number that a named peak stands for, in the unit of the samples.

    "stored": 2**bits - 1. "range": max - min of the reference. "dtype": max - min of the reference's integer type
    (255, 65535, ...), which flatters 12 bits in uint16 by 24 dB. A number is itself. InputError: an unknown name, no
    bits for "stored", floats for "dtype", or a peak that is not above 0 (a constant reference for "range").
    """
    if isinstance(peak, str):
        if peak == "stored":
            if bits is None:
                raise InputError(
                    'peak "stored" is 2^bits - 1 and the bits are not known: give bits, or a number as peak'
                )
            value = float(2**bits - 1)
        elif peak not in ("range", "dtype"):
            raise InputError(f'peak "{peak}" is not known; allowed: stored, range, dtype, or a number above 0')
        elif reference is None:
            raise InputError(f'peak "{peak}" is read from the reference: give the reference')
        elif peak == "range":
            value = float(reference.max()) - float(reference.min())
        elif reference.dtype.kind in "iu":
            value = float(int(np.iinfo(reference.dtype).max) - int(np.iinfo(reference.dtype).min))
        else:
            raise InputError(f'peak "dtype" needs integer samples, got {reference.dtype}; use "range" or a number')
    else:
        value = float(peak)
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"peak {peak} is {value:g} here; it must be a number above 0: give one")
    return value


def psnr_from_mse(mse: float, peak: float) -> float:
    """10 log10(peak^2 / MSE) in dB; inf for MSE 0."""
    if mse == 0:
        return math.inf
    return 20 * math.log10(peak) - 10 * math.log10(mse)


def mse(reference: ArrayLike, test: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean of (test - reference)^2 over all samples, in the squared unit of the samples; 0 when identical.

    reference, test: any shape, the same; mask: non-zero is counted. InputError: empty, empty mask, shapes differ.
    """
    return errors(reference, test, mask).mse


def mae(reference: ArrayLike, test: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean of |test - reference| over all samples, in the unit of the samples; inputs and errors as for mse."""
    return errors(reference, test, mask).mae


def max_abs_error(reference: ArrayLike, test: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Largest |test - reference| over all samples, in the unit of the samples; inputs and errors as for mse."""
    return errors(reference, test, mask).max_abs


def psnr_db(
    reference: ArrayLike,
    test: ArrayLike,
    peak: Peak = "stored",
    bits: int | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Peak signal-to-noise ratio 10 log10(peak^2 / MSE) in dB; inf when identical.

    peak: "stored" (2**bits - 1), "range" (max - min of the whole reference), "dtype", or a number; see peak_value.
    InputError: as for mse and peak_value. Source: Luu 2021, eq. 3, which takes "dtype" (65535).
    """
    found = errors(reference, test, mask)
    return found.psnr_db(peak_value(peak, np.asarray(reference), bits))


METRICS = (
    Metric(
        "psnr_db", "Peak signal-to-noise ratio", "dB", "higher", -math.inf, math.inf,
        "10 log10(peak^2 / MSE); peak is named: 2^bits - 1, the reference's range, its type's range, or a number",
        "Luu 2021, eq. 3", psnr_db, "image",
    ),
    Metric(
        "mse", "Mean squared error", "stored units squared", "lower", 0.0, math.inf,
        "mean of (test - reference)^2", "Luu 2021, eq. 4", mse, "image",
    ),
    Metric(
        "mae", "Mean absolute error", "stored units", "lower", 0.0, math.inf,
        "mean of |test - reference|", "the definition", mae, "image",
    ),
    Metric(
        "max_abs_error", "Largest error", "stored units", "lower", 0.0, math.inf,
        "max of |test - reference|", "ISO/IEC 14495-1 (JPEG-LS), the bound NEAR", max_abs_error, "image",
    ),
)  # fmt: skip
