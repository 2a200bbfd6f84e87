"""El Khoury 2021 on a page: 2D against 3D (a), fine-tuned against clean (b), one ratio to train at (c)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from slimscan.report.experiments_block import (
    Block,
    Series,
    fixed,
    interval,
    organs,
    score_table,
    times,
    tolerance_table,
    within,
)
from slimscan.report.experiments_figures import curves_drawn
from slimscan.report.experiments_read import EXPERIMENTS, MEAN, Found, Scores, Training
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
from slimscan.study.recipes.elkhoury2021_paper import DOUBLED, RATIOS, ROBUSTER, TOLD, TRAIN_AT, tables

Section = tuple[list[Block], list[Block]]
"""Blocks of a section, and the findings that the top of the page repeats."""


def absent(letter: str, why: str) -> Section:
    """A section that has nothing to show."""
    return [Block("h2", f"({letter}) {EXPERIMENTS[letter].capitalize()}", key=letter), Block("absent", why)], []


def two_and_three(found: Found) -> Section:
    """Experiment (a)."""
    series = [
        fixed(found, network, "1", found.title(network)) for network in found.networks if found.ratios(network, "1")
    ]
    if not series:
        return absent("a", "Not run: no network was trained on originals.")
    out = [Block("h2", f"(a) {EXPERIMENTS['a'].capitalize()}", key="a")]
    out += _scores(found, series, "a", "Trained on originals, tested at every ratio")
    top: list[Block] = []
    flat = [one for one in series if found.dims(one.network) == "2D"]
    deep = [one for one in series if found.dims(one.network) == "3D"]
    if not flat or not deep:
        out.append(Block("absent", "2D against 3D: not decided, because only one of them was trained."))
    for three in deep:
        for two in flat:
            out.append(_robust_table(found, three, two))
            claims = [
                _loses_less(found, three, two, "3D loses less than 2D"),
                _tolerates(found, three, two, "3D tolerates more than 2D", ROBUSTER),
            ]
            out += claims
            top += claims
    return [*out, *_beside("a")], top


def tuned(found: Found) -> Section:
    """Experiment (b)."""
    out, top = [Block("h2", f"(b) {EXPERIMENTS['b'].capitalize()}", key="b")], []
    any_tuned = False
    for network in found.networks:
        trainings = found.trainings(network, "tuned")
        at = {one.ratio: one.text for one in trainings if one.ratio in found.ratios(network, one.text)}
        if not at:
            continue
        any_tuned = True
        title = found.title(network)
        clean = fixed(found, network, "1", f"{title}, clean")
        if not clean.ratios:
            out.append(
                Block("absent", f"{title}: fine-tuned, but never tested as it was before; nothing to compare with.")
            )
            continue
        # As in the paper, a network "fine-tuned at 1:1" is the clean one.
        names = {1.0: "1"} | at if 1.0 in clean.ratios else at
        fine = Series(f"{title}, fine-tuned", network, names.get, tuple(sorted(names)))
        out += _scores(
            found, [fine, clean], f"b-{network}", f"{title} fine-tuned at each ratio, and clean, tested at that ratio"
        )
        both = tuple(ratio for ratio in sorted(at) if ratio in clean.ratios)
        if not both:
            out.append(Block("absent", f"{title}: no ratio at which both were tested."))
            continue
        out.append(_gain_table(found, fine, clean, both))
        claims = [
            _gains(found, fine, clean, both),
            _tolerates(found, fine, clean, f"{title}: fine-tuning raises the tolerance", None),
        ]
        flat = next((one for one in found.networks if found.dims(one) == "2D" and found.ratios(one, "1")), None)
        if flat is not None and found.dims(network) == "3D":
            two = fixed(found, flat, "1", found.title(flat))
            claims.append(_tolerates(found, fine, two, "3D, fine-tuned, tolerates more than 2D", DOUBLED))
        out += claims
        top += claims
    if not any_tuned:
        return absent("b", "Not run: no network was fine-tuned and tested at its own ratio.")
    return [*out, *_beside("b")], top


def one_ratio(found: Found) -> Section:
    """Experiment (c)."""
    out, top = [Block("h2", f"(c) {EXPERIMENTS['c'].capitalize()}", key="c")], []
    some = False
    for network in found.networks:
        all_ratios = [one for one in found.trainings(network, "tuned") if len(found.ratios(network, one.text)) > 1]
        if not all_ratios:
            continue
        some = True
        title = found.title(network)
        series = [fixed(found, network, one.text, f"{title}, {one.said}") for one in all_ratios]
        clean = [fixed(found, network, "1", f"{title}, clean")] if found.ratios(network, "1") else []
        out += _scores(found, [*clean, *series], f"c-{network}", f"{title} fine-tuned at one ratio, tested at all")
        rows = []
        for one, line in zip(all_ratios, series, strict=True):
            held = _held(found, line)
            whole = _whole(found, line)
            rows.append(
                [
                    one.said,
                    times(held) if held else "not even the least",
                    "yes" if held and held >= one.ratio else "no",
                    within(mean(list(whole.values()))),
                ]
            )
        out.append(
            Block(
                "table",
                "Which ratio to train at. Holds up to: every class has a mean DSC of at least 0.7 there and at every lower ratio tested. Flexible, the paper's rule: it holds at the ratio that it was trained at and all below.",
                ("training", "holds up to", "flexible", "mean DSC over all ratios tested"),
                rows,
            )
        )
        claims = [_which(found, title, all_ratios, series)]
        if clean and 1.0 in clean[0].ratios and 1.0 in series[-1].ratios:
            claims.append(_price(found, clean[0], series[-1]))
        out += claims
        top += claims
    if not some:
        return absent("c", "Not run: no network was fine-tuned at one ratio and tested at several.")
    return [*out, *_beside("c")], top


def _scores(found: Found, series: Sequence[Series], key: str, title: str) -> list[Block]:
    """Curves, tables a class, tolerances."""
    out = [
        Block(
            "figure",
            f"{title}: mean DSC with 95 % intervals over patients. Dashed: 0.7, the paper's bar; a ring is the tolerance, the highest ratio tested at or above it; a dotted line is the certified ratio of the network in its colour.",
            key=f"{key}-curves",
            draw=partial(curves_drawn, found=found, series=series),
            height=4.3,
        ),
    ]
    for name in organs(found):
        caption = f"{name}: mean ± deviation over patients (another number of patients in brackets)."
        out += [Block("h3", name), *score_table(found, series, name, caption)]
    return [*out, tolerance_table(found, series)]


def _whole(found: Found, series: Series) -> Mapping[str, float]:
    """DSC averaged over classes and all ratios tested, by patient."""
    return average(list(series.columns(found, MEAN).values()))


def _held(found: Found, series: Series) -> float | None:
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


def _shared(one: Series, other: Series) -> list[float]:
    return sorted(ratio for ratio in set(one.ratios) & set(other.ratios) if ratio > 1)


def _robust_table(found: Found, three: Series, two: Series) -> Block:
    rows = []
    for name in organs(found):
        for ratio in _shared(three, two):
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


def _folds(found: Found, gaps: Scores, network: str) -> str:
    """In how many folds the difference is above 0."""
    by: dict[str, set[str]] = {}
    for row in found.rows:
        if row["network"] == network and row["patient"] in gaps and row.get("fold"):
            by.setdefault(row["fold"], set()).add(row["patient"])
    if len(by) < 2:
        return "one fold: how another training would come out is not known"
    above = sum(1 for names in by.values() if sum(gaps[name] for name in names) > 0)
    return f"above 0 in {above} of {len(by)} folds"


def _loses_less(found: Found, three: Series, two: Series, claim: str) -> Block:
    ratios = _shared(three, two)
    deep, flat = average(losses(found, three, MEAN, ratios)), average(losses(found, two, MEAN, ratios))
    gaps = difference(flat, deep)
    gap, share = mean(list(gaps.values())), loss_ratio(deep, flat)
    if not gap.n:
        return Block(
            "finding", f"{claim}: no patient was tested at 1:1 and at shared ratios with both.", code="not decided"
        )
    times_said = f", {share.mean:.2f} times as much ({interval(share, 2)})" if math.isfinite(share.mean) else ""
    at = f"{times(ratios[0])} to {times(ratios[-1])}" if len(ratios) > 1 else times(ratios[0])
    return Block(
        "finding",
        f"{claim}. Averaged over {at} and all classes, {three.label} loses {_number(mean(list(deep.values())))} and {two.label} {_number(mean(list(flat.values())))}{times_said}; the difference is {_number(gap)} ({interval(gap)}, {plural(gap.n, 'patient')}; {_folds(found, gaps, three.network)}).",
        code=decided(gap),
    )


def _number(one: Estimate) -> str:
    return within(Estimate(one.mean, math.nan, math.nan, math.nan, one.n))


def _tolerates(found: Found, one: Series, other: Series, claim: str, paper: float | None) -> Block:
    """Ratio of the crossings of 0.7, of the mean over classes."""
    first, second = one.columns(found, MEAN), other.columns(found, MEAN)
    ratios = sorted(set(first) & set(second))
    said = (
        f" The paper has {paper:g} times."
        if paper
        else " The paper has 1.3 to 1.5 times (on CT's rectum 1 by its own tables)."
    )
    grid = f"By its rule on the ratios tested: {times(one.tolerance(found, MEAN))} against {times(other.tolerance(found, MEAN))}."
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


def _gain_table(found: Found, fine: Series, clean: Series, ratios: Sequence[float]) -> Block:
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


def _gains(found: Found, fine: Series, clean: Series, ratios: Sequence[float]) -> Block:
    one, other = fine.columns(found, MEAN), clean.columns(found, MEAN)
    both = [ratio for ratio in ratios if ratio in one and ratio in other]
    gaps = difference(average([one[ratio] for ratio in both]), average([other[ratio] for ratio in both]))
    gap = mean(list(gaps.values()))
    if not gap.n:
        return Block("finding", f"Fine-tuning helps {clean.label}: no patient has both.", code="not decided")
    return Block(
        "finding",
        f"Fine-tuning at the ratio of the test helps. Averaged over {listed([times(ratio) for ratio in both])} and all classes, {fine.label}, gains {_number(gap)} DSC ({interval(gap)}, {plural(gap.n, 'patient')}; {_folds(found, gaps, fine.network)}).",
        code=decided(gap),
    )


def _which(found: Found, title: str, trainings: Sequence[Training], series: Sequence[Series]) -> Block:
    """The best ratio to train at by the mean over all ratios tested, against the next."""
    flexible = [
        one.ratio for one, line in zip(trainings, series, strict=True) if (_held(found, line) or 0) >= one.ratio
    ]
    rule = (
        f"By the paper's rule (the highest ratio that is flexible): {times(max(flexible))}"
        if flexible
        else "By the paper's rule: none, as no network holds 0.7 up to its own ratio"
    )
    whole = sorted(
        ((mean(list(_whole(found, line).values())).mean, index) for index, line in enumerate(series)), reverse=True
    )
    best = trainings[whole[0][1]]
    text = f"Which ratio to train {title} at. {rule}; the paper has {times(TRAIN_AT)} among 48, 64 and 96:1."
    if len(series) < 2:
        return Block("finding", f"{text} Only {times(best.ratio)} was tried.", code="not decided")
    gap = paired(_whole(found, series[whole[0][1]]), _whole(found, series[whole[1][1]]))
    verdict = decided(gap)
    clear = "by more than patients explain" if verdict == "confirmed" else "but patients alone could explain it"
    return Block(
        "finding",
        f"{text} By the mean DSC over all ratios tested: {times(best.ratio)}, ahead of {times(trainings[whole[1][1]].ratio)} by {_number(gap)} ({interval(gap)}), {clear}.",
        code="decided" if verdict == "confirmed" else "not decided",
    )


def _price(found: Found, clean: Series, hardest: Series) -> Block:
    gap = paired(clean.columns(found, MEAN).get(1.0, {}), hardest.columns(found, MEAN).get(1.0, {}))
    return Block(
        "finding",
        f"Training at a high ratio costs at low ones. On originals, {hardest.label}, is {_number(gap)} DSC below the clean network ({interval(gap)}, {plural(gap.n, 'patient')}).",
        code=decided(gap),
    )


def _beside(letter: str) -> list[Block]:
    """The paper's own tables of an experiment, and its tolerances."""
    out = [Block("h3", "What the paper has")]
    for table in tables(letter):
        names = [(metric, row) for metric, row in table.rows]
        rows = [
            [
                f"{metric}{', mm' if metric == 'SMBD' else ''}, {row}",
                *(f"{middle:.3f} ± {sd:.3f}" for middle, sd in table.rows[metric, row]),
            ]
            for metric, row in names
        ]
        out.append(
            Block(
                "table",
                f"{table.organ}, {table.source}: mean ± deviation over 14 CTs or 11 CBCTs.",
                ("", *map(times, RATIOS)),
                rows,
                marked=range(len(rows)),
            )
        )
    rows = []
    for table in tables(letter):
        for metric, row in table.rows:
            if metric == "DSC":
                told = TOLD.get((table.organ, row))
                rows.append([table.organ, row, times(told), times(table.tolerance(row))])
    out.append(
        Block(
            "table",
            "Its tolerances: the highest ratio with mean DSC of at least 0.7, as its text says and as its tables give.",
            ("organ", "network", "text", "table"),
            rows,
            2,
            marked=range(len(rows)),
        )
    )
    return out
