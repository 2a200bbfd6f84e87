"""The page of the slide paper's protocol, as one HTML file or as Markdown with pictures; both say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimscan.press.staging import staged
from slimscan.report import html
from slimscan.report.chart import png, svg
from slimscan.report.style import STYLE
from slimscan.report.wsi2025_blocks import Block, blocks
from slimscan.study.recipes.wsi2025.run import Found


def write_html(found: Found, place: Path) -> Path:
    """The page as one HTML file that needs nothing else; replaces what stands there."""
    said = found.protocol.said["study"]
    parts = [
        html.tag("h1", f"The protocol of the slide paper of 2025: {said['name']}"),
        html.paragraph(said["question"], class_="question"),
        *(_html(block) for block in blocks(found)),
    ]
    head = html.join(
        [
            html.tag("meta", charset="utf-8"),
            html.tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            html.tag("title", f"Slides: {said['name']}"),
            html.tag("style", html.Html(STYLE)),
        ]
    )
    body = html.tag("body", html.tag("main", *parts))
    text = "<!DOCTYPE html>\n" + html.tag("html", html.tag("head", head), body, lang="en")
    with staged(place, force=True) as stage:
        stage.path.write_text(text + "\n", "utf-8")
    return place


def _html(block: Block) -> html.Html:
    if block.kind == "h2":
        return html.tag("h2", block.text)
    if block.kind == "table":
        return html.table(block.head, block.rows, caption=block.text, left=block.left, dense=len(block.head) > 6)
    if block.draw is None:
        return html.paragraph(block.text)
    picture = (
        html.image(png(block.draw, (10.4, block.height), dpi=110), block.text)
        if block.photo
        else svg(block.draw, block.height, block.text, block.key)
    )
    return html.figure(picture, block.text)


def markdown(found: Found, pictures: Path, link: str) -> str:
    """The page as Markdown; figures are written to the folder `pictures` as wsi2025-KEY.png, linked as link/...png."""
    lines: list[str] = []
    for block in blocks(found):
        if block.kind == "h2":
            lines += [f"## {block.text}", ""]
        elif block.kind == "table":
            lines += [block.text, "", f"| {' | '.join(block.head)} |", f"|{'---|' * len(block.head)}"]
            lines += [f"| {' | '.join(row)} |" for row in block.rows] + [""]
        elif block.draw is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            (pictures / f"wsi2025-{block.key}.png").write_bytes(
                png(block.draw, (10.4, block.height), dpi=50 if block.photo else 80)
            )
            lines += [f"![{block.text}]({link}/wsi2025-{block.key}.png)", "", block.text, ""]
        else:
            lines += [block.text, ""]
    return "\n".join(lines)


def summary(found: Found) -> Mapping[str, Any]:
    """What a command prints: percent saved of whole pyramids by slide, and the lines of Table 3."""
    saved: dict[str, dict[str, float]] = {}
    for (slide, codec, glass), percent in found.saved.items():
        saved.setdefault(slide, {})[f"{codec} {glass}"] = percent
    return {
        "slides": len(found.slides),
        "patches": len({(row.slide, row.magnification, row.y, row.x) for row in found.rows}),
        "saved_percent": saved,
        "patch_lines": {line.codec: line for line in found.lines},
    }
