"""Is the papers' order confirmed or denied: paired differences, quotients and tolerances with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from slimscan.report.experiments_block import Block, Series, interval, organs, times, within
from slimscan.report.experiments_read import MEAN, Found, Scores, Training
from slimscan.report.experiments_stats import (
    BAR,
    Estimate,
    average,
    crossed_ratio,
    decided,
    difference,
    loss_ratio,
    mean,
    paired,
)
from slimscan.report.numbers import listed, plural
from slimscan.study.recipes.elkhoury2021_paper import TRAIN_AT


def whole(found: Found, series: Series) -> Mapping[str, float]:
    """DSC averaged over classes and all ratios tested, by patient."""
    return average(list(series.columns(found, MEAN).values()))


def held(found: Found, series: Series) -> float | None:
    """The highest ratio up to which no class has a mean below 0.7."""
    held = None
    for ratio in series.ratios:
        means = [one[ratio].mean for name in found.classes if ratio in (one := series.means(found, name))]
        if not means or min(means) < BAR:
            break
        held = ratio
    return held


def losses(found: Found, series: Series, name: str, ratios: Sequence[float]) -> list[Scores]:
    """DSC at 1:1 - DSC at each ratio, by patient; [] when it was not tested at 1:1."""
    columns = series.columns(found, name)
    return [difference(columns[1.0], columns[ratio]) for ratio in ratios if ratio in columns] if 1.0 in columns else []


def shared(one: Series, other: Series) -> list[float]:
    """Ratios above 1:1 at which both lines were tested."""
    return sorted(ratio for ratio in set(one.ratios) & set(other.ratios) if ratio > 1)


def robust_table(found: Found, three: Series, two: Series) -> Block:
    """What both lose at every shared ratio, by class, with the difference and the quotient."""
    rows = []
    for name in organs(found):
        for ratio in shared(three, two):
            deep, flat = losses(found, three, name, [ratio]), losses(found, two, name, [ratio])
            if not deep or not flat:
                continue
            gap, share = paired(flat[0], deep[0]), loss_ratio(deep[0], flat[0])
            rows.append(
                [
                    name,
                    times(ratio),
                    within(mean(list(flat[0].values()))),
                    within(mean(list(deep[0].values()))),
                    within(gap, signed=True),
                    within(share, 2),
                    decided(gap),
                ]
            )
    return Block(
        "table",
        f"What compression takes from the DSC at 1:1, {two.label} and {three.label}, the same patients; [95 % intervals], not corrected for how many lines the table has. Quotient: how many times the loss of 2D that of 3D is, where 2D's is above 0. Last: does 3D lose less?",
        ("class", "ratio", "2D loses", "3D loses", "2D's loss - 3D's", "quotient", "paper's order"),
        rows,
        2,
    )


def folds(found: Found, gaps: Scores, network: str) -> str:
    """In how many folds the difference is above 0."""
    by: dict[str, set[str]] = {}
    for row in found.rows:
        if row["network"] == network and row["patient"] in gaps and row.get("fold"):
            by.setdefault(row["fold"], set()).add(row["patient"])
    if len(by) < 2:
        return "one fold: how another training would come out is not known"
    above = sum(1 for names in by.values() if sum(gaps[name] for name in names) > 0)
    return f"above 0 in {above} of {len(by)} folds"


def loses_less(found: Found, three: Series, two: Series, claim: str) -> Block:
    """Over all shared ratios and classes together: does `three` lose less than `two`?"""
    ratios = shared(three, two)
    deep, flat = average(losses(found, three, MEAN, ratios)), average(losses(found, two, MEAN, ratios))
    gaps = difference(flat, deep)
    gap, share = mean(list(gaps.values())), loss_ratio(deep, flat)
    if not gap.n:
        return Block(
            "finding", f"{claim}: no patient was tested at 1:1 and at shared ratios with both.", code="not decided"
        )
    starts = " and ".join(
        number(mean([base[name] for name in gaps])) for one in (three, two) if (base := one.columns(found, MEAN)[1.0])
    )
    times_said = f", {share.mean:.2f} times as much ({interval(share, 2)})" if math.isfinite(share.mean) else ""
    at = f"{times(ratios[0])} to {times(ratios[-1])}" if len(ratios) > 1 else times(ratios[0])
    return Block(
        "finding",
        f"{claim}. Averaged over {at} and all classes, {three.label} loses {number(mean(list(deep.values())))} and {two.label} {number(mean(list(flat.values())))} DSC{times_said}, beginning at {starts}; the difference is {number(gap)} ({interval(gap)}, {plural(gap.n, 'patient')}; {folds(found, gaps, three.network)}).",
        code=decided(gap),
    )


def number(one: Estimate) -> str:
    """An estimate without its interval."""
    return within(Estimate(one.mean, math.nan, math.nan, math.nan, one.n))


def tolerates(found: Found, one: Series, other: Series, claim: str, paper: float | None) -> Block:
    """Ratio of the crossings of 0.7, of the mean over classes."""
    first, second = one.columns(found, MEAN), other.columns(found, MEAN)
    ratios = sorted(set(first) & set(second))
    said = (
        f" The paper has {paper:g} times."
        if paper
        else " The paper has 1.3 to 1.5 times (on CT's rectum 1 by its own tables)."
    )
    grid = f"By the paper's rule, on the ratios tested: {_limit(found, one)} against {_limit(found, other)}."
    if len(ratios) < 2:
        return Block("finding", f"{claim}: fewer than two ratios are shared.{said}", code="not decided")
    share = crossed_ratio(ratios, [first[ratio] for ratio in ratios], [second[ratio] for ratio in ratios])
    if not math.isfinite(share.mean):
        return Block(
            "finding",
            f"{claim}. Not both curves of the mean over classes fall through 0.7 between the ratios tested. {grid}{said}",
            code="not decided",
        )
    inside = ""
    if paper and share.known:
        inside = (
            " which lies inside the interval"
            if share.low <= paper <= share.high
            else " which lies outside the interval"
        )
    return Block(
        "finding",
        f"{claim}. {one.label} falls through 0.7 at {share.mean:.2f} times the ratio of {other.label} ({interval(share, 2)}, {plural(share.n, 'patient')}). {grid}{said[:-1]}{',' if inside else ''}{inside}.",
        code=decided(share, 1.0),
    )


def _limit(found: Found, series: Series) -> str:
    limit = series.tolerance(found, MEAN)
    return "none" if limit is None else times(limit)


def weak(found: Found) -> list[Block]:
    """A warning for each network that is below the bar before anything was compressed."""
    out = []
    for network in found.networks:
        base = mean(list(found.scores(network, "1", 1.0, MEAN).values()))
        if base.mean < BAR:
            text = f"{found.title(network)} has a mean DSC of {number(base)} on originals, below {BAR:g}: whoever finds little has little to lose, and what it loses says nothing of a network that works."
            out.append(Block("absent", text))
    return out


def gain_table(found: Found, fine: Series, clean: Series, ratios: Sequence[float]) -> Block:
    """DSC of the fine-tuned less that of the clean network, by class and ratio."""
    rows = []
    for name in organs(found):
        one, other = fine.columns(found, name), clean.columns(found, name)
        for ratio in ratios:
            if ratio in one and ratio in other:
                gap = paired(one[ratio], other[ratio])
                rows.append([name, times(ratio), str(gap.n), within(gap, signed=True), decided(gap)])
    return Block(
        "table",
        "Fine-tuned less clean, DSC, the same patients at the same ratio; [95 % intervals], not corrected for how many lines the table has.",
        ("class", "ratio", "patients", "gain", "paper's order"),
        rows,
        2,
    )


def gains(found: Found, fine: Series, clean: Series, ratios: Sequence[float]) -> Block:
    """The same over all ratios and classes together."""
    one, other = fine.columns(found, MEAN), clean.columns(found, MEAN)
    both = [ratio for ratio in ratios if ratio in one and ratio in other]
    gaps = difference(average([one[ratio] for ratio in both]), average([other[ratio] for ratio in both]))
    gap = mean(list(gaps.values()))
    if not gap.n:
        return Block("finding", f"Fine-tuning helps {clean.label}: no patient has both.", code="not decided")
    return Block(
        "finding",
        f"Fine-tuning at the ratio of the test helps. Averaged over {listed([times(ratio) for ratio in both])} and all classes, {fine.label}, gains {number(gap)} DSC ({interval(gap)}, {plural(gap.n, 'patient')}; {folds(found, gaps, fine.network)}).",
        code=decided(gap),
    )


def which(found: Found, title: str, trainings: Sequence[Training], series: Sequence[Series]) -> Block:
    """The best ratio to train at by the mean over all ratios tested, against the next."""
    flexible = [one.ratio for one, line in zip(trainings, series, strict=True) if (held(found, line) or 0) >= one.ratio]
    rule = (
        f"By the paper's rule (the highest ratio that is flexible): {times(max(flexible))}"
        if flexible
        else "By the paper's rule: none, as no network holds 0.7 up to its own ratio"
    )
    ranked = sorted(
        ((mean(list(whole(found, line).values())).mean, index) for index, line in enumerate(series)), reverse=True
    )
    best = trainings[ranked[0][1]]
    text = f"Which ratio to train {title} at. {rule}; the paper has {times(TRAIN_AT)} among 48, 64 and 96:1."
    if len(series) < 2:
        return Block("finding", f"{text} Only {times(best.ratio)} was tried.", code="not decided")
    gap = paired(whole(found, series[ranked[0][1]]), whole(found, series[ranked[1][1]]))
    verdict = decided(gap)
    clear = (
        "by more than patients explain (both were picked after looking, so it is a little less sure than it seems)"
        if verdict == "confirmed"
        else "but patients alone could explain it"
    )
    return Block(
        "finding",
        f"{text} By the mean DSC over all ratios tested: {times(best.ratio)}, ahead of {times(trainings[ranked[1][1]].ratio)} by {number(gap)} ({interval(gap)}), {clear}.",
        code="decided" if verdict == "confirmed" else "not decided",
    )


def price(found: Found, clean: Series, hardest: Series) -> Block:
    """What the hardest training costs on originals."""
    gap = paired(clean.columns(found, MEAN).get(1.0, {}), hardest.columns(found, MEAN).get(1.0, {}))
    return Block(
        "finding",
        f"Training at a high ratio costs at low ones. On originals, {hardest.label}, is {number(gap)} DSC below the clean network ({interval(gap)}, {plural(gap.n, 'patient')}).",
        code=decided(gap),
    )
