"""The documentation: generated parts are fresh, everything that exists is named, links resolve, examples run.

A ```console block runs: lines that begin with "$ " are commands of slimscan, what follows is what they print. "..." alone
stands for any lines, at the end of a line for any rest; numbers may differ by 5 %. A ```python block with ">>>" is a
doctest. Blocks of a page run in order, in a folder of their own with the images that the project ships and its examples/.
Other blocks (```sh, ```text) are only shown.
"""

from __future__ import annotations

import doctest
import importlib.util
import io
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, get_args

import pytest

from slimscan import CODECS, METRICS
from slimscan.cli import run
from slimscan.files import FORMATS
from slimscan.nouns.study import Code
from slimscan.study import declared
from slimscan.study.tasks import COMMON, KINDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = (*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md")), *sorted((ROOT / "examples").rglob("*.md")))
IMAGES = {"ct.nii.gz": "ct_spleen.nii.gz", "microct.ome.tif": "microct_cortex.ome.tif"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator().main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_page_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = generator()
    for page in module.PARTS:
        shutil.copy(DOCS / page, tmp_path / page)
    module.DOCS = tmp_path
    place = tmp_path / "codecs.md"
    place.write_text(place.read_text().replace("JPEG 2000, wavelets", "JPEG 2000, wavelet"))
    assert module.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/codecs.md is stale; run: python docs/generate.py\n"
    assert module.main([]) == 0
    assert module.main(["--check"]) == 0


def test_every_command_option_codec_format_and_metric_is_named() -> None:
    module = generator()
    text = (DOCS / "commands.md").read_text()
    for words, found in module.commands():
        part = text.split(f"## slimscan {words}\n")[1].split("\n## ")[0]
        for one in found.params:
            assert all(option in part for option in one.opts) or one.param_type_name == "argument", (words, one.opts)
    for page, names in (("codecs.md", CODECS), ("formats.md", FORMATS), ("metrics.md", METRICS)):
        text = (DOCS / page).read_text()
        assert [name for name in names if f"| `{name}` |" not in text] == []


def test_every_code_and_word_of_a_study_is_named() -> None:
    text = (DOCS / "study.md").read_text()
    tables = [declared.STUDY, declared.CASES, declared.CODECS, declared.METRICS, declared.CONTRACT, declared.RUN]
    words = [word for some in (*tables, COMMON, *(kind.words for kind in KINDS.values())) for word in some]
    assert [word.name for word in words if f"| `{word.name}` |" not in text] == []
    assert [code for code in get_args(Code) if f"| `{code}` |" not in text] == []


def test_every_page_of_docs_is_reached_from_the_index() -> None:
    text = (DOCS / "index.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name != "index.md" and f"({page.name})" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        place = page if not path else (page.parent / path)
        heads = {anchor_of(line) for line in place.read_text().splitlines()} if anchor and place.is_file() else {anchor}
        if not place.exists() or anchor not in heads:
            broken.append(target)
    assert broken == []


def anchor_of(line: str) -> str:
    """The anchor that forges give to a heading; "" for other lines."""
    if not line.startswith("#"):
        return ""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")


def test_pictures_are_small() -> None:
    assert [place.name for place in (DOCS / "images").iterdir() if place.stat().st_size > 300_000] == []


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """(language, content, line) of every fenced block."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.S | re.M):
        yield found[1], found[2], page.read_text()[: found.start()].count("\n") + 2


RUNNABLE = [page for page in PAGES if any(language in ("console", "python") for language, _, _ in blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=named)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name, shipped in IMAGES.items():
        shutil.copy(ROOT / "examples" / "data" / shipped, tmp_path / name)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    names: dict[str, Any] = {}
    for language, content, line in blocks(page):
        if language == "console":
            run_console(content, f"{page.name}, line {line}")
        elif language == "python" and ">>>" in content:
            test = doctest.DocTestParser().get_doctest(content, names, page.name, str(page), line)
            said = io.StringIO()
            failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.write, clear_globs=False)
            names = test.globs
            assert not failed, said.getvalue()


def run_console(content: str, where: str) -> None:
    """Run every command of a block and compare what it prints."""
    for part in re.split(r"^\$ ", content, flags=re.M)[1:]:
        command, *expected = part.splitlines()
        words = shlex.split(command)
        assert words[0] == "slimscan", f"{where}: {command}"
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            status = run(words[1:])
        asked = [line for line in expected if line.strip()]
        assert (status != 0) == bool(asked and asked[0].startswith("error:")), f"{where}: {said.getvalue()}"
        assert alike(asked, said.getvalue().splitlines()), f"{where}: $ {command} printed\n{said.getvalue()}"


NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")


def alike(expected: list[str], got: list[str]) -> bool:
    """Whether the lines are those expected; see the head of this file."""
    if not expected:
        return not got
    if expected[0].strip() == "...":
        return any(alike(expected[1:], got[start:]) for start in range(len(got) + 1))
    return bool(got) and same_line(expected[0], got[0]) and alike(expected[1:], got[1:])


def same_line(expected: str, got: str) -> bool:
    if expected.endswith("..."):
        start = expected.removesuffix("...")
        return got.startswith(start)
    if NUMBER.sub("#", expected) != NUMBER.sub("#", got):
        return False
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(got), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.05, abs_tol=0.002) for a, b in pairs)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("ratio 8.05 on disk", "ratio 8.1 on disk", True),
        ("ratio 8.05 on disk", "ratio 9 on disk", False),
        ("time   ...", "time   3 s", True),
        ("  PSNR 50 dB", "  PSNR 50 db", False),
        ("jpeg2000@51.1", "jpeg2000@51.2", True),
        ("jpeg2000@51.1", "jpegxl@51.1", False),
    ],
)
def test_same_line(expected: str, got: str, same: bool) -> None:
    assert same_line(expected, got) is same


def test_alike() -> None:
    assert alike(["a", "...", "c"], ["a", "b", "b", "c"])
    assert alike(["..."], [])
    assert not alike(["a"], ["a", "b"])
    assert not alike([], ["a"])
