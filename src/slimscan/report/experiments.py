"""The page of the network experiments (El Khoury 2021, Kurmukov 2024), as one HTML file or as Markdown with pictures.

Both are made from the same blocks. What was not run is said where it would stand.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from slimscan.press.staging import staged
from slimscan.report import html
from slimscan.report.chart import png, svg
from slimscan.report.experiments_block import Block
from slimscan.report.experiments_claims import weak
from slimscan.report.experiments_elkhoury import Section, one_ratio, tuned, two_and_three
from slimscan.report.experiments_few import few
from slimscan.report.experiments_kurmukov import matrix
from slimscan.report.experiments_learning import learning
from slimscan.report.experiments_method import PAPERS, method, not_run, ratios, tolerance_words, worst
from slimscan.report.experiments_read import Found, load, training
from slimscan.report.experiments_style import STYLE
from slimscan.report.numbers import listed, plural

_CODES = {"confirmed": "good", "decided": "good", "denied": "stop"}


def write_html(folder: Path, page: Path) -> Path:
    """The page of a folder of experiments; replaces what stands at `page`, gives its path.

    folder: with experiment.json and rows.csv, and, when there, verdicts.json and nets/. The same folder gives the same bytes.
    InputError: one of the first two is missing or is something else. OutputError: the page cannot be written.
    """
    found = load(Path(folder))
    text = _page(found, blocks(found))
    with staged(Path(page), force=True) as stage:
        stage.path.write_text(text, "utf-8")
    return Path(page)


def write_markdown(folder: Path, out: Path, images: Path) -> Path:
    """The same as Markdown in `out`; figures go to the folder `images` as STEM-KEY.png, STEM being that of `out`."""
    found, out, images = load(Path(folder)), Path(out), Path(images)
    images.mkdir(parents=True, exist_ok=True)
    link = Path(os.path.relpath(images, out.parent)).as_posix()
    lines = [f"# {_title(found)}", "", f"{found.said.get('question') or ''} {_whence(found)}".strip(), ""]
    for block in blocks(found):
        lines += [*_markdown(block, out.stem, images, link), ""]
    with staged(out, force=True) as stage:
        stage.path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return out


def blocks(found: Found) -> list[Block]:
    """Everything, in order: the findings in short, what was reached, the experiments, and how it was run."""
    if not found.rows:
        return [Block("absent", "rows.csv has no rows: no network was tested yet."), *method(found)]
    sections: dict[str, Section] = {
        "a": two_and_three(found),
        "b": tuned(found),
        "c": one_ratio(found),
        "d": matrix(found),
        "e": few(found),
    }
    wanted = not_run(found)
    shown = {letter: one for letter, one in sections.items() if letter in wanted or len(one[0]) > 2}
    out = [Block("h2", "In short", key="short")]
    findings = [finding for _, one in shown.values() for finding in one]
    out += weak(found)
    out += findings or [
        Block("absent", "No two trainings can be compared yet, so nothing of the papers is confirmed or denied.")
    ]
    strange = sorted({row["trained"] for row in found.rows if training(row["trained"]).kind == "other"})
    if strange:
        out.append(
            Block("absent", f"Rows trained as {listed(strange)} are of no kind that this page knows, and are left out.")
        )
    out += ratios(found)
    for body, repeated in shown.values():
        # What the top says already is not said twice.
        out += [block for block in body if block not in repeated]
    return [*out, *worst(found), *learning(found), *tolerance_words(found), *method(found)]


def _title(found: Found) -> str:
    paper = PAPERS.get(found.recipe)
    name = str(found.said.get("name") or "")
    said = f"The experiments of {paper[0]}" if paper else "Networks under compression"
    return f"{said}: {name}" if name else said


def _whence(found: Found) -> str:
    networks = listed([found.title(network) for network in found.networks])
    return f"{plural(len(found.patients), 'patient')}, {plural(len(found.classes), 'class', 'classes')}, networks: {networks or 'none'}."


def _page(found: Found, all_blocks: list[Block]) -> str:
    question = found.said.get("question")
    heads = [block for block in all_blocks if block.kind == "h2"]
    top = html.tag("header", html.tag("h1", _title(found)), html.paragraph(str(question), class_="question") if question else None, html.paragraph(_whence(found), class_="soft"))  # fmt: skip
    contents = html.tag("nav", html.tag("ol", *(html.tag("li", html.tag("a", block.text, href=f"#{block.key}")) for block in heads)), aria_label="Contents")  # fmt: skip
    body = html.join([top, contents, html.tag("main", *map(_html, all_blocks)), html.tag("footer", "Made by slimscan from the rows of the experiments and nothing else.")], "\n")  # fmt: skip
    head = html.join(
        [html.tag("meta", charset="utf-8"), html.tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
         html.tag("meta", name="color-scheme", content="light dark"), html.tag("title", _title(found)), html.tag("style", html.Html(STYLE))],
        "\n",
    )  # fmt: skip
    return f"<!DOCTYPE html>\n{html.tag('html', html.tag('head', head), html.tag('body', body), lang='en')}\n"


def _html(block: Block) -> html.Html:
    if block.kind == "h2":
        return html.tag("h2", block.text, id=block.key or None)
    if block.kind == "h3":
        return html.tag("h3", block.text)
    if block.kind == "table":
        # Above the table, not in it: a caption would be as narrow as a short table, or scroll away with a wide one.
        many = len(block.head) > 7
        rows = [[_broken(cell, len(block.head)) if many else cell for cell in row] for row in block.rows]
        drawn = html.table(block.head, rows, left=block.left, marked=block.marked, dense=len(block.head) > 6)
        return html.join([html.paragraph(block.text, class_="legend") if block.text else None, drawn])
    if block.kind == "finding":
        claim, _, rest = block.text.partition(". ")
        kind = _CODES.get(block.code, "plain")
        return html.tag("div", html.tag("p", html.tag("span", block.code, class_="code"), claim + ".", class_="head"), html.paragraph(rest) if rest else None, class_=f"verdict {kind}")  # fmt: skip
    if block.draw is not None:
        return html.figure(svg(block.draw, block.height, block.text, _key(block.key)), block.text)
    if block.kind == "picture":
        return html.figure(html.image(block.png, block.text), block.text)
    return html.paragraph(block.text, class_="absent" if block.kind == "absent" else None)


def _broken(cell: str, columns: int) -> html.Html:
    """In a table of many columns an interval, or in one of very many a deviation, stands under its number."""
    mark = "[" if "[" in cell else "±"
    first, found, rest = cell.partition(f" {mark}")
    if not found or (mark == "±" and columns < 9) or not first[-1:].isdigit():
        return html.text(cell)
    return html.join([first, html.tag("br"), mark + rest])


def _markdown(block: Block, stem: str, images: Path, link: str) -> list[str]:
    if block.kind in ("h2", "h3"):
        return [f"{'##' if block.kind == 'h2' else '###'} {block.text}"]
    if block.kind == "table":
        lines = [
            *([block.text, ""] if block.text else []),
            f"| {' | '.join(block.head)} |",
            f"|{'---|' * len(block.head)}",
        ]
        return [*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in block.rows)]
    if block.kind == "finding":
        claim, _, rest = block.text.partition(". ")
        return [f"- **{block.code.capitalize()}: {claim.rstrip('.')}.** {rest}".rstrip()]
    if block.draw is not None or block.kind == "picture":
        name = f"{stem}-{_key(block.key)}.png"
        data = png(block.draw, (10.4, block.height), dpi=90) if block.draw is not None else block.png
        (images / name).write_bytes(data)
        return [f"![{block.text}]({link}/{name})", "", block.text]
    return [f"*{block.text}*" if block.kind == "absent" else block.text]


def _key(key: str) -> str:
    """A name of a network may hold anything; an id and a file name may not."""
    return re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-").lower()
