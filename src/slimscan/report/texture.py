"""Texture at the annotations, and other features of the image (Cunha 2023, Table 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from slimscan.report.html import Html, join, paragraph, section, table, tag
from slimscan.report.numbers import number, plural, ratio, signed
from slimscan.report.results import Results, Row, mean, median, plain

KEY, TITLE = "texture", "Texture"


def texture(results: Results) -> Html:
    """The section: for every task that gives numbers, their change in percent at each level of each codec."""
    tasks = [
        str(task["name"]) for task in results.plan.get("tasks") or () if task.get("kind") in ("texture", "features")
    ]
    parts = []
    for name in tasks:
        rows = [row for row in results.rows if row["task"] == name and row["metric"] == "value"]
        if rows:
            parts.append(_task(results, name, rows))
    if not parts:
        why = "The study has no task of kind texture or features, so nothing is said about texture."
        return section(KEY, TITLE, paragraph(why, class_="absent"))
    return section(KEY, TITLE, join(parts))


def _task(results: Results, name: str, rows: Sequence[Row]) -> Html:
    features = list(dict.fromkeys(str(row["organ"]) for row in rows))
    found: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        found.setdefault((str(row["codec"]), int(row["step"]), str(row["organ"])), []).append(row)
    out: list[list[object]] = []
    for codec in results.codecs:
        if not any(key[0] == codec for key in found):
            continue
        raw = [_reference(found, codec, feature) for feature in features]
        out.append([codec, "uncompressed", "1:1", *(f"{number(value, 4)} = 0\u00a0%" for value in raw)])
        for step, nominal in results.steps(codec):
            cells = [_change(found.get((codec, step, feature), [])) for feature in features]
            across = results.ratios(codec, step)
            out.append([codec, results.level_text(codec, nominal), ratio(median(across)), *cells])
    cases = len({row["image"] for row in rows})
    what = {"wtv": "\u0394wTV [%]"}
    head = ["codec", "level", "median ratio", *(what.get(feature, f"\u0394 {feature} [%]") for feature in features)]
    caption = (
        f"Task {name}, {plural(cases, 'image')}: change of the mean against the mean on the uncompressed images, in percent "
        "(in brackets the least and the largest change of one image). Below 0: less than there was."
    )
    note = None
    if "wtv" in features:
        note = paragraph(
            "wTV is the weighted total variation in boxes around annotations (Cunha 2023, eq. 7): how much texture and edge "
            "stands there. Blur lowers it, blocks and ringing can raise it; neither is better by itself.",
            class_="small soft",
        )
    return join([tag("h3", name), table(head, out, caption=caption, left=2), note])


def _reference(found: Mapping[tuple[str, int, str], Sequence[Row]], codec: str, feature: str) -> float:
    rows = next((rows for key, rows in found.items() if key[0] == codec and key[2] == feature), ())
    return mean([value for row in rows if math.isfinite(value := plain(row["reference"]))])


def _change(rows: Sequence[Row]) -> str:
    pairs = [(plain(row["value"]), plain(row["reference"])) for row in rows]
    pairs = [pair for pair in pairs if all(math.isfinite(one) for one in pair)]
    before = mean([reference for _, reference in pairs])
    if not pairs or before == 0:
        return number(None)
    total = 100 * (mean([value for value, _ in pairs]) / before - 1)
    each = [100 * (value / reference - 1) for value, reference in pairs if reference != 0]
    return f"{signed(total, 2)} ({signed(min(each), 2)} to {signed(max(each), 2)})" if each else signed(total, 2)
