"""The picture of the worst slice: what is shown where, by hand, and that it can be drawn of anything."""

from __future__ import annotations

import io
import math
import os
from dataclasses import replace
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimscan.errors import InputError, OutputError
from slimscan.nouns import Volume
from slimscan.press.compare import compare
from slimscan.report import drawing, panel, panel_png
from slimscan.report.panel import _headline, _look, _subline, _worst
from slimscan.report.view import View, view_of

STATED = {"sform_code": 1}


def pair(shape=(3, 12, 17), seed=0, bits=12, **facts):
    random = np.random.default_rng(seed)
    image = random.integers(0, 2**bits, shape)
    other = np.clip(image + random.integers(-9, 10, shape), 0, 2**bits - 1)
    dtype = np.uint8 if bits <= 8 else np.uint16
    return Volume(image.astype(dtype), bits=bits, **facts), Volume(other.astype(dtype), bits=bits, **facts)


def affine(*columns, offset=(5.0, 6.0, 7.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(columns, float).T
    matrix[:3, 3] = offset
    return matrix


def seen(view: View, words: np.ndarray) -> str:
    """The letters at the top, bottom, left and right of the picture of a slice that carries letters on its sides."""
    shown = view.picture(words)
    rows, columns = shown.shape
    return "".join(shown[at] for at in ((0, columns // 2), (-1, columns // 2), (rows // 2, 0), (rows // 2, -1)))


def lettered(first_row: str, last_row: str, first_column: str, last_column: str) -> np.ndarray:
    words = np.full((3, 5), " ")
    words[0, 2], words[-1, 2], words[1, 0], words[1, -1] = first_row, last_row, first_column, last_column
    return words


# Which way up. Columns of an affine: where array x, y and z lead, in (right, anterior, superior).


@pytest.mark.parametrize(
    ("columns", "words", "edges"),
    [
        # NIfTI's RAS+: x to the right, y to the front.
        (((1, 0, 0), (0, 1, 0), (0, 0, 1)), lettered("P", "A", "L", "R"), "APRL"),
        # A DICOM axial slice: x to the left, y to the back; shown as it is stored.
        (((-1, 0, 0), (0, -1, 0), (0, 0, 1)), lettered("A", "P", "R", "L"), "APRL"),
        # Coronal: x to the left, y downwards.
        (((-1, 0, 0), (0, 0, -1), (0, 1, 0)), lettered("S", "I", "R", "L"), "SIRL"),
        # Sagittal: x to the back, y downwards.
        (((0, -1, 0), (0, 0, -1), (1, 0, 0)), lettered("S", "I", "A", "P"), "SIAP"),
        # Sagittal, lying: x upwards, y to the front.
        (((0, 0, 1), (0, 1, 0), (1, 0, 0)), lettered("P", "A", "I", "S"), "SIAP"),
        # Axial, lying: x to the back, y to the left.
        (((0, -1, 0), (-1, 0, 0), (0, 0, 1)), lettered("R", "L", "A", "P"), "APRL"),
        # Oblique: by the dominant axes.
        (((0.9, 0.4, 0), (-0.4, 0.9, 0), (0, 0, 1)), lettered("P", "A", "L", "R"), "APRL"),
    ],
)
def test_slices_hang_as_radiologists_hang_them(columns, words, edges: str) -> None:
    view = view_of(Volume(np.zeros((2, 3, 5)), affine(*columns)))
    assert view.edges == edges
    assert seen(view, words) == edges


@given(st.tuples(st.booleans(), st.booleans(), st.booleans()), st.integers(0, 3), st.integers(0, 5))
def test_a_place_is_where_its_pixel_is(turns, y: int, x: int) -> None:
    plane = np.arange(24).reshape(4, 6)
    view = View(*turns)
    assert view.picture(plane)[view.place(y, x, plane.shape)] == plane[y, x]


def test_spacing_follows_the_picture() -> None:
    lying = view_of(Volume(np.zeros((2, 3, 5)), affine((0, 0, 2.0), (0, 3.0, 0), (1, 0, 0))))
    assert (lying.transpose, lying.row_mm, lying.column_mm) == (True, 2.0, 3.0)
    assert lying.line == "column x"
    plain = view_of(Volume(np.zeros((2, 3, 5)), affine((-2.0, 0, 0), (0, -3.0, 0), (0, 0, 1))))
    assert (plain.transpose, plain.row_mm, plain.column_mm) == (False, 3.0, 2.0)
    assert plain.line == "row y"


def test_files_without_an_orientation_are_shown_as_stored() -> None:
    pixels = np.zeros((2, 3, 5))
    assert view_of(Volume(pixels)) == View()
    assert view_of(Volume(pixels, np.diag([0.5, 0.6, 2, 1]))) == View(row_mm=0.6, column_mm=0.5)
    # A NIfTI header that states an orientation makes the same affine one.
    assert view_of(Volume(pixels, np.diag([0.5, 0.6, 2, 1]), about=STATED)).edges == "APRL"
    assert view_of(Volume(pixels, about=STATED)).edges == "APRL"
    assert view_of(Volume(pixels, affine((0, 0, 0), (0, 1, 0), (0, 0, 1)))).edges == ""


# What is looked at


def test_the_worst_slice_and_its_largest_error() -> None:
    reference, test = pair(about=STATED)
    test.pixels[1] = reference.pixels[1]
    test.pixels[1, 2, 3] = reference.pixels[1, 2, 3] ^ 2048
    assert _worst(reference, test) == 1
    shown = _look(reference, test, 1, None)
    assert shown.stored == (2, 3)
    assert shown.place == (12 - 1 - 2, 17 - 1 - 3)
    assert shown.largest == float(test.pixels[1, 2, 3]) - float(reference.pixels[1, 2, 3])
    assert shown.original[shown.place] == reference.pixels[1, 2, 3]
    assert shown.rmse == 2048 / math.sqrt(12 * 17)


def test_values_are_shown_in_their_unit() -> None:
    reference, test = pair(slope=2.0, intercept=-1024.0, unit="HU")
    shown = _look(reference, test, 0, None)
    assert shown.unit == "HU"
    assert shown.original[0, 0] == 2.0 * reference.pixels[0, 0, 0] - 1024
    assert _look(replace(reference, unit=""), test, 0, None).unit == "real units"
    assert _look(*pair(), 0, None).unit == "stored units"


def test_the_window_leaves_padding_out() -> None:
    pixels = np.full((1, 10, 10), 0, np.uint16)
    pixels[0, 5:] = np.arange(50).reshape(5, 10) + 1000
    volume = Volume(pixels, bits=12, padding=0)
    assert _look(volume, volume, 0, None).window == pytest.approx(tuple(np.percentile(pixels[0, 5:], [0.5, 99.5])))
    assert _look(replace(volume, padding=None), volume, 0, None).window[0] == 0
    assert _look(volume, volume, 0, (3.0, 4.0)).window == (3.0, 4.0)
    flat = Volume(np.full((1, 4, 4), 7, np.uint16), padding=7)
    assert _look(flat, flat, 0, None).window == (6.5, 7.5)


def test_colour_shows_the_channel_that_errs_most() -> None:
    reference, _ = pair((1, 5, 6, 3), bits=8)
    pixels = reference.pixels.copy()
    pixels[0, 4, 1, 2] ^= 128
    shown = _look(reference, replace(reference, pixels=pixels), 0, None)
    assert shown.channel == 2
    assert shown.stored == (4, 1)
    assert abs(shown.largest) == 128
    assert shown.window == (0.0, 255.0)
    assert shown.original.shape == (5, 6, 3)
    np.testing.assert_array_equal(shown.profile[1], pixels[0, ..., 2])
    four, other = pair((1, 5, 6, 4))
    assert _look(four, other, 0, None).original.shape == (5, 6)


def test_large_differences_are_thinned_and_none_is_lost() -> None:
    plane = np.zeros((1001, 430))
    plane[777, 429], plane[0, 0] = -5.0, 3.0
    thin, rows, columns = drawing._strongest(plane, 450)
    assert max(thin.shape) <= 450
    assert (rows, columns) == (1002, 432)
    assert sorted(thin[thin != 0]) == [-5.0, 3.0]
    assert thin[777 // 3, 429 // 3] == -5.0
    small, *size = drawing._strongest(plane[:400], 450)
    assert small.shape == (400, 430) == tuple(size)


def test_one_outlier_does_not_pale_the_difference() -> None:
    plane = np.random.default_rng(0).normal(0, 1, (100, 100))
    plane[3, 3] = 500
    limit, more = drawing._limit(plane)
    assert limit < 5
    assert more
    assert drawing._limit(np.zeros((4, 4))) == (1.0, False)
    assert drawing._limit(np.array([[-2.0, 1.0]])) == (2.0, False)


def test_long_rows_are_cut_around_the_error() -> None:
    reference, test = pair((1, 3, 1000))
    for x, span in ((0, (0, 320)), (500, (340, 660)), (999, (680, 1000))):
        pixels = reference.pixels.copy()
        pixels[0, 1, x] ^= 2048
        assert drawing._span(_look(reference, replace(test, pixels=pixels), 0, None)) == span
    assert drawing._span(_look(*pair(), 0, None)) == (0, 17)


# What is written above


def test_headings() -> None:
    reference, test = pair((1, 12, 17), source="/somewhere/scan.nii.gz")
    test.pixels[:] = reference.pixels
    test.pixels[0, 2, 3] = reference.pixels[0, 2, 3] ^ 2048
    found = compare(reference, test)
    assert _headline(None, "", None) == "Original and decoded"
    sign = test.pixels[0, 2, 3].astype(float) - reference.pixels[0, 2, 3]
    assert _headline(found, "jpeg2000@45", 38.393).startswith(
        f"jpeg2000@45  ·  ratio 38.39  ·  PSNR {found.psnr_db:.2f} dB (peak stored = 4095)  ·  SSIM 0."
    )
    assert "(peak 4096)" in _headline(compare(reference, test, 4096), "", None)
    assert _headline(compare(reference, reference), "x", None) == (
        "x  ·  PSNR infinite (peak stored = 4095)  ·  SSIM 1.0000"
    )
    shown = _look(reference, test, 0, None)
    assert _subline(reference, shown, False) == (
        f"scan.nii.gz: one slice, root mean square error 143.4, largest error in it {sign:+.4g} stored units "
        "at (z, y, x) = (0, 2, 3)"
    )
    deep, _ = pair(source="")
    assert _subline(deep, _look(deep, deep, 2, None), False) == "worst slice z = 2 (of 0 to 2), no pixel differs"
    assert _subline(deep, _look(deep, deep, 2, None), True) == "slice z = 2 (of 0 to 2), no pixel differs"


# The picture itself


@pytest.mark.parametrize(
    ("shape", "bits", "facts"),
    [
        ((3, 12, 17), 12, {"affine_mm": affine((0.5, 0, 0), (0, 2.0, 0), (0, 0, 3)), "unit": "HU"}),
        ((2, 30, 20, 3), 8, {"affine_mm": np.diag([5e-4, 5e-4, 1, 1])}),
        ((1, 1, 1), 12, {}),
        ((1, 1, 300), 12, {}),
        ((1, 300, 1), 12, {"affine_mm": affine((0, 0, 1), (0, 1, 0), (1, 0, 0))}),
    ],
)
def test_anything_can_be_drawn(shape, bits: int, facts, tmp_path: Path) -> None:
    reference, test = pair(shape, bits=bits, **facts)
    path = panel(reference, test, tmp_path / "panel.png", comparison=compare(reference, test), title="c@1", ratio=2.0)
    image = matplotlib.image.imread(path)
    assert image.shape[1] == 1920
    assert 500 < image.shape[0] < 1500
    assert [p.name for p in tmp_path.iterdir()] == ["panel.png"]


def test_the_same_input_gives_the_same_bytes_whatever_the_users_style() -> None:
    reference, test = pair()
    first = panel_png(reference, test)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "image.origin": "lower"}):
        second = panel_png(reference, test)
        assert matplotlib.rcParams["font.size"] == 30
    assert first == second
    assert b"Software" not in first
    assert b"tIME" not in first


def test_the_picture_shows_the_pixels() -> None:
    """The dark corner of the stored first row is drawn at the bottom right when x leads right and y to the front."""
    pixels = np.full((1, 40, 40), 3000, np.uint16)
    pixels[0, :20, :20] = 0
    reference = Volume(pixels, bits=12, about=STATED)
    test = replace(reference, pixels=pixels + np.uint16(1))
    image = matplotlib.image.imread(io.BytesIO(panel_png(reference, test, window=(0, 3000))))[..., :3]
    grey = np.ptp(image, axis=2) < 0.02
    dark = grey & (image.mean(axis=2) < 0.02)
    rows, columns = np.nonzero(dark[:, : image.shape[1] // 3])
    inside = dark[:, : image.shape[1] // 3]
    # The largest black area of the left third is the corner.
    row, column = np.median(rows), np.median(columns)
    assert inside[int(row), int(column)]
    spread = inside[int(row) - 40 : int(row) + 40, int(column) - 40 : int(column) + 40]
    assert spread.mean() > 0.9
    white = image[int(row) - 200, int(column) - 120]
    assert white.min() > 0.9


# What is refused


def refused(*arguments, **named) -> str:
    with pytest.raises(InputError) as error:
        panel_png(*arguments, **named)
    return str(error.value)


def test_what_cannot_be_drawn_is_refused() -> None:
    reference, test = pair(source="a.nii")
    assert refused(reference, replace(test, pixels=test.pixels[:2], source="")) == (
        "a.nii is (3, 12, 17) and the test is (2, 12, 17); a panel takes two images (z, y, x) or (z, y, x, c) of one shape"
    )
    assert "of one shape" in refused(Volume(np.zeros((0, 2, 2))), Volume(np.zeros((0, 2, 2))))
    assert refused(reference, test, z=3) == "slice 3 is not there; allowed: 0 to 2"
    nan = Volume(np.full((2, 3, 3), np.nan))
    assert refused(nan, nan) == "slice 0 holds NaN or infinite values; replace them by numbers before drawing"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    reference, test = pair()
    with pytest.raises(OutputError, match=r"panel\.png: the picture cannot be written: .*; choose another place$"):
        panel(reference, test, tmp_path / "missing" / "panel.png")


# Real images


def test_real_images_draw(tmp_path: Path) -> None:
    data = os.environ.get("SLIMSCAN_DATA")
    if not data:
        pytest.skip("SLIMSCAN_DATA does not name the folder of real images")
    nibabel = pytest.importorskip("nibabel")
    for folder in ("mri_hippocampus_msd/images", "mri_brain_t1_brainchop"):
        image = nibabel.load(sorted((Path(data) / folder).glob("*.nii.gz"))[0])
        pixels = np.ascontiguousarray(np.asarray(image.dataobj).T)
        pixels = pixels[len(pixels) // 2 :][:6]
        volume = Volume(pixels, image.affine, 8, about=STATED)
        blurred = replace(volume, pixels=(pixels // 8 * 8).astype(pixels.dtype))
        assert panel(volume, blurred, tmp_path / "panel.png").stat().st_size > 20_000
