"""The demonstration, on fewer codecs and sizes: the page holds what it says, and needs nothing but itself."""

from __future__ import annotations

import base64
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import slimscan

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        import demo

        return demo


@pytest.fixture(scope="module")
def made(demo: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    asks = ("--lossless --codec jpegxl", "--ratio 8 --codec htj2k", "--ratio 8 --codec jpeg2000")
    scans = [replace(scan, asks=asks, ratios=(6, 12)) for scan in demo.SCANS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "study_part", lambda folder: "<h2>The study</h2>")
        place = demo.make(folder, scans, ["jpeg2000", "jpegls", "xz"])
    assert place == folder / "index.html"
    return folder


def test_the_page_needs_nothing_but_itself(made: Path) -> None:
    page = (made / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|iframe)\b", page) == []
    assert [found for found in re.findall(r"""(?:src|href)=["']([^"']+)""", page) if found[:1] not in "#d"] == []
    assert [found for found in re.findall(r"url\(([^)]+)\)", page) if not found.startswith("#")] == []
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(picture)[:8] for picture in pictures] == [b"\x89PNG\r\n\x1a\n"] * 2
    assert page.count("<svg") == page.count("</svg>") == 2


def test_every_tag_is_closed(made: Path) -> None:
    class Tags(HTMLParser):
        open: list[str]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    tags = Tags()
    tags.open = []
    tags.feed((made / "index.html").read_text(encoding="utf-8"))
    assert tags.open == []


def test_the_rows_are_what_lies_in_the_folder(made: Path) -> None:
    page = (made / "index.html").read_text(encoding="utf-8")
    files = sorted(made.glob("*.ozx"))
    assert [place.name for place in files] == [
        f"{name}_{n}.ozx" for name in ("ct_spleen", "microct_cortex") for n in (1, 2, 3)
    ]
    for place in files:
        assert f"<td>{place.stat().st_size:,}</td>" in page
    assert page.count("<td class='t ok'") == 6
    assert "class='t no'" not in page
    assert page.count("the samples are identical") == 2
    assert "<h2>The study</h2>" in page


def test_the_pictures_are_small(made: Path) -> None:
    assert (made / "panel.png").stat().st_size < 300_000
    assert not (made / "sweep.ozx").exists()
    assert not (made / "exact.ozx").exists()


def test_what_is_shipped_is_small_and_has_its_source_beside_it() -> None:
    files = [place for place in (EXAMPLES / "data").rglob("*") if place.is_file()]
    assert sum(place.stat().st_size for place in files) < 5_000_000
    told = (EXAMPLES / "data" / "README.md").read_text(encoding="utf-8")
    top = {place.relative_to(EXAMPLES / "data").parts[0] for place in files} - {"README.md"}
    assert [name for name in top if name not in told] == []


def test_the_scans_ask_for_codecs_that_exist(demo: ModuleType) -> None:
    for scan in demo.SCANS:
        names = [ask.split("--codec ")[1].split()[0] for ask in scan.asks]
        assert [name for name in names if name != "auto" and name not in slimscan.CODECS] == []
        assert (EXAMPLES / "data" / scan.name).is_file()


def test_every_lossy_codec_has_a_line_of_its_own(demo: ModuleType) -> None:
    curves = sys.modules["demo_curves"]
    drawn = [name for _, _, names in curves.FAMILIES for name in names]
    assert sorted(drawn) == sorted(name for name, codec in slimscan.CODECS.items() if codec.lossy)
    assert all(len(names) <= len(curves.STYLES) for _, _, names in curves.FAMILIES)
