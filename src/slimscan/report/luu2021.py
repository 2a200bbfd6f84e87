"""The page of the protocol of Luu 2021, as one HTML file or as Markdown with pictures.

A page is a list of blocks, so that both forms say the same. Figures are drawn as those of a study's report are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimscan.press.staging import staged
from slimscan.report import html
from slimscan.report.chart import png, svg
from slimscan.report.luu2021_blocks import Block, blocks
from slimscan.report.style import STYLE
from slimscan.study.recipes.luu2021.evidence import least
from slimscan.study.recipes.luu2021.run import Found


def write_html(found: Found, place: Path) -> Path:
    """The page as one HTML file that needs nothing else; replaces what stands there."""
    said = found.protocol.said["study"]
    parts = [
        html.tag("h1", f"The protocol of Luu 2021: {said['name']}"),
        html.paragraph(said["question"], class_="question"),
    ]
    for block in blocks(found):
        parts.append(_html(block))
    head = html.join(
        [html.tag("meta", charset="utf-8"), html.tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
         html.tag("title", f"Luu 2021: {said['name']}"), html.tag("style", html.Html(STYLE))]
    )  # fmt: skip
    text = "<!DOCTYPE html>\n" + html.tag(
        "html", html.tag("head", head), html.tag("body", html.tag("main", *parts)), lang="en"
    )
    with staged(place, force=True) as stage:
        stage.path.write_text(text + "\n", "utf-8")
    return place


def _html(block: Block) -> html.Html:
    if block.kind == "h2":
        return html.tag("h2", block.text)
    if block.kind == "table":
        return html.table(block.head, block.rows, caption=block.text, left=block.left, dense=len(block.head) > 7)
    if block.draw is not None:
        return html.figure(svg(block.draw, block.height, block.text, block.key), block.text)
    return html.paragraph(block.text)


def markdown(found: Found, pictures: Path, link: str) -> str:
    """The page as Markdown; figures are written to the folder `pictures` as luu2021-KEY.png and linked as link/...png."""
    lines: list[str] = []
    for block in blocks(found):
        if block.kind == "h2":
            lines += [f"## {block.text}", ""]
        elif block.kind == "table":
            lines += [block.text, "", f"| {' | '.join(block.head)} |", f"|{'---|' * len(block.head)}"]
            lines += [f"| {' | '.join(row)} |" for row in block.rows] + [""]
        elif block.draw is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / f"luu2021-{block.key}.png").write_bytes(png(block.draw, (10.4, block.height), dpi=90))
            lines += [f"![{block.text}]({link}/luu2021-{block.key}.png)", "", block.text, ""]
        else:
            lines += [block.text, ""]
    return "\n".join(lines)


def summary(found: Found) -> Mapping[str, Any]:
    """What a command prints: improvements in percent by coder, and the verdicts."""
    return {
        "cases": len(found.cases),
        "patients": len({case["patient"] for case in found.cases}),
        "improvement_percent": {one.coder: one.percent for one in found.improvements},
        "ratio_original": {one.coder: one.original for one in found.improvements},
        "ratio_diffused": {one.coder: one.diffused for one in found.improvements},
        "likeness": {name: codec.code for name, codec in found.likeness.codecs.items()},
        "reading": None if found.read_verdict is None else {name: codec.code for name, codec in found.read_verdict.codecs.items()},
        "patients_needed": least(found.likeness),
    }  # fmt: skip
