"""What the rows say: tolerance as in the paper, slimscan's verdicts, and paired differences with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slimscan.errors import InputError
from slimscan.nouns import Contract
from slimscan.stats import paired_t
from slimscan.study.experiments.plan import CLEAN, share_text, shares_of
from slimscan.study.experiments.words import Experiment, ratio_text
from slimscan.study.judge import judge
from slimscan.study.plain import as_json

Row = Mapping[str, Any]
EQUAL = "all compressed - few clean, equal bytes"  # within a tenth
UNEQUAL = "all compressed - few clean, bytes not equal"  # whole patients, or a codec that ended before the ratio
INTERVAL = "Student's t over patients, 95 %, two-sided"


class Scores:
    """The DSC of every (network, trained, tested), by case and class."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.of: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            self.of.setdefault((row["network"], row["trained"], row["tested"]), []).append(row)

    def rows(self, network: str, trained: str, tested: str) -> list[Row]:
        """Empty when it was not measured."""
        return self.of.get((network, trained, tested), [])

    def by_patient(self, network: str, trained: str, tested: str, name: str) -> dict[str, float]:
        """The mean DSC of a class over each patient's cases; those where it is not defined are left out."""
        some: dict[str, list[float]] = {}
        for row in self.rows(network, trained, tested):
            if row["class"] == name and math.isfinite(row["dsc"]):
                some.setdefault(row["patient"], []).append(row["dsc"])
        return {patient: float(np.mean(values)) for patient, values in sorted(some.items())}

    def mean(self, network: str, trained: str, tested: str, name: str) -> float:
        """Over patients; NaN for none."""
        values = list(self.by_patient(network, trained, tested, name).values())
        return float(np.mean(values)) if values else math.nan


def tolerance(means: Mapping[float, float], threshold: float) -> float | None:
    """The highest ratio with a mean of at least the threshold (El Khoury 2021, section 3.1); None for none."""
    return max((ratio for ratio, mean in means.items() if mean >= threshold), default=None)


def up_to(means: Mapping[float, float], threshold: float) -> float | None:
    """The highest ratio up to which every tested one has such a mean; None when the mildest has not."""
    found = None
    for ratio in sorted(means):
        if not means[ratio] >= threshold:
            break
        found = ratio
    return found


def verdicts(experiment: Experiment, rows: Sequence[Row]) -> dict[str, Any]:
    """verdicts.json: by "network/trained" the verdict and tolerances of a network over the ratios that it was tested at.

    "network/each" and "network/1+each": networks trained, or fine-tuned, at each ratio and tested at the same; the
    reference is the clean network on uncompressed images, as far as that was measured. Each key is a question of its own.
    Beside them "differences" and "best_to_train_at".
    """
    scores = Scores(rows)
    out: dict[str, Any] = {}
    ratios = [ratio_text(ratio) for ratio in experiment.ratios]
    for net in experiment.networks:
        names = dict.fromkeys(trained for network, trained, _ in scores.of if network == net.name)
        for trained in names:
            if not trained.startswith("few:"):
                out[f"{net.name}/{trained}"] = _one(
                    experiment, scores, net.name, dict.fromkeys(ratios, trained), trained
                )
        for key, form in (("each", "{}"), ("1+each", "1+{}")):
            own = [ratio for ratio in ratios[1:] if scores.rows(net.name, form.format(ratio), ratio)]
            if own and scores.rows(net.name, CLEAN, CLEAN):
                line = {CLEAN: CLEAN, **{ratio: form.format(ratio) for ratio in own}}
                out[f"{net.name}/{key}"] = _one(experiment, scores, net.name, line, CLEAN)
    return {
        **{key: value for key, value in out.items() if value is not None},
        "differences": differences(experiment, scores),
        "best_to_train_at": best(experiment, scores),
    }


def _one(
    experiment: Experiment,
    scores: Scores,
    network: str,
    line: Mapping[str, str],
    reference: str,
) -> dict[str, Any] | None:
    """The verdict of a line, ratio -> training, mildest first; None when it was tested at no ratio above 1."""
    threshold = experiment.said["experiments"]["threshold"]
    tested = [ratio for ratio in line if scores.rows(network, line[ratio], ratio)]
    means = {
        name: {float(ratio): scores.mean(network, line[ratio], ratio, name) for ratio in tested}
        for name in experiment.classes
    }
    found: dict[str, Any] = {
        "tolerance": {name: tolerance(some, threshold) for name, some in means.items()},
        "up_to": {name: up_to(some, threshold) for name, some in means.items()},
        "mean_dsc": {name: {ratio_text(r): _number(mean) for r, mean in some.items()} for name, some in means.items()},
        "threshold": threshold,
    }
    before = {(row["case"], row["class"]): row["dsc"] for row in scores.rows(network, reference, CLEAN)}
    above = [ratio for ratio in tested if ratio != CLEAN]
    if not above:
        return None
    if not before:
        return found | {"code": None, "certified_ratio": None, "why": "no score on uncompressed images"}
    trials = [
        _trial(experiment, row, float(ratio), before)
        for ratio in above
        for row in scores.rows(network, line[ratio], ratio)
    ]
    return found | _verdict(experiment, trials, [float(ratio) for ratio in above])


def _trial(experiment: Experiment, row: Row, ratio: float, before: Mapping[Any, float]) -> dict[str, Any]:
    codec = experiment.said["copies"]["codec"]
    size = "ratio_payload" if experiment.said["copies"]["size"] == "payload" else "ratio_achieved"
    value, reference = row["dsc"], before[row["case"], row["class"]]
    if math.isnan(value) and not math.isnan(reference):  # nothing is there and nothing was drawn any more
        value = 1.0
    return {
        "case": row["patient"], "unit": "" if row["case"] == row["patient"] else row["case"], "codec": codec,
        "level": ratio, "value": value, "reference": reference, "organ": row["class"], "metric": "dice",
        "achieved_cr": row[size], "fold": str(row["fold"]),
    }  # fmt: skip


def _verdict(experiment: Experiment, trials: Sequence[Mapping[str, Any]], levels: Sequence[float]) -> dict[str, Any]:
    said, codec = experiment.said["contract"], experiment.said["copies"]["codec"]
    contract = Contract(
        delta=said["delta"], cap=said["cap"], pi0=said["pi0"], alpha=said["alpha"], bound=1.0, metric="dice",
        mode="separate", levels={codec: tuple(levels)},
    )  # fmt: skip
    try:
        one = judge(trials, contract).codecs[codec]
    except InputError as error:
        return {"code": None, "certified_ratio": None, "why": str(error)}
    told = [
        {
            "ratio": level.level, "certified": level.certified, "p": level.p, "n": level.n, "limiting": level.limiting,
            "mean_loss": {name: part.mean_loss for name, part in level.organs.items()},
            "bound": max(part.upper_T4 for part in level.organs.values()),
            "tail_bound": max(part.upper_T6 for part in level.organs.values()),
            "achieved_median": level.achieved_cr.median if level.achieved_cr else None,
        }
        for level in one.levels
    ]  # fmt: skip
    bound = next((level["bound"] for level in told if level["ratio"] == one.level), None)
    plain: dict[str, Any] = as_json(
        {
            "code": one.code, "certified_ratio": one.level, "bound": bound, "delta": contract.delta, "cap": contract.B,
            "alpha": contract.alpha, "pi0": contract.pi0, "n": one.n, "needed_n": one.needed_n, "grade": contract.grade,
            "blocked_by": one.blocked_by, "level_B": one.level_B, "levels": told, "notes": list(one.notes),
        }
    )  # fmt: skip
    return plain


def differences(experiment: Experiment, scores: Scores) -> list[dict[str, Any]]:
    """Paired differences of DSC over patients: 3D - 2D, fine-tuned - clean, trained at a ratio - clean, full - few.

    Of the last train_bytes says what the images of either side took, mean over rows; it is "equal" within a tenth.
    """
    ratios = [ratio_text(ratio) for ratio in experiment.ratios]
    flat = [net.name for net in experiment.networks if net.spec.dims == 2]
    deep = [net.name for net in experiment.networks if net.spec.dims == 3]
    pairs: list[tuple[str, tuple[str, str, str], tuple[str, str, str]]] = []
    for ratio in ratios:
        pairs += [("3D - 2D", (b, CLEAN, ratio), (a, CLEAN, ratio)) for a in flat for b in deep]
        for net in (one.name for one in experiment.networks):
            for trained in ratios[1:]:
                pairs.append(("fine-tuned - clean", (net, f"1+{trained}", ratio), (net, CLEAN, ratio)))
            pairs.append(("trained at it - clean", (net, ratio, ratio), (net, CLEAN, CLEAN)))
    for net in (one.name for one in experiment.networks):
        for ratio in ratios[1:]:
            pairs.append(("trained at it, tested clean - clean", (net, ratio, CLEAN), (net, CLEAN, CLEAN)))
            few = next(
                (share_text(s) for s in shares_of(experiment) if math.isclose(s, 1 / float(ratio), rel_tol=0.02)), ""
            )
            pairs.append((EQUAL, (net, ratio, CLEAN), (net, few, CLEAN)))
    out = []
    for what, one, other in dict.fromkeys(pairs):
        if one == other or not scores.rows(*one) or not scores.rows(*other):
            continue
        for name in experiment.classes:
            a, b = scores.by_patient(*one, name), scores.by_patient(*other, name)
            both = [patient for patient in a if patient in b]
            if both:
                gap = interval([a[patient] - b[patient] for patient in both])
                told = what
                if what == EQUAL:
                    sizes = [float(np.mean([row["train_bytes"] for row in scores.rows(*key)])) for key in (one, other)]
                    gap |= {"train_bytes": sizes}
                    told = what if 0.9 < sizes[1] / sizes[0] < 1.1 else UNEQUAL
                out.append(
                    {"what": told, "class": name, "of": _said(one), "against": _said(other), **gap, "method": INTERVAL}
                )
    return out


def interval(values: Sequence[float]) -> dict[str, Any]:
    """mean, low, high, n of a mean's 95 % t interval; low and high None below three values or when all are the same."""
    up = paired_t(values, 0.0, 0.025)
    reach = up.upper - up.estimate
    return {"mean": up.estimate, "low": _number(up.estimate - reach), "high": _number(up.estimate + reach), "n": up.n}


def best(experiment: Experiment, scores: Scores) -> dict[str, Any]:
    """Experiment c: by network and class, the training whose mean DSC holds up to the highest ratio (section 3.3).

    Among equals the one with the higher mean over the ratios that hold. None when none holds anywhere.
    """
    threshold = experiment.said["experiments"]["threshold"]
    ratios = [ratio_text(ratio) for ratio in experiment.ratios]
    out: dict[str, Any] = {}
    for net in experiment.networks:
        tuned = [
            f"1+{ratio}"
            for ratio in ratios[1:]
            if len([r for r in ratios if scores.rows(net.name, f"1+{ratio}", r)]) > 1
        ]
        for name in experiment.classes if tuned else ():
            ranked = []
            for trained in tuned:
                means = {
                    float(r): scores.mean(net.name, trained, r, name)
                    for r in ratios
                    if scores.rows(net.name, trained, r)
                }
                holds = up_to(means, threshold)
                if holds is not None:
                    held = float(np.mean([mean for ratio, mean in means.items() if ratio <= holds]))
                    ranked.append((holds, held, trained))
            top = max(ranked, default=None)
            found = None if top is None else {"trained": top[2], "ratio": float(top[2][2:]), "holds_up_to": top[0]}
            out.setdefault(net.name, {})[name] = found
    return out


def _said(one: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("network", "trained", "tested"), one, strict=True))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
