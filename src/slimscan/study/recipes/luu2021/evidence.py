"""Ratios over patients: the paper's paired t tests, and beside them the verdict of a contract that was fixed beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimscan.nouns import Contract, Verdict
from slimscan.stats import paired_ratio_test
from slimscan.study.judge import judge

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Improvement:
    """One coder over patients. original, diffused: median ratios. percent, percent_sd: mean and sample sd over patients of
    100 (diffused / original - 1). p, p_log: two-sided paired t on ratios and on their logarithms; NaN below two patients.
    """

    coder: str
    patients: int
    original: float
    diffused: float
    percent: float
    percent_sd: float
    p: float
    p_log: float


@dataclass(frozen=True)
class Against:
    """The best coder on diffused images against another: p of the paired t test on ratios and on logarithms."""

    coder: str
    other: str
    ratio: float
    other_ratio: float
    p: float
    p_log: float


def by_patient(rows: Sequence[Row], coder: str, image: str, key: str = "ratio") -> dict[str, float]:
    """One number a patient: the geometric mean of the ratios (the mean of anything else) over a patient's images."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["coder"] == coder and row["image"] == image:
            found.setdefault(row["patient"], []).append(float(row[key]))
    if key == "ratio":
        return {patient: _geometric(some) for patient, some in sorted(found.items())}
    return {patient: float(np.mean(some)) for patient, some in sorted(found.items())}


def _geometric(values: Sequence[float]) -> float:
    """The geometric mean; of one value that value to the last bit."""
    return values[0] if len(values) == 1 else math.exp(float(np.mean(np.log(values))))


def improvements(rows: Sequence[Row]) -> list[Improvement]:
    """Table 3 of the rows: one entry a coder, in the rows' order."""
    out = []
    for coder in dict.fromkeys(row["coder"] for row in rows):
        before, after = by_patient(rows, coder, "original"), by_patient(rows, coder, "diffused")
        patients = [one for one in before if one in after]
        a, b = (np.array([side[one] for one in patients]) for side in (before, after))
        percent = 100 * (b / a - 1)
        test = paired_ratio_test(b, a)
        sd = float(percent.std(ddof=1)) if len(patients) > 1 else math.nan
        out.append(Improvement(coder, len(patients), float(np.median(a)), float(np.median(b)), float(percent.mean()), sd, test.p, test.p_log))  # fmt: skip
    return out


def against(rows: Sequence[Row], best: str = "hevc-intra") -> list[Against]:
    """Section III.D.1's last test: HEVC on diffused images against every other coder on them."""
    mine = by_patient(rows, best, "diffused")
    out = []
    for coder in dict.fromkeys(row["coder"] for row in rows):
        other = by_patient(rows, coder, "diffused")
        patients = [one for one in mine if one in other]
        if coder == best or not patients:
            continue
        a, b = (np.array([side[one] for one in patients]) for side in (mine, other))
        test = paired_ratio_test(a, b)
        out.append(Against(best, coder, float(np.median(a)), float(np.median(b)), test.p, test.p_log))
    return out


def likeness(rows: Sequence[Row], threshold: float = 0.95, alpha: float = 0.05) -> Verdict:
    """Does SSIM stay above the paper's bar (0.95, section III.C) in the mean over patients?

    What is judged is the image that a reader gets: decoded from the diffused one. Coders that lose nothing share one
    entry, "exact". The verdict of slimscan's statistics: INSUFFICIENT_N below the fewest patients that could ever pass.
    """
    trials = []
    exact = {row["coder"] for row in rows if row["exact"]}
    groups = {"exact": sorted(exact)[:1], **{coder: [coder] for coder in dict.fromkeys(r["coder"] for r in rows) if coder not in exact}}  # fmt: skip
    for name, some in groups.items():
        for coder in some:
            values = by_patient(rows, coder, "diffused", "ssim_range")
            ratios = by_patient(rows, coder, "diffused")
            trials += [
                {"case": one, "codec": name, "level": "diffused", "value": value, "reference": 1.0, "metric": "ssim", "achieved_cr": ratios[one]}
                for one, value in values.items()
            ]  # fmt: skip
    names = dict.fromkeys(trial["codec"] for trial in trials)
    contract = Contract(
        margin="threshold",
        threshold=threshold,
        metric="ssim",
        alpha=alpha,
        mode="separate",
        levels={str(name): ("diffused",) for name in names},
    )
    return judge(trials, contract)


def least(verdict: Verdict) -> int:
    """The fewest patients with which the contract could ever be met, as the verdict counts them."""
    return max((found.needed_n or found.n for found in verdict.codecs.values()), default=0)
