"""Distances between masks: by hand, against the definition written out, under every symmetry, and against others."""

from __future__ import annotations

import json
import math
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from vessels import second_reading, vessel_tree

from slimscan.metrics import (
    average_hausdorff,
    border_distances,
    dice,
    hausdorff,
    nearest,
    normalized_surface_dice,
    smbd,
    surfels,
)

GOLDEN = Path(__file__).parent / "golden"
NSD = normalized_surface_dice
shapes = st.one_of(st.tuples(*[st.integers(1, 6)] * 3), st.tuples(*[st.integers(1, 7)] * 2))
steps = st.sampled_from([1.0, 0.5, 1.2, 1.5, 0.3, 2.75])
rounded = {"rel": 1e-12, "abs": 1e-12}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    shape = draw(shapes)
    x, y = (draw(hnp.arrays(np.bool_, shape)) for _ in range(2))
    return x, y, tuple(draw(steps) for _ in shape)


def written_out(points: np.ndarray, targets: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    p, t = (np.argwhere(m) * np.array(spacing) for m in (points, targets))
    if len(t) == 0:
        return np.full(len(p), math.inf)
    return np.array([min(math.dist(a, b) for b in t) for a in p])


def border_written_out(mask: np.ndarray) -> np.ndarray:
    padded, found = np.pad(mask, 1), np.zeros(mask.shape, bool)
    for index in np.argwhere(mask):
        for axis in range(mask.ndim):
            for side in (0, 2):
                place = index + 1
                place[axis] = index[axis] + side
                found[tuple(index)] |= not padded[tuple(place)]
    return found


def half_sum(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) == 0 or len(b) == 0:
        return 0.0 if len(a) == len(b) else math.inf
    return (a.mean() + b.mean()) / 2


def test_golden_smbd() -> None:
    case = json.loads((GOLDEN / "19_smbd.json").read_text())
    p, t = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    p[1:3, 1:3, 1:3] = 1
    t[1:3, 1:3, 1:4] = 1
    assert smbd(p, t, case["input"]["spacing"]) == pytest.approx(case["expected"]["smbd"], abs=case["tol"])
    assert dice(p, t) == pytest.approx(case["expected"]["dsc"], abs=case["tol"])
    sizes = [len(d) for d in border_distances(p, t, case["input"]["spacing"])]
    assert sizes == case["expected"]["n_border"]


def test_two_voxels_two_mm_apart() -> None:
    x, y = np.zeros((3, 4, 5), bool), np.zeros((3, 4, 5), bool)
    x[1, 1, 1] = y[1, 2, 1] = True
    spacing = (5.0, 2.0, 7.0)
    assert average_hausdorff(x, y, spacing) == smbd(x, y, spacing) == hausdorff(x, y, spacing) == 2.0
    # The eight corners of each voxel: four are shared, four lie 2 mm away.
    assert NSD(x, y, spacing, 1.99) == pytest.approx(0.5)
    assert NSD(x, y, spacing, 2.0) == 1.0


def test_one_voxel_missed_at_the_end_of_a_row() -> None:
    x, y = np.array([1, 1, 1, 1]), np.array([1, 1, 1, 0])
    # All foreground: x to y 0 0 0 1, y to x 0.
    assert average_hausdorff(x, y, 1.0) == 1 / 8
    # Borders are the ends: x to y 0 1, y to x 0 1.
    assert smbd(x, y, 3.0) == 1.5
    assert hausdorff(x, y, 3.0) == 3.0
    assert hausdorff(x, y, 3.0, 50) == 1.5


def test_percentiles_of_the_two_directions() -> None:
    x, y = np.zeros((1, 30)), np.zeros((1, 30))
    x[0, 0:20] = 1
    y[0, 0:1] = 1
    to_y, to_x = np.arange(20.0), np.zeros(1)
    for share in (0, 50, 95, 100):
        assert hausdorff(x, y, 1.0, share) == pytest.approx(np.percentile(to_y, share))
        pooled = np.percentile(np.concatenate((to_y, to_x)), share)
        assert hausdorff(x, y, 1.0, share, pooled=True) == pytest.approx(pooled)


def test_surface_of_one_voxel_and_of_a_block() -> None:
    one = np.ones((1, 1, 1), bool)
    area = surfels.surfel_areas(np.ones(3))
    # Eight corners, each cut by a triangle with normal (1, 1, 1) / 8.
    assert area[surfels.corner_codes(one)].sum() == pytest.approx(math.sqrt(3))
    # A plate of n x n voxels: its two faces are flat but for their edges.
    n, step = 40, np.array([0.5, 1.0, 2.0])
    plate = np.ones((6, n, n), bool)
    flat = surfels.surfel_areas(step)[surfels.corner_codes(plate)[0, 1:-1, 1:-1]]
    np.testing.assert_allclose(flat, 2.0)
    # A square of n pixels in a slice: straight sides, corners cut off.
    square = surfels.surfel_areas(np.array([0.5, 2.0]))[surfels.corner_codes(np.ones((5, 5), bool))]
    assert square.sum() == pytest.approx(2 * 4 * (0.5 + 2.0) + 4 * math.hypot(0.5, 2.0) / 2)


def test_surface_table_knows_every_corner() -> None:
    triangles = surfels._triangles()
    assert len(triangles) == 256
    assert [c for c in range(256) if not triangles[c]] == [0, 255]
    assert (surfels.surfel_areas(np.array([1.0, 1.0])) > 0).sum() == 14


@settings(max_examples=150)
@given(pairs())
def test_average_hausdorff_is_its_definition(case: tuple) -> None:
    x, y, spacing = case
    want = half_sum(written_out(x, y, spacing), written_out(y, x, spacing))
    assert average_hausdorff(x, y, spacing) == pytest.approx(want, **rounded)


@settings(max_examples=150)
@given(pairs())
def test_border_distances_are_their_definition(case: tuple) -> None:
    x, y, spacing = case
    edge_x, edge_y = border_written_out(x), border_written_out(y)
    to_y, to_x = border_distances(x, y, spacing)
    np.testing.assert_allclose(to_y, written_out(edge_x, edge_y, spacing), **{"rtol": 1e-12, "atol": 1e-12})
    np.testing.assert_allclose(to_x, written_out(edge_y, edge_x, spacing), **{"rtol": 1e-12, "atol": 1e-12})
    assert smbd(x, y, spacing) == pytest.approx(half_sum(to_y, to_x), **rounded)
    if x.any() and y.any():
        assert hausdorff(x, y, spacing) == pytest.approx(max(to_y.max(), to_x.max()), **rounded)


@settings(max_examples=60)
@given(pairs(), st.sampled_from([0.0, 0.5, 1.2, 1.5, 3.0]))
def test_surface_dice_is_its_definition(case: tuple, tolerance: float) -> None:
    x, y, spacing = case
    assume(x.any() and y.any() and x.ndim >= 2)
    area = surfels.surfel_areas(np.array(spacing))
    codes = [surfels.corner_codes(m) for m in (x, y)]
    on = [area[c] > 0 for c in codes]
    near = total = 0.0
    for code, here, there in ((codes[0], *on), (codes[1], *on[::-1])):
        weight = area[code[here]]
        near += weight[written_out(here, there, spacing) <= tolerance + 1e-9].sum()
        total += weight.sum()
    assert NSD(x, y, spacing, tolerance) == pytest.approx(near / total, **rounded)


METRICS_OF_PAIRS = {
    "average_hausdorff": average_hausdorff,
    "smbd": smbd,
    "hausdorff": hausdorff,
    "hausdorff_95": lambda x, y, s: hausdorff(x, y, s, 95),
}


@pytest.mark.parametrize("name", METRICS_OF_PAIRS)
@settings(max_examples=40)
@given(case=pairs(), factor=st.sampled_from([0.25, 2.0, 8.0]), data=st.data())
def test_symmetries(name: str, case: tuple, factor: float, data: st.DataObject) -> None:
    metric = METRICS_OF_PAIRS[name]
    x, y, spacing = case
    value = metric(x, y, spacing)
    same = pytest.approx(value, **rounded)
    assert metric(y, x, spacing) == same
    assert metric(x, x, spacing) == 0.0
    # Moved within a larger array; a border that lay on the array's edge stays a border.
    room = [(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))) for _ in spacing]
    assert metric(np.pad(x, room), np.pad(y, room), spacing) == same
    for axis in range(x.ndim):
        assert metric(np.flip(x, axis), np.flip(y, axis), spacing) == same
    for order in permutations(range(x.ndim)):
        assert metric(x.transpose(order), y.transpose(order), [spacing[a] for a in order]) == same
    assert metric(x, y, [s * factor for s in spacing]) == pytest.approx(value * factor, **rounded)


@settings(max_examples=40)
@given(pairs(), st.sampled_from([0.0, 0.7, 1.3]))
def test_symmetries_of_surface_dice(case: tuple, tolerance: float) -> None:
    x, y, spacing = case
    assume(x.ndim >= 2)
    value = NSD(x, y, spacing, tolerance)
    same = pytest.approx(value, nan_ok=True, **rounded)
    assert NSD(y, x, spacing, tolerance) == same
    assert NSD(np.pad(x, 2), np.pad(y, 2), spacing, tolerance) == same
    assert NSD(np.flip(x), np.flip(y), spacing, tolerance) == same
    assert NSD(x.T, y.T, spacing[::-1], tolerance) == same
    wider = NSD(x, y, spacing, tolerance + 1)
    assert math.isnan(value) or (0 <= value <= wider + 1e-12 <= 1 + 2e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.4, 0.7)])
def test_both_routes_agree(spacing: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    x = vessel_tree((60, 50, 40), 3.0)
    y = second_reading(x)
    values = []
    for cost in (0.0, math.inf):  # always the transform, then always the tree
        monkeypatch.setattr(nearest, "_TRANSFORM", cost)
        values.append([f(x, y, spacing) for f in METRICS_OF_PAIRS.values()] + [NSD(x, y, spacing, 1.0)])
    np.testing.assert_allclose(values[0], values[1], rtol=1e-13)


def test_a_tree_is_left_when_all_targets_are_equally_far(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.ogrid[:61, :61, :61]
    square = sum((g - 30.0) ** 2 for g in grid)
    ball, shell = square <= 8**2, (square <= 30**2) & (square > 28**2)
    asked = []
    monkeypatch.setattr(nearest, "_by_tree", lambda *_: asked.append("tree"))
    found = average_hausdorff(ball, shell, 1.0)
    assert asked == []
    # The shell begins 28 from the centre and the ball ends at 8.
    assert 20 < found < 28.5


def test_many_points_are_asked_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = vessel_tree((40, 40, 40), 3.0)
    y = second_reading(x)
    monkeypatch.setattr(nearest, "_TRANSFORM", math.inf)
    want = smbd(x, y, 1.0)
    monkeypatch.setattr(nearest, "_BLOCK", 7)
    assert smbd(x, y, 1.0) == want


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 1.2, 1.2), (0.3, 2.0, 0.9)])
def test_same_values_as_medpy_where_definitions_agree(spacing: tuple[float, ...]) -> None:
    theirs = pytest.importorskip("medpy.metric.binary", reason="medpy is not installed (extra bench)")
    x = vessel_tree((60, 50, 40), 3.0)
    y = second_reading(x)
    to_y, to_x = border_distances(x, y, spacing)
    assert smbd(x, y, spacing) == pytest.approx((theirs.asd(x, y, spacing) + theirs.asd(y, x, spacing)) / 2, abs=1e-9)
    assert np.concatenate((to_y, to_x)).mean() == pytest.approx(theirs.assd(x, y, spacing), abs=1e-9)
    assert hausdorff(x, y, spacing) == pytest.approx(theirs.hd(x, y, spacing), abs=1e-9)
    assert hausdorff(x, y, spacing, 95, pooled=True) == pytest.approx(theirs.hd95(x, y, spacing), abs=1e-9)
    assert dice(x, y) == pytest.approx(theirs.dc(x, y), abs=1e-12)


@pytest.mark.parametrize("shape", [(60, 50, 40), (60, 50)])
@pytest.mark.parametrize("step", [1.0, 0.6])
def test_same_values_as_surface_distance_where_definitions_agree(shape: tuple[int, ...], step: float) -> None:
    theirs = pytest.importorskip("surface_distance", reason="surface-distance is not installed (extra bench)")
    spacing = (1.5, step, 2.0)[: len(shape)]
    x = vessel_tree((60, 50, 40), 3.0)
    y = second_reading(x)
    if len(shape) == 2:
        x, y = x.any(axis=2), y.any(axis=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it calls scipy by names that scipy will drop
        found = theirs.compute_surface_distances(x, y, spacing)
    for tolerance in (0.0, 0.6, 1.0, 1.5, 4.0):
        want = theirs.compute_surface_dice_at_tolerance(found, tolerance)
        assert NSD(x, y, spacing, tolerance) == pytest.approx(want, abs=1e-9)
