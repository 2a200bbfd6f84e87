"""judge: a table and a contract in, a verdict out. Every code, every rule of the specification, every refusal."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import random as stdlib_random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan import stats
from slimscan.errors import InputError
from slimscan.nouns import Contract, Trial, Verdict
from slimscan.study import as_json, judge

GOLDEN = Path(__file__).parent / "golden"
CONTRACT = Contract(delta=0.03, bound=1.0)
INF, NAN = math.inf, math.nan
NOISE = np.random.default_rng(0).normal(0, 0.004, 400)


def table(losses: dict, n: int = 40, codec: str = "c", **extra) -> list[dict]:
    """Rows of n cases. losses: level -> mean loss, or a list of losses."""
    out = []
    for level, loss in losses.items():
        values = list(loss) if isinstance(loss, (list, np.ndarray)) else loss + NOISE[:n]
        for i, d in enumerate(values):
            row = {"case": f"P{i:03d}", "codec": codec, "level": level, "value": 0.9 - d, "reference": 0.9}
            out.append(row | {"achieved_cr": float(level) if isinstance(level, (int, float)) else 4.0} | extra)
    return out


def one(trials, contract: Contract = CONTRACT, codec: str = "c"):
    return judge(trials, contract).codecs[codec]


def pipeline() -> list[dict]:
    with (GOLDEN / "29_pipeline.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def strip(verdict: Verdict) -> dict:
    return json.loads(json.dumps(as_json(verdict), allow_nan=False))


# The whole pipeline


def test_the_pipeline_meets_golden_29():
    case = json.loads((GOLDEN / "29_pipeline.json").read_text())
    given = case["input"]
    contract = Contract(delta=given["delta"], cap=given["B"], pi0=given["pi0"], alpha=given["alpha"])
    verdict = judge(pipeline(), contract)
    codec = verdict.codecs["jpeg2000"]
    for level in codec.levels:
        expected, evidence = case["expected"]["per_level"][str(level.level)], level.evidence
        got = {
            "mean_loss": evidence.mean_loss,
            "worst_loss": evidence.worst_loss,
            "n_over_B": evidence.n_over_B,
            "p_t_cap": evidence.p_T1_cap,
            "p_wsr": evidence.p_T4,
            "p_tail": evidence.p_T6,
            "p_A": level.p_A,
            "naive_two_sided_p": evidence.naive_two_sided_p,
        }
        assert got == pytest.approx({name: expected[name] for name in got}, abs=case["tol"])
        assert level.certified is level.certified_A is expected["certified_A"]
    assert (codec.code, codec.level, codec.n) == ("CERTIFIED", case["expected"]["recommended_level"], 40)
    assert (codec.blocked_by, codec.blocked_p, codec.naive_level) == (64, 1.0, 8)
    at32 = codec.levels[2].achieved_cr
    ratios = [float(row["achieved_cr"]) for row in pipeline() if row["level"] == "32"]
    assert (at32.mean, at32.median, at32.min) == pytest.approx((np.mean(ratios), np.median(ratios), min(ratios)))
    assert (verdict.best, verdict.tied) == ("jpeg2000", ("jpeg2000",))


def test_the_evidence_is_what_the_statistics_say():
    rows = table({4: 0.005})
    evidence = one(rows).levels[0].evidence
    by_case = {row["case"]: round(row["reference"] - row["value"], 10) for row in rows}
    d = [by_case[case] for case in stats.case_order(by_case)]
    assert evidence.p_T4 == stats.betting(d, 0.03, 0.15).p
    assert evidence.p_T6 == stats.tail(0, 40, 0.10).p
    assert evidence.p_T1 == stats.paired_t(d, 0.03).p == evidence.p_C
    assert evidence.p_T2 == stats.signed_rank(d, 0.03).p
    assert evidence.p_T3 == stats.bootstrap_t(d, 0.03, 0.15).p
    assert evidence.p_A == max(evidence.p_T4, evidence.p_T6)
    assert evidence.p_B == max(evidence.p_T1_cap, evidence.p_T3, evidence.p_T6)
    assert math.isnan(evidence.p_A_star)  # 40 < 99 cases
    assert evidence.upper_T4 == stats.betting(d, 0.03, 0.15).upper
    assert evidence.upper_T6 == stats.tail(0, 40, 0.10).upper
    assert evidence.upper_cap == stats.betting_upper(d, 0.15, 0.025, 0.05)
    assert evidence.upper_tail == stats.tail_upper(0, 40, 0.025)
    assert evidence.implied_worst_raw_mean == pytest.approx(evidence.upper_cap + 0.85 * evidence.upper_tail)
    assert evidence.hl_loss == stats.hodges_lehmann(d)
    assert (evidence.worst_loss, by_case[evidence.worst_case]) == (max(d), max(d))
    assert one(rows, Contract(delta=0.03)).levels[0].evidence.implied_worst_raw_mean is None


# Codes


def test_every_code():
    def code(losses: dict, n: int = 40, contract: Contract = CONTRACT) -> tuple:
        found = one(table(losses, n), contract)
        return found.code, found.level, found.blocked_by

    assert code({4: 0.0, 8: 0.05}) == ("CERTIFIED", 4, 8)
    assert code({4: 0.0, 8: 0.0}) == ("ALL_CERTIFIED_GRID_EXHAUSTED", 8, None)
    assert code({4: 0.05, 8: 0.0}) == ("NONE_CERTIFIED", None, 4)
    assert code({4: 0.0, 8: 0.05}, n=10) == ("INSUFFICIENT_N", None, 4)
    assert code({4: 0.0}, n=28)[0] == "INSUFFICIENT_N"
    assert code({4: 0.0}, n=29)[0] == "ALL_CERTIFIED_GRID_EXHAUSTED"
    assert code({4: 0.0}, 40, Contract(delta=0.03, grade="C")) == ("NONE_CERTIFIED", None, 4)
    assert code({4: [0.01] * 40}, 40, Contract(delta=0.03, grade="C"))[0] == "DEGENERATE"


def test_too_few_cases_are_told_before_any_p_and_how_many_are_needed():
    found = one(table({4: 0.0, 8: 0.0}, n=10))
    assert (found.code, found.needed_n) == ("INSUFFICIENT_N", 29)
    evidence = found.levels[0].evidence
    assert all(math.isnan(p) for p in (evidence.p_T4, evidence.p_T6, evidence.p_A, evidence.p_B, evidence.p_T1))
    assert evidence.mean_loss == pytest.approx(float(NOISE[:10].mean()), abs=1e-9)

    def needed(contract: Contract, n: int = 4) -> int | None:
        return one(table({4: 0.0}, n), contract).needed_n

    assert needed(Contract(delta=0.03, pi0=0.05)) == 59
    assert needed(Contract(delta=0.03, pi0=0.5)) == 15  # there the betting test is the bottleneck
    assert needed(Contract(delta=0.03, grade="A*", bound=1.0)) == 99
    assert needed(Contract(delta=0.03, grade="B", pi0=0.5)) == 29
    assert needed(Contract(delta=0.03, grade="C"), n=2) == 3
    assert needed(Contract(margin="threshold", threshold=0.7, pi0=0.6)) == 5
    holm = one(table({4: 0.0, 8: 0.0}, n=29), Contract(delta=0.03, method="holm"))
    assert (holm.code, holm.needed_n) == ("INSUFFICIENT_N", stats.minimum_n_tail(0.10, 0.025))


def test_a_blocked_level_says_how_many_cases_would_do():
    found = one(table({4: [0.02, 0.01, 0.03, 0.00] * 10}, n=40), Contract(delta=0.018))
    assert found.code == "NONE_CERTIFIED"
    assert found.needed_n > 40
    assert one(table({4: 0.05})).needed_n is None  # no number of cases certifies a harmful level


def test_lossless_levels_need_no_test():
    exact = [row | {"identical": True} for row in table({2: [0.0] * 40})]
    lossy = [row | {"identical": False} for row in table({4: 0.05})]
    found = one(exact + lossy)
    assert (found.code, found.level, found.blocked_by) == ("LOSSLESS_ONLY", 2, 4)
    assert found.levels[0].flags == ("LOSSLESS",)
    assert math.isnan(found.levels[0].p_A)
    assert one(exact).code == "LOSSLESS_ONLY"
    good = one(exact + [row | {"identical": False} for row in table({4: 0.0})])
    assert (good.code, good.level) == ("ALL_CERTIFIED_GRID_EXHAUSTED", 4)
    few = one([row for row in exact + lossy if row["case"] < "P010"])
    assert (few.code, few.level, few.needed_n) == ("INSUFFICIENT_N", 2, 29)
    odd = one([row | {"identical": "true"} for row in table({2: 0.01})])
    assert odd.notes == ("level 2 is bit-identical and yet values differ: the task is not deterministic",)
    mixed = [*exact[:-1], exact[-1] | {"identical": False}]
    assert one(mixed).levels[0].flags == ()


def test_levels_are_never_ordered_by_what_they_scored():
    wrong = [row | {"achieved_cr": 10.0 - row["level"]} for row in table({4: 0.0, 8: 0.0})]
    found = one(wrong)
    assert (found.code, found.level, found.blocked_by) == ("ORDER_MISMATCH", None, None)
    assert not any(level.certified for level in found.levels)
    told = one(wrong, dataclasses.replace(CONTRACT, levels={"c": (8, 4)}))
    assert (told.code, told.level, [level.level for level in told.levels]) == (
        "ALL_CERTIFIED_GRID_EXHAUSTED",
        4,
        [8, 4],
    )
    unknown = one([{k: v for k, v in row.items() if k != "achieved_cr"} for row in table({4: 0.0})])
    assert unknown.notes == ("achieved_cr was not given: the order of levels could not be checked",)
    assert unknown.levels[0].achieved_cr is None


def test_levels_behind_a_failure_are_not_reached():
    found = one(table({4: 0.0, 8: 0.05, 16: 0.0}))
    assert [level.certified for level in found.levels] == [True, False, False]
    assert [level.reached for level in found.levels] == [True, True, False]
    assert found.levels[2].flags == ("NOT_REACHED",)
    assert found.levels[2].p_A <= 0.05
    # n = 80, so that Holm's first step can pass at all: 0.9^80 < 0.05 / 3
    holm = one(table({4: 0.0, 8: 0.05, 16: 0.0}, n=80), dataclasses.replace(CONTRACT, method="holm"))
    assert [level.certified for level in holm.levels] == [True, False, True]
    assert (holm.level, holm.levels[2].flags) == (16, ())
    bonferroni = one(table({4: 0.0, 8: 0.05, 16: 0.0}, n=80), dataclasses.replace(CONTRACT, method="bonferroni"))
    assert bonferroni.level == 16


def test_grades():
    rows = table({4: 0.0, 8: [0.0] * 36 + [0.2] * 4})  # 4 of 40 above B
    found = one(rows)
    assert (found.level, found.level_A, found.level_B) == (4, 4, 4)
    assert found.levels[1].evidence.n_over_B == 4
    # 0.15 is not more than 0.15, in spite of binary fractions
    assert one(table({4: [0.15] * 3 + [0.0] * 40})).levels[0].evidence.n_over_B == 0
    # s = 0 leaves t undefined; the betting test stands in and grade B does not fail
    flat = one(table({4: [0.01] * 40}))
    evidence = flat.levels[0].evidence
    assert math.isnan(evidence.p_T1_cap)
    assert evidence.p_B == evidence.p_A
    assert (flat.code, flat.level_B) == ("ALL_CERTIFIED_GRID_EXHAUSTED", 4)
    raw = one(table({4: 0.0}, n=200), dataclasses.replace(CONTRACT, grade="A*"))
    assert raw.code == "ALL_CERTIFIED_GRID_EXHAUSTED"
    assert raw.levels[0].p == raw.levels[0].evidence.p_A_star
    by_case = {row["case"]: round(0.9 - row["value"], 10) for row in table({4: 0.0}, n=200)}
    d = [by_case[case] for case in stats.case_order(by_case)]
    assert raw.levels[0].p == stats.betting(d, 0.03, 1.0).p


# Units, readers, folds, organs, metrics, codecs


def with_units(rows: list[dict], copies: int = 1) -> list[dict]:
    """Each row as slices whose mean is the row, one of them worse by 0.1; every slice `copies` times."""
    return [
        row | {"unit": f"s{k}-{copy}", "value": row["value"] + shift}
        for row in rows
        for k, shift in enumerate((0.05, -0.1, 0.05))
        for copy in range(copies)
    ]


def test_slices_are_averaged_inside_the_case_and_never_n():
    rows = table({4: 0.005, 8: 0.02})
    whole, sliced = one(rows), one(with_units(rows))
    for a, b in zip(whole.levels, sliced.levels, strict=True):
        assert b.n == 40
        assert b.evidence.p_A == pytest.approx(a.evidence.p_A, rel=1e-6)
        assert b.evidence.units == 120
    assert sliced.levels[0].evidence.design_effect == pytest.approx(1 + 2 * sliced.levels[0].evidence.icc)
    assert math.isnan(whole.levels[0].evidence.icc)
    worst = one(with_units(rows), dataclasses.replace(CONTRACT, tail_unit="worst", cap=0.09))
    assert worst.levels[0].evidence.n_over_B > 20  # the worst slice counts
    assert worst.levels[0].evidence.p_T4 == pytest.approx(
        one(rows, Contract(delta=0.03, cap=0.09)).levels[0].evidence.p_T4
    )


def test_duplicated_and_renamed_units_change_nothing():
    rows = table({4: 0.005, 8: 0.02})
    once, twice = one(with_units(rows)), one(with_units(rows, copies=2))
    renamed = [row | {"unit": f"x{row['unit'][::-1]}"} for row in with_units(rows)]
    for other in (twice, one(renamed)):
        for a, b in zip(once.levels, other.levels, strict=True):
            for name in (
                "p_T1",
                "p_T2",
                "p_T1_cap",
                "p_T3",
                "p_T4",
                "p_T6",
                "mean_loss",
                "worst_loss",
                "naive_two_sided_p",
            ):
                assert getattr(a.evidence, name) == getattr(b.evidence, name), name


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(-300, 300), min_size=30, max_size=36))
def test_the_order_of_rows_changes_nothing(random, thousandths):
    rows = with_units(table({4: [k / 1000 for k in thousandths], 8: [k / 900 for k in thousandths]}))
    rows = [row | {"organ": organ} for row in rows for organ in ("liver", "tumour")]
    shuffled = list(rows)
    random.shuffle(shuffled)
    contract = Contract(delta=0.03, cap=0.2)
    first, second = strip(judge(rows, contract)), strip(judge(shuffled, contract))
    assert first == second
    for codec in first["codecs"].values():
        for level in codec["levels"]:
            for name, p in level["evidence"].items():
                assert not name.startswith("p_") or p is None or 0 <= p <= 1


def test_every_organ_must_pass_and_the_limiting_one_is_named():
    good, bad = table({4: 0.0, 8: 0.0}), table({4: 0.0, 8: 0.06})
    rows = [row | {"organ": "liver"} for row in good] + [row | {"organ": "tumour"} for row in bad]
    found = one(rows)
    assert (found.level, found.levels[1].limiting, set(found.levels[1].organs)) == (4, "tumour", {"liver", "tumour"})
    assert found.levels[1].p_A == found.levels[1].organs["tumour"].p_A
    verdict = judge(rows, dataclasses.replace(CONTRACT, organs=("liver",)))
    assert verdict.codecs["c"].level == 8
    assert verdict.notes == ("rows of tumour were left out: not co-primary in the contract",)


def test_an_organ_that_is_absent_drops_the_case_and_is_counted():
    rows = [row | {"organ": organ} for row in table({4: 0.0, 8: 0.0}) for organ in ("liver", "tumour")]
    gone = [
        row | {"reference": NAN, "value": NAN} if row["organ"] == "tumour" and row["case"] < "P005" else row
        for row in rows
    ]
    level = one(gone).levels[0]
    assert (level.organs["tumour"].n, level.organs["tumour"].dropped, level.organs["liver"].dropped) == (35, 5, 0)
    assert one(gone).n == 35
    nowhere = [row | {"reference": NAN} if row["organ"] == "tumour" else row for row in rows]
    assert one(nowhere).code == "DEGENERATE"


def test_readers_are_averaged_or_each_must_pass():
    rows = []
    for reader, by in (("ann", 0.0), ("bob", 0.045)):
        rows += [row | {"reader": reader} for row in table({4: by})]
    mean = judge(rows, CONTRACT)
    assert mean.codecs["c"].levels[0].evidence.mean_loss == pytest.approx(0.0225 + NOISE[:40].mean(), abs=1e-9)
    assert mean.notes == ("inference is for these readers only",)
    every = judge(rows, dataclasses.replace(CONTRACT, readers="every")).codecs["c"]
    assert (every.code, every.levels[0].limiting) == ("NONE_CERTIFIED", "reader bob")
    third = rows + [row | {"reader": "cleo"} for row in table({4: 0.0})]
    evidence = judge(third, CONTRACT).codecs["c"].levels[0].evidence
    assert evidence.p_leave_one_reader_out > evidence.p_A
    assert math.isnan(mean.codecs["c"].levels[0].evidence.p_leave_one_reader_out)


def test_folds_that_disagree_are_flagged():
    rows = table({4: [0.0] * 20 + [0.05] * 20})
    folded = [row | {"fold": "1" if row["case"] < "P020" else "2"} for row in rows]
    verdict = judge(folded, CONTRACT)
    level = verdict.codecs["c"].levels[0]
    assert level.flags == ("MODEL_HETEROGENEOUS",)
    assert dict(level.evidence.folds) == pytest.approx({"1": 0.0, "2": 0.05})
    assert verdict.notes == ("cases of a fold share a model: inference is conditional on the trained models",)
    calm = [row | {"fold": str(int(row["case"][1:]) % 2)} for row in rows]
    assert judge(calm, CONTRACT).codecs["c"].levels[0].flags == ()
    torn = [row | {"fold": str(i % 2)} for i, row in enumerate(table({4: 0.0, 8: 0.0}, n=3))]
    with pytest.raises(InputError) as caught:
        judge(torn, CONTRACT)
    assert str(caught.value) == "trials: case P000 lies in two folds; a case belongs to one"


def test_metrics_with_margins_of_their_own_must_all_hold():
    dice = [row | {"metric": "dice"} for row in table({4: 0.0, 8: 0.0})]
    far = [
        row | {"metric": "hd", "reference": 2.0, "value": 2.0 + (0.1 if row["level"] == 4 else 3.0)}
        for row in table({4: 0.0, 8: 0.0})
    ]
    distance = Contract(delta=1.0, direction="lower", metric="hd")
    found = one(dice + far, dataclasses.replace(CONTRACT, metric="dice", also=(distance,)))
    assert (found.level, found.levels[1].limiting) == (4, "hd")
    assert set(found.levels[0].organs) == {"dice", "hd"}
    assert found.levels[0].organs["hd"].mean_loss == pytest.approx(0.1)
    assert one(dice + far, dataclasses.replace(CONTRACT, metric="dice")).level == 8
    with pytest.raises(InputError) as caught:
        judge(dice + far, CONTRACT)
    assert str(caught.value) == 'trials: no row of metric ""; came: dice, hd; set contract.metric'


def test_codecs_share_alpha_and_a_finished_one_passes_it_on():
    # n = 29: the tail p is 0.047, which passes at 0.05 and not at 0.025.
    a, b = table({4: 0.0}, n=60, codec="a"), table({4: 0.0, 8: 0.0}, n=29, codec="b")
    verdict = judge(a + b, CONTRACT)
    assert (verdict.codecs["a"].alpha, verdict.codecs["b"].alpha) == (0.025, 0.05)
    assert verdict.codecs["b"].code == "ALL_CERTIFIED_GRID_EXHAUSTED"
    stuck = judge(table({4: 0.05}, n=60, codec="a") + b, CONTRACT)
    assert (stuck.codecs["b"].code, stuck.codecs["b"].needed_n) == ("INSUFFICIENT_N", 36)
    assert stats.minimum_n_tail(0.10, 0.025) < 37
    apart = judge(table({4: 0.05}, n=60, codec="a") + b, dataclasses.replace(CONTRACT, mode="separate"))
    assert apart.codecs["b"].code == "ALL_CERTIFIED_GRID_EXHAUSTED"
    assert (apart.best, apart.tied) == (None, ())


def test_the_best_codec_is_the_largest_median_ratio_and_ties_are_said():
    def rows(codec: str, factor: float) -> list[dict]:
        return [row | {"achieved_cr": factor * row["level"]} for row in table({4: 0.0, 8: 0.0}, n=60, codec=codec)]

    verdict = judge(rows("a", 1.0) + rows("b", 1.04) + rows("c", 0.9), CONTRACT)
    assert (verdict.best, verdict.tied) == ("b", ("a", "b"))
    none = judge(table({4: 0.05}), CONTRACT)
    assert (none.best, none.tied) == (None, ())


def test_achieved_ratios_count_every_case_once_and_all_bytes():
    rows = [
        row | {"raw_bytes": 1000.0 * (1 + (row["case"] < "P010")), "encoded_bytes": 100.0, "organ": organ}
        for row in table({4: 0.0})
        for organ in ("a", "b")
    ]
    for row in rows:
        del row["achieved_cr"]
    found = one(rows).levels[0].achieved_cr
    assert (found.mean, found.median, found.min, found.total) == pytest.approx((12.5, 10.0, 10.0, 50_000 / 4000))


# Margins


def test_margins_become_one_contrast():
    rows = [row | {"observer": 0.85} for row in table({4: 0.01})]
    d = 0.01 + NOISE[:40]
    for contract, expected in (
        (Contract(margin="relative", rho=0.05), d - 0.045),
        (Contract(margin="threshold", threshold=0.85), d - 0.05),
        (Contract(margin="observer"), d - 0.05),
    ):
        level = one(rows, contract).levels[0]
        assert level.evidence.mean_loss == pytest.approx(expected.mean(), abs=1e-9)
        assert (level.evidence.null, level.evidence.B) == (0.0, 0.15)
        assert level.certified
        by_case = dict(zip([f"P{i:03d}" for i in range(40)], np.round(expected, 10), strict=True))
        order = [by_case[case] for case in stats.case_order(by_case)]
        assert level.evidence.p_T4 == pytest.approx(stats.betting_contrast(order, 0.15).p, rel=1e-6)
    for row in rows:
        del row["reference"]
    level = one(rows, Contract(margin="threshold", threshold=0.85)).levels[0]
    assert level.certified
    assert math.isnan(level.evidence.naive_two_sided_p)


def test_lower_is_better_and_an_infinite_distance_is_data():
    rows = [
        {"case": f"P{i}", "codec": "c", "level": 4, "value": 2.1, "reference": 2.0, "achieved_cr": 4} for i in range(60)
    ]
    contract = Contract(delta=1.0, direction="lower")
    assert one(rows, contract).code == "ALL_CERTIFIED_GRID_EXHAUSTED"
    rows[7]["value"] = INF
    evidence = one(rows, contract).levels[0].evidence
    assert (evidence.n, evidence.n_over_B, evidence.worst_case, evidence.worst_loss) == (60, 1, "P7", INF)
    assert evidence.mean_loss == INF
    assert evidence.p_A < 0.05 < evidence.p_A + 1
    assert as_json(evidence)["mean_loss"] == "inf"
    assert math.isnan(evidence.p_T1)


# Missing and wrong rows


def test_a_missing_row_is_an_error_unless_declared_worst():
    rows = [row for row in table({4: 0.0, 8: 0.0}) if (row["case"], row["level"]) != ("P007", 8)]
    with pytest.raises(InputError) as caught:
        judge(rows, CONTRACT)
    assert str(caught.value) == (
        "trials: 1 values are missing, first: case P007, codec c, level 8; a failed prediction is data "
        '(Dice 0, distance inf); run what is missing, or declare missing="worst"'
    )
    found = one(rows, dataclasses.replace(CONTRACT, missing="worst")).levels[1].evidence
    assert (found.n, found.worst_case, found.worst_loss, found.n_over_B) == (40, "P007", 0.9, 1)  # min(1, 0.9 - 0)
    unbounded = one(rows, Contract(delta=0.03, missing="worst")).levels[1].evidence
    assert (unbounded.worst_loss, unbounded.n_over_B) == (INF, 1)
    empty = [
        row | {"value": None} if row["case"] == "P007" and row["level"] == 8 else row for row in table({4: 0.0, 8: 0.0})
    ]
    assert strip(judge(empty, dataclasses.replace(CONTRACT, missing="worst"))) == strip(
        judge(rows, dataclasses.replace(CONTRACT, missing="worst"))
    )


def test_a_case_without_an_organs_rows_or_a_slice_less_is_missing():
    rows = [row | {"organ": organ} for row in table({4: 0.0}) for organ in ("liver", "tumour")]
    short = [row for row in rows if (row["case"], row["organ"]) != ("P003", "tumour")]
    with pytest.raises(InputError) as caught:
        judge(short, CONTRACT)
    assert str(caught.value).startswith(
        "trials: 1 values are missing, first: case P003, codec c, level 4, organ tumour;"
    )
    worst = one(short, dataclasses.replace(CONTRACT, missing="worst")).levels[0].organs["tumour"]
    assert (worst.n, worst.worst_case, worst.worst_loss) == (40, "P003", 1.0)
    slices = with_units(table({4: 0.0, 8: 0.0}))
    with pytest.raises(InputError) as caught:
        judge(slices[:-1], CONTRACT)
    assert "1 values are missing, first: case P039, codec c, level 8" in str(caught.value)


def first_row(**change) -> list[dict]:
    rows = table({4: 0.0, 8: 0.0})
    rows[0] |= change
    return rows


@pytest.mark.parametrize(
    ("trials", "contract", "message"),
    [
        ([], CONTRACT, "trials: no rows; a verdict needs at least one case at one level"),
        (
            [{"case": "a", "codec": "c", "level": 1}],
            CONTRACT,
            "trials: column value is missing; required: case, codec, level, value; came: case, codec, level",
        ),
        ({"case": [], "codec": [], "level": [], "value": []}, CONTRACT, "trials: no rows; a verdict needs at least one case at one level"),
        (
            {"case": ["a"], "codec": ["c"], "level": [1], "value": [1.0, 2.0]},
            CONTRACT,
            "trials: columns of different lengths: case 1, codec 1, value 2, level 1",
        ),
        (7, CONTRACT, "trials: want rows (mappings), columns, or a table; got int"),
        ([7], CONTRACT, "trials: want each row as a mapping or a Trial; got int"),
        (first_row(case=""), CONTRACT, "trials: row 0 has no case; every row needs one"),
        (first_row(level=None), CONTRACT, "trials: row 0 has no level; want the nominal setting, a number or a name"),
        (first_row(value="high"), CONTRACT, 'trials: row 0 has value "high"; want a number, or nothing when absent'),
        (first_row(identical="maybe"), CONTRACT, 'trials: identical "maybe"; want true or false'),
        (
            first_row(value=INF),
            CONTRACT,
            "trials: c: an infinitely good value came (direction higher); check it",
        ),
        (
            first_row(value=-0.3),
            CONTRACT,
            "trials: a loss of 1.2 is above the declared bound 1; correct it",
        ),
        (
            table({4: 0.0}) + table({4: 0.0})[:1],
            CONTRACT,
            "trials: two rows for case P000, codec c, level 4; each case, level, organ, reader and unit comes once",
        ),
        (
            first_row(achieved_cr=-1.0),
            CONTRACT,
            "trials: c: achieved_cr -1; want original/compressed bytes above 0",
        ),
        (
            first_row(level="mild"),
            CONTRACT,
            "c: levels [4, 8, 'mild'] have names; give their order in the contract, mildest first",
        ),
        (
            table({4: 0.0, 8: 0.0}),
            dataclasses.replace(CONTRACT, levels={"c": (4, 16)}),
            "c: the contract names levels [4, 16], the rows have [4, 8]; levels added or dropped after looking are a new "
            "family and need fresh cases",
        ),
        (
            table({4: 0.0}),
            dataclasses.replace(CONTRACT, levels={"x": (4,)}),
            'trials: no row of codec "x", which the contract names; came: c',
        ),
        (
            table({4: 0.0}, organ="liver"),
            dataclasses.replace(CONTRACT, organs=("spleen",)),
            'trials: no row of organ "spleen", which the contract names; came: liver',
        ),
        (
            [{k: v for k, v in row.items() if k != "reference"} for row in table({4: 0.0})],
            CONTRACT,
            "trials: a margin of kind absolute needs the column reference; none came",
        ),
        (
            table({4: 0.0}),
            Contract(margin="observer"),
            "trials: a margin of kind observer needs the column observer; none came",
        ),
        (
            [row | {"observer": 0.9 if i else None} for i, row in enumerate(table({4: 0.0}))],
            Contract(margin="observer"),
            "trials: observer is empty in some rows; the margin observer needs it for every case",
        ),
        (
            [row | {"raw_bytes": 10, "encoded_bytes": 0} for row in table({4: 0.0})],
            CONTRACT,
            "trials: c: encoded_bytes 0; want numbers above 0",
        ),
        (
            table({4: 0.0}),
            dataclasses.replace(CONTRACT, also=(CONTRACT,)),
            "contract: metrics , : each co-primary metric needs a name of its own",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_in_one_line(trials, contract, message):
    with pytest.raises(InputError) as caught:
        judge(trials, contract)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "contract: margin absolute needs delta, a number fixed beforehand; none came"),
        ({"margin": "relative"}, "contract: margin relative needs rho, a number fixed beforehand; none came"),
        ({"margin": "threshold"}, "contract: margin threshold needs threshold, a number fixed beforehand; none came"),
        ({"delta": -0.1}, "contract: delta -0.1 is not allowed; want a finite number above 0"),
        ({"delta": 0.03, "cap": INF}, "contract: cap inf is not allowed; want a finite number above 0"),
        ({"delta": 0.03, "cap": 0.03}, "contract: delta 0.03 is not below B = 0.03 (the cap, or the bound)"),
        ({"delta": 2.0, "bound": 1.0}, "contract: delta 2 is not below B = 1 (the cap, or the bound)"),
        ({"delta": 0.03, "alpha": 0.0}, "contract: alpha 0 is outside 0..1 (both ends excluded)"),
        ({"delta": 0.03, "pi0": 1.0}, "contract: pi0 1 is outside 0..1 (both ends excluded)"),
        ({"margin": "relative", "rho": 1.5}, "contract: rho 1.5 is outside 0..1 (both ends excluded)"),
        ({"margin": "threshold", "threshold": INF}, "contract: threshold inf is not allowed; want a finite number"),
        ({"delta": 0.03, "mode": "both"}, 'contract: mode "both" is not known; allowed: family separate'),
        (
            {"delta": 0.03, "grade": "A*"},
            "contract: grade A* certifies the raw mean and needs bound, the largest possible loss",
        ),
    ],
)
def test_a_contract_that_says_nothing_is_refused(words, message):
    with pytest.raises(InputError) as caught:
        Contract(**words)
    assert str(caught.value) == message


def test_a_contract_knows_its_cap():
    assert pytest.approx(0.15) == Contract(delta=0.03).B
    assert Contract(delta=0.3, bound=1.0).B == 1.0
    assert Contract(delta=0.03, cap=0.1).B == 0.1
    assert Contract(margin="observer").B == 0.15
    assert Contract(margin="threshold", threshold=0.7).null == 0.0


# Forms of a table, forms of a verdict


class Frame:
    """The shape of a data frame, as pandas and polars have it."""

    def __init__(self, rows: list[dict]) -> None:
        self.columns = list(rows[0])
        self._rows = rows

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array([row[name] for row in self._rows])


def test_every_form_of_a_table_gives_the_same_verdict():
    rows = table({4: 0.0, 8: 0.02})
    trials = [Trial(**row) for row in rows]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {name: np.array(column) for name, column in columns.items()}
    texts = [{name: str(value) for name, value in row.items()} for row in rows]
    expected = strip(judge(rows, CONTRACT))
    for form in (trials, columns, arrays, texts, pa.table(columns), Frame(rows), iter(rows), tuple(rows)):
        assert strip(judge(form, CONTRACT)) == expected


def test_a_verdict_is_plain_json_and_the_same_every_time():
    rows = pipeline()
    first, second = (json.dumps(as_json(judge(rows, CONTRACT)), allow_nan=False) for _ in range(2))
    assert first == second
    stdlib_random.Random(1).shuffle(rows)
    shuffled = json.dumps(as_json(judge(rows, CONTRACT)), allow_nan=False)
    assert shuffled == first
    said = json.loads(first)
    assert said["contract"]["delta"] == 0.03
    assert said["codecs"]["jpeg2000"]["level"] == 32
    assert as_json({"x": (1, np.float64(0.5), np.array([NAN, -INF]), None, True)}) == {
        "x": [1, 0.5, [None, "-inf"], None, True]
    }
    with pytest.raises(InputError) as caught:
        as_json({1, 2})
    assert str(caught.value) == "a set has no plain form; want dataclasses, mappings, lists, texts or numbers"


def test_a_verdict_is_no_boolean():
    verdict = judge(table({4: 0.0}), CONTRACT)
    codec = verdict.codecs["c"]
    for noun in (verdict, codec, codec.levels[0], codec.levels[0].evidence):
        with pytest.raises(TypeError) as caught:
            bool(noun)
        assert str(caught.value) == (
            f"{type(noun).__name__} is neither true nor false: failing to certify is not a finding of harm; read its code "
            "and level"
        )


@pytest.mark.slow
def test_the_verdict_keeps_its_word_in_simulated_studies(capsys):
    import runpy

    script = Path(__file__).resolve().parents[1] / "benchmarks" / "verdict_simulation.py"
    kept = runpy.run_path(str(script))["run"](runs=200, studies=50, power_runs=40, sizes=(40,), workers=1)
    assert kept, capsys.readouterr().out
