"""DICOM slides in every form, and what is read through OpenSlide: NDPI, SCN, MRXS. `slide info` says what was opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from slides_made import CROP, dicom, picture, retag, svs
from slides_rare import mrxs, ndpi, scn

from slimscan.errors import MissingExtra, NotReadable
from slimscan.files.slides import open_slide
from slimscan.files.slides.sizes import stored_bytes

openslide: Any = pytest.importorskip("openslide", reason="the extra slides is not installed")


def whole(slide: Any, level: int) -> Any:
    return slide.read(level, 0, 0, *slide.levels[level].shape)


def on_white(path: Path, level: int) -> Any:
    """What OpenSlide shows of a level, white where it shows nothing."""
    with openslide.OpenSlide(path) as slide:
        laid = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))
    return np.where(laid[..., 3:] == 0, 255, laid[..., :3])


FORMS: dict[str, dict[str, Any]] = {
    "tiled full": {},
    "native": {"syntax": "native"},
    "JPEG 2000": {"syntax": "jpeg2000"},
    "tiled sparse": {"kind": "sparse", "skip": (0, 1, 7)},
    "sparse in three files": {"kind": "sparse", "skip": (3,), "parts": 3},
    "full in two files": {"parts": 2},
}


@pytest.mark.parametrize("form", FORMS)
def test_dicom_slides_are_read_as_openslide_reads_them(form: str, tmp_path: Path) -> None:
    folder = dicom(tmp_path / "slide", **FORMS[form])
    first = folder / "0_0.dcm"
    for path in (folder, first):
        with open_slide(path) as slide, openslide.OpenSlide(first) as other:
            assert (slide.format, slide.associated) == ("dicom", ("label",))
            for level in (0, 1):
                assert np.array_equal(whole(slide, level), on_white(first, level))
            assert np.array_equal(slide.image("label"), np.asarray(other.associated_images["label"].convert("RGB")))
            assert (slide.mpp, slide.magnification, slide.icc) == ((0.5, 0.5), 20.0, b"profile0")
            assert slide.levels[1].mpp == (1.0, 1.0)
            assert [level.downsample for level in slide.levels] == [1.0, 2.0]
            want = {name: value for name, value in other.properties.items() if name != "openslide.quickhash-1"}
            assert dict(slide.properties) == want


def test_lossless_and_transcoded_frames_that_openslide_refuses(tmp_path: Path) -> None:
    with open_slide(dicom(tmp_path / "rle", syntax="rle")) as slide:
        assert np.array_equal(whole(slide, 0), picture())
        assert slide.properties["openslide.vendor"] == "dicom"
        with pytest.raises(NotReadable, match="tiles stored as rle are no codestreams; take them as stored"):
            slide.stream(0, 0, 0)
    with open_slide(dicom(tmp_path / "jpeg")) as jpeg, open_slide(dicom(tmp_path / "jxl", syntax="jpegxl")) as slide:
        assert slide.levels[0].compression == "jpegxl"
        assert np.array_equal(whole(slide, 0), whole(jpeg, 0))
        assert bytes(imagecodecs.jpegxl_decode_jpeg(slide.stream(0, 2, 3))) == jpeg.tile(0, 2, 3)


def test_places_are_found_in_the_bytes_and_in_the_elements(tmp_path: Path, monkeypatch: Any) -> None:
    folder = dicom(tmp_path / "slide", "sparse", skip=(0, 1, 7))
    with open_slide(folder) as slide:
        want = stored_bytes(slide, 0)
    monkeypatch.setattr("slimscan.files.slides.dicomplaces._raw_places", lambda raw, frames: None)
    with open_slide(folder) as slide:
        assert np.array_equal(stored_bytes(slide, 0), want)


def test_places_without_a_frame_hold_nothing(tmp_path: Path) -> None:
    with open_slide(dicom(tmp_path / "slide", "sparse", skip=(0, 1, 7))) as slide:
        sizes = stored_bytes(slide, 0)
        assert sizes is not None
        assert [int(at) for at in np.flatnonzero(sizes == 0)] == [0, 1, 7]
        assert slide.tile(0, 0, 1) == slide.stream(0, 0, 1) == b""
        assert slide.read(0, 0, 0, 240, 480).min() == 255


def test_a_real_dicom_slide_without_scale(real_data: Path) -> None:
    with open_slide(real_data / "wsi_he/small_dicom.dcm") as slide:
        assert (slide.mpp, slide.levels[0].shape, slide.levels[0].grid) == (None, (2638, 3236), (6, 7))
        # the header says RGB, the JFIF streams inside are YCbCr
        assert slide.levels[0].colour == "ycbcr"
        for row, col in ((0, 0), (3, 2), (5, 6)):
            tile = imagecodecs.jpeg8_decode(slide.stream(0, row, col))
            h, w = min(500, 2638 - row * 500), min(500, 3236 - col * 500)
            assert np.array_equal(slide.read(0, row * 500, col * 500, h, w), tile[:h, :w])


def test_damaged_dicom_slides_are_one_sentence(tmp_path: Path) -> None:
    whole_one = dicom(tmp_path / "whole")
    raw = (whole_one / "0_0.dcm").read_bytes()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "a.dcm").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(NotReadable, match=r"cut off|fragment"):
        open_slide(cut / "a.dcm")
    lying = tmp_path / "lying"
    lying.mkdir()
    (lying / "a.dcm").write_bytes(
        raw.replace(b"\x48\x00\x06\x00UL\x04\x00\xb0\x04\x00\x00", b"\x48\x00\x06\x00UL\x04\x00\xff\xff\x00\x00")
    )
    with pytest.raises(NotReadable, match=r"a.dcm has 20 frames, its size asks for 1096"):
        open_slide(lying)
    label = tmp_path / "label"
    label.mkdir()
    shutil.copy(whole_one / "2_0.dcm", label)
    with pytest.raises(NotReadable, match=r"no level .VOLUME image., only label"):
        open_slide(label)
    both = dicom(tmp_path / "both")
    other = (both / "1_0.dcm").read_bytes().replace(b"1.2.826.0.1.3680043.8.498.2\0", b"1.2.826.0.1.3680043.8.498.9\0")
    (both / "1_0.dcm").write_bytes(other)
    with pytest.raises(NotReadable, match="the folder holds 2 DICOM slides; want one, or name a file"):
        open_slide(both)


def test_other_dicom_images_are_named(real_data: Path) -> None:
    with pytest.raises(NotReadable, match="is a DICOM image of modality CT, not a whole slide; `slimscan info`"):
        open_slide(real_data / "ct_head_phantom_philips_5mm_dicom/I10")


@pytest.mark.parametrize(("make", "name"), [(ndpi, "ndpi"), (scn, "scn"), (mrxs, "mrxs")])
def test_slides_read_through_openslide(make: Any, name: str, tmp_path: Path) -> None:
    path = make(tmp_path / f"made.{name}")
    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        assert slide.format == name
        assert slide.magnification == 20.0
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert [level.shape[::-1] for level in slide.levels] == list(other.level_dimensions)
        assert dict(slide.properties) == dict(other.properties)
        for level in range(len(slide.levels)):
            assert np.array_equal(whole(slide, level), on_white(path, level))
        got = slide.read(0, 0, 0, 960, 1200).astype(float)
        assert np.abs(got - picture()).mean() < (0.001 if name == "mrxs" else 4)
        assert np.array_equal(slide.read(0, 100, 200, 50, 70), got[100:150, 200:270])
        assert slide.associated == (() if name == "mrxs" else ("macro",))
        for picture_name in slide.associated:
            want = np.asarray(other.associated_images[picture_name].convert("RGB"))
            assert np.array_equal(slide.image(picture_name), want)
        assert slide.levels[0].tiles == 0
        assert stored_bytes(slide, 0) is None
        with pytest.raises(NotReadable, match=f"hands out no tiles of level 0 as stored .{name}.; read pixels"):
            slide.tile(0, 0, 0)


def test_damage_behind_openslide_is_one_sentence(tmp_path: Path) -> None:
    lone = tmp_path / "lone.mrxs"
    lone.write_bytes(b"nothing beside it")
    with pytest.raises(NotReadable, match="is not a slide that OpenSlide knows"):
        open_slide(lone)
    path = mrxs(tmp_path / "made.mrxs")
    (tmp_path / "made/Data0000.dat").write_bytes(b"short")
    with pytest.raises(NotReadable) as caught:
        read_first(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def read_first(path: Path) -> None:
    with open_slide(path) as slide:
        whole(slide, 0)


@pytest.mark.parametrize(("make", "name"), [(ndpi, "ndpi"), (scn, "scn"), (mrxs, "mrxs")])
def test_without_openslide_the_extra_is_named(make: Any, name: str, tmp_path: Path, monkeypatch: Any) -> None:
    path = make(tmp_path / f"made.{name}")
    monkeypatch.setattr("slimscan.nouns.codec.Needs.missing", lambda self: self.module == "openslide")
    with pytest.raises(MissingExtra, match=r"openslide-python, .*slimscan\[slides\]"):
        open_slide(path)


def test_tiff_and_dicom_slides_need_no_openslide(tmp_path: Path, monkeypatch: Any) -> None:
    folder = dicom(tmp_path / "slide")
    monkeypatch.setattr("slimscan.nouns.codec.Needs.missing", lambda self: self.module == "openslide")
    with open_slide(CROP) as slide:
        assert np.array_equal(whole(slide, 0), picture())
        assert slide.properties["aperio.MPP"] == "0.4990"
    with open_slide(folder) as slide:
        assert slide.properties["dicom.Modality"] == "SM"


def test_slide_info_says_it(tmp_path: Path, capsys: Any) -> None:
    from slimscan.cli.slide_info import info

    path = svs(tmp_path / "a.svs", "jpeg", "rgb", {"level": 80, "outcolorspace": "rgb"})
    retag(path, 0, 270, b"Aperio Image Library v12.0.0 \r\n1200x960")
    assert info(str(path), False, True) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) == {
        *("path", "format", "file_bytes", "mpp", "magnification", "icc_bytes", "associated", "levels", "properties"),
    }
    assert (facts["format"], facts["mpp"], facts["file_bytes"]) == ("svs", None, path.stat().st_size)
    assert facts["associated"] == {"thumbnail": [120, 150]}
    first = facts["levels"][0]
    assert (first["shape"], first["grid"], first["tiles"], first["stored"]) == ([960, 1200], [4, 5], 20, 20)
    assert (first["compression"], first["colour"], first["quality"]) == ("jpeg", "rgb", 80)
    assert 0 < first["bytes"] < facts["file_bytes"]

    assert info(str(CROP), True, False) == 0
    said = capsys.readouterr().out
    assert "0.499 x 0.499 um a pixel (x, y)" in said
    assert "label 96 x 115, macro 256 x 86, thumbnail" in said
    assert "jpeg rgb Q30" in said
    assert "aperio.AppMag" in said

    assert info(str(mrxs(tmp_path / "m.mrxs")), False, False) == 0
    assert "mrxs" in capsys.readouterr().out
