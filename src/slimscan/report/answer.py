"""The first section: the answer in one sentence with its bound, each codec beside it, and every level in a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slimscan.report.html import Html, join, paragraph, section, table, tag
from slimscan.report.numbers import DASH, number, p_value, percent, plural, ratio, signed, title_of
from slimscan.report.results import Results, number_of
from slimscan.report.sentences import CERTIFIED, beside, headline, why

KEY, TITLE = "answer", "The answer"


def answer(results: Results) -> Html:
    """The section."""
    boxes = [_box(results, name) for name in results.codecs if name in results.by_codec]
    notes = [str(note) for note in results.verdict.get("notes") or ()]
    return section(
        KEY,
        TITLE,
        paragraph(tag("strong", headline(results)), class_="headline"),
        *boxes,
        *(paragraph(note, class_="small soft") for note in notes),
    )


def levels(results: Results) -> Html:
    """Every level of every codec with its evidence."""
    parts = [_levels(results, name) for name in results.codecs if results.judged_levels(name)]
    if not parts:
        return section("levels", "Every level", paragraph("No level was tested.", class_="absent"))
    note = paragraph(
        "A level is certified by grade A when both p are at most the codec's alpha and every milder level is certified "
        "too. Losses are positive when compression made things worse. The naive p is the usual two-sided test of "
        "\u201cno difference\u201d, for contrast only: a large one is no evidence of harmlessness.",
        class_="small soft",
    )
    return section("levels", "Every level", *parts, note)


def _box(results: Results, name: str) -> Html:
    codec = results.by_codec[name]
    head, more = why(results, name)
    good = str(codec.get("code")) in (*CERTIFIED, "LOSSLESS_ONLY")
    notes = [str(note) for note in codec.get("notes") or ()]
    return tag(
        "div",
        tag("span", codec.get("code"), class_="code"),
        paragraph(head, class_="head"),
        paragraph(more) if more.strip() else None,
        paragraph(tag("span", "grade B, approximate", class_="badge b"), " ", beside(results, name), class_="small"),
        *(paragraph(note, class_="small soft") for note in notes),
        class_="verdict good" if good else "verdict stop",
    )


def _levels(results: Results, name: str) -> Html:
    codec = results.by_codec[name]
    found = results.judged_levels(name)
    metric = str(
        (found[0].get("evidence") or {}).get("metric") or results.decisive[0].metric if results.decisive else ""
    )
    unit = results.unit(metric)
    several = len({one.organ for one in results.decisive}) * len({one.metric for one in results.decisive}) > 1
    head: list[object] = [
        "level",
        "median",
        "mean",
        "least",
        f"mean{f' [{unit}]' if unit and not several else ''}",
        "at most",
        "largest",
    ]
    head += ["number", "at most", "mean", "tail", "A", "B", "naive p"]
    if several:
        head.insert(1, "limited by")
    rows, marked = [], []
    for index, one in enumerate(found):
        rows.append(_level(results, name, one, several))
        if one.get("level") == codec.get("level"):
            marked.append(index)
    sure = percent(1 - number_of(codec, "alpha"), 3)
    groups = [
        ("", 2 if several else 1),
        ("achieved ratio", 3),
        ("loss", 3),
        ("over the cap", 2),
        ("p", 2),
        ("certified by grade", 2),
        ("for contrast", 1),
    ]
    caption = (
        f"{plural(int(found[0].get('n') or 0), 'patient')}. Loss of {'what limits each level' if several else title_of(metric)}; \u201cat most\u201d holds at {sure} one-sided confidence"
        + (
            ", of the mean with single losses counted to the cap at most."
            if not math.isnan(number_of(codec, "alpha"))
            else "."
        )
    )
    return join(
        [
            tag("h3", name),
            table(head, rows, caption=caption, left=2 if several else 1, marked=marked, groups=groups, dense=True),
        ]
    )


def _level(results: Results, name: str, one: Mapping[str, Any], several: bool) -> list[object]:
    found, cr = one.get("evidence") or {}, one.get("achieved_cr") or {}
    row: list[object] = [results.level_text(name, one.get("level"))]
    limit = results.limiting(one)
    unit = limit.unit if limit and several else ""
    if several:
        row.append(one.get("limiting") or found.get("organ") or "")
    return [
        *row,
        *(ratio(number_of(cr, key)) for key in ("median", "mean", "min")),
        *(f"{said}\u00a0{unit}" if unit and said != DASH else said for said in _losses(found)),
        number_or(found.get("n_over_B")),
        percent(number_of(found, "upper_T6"), 3),
        p_value(number_of(found, "p_T4")),
        p_value(number_of(found, "p_T6")),
        _badge(one, "certified_A", "a"),
        _badge(one, "certified_B", "b"),
        p_value(number_of(found, "naive_two_sided_p")),
    ]


def _losses(found: Mapping[str, Any]) -> list[str]:
    """Mean, upper bound, largest; JSON has no infinity, so a largest loss that is absent with patients over the cap is one."""
    largest = number_of(found, "worst_loss")
    endless = math.isnan(largest) and int(found.get("n_over_B") or 0) > 0
    return [
        signed(math.inf if endless and math.isnan(number_of(found, "mean_loss")) else number_of(found, "mean_loss")),
        number(number_of(found, "upper_T4")),
        signed(math.inf if endless else largest),
    ]


def number_or(value: Any) -> str:
    """A whole number, or a dash."""
    return number(None) if value is None else str(int(value))


def _badge(one: Mapping[str, Any], key: str, kind: str) -> Html:
    flags = one.get("flags") or ()
    if one.get(key):
        return tag("span", "exact" if "LOSSLESS" in flags else "yes", class_=f"badge {kind}")
    if key == "certified_A" and one.get("reached") is False:
        return tag("span", "not reached", class_="soft")
    return tag("span", "no", class_="soft")
