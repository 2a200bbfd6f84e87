"""Over levels, codecs, organs; how many cases; the gate; the papers' rules: golden values, scipy, and cases by hand."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from slimscan import stats
from slimscan.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
INF, NAN = math.inf, math.nan
P = st.lists(st.floats(0, 1) | st.just(NAN), min_size=0, max_size=8)


def golden(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text())


# Levels


def test_sequences_meet_golden_08():
    case = golden("08_fixed_sequence")
    p, alpha, expected, ratios = case["input"]["p"], case["input"]["alpha"], case["expected"], case["input"]["cr"]
    certified, strongest = stats.fixed_sequence(p, alpha)
    assert list(certified) == expected["fixed_sequence"]
    assert ratios[strongest] == expected["recommended_fixed"]
    assert ratios[certified.index(False)] == expected["stopped_at"]
    assert list(stats.holm(p, alpha).certified) == expected["holm"]
    assert list(stats.bonferroni(p, alpha).certified) == expected["bonferroni"]
    assert stats.holm_adjusted(p) == pytest.approx(expected["holm_adjusted"], abs=case["tol"])


def test_sequences_by_hand():
    assert stats.fixed_sequence([0.2, 0.001]) == ((False, False), None)
    assert stats.fixed_sequence([0.05, 0.05]) == ((True, True), 1)
    assert stats.fixed_sequence([0.01, NAN, 0.01]) == ((True, False, False), 0)
    assert stats.fixed_sequence([]) == ((), None)
    assert stats.holm([0.2, 0.001]) == ((False, True), 1)  # may skip a bad level
    assert stats.holm([0.04, 0.04]) == ((False, False), None)
    assert stats.holm([0.04, 0.02]) == ((True, True), 1)
    assert stats.bonferroni([0.04, 0.02]) == ((False, True), 1)
    assert stats.holm([NAN, 0.02]) == ((False, True), 1)
    assert math.isnan(stats.holm_adjusted([NAN, 0.02])[0])
    assert stats.bonferroni([NAN]) == ((False,), None)


@settings(deadline=None)
@given(P)
def test_bonferroni_certifies_no_more_than_holm(p):
    holm, bonferroni = stats.holm(p).certified, stats.bonferroni(p).certified
    assert all(h or not b for h, b in zip(holm, bonferroni, strict=True))
    steps = stats.fixed_sequence(p).certified
    assert list(steps) == sorted(steps, reverse=True)


def test_a_finished_codec_passes_its_alpha_on():
    # alpha 0.05, K = 2: 0.025 each. a finishes, so b goes on at 0.05 from where it stopped.
    p = {"a": [0.01, 0.02], "b": [0.02, 0.04, 0.06]}
    assert stats.family(p) == {"a": 1, "b": 1}
    assert stats.family(p, recycle=False) == {"a": 1, "b": 0}
    assert {codec: share.alpha for codec, share in stats.shares(p).items()} == pytest.approx({"a": 0.025, "b": 0.05})
    # K = 3: 1/60 each; a finishes: 0.025 for b and c; b finishes: 0.05 for c.
    p = {"c": [0.04, 0.2], "b": [0.02], "a": [0.016, 0.01]}
    assert stats.family(p) == {"c": 0, "b": 0, "a": 1}
    assert stats.family({"a": [0.03], "b": [0.03]}) == {"a": None, "b": None}  # nobody finishes at 0.025
    assert stats.family({}) == {}
    assert stats.family({"a": []}) == {"a": None}
    assert stats.family({"only": [0.05]}) == {"only": 0}
    assert stats.family({"a": [0.01, 0.03], "b": [0.01]}, method="holm") == {"a": 1, "b": 0}


def test_a_family_does_not_depend_on_the_order_of_codecs():
    p = {"a": [0.016, 0.01], "b": [0.02], "c": [0.04, 0.2], "d": [NAN]}
    found = {tuple(sorted(stats.family({k: p[k] for k in order}).items())) for order in itertools.permutations(p)}
    assert len(found) == 1


def test_a_family_keeps_its_error_rate():
    # Every level of three codecs is harmful: p uniform. A single certification is an error.
    random = np.random.default_rng(2)
    runs = 4000
    p = random.random((runs, 3, 2))
    wrong = sum(
        any(v is not None for v in stats.family(dict(zip("abc", row.tolist(), strict=True))).values()) for row in p
    )
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_every_organ_must_pass():
    p, limiting = stats.intersection_union({"liver": [0.01, 0.30, 0.02], "tumour": [0.04, 0.02, NAN]})
    assert p[:2] == (0.04, 0.30)
    assert math.isnan(p[2])
    assert limiting == ("tumour", "liver", "tumour")
    assert stats.intersection_union({"a": [0.1], "b": [0.1]}).limiting == ("a",)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.fixed_sequence([0.1, 1.2]), "p 1 of 2 is 1.2; a p lies in 0..1, or is NaN when undefined"),
        (
            lambda: stats.family({"a": [0.1]}, method="hochberg"),
            'method "hochberg" is not known; allowed: fixed_sequence holm bonferroni',
        ),
        (
            lambda: stats.intersection_union({"a": [0.1], "b": []}),
            "want at least one organ and the same levels for each; got a: 1, b: 0",
        ),
        (
            lambda: stats.intersection_union({}),
            "want at least one organ and the same levels for each; got none came",
        ),
        (
            lambda: stats.sample_size(0.03, 0.03, 0.01),
            "expected mean loss 0.03 is not below delta 0.03: no number of cases certifies that; plan a milder level or a "
            "larger margin",
        ),
        (
            lambda: stats.sample_size_tail(0.1, 0.1),
            "true_rate 0.1 is outside 0..pi0 = 0.1: no number of cases certifies that tail",
        ),
        (
            lambda: stats.minimum_n(0.2, 0.1),
            "delta 0.2 is outside 0..0.1 (the bound of the loss); a margin lies inside",
        ),
        (
            lambda: stats.sample_size_betting(0.03, 0.15, pilot=[0.0]),
            "pilot of 1 cases: want at least 2 losses, or give loss_mean and loss_sd",
        ),
        (
            lambda: stats.sample_size_betting(0.03, 0.15, 0.0299, 0.04),
            "more than 3840 cases for the betting test at delta 0.03; choose a larger margin",
        ),
        (lambda: stats.pilot_sd(0.1, 1), "a pilot of 1 cases has no spread; want at least 2"),
        (lambda: stats.gate_threshold([1.0], [2.0], 0.1), "harm 2 is outside 0..1; use min(max(loss, 0), B)/B or 0/1"),
        (
            lambda: stats.selective_gate([1.0], [0.5], 0.1, [1.0]),
            "harm: the selective gate counts harmed files; want 0 or 1, for example loss > delta",
        ),
        (
            lambda: stats.selective_gate([1.0], [1.0], 0.1, [2.0, 1.0]),
            "taus [2.0, 1.0]: want an ascending grid that was fixed before calibration",
        ),
        (lambda: stats.crc_gate([], [], 0.1), "proxy: empty; a gate needs calibration cases, one patient a row"),
        (
            lambda: stats.gate_threshold_levels([[1.0]], [1.0], 0.1),
            "proxy and harm: want the same (cases, levels) shape, got (1, 1) and (1,)",
        ),
        (
            lambda: stats.tukey_hsd([1.0, 2.0]),
            "want two or more groups of two or more values, got sizes [2]",
        ),
        (
            lambda: stats.largest_level_above([1, 2], [0.5], 0.7),
            "levels and means: want one mean a level, got 2 levels and 1 means",
        ),
        (
            lambda: stats.bd_rate([0.0, 1.0], [1, 2], [1, 2], [1, 2]),
            "rate1 and quality1: want two or more finite points with rates above 0",
        ),
        (lambda: stats.paired_ratio_test([0.0], [1.0]), "a ratio of 0 came; ratios lie above 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message


# How many cases


def test_sample_sizes_meet_golden_13():
    expected = dict(golden("13_sample_size")["expected"])
    for name, n in list(expected.items()):
        if name.startswith("delta"):
            given = {key: float(value) for key, value in (part.split("=") for part in name.split(","))}
            assert stats.sample_size(given["delta"], given["mu"], given["sd"]) == n
            expected.pop(name)
    tails = {
        "tail_pi05_zero": stats.sample_size_tail(0.05, 0.0),
        "tail_pi10_zero": stats.sample_size_tail(0.10, 0.0),
        "tail_pi20_zero": stats.sample_size_tail(0.20, 0.0),
        "tail_pi10_p02_power80": stats.sample_size_tail(0.10, 0.02),
    }
    assert tails == expected


def test_minimum_n_as_the_specification_says():
    assert stats.minimum_n(0.03, 1.0) == 99
    assert stats.minimum_n(0.03, 0.15) == 14
    assert stats.minimum_n_betting(0.03, 0.15) == 15
    assert stats.minimum_n_contrast() == 5
    assert [stats.minimum_n_tail(pi0) for pi0 in (0.05, 0.10, 0.20)] == [59, 29, 14]
    assert stats.minimum_n(0.5, 1.0, 0.25) == 2  # exactly ln 4 / ln 2
    for pi0, alpha in itertools.product((0.05, 0.1, 0.37), (0.01, 0.05, 0.2)):
        n = stats.minimum_n_tail(pi0, alpha)
        assert stats.tail(0, n, pi0, alpha).p <= alpha < stats.tail(0, n - 1, pi0, alpha).p
        n = stats.minimum_n_betting(0.03, 0.15, alpha)
        assert stats.betting([0.0] * n, 0.03, 0.15, alpha).p <= alpha
        assert stats.betting([0.0] * (n - 1), 0.03, 0.15, alpha).p > alpha
    shared = stats.minimum_n_betting(0.03, 0.15, 0.05, 0.05 / 3)
    assert stats.betting([0.0] * shared, 0.03, 0.15, 0.05).p <= 0.05 / 3
    assert shared > 15


@pytest.mark.parametrize(("delta", "mean", "sd"), [(0.03, 0.0, 0.02), (0.02, 0.015, 0.03), (0.05, -0.01, 0.2)])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.95, 0.01)])
def test_sample_size_is_the_smallest_by_scipys_noncentral_t(delta, mean, sd, power, alpha):
    def reached(n: int) -> float:
        edge = scipy_stats.t.ppf(alpha, n - 1)
        return scipy_stats.nct.cdf(edge, n - 1, (mean - delta) * math.sqrt(n) / sd)

    n = stats.sample_size(delta, mean, sd, power, alpha)
    assert reached(n) >= power
    assert n == 3 or reached(n - 1) < power


def test_sample_size_at_its_ends():
    assert stats.sample_size(0.03, 0.0, 0.0) == 3
    assert stats.sample_size(0.03, 0.0, 1e-6) == 3
    assert stats.sample_size(0.03, 0.02999, 0.05) > 10**6


@pytest.mark.parametrize(("pi0", "rate"), [(0.1, 0.05), (0.2, 0.1), (0.05, 0.001), (0.1, 0.08)])
def test_sample_size_of_the_tail_is_the_smallest(pi0, rate):
    def reached(n: int) -> bool:
        c = int(scipy_stats.binom.ppf(0.05, n, pi0))
        while c >= 0 and scipy_stats.binom.cdf(c, n, pi0) > 0.05:
            c -= 1
        return c >= 0 and bool(scipy_stats.binom.cdf(c, n, rate) >= 0.8)

    n = stats.sample_size_tail(pi0, rate)
    assert reached(n)
    assert not any(reached(smaller) for smaller in range(max(1, n - 400), n))


def test_sample_size_of_the_betting_test_has_that_power():
    n = stats.sample_size_betting(0.03, 0.15, 0.015, 0.04)
    fresh = np.random.default_rng(99).normal(0.015, 0.04, (4000, n))
    assert abs(float((stats.betting_p(fresh, 0.03, 0.15, 0.05) <= 0.05).mean()) - 0.8) < 0.05
    assert stats.sample_size_betting(0.03, 0.15, 0.015, 0.04) == n
    assert stats.sample_size_betting(0.03, 0.15) == stats.minimum_n_betting(0.03, 0.15)
    pilot = scipy_stats.norm.ppf((np.arange(400) + 0.5) / 400, 0.015, 0.04)
    assert stats.sample_size_betting(0.03, 0.15, pilot=pilot) == pytest.approx(n, rel=0.1)


def test_a_plan_takes_the_largest_and_more_power_for_more_organs():
    one = stats.plan(0.03, 0.15, 0.10, 0.015, 0.04, true_rate=0.02)
    assert (one.t, one.tail) == (46, 61)
    assert one.n == max(one.t, one.tail, one.betting)
    three = stats.plan(0.03, 0.15, 0.10, 0.015, 0.04, true_rate=0.02, organs=3)
    assert three.power == pytest.approx(1 - 0.2 / 3)
    assert three.n > one.n
    careful = stats.plan(0.03, 0.15, 0.10, 0.015, 0.04, pilot_n=10)
    assert careful.sd == pytest.approx(0.04 * math.sqrt(9 / scipy_stats.chi2.ppf(0.2, 9)))
    assert stats.pilot_sd(0.04, 10) == careful.sd


def test_the_quick_guess_is_near_the_plan():
    for mean, sd in ((0.0, 0.03), (0.01, 0.04), (0.015, 0.04)):
        guess = stats.quick_size(0.03, 0.15, 0.1, mean, sd, 0.0, 0.8, 0.05)
        assert guess == pytest.approx(stats.plan(0.03, 0.15, 0.1, mean, sd).n, rel=0.25)
    assert stats.quick_size(0.03, 0.15, 0.1, 0.03, 0.01, 0.0, 0.8, 0.05) is None
    assert stats.quick_size(0.03, 0.15, 0.1, 0.0, 0.01, 0.1, 0.8, 0.05) is None
    assert stats.quick_size(0.0, 0.15, 0.1, -0.1, 0.0, 0.0, 0.8, 0.05) == 29
    assert stats.quick_size(0.03, 0.15, 0.1, 0.0, 0.01, 0.0999, 0.8, 0.05) > 10**6


# The gate


def test_conformal_gate_by_hand():
    proxy = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    harm = [0, 0, 0, 0, 1, 0, 1, 0, 0]
    # n + 1 = 10: alpha 0.2 allows a sum of 1; accepting 7 makes it 2, so tau = 7 accepts 1..6.
    assert stats.gate_threshold(proxy, harm, 0.2) == 7
    assert stats.gate_threshold(proxy, harm, 0.1) == 5
    assert stats.gate_threshold(proxy, harm, 0.3) == INF
    assert stats.gate_threshold(proxy, harm, 0.09) == -INF  # n < 1/alpha - 1
    assert stats.gate_threshold([1, 1, 1, 2], [1, 0, 1, 0], 0.3) == -INF  # ties are taken together
    assert stats.gate_threshold([3, 1, 2], [0.5, 0, 0.25], 0.3125) == 3  # (0.25 + 1)/4 = 0.3125, any order
    assert stats.gate_threshold(range(19), [0] * 19, 0.05) == INF  # 1/20 is exactly allowed
    assert stats.gate_threshold([], [], 0.05) == -INF


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_conformal_gate_is_its_definition(pairs, alpha):
    g, h = (np.array(column, float) for column in zip(*pairs, strict=True))
    tau = stats.gate_threshold(g, h, alpha)

    def risk(t: float) -> float:
        return (h[g < t].sum() + 1) / (len(g) + 1)

    if tau > -INF:
        assert risk(tau) <= alpha + 1e-12
        stronger = [t for t in (*(g + 0.5), INF) if t > tau]
        assert all(risk(t) > alpha for t in stronger)
    else:
        assert risk(g.min() + 0.5) > alpha or risk(-INF) > alpha
    one = stats.gate_threshold_levels(g[:, None], h[:, None], alpha)
    assert one == tau


def test_a_gate_over_levels_uses_the_running_maximum():
    # Case 1: the mild level is harmful, the strong one is not, so the policy's harm falls again as tau grows.
    proxy = [[1.0, 3.0], [2.0, 9.0], [2.0, 9.0]]
    harm = [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    # sums with everything up to 1, 2, 3, 9 accepted: 1, 1, 0, 0; the running maximum stays 1
    assert stats.gate_threshold_levels(proxy, harm, 0.5) == INF  # (1 + 1)/4
    assert stats.gate_threshold_levels(proxy, harm, 0.3) == -INF
    assert stats.gate_threshold_levels(proxy, [[0, 0], [0, 1], [0, 0]], 0.3) == 9
    assert stats.gate_threshold_levels(proxy, harm, 0.2) == -INF


def test_a_gate_controls_its_risk_on_average():
    random = np.random.default_rng(0)
    alpha, harms = 0.1, []
    for _ in range(1500):
        g = random.random(31)
        h = (random.random(31) < g**2).astype(float)
        tau = stats.gate_threshold(g[:30], h[:30], alpha)
        harms.append(h[30] * (g[30] < tau))
    assert np.mean(harms) <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / len(harms))


def test_a_gate_decides_one_file_and_never_outside_its_calibration():
    gate = stats.crc_gate([1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 1, 0, 1, 0, 0], 0.2)
    assert (gate.tau, gate.low, gate.high, gate.accepted, gate.harm, gate.n) == (7, 1, 9, 6, 1, 9)
    assert [gate.decision(g) for g in (0.5, 1, 6.9, 7, 9, 9.1, NAN)] == [
        "OUT_OF_RANGE",
        "ACCEPT",
        "ACCEPT",
        "REJECT",
        "REJECT",
        "OUT_OF_RANGE",
        "OUT_OF_RANGE",
    ]


def test_the_selective_gate_by_hand():
    # alpha 0.1, level 0.1: 22 harmless cases are the least: 0.9^22 = 0.0985, 0.9^21 = 0.109
    proxy, harm = list(range(60)), [0] * 40 + [1] * 20
    assert stats.selective_gate(proxy, harm, 0.1, [21]).tau == -INF
    assert stats.selective_gate(proxy, harm, 0.1, [22, 40, 50]).tau == 40
    assert stats.selective_gate(proxy, harm, 0.1, [21, 40]).tau == -INF  # the first must pass
    found = stats.selective_gate(proxy, harm, 0.1, [22, 41])
    assert (found.tau, found.accepted, found.harm, found.level) == (41, 41, 1.0, 0.1)
    assert scipy_stats.binom.cdf(1, 41, 0.1) <= 0.1
    assert stats.selective_gate(proxy, harm, 0.1, [-1.0]).tau == -INF


# The papers' rules


def test_tukey_is_scipys():
    random = np.random.default_rng(0)
    groups = [random.normal(m, 1, 12) for m in (0, 0.5, 2)]
    found, theirs = stats.tukey_hsd(*groups), scipy_stats.tukey_hsd(*groups)
    assert found.p.tolist() == theirs.pvalue.tolist()
    assert found.n == (12, 12, 12)
    assert found.label == "reproduction, not evidence of equivalence"
    two = stats.tukey_hsd(*groups[:2]).p[0, 1]  # two groups: the plain t test
    assert two == pytest.approx(scipy_stats.ttest_ind(*groups[:2]).pvalue, rel=1e-6)


def test_the_rules_of_cunha_and_el_khoury():
    assert stats.largest_level_above([5, 10, 20, 40], [0.9, 0.69, 0.7, 0.5], 0.7) == 20
    assert stats.largest_level_above([5, 10], [0.1, 0.2], 0.7) is None
    assert stats.largest_level_above([5, 10], [0.8, NAN], 0.7) == 5
    assert stats.largest_level_above([5], [0.1 + 0.6], 0.7) == 5  # 0.7 in spite of binary fractions
    better = stats.cunha_rule([0.95, 0.96, 0.94], [1.0, 1.1, 0.9], [0.80, 0.81, 0.79], [2.0, 2.1, 1.9])
    assert better.valid
    same = stats.cunha_rule([0.81, 0.80, 0.80], [1.0, 1.1, 0.9], [0.80, 0.81, 0.79], [2.0, 2.1, 1.9])
    assert not same.valid  # better on average, but Tukey sees no difference
    far = stats.cunha_rule([0.95, 0.96, 0.94], [2.0, 2.1, 2.2], [0.80, 0.81, 0.79], [2.0, 2.1, 1.9])
    assert not far.valid


def test_the_naive_test_and_the_ratio_test():
    assert math.isnan(stats.naive_p([0.01] * 5))
    assert math.isnan(stats.naive_p([0.01]))
    a, b = [10.0, 20.0, 40.0, 35.0], [8.0, 15.0, 42.0, 20.0]
    found = stats.paired_ratio_test(a, b)
    assert found.p == pytest.approx(scipy_stats.ttest_rel(a, b).pvalue)
    assert found.p_log == pytest.approx(scipy_stats.ttest_rel(np.log(a), np.log(b)).pvalue)
    assert (found.estimate, found.n) == (pytest.approx(5.0), 4)


def test_bd_rate_meets_golden_25():
    case = golden("25_bd_rate")
    given, expected, tol = case["input"], case["expected"], case["tol"]
    first, second = (given["rate1"], given["q1"]), (given["rate2"], given["q2"])
    assert stats.bd_rate(*first, *second) == pytest.approx(expected["bd_rate"], abs=tol)
    assert stats.bd_rate(*first, *first) == expected["identical"]
    half = [rate / 2 for rate in given["rate1"]]
    assert stats.bd_rate(*first, half, given["q1"]) == pytest.approx(expected["half_rate"], abs=tol)
    assert math.isnan(stats.bd_rate(*first, given["rate2"], [q + 100 for q in given["q2"]]))
    assert math.isnan(stats.bd_rate(*first, given["rate2"], [30, 29, 35, 36]))
    backwards = [column[::-1] for column in (*first, *second)]
    assert stats.bd_rate(*backwards) == pytest.approx(expected["bd_rate"], abs=tol)


def test_icc_by_hand():
    # Two patients, two slices each: means 1 and 3, within squares 0.5 + 0.5. MSB = 2*(1 + 1)/1 = 4, MSW = 1/2.
    found = stats.design_effect([[0.5, 1.5], [2.5, 3.5]])
    assert found.icc == pytest.approx((4 - 0.5) / (4 + 0.5))
    assert found.design_effect == pytest.approx(1 + (2 - 1) * 3.5 / 4.5)
    assert (found.n, found.units, found.mean_size) == (2, 4, 2.0)
    assert stats.design_effect([[1.0, 1.0], [2.0, 2.0]]).icc == pytest.approx(1.0)
    assert math.isnan(stats.design_effect([[1.0], [2.0]]).icc)
    assert math.isnan(stats.design_effect([[1.0, 1.0], [1.0, 1.0]]).icc)
    assert math.isnan(stats.design_effect([]).icc)
