"""The page: what it says in each state of the verdict, that it needs nothing else, and that it is the same every time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_folder import EVIL, LOSSES, make

from slimscan.errors import InputError
from slimscan.report.numbers import number, p_value, ratio
from slimscan.report.page import page, write_report
from slimscan.report.results import load

SECTIONS = (
    "answer",
    "levels",
    "curves",
    "task",
    "losses",
    "worst",
    "surfaces",
    "maps",
    "texture",
    "comparison",
    "size",
    "limits",
    "method",
)
VOID = {"br", "hr", "img", "meta", "col"}


def no_pictures(*_: Any) -> str:
    return "this test draws none"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a certified level, and its page with all pictures."""
    folder = make(tmp_path_factory.mktemp("study"))
    return folder, write_report(folder).read_text("utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {state: make(tmp_path_factory.mktemp(state.lower()), state) for state in LOSSES}


class Checker(HTMLParser):
    """Elements that are not closed in order, and ids that come twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if said.get("id"):
            self.ids.append(str(said["id"]))
        if tag in ("img", "svg"):
            self.images.append(said | {"tag": tag})
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    return checker


def text_of(html: str) -> str:
    return " ".join("".join(read(html).text).replace("\u00a0", " ").split())


@pytest.mark.parametrize("state", LOSSES)
def test_the_judge_gives_the_state_and_the_page_says_it(folders: dict[str, Path], state: str) -> None:
    results = load(folders[state])
    codec = results.by_codec["jpeg2000"]
    assert codec["code"] == state
    said = text_of(page(results, no_pictures))
    assert state in said
    wanted = {
        "CERTIFIED": "Certified: mean loss of Dice similarity coefficient below 0.02",
        "ALL_CERTIFIED_GRID_EXHAUSTED": "Every level tried is certified: the limit lies at or beyond the last one.",
        "NONE_CERTIFIED": "no level is certified by these 40 patients",
        "INSUFFICIENT_N": "6 patients are too few to certify any level. At least 29 patients are needed",
        "ORDER_MISMATCH": "not judged, the order of its levels is wrong",
        "LOSSLESS_ONLY": "only exact levels are certified",
    }[state]
    assert wanted in said


@pytest.mark.parametrize("state", LOSSES)
def test_not_certified_is_never_called_harmful(folders: dict[str, Path], state: str) -> None:
    said = text_of(page(load(folders[state]), no_pictures))
    for sentence in re.findall(r"[^.:]*\bharmful\b[^.:]*", said):
        assert "not harmful" in sentence or "never means harmful" in sentence or "certify a harmful level" in sentence


@pytest.mark.parametrize("state", LOSSES)
def test_every_state_gives_a_whole_valid_page(folders: dict[str, Path], state: str) -> None:
    html = page(load(folders[state]), no_pictures)
    found = read(html)
    assert not found.wrong
    assert not found.open
    assert len(set(found.ids)) == len(found.ids)
    assert all(key in found.ids for key in SECTIONS)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|\{\w+\}", text_of(html))


def test_the_page_has_the_numbers_of_the_verdict(whole: tuple[Path, str]) -> None:
    folder, html = whole
    said = text_of(html)
    codec = json.loads((folder / "verdict.json").read_text("utf-8"))["codecs"]["jpeg2000"]
    assert codec["code"] == "CERTIFIED"
    for level in codec["levels"]:
        evidence, achieved = level["evidence"], level["achieved_cr"]
        for value in (evidence["upper_T4"], evidence["mean_loss"], evidence["worst_loss"]):
            assert number(value) in said
        for value in (evidence["p_T4"], evidence["p_T6"], evidence["naive_two_sided_p"]):
            assert p_value(value) in said
        for key in ("mean", "median", "min"):
            assert ratio(achieved[key]) in said
    certified = next(level for level in codec["levels"] if level["level"] == codec["level"])
    assert number(certified["evidence"]["implied_worst_raw_mean"]) in said
    assert json.loads((folder / "plan.json").read_text("utf-8"))["sha256"] in said
    assert "slimscan study run study.toml" in said


def test_the_page_needs_nothing_else(whole: tuple[Path, str]) -> None:
    _, html = whole
    assert "http" not in html
    assert not re.findall(r'(?:src|href)="(?!data:image/png;base64,|#)', html)
    assert not re.findall(r"url\((?!#)", html)
    assert not re.findall(r"<(?:script|link|iframe|object|embed|base)\b|@import", html)


def test_names_are_escaped(whole: tuple[Path, str]) -> None:
    _, html = whole
    assert EVIL not in html
    assert EVIL in "".join(read(html).text)  # the case that lost most is named
    assert "phantom <b>" in "".join(read(html).text)


def test_every_picture_says_what_it_shows(whole: tuple[Path, str]) -> None:
    pictures = read(whole[1]).images
    assert {one["tag"] for one in pictures} == {"img", "svg"}
    assert all(len(str(one.get("alt") or one.get("aria-label"))) > 30 for one in pictures)
    assert "is not there" not in text_of(whole[1])
    assert "cannot be shown" not in text_of(whole[1])


def test_the_same_folder_gives_the_same_bytes(whole: tuple[Path, str]) -> None:
    folder, html = whole
    assert write_report(folder).read_text("utf-8") == html


def test_pictures_of_images_that_moved_are_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = make(tmp_path)
    shutil.rmtree(tmp_path / "images")
    said = text_of(write_report(folder).read_text("utf-8"))
    assert "cannot be shown" in said
    assert "The answer" in said


def test_without_an_orientation_the_page_says_so(tmp_path: Path) -> None:
    folder = make(tmp_path, affine=False, command=False)
    said = text_of(write_report(folder).read_text("utf-8"))
    assert "The file states no orientation" in said
    assert "Seen from the front" not in said
    assert "The command of the run was not recorded" in said


def test_a_folder_that_was_not_judged(tmp_path: Path) -> None:
    folder = make(tmp_path, "INSUFFICIENT_N")
    (folder / "verdict.json").unlink()
    with pytest.raises(InputError) as caught:
        write_report(folder)
    assert (
        str(caught.value)
        == f"{folder / 'verdict.json'}: is not there; judge the study first: slimscan study judge {folder}"
    )


def test_chromium_shows_and_prints_it(whole: tuple[Path, str], tmp_path: Path) -> None:
    browser = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if browser is None:
        pytest.skip("no Chromium is installed; it opens and prints the page")
    pdf = tmp_path / "report.pdf"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
               f"--print-to-pdf={pdf}", (whole[0] / "report.html").as_uri()]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0
    assert "CONSOLE" not in ran.stderr
    data = pdf.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 4
