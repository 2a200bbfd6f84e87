"""Overlap and volume of masks: the golden values, cases one can check by hand, and everything that is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from vessels import vessel_tree

from slimscan.errors import InputError
from slimscan.metrics import (
    METRICS,
    average_hausdorff,
    centreline_dice,
    dice,
    hausdorff,
    jaccard,
    jaccard_mean,
    jaccard_per_slice,
    normalized_surface_dice,
    smbd,
    volume_ml,
    volume_mm3,
)

GOLDEN = Path(__file__).parent / "golden"
PAIRS = {
    "dice": dice,
    "jaccard": jaccard,
    "jaccard_per_slice": jaccard_per_slice,
    "jaccard_mean": jaccard_mean,
    "average_hausdorff": lambda x, y: average_hausdorff(x, y, 1.0),
    "hausdorff": lambda x, y: hausdorff(x, y, 1.0),
    "smbd": lambda x, y: smbd(x, y, 1.0),
    "normalized_surface_dice": lambda x, y: normalized_surface_dice(x, y, 1.0, 1.0),
    "centreline_dice": centreline_dice,
}
small = hnp.arrays(np.bool_, (3, 4, 5))


def test_golden_jaccard_and_dice() -> None:
    case = json.loads((GOLDEN / "15_jaccard_dice.json").read_text())
    x, y, want = case["input"]["X"], case["input"]["Y"], case["expected"]
    got = jaccard_per_slice(x, y)
    assert [None if math.isnan(v) else v for v in got.tolist()] == want["ji_per_slice"]
    assert jaccard_mean(x, y) == pytest.approx(want["mean_ji_excluding_empty"], abs=case["tol"])
    assert np.nan_to_num(got, nan=1.0).mean() == pytest.approx(want["mean_ji_counting_empty_as_1"], abs=case["tol"])
    assert jaccard(x, y) == pytest.approx(want["ji_volume"], abs=case["tol"])
    assert dice(x, y) == pytest.approx(want["dsc_volume"], abs=case["tol"])


def test_by_hand() -> None:
    x, y = np.array([[1, 1, 1, 0]]), np.array([[0, 1, 1, 1]])
    assert dice(x, y) == 4 / 6
    assert jaccard(x, y) == 2 / 4
    assert volume_mm3(x, (2.0, 0.5)) == 3.0
    assert volume_ml(np.ones((10, 10, 10)), 2.0) == 8.0


def test_empty_masks() -> None:
    nothing, something = np.zeros((2, 3, 3), bool), np.ones((2, 3, 3), bool)
    for metric in (dice, jaccard, jaccard_mean, centreline_dice, PAIRS["normalized_surface_dice"]):
        assert math.isnan(metric(nothing, nothing))
        assert metric(nothing, something) == metric(something, nothing) == 0.0
    for metric in (PAIRS["average_hausdorff"], PAIRS["hausdorff"], PAIRS["smbd"]):
        assert metric(nothing, nothing) == 0.0
        assert metric(nothing, something) == metric(something, nothing) == math.inf
    assert np.isnan(jaccard_per_slice(nothing, nothing)).all()
    assert volume_mm3(nothing, 1.0) == 0.0


@given(small, small)
def test_symmetric_bounded_and_one_for_the_same(x: np.ndarray, y: np.ndarray) -> None:
    for metric in (dice, jaccard, jaccard_mean):
        assert metric(x, y) == pytest.approx(metric(y, x), abs=0, nan_ok=True)
        assert math.isnan(metric(x, y)) or 0 <= metric(x, y) <= 1
        assert metric(x, x) == 1.0 if x.any() else math.isnan(metric(x, x))
    j = jaccard(x, y)
    assert dice(x, y) == pytest.approx(2 * j / (1 + j), abs=1e-12, nan_ok=True)


@given(small, small)
def test_a_slice_is_a_mask(x: np.ndarray, y: np.ndarray) -> None:
    per_slice = jaccard_per_slice(x, y)
    assert per_slice.shape == (3,)
    for z in range(3):
        assert per_slice[z] == pytest.approx(jaccard(x[z], y[z]), abs=0, nan_ok=True)
        assert jaccard_per_slice(x[z], y[z])[0] == pytest.approx(per_slice[z], abs=0, nan_ok=True)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_every_type_and_label_counts_as_foreground(name: str, kind: type) -> None:
    x, y = vessel_tree((24, 20, 22), 2.0, 0), vessel_tree((24, 20, 22), 2.0, 1)
    want = PAIRS[name](x, y)
    np.testing.assert_array_equal(PAIRS[name](x.astype(kind) * 3, np.asfortranarray(y).astype(kind)), want)
    np.testing.assert_array_equal(PAIRS[name](x.tolist(), y[::-1].copy()[::-1]), want)


@pytest.mark.parametrize("name", PAIRS)
def test_masks_are_left_as_they_were(name: str) -> None:
    x, y = vessel_tree((24, 20, 22), 2.0, 0), vessel_tree((24, 20, 22), 2.0, 1)
    before = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    PAIRS[name](x, y)
    assert (x == before[0]).all()
    assert (y == before[1]).all()


ONE = np.ones((2, 3, 4), bool)
REFUSED = [
    (ONE, np.ones((2, 3, 5)), "the first mask is (2, 3, 4) and the second is (2, 3, 5); give two masks on one grid"),
    (
        np.where(ONE, np.nan, 0),
        ONE,
        "the first mask holds NaN; a voxel is 0 (background) or not (foreground): replace the NaN first",
    ),
    (ONE, ONE * 0.4, "the second mask holds fractions; give 0 and 1, or choose a threshold first: mask > 0.5"),
    (
        ONE.astype(str),
        ONE,
        "the first mask holds <U5; allowed: bool, integers, or floats that hold whole numbers",
    ),
    (
        np.ones((0, 3, 4)),
        np.ones((0, 3, 4)),
        "the first mask is (0, 3, 4); give an array (z, y, x), (y, x) or (x) with at least one voxel",
    ),
    (
        np.ones((1, 2, 3, 4)),
        np.ones((1, 2, 3, 4)),
        "the first mask is (1, 2, 3, 4); give an array (z, y, x), (y, x) or (x) with at least one voxel",
    ),
]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("x", "y", "sentence"), REFUSED)
def test_refused_masks(name: str, x: np.ndarray, y: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        PAIRS[name](x, y)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, math.nan, 1.0), (1.0, -1.0, 1.0), "abc", [[1.0]]]
)
def test_refused_spacing(spacing: object) -> None:
    for metric in (average_hausdorff, hausdorff, smbd):
        with pytest.raises(
            InputError, match=r"^spacing_mm is .*(one for each axis of the array|a number of mm above 0)"
        ):
            metric(ONE, ONE, spacing)
    with pytest.raises(InputError, match=r"^spacing_mm is"):
        volume_mm3(ONE, spacing)


def test_refused_numbers() -> None:
    with pytest.raises(InputError, match=r"^percentile is 101; give a number from 0 to 100$"):
        hausdorff(ONE, ONE, 1.0, 101)
    with pytest.raises(InputError, match=r"^tolerance_mm is -1; give a number of at least 0$"):
        normalized_surface_dice(ONE, ONE, 1.0, -1)
    with pytest.raises(InputError, match=r"^measures of slices|^the mask is \(4,\); measures of slices"):
        jaccard_per_slice([1, 0, 1, 1], [1, 0, 1, 1])


@given(small, small, st.sampled_from([n for n, m in METRICS.items() if m.kind in ("mask", "shape")]))
def test_the_registry_tells_the_truth(x: np.ndarray, y: np.ndarray, name: str) -> None:
    metric = METRICS[name]
    spacing = {"normalized_surface_dice": ((1.0, 2.0, 0.5), 0.8)}.get(name, ((1.0, 2.0, 0.5),))
    args = (x, y) if metric.kind == "mask" else (x,)
    plain = name in ("dice", "jaccard", "jaccard_mean", "centreline_dice")
    value = metric.function(*args, *(() if plain else spacing))
    assert math.isnan(value) or metric.low <= value <= metric.high
    if metric.kind == "mask" and x.any():
        same = metric.function(x, x, *(() if plain else spacing))
        assert same == (1.0 if metric.direction == "higher" else 0.0)
