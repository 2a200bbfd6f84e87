"""The search on made-up curves: it meets its goal, says what cannot be reached, and stays within six encodings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head

from slimscan.codecs import CODECS
from slimscan.each import threads
from slimscan.nouns import Knob, Psnr, Ratio
from slimscan.press.allot import allot
from slimscan.press.choose import Case, part_of, prober_of, settle
from slimscan.press.goal import Goal, bytes_goal, error_goal, psnr_goal
from slimscan.press.probe import Sample
from slimscan.press.search import Axis, solve
from slimscan.press.survey import survey


def test_a_ratio_goal_is_the_file_not_the_payload() -> None:
    goal = bytes_goal(raw_bytes=1_000_000, ratio=20, overhead=5_000)
    assert goal.limit == 45_000
    assert 50_000 * 0.98 - 5_000 < goal.enough < goal.aim < goal.limit


def test_a_psnr_goal_is_a_sum_of_squares() -> None:
    goal = psnr_goal(40, peak=255, samples=1000)
    assert goal.limit == pytest.approx(1000 * 255**2 / 1e4)
    assert 10 * math.log10(255**2 * 1000 / goal.enough) < 40.1


def test_a_largest_error_is_never_exceeded() -> None:
    goal = error_goal(2)
    assert goal.met(2.0)
    assert not goal.met(2.001)
    assert not goal.met(1.0)


@given(
    st.floats(0.5, 8), st.floats(0.1, 12), st.floats(1e-3, 0.6), st.sampled_from(["low", "high"]), st.floats(0.05, 0.95)
)
def test_a_smooth_curve_is_solved_in_seven_probes(
    rate: float, bend: float, start: float, finer: str, at: float
) -> None:
    knob = Knob("k", "", 1.0, 101.0, finer=finer)  # type: ignore[arg-type]
    axis = Axis(knob)

    def nbytes(value: float) -> float:
        return 1000 * math.exp(rate * axis.place(value) + bend / 10 * axis.place(value) ** 2)

    want = nbytes(axis.value(at))
    goal = Goal("bytes", want, want * 0.995, want * 0.985)
    curve = solve(nbytes, axis, goal, start, 8)
    assert any(goal.met(got) for got in curve.points.values())


@pytest.mark.parametrize("finer", ["low", "high"])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_an_axis_runs_from_coarse_to_fine(finer: str, scale: str) -> None:
    axis = Axis(Knob("k", "", 0.5, 64.0, finer=finer, scale=scale))  # type: ignore[arg-type]
    assert axis.value(1.0) == (0.5 if finer == "low" else 64.0)
    assert axis.place(axis.value(0.3)) == pytest.approx(0.3, abs=1e-5)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(12, 60), st.floats(0.1, 0.9))
def test_two_neighbours_mixed_meet_a_sum_between_them(seed: int, chunks: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    coarse = [Sample(int(n), 0.0, 0.0, 1) for n in rng.integers(900, 1100, chunks)]
    fine = [Sample(s.nbytes + int(n), 0.0, 0.0, 1) for s, n in zip(coarse, rng.integers(90, 140, chunks), strict=True)]
    low, high = sum(s.nbytes for s in coarse), sum(s.nbytes for s in fine)
    limit = low + share * (high - low)
    goal = Goal("bytes", limit, limit * 0.999, limit * 0.99)
    mixed = allot(goal, [(31.0, coarse), (30.0, fine)])
    got = sum(s.nbytes for s in mixed.samples)
    assert got <= limit
    assert limit - got < 140
    assert set(mixed.values) <= {30.0, 31.0}
    for value, sample, c, f in zip(mixed.values, mixed.samples, coarse, fine, strict=True):
        assert sample is (f if value == 30.0 else c)


def test_a_part_is_about_an_eighth_and_spread() -> None:
    part = part_of(400, 1)
    assert len(part) == 50
    assert part[0][0] < 10
    assert part[-1][1] > 390
    assert part_of(20, 32) == [(0, 20)]
    assert sum(b - a for a, b in part_of(5000, 1)) <= 96


@pytest.mark.parametrize("target", [Ratio(12), Psnr(48), Psnr(70)])
def test_the_whole_search_costs_at_most_six_encodings(target: Ratio | Psnr) -> None:
    volume = head((48, 64, 64))
    case = Case(volume, survey(volume), target, "volume", threads())
    prober = prober_of(case, "jpeg2000")
    _, found = settle(case, prober)
    prober.spool.close()
    assert found is not None
    encoded = sum(entry["encoded"] * entry["slices"] / entry["pieces"] for entry in prober.log)
    assert encoded <= 6 * volume.shape[0]


@pytest.mark.parametrize("name", [name for name, codec in CODECS.items() if codec.knob])
def test_every_knob_has_a_finest_end_and_a_unit_or_a_name(name: str) -> None:
    knob = CODECS[name].knob
    assert knob is not None
    assert knob.low < knob.high
    assert knob.name
    assert knob.scale == "linear" or knob.low > 0
