"""The page in a headless Chromium: the first layer is seen, better ones take its place, window and scroll work."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import browser
import numpy as np
import pytest
from phantoms import head

import slimscan
from slimscan import Lossless
from slimscan.press.send import serving

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

TOKEN = "0123456789abcdef"
SHAPE = (40, 96, 96)

pytestmark = pytest.mark.skipif(browser.found() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    held = tmp_path_factory.mktemp("served")
    slimscan.compress(head(SHAPE), held / "ct.ozx", target=Lossless(), codec="jpegls")
    (held / "broken.ozx").write_bytes((held / "ct.ozx").read_bytes()[:3000])
    return held


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def canvas(page: browser.Page) -> np.ndarray:
    """What is drawn, as grey values (y, x), without the letters at the edge."""
    from matplotlib import image

    pixels = image.imread(io.BytesIO(page.picture()), format="png")[..., :3].mean(axis=2) * 255
    box = page.run("(({x, y, width, height}) => [x, y, width, height])(canvas.getBoundingClientRect())")
    x, y, width, height = (int(n) for n in box)
    return np.asarray(pixels[y + 30 : y + height - 30, x + 30 : x + width - 30])


def drawn(page: browser.Page) -> np.ndarray:
    """What is drawn once two pictures of it are the same."""
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return canvas(page)


def value(page: browser.Page, name: str) -> str:
    return str(page.run(f"document.body.dataset.{name}"))


def test_the_page_from_first_layer_to_last(folder: Path, tab: browser.Page) -> None:
    with serving(folder) as port:
        tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/?image=ct.ozx")
        tab.wait("document.body.dataset.layer === '2'")
        assert value(tab, "layers") == "2"
        assert tab.run("document.getElementById('layer').innerText") == "layer 2 of 2: all slices as stored"
        assert tab.run("nv.volumes.length") == 1
        assert tab.run("Array.from(nv.volumes[0].dimsRAS)") == [3, SHAPE[2], SHAPE[1], SHAPE[0]]
        assert value(tab, "window") == "-160 240"
        first = drawn(tab)
        assert first.std() > 20  # a head, and not one colour
        assert value(tab, "slice") == "16"  # the middle one of the five of the first layer

        tab.key("ArrowUp", 38)
        assert value(tab, "slice") == "17"
        tab.key("PageDown", 34)
        assert value(tab, "slice") == "7"
        moved = drawn(tab)
        assert np.abs(moved - first).mean() > 1
        box = tab.run("(({x, y, width, height}) => [x + width / 2, y + height / 2])(canvas.getBoundingClientRect())")
        tab.wheel(*box, -120)
        tab.wait("document.body.dataset.slice === '8'")
        tab.key("End", 35)
        assert value(tab, "slice") == "39"
        tab.key("Home", 36)
        assert value(tab, "slice") == "0"
        tab.key("PageUp", 33)
        for _ in range(6):
            tab.key("ArrowRight", 39)
        assert value(tab, "slice") == "16"
        assert np.abs(drawn(tab) - first).mean() < 1

        tab.key("5", 53, "5")
        assert value(tab, "window") == "-500 1500"
        bone = drawn(tab)
        assert np.abs(bone - first).mean() > 5
        assert tab.run("document.querySelector('#presets [aria-pressed=true]').innerText") == "bone"
        tab.run("document.querySelectorAll('#presets button')[0].click()")
        assert value(tab, "window") == "0 80"
        tab.run("$('level').value = 100; $('level').dispatchEvent(new Event('change'))")
        assert value(tab, "window") == "60 140"
        tab.key("v", 86, "v")
        assert tab.run("$('view').selectedOptions[0].text") == "coronal"
        assert tab.run("count()") == SHAPE[1]
        assert drawn(tab).std() > 5
        tab.key("v", 86, "v")
        tab.key("v", 86, "v")
        assert tab.run("$('view').selectedOptions[0].text") == "all three"
        assert drawn(tab).std() > 5
    assert tab.complaints() == []


def test_the_first_layer_is_seen_before_the_second_comes(folder: Path, tab: browser.Page) -> None:
    with serving(folder) as port:
        hold = "const real = fetch; globalThis.fetch = async (url, ...rest) => { if (String(url).includes('layer=2')) "
        hold += "await new Promise((release) => { globalThis.release = release; }); return real(url, ...rest); };"
        script = tab.call("Page.addScriptToEvaluateOnNewDocument", source=hold)["identifier"]
        tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/?image=ct.ozx")
        tab.wait("Boolean(globalThis.release)")
        text = tab.run("document.getElementById('layer').innerText")
        assert text == "layer 1 of 2: a first look, thinned, slices between interpolated; layer 2 is coming"
        assert tab.run("Array.from(nv.volumes[0].dimsRAS)") == [3, SHAPE[2], SHAPE[1], 5]
        tab.key("5", 53, "5")
        coarse = drawn(tab)
        assert coarse.std() > 20
        tab.run("globalThis.release()")
        tab.wait("document.body.dataset.layer === '2'")
        assert value(tab, "window") == "-500 1500"  # what was chosen stays
        fine = drawn(tab)
        assert fine.std() > 20
        assert np.abs(fine - coarse).mean() < 1  # the same slice, which came first
        assert tab.run("count()") == SHAPE[0]
        for _ in range(4):
            tab.key("ArrowUp", 38)
        assert np.abs(drawn(tab) - fine).mean() > 1  # one that was not there
        tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert tab.complaints() == []


def test_a_damaged_file_and_a_missing_token_are_said(folder: Path, tab: browser.Page) -> None:
    with serving(folder, TOKEN) as port:
        tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/?image=broken.ozx")
        tab.wait("!$('door').hidden")
        assert tab.run("$('layer').innerText") == "the token is missing or wrong"
        tab.run(f"$('token').value = '{TOKEN}'; $('door').requestSubmit()")
        tab.wait("$('layer').innerText.startsWith('the file is damaged')")
        tab.call("Page.navigate", url="about:blank")
        tab.call("Page.navigate", url=f"http://127.0.0.1:{port}/?image=ct.ozx#token={TOKEN}")
        tab.wait("document.body.dataset.layer === '2'")
        assert TOKEN not in tab.run("location.href")
    assert [said for said in tab.complaints() if "status of 401" not in said and "status of 422" not in said] == []
