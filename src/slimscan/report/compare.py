"""The papers' own rules on the same rows: for comparison, not evidence."""

from __future__ import annotations

import math

from slimscan.errors import SlimscanError
from slimscan.report.html import Html, paragraph, section, table, tag
from slimscan.report.numbers import number, p_value, ratio, title_of
from slimscan.report.results import Decisive, Results, mean, median, number_of
from slimscan.stats import cunha_rule, tukey_hsd

KEY, TITLE = "comparison", "What the papers' rules would say"
DICE = 0.7


def comparison(results: Results) -> Html:
    """The section; a rule that needs what was not measured says so."""
    label = paragraph(
        tag("span", "for comparison, not evidence", class_="badge no"),
        " These rules ask whether a difference was found, or look at a mean alone. With few patients they approve levels that do harm; "
        "none of them limits that risk.",
    )
    rows: list[list[object]] = []
    for name in results.codecs:
        if name not in results.by_codec or not results.decisive:
            continue
        codec, one = results.by_codec[name], results.decisive[0]
        held = codec.get("level")
        rows += [
            [name, "this study: the bound holds", _level(results, name, held), "grade " + results.grade],
            [
                name,
                "no significant difference (paired t, p > .05)",
                _level(results, name, codec.get("naive_level")),
                _naive(results, name),
            ],
            [name, "Tukey: no difference to the uncompressed (p > .05)", *_tukey(results, one, name)],
            [name, f"mean Dice at least {DICE} (El Khoury 2021)", *_dice(results, name)],
            [name, "beats a second observer and differs from him (Cunha 2023)", *_cunha(results, name)],
        ]
    if not rows:
        return section(KEY, TITLE, label, paragraph("No codec was judged.", class_="absent"))
    head = ["codec", "rule", "strongest level it lets pass", "what it saw there"]
    marked = [index for index, row in enumerate(rows) if str(row[1]).startswith("this study")]
    return section(KEY, TITLE, label, table(head, rows, left=4, marked=marked))


def _level(results: Results, name: str, level: object) -> str:
    step = results.step_of(name, level)
    if step is None:
        return "none"
    return f"{results.level_text(name, level)}, {ratio(median(results.ratios(name, step)))}"


def _naive(results: Results, name: str) -> str:
    found = results.judged(name, results.by_codec[name].get("naive_level"))
    return "" if found is None else f"p = {p_value(number_of(found.get('evidence'), 'naive_two_sided_p'))}"


def _tukey(results: Results, one: Decisive, name: str) -> tuple[str, str]:
    """Tukey's HSD over the groups uncompressed, level 1, level 2 ...; the levels that do not differ from the first."""
    steps = [(step, nominal) for step, nominal in results.steps(name) if results.per_case(one, name, step)]
    if not steps:
        return "not computed", "no scores"
    before = list(results.per_case(one, name, steps[0][0], "reference").values())
    groups = [before, *(list(results.per_case(one, name, step).values()) for step, _ in steps)]
    if not all(math.isfinite(value) for group in groups for value in group):
        return "not computed", "a distance to an empty mask is infinite"
    if len(set(before)) <= 1:
        return "not computed", "the uncompressed scores are all the same: each image is compared with itself"
    try:
        p = tukey_hsd(*groups).p
    except SlimscanError as error:
        return "not computed", str(error)
    passed = [
        (nominal, float(p[0, place])) for place, (_, nominal) in enumerate(steps, start=1) if float(p[0, place]) > 0.05
    ]
    if not passed:
        return "none", f"p = {p_value(float(p[0, 1]))} at the mildest"
    return _level(results, name, passed[-1][0]), f"p = {p_value(passed[-1][1])}"


def _dice(results: Results, name: str) -> tuple[str, str]:
    dice = _measured(results, "dice")
    if not dice:
        return "not computed", "Dice was not measured"
    means = []
    for step, nominal in results.steps(name):
        found = [mean(list(values.values())) for one in dice if (values := results.per_case(one, name, step))]
        if found:
            means.append((nominal, min(found)))
    passed = [(nominal, value) for nominal, value in means if round(value - DICE, 10) >= 0]
    if not passed:
        return ("none", f"mean Dice {number(means[0][1])} at the mildest") if means else ("not computed", "no scores")
    return _level(results, name, passed[-1][0]), f"mean Dice {number(passed[-1][1])}" + (
        " in the worst organ" if len(dice) > 1 else ""
    )


def _cunha(results: Results, name: str) -> tuple[str, str]:
    overlap = (_measured(results, "jaccard_mean") or _measured(results, "jaccard"))[:1]
    distance = _measured(results, "average_hausdorff")[:1]
    if not overlap or not distance:
        return "not computed", "needs the Jaccard index and the average Hausdorff distance"
    last: tuple[float, float] | None = None
    for step, nominal in results.steps(name):
        columns = [
            list(results.per_case(one, name, step, column).values())
            for column in ("value", "observer")
            for one in (*overlap, *distance)
        ]
        if not columns[2] or not columns[3]:
            return "not computed", "no second observer"
        try:
            rule = cunha_rule(columns[0], columns[1], columns[2], columns[3])
        except SlimscanError as error:
            return "not computed", str(error)
        if rule.valid:
            last = (nominal, rule.p)
    return (
        ("none", f"of {title_of(overlap[0].metric)} and distance")
        if last is None
        else (_level(results, name, last[0]), f"p = {p_value(last[1])}")
    )


def _measured(results: Results, metric: str) -> list[Decisive]:
    """The deciding organs with another metric of the same task, where that was measured."""
    if not results.decisive:
        return []
    task = results.decisive[0].task
    direction = {
        str(row["organ"]): str(row["direction"])
        for row in results.rows
        if row["task"] == task and row["metric"] == metric
    }
    organs = dict.fromkeys(one.organ for one in results.decisive)
    return [
        Decisive(task, metric, organ, direction[organ], results.unit(metric), {})
        for organ in organs
        if organ in direction
    ]
