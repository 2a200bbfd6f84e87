"""The report of a study: one HTML page that needs nothing else, for a screen and for paper."""

from __future__ import annotations

from pathlib import Path

from slimscan.press.staging import staged
from slimscan.report.again import Take, taker
from slimscan.report.answer import answer, levels
from slimscan.report.compare import comparison
from slimscan.report.curves import curves
from slimscan.report.html import Html, join, paragraph, tag
from slimscan.report.limits import limits, size
from slimscan.report.losses import losses
from slimscan.report.maps import maps
from slimscan.report.method import method
from slimscan.report.numbers import plural
from slimscan.report.results import Results, load
from slimscan.report.style import STYLE
from slimscan.report.surfaces import surfaces
from slimscan.report.task import task
from slimscan.report.texture import texture
from slimscan.report.worst import worst_cases

CONTENTS = (
    ("answer", "Answer"),
    ("levels", "Every level"),
    ("curves", "Ratio and quality"),
    ("task", "Task"),
    ("losses", "Patients"),
    ("worst", "Worst cases"),
    ("surfaces", "Surfaces"),
    ("maps", "Likeness maps"),
    ("texture", "Texture"),
    ("comparison", "Papers' rules"),
    ("size", "Number of patients"),
    ("limits", "Limits"),
    ("method", "Method"),
)


def write_report(folder: Path) -> Path:
    """Write report.html of a folder of results that was run and judged; gives its path.

    The same folder gives the same bytes. A picture whose image has moved is left out with a sentence that says so.
    InputError: the folder holds no finished study, or it was not judged. OutputError: the page cannot be written.
    """
    results = load(Path(folder))
    text = page(results, taker(results))
    with staged(results.folder.report, force=True) as stage:
        stage.path.write_text(text, "utf-8")
    return results.folder.report


def page(results: Results, take: Take) -> str:
    """The page as text. take: gives the pixels of a case, for pictures."""
    said = results.plan.get("study") or {}
    name = str(said.get("name") or "study")
    patients = len({case["case"] for case in results.plan.get("cases") or ()})
    top = tag(
        "header",
        tag("h1", f"How far may it be compressed? {name}"),
        paragraph(str(said.get("question") or ""), class_="question") if said.get("question") else None,
        paragraph(
            f"{plural(patients, 'patient')}, {plural(len(results.codecs), 'codec')}. ",
            str(said.get("note") or ""),
            class_="soft",
        ),
    )
    contents = tag(
        "nav",
        tag("ol", *(tag("li", tag("a", words, href=f"#{key}")) for key, words in CONTENTS)),
        aria_label="Contents",
    )
    body = join(
        [
            top,
            contents,
            tag(
                "main",
                answer(results),
                levels(results),
                curves(results),
                task(results),
                losses(results),
                worst_cases(results, take),
                surfaces(results, take),
                maps(results, take),
                texture(results),
                comparison(results),
                size(results),
                limits(results),
                method(results),
            ),
            tag("footer", "Made by slimscan from the rows of the study and nothing else."),
        ],
        "\n",
    )
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light"),
            tag("title", f"{name}: how far may it be compressed"),
            tag("style", Html(STYLE)),
        ],
        "\n",
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"
