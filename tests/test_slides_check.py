"""Slides measured and checked: patches and magnifications, tiles beside their source, who opens what, what fails."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slides_made

from slimscan.cli import slide_check
from slimscan.errors import InputError
from slimscan.files.slides import open_slide
from slimscan.press.slide import compare, facts, measure, other_readers, sample
from slimscan.press.slide.check import Checked, check
from slimscan.press.slide.compress import compress_slide
from slimscan.press.slide.facts import Facts, Page
from slimscan.press.slide.families import family
from slimscan.press.slide.measure import Row

# Patches


def test_area_means_by_hand() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    half = sample.shrunk(pixels, (2, 3))
    assert half.shape == (2, 3, 3)
    assert half[0, 0, 0] == np.rint((0 + 3 + 18 + 21) / 4)
    row = np.repeat(np.array([[[0], [90], [30]]], np.uint8), 3, axis=2)
    # three pixels into two: the middle one belongs to both by half
    assert sample.shrunk(row, (1, 2))[0, :, 0].tolist() == [30, 50]
    assert sample.shrunk(row, (1, 3)) is row


def test_distance_to_white_and_share_by_hand() -> None:
    pixels = np.array([[[255, 255, 255], [205, 205, 205]], [[206, 206, 206], [255, 255, 169]]], np.uint8)
    assert sample.white_distance(pixels).ravel().tolist() == pytest.approx([0, 50 * 3**0.5, 49 * 3**0.5, 86])
    assert sample.tissue_share(pixels) == 0.5  # 86.6 and 86 are further than 85; 84.9 is not
    assert sample.tissue_share(pixels[:0]) == 0


def test_patches_of_a_pyramid(tmp_path: Path) -> None:
    with open_slide(slides_made.plain(tmp_path / "p.tif")) as slide:  # 960 x 1200 at 0.5 um: 20x, then 10x and 5x
        assert sample.magnification(slide) == pytest.approx(20)
        assert sample.level_for(slide, 10, 20)[0] == 1
        assert sample.level_for(slide, 7, 20) == (1, pytest.approx(10 / 7))
        assert sample.level_for(slide, 1, 20) == (2, pytest.approx(5))
        assert list(sample.patches(slide, 40)) == []
        found = list(sample.patches(slide, 10, size=64, share=0.5, most=5, seed=3))
        again = list(sample.patches(slide, 10, size=64, share=0.5, most=5, seed=3))
        assert [(one.y, one.x) for one in found] == [(one.y, one.x) for one in again]
        assert len({(one.y, one.x) for one in found}) == len(found) == 5
        for one in found:
            assert one.tissue > 0.5
            assert np.array_equal(one.pixels, slide.read(1, one.y // 2, one.x // 2, 64, 64))
        odd = next(sample.patches(slide, 8, size=64, share=0.0, most=1))
        assert odd.pixels.shape == (64, 64, 3)
        assert sample.level_for(slide, 8, 20)[0] == 1


def test_a_slide_without_scale_asks_for_its_magnification(tmp_path: Path) -> None:
    with open_slide(slides_made.plain(tmp_path / "p.tif", 1, resolution=(1, 1), resolutionunit="NONE")) as slide:
        with pytest.raises(
            InputError, match="says neither a magnification nor micrometres a pixel; give the magnification"
        ):
            list(sample.patches(slide, 10))
        assert len(list(sample.patches(slide, 10, size=64, power=20, most=2))) == 2


# Codecs on patches


def row(codec: str = "jpeg@90", magnification: float = 20.0, **more: Any) -> Row:
    words = {
        "slide": "s",
        "y": 0,
        "x": 0,
        "pixels": 100,
        "bytes": 50,
        "reference_bytes": 100,
        "psnr_db": 30.0,
        "ssim": 0.9,
    }
    return Row(
        **(
            words
            | {"codec": codec, "magnification": magnification, "ms_ssim": 0.95, "encode_s": 0.0, "decode_s": 0.001}
            | more
        )
    )


def test_magnifications_weigh_the_same_by_hand() -> None:
    rows = [row(ssim=0.9), row(ssim=0.8), row(ssim=0.7), row(magnification=10, ssim=0.5, bytes=150)]
    (line,) = measure.summary(rows)
    assert line.ssim.mean == pytest.approx((0.8 + 0.5) / 2)
    assert (line.ssim.low, line.ssim.high) == (0.5, 0.9)
    assert line.patches == 4
    assert line.bytes == 300
    assert line.reduction.mean == pytest.approx((50 - 50) / 2)
    assert (line.reduction.low, line.reduction.high) == (-50, 50)
    assert line.bpp == pytest.approx((4 + 12) / 2)
    assert line.decode_ms == pytest.approx(1)
    assert measure.by_magnification(rows)["jpeg@90", 10].ssim.mean == 0.5
    assert [one.ssim for one in measure.worst(rows, "jpeg@90", 2)] == [0.5, 0.7]


def test_likeness_and_difference_by_hand() -> None:
    one = np.full((32, 32, 3), 100, np.uint8)
    same = measure.likeness(one, one)
    assert (same.psnr_db, same.ssim, same.ms_ssim, same.mse) == (math.inf, 1, 1, 0)
    other = one.copy()
    other[..., 0] += 30
    found = measure.likeness(one, other)
    assert found.mse == pytest.approx(300)
    assert found.psnr_db == pytest.approx(10 * math.log10(255**2 / 300))
    assert np.all(measure.difference(one, other) == 10)
    assert math.isnan(measure.likeness(one[:5], one[:5]).ssim)


def test_codecs_on_patches(tmp_path: Path) -> None:
    codecs = {f"{name}@{value:g}": (family(name).codec, value) for name, value in (("jpeg", 90.0), ("jpeg2000", 37.0))}
    with open_slide(slides_made.CROP) as slide:
        drawn = list(sample.patches(slide, 20, size=128, most=2))
    rows = list(measure.measured(codecs, "jpeg@90", drawn))
    assert [one.codec for one in rows] == ["jpeg@90", "jpeg2000@37"] * 2
    assert all(one.reduction == 0 for one in rows if one.codec == "jpeg@90")
    for one in rows:
        assert one.psnr_db > 25
        assert 0.8 < one.ssim < one.ms_ssim < 1
        assert one.bpp == 8 * one.bytes / 128**2
        assert one.decode_s > 0
    payload, back, _, _ = measure.through(*codecs["jpeg@90"], drawn[0].pixels)
    assert len(payload) == rows[0].bytes
    assert measure.likeness(drawn[0].pixels, back).ssim == rows[0].ssim


# Containers and readers


def answers(found: Facts) -> dict[str, str]:
    return {one.name.split()[0]: one.answer for one in facts.readers(found)}


@pytest.mark.parametrize(
    ("tag", "zero", "aperio", "said"),
    [
        (7, 0, True, "opens opens opens opens opens opens"),
        (7, 3, True, "opens wrong wrong wrong refuses wrong"),
        (33005, 0, True, "opens opens opens refuses refuses opens"),
        (33005, 0, False, "refuses opens opens refuses refuses opens"),
        (34712, 0, True, "refuses opens opens wrong refuses opens"),
        (50002, 0, True, "refuses opens opens wrong refuses refuses"),
    ],
)  # fmt: skip
def test_who_opens_what(tag: int, zero: int, aperio: bool, said: str) -> None:
    found = Facts("tiff", (Page(0, tag, 9, zero, 0, 0, 100), Page(2, tag, 1, 0, 0, 0, 10)), 200, aperio=aperio)
    assert " ".join(answers(found).values()) == said
    slow = "several times slower" in facts.readers(found)[0].why
    assert slow == bool(zero and aperio)


def test_facts_count_places_and_pieces(tmp_path: Path) -> None:
    place = slides_made.svs(tmp_path / "a.svs", "jpeg")
    whole = facts.facts(place)
    assert [page.compression for page in whole.pages] == [7, 7]
    assert (whole.zero, whole.shared, whole.aperio, whole.kind) == (0, 0, True, "tiff")
    slides_made.empty_tiles(place, 0, [0, 3])
    with open_slide(place) as slide:
        assert facts.left_out(slide, 0) == {(0, 0): "absent", (0, 3): "absent"}
    assert facts.facts(place).zero == 2
    share(place, [5, 6])
    found = facts.facts(place)
    assert (found.shared, found.pages[0].pieces) == (2, 1)
    (tmp_path / "x.bin").write_bytes(b"nothing of the kind")
    assert facts.readers(facts.facts(tmp_path / "x.bin")) == []


def test_an_ome_slide_is_looked_at_in_its_subifds(tmp_path: Path) -> None:
    place = slides_made.ome(tmp_path / "o.ome.tif")
    grid = np.zeros((4, 5), bool)
    grid[0, 0] = grid[3, 4] = True
    out = tmp_path / "p.ome.tif"
    compress_slide(place, out, profile="compatible", left="empty", tissue={0: grid, 1: np.eye(2, 3, dtype=bool)})
    with open_slide(out) as slide:
        gone = [sorted(facts.left_out(slide, level)) for level in range(3)]
    assert gone == [[(0, 0), (3, 4)], [(0, 0), (1, 1)], []]
    assert facts.facts(out).zero == 4
    found = check(out, place, most=None)
    said = {one.name: one for one in found.findings}
    assert said["pixels"].said.startswith("24 of 24 tiles")
    assert said["tifffile"].passed is True, said["tifffile"].said
    assert said["OpenSlide"].passed is None or "is not installed" in said["OpenSlide"].said
    assert "as in the source" in said["OpenSlide"].said or "is not installed" in said["OpenSlide"].said
    assert [name for name, one in said.items() if one.passed is False] == ["glass"]  # tissue was taken for it here


def test_tables_of_other_pixels_are_no_same_tile(tmp_path: Path) -> None:
    import tifffile

    place = Path(__file__).parents[1] / "examples" / "data" / "cmu_small_crop.svs"
    with tifffile.TiffFile(place) as tif:
        tag = tif.pages[0].tags[347]
        at, tables = tag.valueoffset, bytearray(tag.value)
    quantiser = tables.index(b"\xff\xdb") + 5
    tables[quantiser] = min(255, 2 * tables[quantiser] + 1)  # the same tiles, and brighter or darker blocks
    other = tmp_path / "b.svs"
    data = bytearray(place.read_bytes())
    data[at : at + len(tables)] = tables
    other.write_bytes(data)
    with open_slide(place) as one, open_slide(other) as two:
        rows = compare.compare(one, two, most=4)
    assert {row.fate for row in rows if row.level == 0} == {"changed"}


def test_no_folder_is_told(tmp_path: Path) -> None:
    place, out = slides_made.svs(tmp_path / "a.svs", "jpeg"), tmp_path / "b.svs"
    compress_slide(place, out, profile="exact")
    data = bytearray(out.read_bytes())
    data[len(data) // 3] ^= 0x10
    out.write_bytes(data)
    told = " ".join(one.said for one in check(out).findings)
    assert "of page 0" in told
    assert str(tmp_path) not in told


def share(place: Path, numbers: list[int]) -> None:
    """Tiles of page 0 that all use the bytes of the first of them."""
    import tifffile

    with tifffile.TiffFile(place) as tif:
        tables = [list(tif.pages[0].tags[code].value) for code in (324, 325)]
    for table in tables:
        for number in numbers[1:]:
            table[number] = table[numbers[0]]
    for code, table in zip((324, 325), tables, strict=True):
        slides_made.retag(place, 0, code, table)


# Two slides


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    fine = slides_made.svs(folder / "fine.svs", "jpeg", args={"level": 95})
    coarse = slides_made.svs(folder / "coarse.svs", "jpeg", args={"level": 40})
    return fine, coarse


def findings(found: Checked) -> dict[str, bool | None]:
    return {one.name: one.passed for one in found.findings}


def test_rows_of_two_slides(pair: tuple[Path, Path]) -> None:
    with open_slide(pair[0]) as fine, open_slide(pair[1]) as coarse:
        rows = compare.compare(fine, coarse, most=6, seed=1, jpeg90=True)
        assert [sum(one.level == n for one in rows) for n in (0, 1)] == [6, 2]
        assert {one.fate for one in rows} == {"changed"}
        for one in rows:
            before, after, difference = compare.pictures(fine, coarse, one)
            assert one.largest == np.abs(before.astype(int) - after).max()
            assert one.mse == pytest.approx(((before.astype(float) - after) ** 2).mean())
            assert difference.shape == one.shape
            assert one.stored < one.stored_source
            assert one.jpeg90 is not None
        first, second = compare.lines(rows, coarse)
        assert (first.magnification, second.magnification) == (40, 10)
        assert (first.looked, first.tiles, first.same, first.left_out) == (6, 20, 0, 0)
        assert first.lowest == min(one.ssim for one in rows if one.level == 0)
        assert first.saved > 20
        whole = compare.pooled(rows)
        assert min(one.psnr_db for one in rows) <= whole <= max(one.psnr_db for one in rows)
        assert compare.worst(rows, 1)[0].ssim == min(one.ssim for one in rows)


def test_slides_of_two_shapes_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = slides_made.plain(tmp_path / "p.tif", 1)
    with (
        open_slide(pair[0]) as one,
        open_slide(other) as two,
        pytest.raises(InputError, match="give two slides of one pyramid"),
    ):
        compare.compare(one, two)


def test_a_copy_passes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copy(pair[0], tmp_path / "copy.svs"))
    found = check(copy, pair[0], most=8)
    assert found.passed, found.findings
    told = findings(found)
    names = ("pixels", "properties", "associated images", "colour profile", "tifffile")
    assert [told[name] for name in names] == [True] * 5
    assert {one.fate for one in found.rows} == {"same bytes"}
    if not other_readers.OPENSLIDE.missing():
        assert told["OpenSlide"] is True


def test_a_coarser_copy_passes_and_says_how_like_it_is(pair: tuple[Path, Path]) -> None:
    found = check(pair[1], pair[0], most=4)
    assert found.passed, found.findings
    assert next(one.said for one in found.findings if one.name == "pixels").startswith("0 of 6 tiles are the same")


def test_what_fails_is_named(pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # tissue that is gone: the middle of the crop
    gone = Path(shutil.copy(pair[0], tmp_path / "gone.svs"))
    slides_made.empty_tiles(gone, 0, list(range(20)))
    found = check(gone, pair[0], most=None)
    assert not found.passed
    told = next(one for one in found.findings if one.name == "glass")
    assert told.passed is False
    assert "% further than 85 from white in the source" in told.said
    # another picture: all tiles are the first one
    wrong = Path(shutil.copy(pair[0], tmp_path / "wrong.svs"))
    share(wrong, list(range(20)))
    # shared tiles count as left out, and most of them hold tissue
    assert findings(check(wrong, pair[0], most=None))["glass"] is False
    # another specimen, upside down
    base = slides_made.picture()
    monkeypatch.setattr(slides_made, "picture", lambda: base[::-1])
    other = slides_made.svs(tmp_path / "other.svs", "jpeg", args={"level": 95})
    told = next(one for one in check(other, pair[0], most=4).findings if one.name == "pixels")
    assert told.passed is False
    assert "tiles show another picture" in told.said
    monkeypatch.undo()
    # another scale
    moved = slides_made.svs(
        tmp_path / "moved.svs", "jpeg", args={"level": 95}, description=slides_made._APERIO.replace("0.2500", "0.5000")
    )
    told = next(one for one in check(moved, pair[0], most=2).findings if one.name == "properties")
    assert told.passed is False
    assert "changed:" in told.said


def test_the_command_prints_and_exits(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slide_check.check(str(pair[1]), str(pair[0]), tiles=4, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is True
    assert told["tiles"] == {"same bytes": 0, "same pixels": 0, "changed": 6, "left out": 0}
    assert told["levels"][0]["magnification"] == 40
    assert told["readers"][0]["name"].startswith("OpenSlide")
    assert slide_check.check(str(pair[1]), tiles=4) == 0
    assert "slimscan opens it" in capsys.readouterr().out
    gone = Path(shutil.copy(pair[0], tmp_path / "gone.svs"))
    slides_made.empty_tiles(gone, 0, list(range(20)))
    assert slide_check.check(str(gone), str(pair[0]), tiles=0) == 3
    assert "DOES NOT HOLD" in capsys.readouterr().out


def test_what_cannot_be_opened_is_one_sentence(pair: tuple[Path, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(pair[0].read_bytes()[:900])
    for out, source in (
        (tmp_path / "none.svs", None),
        (broken, None),
        (pair[0], tmp_path / "none.svs"),
        (pair[0], broken),
    ):
        with pytest.raises(InputError) as caught:
            check(out, source, most=2)
        assert str(source or out) in str(caught.value)
        assert "\n" not in str(caught.value)
