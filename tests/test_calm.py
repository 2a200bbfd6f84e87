"""Diffusion outside a region: the equations written out once more in float64, hand-made cases, and what always holds.

BOUND is what "within rounding" means: computed in float32 (15 iterations), a result is off the float64 reference by at
most 2^-20 of the largest sample, 0.004 for 12-bit images; rounded integers then differ by 1 at most, where the reference
lies that near to a half. In float64 it is 2^-45.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slimscan.each import threads
from slimscan.errors import InputError
from slimscan.regions.calm import ENGINES, calm, gradient_scale

BOUND = {"float32": 2.0**-20, "float64": 2.0**-45}
MISSING = {name: f"{name} is not installed" for name in ("numba", "torch") if importlib.util.find_spec(name) is None}
EACH_ENGINE = [
    pytest.param(name, marks=pytest.mark.skipif(name in MISSING, reason=MISSING.get(name, ""))) for name in ENGINES[1:]
]
FAST = "numpy" if "numba" in MISSING else "numba"
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def reference(
    image: np.ndarray, p: np.ndarray, k: float, iterations: int, h: tuple[float, float, float], dims: int
) -> np.ndarray:
    """Luu 2021, equations 1 and 2, voxel by voxel along each axis; h relative to the finest; not rounded."""
    u, used = image.astype(np.float64), range(3 - dims, 3)
    step = 1 / (4 * sum(1 / h[axis] ** 2 for axis in used))
    for _ in range(iterations):
        ahead, behind = {}, {}
        for axis in used:
            after = np.concatenate([np.take(u, range(1, u.shape[axis]), axis), np.take(u, [-1], axis)], axis)
            ahead[axis] = (after - u) / h[axis]  # reflection: no difference at the border
            behind[axis] = np.concatenate(
                [np.zeros_like(np.take(u, [0], axis)), np.take(ahead[axis], range(u.shape[axis] - 1), axis)], axis
            )
        central = {axis: (ahead[axis] + behind[axis]) / 2 for axis in used}
        gained = np.zeros_like(u)
        for axis in used:
            n = u.shape[axis]
            low, high = (
                (lambda a, x=axis, m=n: np.take(a, range(m - 1), x)),
                (lambda a, x=axis, m=n: np.take(a, range(1, m), x)),
            )
            d = low(ahead[axis])
            across = sum(((low(central[o]) + high(central[o])) / 2) ** 2 for o in used if o != axis)
            flux = np.minimum(low(1 - p), high(1 - p)) * np.exp(-np.sqrt(d**2 + across) / k) * d / h[axis]
            nothing = np.zeros_like(np.take(u, [0], axis))
            gained += np.concatenate([flux, nothing], axis) - np.concatenate([nothing, flux], axis)
        u = u + step * gained
    return u


def image(shape: tuple[int, int, int] = (5, 21, 37), dtype: str = "int16", seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape)
    made = 120.0 * (x > y) + 40.0 * (z % 2) + rng.normal(0, 12, shape) + 30
    return (
        made.clip(0, 127).astype(dtype)
        if "8" in dtype
        else made.astype(dtype)
        if "i" not in dtype or dtype[0] == "f"
        else np.maximum(made, 0).astype(dtype)
    )


def soft(shape: tuple[int, ...], seed: int = 2) -> np.ndarray:
    """Weights of every kind: 0, 1 and between."""
    rng = np.random.default_rng(seed)
    p = np.clip(rng.normal(0.5, 0.5, shape), 0, 1).astype(np.float32)
    p[:, 5:9, 6:18] = 1
    return p


@pytest.mark.parametrize("engine", EACH_ENGINE)
@pytest.mark.parametrize(
    ("dims", "spacing"), [(2, (5.0, 0.7, 0.7)), (2, (1.0, 2.0, 1.0)), (3, (1.0, 1.0, 1.0)), (3, (2.5, 0.8, 1.1))]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_every_engine_is_within_rounding_of_the_equations(engine: Any, dims: int, spacing: Any, dtype: str) -> None:
    pixels, k = image(dtype=dtype), 17.0
    p = soft(pixels.shape)
    h = tuple(s / min(spacing[3 - dims :]) for s in spacing)
    wanted = reference(pixels, p.astype(np.float64), k, 15, h, dims)  # type: ignore[arg-type]
    got = calm(pixels, p, k=k, scale=1, spacing_mm=spacing, dims=dims, engine=engine)
    assert got.dtype == pixels.dtype
    bound = BOUND["float64" if dtype == "float64" else "float32"] * np.abs(pixels).max()
    error = np.abs(got.astype(np.float64) - wanted)
    if dtype == "int16":
        assert np.array_equal(got, np.rint(wanted)) or error.max() <= 0.5 + bound
    else:
        assert error.max() <= bound
    assert (got != pixels).mean() > 0.3


@pytest.mark.parametrize("engine", EACH_ENGINE)
@pytest.mark.parametrize("dims", [2, 3])
def test_one_step_by_hand(engine: Any, dims: int) -> None:
    # A step of 1/8 (1/12 in three dimensions) over one edge of 10 in a row: coefficient exp(-10/10) = 1/e.
    row = np.array([[[0.0, 0.0, 10.0, 10.0]]])
    got = calm(row, np.zeros(row.shape, bool), k=10, scale=1, iterations=1, dims=dims, engine=engine)
    moved = 10 / math.e / (4 * dims)
    assert got[0, 0] == pytest.approx([0, moved, 10 - moved, 10], abs=1e-12)
    # p = 0.75 on one side: a quarter of it; p = 1: nothing.
    for p, share in ((0.75, 0.25), (1.0, 0.0)):
        weights = np.array([[[0, p, 0, 0]]], np.float32)
        got = calm(row, weights, k=10, scale=1, iterations=1, dims=dims, engine=engine)
        assert got[0, 0] == pytest.approx([0, share * moved, 10 - share * moved, 10], abs=1e-12)


@pytest.mark.parametrize("engine", EACH_ENGINE)
def test_the_gradient_across_a_face_by_hand(engine: Any) -> None:
    # A plane 3x + 4y has the gradient 5 everywhere, and the central voxel gains nothing; at the border along y the central
    # difference is half, so that the face between (0, 0) and (0, 1) sees sqrt(9 + 4).
    y, x = np.indices((3, 3)).astype(np.float64)
    plane = (3 * x + 4 * y)[None]
    got = calm(plane, np.zeros(plane.shape, bool), k=5, scale=1, iterations=1, engine=engine)
    assert got[0, 1, 1] == pytest.approx(plane[0, 1, 1], abs=1e-12)
    along_x, along_y = 3 * math.exp(-math.sqrt(13) / 5), 4 * math.exp(-math.sqrt(16 + 1.5**2) / 5)
    assert got[0, 0, 0] == pytest.approx((along_x + along_y) / 8, abs=1e-12)


@pytest.mark.parametrize("engine", EACH_ENGINE)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [*INTEGERS, "int64", "uint64", "float16", "float32", "float64"])
def test_the_region_keeps_every_bit(engine: Any, dims: int, dtype: str) -> None:
    rng, kind = np.random.default_rng(4), np.dtype(dtype)
    shape = (3, 12, 19)
    if kind.kind == "f":
        pixels = rng.standard_normal(shape).astype(dtype)
        pixels[0, 2, 3:6] = np.nan, np.inf, -0.0
        pixels[1, 3, 3:6] = np.finfo(dtype).max, np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
        p = soft(shape)
        p[:, 2:4, 3:6] = 1
    else:
        ends = np.iinfo(dtype)
        low, high = max(ends.min, -(2**53)), min(ends.max, 2**53)
        pixels = rng.choice(np.array([low, high, (low + high) // 2], dtype), shape)
        p = soft(shape)
    got = calm(pixels, p, k=0.5, scale=1, dims=dims, engine=engine)
    assert got[p == 1].tobytes() == pixels[p == 1].tobytes()
    assert got.dtype == pixels.dtype
    if kind.kind != "f":
        assert got.min() >= pixels.min()
        assert got.max() <= pixels.max()


def test_a_value_too_large_to_be_squared_is_calmed_all_the_same() -> None:
    small = image(dtype="float32")
    for power in (100, -100):
        for engine in (FAST, "numpy"):
            got = calm(np.ldexp(small, power), np.zeros(small.shape, bool), engine=engine)  # type: ignore[arg-type]
            wanted = calm(small, np.zeros(small.shape, bool), engine=engine)  # type: ignore[arg-type]
            assert np.allclose(np.ldexp(got, -power), wanted, rtol=1e-5)


@pytest.mark.parametrize("engine", EACH_ENGINE)
@pytest.mark.parametrize("dims", [2, 3])
def test_padding_and_nan_keep_their_place_and_give_nothing(engine: Any, dims: int) -> None:
    pixels = image()
    pixels[:, :, 20:] = -2000
    p = np.zeros(pixels.shape, bool)
    alone = calm(np.ascontiguousarray(pixels[:, :, :20]), p[:, :, :20], k=20, scale=1, dims=dims, engine=engine)
    got = calm(pixels, p, k=20, scale=1, dims=dims, padding=-2000, engine=engine)
    assert np.array_equal(got[:, :, :20], alone)
    assert (got[:, :, 20:] == -2000).all()
    floats = np.where(pixels == -2000, np.nan, pixels).astype(np.float32)
    got = calm(floats, p, k=20, scale=1, dims=dims, engine=engine)
    assert np.isnan(got[:, :, 20:]).all()
    assert np.array_equal(np.rint(got[:, :, :20]), alone)
    assert gradient_scale(pixels, dims=dims, padding=-2000) == pytest.approx(
        gradient_scale(pixels[:, :, :20], dims=dims)
    )


def test_the_scale_is_the_root_mean_square_of_central_differences() -> None:
    pixels = np.array([[[0, 0, 6, 6]]], np.int16)  # central differences 0, 3, 3, 0
    assert gradient_scale(pixels) == pytest.approx(math.sqrt(18 / 4))
    assert gradient_scale(pixels, spacing_mm=(1, 1, 2)) == pytest.approx(math.sqrt(18 / 4) / 2)
    assert gradient_scale(np.zeros((2, 3, 3), np.uint8)) == 0
    assert gradient_scale(np.zeros((0, 3, 3), np.uint8)) == 0
    stack = np.stack([np.zeros((2, 2)), np.full((2, 2), 8.0)])
    assert gradient_scale(stack, dims=3) == pytest.approx(4)
    assert gradient_scale(stack, dims=2) == 0


def test_numpy_and_numba_measure_the_same_scale() -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    from slimscan.regions import calm_numba, calm_numpy
    from slimscan.regions.calm import flow_of

    for dtype in ("int16", "float32", "float16"):
        pixels = image(dtype=dtype)
        for dims in (2, 3):
            flow = flow_of(pixels.dtype, 1.0, 1, (3.0, 1.0, 1.5), dims, None, 30.0, None)
            both = [module.gradient_squares(pixels, 1, 4, flow) for module in (calm_numpy, calm_numba)]
            assert both[0][1] == both[1][1]
            assert both[0][0] == pytest.approx(both[1][0], rel=1e-12)


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 20))
FLOATS = st.integers(-1000, 1000).map(float)
CASES = st.tuples(
    SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=FLOATS)),
    st.sampled_from([2, 3]),
    st.sampled_from([(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (0.5, 1.0, 2.0)]),
    st.sampled_from([0.5, 20.0, 500.0, math.inf]),
)


@settings(max_examples=60, deadline=None)
@given(CASES)
def test_the_mean_stays_and_nothing_leaves_the_range(case: Any) -> None:
    pixels, dims, spacing, k = case
    for engine in (FAST, "numpy"):
        got = calm(pixels, np.zeros(pixels.shape, bool), k=k, scale=1, dims=dims, spacing_mm=spacing, engine=engine)
        assert got.sum() == pytest.approx(pixels.sum(), abs=1e-9 * max(1.0, float(np.abs(pixels).sum())))
        assert got.min() >= pixels.min() - 1e-9
        assert got.max() <= pixels.max() + 1e-9
        integers = pixels.astype(np.int16)
        p = np.zeros(pixels.shape, np.float32)
        rounded = calm(integers, p, k=k, scale=1, dims=dims, spacing_mm=spacing, engine=engine)
        assert pixels.min() <= rounded.min() <= rounded.max() <= pixels.max()


@settings(max_examples=40, deadline=None)
@given(CASES, st.integers(0, 2), st.integers(0, 2**31))
def test_flipped_images_come_back_flipped(case: Any, axis: int, seed: int) -> None:
    pixels, dims, spacing, k = case
    p = np.random.default_rng(seed).choice(np.array([0, 0.3, 1], np.float32), pixels.shape)
    got = calm(pixels, p, k=k, scale=1, dims=dims, spacing_mm=spacing, engine=FAST)
    flipped = calm(np.flip(pixels, axis), np.flip(p, axis), k=k, scale=1, dims=dims, spacing_mm=spacing, engine=FAST)
    assert np.allclose(np.flip(flipped, axis), got, rtol=0, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(CASES, st.integers(0, 2**31))
def test_a_region_of_any_form_keeps_its_voxels_and_what_is_flat_stays(case: Any, seed: int) -> None:
    pixels, dims, spacing, k = case
    p = np.random.default_rng(seed).choice(np.array([0, 0.3, 1], np.float32), pixels.shape)
    for engine in (FAST, "numpy"):
        got = calm(pixels, p, k=k, scale=1, dims=dims, spacing_mm=spacing, engine=engine)
        assert got[p == 1].tobytes() == pixels[p == 1].tobytes()
    flat = np.full(pixels.shape, 0.1)
    assert np.array_equal(calm(flat, p, k=k, scale=1, dims=dims, spacing_mm=spacing, engine=FAST), flat)


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_that_are_left_out_change_nothing(dims: int) -> None:
    # Most of it is flat or inside: the compiled engine computes a part, NumPy everything.
    pixels = np.full((6, 90, 70), 100, np.float32)
    pixels[2:4, 40:50, 30:44] += image((2, 10, 14), "float32")
    p = np.ones(pixels.shape, np.float32)
    p[:, 10:80, 5:60] = 0
    got = [calm(pixels, p, k=30, scale=1, dims=dims, engine=engine) for engine in (FAST, "numpy")]  # type: ignore[arg-type]
    assert np.allclose(got[0], got[1], rtol=0, atol=BOUND["float32"] * 300)
    assert (got[0] != pixels).sum() > 400


@pytest.mark.parametrize("dims", [2, 3])
def test_threads_and_strips_change_no_bit(dims: int) -> None:
    pixels = image((4, 150, 33), "float32")
    p = soft(pixels.shape)
    alone = calm(pixels, p, k=25, scale=1, dims=dims)
    assert np.array_equal(calm(pixels, p, k=25, scale=1, dims=dims, each=threads(3)), alone)
    if dims == 2:
        assert np.array_equal(calm(pixels[1:3], p[1:3], k=25, scale=1), alone[1:3])


def test_nothing_to_do_is_a_copy() -> None:
    pixels = image()
    p = np.zeros(pixels.shape, bool)
    for done in (calm(pixels, p, iterations=0), calm(pixels, ~p), calm(np.full_like(pixels, 7), p)):
        assert np.array_equal(done, pixels) or (done == 7).all()
        assert done is not pixels
    assert calm(pixels[:0], p[:0]).shape == (0, 21, 37)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"k": 0}, "k 0: want a number above 0; Luu 2021 has 0.4"),
        ({"k": math.nan}, "k nan: want a number above 0; Luu 2021 has 0.4"),
        ({"iterations": -1}, "iterations -1: want a whole number, 0 or more; Luu 2021 has 15"),
        ({"dims": 4}, "dims 4: allowed are 2 (slice by slice) and 3 (the volume)"),
        ({"spacing_mm": (1, 0, 1)}, "spacing (1, 0, 1): want three distances (z, y, x) in mm, each above 0"),
        ({"step": 0.3}, "step 0.3: allowed is above 0 and at most 0.25 here, or the scheme overshoots"),
        ({"scale": -1.0}, "scale -1: want a finite number, 0 or more, in stored units per finest spacing"),
        ({"engine": "gpu"}, 'engine "gpu" is not known; allowed: auto, numba, numpy, torch'),
        ({"work": "int8"}, 'work "int8": allowed are float32 and float64'),
    ],
)
def test_what_cannot_be_done_is_said(given: dict[str, Any], said: str) -> None:
    pixels = image()
    with pytest.raises(InputError) as caught:
        calm(pixels, np.zeros(pixels.shape, bool), **given)
    assert str(caught.value) == said


def test_images_and_regions_that_do_not_fit_are_refused() -> None:
    pixels = image()
    with pytest.raises(InputError) as caught:
        calm(pixels, np.zeros((1, 2, 3), bool))
    assert str(caught.value) == "the region is (1, 2, 3) and the image (5, 21, 37); give one weight a voxel"
    with pytest.raises(InputError) as caught:
        calm(pixels, np.full(pixels.shape, 1.5, np.float32))
    assert str(caught.value) == "weights of a region lie in 0..1, got 1.5..1.5"
    with pytest.raises(InputError) as caught:
        calm(pixels, np.full(pixels.shape, np.nan, np.float32))
    assert str(caught.value) == "weights of a region lie in 0..1, got nan..nan"
    with pytest.raises(InputError) as caught:
        calm(pixels > 3, np.zeros(pixels.shape, bool))
    assert str(caught.value) == "want integers or floats (z, y, x) to calm, got bool (5, 21, 37)"
    big = np.array([[[0, 2**53 + 1]]])
    with pytest.raises(InputError) as caught:
        calm(big, np.zeros(big.shape, bool))
    assert str(caught.value) == ("integers of 0..9007199254740993 cannot be calmed: float64 holds them up to 2^53 only")
