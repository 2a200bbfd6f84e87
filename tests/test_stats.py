"""The tests at one level: golden values, scipy beside, hand-computed cases, and the promises that hold for any data."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise, product
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
LOSSES = st.lists(st.integers(-400, 400).map(lambda k: k / 1000), min_size=3, max_size=40)


def golden(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text())


# loss, contrast, order


def test_loss_has_the_sign_of_harm_and_is_rounded():
    assert stats.loss([0.91], [0.90]).tolist() == [0.01]
    assert stats.loss([3.0], [5.5], better="lower").tolist() == [2.5]
    assert stats.loss([0.5], [0.75]).tolist() == [-0.25]
    assert stats.loss([1.0], [INF], better="lower").tolist() == [INF]
    assert math.isnan(stats.loss([NAN], [0.5])[0])
    assert math.isnan(stats.loss([INF], [INF], better="lower")[0])
    assert stats.loss([], []).shape == (0,)


def test_contrasts_meet_golden_27():
    case = golden("27_margins")
    given, expected, tol = case["input"], case["expected"], case["tol"]
    columns = {name: given[name] for name in ("reference", "value", "observer")}

    def found(kind: str, **numbers: float) -> list[float]:
        return stats.contrast(kind, **columns, **numbers).tolist()

    assert found("absolute", delta=given["delta"]) == pytest.approx(expected["absolute"], abs=tol)
    assert found("relative", rho=given["rho"]) == pytest.approx(expected["relative"], abs=tol)
    assert found("threshold", threshold=given["T"]) == pytest.approx(expected["threshold"], abs=tol)
    assert found("observer") == pytest.approx(expected["observer_paired"], abs=tol)
    assert found("observer_paired") == found("observer")


def test_contrasts_turn_round_when_lower_is_better():
    lower = {"value": [5.0], "better": "lower"}
    assert stats.contrast("absolute", reference=[4.0], delta=0.5, **lower).tolist() == [0.5]
    assert stats.contrast("relative", reference=[4.0], rho=0.25, **lower).tolist() == [0.0]
    assert stats.contrast("threshold", threshold=6.0, **lower).tolist() == [-1.0]
    assert stats.contrast("observer", observer=[4.5], **lower).tolist() == [0.5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.loss([1.0], [1.0], better="bigger"), 'better "bigger" is not known; allowed: higher lower'),
        (lambda: stats.loss([1.0, 2.0], [1.0]), "reference and value: want one value a case in both, got 2 and 1"),
        (
            lambda: stats.contrast("absolute", [0.5], delta=0.1),
            "a margin of kind absolute needs reference=, one number a case; none came",
        ),
        (
            lambda: stats.contrast("absolute", [0.5], reference=[0.5]),
            "a margin of kind absolute needs delta=, a number; none came",
        ),
        (
            lambda: stats.contrast("ratio", [0.5]),
            'margin kind "ratio" is not known; allowed: absolute relative threshold observer',
        ),
        (
            lambda: stats.paired_t([0.1, NAN, 0.2], 0.03),
            "loss: value 1 of 3 is NaN; a failed case is data (Dice 0, distance inf), an undefined reference drops the "
            "case before the test",
        ),
        (
            lambda: stats.betting([[0.1, 0.2]], 0.03, 0.15),
            "loss_in_order: want a flat list of numbers, got shape (1, 2); average inside a case first",
        ),
        (
            lambda: stats.paired_t(["a"], 0.03),
            "loss: want a flat list of numbers, got list of others",
        ),
        (
            lambda: stats.paired_t([0.1], 0.03, alpha=1.0),
            "alpha 1 is outside 0..1 (both ends excluded); give a rate such as 0.05",
        ),
        (lambda: stats.betting([0.1], 0.03, -1.0), "cap -1 is not allowed; want a finite number above 0"),
        (
            lambda: stats.betting([0.1], 0.2, 0.15),
            "delta 0.2 is outside -cap..cap = -0.15..0.15; choose a cap above delta (5 delta)",
        ),
        (
            lambda: stats.bootstrap_t([0.1], 0.03, 0.15, draws=0),
            "draws 0 is not allowed; want at least 2000 for a decision",
        ),
        (
            lambda: stats.tail(3, 2, 0.1),
            "3 cases of 2 above the cap: want whole numbers with 0 <= count <= n",
        ),
        (lambda: stats.hoeffding_bentkus(1.5, 10, 0.1), "mean 1.5 is outside 0..1; scale the losses to 0..1 first"),
        (lambda: stats.hoeffding_bentkus(0.5, -1, 0.1), "n -1 is not a number of cases; want 0, 1, 2, ..."),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message


def test_the_order_of_cases_is_the_hash_of_their_names():
    # sha256 of "verdict-v1|P000" begins 98.., and so on: computed with sha256sum
    import hashlib

    cases = [f"P{i:03d}" for i in range(50)]
    by_hash = sorted(cases, key=lambda c: hashlib.sha256(b"verdict-v1|" + c.encode()).hexdigest())
    assert stats.case_order(cases) == by_hash == stats.case_order(reversed(cases))
    assert stats.case_order(cases) != cases
    assert stats.case_order([]) == []


# T1 and relatives


def test_paired_t_meets_golden_01():
    case = golden("01_paired_t")
    loss = stats.loss(case["input"]["reference"], case["input"]["value"])
    found, expected = stats.paired_t(loss, case["input"]["delta"], case["input"]["alpha"]), case["expected"]
    got = {
        "mean_loss": found.estimate,
        "sd": found.sd,
        "t": found.statistic,
        "df": found.df,
        "p": found.p,
        "upper95": found.upper,
        "naive_two_sided_p": stats.naive_p(loss),
    }
    assert got == pytest.approx({name: expected[name] for name in got}, abs=case["tol"])
    assert (found.p <= found.alpha) is expected["certified"]


def test_averaging_inside_patients_meets_golden_10():
    case = golden("10_cluster_patient_mean")
    by_patient, delta = case["input"]["loss"], case["input"]["delta"]
    means = [float(np.mean(slices)) for slices in by_patient.values()]
    assert stats.paired_t(means, delta).p == pytest.approx(case["expected"]["p_t"], abs=case["tol"])
    slices = [loss for patient in by_patient.values() for loss in patient]
    assert stats.paired_t(slices, delta).p == pytest.approx(case["expected"]["wrong_slice_p"], abs=case["tol"])
    found = stats.design_effect(by_patient.values())
    assert (found.n, found.units) == (case["expected"]["n"], case["expected"]["wrong_slice_n"])


@pytest.mark.parametrize("loss", [[0.01] * 10, [0.91 - 0.90, 0.01, 0.01], [0.01, 0.05], [0.01], [], [0.1, 0.2, INF]])
def test_paired_t_is_undefined_without_spread_or_with_few_cases(loss):
    found = stats.paired_t(loss, 0.03)
    assert math.isnan(found.p)
    assert math.isnan(found.upper)
    assert found.n == len(loss)


@settings(deadline=None)
@given(LOSSES)
def test_paired_t_is_scipys(loss):
    found = stats.paired_t(loss, 0.03)
    if np.ptp(loss) == 0:
        assert math.isnan(found.p)
        return
    theirs = scipy_stats.ttest_1samp(loss, 0.03, alternative="less")
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)
    assert found.upper == pytest.approx(theirs.confidence_interval(0.95).high, rel=1e-9, abs=1e-12)
    assert stats.naive_p(loss) == pytest.approx(scipy_stats.ttest_1samp(loss, 0.0).pvalue, rel=1e-9, abs=1e-12)
    both = stats.tost(loss, 0.03)
    assert both.p == max(both.lower_p, both.upper_p)
    above = scipy_stats.ttest_1samp(loss, -0.03, alternative="greater").pvalue
    assert both.lower_p == pytest.approx(above, rel=1e-9, abs=1e-12)


def test_welch_is_scipys_and_knows_the_observers_are_a_sample():
    value, observer = [0.80, 0.82, 0.85, 0.79, 0.88], [0.78, 0.75, 0.81, 0.80]
    found = stats.welch(value, observer)
    theirs = scipy_stats.ttest_ind(value, observer, equal_var=False, alternative="greater")
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-12)
    assert found.df == pytest.approx(theirs.df)
    assert found.estimate == pytest.approx(np.mean(observer) - np.mean(value))
    turned = stats.welch([-v for v in value], [-o for o in observer], better="lower")
    assert turned.p == pytest.approx(found.p)
    assert math.isnan(stats.welch([0.8], [0.7, 0.6]).p)
    assert math.isnan(stats.welch([0.8, 0.8], [0.7, 0.7]).p)
    known = stats.paired_t(np.mean(observer) - np.array(value), 0.0).p  # the forbidden way is bolder
    assert known < found.p


def test_a_margin_from_observers_uses_the_lower_bound():
    reference, observer = [0.90, 0.92, 0.88, 0.91, 0.89, 0.93], [0.80, 0.85, 0.82, 0.79, 0.84, 0.83]
    found = stats.observer_delta(reference, observer, kappa=0.5, alpha=0.05)
    x = np.array(reference) - np.array(observer)
    lower = x.mean() - scipy_stats.t.ppf(0.975, 5) * x.std(ddof=1) / math.sqrt(6)
    assert (found.delta, found.lower, found.alpha) == pytest.approx((lower / 2, lower, 0.025))
    with pytest.raises(InputError) as caught:
        stats.observer_delta(reference, observer, kappa=0.6)
    assert str(caught.value) == "kappa 0.6 is outside 0..0.5; a margin takes at most half of the observers' distance"
    with pytest.raises(InputError) as caught:
        stats.observer_delta([0.8, 0.9, 0.7], [0.9, 0.8, 0.7])
    assert str(caught.value) == (
        "the observers leave no margin: the lower bound of (reference - observer agreement) is -0.2484 over 3 cases; "
        "declare an absolute delta instead"
    )


# T2


def test_signed_rank_meets_golden_03():
    case = golden("03_wilcoxon_hl")
    found, expected = stats.signed_rank(case["input"]["loss"], case["input"]["delta"]), case["expected"]
    got = (found.statistic, found.p, found.estimate, found.upper, found.c)
    want = tuple(expected[name] for name in ("W_plus", "p", "hodges_lehmann", "upper95", "c"))
    assert got == pytest.approx(want, abs=case["tol"])
    assert found.exact


def test_signed_rank_by_enumeration_of_all_signs():
    loss = [0.011, -0.02, 0.045, 0.07, 0.002]
    y = [v - 0.03 for v in loss]
    ranks = scipy_stats.rankdata(np.abs(y))
    w = sum(r for r, v in zip(ranks, y, strict=True) if v > 0)
    below = sum(sum(r for r, s in zip(ranks, signs, strict=True) if s) <= w for signs in product((0, 1), repeat=5))
    found = stats.signed_rank(loss, 0.03)
    assert found.p == below / 32
    assert found.upper == max(loss)  # c = 0 at n = 5: the largest Walsh average


def test_signed_rank_with_ties_and_zeros_is_the_normal_approximation():
    loss = [0.01, 0.01, 0.03, 0.05, 0.00, 0.02, 0.02, 0.06]
    found = stats.signed_rank(loss, 0.03)
    y = np.array([-0.02, -0.02, 0.02, -0.03, -0.01, -0.01, 0.03])
    ranks = scipy_stats.rankdata(np.abs(np.round(y, 10)))
    w = ranks[y > 0].sum()
    z = (w - ranks.sum() / 2) / math.sqrt((ranks**2).sum() / 4)
    assert (found.n, found.n_used, found.exact) == (8, 7, False)
    assert found.p == pytest.approx(scipy_stats.norm.cdf(z))


def test_signed_rank_of_nothing_and_of_little():
    assert stats.signed_rank([0.03] * 5, 0.03).p == 1.0
    assert stats.signed_rank([], 0.03).p == 1.0
    assert math.isnan(stats.signed_rank([], 0.03).estimate)
    few = stats.signed_rank([0.01, 0.02, 0.015, 0.005], 0.03)
    assert (few.p, few.c, few.upper) == (1 / 16, None, INF)


@settings(deadline=None)
@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=60, unique_by=abs).map(lambda v: [k / 1e7 for k in v])
)
def test_signed_rank_is_scipys(loss):
    found = stats.signed_rank(loss, 0.0)
    used = [v for v in loss if v]
    if not used:
        return
    exact = len(used) <= 50
    theirs = scipy_stats.wilcoxon(used, alternative="less", method="exact" if exact else "asymptotic")
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.estimate == pytest.approx(stats.hodges_lehmann(loss))


# T3


def test_bootstrap_t_by_hand():
    # Three cases: T* recomputed draw by draw from the same picks.
    loss, delta = [0.00, 0.013, 0.05], 0.031
    picks = np.random.default_rng(5).integers(0, 3, size=(200, 3), dtype=np.intp)
    x = np.array(loss)
    t = (x.mean() - delta) / (x.std(ddof=1) / math.sqrt(3))
    below = 0
    for pick in picks:
        drawn = x[pick]
        s = drawn.std(ddof=1)
        below += len(set(drawn)) == 1 or (drawn.mean() - x.mean()) / (s / math.sqrt(3)) <= t
    found = stats.bootstrap_t(loss, delta, 0.15, draws=200, seed=5)
    assert found.p == (1 + below) / 201
    assert found.statistic == pytest.approx(t)
    assert found.upper == INF  # more than 5 % of draws are of one value


def test_bootstrap_is_undefined_without_spread():
    for test in (stats.bootstrap_t, stats.bca):
        assert math.isnan(test([0.01] * 40, 0.03, 0.15).p)
        assert math.isnan(test([0.01, 0.02], 0.03, 0.15).p)
        assert math.isnan(test([0.2, 0.3, INF], 0.03, 0.15).p)  # all capped to one value
        assert test([0.0, 0.01, 0.02, INF], 0.03, 0.15).estimate == pytest.approx(0.045)


@settings(deadline=None)
@given(LOSSES, st.randoms())
def test_bootstrap_does_not_see_the_order_and_its_bound_agrees_with_its_p(loss, random):
    shuffled = list(loss)
    random.shuffle(shuffled)
    for test in (stats.bootstrap_t, stats.bca):
        found = test(loss, 0.03, 0.15, draws=200)
        assert repr(found) == repr(test(shuffled, 0.03, 0.15, draws=200))
        assert math.isnan(found.p) or 0 < found.p <= 1
    studentised = stats.bootstrap_t(loss, 0.03, 0.15, draws=200)
    if not math.isnan(studentised.p) and abs(studentised.upper - 0.03) > 1e-9:
        assert (studentised.p <= 0.05) == (studentised.upper < 0.03)


def test_bca_is_scipys():
    random = np.random.default_rng(3)
    loss = random.gamma(1.0, 0.02, 60)
    found = stats.bca(loss, 0.03, 1.0, draws=20000)
    theirs = scipy_stats.bootstrap(
        (loss,), np.mean, n_resamples=20000, alternative="less", method="BCa", rng=np.random.default_rng(4)
    )
    assert found.upper == pytest.approx(theirs.confidence_interval.high, rel=0.01)
    at_its_bound = stats.bca(loss, found.upper, 1.0, draws=20000)
    assert at_its_bound.p == pytest.approx(0.05, abs=0.002)  # p is the inversion of the bound


def test_bootstrap_is_close_to_t_for_normal_losses():
    loss = np.random.default_rng(0).normal(0.02, 0.03, 60)
    t = stats.paired_t(loss, 0.03).p
    assert stats.bootstrap_t(loss, 0.03, 1.0, draws=20000).p == pytest.approx(t, rel=0.25)
    assert stats.bca(loss, 0.03, 1.0, draws=20000).p == pytest.approx(t, rel=0.35)


# T4


def by_the_letter(loss: list[float], delta: float, B: float, alpha: float) -> float:
    """The recursion as it is written down."""
    n, m = len(loss), (delta + B) / (2 * B)
    S, V, log_k, best = 0.5, 0.25, 0.0, 0.0
    for t, d in enumerate(loss, start=1):
        x = (min(max(d, -B), B) + B) / (2 * B)
        lam = min(1 / (1 - m), math.sqrt(2 * math.log(1 / alpha) / (n * V / t)))
        factor = max(0.0, 1 - lam * (x - m))
        log_k += math.log(factor) if factor > 0 else -INF
        best = max(best, log_k)
        S += x
        V += (x - S / (t + 1)) ** 2
    return math.exp(-best)


def test_betting_meets_golden_05():
    case = golden("05_wsr_betting")
    given, expected = case["input"], case["expected"]
    loss = given["loss_in_order"]
    for name, losses in (("p", loss), ("p_reversed", loss[::-1]), ("p_first_10_only", loss[:10])):
        found = stats.betting(losses, given["delta"], given["B"], given["alpha"])
        assert found.p == pytest.approx(expected[name], abs=case["tol"])


def test_betting_by_hand():
    # delta 0.03, B 0.15: m = 0.6, so the largest bet is 2.5; the first bet sqrt(2 ln 20 / 0.25) = 4.9 is cut to it.
    assert stats.betting([-0.15], 0.03, 0.15).p == pytest.approx(1 / 2.5)
    assert stats.betting([-9.0], 0.03, 0.15).p == pytest.approx(1 / 2.5)
    assert stats.betting([0.0], 0.03, 0.15).p == pytest.approx(1 / 1.25)
    assert stats.betting([0.03], 0.03, 0.15).p == 1.0
    assert stats.betting([INF], 0.03, 0.15).p == 1.0
    assert stats.betting([], 0.03, 0.15).p == 1.0
    # A loss at the cap under a full bet ruins the bettor for good; the best capital before it still counts.
    assert stats.betting([0.15, -9.0], 0.03, 0.15).p == 1.0
    assert stats.betting([-9.0, 0.15], 0.03, 0.15).p == pytest.approx(1 / 2.5)
    found = stats.betting([0.01, 0.02], 0.03, 0.15)
    assert (found.n, found.estimate, found.loss) == (2, pytest.approx(0.015), (0.01, 0.02))
    assert found.statistic == pytest.approx(-math.log(found.p))


def test_betting_on_a_contrast_has_its_null_in_the_middle():
    contrast = [-0.03, -0.18, 0.01, -0.1, -0.2, -0.04]
    found = stats.betting_contrast(contrast, 0.15)
    assert found.p == pytest.approx(by_the_letter(contrast, 0.0, 0.15, 0.05), abs=1e-12)
    # m = 1/2: the largest bet is 2, and five contrasts at -clip are the least that could do
    best = [1 / by_the_letter([-0.15] * n, 0.0, 0.15, 0.05) for n in (4, 5)]
    assert best[0] < 20 <= stats.minimum_n_contrast() ** 2
    assert stats.betting_contrast([-0.15] * 5, 0.15).p == pytest.approx(1 / best[1])


@settings(deadline=None)
@given(LOSSES, st.sampled_from([0.01, 0.03, 0.1]), st.sampled_from([0.01, 0.05, 0.2]))
def test_betting_is_the_recursion(loss, delta, alpha):
    assert stats.betting(loss, delta, 0.15, alpha).p == pytest.approx(by_the_letter(loss, delta, 0.15, alpha), rel=1e-9)


@settings(deadline=None)
@given(LOSSES)
def test_betting_p_falls_as_the_margin_grows_and_the_bound_is_where_it_crosses(loss):
    p = [stats.betting(loss, delta, 0.15).p for delta in (-0.1, 0.0, 0.01, 0.03, 0.05, 0.1, 0.14)]
    assert all(0 <= one <= 1 for one in p)
    assert all(after <= before + 1e-12 for before, after in pairwise(p))
    found = stats.betting(loss, 0.03, 0.15)
    upper = found.upper
    assert found.estimate <= upper + 1e-9
    if upper < 0.15 - 1e-9:
        assert stats.betting(loss, upper + 1e-9, 0.15).p <= 0.05 + 1e-9
        assert stats.betting(loss, upper - 1e-6, 0.15).p > 0.05 - 1e-9
    wider = stats.betting_upper(loss, 0.15, 0.025, 0.05)
    assert wider >= upper - 1e-9


@settings(deadline=None)
@given(st.lists(LOSSES.filter(lambda v: len(v) >= 5).map(lambda v: v[:5]), min_size=1, max_size=5))
def test_betting_of_many_samples_at_once_is_one_at_a_time(samples):
    many = stats.betting_p(np.array(samples), 0.03, 0.15, 0.05)
    assert many.tolist() == [stats.betting(one, 0.03, 0.15).p for one in samples]


def test_betting_stability_is_a_report():
    assert stats.betting_stable([0.0] * 40, 0.03, 0.15)
    assert not stats.betting_stable([0.03] * 40, 0.03, 0.15)
    assert not stats.betting_stable([], 0.03, 0.15)


def test_betting_holds_where_the_t_test_does_not():
    # Skewed losses in 0..1 whose mean is on the border: most are near 0, few are large.
    random = np.random.default_rng(11)
    losses = np.minimum(random.gamma(0.2, 0.15, size=(4000, 30)), 1.0)
    border = float(np.minimum(random.gamma(0.2, 0.15, size=10**6), 1.0).mean())
    false = float((stats.betting_p(losses, border, 1.0, 0.05) <= 0.05).mean())
    assert false <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    t = np.mean([stats.paired_t(row, border).p <= 0.05 for row in losses[:1000]])
    assert t > 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


# T5, T6


def test_hoeffding_bentkus_by_hand():
    found = stats.hoeffding_bentkus(0.0, 10, 0.1)
    assert found.hoeffding == pytest.approx(0.9**10)
    assert found.bentkus == pytest.approx(math.e * 0.9**10)
    assert found.p == found.hoeffding
    # mean 0.05 of 40: n R = 2 exactly, in spite of binary fractions
    found = stats.hoeffding_bentkus(0.05, 40, 0.3)
    assert found.bentkus == pytest.approx(math.e * scipy_stats.binom.cdf(2, 40, 0.3))
    h1 = 0.05 * math.log(0.05 / 0.3) + 0.95 * math.log(0.95 / 0.7)
    assert found.hoeffding == pytest.approx(math.exp(-40 * h1))
    assert found.p == min(found.hoeffding, found.bentkus)
    assert stats.hoeffding_bentkus(0.5, 10, 0.1).p == 1.0
    assert stats.hoeffding_bentkus(0.0, 0, 0.1).p == 1.0
    guarded = stats.hoeffding_bentkus(0.1 + 0.2 - 0.2, 30, 0.3)  # 3.0000000000000004 must not become 4
    assert guarded.bentkus == pytest.approx(math.e * scipy_stats.binom.cdf(3, 30, 0.3))


def test_tail_meets_golden_07():
    case = golden("07_tail_binomial")
    for item, p, upper, certified in zip(case["input"]["items"], *case["expected"].values(), strict=True):
        found = stats.tail(*item, alpha=case["input"]["alpha"])
        assert (found.p, found.upper) == pytest.approx((p, upper), abs=case["tol"])
        assert (found.p <= found.alpha) is certified


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.05, 0.1, 0.3]))
def test_tail_is_scipys_and_its_bound_agrees_with_its_p(count, more, pi0):
    n = count + more
    found = stats.tail(count, n, pi0)
    assert found.p == pytest.approx(scipy_stats.binom.cdf(count, n, pi0), rel=1e-9)
    assert (found.p <= 0.05) == (found.upper <= pi0)
    if n:
        theirs = scipy_stats.binomtest(count, n, alternative="less").proportion_ci(0.95)
        assert found.upper == pytest.approx(theirs.high, rel=1e-6)
    if count == n:
        assert found.upper == 1.0


# All


def results() -> list:
    loss = [0.01, 0.02, 0.0, -0.01, 0.03]
    return [
        stats.paired_t(loss, 0.03),
        stats.tost(loss, 0.03),
        stats.welch(loss, loss),
        stats.observer_delta([0.9, 0.91, 0.92], [0.8, 0.8, 0.8]),
        stats.signed_rank(loss, 0.03),
        stats.bootstrap_t(loss, 0.03, 0.15),
        stats.bca(loss, 0.03, 0.15),
        stats.betting(loss, 0.03, 0.15),
        stats.hoeffding_bentkus(0.1, 10, 0.2),
        stats.tail(0, 30, 0.1),
        stats.fixed_sequence([0.01]),
        stats.intersection_union({"liver": [0.01]}),
        stats.shares({"a": [0.01]})["a"],
        stats.crc_gate([0.1, 0.2], [0, 0], 0.5),
        stats.design_effect([[0.1, 0.2], [0.3]]),
        stats.tukey_hsd(loss, loss[1:]),
        stats.cunha_rule(loss, loss, loss[1:], loss[1:]),
        stats.paired_ratio_test([2, 3, 4], [1, 2, 4]),
        stats.plan(0.03, 0.15, 0.1, 0.0, 0.02),
    ]


@pytest.mark.parametrize("result", results(), ids=lambda r: type(r).__name__)
def test_a_result_is_no_boolean_and_is_frozen(result):
    with pytest.raises(TypeError) as caught:
        bool(result)
    assert str(caught.value) == (
        f"{type(result).__name__} is neither true nor false: failing to certify is not a finding of harm; compare its p "
        "with alpha yourself"
    )
    first = (getattr(result, "_fields", None) or [field.name for field in dataclasses.fields(result)])[0]
    with pytest.raises(AttributeError):
        setattr(result, first, 0.0)


@settings(deadline=None)
@given(LOSSES, st.integers(1, 300))
def test_more_loss_never_helps(loss, shift):
    worse = [v + shift / 1000 for v in loss]
    before, after = (stats.paired_t(losses, 0.03).p for losses in (loss, worse))
    assert math.isnan(before) or after >= before - 1e-9
    assert stats.hodges_lehmann(worse) >= stats.hodges_lehmann(loss)
    assert stats.signed_rank(worse, 0.03).estimate >= stats.signed_rank(loss, 0.03).estimate
    counts = [sum(v > 0.15 for v in losses) for losses in (loss, worse)]
    assert stats.tail(counts[1], len(loss), 0.1).p >= stats.tail(counts[0], len(loss), 0.1).p


def test_every_public_name_of_the_specification_is_there():
    names = """loss paired_t signed_rank bootstrap_t hoeffding_bentkus betting betting_contrast tail minimum_n
    minimum_n_betting minimum_n_tail case_order contrast fixed_sequence holm bonferroni family intersection_union
    sample_size sample_size_tail gate_threshold tukey_hsd largest_level_above bd_rate"""
    assert [name for name in names.split() if name not in stats.__all__] == []
    assert [name for name in stats.__all__ if not hasattr(stats, name)] == []
