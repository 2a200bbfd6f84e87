"""What lies outside a region is calmed: Perona-Malik diffusion that stops at the region and at edges.

    dI/dt = div(C grad I),    C = (1 - p) exp(-|grad I| / K)                    Luu 2021, equations 1 and 2

p is the weight of the region, 1 inside. (Perona and Malik's own first function has the square of |grad I| / K, as ITK
does; the paper has not.) The scheme is explicit and keeps fluxes: on the face between two voxels a and b

    flux = min(1 - p_a, 1 - p_b) exp(-sqrt(d^2 + c^2) / K) d,    d = (I_b - I_a) / h

where c is the gradient across the face's own direction, from the central differences of a and of b, averaged; each voxel
then gains step * (flux_in - flux_out) / h. A flux is added to one voxel and taken from the other, so the mean of what
may change stays. With the smaller of 1 - p, no flux enters or leaves where p = 1. Nothing flows through the border
(reflection), nor through the faces of closed voxels: padding, and floats that are no finite numbers.

Distances h are relative to the finest spacing along the axes in use, so for a slice with square pixels h = 1, |grad I| is
in stored units a pixel, and the time step is 1/8 (ITK's for two dimensions): half of the largest that keeps every sample
between those around it, 1 / (2 sum 1/h^2).

K = k * scale. The paper gives k = 0.4 and neither the scale nor the time step nor whether slices were taken one by one;
it names ITK, whose filter multiplies its conductance by the root mean square of the gradient magnitude over the image.
That is the scale here (`gradient_scale`), taken once of the source - ITK takes it anew before every iteration. For k in
stored units, give scale=1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError
from slimscan.nouns import Needs, Pixels
from slimscan.regions import calm_numpy
from slimscan.regions.calm_flow import WHOLE, Flow, finest, largest_step

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
Engine = Literal["auto", "numba", "numpy", "torch"]
ENGINES: tuple[Engine, ...] = ("auto", "numba", "numpy", "torch")
K, ITERATIONS = 0.4, 15  # Luu 2021, section III.C


def calm(
    pixels: Pixels,
    weights: NDArray[Any],
    *,
    k: float = K,
    iterations: int = ITERATIONS,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    dims: int = 2,
    scale: float | None = None,
    step: float | None = None,
    padding: float | None = None,
    engine: Engine = "auto",
    work: str | None = None,
    each: Each = map,
) -> Pixels:
    """The samples (z, y, x) with everything outside the region calmed; the same type, a new array.

    weights: (z, y, x), bool or 0..1; voxels of weight 1 keep every bit. k: above 0, times `scale`, the gradient at which
    the coefficient is 1/e; infinite: plain blurring outside. scale: stored units per finest spacing; None: the root mean
    square gradient of these samples. spacing_mm: (z, y, x). dims: 2, slices for themselves, or 3. step: of time, in
    finest spacings squared; None: half of the largest allowed. padding: samples of this value keep it and give nothing.
    engine: "auto" is torch when it finds a GPU, else numba when it is installed, else NumPy; they agree within rounding.
    work: "float32" (default for float32, float16 and integers of 8 or 16 bits) or "float64" (the others). each: like
    map(), for the threads of slimscan.each. Integers are rounded once, at the end. No voxels: nothing happens.
    InputError: another type, shapes that differ, weights outside 0..1, a parameter out of range, integers over 2^53.
    """
    checked(pixels, weights)
    flow = flow_of(pixels.dtype, k, iterations, spacing_mm, dims, step, padding, work)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize == 8 and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if max(-low, high) > WHOLE:
            raise InputError(f"integers of {low}..{high} cannot be calmed: float64 holds them up to 2^53 only")
    measured = (
        gradient_scale(pixels, spacing_mm=spacing_mm, dims=dims, padding=padding, each=each) if scale is None else scale
    )
    flow = scaled(flow, measured)
    if flow.k == 0 or iterations == 0 or pixels.size == 0:
        return pixels.copy()
    made: Pixels = _engine(engine).calmed(np.ascontiguousarray(pixels), weights, flow, each)
    return made


def gradient_scale(
    pixels: Pixels,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    dims: int = 2,
    padding: float | None = None,
    each: Each = map,
) -> float:
    """Root mean square of |grad I| over all open voxels (z, y, x), in stored units per finest spacing; 0 without any.

    Central differences with the border mirrored, as ITK's AverageGradientMagnitudeSquared has them; along y and x for
    dims 2, and z too for 3. The region does not matter.
    """
    flow = flow_of(pixels.dtype, 1.0, 1, spacing_mm, dims, None, padding, None)

    def part(z: int) -> tuple[float, int]:
        return gradient_squares(pixels[max(0, z - 1) : z + 2], min(1, z), min(1, z) + 1, flow)

    return root_mean(each(part, range(len(pixels))))


def gradient_squares(slab: Pixels, first: int, last: int, flow: Flow) -> tuple[float, int]:
    """Sum of |grad I|^2 over open voxels of slices first..last - 1 of a slab that holds their neighbours; the count."""
    return _engine("auto", cpu=True).gradient_squares(slab, first, last, flow)  # type: ignore[no-any-return]


def root_mean(parts: Iterable[tuple[float, int]]) -> float:
    """The scale of a volume from the sums of its slices; it does not depend on how they were shared out."""
    sums = tuple(parts)
    count = sum(n for _, n in sums)
    return math.sqrt(math.fsum(total for total, _ in sums) / count) if count else 0.0


def checked(pixels: Pixels, weights: NDArray[Any]) -> None:
    """InputError for what cannot be calmed."""
    if pixels.ndim != 3 or pixels.dtype.kind not in "iuf":
        raise InputError(f"want integers or floats (z, y, x) to calm, got {pixels.dtype} {pixels.shape}")
    if not pixels.dtype.isnative or pixels.dtype.itemsize > 8:
        raise InputError(f"samples of type {pixels.dtype.str} cannot be calmed; give them in this machine's byte order")
    if weights.shape != pixels.shape:
        raise InputError(f"the region is {weights.shape} and the image {pixels.shape}; give one weight a voxel")
    if weights.dtype != np.bool_ and weights.size:
        low, high = float(weights.min()), float(weights.max())
        if not (low >= 0 and high <= 1):
            raise InputError(f"weights of a region lie in 0..1, got {low:g}..{high:g}")


def flow_of(
    dtype: np.dtype[Any],
    k: float,
    iterations: int,
    spacing_mm: tuple[float, float, float],
    dims: int,
    step: float | None,
    padding: float | None,
    work: str | None,
) -> Flow:
    """The numbers to compute with, k not yet scaled; InputError when one is out of range."""
    if not k > 0:
        raise InputError(f"k {k:g}: want a number above 0; Luu 2021 has {K}")
    if iterations < 0 or int(iterations) != iterations:
        raise InputError(f"iterations {iterations}: want a whole number, 0 or more; Luu 2021 has {ITERATIONS}")
    spacing = finest(spacing_mm, dims)
    most = largest_step(spacing, dims)
    if step is not None and not 0 < step <= most:
        raise InputError(f"step {step:g}: allowed is above 0 and at most {most:.6g} here, or the scheme overshoots")
    if work not in (None, "float32", "float64"):
        raise InputError(f'work "{work}": allowed are float32 and float64')
    narrow = dtype.itemsize <= 2 or dtype == np.float32
    chosen = np.dtype(work or ("float32" if narrow else "float64"))
    return Flow(dims, int(iterations), spacing, most / 2 if step is None else step, k, held(padding, dtype), chosen)


def held(padding: float | None, dtype: np.dtype[Any]) -> float | None:
    """The padding where samples of this type can have that value, else None."""
    if padding is None or not math.isfinite(padding) or dtype.kind == "f":
        return padding if padding is not None and math.isfinite(padding) else None
    ends = np.iinfo(dtype)
    return padding if int(padding) == padding and ends.min <= padding <= ends.max else None


def scaled(flow: Flow, scale: float) -> Flow:
    """The flow with K = k * scale; InputError for a scale below 0 or none."""
    from dataclasses import replace

    if not (scale >= 0 and math.isfinite(scale)):
        raise InputError(f"scale {scale:g}: want a finite number, 0 or more, in stored units per finest spacing")
    return replace(flow, k=flow.k * scale if scale else 0.0)


def engine_name(asked: Engine = "auto") -> str:
    """Which of them `asked` means on this machine; MissingExtra when it is not installed."""
    return str(_engine(asked).__name__).rpartition("calm_")[2]


def _engine(asked: Engine, cpu: bool = False) -> Any:
    """The module that computes. cpu: torch is not asked for."""
    if asked not in ENGINES:
        raise InputError(f'engine "{asked}" is not known; allowed: {", ".join(ENGINES)}')
    if asked == "torch":
        Needs("torch", "torch", "torch").demand("calming with torch")
    if asked == "torch" or (asked == "auto" and not cpu and find_spec("torch") is not None):
        from slimscan.regions import calm_torch

        if asked == "torch" or calm_torch.has_gpu():
            return calm_torch
    if asked == "numba":
        Needs("numba", "numba", "roi").demand("calming with numba")
    if asked == "numba" or (asked in ("auto", "torch") and find_spec("numba") is not None):
        from slimscan.regions import calm_numba

        return calm_numba
    return calm_numpy
