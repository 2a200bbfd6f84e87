"""Regions from the image itself: phantoms with known parts, and real CTs against their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slimscan import files
from slimscan.errors import InputError
from slimscan.nouns import Volume
from slimscan.press.where import region_of
from slimscan.regions.image import KINDS, find, scale_of
from slimscan.regions.threshold import otsu, split

Z, Y, X = np.ogrid[:12, :96, :128]
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def ellipse(y, x, ry, rx):
    return ((Y - y) / ry) ** 2 + ((X - x) / rx) ** 2 + 0 * Z <= 1


BODY = ellipse(42, 64, 30, 45)
ARM = ellipse(45, 118, 7, 7)
LUNGS = ellipse(40, 44, 14, 14) | ellipse(40, 84, 14, 14)
VESSELS = ellipse(40, 44, 2, 2)
GAS = ellipse(58, 64, 6, 12)
SPINE = ellipse(62, 64, 5, 5)
MARROW = ellipse(62, 64, 2, 2)
TABLE = (abs(Y - 80) <= 1) & (abs(X - 64) < 50) & (Z >= 0)


def chest() -> Volume:
    hu = np.full((12, 96, 128), -1000, np.int16)
    for part, value in (
        (BODY | ARM, 40),
        (LUNGS, -850),
        (VESSELS, 60),
        (GAS & BODY, -1000),
        (SPINE, 700),
        (MARROW, 120),
        (TABLE, 150),
    ):
        hu[part] = value
    hu += np.random.default_rng(0).normal(0, 15, hu.shape).astype(np.int16)
    return Volume(hu, AFFINE, source="chest")


CHEST = chest()


def dice(a, b) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_a_phantom_has_its_parts():
    body = find(CHEST, "body").mask
    assert np.array_equal(body, BODY | ARM)  # lungs, gas and arm in, table out
    lung = find(CHEST, "lung").mask
    assert dice(lung, LUNGS) > 0.97
    assert lung[VESSELS].all()
    assert not lung[GAS & ~LUNGS].any()
    bone = find(CHEST, "bone").mask
    assert dice(bone, SPINE) > 0.97
    assert bone[MARROW].all()
    assert not bone[TABLE].any()
    assert np.array_equal(find(CHEST, "nonair").mask, BODY | ARM | TABLE)


def test_the_scale_is_the_stored_one_times_the_slope():
    stored = replace(CHEST, pixels=(CHEST.pixels + 1024) * np.int16(2), slope=0.5, intercept=-1024.0, unit="HU")
    for kind in KINDS:
        assert np.array_equal(find(stored, kind).mask, find(CHEST, kind).mask)
    upside_down = replace(CHEST, pixels=-CHEST.pixels, slope=-1.0)
    assert dice(find(upside_down, "body").mask, BODY | ARM) == 1


def test_planes_across_the_patient_are_filled_whatever_the_order():
    """The same patient with slices along another axis: sagittal planes of the array, the same region."""
    turned = Volume(
        np.ascontiguousarray(CHEST.pixels.transpose(2, 0, 1)),  # (x, z, y): slices run from side to side
        AFFINE @ np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]),
        source="sagittal",
    )
    for kind in KINDS:
        assert np.array_equal(find(turned, kind).mask, find(CHEST, kind).mask.transpose(2, 0, 1))


def test_how_is_said():
    assert find(CHEST, "body").how == (
        f"above -300, HU (values begin at {CHEST.pixels.min()}), opened by 4 mm, largest pieces, holes filled in planes"
    )
    assert scale_of(replace(CHEST, unit="HU")) == ("hu", "the image says HU")
    assert scale_of(replace(CHEST, about={"dicom": {"modality": "CT"}})) == ("hu", "the image says CT")
    assert scale_of(replace(CHEST, about={"dicom": {"modality": "MR"}})) == ("otsu", "the image says MR")
    assert scale_of(replace(CHEST, pixels=CHEST.pixels.clip(-200))) == (
        "otsu",
        "values begin at -200 and no unit is given",
    )
    assert scale_of(CHEST, "otsu") == ("otsu", "as asked")


def test_what_is_no_ct_is_parted_by_otsu():
    bright = np.where(BODY & ~GAS, 800, 20).astype(np.uint16)
    bright += np.random.default_rng(1).integers(0, 15, bright.shape).astype(np.uint16)
    found = find(Volume(bright, AFFINE, source="mr"), "body")
    assert np.array_equal(found.mask, BODY)
    assert found.how.startswith("above 34, Otsu's threshold 34 (values begin at 20")
    real = bright.astype(np.float32) * 0.37
    assert np.array_equal(find(Volume(real, AFFINE), "nonair").mask, BODY)
    colour = np.repeat(bright[..., None] // 4, 3, axis=3).astype(np.uint8)
    assert np.array_equal(find(Volume(colour, AFFINE), "body").mask, BODY)


def test_otsu_of_a_histogram_is_otsu_of_the_values():
    values = np.random.default_rng(3).integers(0, 50, 999) + 900 * (np.arange(999) > 600)
    counts = np.bincount(values).astype(float)
    assert split(counts, np.arange(len(counts))) == otsu(values)
    with_padding = np.where(BODY, 700, 30).astype(np.int16)
    with_padding[:, :5] = -2000
    padded = Volume(with_padding, AFFINE, padding=-2000)
    assert np.array_equal(find(padded, "body", "otsu").mask[:, 6:], BODY[:, 6:])


@pytest.mark.parametrize(
    ("spec", "volume", "message"),
    [
        ("image:liver", CHEST, 'image:liver: "liver" is not known; allowed: body, lung, bone, nonair'),
        ("image:body,mr", CHEST, 'image:body,mr: "mr" is not known; allowed: hu, otsu, or nothing'),
        ("image:lung", replace(CHEST, unit="SUV"), "chest: image:lung needs a CT in HU, and the image says SUV; give a mask, or image:lung,hu when the values are HU"),
        ("image:lung", replace(CHEST, pixels=np.where(LUNGS, 40, CHEST.pixels)), "chest: image:lung finds none: no piece of 20 mL inside the body lies between -950 and -400 HU"),
        ("image:bone", replace(CHEST, pixels=CHEST.pixels.clip(max=300)), "chest: image:bone finds none: no piece of 1 mL is above 400 HU"),
        ("image:body", Volume(np.full((2, 8, 8), -1000, np.int16), AFFINE, source="air"), "air: image:body finds nothing above -300 HU; the image is empty, or give a mask"),
        ("image:nonair", Volume(np.full((2, 8, 8), 7, np.uint8), AFFINE, source="flat"), "flat: image:nonair finds nothing above 7; the image is empty, or give a mask"),
        ("image:body", Volume(np.full((2, 8, 8), np.nan, np.float32), AFFINE, source="nan", unit="x"), "nan: holds NaN or infinity; no threshold can be found"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(spec, volume, message):
    with pytest.raises(InputError) as error:
        region_of(spec, volume)
    assert str(error.value) == message


def test_on_a_real_abdomen(real_data):
    """TotalSegmentator's own example: every labelled organ lies in the body, lung agrees with the five lobes."""
    folder = real_data / "ct_abdomen_totalseg_example"
    image = files.read(folder / "example_ct.nii.gz")
    labels = files.read(folder / "example_seg_fast_force_split.nii.gz").slices(0, image.shape[0])
    body = find(image, "body").mask
    assert not ((labels > 0) & ~body).any()
    assert body.mean() < 0.65
    assert dice(find(image, "lung").mask, (labels >= 10) & (labels <= 14)) > 0.95
    bones = ((labels >= 25) & (labels <= 50)) | ((labels >= 69) & (labels <= 78)) | ((labels >= 91) & (labels <= 116))
    assert dice(find(image, "bone").mask, bones) > 0.7  # no marrow is seen through cortex at 3 mm


def test_on_a_real_series_with_arms_and_a_table(real_data):
    folder = real_data / "ct_abdomen_totalseg_example"
    image = files.read(folder / "example_ct_dicom")
    labels = region_of(f"{folder / 'example_seg_dicom.nii.gz'}#any", image)
    body = find(image, "body")
    assert "the image says HU" in body.how
    assert not (labels.inside(0, 20) & ~body.mask).any()  # both arms hold a labelled humerus
    assert not body.mask[:, 440:].any()  # the table
    assert find(image, "nonair").mask[:, 440:].any()


def test_on_a_real_head(real_data):
    image = files.read(real_data / "ct_head_cranium_invesalius" / "cranium_ct.nii.gz")
    body, bone = find(image, "body").mask, find(image, "bone").mask
    assert not body[40, :, :45].any()  # the head holder
    assert body[40, 120, 128]
    assert not (bone & ~body).any()
    assert not bone[40, 90, 128]  # the brain
    with pytest.raises(InputError, match="finds none"):
        find(image, "lung")
