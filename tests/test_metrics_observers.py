"""Observers: the golden values, the two traps that the module names, and the curves of Cunha 2023, Figs 10 and 14."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slimscan.errors import InputError
from slimscan.metrics import (
    Bin,
    average_hausdorff,
    binned,
    difficulty,
    iaov,
    iaov_hausdorff,
    ieov,
    ieov_hausdorff,
    inter_observer,
    intra_observer,
    jaccard_mean,
    merge,
    valid_slices,
)

GOLDEN = Path(__file__).parent / "golden"
stacks = hnp.arrays(np.bool_, (4, 3, 3))
levels = st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0])


def golden() -> tuple[dict, list[np.ndarray], dict]:
    case = json.loads((GOLDEN / "17_iaov_ieov.json").read_text())
    return case, [np.array(case["input"][name]) for name in ("A0", "A1", "B0", "B1")], case["expected"]


def test_golden_agreement() -> None:
    case, masks, want = golden()
    found = inter_observer(*masks, case["input"]["t"])
    np.testing.assert_allclose(found.a.per_slice, want["JI_A"], atol=case["tol"])
    assert np.flatnonzero(found.a.valid).tolist() == want["V_A"]
    assert np.flatnonzero(found.b.valid).tolist() == want["V_B"]
    assert np.flatnonzero(found.valid).tolist() == want["V_AB"]
    assert iaov(*masks[:2], case["input"]["t"]) == pytest.approx(want["IaOV_A"], abs=case["tol"])
    assert ieov(*masks, case["input"]["t"]) == pytest.approx(want["IeOV"], abs=case["tol"])
    assert iaov(*masks[:2]) == found.a.filtered
    assert ieov(*masks) == found.filtered


def test_distances_use_voxels_of_coherent_slices_only() -> None:
    _, (a0, a1, b0, b1), _ = golden()
    spacing = (2.0, 1.0, 0.5)
    kept = np.array([1, 1, 0, 1])[:, None, None]
    assert iaov_hausdorff(a0, a1, spacing) == average_hausdorff(a0 * kept, a1 * kept, spacing)
    assert iaov_hausdorff(a0, a1, spacing, filtered=False) == average_hausdorff(a0, a1, spacing)
    merged_a, merged_b = a0 & a1, b0 & b1
    assert ieov_hausdorff(a0, a1, b0, b1, spacing) == average_hausdorff(merged_a * kept, merged_b * kept, spacing)
    unfiltered = ieov_hausdorff(a0, a1, b0, b1, spacing, filtered=False)
    assert unfiltered == average_hausdorff(merged_a, merged_b, spacing)


def test_no_coherent_slice_is_undefined_and_never_zero() -> None:
    first, second = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    first[:, 0, 0] = second[:, 0, 1] = True
    assert math.isnan(iaov(first, second))
    assert math.isnan(ieov(first, second, first, first))
    assert math.isnan(iaov_hausdorff(first, second, 1.0))
    assert math.isnan(ieov_hausdorff(first, second, first, first, 1.0))
    assert intra_observer(first, second).unfiltered == 0.0
    nothing = np.zeros((2, 3, 4))
    found = inter_observer(nothing, nothing, nothing, nothing)
    assert not found.valid.any()
    assert math.isnan(found.filtered)
    assert math.isnan(found.kept_by_merging)


def test_the_filter_flatters() -> None:
    """An observer who is right on half of the slices and lost on the others: the paper's value hides the latter."""
    rng = np.random.default_rng(3)
    first = rng.random((40, 20, 20)) < 0.3
    second = first ^ (rng.random(first.shape) < np.repeat([0.02, 0.4], 20)[:, None, None])
    found = intra_observer(first, second)
    assert found.filtered >= 0.7 > found.unfiltered
    assert found.unfiltered == jaccard_mean(first, second)


def test_merging_shrinks() -> None:
    _, masks, _ = golden()
    found = inter_observer(*masks)
    drawn = [m.sum() for m in masks]
    merged = merge(*masks[:2]).sum() + merge(*masks[2:]).sum()
    assert found.kept_by_merging == pytest.approx(merged / (sum(drawn) / 2))
    assert found.kept_by_merging < 1
    assert found.unmerged == jaccard_mean(masks[0], masks[2])


@given(stacks, stacks, stacks, stacks, levels)
def test_always(a0: np.ndarray, a1: np.ndarray, b0: np.ndarray, b1: np.ndarray, t: float) -> None:
    found = inter_observer(a0, a1, b0, b1, t)
    assert found.a.filtered >= t or math.isnan(found.a.filtered)
    assert not (found.valid & ~(found.a.valid & found.b.valid)).any()
    assert not merge(a0, a1)[~a0].any()
    swapped = inter_observer(b1, b0, a1, a0, t)
    assert swapped.filtered == pytest.approx(found.filtered, abs=0, nan_ok=True)
    assert swapped.kept_by_merging == pytest.approx(found.kept_by_merging, abs=0, nan_ok=True)
    one = intra_observer(a0[0], a1[0], t)
    assert one.unfiltered == pytest.approx(found.a.per_slice[0], abs=0, nan_ok=True)


def test_valid_slices_by_hand() -> None:
    _, (a0, a1, _, _), _ = golden()
    a0, a1 = (np.concatenate((m, np.zeros_like(m[:1]))) for m in (a0, a1))
    found = valid_slices(a0, a1, [0.9, 0.0, 0.75, 0.8])
    assert found.thresholds == (0.0, 0.75, 0.8, 0.9)
    assert found.counts == (4, 3, 2, 1)
    assert found.percent == (80.0, 60.0, 40.0, 20.0)
    assert (found.slices, found.annotated) == (5, 4)
    assert found.iaov == pytest.approx(((0.75 + 1 + 0.4 + 0.8) / 4, 2.55 / 3, 0.9, 1.0))


@given(stacks, stacks)
def test_fewer_slices_stay_and_they_agree_better(first: np.ndarray, second: np.ndarray) -> None:
    found = valid_slices(first, second)
    assert len(found.thresholds) == 101
    assert found.counts[0] == found.annotated
    assert list(found.counts) == sorted(found.counts, reverse=True)
    means = [v for v in found.iaov if not math.isnan(v)]
    assert all(b >= a - 1e-12 for a, b in pairwise(means))
    assert all(math.isnan(v) or v >= t for v, t in zip(found.iaov, found.thresholds, strict=True))


def test_difficulty_by_hand() -> None:
    first, second = np.zeros((4, 6, 6), bool), np.zeros((4, 6, 6), bool)
    first[0, 0, 0:3] = first[0, 4, 4] = True  # two annotations of 3 and 1 pixels
    second[0, 0, 0:3] = True
    first[1, 1, 1] = first[1, 2, 2] = True  # one: pieces that touch at a corner are one
    second[1] = first[1]
    second[2, 0, 0] = True  # none in the reference
    found = difficulty(first, second, (3.0, 0.5, 2.0))
    assert found.slices.tolist() == [0, 1, 2]
    assert found.annotations.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(found.mean_area, [2.0, 2.0, np.nan])
    assert found.jaccard.tolist() == [0.75, 1.0, 0.0]
    assert binned(found.annotations, found.jaccard, [0, 1, 2]) == (Bin(0.0, 1.0, 1, 0.0), Bin(1.0, 2.0, 2, 0.875))
    nothing = difficulty(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)))
    assert nothing.slices.size == nothing.annotations.size == nothing.mean_area.size == 0


def test_bins() -> None:
    found = binned([0, 1, 1.5, 2, math.nan, 1], [1, 2, 4, 8, 16, math.nan], [0, 1, 2])
    assert found == (Bin(0.0, 1.0, 1, 1.0), Bin(1.0, 2.0, 3, 14 / 3))
    empty = binned([], [], [0, 1])[0]
    assert empty.slices == 0
    assert math.isnan(empty.mean)


def test_refused() -> None:
    one = np.ones((2, 3, 3))
    with pytest.raises(InputError, match=r"^threshold is 1.1; give a number from 0 to 1$"):
        iaov(one, one, 1.1)
    with pytest.raises(InputError, match=r"^threshold is nan; give a number from 0 to 1$"):
        ieov(one, one, one, one, math.nan)
    with pytest.raises(InputError, match=r"^the first mask is \(2, 3, 3\) and the second is \(3, 3, 3\)"):
        ieov(one, one, np.ones((3, 3, 3)), np.ones((3, 3, 3)))
    with pytest.raises(InputError, match=r"^thresholds is empty; give at least one number from 0 to 1$"):
        valid_slices(one, one, [])
    with pytest.raises(InputError, match=r"^key is \(2,\) and value is \(1,\); give two lists of one length$"):
        binned([1, 2], [1], [0, 1])
    with pytest.raises(InputError, match=r"^edges is \[1, 1\]; give at least two numbers, each above the one before$"):
        binned([1], [1], [1, 1])
