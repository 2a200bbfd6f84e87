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
from slimscan.files.slides.dicomorder import Unsaid, guessed, seams
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
        # frames run column by column, which nothing says
        assert slide.properties["slimscan.frame-order[0]"].startswith(
            "column by column, guessed: the file does not say"
        )
        last = slide.read(0, 2000, 2500, 600, 700)
        assert last[:138, :430].min(axis=2).mean() > 150  # no black block of another border inside
        # the header says RGB, the JFIF streams inside are YCbCr
        assert slide.levels[0].colour == "ycbcr"
        for row, col in ((0, 0), (3, 2), (5, 6)):
            tile = imagecodecs.jpeg8_decode(slide.stream(0, row, col))
            h, w = min(500, 2638 - row * 500), min(500, 3236 - col * 500)
            assert np.array_equal(slide.read(0, row * 500, col * 500, h, w), tile[:h, :w])


def unsaid(folder: Path, by: str, says: str = "", photometric: str = "", flat: bool = False) -> Path:
    """Levels of a made slide with their frames in the order `by` ("rows", "columns"), and `says` of it. flat: all glass."""
    import pydicom

    for name, (rows, cols) in (("0_0", (4, 5)), ("1_0", (2, 3))):
        found = pydicom.dcmread(folder / f"{name}.dcm")
        del found.DimensionOrganizationType
        if says:
            found.DimensionOrganizationType = says
        found.PhotometricInterpretation = photometric or found.PhotometricInterpretation
        native = not found["PixelData"].is_undefined_length
        size = len(found.PixelData) // (rows * cols)
        frames = (
            [found.PixelData[k : k + size] for k in range(0, len(found.PixelData), size)]
            if native
            else list(pydicom.encaps.generate_frames(found.PixelData, number_of_frames=rows * cols))
        )
        if flat:
            frames = [frames[0]] * len(frames)
        if by == "columns":
            frames = [frames[r * cols + c] for c in range(cols) for r in range(rows)]
        found.PixelData = b"".join(frames) if native else pydicom.encaps.encapsulate(frames)
        found.save_as(folder / f"{name}.dcm", implicit_vr=False, little_endian=True, force_encoding=True)
    return folder


@pytest.mark.parametrize("syntax", ["jpeg", "native", "jpegxl"])
@pytest.mark.parametrize("by", ["rows", "columns"])
def test_frames_without_an_order_lie_as_they_fit(by: str, syntax: str, tmp_path: Path, capsys: Any) -> None:
    from slimscan.cli.slide_info import info

    said, silent = dicom(tmp_path / "said", syntax=syntax), dicom(tmp_path / "silent", syntax=syntax)
    with open_slide(said) as want, open_slide(unsaid(silent, by)) as slide:
        for level in (0, 1):
            assert np.array_equal(whole(slide, level), whole(want, level))
            sizes = stored_bytes(want, level)
            assert np.array_equal(stored_bytes(slide, level), sizes)  # type: ignore[arg-type]
        assert slide.tile(0, 2, 3) == want.tile(0, 2, 3)
        one, other = ("row by row", "column by column")[:: 1 if by == "rows" else -1]
        note = f"{one}, guessed: the file does not say, and tiles fit together so, not {other}"
        assert [slide.properties[f"slimscan.frame-order[{k}]"] for k in (0, 1)] == [note, note]
        assert not [name for name in want.properties if name.startswith("slimscan.")]
    assert info(str(silent), False, False) == 0
    assert f"frame order 0   {note}\n  frame order 1   {note}\n" in capsys.readouterr().out
    assert info(str(said), False, False) == 0
    assert "frame order" not in capsys.readouterr().out


@pytest.mark.parametrize("says", ["TILED_FULL", "TILED_SPARSE"])
def test_an_order_that_is_said_is_never_guessed(says: str, tmp_path: Path) -> None:
    with (
        open_slide(dicom(tmp_path / "rows")) as want,
        open_slide(unsaid(dicom(tmp_path / "columns"), "columns", says)) as slide,
    ):
        assert slide.tile(0, 0, 1) == want.tile(0, 1, 0)  # the second frame, where the file has it
        assert not [name for name in slide.properties if name.startswith("slimscan.")]


def test_frames_that_tell_no_order_run_row_by_row(tmp_path: Path, monkeypatch: Any) -> None:
    folder = unsaid(dicom(tmp_path / "flat"), "columns", flat=True)
    with open_slide(folder) as slide:
        note = "row by row, guessed: the file does not say, and tiles fit together no better column by column"
        assert slide.properties["slimscan.frame-order[0]"] == note
    folder = unsaid(dicom(tmp_path / "damaged"), "columns")
    raw = (folder / "0_0.dcm").read_bytes().replace(b"\xff\xda", b"\xff\xfe")
    (folder / "0_0.dcm").write_bytes(raw)
    with open_slide(folder) as slide:
        note = "row by row, guessed: the file does not say, and its tiles cannot be decoded"
        assert slide.properties["slimscan.frame-order[0]"] == note
        assert slide.properties["slimscan.frame-order[1]"].startswith("column by column")


def test_seams_by_hand() -> None:
    """Tiles of 2 x 2 of an image that is 8 x: neighbours to the right differ by 8, those below by nothing."""

    def level(by: str, rows: int, cols: int) -> Unsaid:
        at = [(r, c) for r in range(rows) for c in range(cols)]
        at = sorted(at, key=lambda place: place[::-1]) if by == "columns" else at
        image = np.repeat(np.broadcast_to(8 * np.arange(2 * cols), (2 * rows, 2 * cols))[..., None], 3, axis=2)
        image = image.astype(np.uint8)

        def pixels(frame: int) -> Any:
            r, c = at[frame]
            return image[2 * r : 2 * r + 2, 2 * c : 2 * c + 2]

        return Unsaid((rows, cols), lambda frame: 1, pixels)

    # many tiles, pairs (k, k + 1): neighbours to the right, laid below each other 16 k + 8 i meets 16 (k + 1) + 8 i
    assert seams(level("rows", 8, 9)) == (8, 16)
    assert seams(level("columns", 8, 9)) == (8, 0)
    # few tiles, every border: 4 of 8 and 3 of 0; read column by column 16, 32, 16 down and four times 24 across
    assert seams(level("rows", 2, 3)) == (32 / 7, 160 / 7)
    for by in ("rows", "columns"):
        for grid in ((8, 9), (2, 3), (3, 2), (2, 2), (5, 4)):
            found = guessed(level(by, *grid))
            assert found is not None
            assert found.by == by
        assert guessed(level(by, 1, 9)) is None
        assert guessed(level(by, 9, 1)) is None


def test_of_two_copies_of_a_level_the_named_one_is_read(tmp_path: Path) -> None:
    folder = dicom(tmp_path / "slide")
    other = dicom(tmp_path / "other", syntax="native")
    shutil.copy(other / "0_0.dcm", folder / "copy.dcm")
    for name, compression in (("0_0.dcm", "jpeg"), ("copy.dcm", "none")):
        with open_slide(folder / name) as slide:
            assert (len(slide.levels), slide.levels[0].compression) == (2, compression)


def test_jfif_frames_under_rgb_are_ycbcr_at_both_doors(tmp_path: Path) -> None:
    from slimscan.files.dicom import DICOM

    folder = unsaid(dicom(tmp_path / "slide"), "rows", "TILED_FULL", "RGB")
    volume = DICOM.read(folder / "1_0.dcm")
    with open_slide(folder) as slide:
        assert slide.levels[1].colour == "ycbcr"
        tiles = [slide.read(1, 0, 240 * c, 240, 240) for c in range(2)]
    assert volume.shape[0] == 6
    assert np.array_equal(volume.slices(0, 2), tiles)
    assert np.abs(volume.slices(0, 1)[0].astype(float) - picture()[:480:2, :480:2]).mean() < 5


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
