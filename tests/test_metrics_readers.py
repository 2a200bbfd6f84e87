"""Lesion marks and votes: the golden values, the tables of the papers, and every matching of a few points."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from slimscan.errors import InputError
from slimscan.metrics import (
    count_votes,
    lesion_centres_mm,
    lesion_ns,
    lesion_score,
    lesion_sensitivity,
    match_lesions,
    vote_correlation,
)

GOLDEN = Path(__file__).parent / "golden"
points = st.lists(st.tuples(*[st.integers(0, 12)] * 3), max_size=5)


def test_golden_lesions() -> None:
    case = json.loads((GOLDEN / "23_lesion_matching.json").read_text())
    found, want = match_lesions(case["input"]["truth_mm"], case["input"]["marks_mm"]), case["expected"]
    assert (found.tp, found.fp, found.fn) == (want["TP"], want["FP"], want["FN"])
    assert found.distances_mm == pytest.approx(want["matched_distances"], abs=case["tol"])
    assert found.pairs == ((0, 1), (1, 0), (3, 3))
    assert found.score == lesion_score(found.tp, found.fp, found.fn)
    assert found.score.ns == pytest.approx(want["NS"], abs=case["tol"])
    assert found.score.sc == pytest.approx(want["SC"], abs=case["tol"])
    assert lesion_ns(case["input"]["truth_mm"], case["input"]["marks_mm"]) == found.score.ns
    assert lesion_sensitivity(case["input"]["truth_mm"], case["input"]["marks_mm"]) == found.score.sc


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "sc", "ns"),
    [
        (41, 21, 20, 67.2, 0.0),
        (39, 16, 22, 63.9, 1.6),
        (40, 19, 21, 65.5, 0.0),
        (44, 15, 17, 72.1, 19.7),
        (43, 13, 18, 70.4, 19.7),
        (42, 12, 19, 68.8, 18.0),
    ],
)
def test_table_4_of_luu_2021(tp: int, fp: int, fn: int, sc: float, ns: float) -> None:
    score = lesion_score(tp, fp, fn)
    # The table cuts the second decimal (65.57 is printed as 65.5, 70.49 as 70.4, 68.85 as 68.8).
    assert score.sc == pytest.approx(sc, abs=0.1)
    assert score.ns == pytest.approx(ns, abs=0.1)


def test_the_radius_itself_is_no_match() -> None:
    assert match_lesions([[0, 0, 0]], [[6, 8, 0]]).tp == 0
    assert match_lesions([[0, 0, 0]], [[6, 7.999, 0]]).tp == 1
    # 60.3 - 50.3 is a hair below 10 in floating point.
    assert match_lesions([[50.3, 0, 0]], [[60.3, 0, 0]]).tp == 0
    assert match_lesions([[0, 0]], [[3, 4]], radius_mm=5.5).distances_mm == (5.0,)


def test_nobody_there() -> None:
    found = match_lesions([], [[1, 2, 3]])
    assert (found.tp, found.fp, found.fn) == (0, 1, 0)
    assert math.isnan(found.score.ns)
    assert math.isnan(found.score.sc)
    missed = match_lesions([[1, 2, 3], [4, 5, 6]], np.empty((0, 3)))
    assert (missed.tp, missed.fp, missed.fn) == (0, 0, 2)
    assert missed.score == (-100.0, 0.0)
    assert match_lesions([], []).pairs == ()


@settings(max_examples=150)
@given(points, points, st.sampled_from([2.0, 5.0, 10.0]))
def test_best_of_all_matchings(truth: list, marks: list, radius: float) -> None:
    found = match_lesions(truth, marks, radius)
    assert found.tp + found.fn == len(truth)
    assert found.tp + found.fp == len(marks)
    assert len({a for a, _ in found.pairs}) == len({b for _, b in found.pairs}) == found.tp
    assert all(d < radius for d in found.distances_mm)
    short, long = sorted((truth, marks), key=len)
    best = (0, 0.0)
    for chosen in permutations(long, len(short)):
        near = [math.dist(a, b) for a, b in zip(short, chosen, strict=True)]
        near = [d for d in near if d < radius]
        best = max(best, (len(near), -sum(near)))
    assert (found.tp, -sum(found.distances_mm)) == (best[0], pytest.approx(best[1], abs=1e-9))


def test_lesion_centres_lie_on_the_longest_diameter() -> None:
    mask = np.zeros((9, 12, 20), bool)
    mask[1, 1, 2:11] = True  # a row of 9 voxels with a thick end: the middle of the row, not the centre of mass
    mask[1:3, 1, 2] = True
    mask[6, 6:9, 15] = True
    spacing = (2.0, 1.0, 0.5)
    want = [[(1 + 2) / 2 * 2.0, 1.0, 6 * 0.5], [12.0, 7.0, 7.5]]
    np.testing.assert_allclose(lesion_centres_mm(mask, spacing), want)
    assert lesion_centres_mm(np.zeros((3, 3, 3)), 1.0).shape == (0, 3)
    grid = np.ogrid[:41, :41]
    np.testing.assert_allclose(lesion_centres_mm((grid[0] - 20) ** 2 + (grid[1] - 22) ** 2 <= 225, 1.0), [[20, 22]])


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=12))
def test_no_diameter_is_longer(voxels: list) -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[tuple(np.array(voxels).T)] = True
    spacing = np.array([1.5, 1.0, 0.7])
    centres = lesion_centres_mm(mask, spacing)
    if len(centres) == 1:
        spots = np.argwhere(mask) * spacing
        far = [(math.dist(a, b), (a + b) / 2) for a in spots for b in spots]
        longest = max(d for d, _ in far)
        assert any(np.allclose(middle, centres[0]) for d, middle in far if d >= longest - 1e-9)


def test_golden_votes() -> None:
    case = json.loads((GOLDEN / "21_votes_spearman.json").read_text())
    truth, vote, want = case["input"]["truth"], case["input"]["vote"], case["expected"]
    found = count_votes(truth, vote)
    assert vote_correlation(truth, vote) == found.spearman == pytest.approx(want["spearman"], abs=case["tol"])
    assert found.mean_score == pytest.approx(want["mean_score"], abs=case["tol"])
    assert (found.correct, found.wrong, found.undecided, found.n) == (want["n_correct"], want["n_wrong"], 2, 10)
    assert found.sign_test_p == pytest.approx(want["sign_test_p"], abs=case["tol"])
    assert math.isnan(vote_correlation([1] * len(vote), vote))


@given(st.lists(st.tuples(st.sampled_from([-1, 1]), st.sampled_from([-1, 0, 1])), max_size=30))
def test_votes_as_scipy_counts_them(answers: list) -> None:
    truth, vote = [a for a, _ in answers], [b for _, b in answers]
    found = count_votes(truth, vote)
    assert found.correct + found.wrong + found.undecided == found.n == len(answers)
    if len(set(truth)) > 1 and len(set(vote)) > 1:
        assert found.spearman == pytest.approx(stats.spearmanr(truth, vote).statistic, abs=1e-12)
    else:
        assert math.isnan(found.spearman)
    if found.correct + found.wrong:
        want = stats.binomtest(found.correct, found.correct + found.wrong, alternative="greater").pvalue
        assert found.sign_test_p == pytest.approx(want, rel=1e-9)
    else:
        assert found.sign_test_p == 1.0


REFUSED = [
    (lambda: match_lesions([[1, 2, 3]], [[1, 2]]), "truth_mm has 3 coordinates a point and marks_mm 2; give the same number"),
    (lambda: match_lesions([[1, 2, math.nan]], []), "truth_mm holds NaN or infinity; give every point as finite numbers of mm"),
    (lambda: match_lesions([1, 2, 3], []), "truth_mm is (3,) of int64; give points in mm, shape (n, 3) or (n, 2)"),
    (lambda: match_lesions([], [], 0), "radius_mm is 0; give a number of mm above 0"),
    (lambda: match_lesions([], [], math.nan), "radius_mm is nan; give a number of at least 0"),
    (lambda: lesion_score(1, -1, 0), "fp is -1; give a count, a whole number of at least 0"),
    (lambda: vote_correlation([1, -1], [1]), "truth is (2,) and vote is (1,); give two lists of one length"),
    (lambda: vote_correlation([1, 0], [1, 1]), "truth holds 0; allowed: -1 (left) or 1 (right): code both by side"),
    (
        lambda: count_votes([1, -1], [1, math.nan]),
        "vote holds nan; allowed: -1 (left) or 1 (right), or 0 (cannot decide): code both by side",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_refused(call, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == sentence
