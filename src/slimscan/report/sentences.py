"""What a verdict says, in sentences: the promise, its bound, and what is missing when there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slimscan.report.numbers import (
    DASH,
    declared,
    listed,
    p_value,
    percent,
    plural,
    ratio,
    title_of,
    with_unit,
)
from slimscan.report.results import Decisive, Results, number_of

CERTIFIED = ("CERTIFIED", "ALL_CERTIFIED_GRID_EXHAUSTED")
GRADES = {
    "A": "grade A: valid for any distribution of losses and any number of patients",
    "A*": "grade A*: of the raw mean, valid for any distribution of losses",
    "B": "grade B: approximate",
    "C": "grade C: exploratory, no basis for a recommendation",
}


def lower_first(said: str) -> str:
    """The first letter small, unless the word is an abbreviation."""
    return said if len(said) < 2 or said[1].isupper() or said.split()[0] in NAMES else said[0].lower() + said[1:]


NAMES = ("Dice", "Jaccard", "Hausdorff")


def metric_text(one: Decisive) -> str:
    """The metric with the way that is better: "Dice coefficient (higher is better)"."""
    way = {"higher": " (higher is better)", "lower": " (lower is better)"}.get(one.direction, "")
    return f"{title_of(one.metric)}{way}"


def promise(one: Decisive, certain: str | None = None) -> str:
    """What the contract asks of the mean: "mean loss of Dice below 0.02"; `certain` goes behind it."""
    name = lower_first(title_of(one.metric))
    said = one.contract
    if one.margin == "relative":
        what = f"mean {name} worse by less than {declared(100 * number_of(said, 'rho'), '%')} of its uncompressed value"
    elif one.margin == "threshold":
        side = "below" if one.direction == "lower" else "above"
        what = f"mean {name} {side} {declared(number_of(said, 'threshold'), one.unit)}"
    elif one.margin == "observer":
        what = f"mean {name} better than a second observer's on the same patients"
    else:
        what = f"mean loss of {name} below {declared(one.null, one.unit)}"
    return f"{what} ({certain})" if certain else what


def tail_promise(one: Decisive) -> str:
    """What the contract asks of single patients."""
    verb = "lose more than" if one.margin == "absolute" else "miss it by more than"
    share = percent(number_of(one.contract, "pi0"))
    return f"fewer than {share} of patients {verb} {declared(one.cap, one.unit)}"


def promises(results: Results, certain: str | None = None) -> str:
    """The whole contract in one clause; every metric, and the organs that must all hold."""
    firsts = {one.metric: one for one in reversed(results.decisive)}
    metrics = [firsts[name] for name in dict.fromkeys(one.metric for one in results.decisive)]
    said = "; ".join(f"{promise(one, certain)} and {tail_promise(one)}" for one in metrics)
    organs = organs_text(results)
    return f"{said}{organs}"


def organs_text(results: Results) -> str:
    """ ", in each of: liver and spleen"; nothing for one organ."""
    organs = list(dict.fromkeys(one.organ for one in results.decisive))
    if len(organs) > 1:
        return f", in each of {listed(organs)}"
    return "" if not organs or organs[0] in ("", "foreground") else f" ({organs[0]})"


def confidence(codec: Mapping[str, Any]) -> str:
    """The one-sided confidence of a codec's bounds, 1 - alpha, as percent."""
    return percent(1 - number_of(codec, "alpha"), 3)


def achieved(level: Mapping[str, Any] | None) -> str:
    """ "12.4:1 (median; mean 12.9:1, least 8.2:1)"."""
    found = (level or {}).get("achieved_cr")
    if not found:
        return "an unknown ratio"
    total = number_of(found, "total")
    bytes_ = "" if math.isnan(total) else f", all bytes together {ratio(total)}"
    return (
        f"{ratio(number_of(found, 'median'))} (median; mean {ratio(number_of(found, 'mean'))}, "
        f"least {ratio(number_of(found, 'min'))}{bytes_})"
    )


def bounds(results: Results, level: Mapping[str, Any], codec: Mapping[str, Any]) -> str:
    """What was found at a level, with its upper bounds: the evidence of the organ that limits."""
    found = level.get("evidence") or {}
    one = results.limiting(level)
    unit, margin = (one.unit, one.margin) if one else ("", "absolute")
    several = len(results.decisive) > 1 and one is not None
    whose = (
        f" of {lower_first(title_of(one.metric))}{f' of {one.organ}' if one.organ else ''}, which limits,"
        if several and one
        else ""
    )
    cap = declared(number_of(found, "B"), unit)
    n = int(level.get("n") or 0)
    over = int(found.get("n_over_B") or 0)
    sure = confidence(codec)
    what = "the mean loss" if margin == "absolute" else "the mean shortfall (below 0 is better than asked)"
    verb = "lost" if margin == "absolute" else "missed it by"
    parts = [
        f"Measured: {what}{whose} is {with_unit(number_of(found, 'mean_loss'), unit)}; at {sure} confidence it is at most "
        f"{with_unit(number_of(found, 'upper_T4'), unit)}, where a single patient counts at most {cap}",
        f"{over} of {plural(n, 'patient')} {verb} more than {cap}, at {sure} confidence at most "
        f"{percent(number_of(found, 'upper_T6'), 3)} of all patients do",
    ]
    return "; ".join(parts) + "."


def headline(results: Results) -> str:
    """The answer in one sentence."""
    verdict = results.verdict
    best = verdict.get("best")
    passed = [name for name in results.codecs if (results.by_codec.get(name) or {}).get("level") is not None]
    if best is None and len(passed) == 1:
        best = passed[0]
    if best is not None and (results.by_codec.get(best) or {}).get("level") is not None:
        codec = results.by_codec[best]
        level = results.judged(best, codec["level"])
        tied = [name for name in verdict.get("tied") or () if name != best]
        equal = f" (a tie within 5 % with {listed(tied)})" if tied else ""
        n = plural(int((level or {}).get("n") or codec.get("n") or 0), "patient")
        return (
            f"These images may be compressed {ratio(number_of((level or {}).get('achieved_cr'), 'median'))} (median) with {best} "
            f"at {results.level_text(best, codec['level'])}{equal}: {promises(results, confidence(codec) + ' confidence')}; "
            f"shown on {n}."
        )
    if passed:
        each = [
            f"{name} {ratio(number_of((results.judged(name, results.by_codec[name]['level']) or {}).get('achieved_cr'), 'median'))}"
            for name in passed
        ]
        return f"These images may be compressed, by median ratio: {listed(each)}; each codec is its own question here, so none is called best."
    codes = {str(codec.get("code")) for codec in results.by_codec.values()}
    needed = [int(codec["needed_n"]) for codec in results.by_codec.values() if codec.get("needed_n")]
    more = f" at least {min(needed)} patients are needed." if needed else " no number of patients can be named."
    if codes == {"INSUFFICIENT_N"}:
        return f"These patients are too few to answer, whatever they show:{more}"
    if codes <= {"INSUFFICIENT_N", "NONE_CERTIFIED"}:
        tail = f" About {min(needed)} patients would be needed." if needed else ""
        return f"No level of compression is certified by these patients; that is not a finding of harm.{tail}"
    return "No level of compression is certified; the reasons stand with each codec."


def why(results: Results, name: str) -> tuple[str, str]:
    """(what is said of a codec in one line, the rest) by its code."""
    codec = results.by_codec[name]
    code, n = str(codec.get("code")), int(codec.get("n") or 0)
    level = results.judged(name, codec.get("level"))
    alpha = number_of(codec, "alpha")
    needed = codec.get("needed_n")
    blocked = codec.get("blocked_by")
    stop = (
        f"The first level that is not certified is {results.level_text(name, blocked)} (p = {p_value(number_of(codec, 'blocked_p'))}, "
        f"alpha {declared(alpha)}); nothing beyond it counts. Not certified is not harmful: these data cannot exclude harm."
        if blocked is not None
        else ""
    )
    if code in CERTIFIED and level is not None:
        head = f"{name}: {achieved(level)} at {results.level_text(name, codec['level'])}."
        more = (
            f"Certified: {promises(results, confidence(codec) + ' confidence')}. {bounds(results, level, codec)} "
            f"n = {plural(int(level.get('n') or n), 'patient')}, alpha = {declared(alpha)}, {GRADES.get(results.grade, results.grade)}. "
        )
        if code == "ALL_CERTIFIED_GRID_EXHAUSTED":
            more += "Every level tried is certified: the limit lies at or beyond the last one. Stronger levels need new patients, or an alpha of their own."
        return head, more + stop
    if code == "LOSSLESS_ONLY":
        at = f" ({results.level_text(name, codec['level'])}, {achieved(level)})" if level is not None else ""
        return (
            f"{name}: only exact levels are certified{at}.",
            f"They give every voxel back as it was; no test is needed. {stop}",
        )
    if code == "INSUFFICIENT_N":
        least = (
            f" At least {plural(int(needed), 'patient')} are needed, even if no patient loses anything."
            if needed
            else ""
        )
        return (
            f"{name}: {plural(n, 'patient')} are too few to certify any level.{least}",
            f"No level was tested. The contract asks: {promises(results)}; alpha = {declared(alpha)}.",
        )
    if code == "NONE_CERTIFIED":
        guess = (
            f" About {plural(int(needed), 'patient')} would certify it in four of five such studies, if losses stay as seen here."
            if needed
            else ""
        )
        return (
            f"{name}: no level is certified by these {plural(n, 'patient')}.",
            f"The contract asks: {promises(results)}. {stop}{guess}",
        )
    if code == "ORDER_MISMATCH":
        return (
            f"{name}: not judged, the order of its levels is wrong.",
            "Stronger levels did not compress more. Levels are never re-ordered by what they scored; correct the study and run it on new patients.",
        )
    if code == "DEGENERATE":
        return (
            f"{name}: not judged, the losses allow no test.",
            "They are undefined for too many patients. See the rows of the study.",
        )
    return f"{name}: {code or 'not judged'}.", stop


def beside(results: Results, name: str) -> str:
    """Grade B beside grade A, in one sentence."""
    codec = results.by_codec[name]
    level = codec.get("level_B")
    if codec.get("code") == "INSUFFICIENT_N" and level is None:
        return "Not computed."
    if level is None:
        return "Would certify no level either."
    found = results.judged(name, level)
    same = " (the same level)" if level == codec.get("level") else ""
    middle = number_of((found or {}).get("achieved_cr"), "median")
    return f"Would certify {results.level_text(name, level)}{same}, {ratio(middle) if not math.isnan(middle) else DASH} (median), p = {p_value(number_of(found, 'p_B'))}."


def axis_label(one: Decisive) -> str:
    """A metric with its unit and direction, for an axis."""
    way = {"higher": "higher is better", "lower": "lower is better"}.get(one.direction, "")
    return ", ".join(part for part in (title_of(one.metric) + (f" [{one.unit}]" if one.unit else ""), way) if part)
