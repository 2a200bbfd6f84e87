"""Two volumes compared: errors, PSNR with a named peak, SSIM, MS-SSIM, entropy, texture in boxes, slice by slice.

The volumes are read once, in order and a few slices at a time, so either may stay on disk and be larger than memory;
the slices are measured in threads. The numbers do not depend on how many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.each import threads
from slimscan.errors import InputError
from slimscan.metrics.entropy import Histogram, histogram, merged
from slimscan.metrics.fidelity import ErrorSums, error_sums, peak_value, pooled
from slimscan.metrics.ssim import Similarity, similarity, slab_ssim_3d
from slimscan.metrics.texture import boxes_by_slice, wtv_per_box
from slimscan.metrics.window import EDGE
from slimscan.nouns import Peak, Pixels, Volume
from slimscan.press.pairing import mask_volume, not_finite, refuse_nan, same_place, same_shape

_SLAB_BYTES = 48 << 20
_SLAB_SLICES = 32


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """One slice: z, and its own mse, max_abs_error, psnr_db, ssim and ms_ssim, in the terms of the Comparison."""

    z: int
    mse: float
    max_abs_error: float
    psnr_db: float
    ssim: float
    ms_ssim: float


@dataclass(frozen=True)
class Comparison:
    """Everything measured about two volumes; the fields are the keys of `compare --json`.

    shape: (z, y, x[, c]). peak: the name of the peak that was used, peak_value the number behind it, in `unit`. unit:
    "stored units", or the volume's own unit ("HU", or "real units" where it names none) where the rescaling of the two
    differs and real values were compared. mse is in the square of the unit. ssim, ms_ssim: means over slices; ssim_3d:
    window 11x11x11 voxels; NaN under 11 samples a side. entropy_*: bits a stored sample, NaN for real-valued pixels.
    identical: no counted sample differs. wtv_*: NaN without boxes, wtv_change_percent against the reference.
    worst_slice: the one with the largest mse, the first of equals. With a mask, all but entropy and wtv are of the
    voxels inside.
    """

    shape: tuple[int, ...]
    psnr_db: float
    peak: str
    mse: float
    mae: float
    max_abs_error: float
    ssim: float
    ms_ssim: float
    entropy_reference: float
    entropy_test: float
    identical: bool
    peak_value: float
    unit: str
    ssim_3d: float
    wtv_reference: float
    wtv_test: float
    wtv_change_percent: float
    worst_slice: int
    per_slice: tuple[SliceComparison, ...] = field(repr=False)


def compare(
    reference: Volume,
    test: Volume,
    peak: Peak = "stored",
    mask: Volume | Pixels | None = None,
    boxes: ArrayLike | None = None,
    *,
    workers: int | None = None,
    ignore_geometry: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """How far `test` is from `reference`.

    Volumes (z, y, x[, c]) of one shape and, unless ignore_geometry, one place: corners within a hundredth of a voxel.
    Stored values are compared; where slope or intercept differ, slope * stored + intercept is. peak: see
    metrics.fidelity.peak_value; the bits are the reference's. Real-valued (float) pixels have no stored peak: "stored"
    is then "range", and the result says so. mask: (z, y, x), non-zero is counted. boxes: rows
    (slice, y0, x0, y1, x1), end excluded, for the texture; metrics.boxes_from_mask makes them. workers: threads, all
    cores when None. progress: told the number of slices done, a few at a time.
    InputError: shapes differ, no voxels, an empty mask, NaN or infinite values (their count and first index), a peak
    that is not above 0. GeometryError: the volumes lie in different places.
    """
    shape = same_shape(reference, test)
    inside = mask_volume(reference, mask)
    if not ignore_geometry:
        same_place(reference, test)
        if isinstance(mask, Volume):
            same_place(reference, mask)
    rows = {} if boxes is None else boxes_by_slice(boxes, shape[0])
    real = (reference.slope, reference.intercept) != (test.slope, test.intercept)
    if peak == "stored" and reference.pixels.dtype.kind == "f":
        peak = "range"
    top = _peak_value(reference, peak, real)

    slices: list[_Slice] = []
    counted: list[tuple[float, float]] = []
    entropies = (_Entropy(), _Entropy())
    for result in threads(workers)(_run, _jobs(reference, test, inside, rows, top, real)):
        if not isinstance(result, _Slice):
            counted.append(result)
            continue
        for entropy, one in zip(entropies, result.histograms, strict=True):
            entropy.add(one)
        slices.append(replace(result, histograms=(None, None)))
        if progress is not None:
            progress(1)
    refuse_nan(reference, [s.bad[0] for s in slices], shape)
    refuse_nan(test, [s.bad[1] for s in slices], shape)

    total = pooled(s.sums for s in slices)
    if total.count == 0:
        raise InputError("the mask is empty: no voxel is compared; give a mask with at least one voxel inside")
    volume_sum, volume_count = (math.fsum(c[i] for c in counted) for i in (0, 1))
    texture = [_mean(np.concatenate([s.wtv[i] for s in slices]).tolist()) for i in (0, 1)]
    return Comparison(
        shape=shape,
        psnr_db=total.psnr_db(top),
        peak=peak if isinstance(peak, str) else format(peak, "g"),
        mse=total.mse,
        mae=total.mae,
        max_abs_error=total.max_abs,
        ssim=_mean(s.similarity.ssim for s in slices),
        ms_ssim=_mean(s.similarity.ms_ssim for s in slices),
        entropy_reference=entropies[0].bits(),
        entropy_test=entropies[1].bits(),
        identical=total.max_abs == 0,
        peak_value=top,
        unit=(reference.unit or "real units") if real else "stored units",
        ssim_3d=volume_sum / volume_count if volume_count else math.nan,
        wtv_reference=texture[0],
        wtv_test=texture[1],
        wtv_change_percent=100 * (texture[1] / texture[0] - 1) if texture[0] else math.nan,
        worst_slice=max(slices, key=lambda s: (s.sums.mse if s.sums.count else -1.0, -s.z)).z,
        per_slice=tuple(
            SliceComparison(
                s.z, s.sums.mse, s.sums.max_abs, s.sums.psnr_db(top), s.similarity.ssim, s.similarity.ms_ssim
            )
            for s in slices
        ),
    )


@dataclass(frozen=True, slots=True)
class _Slice:
    """What was measured on one slice. bad: for both images, how many samples are not finite and the first, flat."""

    z: int
    sums: ErrorSums
    similarity: Similarity
    histograms: tuple[Histogram | None, Histogram | None]
    wtv: tuple[NDArray[np.float64], NDArray[np.float64]]
    bad: tuple[tuple[int, int], tuple[int, int]]


class _Entropy:
    """The entropy of slices taken one by one; a few histograms are kept, never all."""

    def __init__(self) -> None:
        self._kept: list[Histogram] = []
        self._whole = True

    def add(self, one: Histogram | None) -> None:
        """Count a slice; None: its samples are real-valued, and so the entropy is not defined."""
        self._whole = self._whole and one is not None
        if one is not None and self._whole:
            self._kept.append(one)
            if len(self._kept) == 32:
                self._kept = [merged(self._kept)]

    def bits(self) -> float:
        return merged(self._kept).entropy_bits if self._whole else math.nan


_Job = Callable[[], "_Slice | tuple[float, float]"]
_NO_BOXES = np.empty((0, 4), np.int64)


def _run(job: _Job) -> _Slice | tuple[float, float]:
    return job()


def _jobs(
    reference: Volume, test: Volume, mask: Volume | None, boxes: dict[int, NDArray[np.int64]], top: float, real: bool
) -> Iterator[_Job]:
    """One job a slice, and one a slab for the 3D window; the last 10 slices of a slab are kept for the next."""
    depth = reference.shape[0]
    kept: list[tuple[Pixels, Pixels, Pixels | None]] = []
    for start, stop in _slabs(reference):
        planes = zip(
            reference.slices(start, stop),
            test.slices(start, stop),
            [None] * (stop - start) if mask is None else mask.slices(start, stop),
            strict=True,
        )
        for z, (first, second, inside) in enumerate(planes, start):
            x, y = (_real(first, reference), _real(second, test)) if real else (first, second)
            kept.append((x, y, inside))
            yield partial(_measure, z, (first, second), (x, y), inside, boxes.get(z, _NO_BOXES), top)
        if depth > 2 * EDGE and len(kept) > 2 * EDGE:
            slab = tuple(zip(*kept, strict=True))
            yield partial(_measure_slab, list(slab[0]), list(slab[1]), None if mask is None else list(slab[2]), top)
            kept = kept[-2 * EDGE :]


def _measure(
    z: int,
    stored: tuple[Pixels, Pixels],
    values: tuple[Pixels, Pixels],
    mask: Pixels | None,
    boxes: NDArray[np.int64],
    top: float,
) -> _Slice:
    bad = (not_finite(stored[0]), not_finite(stored[1]))
    nothing = np.empty(0)
    if bad[0][0] or bad[1][0]:
        return _Slice(z, ErrorSums(), Similarity(math.nan, math.nan), (None, None), (nothing, nothing), bad)
    sums = error_sums(*values, mask)
    same = Similarity(math.nan, math.nan) if sums.count == 0 else similarity(*values, top, mask)
    texture = (wtv_per_box(values[0], boxes), wtv_per_box(values[1], boxes)) if len(boxes) else (nothing, nothing)
    return _Slice(z, sums, same, (_histogram(stored[0]), _histogram(stored[1])), texture, bad)


def _measure_slab(
    first: list[Pixels], second: list[Pixels], mask: list[Pixels] | None, top: float
) -> tuple[float, float]:
    if any(not_finite(plane)[0] for plane in (*first, *second)):
        return 0.0, 0.0  # the slices report it
    return slab_ssim_3d(first, second, top, mask)


def _histogram(plane: Pixels) -> Histogram | None:
    """The histogram, or None when the samples are real-valued."""
    try:
        return histogram(plane)
    except InputError:
        return None


def _real(plane: Pixels, volume: Volume) -> NDArray[np.float64]:
    return plane.astype(np.float64) * volume.slope + volume.intercept


def _peak_value(reference: Volume, peak: Peak, real: bool) -> float:
    """The peak in the unit that is compared; "range" reads the reference once more."""
    scale = abs(reference.slope) if real else 1.0
    if peak == "range":
        ends = [_finite_range(reference.slices(*slab)) for slab in _slabs(reference)]
        known = np.array([end for end in ends if end is not None], np.float64)
        # Without a finite value there is no range, and the comparison will say which values are in the way.
        return peak_value("range", known) * scale if len(known) else 1.0
    if isinstance(peak, str):
        return peak_value(peak, np.empty(0, reference.pixels.dtype), reference.bits) * scale
    return peak_value(peak)


def _finite_range(pixels: Pixels) -> tuple[float, float] | None:
    values = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    return (float(values.min()), float(values.max())) if values.size else None


def _slabs(volume: Volume) -> Iterator[tuple[int, int]]:
    depth = volume.shape[0]
    plane = int(np.prod(volume.shape[1:], dtype=np.int64)) * volume.pixels.dtype.itemsize
    step = min(max(_SLAB_BYTES // plane, 1), _SLAB_SLICES)
    for start in range(0, depth, step):
        yield start, min(start + step, depth)


def _mean(values: Iterable[Any]) -> float:
    """The mean of those that are defined; NaN when none is."""
    defined = [float(value) for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
