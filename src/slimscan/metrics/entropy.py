"""Shannon entropy of stored values: the bits per sample that a coder without memory cannot go below."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError
from slimscan.metrics.metric import Metric
from slimscan.nouns import Pixels

# A dense count of this many values costs 8 MB; wider ranges are sorted instead.
_DENSE = 1 << 20


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often each value occurs. values: ascending integers; counts: the same length, all above 0."""

    values: NDArray[Any]
    counts: NDArray[np.int64]

    @property
    def entropy_bits(self) -> float:
        """-sum p log2 p in bits a sample; 0 for one value only, NaN when nothing was counted."""
        total = int(self.counts.sum())
        if total == 0:
            return math.nan
        share = self.counts / total
        # + 0.0 turns the -0.0 of a constant image into 0.0.
        return -float((share * np.log2(share)).sum()) + 0.0


def histogram(pixels: Pixels) -> Histogram:
    """The histogram of integer samples of any shape; those of slices, merged, are that of the volume.

    Floats that all hold integers are counted as integers. InputError: other floats, which have no stored integers.
    """
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and np.array_equal(pixels, np.rint(pixels))):
            raise InputError("entropy needs stored integers, and these samples are real-valued; give the stored image")
    elif pixels.dtype.kind not in "iub":
        raise InputError(f"entropy needs stored integers, got samples of type {pixels.dtype}; give the stored image")
    if pixels.dtype.kind in "iu" and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if high - low < _DENSE and high < 1 << 62:
            # bincount wants values from 0 up; uint8 and uint16 go in as they are, without a shifted copy.
            start = 0 if low >= 0 and high < _DENSE else low
            shifted = (
                pixels.ravel() if start == 0 and pixels.dtype.itemsize < 8 else pixels.ravel().astype(np.int64) - start
            )
            dense = np.bincount(shifted)
            found = np.flatnonzero(dense)
            return Histogram((found + start).astype(pixels.dtype), dense[found].astype(np.int64))
    values, counts = np.unique(pixels, return_counts=True)
    return Histogram(values, counts.astype(np.int64))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of all the samples of several, which are of one dtype. The empty case: no values."""
    parts = tuple(histograms)
    if not parts:
        return Histogram(np.empty(0, np.int64), np.empty(0, np.int64))
    values, where = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
    # The weights are counts under 2**53, which float64 adds exactly.
    counts = np.bincount(where, np.concatenate([part.counts for part in parts]), values.size)
    return Histogram(values, counts.astype(np.int64))


def entropy(image: ArrayLike) -> float:
    """Order-0 Shannon entropy of the stored integer values, in bits a sample; 0 for a constant image.

    image: any shape, integers (or floats that all hold integers); colour samples are counted together.
    InputError: empty, or real-valued. Source: Shannon 1948, A Mathematical Theory of Communication, section 6.
    """
    pixels = np.asarray(image)
    if pixels.size == 0:
        raise InputError(f"the image has no samples, its shape is {pixels.shape}; give an image with at least one")
    return histogram(pixels).entropy_bits


METRICS = (
    Metric(
        "entropy", "Shannon entropy of the stored values", "bits a sample", "none", 0.0, 64.0,
        "-sum over stored values v of p(v) log2 p(v)",
        "Shannon 1948, A Mathematical Theory of Communication, section 6", entropy, "texture",
    ),
)  # fmt: skip
