"""The page of a slide, two slides side by side in a headless Chromium, and the protocol of the slide paper."""

from __future__ import annotations

import io
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import browser
import numpy as np
import pytest
import slides_made

from slimscan.cli import slide_check
from slimscan.cli.study_recipe import recipe
from slimscan.errors import InputError, OutputError
from slimscan.files.slides import open_slide
from slimscan.report import slide_tiles, wsi2025
from slimscan.report.slide import write_slide_report
from slimscan.report.slide_tiles import PAGE, difference, square, told, write_alone
from slimscan.study.recipes import names, text
from slimscan.study.recipes.wsi2025 import paper
from slimscan.study.recipes.wsi2025.run import run
from slimscan.study.recipes.wsi2025.words import TABLES, coder, load, parse

GLASS = 0

# Pages


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    fine = slides_made.svs(folder / "fine.svs", "jpeg", args={"level": 95})
    coarse = slides_made.svs(folder / "coarse.svs", "jpeg", args={"level": 30})
    slides_made.empty_tiles(coarse, 0, [GLASS])
    return fine, coarse


def test_the_page_of_a_slide(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "page.html"
    page, found = write_slide_report(pair[0], [pair[1]], place, most=5)
    said = page.read_text()
    assert [one.passed for one in found] == [True], found[0].findings
    assert "1 of 20 tiles of level 0 are left out" in said
    for part in (
        "The ladder",
        "What was left out",
        "Worst tiles",
        "zero-byte tiles are black",
        "reading a tile, ms",
        "MS-SSIM",
    ):
        assert part in said
    assert said.count("<img") == 2 + 3  # the ladder, the slide, three tiles
    assert not re.search(r"(src|href)=\"(?!data:|#)", said)  # needs nothing else
    with pytest.raises(OutputError, match="exists already"):
        slide_check.report(str(pair[0]), [str(pair[1])], str(place))
    assert slide_check.report(str(pair[0]), [str(pair[1])], str(place), tiles=2, force=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["passed"] is True


def test_squares_cover_a_slide(pair: tuple[Path, Path]) -> None:
    with open_slide(pair[0]) as one, open_slide(pair[1]) as other:
        known = told(one)
        assert (known["width"], known["height"], known["most"]) == (1200, 960, 11)
        whole = np.vstack([np.hstack([square(one, 11, col, row) for col in range(5)]) for row in range(4)])
        assert np.array_equal(whole, one.read(0, 0, 0, 960, 1200))
        assert square(one, 10, 2, 1).shape == (224, 88, 3)
        assert np.array_equal(square(one, 9, 0, 0), one.read(1, 0, 0, 240, 256))
        apart = np.abs(square(one, 11, 1, 1).astype(int) - square(other, 11, 1, 1)) * 8
        assert np.array_equal(difference(one, other, 11, 1, 1), np.minimum(apart, 255))
        assert square(one, known["least"], 0, 0).size
        for level, col in ((12, 0), (11, 5), (known["least"] - 1, 0)):
            with pytest.raises(InputError, match="is not there"):
                square(one, level, col, 0)


def test_openseadragon_is_shipped_with_its_licences() -> None:
    script = (PAGE / "openseadragon.min.js").read_text()
    assert script.startswith("//! openseadragon 6.1.1")
    assert "sourceMappingURL" not in script
    assert "</script" not in script
    assert "Redistributions in binary form must reproduce" in (PAGE / "OPENSEADRAGON-LICENSE.txt").read_text()
    others = (PAGE / "OPENSEADRAGON-THIRD-PARTY.txt").read_text()
    assert all(
        name in others for name in ("John Resig", "Matt Snider", "Gregg Tavares", "Closure Library", "Apache License")
    )


def test_a_page_that_stands_alone_is_for_small_slides(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide_tiles, "HELD_PIXELS", 1000)
    with open_slide(pair[0]) as one, open_slide(pair[1]) as other:
        with pytest.raises(InputError, match="leave out --output, and the slides are served from where they lie"):
            write_alone(one, other, tmp_path / "x.html")
        base = slides_made.picture()
        monkeypatch.setattr(slides_made, "picture", lambda: base[:512])
        half = slides_made.plain(tmp_path / "p.tif", 1)
        with open_slide(half) as third, pytest.raises(InputError, match="give two slides of one size"):
            write_alone(one, third, tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_no_page_takes_the_place_of_a_slide(pair: tuple[Path, Path]) -> None:
    before = [one.read_bytes() for one in pair]
    with open_slide(pair[0]) as one, open_slide(pair[1]) as other:
        for place in pair:
            with pytest.raises(OutputError, match="would change its own source"):
                write_slide_report(pair[0], [pair[1]], place, force=True)
            with pytest.raises(OutputError, match="would change its own source"):
                write_alone(one, other, place, force=True)
    assert [one.read_bytes() for one in pair] == before


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def seen(page: browser.Page, side: str) -> np.ndarray:
    """What a view shows, (h, w, 3), without the small map in its corner."""
    from matplotlib import image

    pixels = image.imread(io.BytesIO(page.picture()), format="png")[..., :3] * 255
    box = page.run(f"(({{x, y, width, height}}) => [x, y, width, height])($('view-{side}').getBoundingClientRect())")
    x, y, width, height = (int(n) for n in box)
    return np.asarray(pixels[y : y + int(height * 0.75), x : x + width - 2])


SETTLED = "[views.a, views.b].every((v) => v.world.getItemCount() === 1 && v.world.getItemAt(0).getFullyLoaded())"


@pytest.mark.skipif(browser.found() is None, reason="no Chromium on this machine")
def test_two_slides_move_together(pair: tuple[Path, Path], tab: browser.Page) -> None:
    pytest.importorskip("starlette", reason="the extra serve is not installed")
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from slimscan.report.slide_view import serving

    with open_slide(pair[0]) as one, open_slide(pair[1]) as other, serving(one, other) as port:
        tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/")
        tab.wait("document.body.dataset.ready === 'yes'")
        assert tab.run("$('name-a').innerText + ' ' + $('name-b').innerText") == "fine.svs coarse.svs"
        tab.key("1", 49, "1")
        tab.wait(f"document.body.dataset.scale === '1.000' && {SETTLED}")
        assert tab.run("views.b.viewport.getZoom()") == pytest.approx(tab.run("views.a.viewport.getZoom()"))
        left, right = seen(tab, "a"), seen(tab, "b")
        wide = min(left.shape[1], right.shape[1])
        apart = np.abs(left[:, :wide] - right[:, :wide]).mean()
        assert left.std() > 20  # tissue, and not one colour
        assert 0.5 < apart < 30  # the same place, coarser
        # pixels of level 0, one to one
        x, y = (int(n) for n in tab.run("document.body.dataset.centre").split())
        middle = one.read(0, y - 20, x - 20, 40, 40).mean()
        h = int(tab.run("$('view-a').clientHeight"))
        assert abs(left[h // 2 - 20 : h // 2 + 20, wide // 2 - 20 : wide // 2 + 20].mean() - middle) < 6
        tab.run("views.b.viewport.panBy(new OpenSeadragon.Point(0.05, 0), true) && 1")
        tab.wait(f"Number(document.body.dataset.centre.split(' ')[0]) === {x + 60}")
        tab.key("d", 68, "d")
        tab.wait(f"document.body.dataset.right === 'd' && {SETTLED}")
        assert seen(tab, "b").mean() < 0.6 * seen(tab, "a").mean()
        tab.key("b", 66, "b")
        tab.key("b", 66, "b")
        tab.wait(f"document.body.dataset.right === 'b' && {SETTLED}")
        tab.key("0", 48, "0")
        tab.wait("Number(document.body.dataset.scale) < 0.6")
        assert "µm a screen pixel" in tab.run("$('where').innerText")
        for path, status in (
            ("tile/c/11/0_0", 404),
            ("tile/a/11/9_9", 404),
            ("page/../slide.py", 404),
            ("tile/a/99/0_0", 404),
        ):
            assert refused(f"http://127.0.0.1:{port}/{path}") == status
        assert refused(f"http://127.0.0.1:{port}/slides", "evil.example") == 421
        tab.call("Page.navigate", url="about:blank")
        tab.wait("location.href === 'about:blank'")
    assert [said for said in tab.complaints() if said != "asked about:blank"] == []


def refused(url: str, host: str | None = None) -> int:
    asked = urllib.request.Request(url, headers={} if host is None else {"Host": host})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.skipif(browser.found() is None, reason="no Chromium on this machine")
def test_a_page_that_stands_alone(pair: tuple[Path, Path], tab: browser.Page, tmp_path: Path) -> None:
    place = tmp_path / "both.html"
    assert slide_check.view(str(pair[0]), str(pair[1]), output=str(place)) == 0
    assert "Redistributions in binary form" in place.read_text()
    tab.events.clear()
    tab.call("Page.navigate", url=place.as_uri())
    tab.wait("document.body.dataset.ready === 'yes'")
    tab.key("1", 49, "1")
    tab.wait(f"document.body.dataset.scale === '1.000' && {SETTLED}")
    assert seen(tab, "a").std() > 20
    assert tab.run("[...$('right').options].map((one) => one.value).join('')") == "ba"
    asked = (f"asked {place.as_uri()}", "asked about:blank")
    assert [said for said in tab.complaints() if said not in asked] == []


# The slide paper's protocol


def protocol_text(folder: Path) -> Path:
    place = folder / "wsi.toml"
    said = (
        text("wsi2025")
        .replace("most = 138", "most = 3")
        .replace("magnifications = [1.25, 2.5, 5, 10, 20, 40]", "magnifications = [5, 20, 40]")
    )
    place.write_text(said.replace('files = "slides/*"', 'files = "*.tif"').replace("size = 256", "size = 128"))
    return place


def test_the_recipe_declares_what_its_words_are() -> None:
    assert "wsi2025" in names()
    said = text("wsi2025")
    for name, words in TABLES.items():
        assert f"[{name}]" in said
        assert [word.name for word in words if f"{word.name} = " not in said and word.name != "note"] == []
    assert set(paper.ORIGIN) == {name for name in vars(paper) if name.isupper() and name != "ORIGIN"}
    assert paper.TABLE_3["jpegxl"].kb == 15293
    # 828 patches of 256 x 256: bits a pixel follow from the total
    for line in paper.TABLE_3.values():
        assert line.kb * 1024 * 8 / (828 * 256 * 256) == pytest.approx(line.bpp, abs=0.01)
    assert round(100 * (1 - paper.TOTAL_GB["jpegxl", "zero-byte"] / paper.TOTAL_GB["jpeg", "kept"])) == 39


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"jpegxl@1"]', '"png@3"]', 'codec "png" holds no tiles of RGB; allowed:'),
        ('"jpegxl@1"]', '"jpegxl@99"]', "distance 99 is outside"),
        ('"jpegxl@1"]', '"jpeg@lossless"]', "jpeg is never exact"),
        ('against = "jpeg@90"', 'against = "jpeg@50"', "want one of names"),
        ('tissue = "colour"', 'tissue = "color"', 'tissue = "color": allowed: colour'),
        ('"zero-byte"]', '"gone"]', 'glass = "gone": allowed: kept, painted, zero-byte'),
        ("[pyramids]", "[pyramid]", "the table [pyramid] is not known"),
        ('files = "*.tif"', 'files = "*.svs"', "nothing is found there"),
    ],
)  # fmt: skip
def test_wrong_words_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    place = protocol_text(tmp_path)
    (tmp_path / "s.tif").write_bytes(b"")
    assert old in place.read_text()
    place.write_text(place.read_text().replace(old, new))
    with pytest.raises(InputError, match=re.escape(said)):
        load(place)


def test_codecs_of_the_protocol() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8)
    small, large = (len(one.encode(noise, _layout(), value)) for one, value in (coder("jpeg@50"), coder("jpeg444@90")))
    assert small < large
    assert coder("jpeg2000@lossless")[1] is None
    with pytest.raises(InputError):
        parse(
            {"study": {"recipe": "wsi2025", "name": "n", "question": "q"}, "slides": {"files": ["nowhere/*"]}}, Path()
        )


def _layout() -> object:
    from slimscan.nouns import Layout

    return Layout((1, 64, 64, 3), "uint8", 8)


def test_the_protocol_runs_once_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slides_made.plain(tmp_path / "a.tif", 3)
    place = protocol_text(tmp_path)
    found = run(load(place), tmp_path / "out")
    (slide,) = found.slides
    assert (slide["magnification"], slide["tiles"]) == (
        pytest.approx(20),
        sum(-(-960 // s) * -(-1200 // s) for s in (256, 512, 1024)),
    )
    assert {row.magnification for row in found.rows} == {5, 20}
    assert len(found.rows) == 3 * (1 + 3)  # 5x holds 1 patch with tissue
    assert len(found.pyramids) == 9
    total = {(one.codec, one.glass): one.bytes for one in found.pyramids}
    for codec in ("jpeg@90", "jpeg2000@37", "jpegxl@1"):
        assert total[codec, "zero-byte"] <= total[codec, "painted"]
        white = found.white[codec] * found.pyramids[0].glass_tiles
        assert total[codec, "painted"] - total[codec, "zero-byte"] == pytest.approx(
            white
        )  # what zero-byte tiles save is white tiles
    assert found.saved["a.tif", "jpeg@90", "kept"] == 0
    assert len(found.worst) == 3
    for one in found.worst:
        assert one.row.ssim == min(row.ssim for row in found.rows if row.codec == one.row.codec)
        assert one.ssim[one.row.codec] == one.row.ssim
        assert one.original.shape == (128, 128, 3)
    # nothing is measured again
    monkeypatch.setattr("slimscan.study.recipes.wsi2025.run.slide_measured", None)
    assert run(load(place), tmp_path / "out").rows == found.rows
    assert recipe(str(place), str(tmp_path / "out"), as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["saved_percent"]["a.tif"]["jpeg@90 kept"] == 0
    page = Path(said["report"]).read_text()
    for part in (
        "Fig. 6",
        "Table 3",
        "Table 4",
        "Figs 9 and 10",
        "15293",
        "22 to 71",
        "No patch of tissue fits at 40x",
    ):
        assert part in page
    assert "nan" not in re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<svg.*?</svg>", "", page)).split()
    written = wsi2025.markdown(found, tmp_path / "images", "images")
    assert written.count("![") == 5
    assert (tmp_path / "images/wsi2025-worst0.png").stat().st_size < 300_000
