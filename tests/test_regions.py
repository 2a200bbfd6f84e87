"""Where a region is: masks, probabilities, classes, their grid, growing, and every way in which a mask is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from slimscan import files
from slimscan.cli import run
from slimscan.errors import GeometryError, InputError, NotReadable
from slimscan.nouns import Region, Volume
from slimscan.press.where import kernel_of, region_of, split
from slimscan.regions import keep
from slimscan.regions.grow import ball, ellipsoid, grow, parse
from slimscan.regions.labels import choose

AFFINE = np.array([[-0.7, 0, 0, 30], [0, -0.8, 0, 40], [0, 0, 2.5, -100], [0, 0, 0, 1.0]])
SHAPE = (6, 10, 12)
IMAGE = Volume(np.zeros(SHAPE, np.int16), AFFINE, source="ct")
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[1:4, 2:5, 3:9] = 5  # 54 voxels
LABELS[4, 0, :2] = 1


def saved(folder: Path, pixels: np.ndarray, affine: np.ndarray = AFFINE, name: str = "mask.nii.gz") -> str:
    files.write(Volume(pixels, affine, pixels.dtype.itemsize * 8), folder / name)
    return str(folder / name)


def weight(region: Region) -> np.ndarray:
    return region.weights(0, region.shape[0])


# ---------------------------------------------------------------- growing


def test_kernels_by_hand():
    assert ellipsoid((1, 1, 1)).array().tolist() == [[[True]]]
    assert ellipsoid((1, 5, 5)).array()[0].astype(int).tolist() == [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
    ]  # (2^2 + 1^2) / 2.5^2 = 0.8, (2^2 + 2^2) / 2.5^2 = 1.28
    assert parse("30x20x1", (1, 1, 1)).array().shape == (1, 21, 31)
    assert ball(2.0, (2.5, 1.0, 2.0)).array().astype(int).tolist() == [
        [[0, 1, 0], [0, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 0]]
    ]
    assert ball(0, (1, 1, 1)).array().shape == (1, 1, 1)
    assert ball(0.3, (0.1, 0.1, 0.1)).array().shape == (7, 7, 7)  # 0.3 / 0.1 is a little less than 3


def test_a_voxel_grows_by_hand():
    mask = np.zeros((3, 5, 5), bool)
    mask[1, 2, 2] = True
    assert grow(mask, ellipsoid((3, 1, 1)))[:, 2, 2].all()
    assert grow(mask, ellipsoid((1, 3, 3))).sum() == 9
    assert grow(mask, ball(1.0, (1, 1, 1))).sum() == 7
    corner = np.zeros((1, 4, 4), bool)
    corner[0, 0, 0] = True
    assert grow(corner, ellipsoid((1, 3, 3))).sum() == 4


KERNELS = st.one_of(
    st.builds(ellipsoid, st.tuples(*[st.floats(1, 9)] * 3)),
    st.builds(ball, st.floats(0, 4), st.tuples(*[st.floats(0.5, 3)] * 3)),
)


@settings(max_examples=60, deadline=None)
@given(kernel=KERNELS, seed=st.integers(0, 99), share=st.floats(0.0, 0.3))
def test_growing_is_grey_dilation(kernel, seed, share):
    rng = np.random.default_rng(seed)
    sides = tuple(rng.integers(1, 14, 3))
    values = rng.random(sides, dtype=np.float32) * (rng.random(sides) < share)
    want = ndimage.grey_dilation(values, footprint=kernel.array(), mode="constant", cval=0)
    assert np.array_equal(grow(values.astype(np.float32), kernel), want)
    assert np.array_equal(grow(values > 0, kernel), ndimage.binary_dilation(values > 0, kernel.array()))
    start = int(rng.integers(0, sides[0]))
    assert np.array_equal(grow(values.astype(np.float32), kernel, start, start + 2), want[start : start + 2])


def test_a_ball_is_what_the_distance_transform_says():
    rng = np.random.default_rng(4)
    mask = rng.random((12, 30, 31)) < 0.003
    spacing = (2.0, 0.7, 0.9)
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    for radius in (0.5, 3.3, 7.1):
        assert np.array_equal(grow(mask, ball(radius, spacing)), away <= radius)


def test_the_order_of_the_paper(tmp_path):
    """Luu 2021, III.C: dilated first, then 1 where larger than 0.75; the rest keeps its probability."""
    chance = np.zeros(SHAPE, np.float32)
    chance[2, 5, 5], chance[2, 5, 9], chance[3, 1, 1] = 0.8, 0.75, 0.4
    found = region_of(saved(tmp_path, chance), IMAGE, grow="3x3x1")
    out = weight(found)
    assert found.weight.dtype == np.float32
    assert np.all(out[2, 4:7, 4:7] == 1)
    assert np.all(out[2, 4:7, 8:11] == np.float32(0.75))
    assert np.all(out[3, :3, :3] == np.float32(0.4))
    assert (found.about["inside"], found.about["part"]) == (9, 18)
    assert found.about["threshold"] == 0.75
    assert found.about["grow"] == "3x3x1 voxels (x, y, z)"
    assert np.array_equal(found.inside(0, 6), out == 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30x30", 'grow "30x30": want diameters in voxels along x, y and z such as 30x30x1, or a radius such as 10mm'),
        ("fat", 'grow "fat": want diameters in voxels along x, y and z such as 30x30x1, or a radius such as 10mm'),
        ("0x3x3", "grow 0x3x3 voxels: a kernel's diameters are 1 to 1001 voxels each, as in 30x30x1"),
        ("nanx3x3", "grow nanx3x3 voxels: a kernel's diameters are 1 to 1001 voxels each, as in 30x30x1"),
        ("-1mm", "grow -1 mm: want a radius of 0 mm or more"),
        ("nanmm", "grow nan mm: want a radius of 0 mm or more"),
        ("600mm", "grow 600 mm: is 857 voxels of this image; allowed: 500; ask for less"),
    ],
)
def test_a_kernel_that_is_none(text, message):
    with pytest.raises(InputError) as error:
        kernel_of(IMAGE, grow=text)
    assert str(error.value) == message


def test_a_kernel_is_said_once():
    with pytest.raises(InputError, match="said twice"):
        kernel_of(IMAGE, grow_mm=3, grow="3mm")
    assert kernel_of(IMAGE) is None
    assert kernel_of(IMAGE, grow_mm=2.5).reach == 1
    assert kernel_of(IMAGE, grow_voxels=(5, 1, 1)).reach == 2


# ---------------------------------------------------------------- what a mask holds


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_is_what_is_not_zero(tmp_path, dtype, value):
    found = region_of(saved(tmp_path, ((LABELS == 5) * value).astype(dtype)), IMAGE)
    assert found.weight.dtype == bool
    assert np.array_equal(found.inside(0, 6), LABELS == 5)
    assert found.about["kind"] == "mask"
    assert (found.about["inside"], found.about["slices"], found.about["slices_inside"]) == (54, [1, 3], 3)
    assert found.about["millilitres"] == pytest.approx(54 * 0.7 * 0.8 * 2.5 / 1000)
    assert found.name == "mask"


def test_classes_by_number_and_name(tmp_path):
    place = saved(tmp_path, LABELS, name="organs.nii.gz")
    assert region_of(f"{place}#5", IMAGE).about["inside"] == 54
    assert region_of(f"{place}#5,1", IMAGE).about["inside"] == 56
    assert region_of(f"{place}#any", IMAGE).about["inside"] == 56
    (tmp_path / "organs.toml").write_text('[labels]\n1 = "Spleen"\n5 = {label = "Left_kidney"}\n9 = "Aorta"\n')
    found = region_of(f"{place}#left kidney", IMAGE)
    assert (found.about["inside"], found.name, found.about["kind"]) == (54, "Left_kidney", "classes")
    assert region_of(f"{place}#LEFT-KIDNEY, spleen", IMAGE).about["inside"] == 56


def test_a_toml_of_something_else_names_nothing(tmp_path):
    place = saved(tmp_path, LABELS, name="organs.nii.gz")
    (tmp_path / "organs.toml").write_text('run = "slices"\n')
    assert region_of(f"{place}#5", IMAGE).about["inside"] == 54


def test_names_in_a_nifti_header(tmp_path):
    table = b'<CaretExtension><LabelTable><Label Key="5" Red="0"><![CDATA[liver]]></Label><Label Key="1">gut</Label>'
    made = nib.Nifti1Image(LABELS.T, AFFINE)
    made.header.extensions.append(nib.nifti1.Nifti1Extension(0, table))
    nib.save(made, tmp_path / "organs.nii.gz")
    assert region_of(f"{tmp_path}/organs.nii.gz#liver", IMAGE).about["inside"] == 54
    assert region_of(f"{tmp_path}/organs.nii.gz#gut", IMAGE).about["inside"] == 2


@pytest.mark.parametrize(
    ("pixels", "asked", "message"),
    [
        (LABELS, "", "{0}: holds the labels 1, 5; say which one is meant by #5, #1,5 or #name behind the file, or #any for all"),
        (LABELS, "7", '{0}: has no class "7"; it has 1, 5'),
        (LABELS, "liver", '{0}: has no class "liver" (it names none: give a number, or a labels file beside it); it has 1, 5'),
        (LABELS, "0", "{0}: class 0 is the background of a label map; it has 1, 5"),
        (np.where(LABELS, np.nan, 0.5).astype(np.float32), "", "{0}: holds NaN or infinity; want a mask, labels, or probabilities from 0 to 1"),
        (np.where(LABELS == 5, np.inf, 0).astype(np.float32), "", "{0}: holds NaN or infinity; want a mask, labels, or probabilities from 0 to 1"),
        (LABELS * np.float32(0.3), "", "{0}: values from 0 to 1.5 are no probabilities from 0 to 1; if they are probabilities times 100, write #p/100 behind the file"),
        (LABELS * np.float32(19.5), "", "{0}: values from 0 to 97.5 are no probabilities from 0 to 1; if they are probabilities times 100, write #p/100 behind the file"),
        (LABELS * np.float32(50.5), "", "{0}: values from 0 to 252.5 are no probabilities from 0 to 1; if they are probabilities times 255, write #p/255 behind the file"),
        (LABELS * np.float32(-0.1), "", "{0}: values from -0.5 to 0 are no probabilities from 0 to 1; scores of a network need a sigmoid or a softmax first"),
        (LABELS * np.float32(0.1), "5", "{0}: #5 names a class, and the values are no labels (0 to 0.5); leave it out for a probability map"),
        (LABELS * np.float32(0.1), "p/x", "{0}: #p/x says no scale; want #p/100 for percent, #p/255 for bytes, or #p"),
        (LABELS * np.float32(0.1), "", "{0}: the region is empty: no voxel is above the threshold 0.75, the largest is 0.5; ask for a threshold below that, or check the map"),
        (LABELS * 0, "", "{0}: the region is empty: every voxel is 0; check the file and the class that was asked for"),
        (LABELS * 0, "3", '{0}: has no class "3"; it has no label but 0'),
    ],
)  # fmt: skip
def test_a_mask_that_cannot_be_used(tmp_path, pixels, asked, message):
    place = saved(tmp_path, pixels)
    with pytest.raises(InputError) as error:
        region_of(place + ("#" + asked if asked else ""), IMAGE)
    assert str(error.value) == message.format(place)


def test_a_class_that_is_named_and_not_there(tmp_path):
    place = saved(tmp_path, LABELS, name="organs.nii.gz")
    (tmp_path / "organs.labels.toml").write_text('1 = "spleen"\n5 = "liver"\n9 = "aorta"\n')
    with pytest.raises(InputError) as error:
        region_of(f"{place}#aorta", IMAGE)
    assert str(error.value) == f"{place}: no voxel holds the class 9 aorta; those that occur: 1 spleen, 5 liver"
    with pytest.raises(InputError, match='did you mean "liver"'):
        region_of(f"{place}#livr", IMAGE)


def test_probabilities_in_other_units(tmp_path):
    place = saved(tmp_path, (LABELS * 20).astype(np.uint8))  # 100 and 20
    out = weight(region_of(f"{place}#p/100", IMAGE, threshold=0.9))
    assert set(np.unique(out)) == {0, np.float32(0.2), 1}
    assert region_of(f"{place}#p/255", IMAGE, threshold=0.3).about["inside"] == 54


def test_a_scaled_mask_counts_in_its_real_values():
    stored = Volume(LABELS * 51, AFFINE, slope=1 / 255, source="fractional")
    chosen = choose(stored)
    assert chosen.kind == "probability"
    assert set(np.unique(chosen.weigh(stored.pixels))) == {0, np.float32(0.2), 1}


def test_colours_and_more_dimensions_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((12, 10, 6, 3), np.float32), AFFINE), tmp_path / "four.nii.gz")
    with pytest.raises(InputError) as error:
        region_of(f"{tmp_path}/four.nii.gz", IMAGE)
    assert (
        str(error.value)
        == f"{tmp_path}/four.nii.gz: has four dimensions with 3 frames or channels, the image has 1; give one of them"
    )
    with pytest.raises(InputError, match="holds 3 samples a voxel"):
        choose(Volume(np.zeros((2, 3, 4, 3), np.uint8), source="m"))


def test_one_mask_serves_every_frame(tmp_path):
    twice = Volume(np.zeros((12, 10, 12), np.int16), AFFINE, about={"frames": 2}, source="cine")
    found = region_of(saved(tmp_path, (LABELS == 5).astype(np.uint8)), twice)
    assert np.array_equal(found.inside(0, 12), np.concatenate([LABELS == 5] * 2))
    assert np.array_equal(found.inside(4, 9), np.concatenate([LABELS == 5] * 2)[4:9])


# ---------------------------------------------------------------- its grid


@settings(max_examples=48, deadline=None)
@given(order=st.permutations([0, 1, 2]), flips=st.tuples(*[st.booleans()] * 3), start=st.integers(0, 5))
def test_every_turn_comes_back_exactly(order, flips, start):
    """A mask with swapped and turned axes, as its affine says, is the same mask."""
    from slimscan.press.turned import turned

    rng = np.random.default_rng(1)
    mask = rng.integers(0, 9, SHAPE).astype(np.uint8)
    out = mask.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    step = np.eye(4)  # voxel (x, y, z) of the turned mask -> voxel of the image
    step[:3, :3] = 0
    for new in range(3):  # array axes; affines count them backwards
        old = order[new]
        step[2 - old, 2 - new] = -1 if flips[new] else 1
        step[2 - old, 3] = SHAPE[old] - 1 if flips[new] else 0
    found = turned(Volume(out, AFFINE @ step), IMAGE)
    assert found.shape == SHAPE
    assert np.array_equal(found.slices(0, 6), mask)
    assert np.array_equal(found.slices(start, start + 2), mask[start : start + 2])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a: a @ np.diag([1.02, 1, 1, 1]), "spacing 2.5 x 0.8 x 0.714 mm, the series has 2.5 x 0.8 x 0.7 mm (z, y, x)"),
        (lambda a: a + np.array([[0, 0, 0, 0.35], [0] * 4, [0] * 4, [0] * 4]), "shifted by up to 0.500 voxels against the series"),
        (lambda a: a @ np.diag([-1, 1, 1, 1]), "shifted by up to 11.000 voxels against the series"),
    ],
)  # fmt: skip
def test_another_grid_is_refused(tmp_path, change, why):
    place = saved(tmp_path, LABELS, change(AFFINE))
    with pytest.raises(GeometryError) as error:
        region_of(f"{place}#5", IMAGE)
    end = "masks are never resampled here; resample it onto the series with the program that made it"
    assert str(error.value) == f"{place}: is not on the grid of ct: {why}; {end}"


def test_another_size_and_no_axes_are_refused(tmp_path):
    place = saved(tmp_path, LABELS[:5])
    with pytest.raises(GeometryError, match=r"5 x 10 x 12 voxels \(z, y, x\), the series has 6 x 10 x 12"):
        region_of(f"{place}#5", IMAGE)
    with pytest.raises(GeometryError, match="has an axis without length; correct the header"):
        region_of(f"{saved(tmp_path, LABELS)}#5", replace(IMAGE, affine_mm=np.diag([0.0, 1, 1, 1])))


# ---------------------------------------------------------------- what is kept


def test_what_is_kept_is_what_was_made(monkeypatch):
    rng = np.random.default_rng(2)
    chance = rng.random((9, 7, 5), dtype=np.float32)
    chance[chance > 0.9] = 1
    for made in (chance > 0.5, chance):
        for limit, slab in ((1 << 30, 1 << 20), (10, 40)):
            monkeypatch.setattr(keep, "KEPT_BYTES", limit)
            monkeypatch.setattr(keep, "SLAB_VOXELS", slab)
            kept, extent = keep.keep(made.shape, made.dtype, lambda a, b, made=made: made[a:b])
            assert np.array_equal(np.asarray(kept), made)
            assert np.array_equal(kept[2:7:2], made[2:7:2])
            assert kept[3:3].shape == (0, 7, 5)
            assert extent.inside == int((made >= 1).sum())
            assert extent.part == int(((made > 0) & (made < 1)).sum())
            assert len(kept) == 9
    with pytest.raises(ValueError, match="forwards"):
        kept[::-1]


# ---------------------------------------------------------------- the line of text


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("a.nii.gz", ("a.nii.gz", "")),
        ("a.nii.gz#5", ("a.nii.gz", "5")),
        ("a#b.nii.gz#5, liver", ("a#b.nii.gz", "5, liver")),
        ("command:prog --x #3 {image} {mask}", ("command:prog --x #3 {image} {mask}", "")),
        ("command:prog {image} {mask}#2", ("command:prog {image} {mask}", "2")),
    ],
)
def test_a_spec_comes_apart(spec, parts):
    assert split(spec) == parts


def test_a_file_with_a_hash_in_its_name(tmp_path):
    place = saved(tmp_path, (LABELS > 0).astype(np.uint8), name="case#5.nii.gz")
    assert split(place) == (place, "")
    assert region_of(place, IMAGE).about["inside"] == 56


def test_specs_that_name_nothing(tmp_path):
    with pytest.raises(NotReadable, match="there is no such file or folder; check the name"):
        region_of(str(tmp_path / "none.nii.gz"), IMAGE)
    with pytest.raises(InputError, match="want a class behind the #"):
        region_of("a.nii.gz#", IMAGE)
    with pytest.raises(InputError, match="threshold 1: want a probability from 0 to below 1"):
        region_of(saved(tmp_path, LABELS), IMAGE, threshold=1)


def test_the_command_writes_what_it_measured(tmp_path, capsys):
    files.write(replace(IMAGE, pixels=LABELS.astype(np.int16)), tmp_path / "ct.nii.gz")
    mask = saved(tmp_path, LABELS)
    out = tmp_path / "out.nii.gz"
    line = ["region", f"{mask}#5", "--on", str(tmp_path / "ct.nii.gz"), "-o", str(out), "--grow", "3x3x1"]
    assert run([*line, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    back = files.read(out).slices(0, 6)
    assert back.dtype == np.uint8
    assert np.array_equal(back, ndimage.binary_dilation(LABELS == 5, np.ones((1, 3, 3))))
    assert said["inside"] == 3 * 5 * 8 == int(back.sum())
    assert said["slices"] == [1, 3]
    assert run(line) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*line, "--force"]) == 0
    assert "volume    0.168 mL" in capsys.readouterr().out
    assert run(["region", f"{mask}#5", "--on", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "x.ozx")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/x.ozx: a region goes into .nii .nii.gz .mha .nrrd;")


def test_the_command_writes_probabilities(tmp_path, capsys):
    files.write(IMAGE, tmp_path / "ct.nii.gz")
    mask = saved(tmp_path, (LABELS * np.float32(0.16)).astype(np.float32))
    out = tmp_path / "out.mha"
    assert run(["region", mask, "--on", str(tmp_path / "ct.nii.gz"), "-o", str(out)]) == 0
    assert "threshold  0.75, 2 voxels below it keep their probability" in capsys.readouterr().out
    assert set(np.unique(files.read(out).slices(0, 6))) == {0, np.float32(0.16), 1}


def test_segments_of_a_dicom_segmentation(tmp_path):
    """By name or number, several of them, and probabilities of a FRACTIONAL one; on the series they were drawn on."""
    from slimscan.press.segmentation import write_segmentation

    (tmp_path / "series").mkdir()
    files.write(IMAGE, f"{tmp_path}/series/")
    series = files.read(tmp_path / "series")
    mask = Volume(LABELS, series.affine_mm, 8, source="mask")
    write_segmentation(mask, tmp_path / "series", tmp_path / "seg.dcm", labels={1: "Spleen", 5: "Liver"})
    place = f"{tmp_path}/seg.dcm"
    assert np.array_equal(region_of(f"{place}#liver", series).inside(0, 6), LABELS == 5)
    assert region_of(f"{place}#Liver", series).about["kind"] == "segment"
    assert region_of(f"{place}#1", series).about["inside"] == 2
    assert region_of(f"{place}#spleen,liver", series).about["inside"] == 56
    assert region_of(f"{place}#any", series).about["inside"] == 56
    with pytest.raises(InputError) as error:
        region_of(f"{place}#kidney", series)
    assert str(error.value) == f'{place}: has no class "kidney"; it has 1 Spleen, 2 Liver'
    with pytest.raises(InputError, match="say which one is meant"):
        region_of(place, series)
    chance = Volume(LABELS * np.float32(0.2), series.affine_mm, 32, source="chance")
    write_segmentation(chance, tmp_path / "series", tmp_path / "chance.dcm", labels={1: "Liver"})
    for spec in ("chance.dcm", "chance.dcm#Liver", "chance.dcm#p"):
        found = region_of(f"{tmp_path}/{spec}", series)
        assert found.weight.dtype == np.float32
        assert np.array_equal(found.inside(0, 6), LABELS == 5)
        assert found.about["part"] == 2
