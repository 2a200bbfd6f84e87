"""DICOM Segmentations: masks on a series go out and come back, real files are read, and what cannot be is said."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here
from hypothesis import given as holds_for
from hypothesis import settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

import slimscan
from slimscan.errors import CheckFailed, GeometryError, InputError, MissingExtra, NotReadable, SlimscanError
from slimscan.files.dicom import save, seg, seggrid, segterms, segwrite
from slimscan.files.dicom.geometry import Plane
from slimscan.nouns import Needs, Volume
from slimscan.press import segmentation

hd = pytest.importorskip("highdicom", reason="highdicom writes DICOM segmentations")

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")
ZOO = Path(DATA) / "dicom_zoo" / "pydicom-data"
TOTALSEG = Path(DATA) / "ct_abdomen_totalseg_example"
SHAPE = (7, 10, 13)  # 130 bits a frame: frames begin inside bytes
AFFINE = np.array([[-0.7, 0, 0, 30], [0, -0.8, 0, 20], [0, 0, 2.5, -100], [0, 0, 0, 1.0]])


def image(seed: int = 1) -> Volume:
    rng = np.random.default_rng(seed)
    return Volume(rng.integers(-900, 2000, SHAPE).astype(np.int16), AFFINE, bits=13, unit="HU", source="made.nii")


@pytest.fixture(scope="session")
def ct(tmp_path_factory: Any) -> Path:
    place = tmp_path_factory.mktemp("ct") / "series"
    slimscan.write(image(), f"{place}/")
    return place


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="(highdicom|pydicom).*")
        yield


def labels(*values: int, seed: int = 2, dtype: str = "uint8") -> np.ndarray:
    """Noise of labels in the middle slices; the first and the last slice are empty."""
    out = np.zeros(SHAPE, dtype)
    inside = np.random.default_rng(seed).choice([0, *values], (SHAPE[0] - 3, *SHAPE[1:]))
    out[2:-1] = inside
    return out


def mask(pixels: np.ndarray, **facts: Any) -> Volume:
    return Volume(pixels, AFFINE, source="mask.nii", **facts)


def whole(volume: Volume) -> np.ndarray:
    return volume.slices(0, volume.shape[0])


def written(pixels: np.ndarray, ct: Path, path: Path, **more: Any) -> Volume:
    segwrite.write(mask(pixels), slimscan.read(ct), path, **more)
    return slimscan.read(path)


def upright(held: Any, like: Volume) -> np.ndarray:
    """A volume of highdicom (its slices may run the other way) in the voxel order of ours."""
    affine = np.diag([-1, -1, 1, 1]) @ held.affine[:, [2, 1, 0, 3]]
    return seggrid.onto(Volume(held.array, affine, source="highdicom"), held.array, like)


def edit(path: Path, change: Callable[[Dataset], object]) -> Path:
    found = dcmread(path)
    change(found)
    found.save_as(path)
    return path


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", list(segwrite.PACKINGS))
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("values", [(1,), (1, 2, 3), (3, 5, 250), (7, 256, 60000)], ids=str)
def test_labels_come_back_exactly(values: tuple[int, ...], kind: str, packing: str, ct: Path, tmp_path: Path) -> None:
    pixels = labels(*values, dtype="uint16")
    path = tmp_path / "out.dcm"
    if (kind, packing) == ("binary", "rle"):
        with pytest.raises(
            InputError, match=r"out\.dcm: RLE holds no frames of one bit .*; use deflate, or --kind labelmap"
        ):
            written(pixels, ct, path, kind=kind, packing=packing)
        assert not path.exists()
        return
    back = written(pixels, ct, path, kind=kind, packing=packing)
    assert back.pixels.dtype == ("uint8" if max(values) < 256 else "uint16")
    np.testing.assert_array_equal(whole(back), pixels)
    np.testing.assert_allclose(back.affine_mm, AFFINE, atol=1e-9)
    assert [one["value"] for one in back.about["segments"]] == list(values)
    numbers = list(values) if kind == "labelmap" else list(range(1, len(values) + 1))
    assert [one["number"] for one in back.about["segments"]] == numbers
    assert back.about["segmentation"]["kind"] == kind.upper()
    again = tmp_path / "again.dcm"
    written(pixels, ct, again, kind=kind, packing=packing)
    assert again.read_bytes() == path.read_bytes(), "the same mask on the same series is the same file"


def test_highdicom_reads_the_same_and_so_does_dcmtk(ct: Path, tmp_path: Path) -> None:
    pixels = labels(1, 2)
    written(pixels, ct, tmp_path / "out.dcm")
    held = hd.seg.segread(tmp_path / "out.dcm").get_volume(combine_segments=True)
    np.testing.assert_array_equal(upright(held, slimscan.read(ct)), pixels)
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmdump of DCMTK is not installed")
    said = subprocess.run(["dcmdump", tmp_path / "out.dcm"], capture_output=True, text=True, check=True)
    assert "=SegmentationStorage" in said.stdout
    assert not said.stderr


def test_plain_pydicom_finds_the_same_by_the_rules(ct: Path, tmp_path: Path) -> None:
    """Frame by frame as the standard says: number, place, bits; nothing of ours."""
    pixels = labels(1, 2, 3)
    written(pixels, ct, tmp_path / "out.dcm")
    found = dcmread(tmp_path / "out.dcm")
    out = np.zeros(SHAPE, np.uint8)
    for frame, group in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True):
        z = (float(group.PlanePositionSequence[0].ImagePositionPatient[2]) - AFFINE[2, 3]) / AFFINE[2, 2]
        out[round(z)][frame > 0] = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert source == slimscan.read(ct).about["dicom"]["sop_uids"][round(z)]
    np.testing.assert_array_equal(out, pixels)


@pytest.mark.parametrize("packing", ["none", "rle", "deflate"])
def test_probabilities_come_back_in_steps(packing: str, ct: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).random(SHAPE).astype(np.float32)
    path = tmp_path / "p.dcm"
    done = segwrite.write(mask(pixels), slimscan.read(ct), path, labels={1: "Neoplasm"}, packing=packing)
    back = slimscan.read(path)
    assert (done.kind, back.pixels.dtype, back.slope) == ("fractional", "uint8", 1 / 255)
    assert np.abs(whole(back) * back.slope - pixels).max() == pytest.approx(done.worst)
    assert done.worst <= 0.5 / 255 + 1e-7
    assert back.about["segments"][0]["type"]["meaning"] == "Neoplasm"
    # What is in steps already stays as it is, name and all.
    segwrite.write(back, slimscan.read(ct), tmp_path / "q.dcm", packing=packing)
    again = slimscan.read(tmp_path / "q.dcm")
    np.testing.assert_array_equal(whole(again), whole(back))
    assert again.about["segments"] == back.about["segments"]


def test_masks_of_zeros_only_and_of_bool(ct: Path, tmp_path: Path) -> None:
    back = written(np.zeros(SHAPE, np.uint8), ct, tmp_path / "zero.dcm", labels={4: "Liver"})
    assert not whole(back).any()
    assert [(one["value"], one["label"]) for one in back.about["segments"]] == [(4, "Liver")]
    full = np.ones(SHAPE, bool)
    np.testing.assert_array_equal(whole(written(full, ct, tmp_path / "one.dcm")), full)


@pytest.mark.parametrize("turn", list(permutations(range(3))), ids=str)
def test_axes_of_the_mask_are_followed_by_its_affine(turn: tuple[int, ...]) -> None:
    """Every order of axes and every direction of each: 48 ways to store one mask."""
    pixels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    series = replace(image(), affine_mm=AFFINE)
    for flips in product((1, -1), repeat=3):
        turned = pixels.transpose(turn)[tuple(slice(None, None, flip) for flip in flips)]
        affine = np.eye(4)
        for axis in range(3):  # of the turned array; voxel axis 2 - axis
            column = AFFINE[:3, 2 - turn[axis]]
            affine[:3, 2 - axis] = flips[axis] * column
        corner = np.zeros(3)
        for axis in range(3):
            if flips[axis] < 0:
                corner += AFFINE[:3, 2 - turn[axis]] * (SHAPE[turn[axis]] - 1)
        affine[:3, 3] = AFFINE[:3, 3] + corner
        np.testing.assert_array_equal(seggrid.onto(Volume(turned, affine), turned, series), pixels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: replace(m, pixels=m.pixels[:, :, :-1]), "7 x 10 x 12 voxels (z, y, x), the series has 7 x 10 x 13"),
        (
            lambda m: replace(m, affine_mm=m.affine_mm @ np.diag([1, 1, 1.2, 1])),
            "spacing 3 x 0.8 x 0.7 mm, the series has 2.5 x 0.8 x 0.7 mm (z, y, x)",
        ),
        (
            lambda m: replace(m, affine_mm=AFFINE + 0.35 * np.eye(4)[0][:, None] * np.eye(4)[3]),
            "shifted by up to 0.500 voxels",
        ),
        (
            lambda m: replace(
                m,
                affine_mm=np.array([[0.999, -0.0447, 0, 0], [0.0447, 0.999, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
                @ AFFINE,
            ),
            "turned by 2.",
        ),
    ],
    ids=["size", "spacing", "shift", "angle"],
)
def test_another_grid_is_refused_with_the_difference(change: Any, said: str, ct: Path, tmp_path: Path) -> None:
    with pytest.raises(GeometryError) as error:
        segwrite.write(change(mask(labels(1))), slimscan.read(ct), tmp_path / "out.dcm")
    text = str(error.value)
    assert text.startswith(f"mask.nii: is not on the grid of {ct}: ")
    assert said in text
    assert text.endswith("masks are never resampled here; resample it onto the series with the program that made it")
    assert "\n" not in text


@settings(max_examples=25, deadline=None)
@holds_for(data=st.data())
def test_any_label_map_comes_back(data: Any, tmp_path_factory: Any, ct: Path) -> None:
    values = data.draw(st.lists(st.integers(1, 65535), min_size=1, max_size=4, unique=True))
    kind = data.draw(st.sampled_from(["binary", "labelmap"]))
    pixels = np.zeros(SHAPE, np.uint16)
    for value in values:
        z, y, x = (data.draw(st.integers(0, n - 1)) for n in SHAPE)
        pixels[z, y:, x:] = value
    path = tmp_path_factory.mktemp("any") / "out.dcm"
    np.testing.assert_array_equal(whole(written(pixels, ct, path, kind=kind)), pixels)


def test_a_multi_frame_source_keeps_its_own_order_of_frames(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 60000, SHAPE).astype(np.uint16)
    source = tmp_path / "frames.dcm"
    slimscan.write(Volume(pixels, AFFINE, bits=16), source)

    def backwards(found: Dataset) -> None:
        frames = np.frombuffer(found.PixelData, np.uint16).reshape(SHAPE)
        found.PixelData = frames[::-1].tobytes()
        found.PerFrameFunctionalGroupsSequence = list(found.PerFrameFunctionalGroupsSequence)[::-1]

    edit(source, backwards)
    series = slimscan.read(source)
    np.testing.assert_array_equal(whole(series), pixels)
    drawn = labels(1, 2)
    segwrite.write(mask(drawn), series, tmp_path / "out.dcm")
    back = slimscan.read(tmp_path / "out.dcm")
    np.testing.assert_array_equal(whole(back), drawn)
    np.testing.assert_allclose(back.affine_mm, AFFINE, atol=1e-9)


# --- what others write -----------------------------------------------------------------------------------------------


def foreign(ct: Path, path: Path, pixels: np.ndarray, kind: str = "BINARY", **more: Any) -> Path:
    """A segmentation by highdicom alone: empty frames left out, one description a channel."""
    sources = [dcmread(ct / name) for name in slimscan.read(ct).about["dicom"]["files"]]
    count = pixels.shape[3] if pixels.ndim == 4 else int(pixels.max())
    code = hd.sr.CodedConcept("85756007", "SCT", "Tissue")
    hd.seg.Segmentation(
        more.pop("sources", sources),
        pixels,
        kind,
        [hd.seg.SegmentDescription(n, f"Part {n}", code, code, "MANUAL") for n in range(1, count + 1)],
        *(generate_uid(), 1, generate_uid(), 1, "maker", "model", "1", "none"),
        **more,
    ).save_as(path)
    return path


def test_sparse_frames_fill_the_series_that_the_file_lists(ct: Path, tmp_path: Path) -> None:
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[2, 3:5, 4], pixels[4, 1, 1:7] = 1, 2
    path = foreign(ct, tmp_path / "sparse.dcm", pixels)
    assert dcmread(path).NumberOfFrames == 2
    back = slimscan.read(path)
    np.testing.assert_array_equal(whole(back), pixels)
    np.testing.assert_allclose(back.affine_mm, AFFINE, atol=1e-9)

    def unlisted(found: Dataset) -> None:
        del found.ReferencedSeriesSequence

    span = slimscan.read(edit(path, unlisted))
    np.testing.assert_array_equal(whole(span), pixels[2:5])  # the slice between is there, filled with zeros
    np.testing.assert_allclose(span.affine_mm @ [0, 0, -2, 1], AFFINE[:, 3], atol=1e-9)


def test_instances_listed_in_another_order_tell_nothing(ct: Path, tmp_path: Path) -> None:
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[2:5, 3, 3] = 1
    path = foreign(ct, tmp_path / "sparse.dcm", pixels)

    def shuffled(found: Dataset) -> None:
        listed = found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        found.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [listed[k] for k in (3, 0, 6, 2, 1, 5, 4)]

    np.testing.assert_array_equal(whole(slimscan.read(edit(path, shuffled))), pixels[2:5])


def test_overlapping_segments_are_named_and_can_be_taken(ct: Path, tmp_path: Path) -> None:
    parts = np.zeros((*SHAPE, 3), np.uint8)
    parts[1:6, 2:6, 2:6, 0] = 1
    parts[3:5, 4:8, 4:8, 1] = 1
    parts[2, 0, 0, 2] = 1
    path = foreign(ct, tmp_path / "over.dcm", parts)
    with pytest.raises(InputError) as error:
        slimscan.read(path)
    assert str(error.value) == (
        f'{path}: segments 1 "Part 1" and 2 "Part 2" overlap in 4 voxels of slice 3, and a label map holds one a voxel;'
        f' it has 1 "Part 1", 2 "Part 2", 3 "Part 3"; take one: slimscan dicom take {path} --segment N -o OUT.nii.gz'
    )
    for number in (1, 2, 3):
        one = seg.read_segment(path, number)
        np.testing.assert_array_equal(whole(one), parts[..., number - 1])
        assert [(part["number"], part["value"]) for part in one.about["segments"]] == [(number, 1)]
    with pytest.raises(InputError, match=r"over\.dcm: has no segment 9; it has 1 \"Part 1\", 2"):
        seg.read_segment(path, 9)
    said = here("dicom", "take", path, "--segment", 2, "-o", tmp_path / "two.nii.gz", "--json")
    assert said.status == 0, said.err
    assert said.json["voxels"] == int(parts[..., 1].sum())
    np.testing.assert_array_equal(whole(slimscan.read(tmp_path / "two.nii.gz")), parts[..., 1])

    def claims(found: Dataset) -> None:
        found.SegmentsOverlap = "NO"  # a lie is found when the pixels are asked for

    with pytest.raises(InputError, match='1 "Part 1" and 2 "Part 2" overlap'):
        whole(slimscan.read(edit(path, claims)))


def test_several_fractional_segments_are_taken_one_by_one(ct: Path, tmp_path: Path) -> None:
    parts = np.random.default_rng(1).random((*SHAPE, 2)).astype(np.float32)
    path = foreign(ct, tmp_path / "f.dcm", parts, "FRACTIONAL", max_fractional_value=100)
    with pytest.raises(InputError, match="holds 2 FRACTIONAL segments, one image holds one; it has"):
        slimscan.read(path)
    one = seg.read_segment(path, 2)
    np.testing.assert_allclose(whole(one) * one.slope, parts[..., 1], atol=0.00501)


def test_a_frame_by_frame_deflated_file_is_read(ct: Path, tmp_path: Path) -> None:
    pixels = labels(1, 2)
    written(pixels, ct, path := tmp_path / "out.dcm")

    found, area = dcmread(path), SHAPE[1] * SHAPE[2]
    bits = np.unpackbits(np.frombuffer(found.PixelData, np.uint8), bitorder="little")
    coded = []
    for frame in bits[: area * found.NumberOfFrames].reshape(-1, area):
        packer = zlib.compressobj(wbits=-15)
        coded.append(packer.compress(np.packbits(frame, bitorder="little").tobytes()) + packer.flush())
    del found.PixelData
    with save.Spool(path, coded) as spool:
        save.save(path, found, b"\0" * 128, None, "1.2.840.10008.1.2.8.1", spool, range(len(coded)))
    np.testing.assert_array_equal(whole(slimscan.read(path)), pixels)
    path.write_bytes(path.read_bytes().replace(coded[0], bytes(len(coded[0])), 1))
    with pytest.raises(SlimscanError, match=r"out\.dcm: frame 1: the deflated frame"):
        whole(slimscan.read(path))


def liver() -> list[str]:
    return sorted(path.name for path in ZOO.glob("liver*.dcm")) if DATA else []


@needs_data
@pytest.mark.parametrize("name", liver())
def test_real_segmentations_in_every_transfer_syntax(name: str) -> None:
    """A liver of 3D Slicer: native, big-endian, deflated, RLE and JPEG 2000, frames on and off whole bytes."""
    plain = ZOO / ("liver_nonbyte_aligned.dcm" if "nonbyte" in name else "liver.dcm")
    found = dcmread(plain)
    at = [
        float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        for group in found.PerFrameFunctionalGroupsSequence
    ]
    back = slimscan.read(ZOO / name)
    np.testing.assert_array_equal(whole(back), found.pixel_array[np.argsort(at)])
    assert back.spacing_mm == pytest.approx((1.0, 0.810547, 0.810547), abs=1e-4)
    assert back.about["segments"][0]["type"] == {"value": "T-62000", "scheme": "SRT", "meaning": "Liver"}


@needs_data
def test_the_zoo_holds_nine_of_them() -> None:
    assert len(liver()) == 9


# --- real masks ------------------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(("kind", "packing"), [("binary", "deflate"), ("labelmap", "rle")])
def test_a_real_mask_of_31_organs_stored_the_other_way_round(kind: str, packing: str, tmp_path: Path) -> None:
    """The NIfTI's y runs against the series'; labels 1 to 117 with gaps."""
    source, out = TOTALSEG / "example_seg_dicom.nii.gz", tmp_path / "organs.dcm"
    done = segmentation.write_segmentation(
        source, TOTALSEG / "example_ct_dicom", out, labels={1: "spleen", 5: "liver"}, kind=kind, packing=packing
    )
    assert len(done["segments"]) == 31
    assert done["identical"] is True
    back, ct = slimscan.read(out), slimscan.read(TOTALSEG / "example_ct_dicom")
    np.testing.assert_array_equal(whole(back), whole(slimscan.read(source))[:, ::-1])
    np.testing.assert_array_equal(back.affine_mm, ct.affine_mm)
    assert back.about["segments"][1]["type"] == {"value": "10200004", "scheme": "SCT", "meaning": "Liver"}
    held = hd.seg.segread(out)
    first = held.get_volume(segment_numbers=[held.segment_numbers[1]], combine_segments=True)
    np.testing.assert_array_equal(upright(first, ct) > 0, whole(back) == back.about["segments"][1]["value"])


@needs_data
def test_score_and_info_take_segmentations(tmp_path: Path) -> None:
    source, out = TOTALSEG / "example_seg_dicom.nii.gz", tmp_path / "organs.dcm"
    segmentation.write_segmentation(source, TOTALSEG / "example_ct_dicom", out, labels={5: "liver"}, packing="deflate")
    labels_of = [one["value"] for one in slimscan.read(out).about["segments"]]
    for reference, prediction in ((out, out),):
        said = here(
            "score",
            "--reference",
            reference,
            "--prediction",
            prediction,
            "--metric",
            "dice",
            "--json",
            "--classes",
            "5,6",
        )
        assert [line["dice"] for line in said.json["scores"]] == [1.0, 1.0]
    facts = here("info", out, "--json").json
    assert [one["value"] for one in facts["header"]["segments"]] == labels_of
    assert re.search(r"\n  2 +5 +liver +Anatomical Structure +Liver +SCT 10200004\n", here("info", out).out)


# --- the standard ----------------------------------------------------------------------------------------------------


def complaints(path: Path, tmp_path: Path) -> list[str]:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy of dicom3tools is not installed")
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    return sorted(set((said.stdout + said.stderr).splitlines()))


def test_dciodvfy_finds_no_error_in_a_binary_segmentation(ct: Path, tmp_path: Path) -> None:
    written(labels(1, 2), ct, path := tmp_path / "out.dcm", labels={1: "kidney_left", 2: "tumour"})
    said = complaints(path, tmp_path)
    assert "Segmentation" in said
    # Only what the made series itself leaves empty: nobody knows its patient.
    rest = [line for line in said if line != "Segmentation" and "needed to build DICOMDIR" not in line]
    assert rest == []


def test_a_private_label_number_is_the_one_warning_of_labels_with_gaps(ct: Path, tmp_path: Path) -> None:
    written(labels(5, 9), ct, path := tmp_path / "out.dcm")
    rest = [
        line for line in complaints(path, tmp_path) if line != "Segmentation" and "needed to build DICOMDIR" not in line
    ]
    assert len(rest) == 1
    assert rest[0].startswith("(0x0053,0x1010)  ?  - Warning - Unrecognized tag")


def test_dciodvfy_finds_no_error_in_a_fractional_segmentation(ct: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).random(SHAPE).astype(np.float32)
    segwrite.write(mask(pixels), slimscan.read(ct), path := tmp_path / "p.dcm", packing="rle")
    assert not [line for line in complaints(path, tmp_path) if "Error" in line]


def test_what_the_file_says_of_its_source(ct: Path, tmp_path: Path) -> None:
    pixels = labels(1)
    written(pixels, ct, path := tmp_path / "out.dcm", labels={1: "kidney_left"}, algorithm=("AUTOMATIC", "Net 3"))
    found, series = dcmread(path), [dcmread(file) for file in sorted(ct.iterdir())]
    assert found.StudyInstanceUID == series[0].StudyInstanceUID
    assert found.FrameOfReferenceUID == series[0].FrameOfReferenceUID
    assert found.SeriesInstanceUID != series[0].SeriesInstanceUID
    listed = found.ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == series[0].SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in listed.ReferencedInstanceSequence} == {
        one.SOPInstanceUID for one in series
    }
    item = found.SegmentSequence[0]
    assert (item.SegmentLabel, item.SegmentAlgorithmType, item.SegmentAlgorithmName) == (
        "kidney_left",
        "AUTOMATIC",
        "Net 3",
    )
    kind = item.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodeMeaning) == ("64033007", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert found.LossyImageCompression == "00"
    assert "InstanceCreationDate" not in found
    assert found.NumberOfFrames == len({z for z in range(SHAPE[0]) if pixels[z].any()} | {0, SHAPE[0] - 1})
    assert slimscan.read(path).about["segments"][0]["algorithm"] == {"type": "AUTOMATIC", "name": "Net 3"}


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "category", "value", "meaning", "side"),
    [
        ("Liver", "Anatomical Structure", "10200004", "Liver", None),
        ("kidney_left", "Anatomical Structure", "64033007", "Kidney", "Left"),
        ("left ventricle", "Anatomical Structure", "87878005", "Left ventricle", None),
        ("lung_upper_lobe_right", "Anatomical Structure", "45653009", "Upper lobe of lung", "Right"),
        ("vertebrae_L5", "Anatomical Structure", "49668003", "L5 vertebra", None),
        ("rib_left_7", "Anatomical Structure", "113197003", "Rib", "Left"),
        ("urinary_bladder", "Anatomical Structure", "89837001", "Bladder", None),
        ("small bowel", "Anatomical Structure", "30315005", "Small intestine", None),
        ("iliac_vena_left", "Anatomical Structure", "244411005", "Iliac vein", "Left"),
        ("Tumour", "Morphologically Abnormal Structure", "108369006", "Neoplasm", None),
        ("bone", "Tissue", "3138006", "Bone", None),
        ("something else", "Tissue", "85756007", "Tissue", None),
        ("Label 3", "Tissue", "85756007", "Tissue", None),
    ],
)
def test_names_find_their_codes(name: str, category: str, value: str, meaning: str, side: str | None) -> None:
    found = segterms.coded(1, 1, name)
    assert (found.label, found.category.meaning, found.type.value, found.type.meaning) == (
        name,
        category,
        value,
        meaning,
    )
    assert (found.side and found.side.meaning) == side
    assert found.type.scheme == "SCT"
    assert found.known is (meaning != "Tissue")


def test_a_labels_file_may_give_codes(tmp_path: Path, ct: Path) -> None:
    file = tmp_path / "labels.toml"
    file.write_text(
        '[labels]\n1 = "Spleen"\n'
        '2 = {name = "wall", type = ["99", "99LOCAL", "Wall"], category = ["123037004", "SCT", "Anatomical Structure"]}\n'
    )
    back = written(labels(1, 2), ct, tmp_path / "out.dcm", labels=segterms.labels_of(str(file)))
    assert [one["label"] for one in back.about["segments"]] == ["Spleen", "wall"]
    assert back.about["segments"][1]["type"] == {"value": "99", "scheme": "99LOCAL", "meaning": "Wall"}
    assert segterms.labels_of("1=Liver, 2=Left kidney") == {1: "Liver", 2: "Left kidney"}


@pytest.mark.parametrize("text", ["Liver", "0=Liver", "1=", "1=a,1=b", "x=Liver", "70000=a"])
def test_labels_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="want each label once, a whole number from 1 to 65535 and a name"):
        segterms.labels_of(text)


def test_labels_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot be read as TOML"):
        segterms.labels_of(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match=r'where: label 2 type is \["1"\]|want \["10200004", "SCT", "Liver"\]'):
        segterms.given(1, 2, {"name": "a", "type": ["1"]}, "where")
    with pytest.raises(InputError, match="must have 1 to 64 characters"):
        segterms.given(1, 2, "x" * 65, "where")
    with pytest.raises(InputError, match="want a name, or a table"):
        segterms.given(1, 2, 7, "where")


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "more", "said"),
    [
        (labels(1).astype(np.int16) - 1, {}, "mask.nii: values from -1 to 0; want whole labels from 0 to 65535"),
        (labels(1) * 1.5, {}, "mask.nii: values from 0 to 1.5; want probabilities from 0 to 1, or whole labels"),
        (np.full(SHAPE, np.nan), {}, "mask.nii: holds NaN or infinity; want labels or probabilities"),
        (labels(1), {"kind": "mesh"}, 'mask.nii: kind "mesh" is not known; allowed: binary, fractional, labelmap'),
        (labels(1), {"packing": "jpeg"}, 'packing "jpeg" is not known; allowed: none, deflate, rle, all lossless'),
        (labels(1), {"algorithm": ("GUESS", "x")}, "want one of MANUAL, SEMIAUTOMATIC, AUTOMATIC and a name"),
        (np.zeros((*SHAPE, 3), np.uint8), {}, "mask.nii: has 3 colours a voxel; want labels or probabilities"),
    ],
    ids=["negative", "large", "nan", "kind", "packing", "algorithm", "colour"],
)
def test_masks_that_cannot_be_are_refused(pixels: np.ndarray, more: Any, said: str, ct: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        segwrite.write(mask(pixels), slimscan.read(ct), tmp_path / "out.dcm", **more)
    assert said in str(error.value)
    assert not (tmp_path / "out.dcm").exists()


def test_a_series_that_is_none_is_refused(ct: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"made\.nii: is no DICOM series with a place in space"):
        segwrite.write(mask(labels(1)), image(), tmp_path / "out.dcm")


def test_without_highdicom_the_extra_is_named(ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segwrite, "NEEDS", Needs("highdicom", "no_such_module", "seg"))
    with pytest.raises(MissingExtra, match=r'pip install "slimscan\[seg\]"'):
        segwrite.write(mask(labels(1)), slimscan.read(ct), tmp_path / "out.dcm")


def test_lossy_is_refused_and_lossless_keeps_the_names(ct: Path, tmp_path: Path) -> None:
    written(labels(1, 2), ct, path := tmp_path / "out.dcm", labels={1: "Liver", 2: "Spleen"})
    for target in (["--ratio", 4], ["--psnr", 50], ["--setting", "jpeg2000@40"], ["--max-error", 1]):
        said = here("compress", path, "-o", tmp_path / "x.ozx", *target)
        assert (
            said.error() == f"{path}: a segmentation says what each voxel is, not how bright; only --lossless is safe"
        )
    assert here("compress", path, "-o", tmp_path / "x.ozx", "--lossless").status == 0
    said = here("dicom", "seg", tmp_path / "x.ozx", "--on", ct, "-o", tmp_path / "again.dcm", "--json")
    assert said.status == 0, said.err
    assert [one["label"] for one in said.json["segments"]] == ["Liver", "Spleen"]
    assert (tmp_path / "again.dcm").read_bytes() == path.read_bytes()
    for name in ("image.dcm", "folder/"):
        said = here("decompress", tmp_path / "x.ozx", "-o", f"{tmp_path}/{name}")
        assert "segments are no image; `slimscan dicom seg MASK --on SERIES -o OUT.dcm`" in said.error()


def test_the_command_says_what_it_did_and_refuses_in_one_line(ct: Path, tmp_path: Path) -> None:
    slimscan.write(mask(labels(2, 3)), tmp_path / "mask.nii.gz")
    out = tmp_path / "out.dcm"
    order = ("dicom", "seg", tmp_path / "mask.nii.gz", "--on", ct, "-o", out)
    said = here(*order, "--labels", "2=Liver,3=Spleen", "--by", "automatic:Net 1", "--pack", "deflate")
    assert said.status == 0, said.err
    assert "the same labels in every voxel" in said.out
    assert "  2        3      Spleen  Anatomical Structure  Spleen  SCT 78961009" in said.out
    assert "exists already" in here(*order).error()
    done = here(*order, "--force", "--json").json
    assert (done["kind"], done["identical"], done["file_bytes"]) == ("binary", True, out.stat().st_size)
    assert "end its name with .dcm" in here(*order[:-1], tmp_path / "out.nii").error()
    assert "want manual, automatic:NAME or semiautomatic:NAME" in here(*order, "--force", "--by", "me").error()
    assert (
        "is no DICOM Segmentation file"
        in here("dicom", "take", tmp_path / "mask.nii.gz", "--segment", 1, "-o", "x.nii").error()
    )
    assert "one segment goes into .nii" in here("dicom", "take", out, "--segment", 1, "-o", tmp_path / "x.ozx").error()


def test_what_comes_back_otherwise_is_not_kept(ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = segwrite.write

    def wrong(*given: Any, **more: Any) -> segwrite.Written:
        done = right(*given, **more)
        return replace(done, values=np.where(done.values == 2, 1, done.values))

    monkeypatch.setattr(segwrite, "write", wrong)
    slimscan.write(mask(labels(1, 2)), tmp_path / "mask.nii.gz")
    with pytest.raises(CheckFailed, match=r"out\.dcm: what was read back is not the mask; nothing was written"):
        segmentation.write_segmentation(tmp_path / "mask.nii.gz", ct, tmp_path / "out.dcm")
    assert not (tmp_path / "out.dcm").exists()


# --- damaged and odd files -------------------------------------------------------------------------------------------


def _set(keyword: str, value: Any) -> Callable[[Dataset], object]:
    return lambda found: setattr(found, keyword, value)


def _frame(k: int, keyword: str, inner: str, value: Any) -> Callable[[Dataset], object]:
    return lambda found: setattr(getattr(found.PerFrameFunctionalGroupsSequence[k], keyword)[0], inner, value)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (
            _set("LossyImageCompression", "01"),
            InputError,
            "went through lossy compression; its voxels cannot be trusted",
        ),
        (_set("SegmentationType", "FRACTIONAL"), NotReadable, 'SegmentationType "FRACTIONAL" with 1 bits'),
        (_set("SegmentSequence", []), NotReadable, "frames of segment 1, which SegmentSequence does not describe"),
        (_set("NumberOfFrames", 99), NotReadable, "NumberOfFrames says 99"),
        (_set("Rows", 2000), NotReadable, "the file is cut off"),
        (
            _frame(1, "PlanePositionSequence", "ImagePositionPatient", [-30, -20, -97.1]),
            GeometryError,
            "the frames lie on no regular grid",
        ),
        (
            _frame(1, "PlanePositionSequence", "ImagePositionPatient", [-30, -20, -100]),
            GeometryError,
            "a segment has two frames in one slice; want one",
        ),
        (
            _frame(1, "SegmentIdentificationSequence", "ReferencedSegmentNumber", 9),
            NotReadable,
            "frames of segment 9, which",
        ),
        (
            lambda found: [group.pop("PlanePositionSequence") for group in found.PerFrameFunctionalGroupsSequence],
            GeometryError,
            "no place in space",
        ),
        (
            lambda found: [
                group.pop("SegmentIdentificationSequence") for group in found.PerFrameFunctionalGroupsSequence
            ],
            NotReadable,
            "does not say its segment",
        ),
    ],
    ids=["lossy", "kind", "segments", "frames", "rows", "gap", "double", "number", "place", "nameless"],
)
def test_a_damaged_file_is_one_sentence(change: Any, kind: Any, said: str, ct: Path, tmp_path: Path) -> None:
    pixels = np.zeros(SHAPE, np.uint8)
    pixels[:, 3, 3], pixels[:, 5, 5] = 1, 2
    written(pixels, ct, path := tmp_path / "out.dcm")
    edit(path, change)
    with pytest.raises(kind) as error:
        slimscan.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("packing", ["none", "deflate"])
def test_cut_anywhere_it_is_refused_and_never_crashes(packing: str, ct: Path, tmp_path: Path) -> None:
    written(labels(1, 2), ct, path := tmp_path / "out.dcm", packing=packing)
    content = path.read_bytes()
    for part in np.linspace(0.05, 0.98, 18):
        (short := tmp_path / "short.dcm").write_bytes(content[: int(part * len(content))])
        with pytest.raises(SlimscanError):
            whole(slimscan.read(short))


@settings(max_examples=60, deadline=None)
@holds_for(seed=st.integers(0, 1 << 30))
def test_flipped_bits_give_an_error_or_a_label_map(seed: int, flipped: Path) -> None:
    content = bytearray(flipped.read_bytes())
    rng = np.random.default_rng(seed)
    for _ in range(3):
        content[int(rng.integers(132, len(content)))] ^= 1 << int(rng.integers(8))
    bad = flipped.with_name("bad.dcm")
    bad.write_bytes(content)
    try:
        found = slimscan.read(bad)
        assert whole(found).shape == found.shape
    except SlimscanError as error:
        assert "\n" not in str(error)  # noqa: PT017 either outcome is right


@pytest.fixture(scope="session")
def flipped(ct: Path, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("flipped") / "out.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segwrite.write(mask(labels(1, 2)), slimscan.read(ct), path)
    return path


def test_a_segmentation_beside_its_series_is_passed_over(ct: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(ct, folder)
    written(labels(1), ct, folder / "organs.dcm")
    series = slimscan.read(folder)
    assert series.shape == SHAPE
    assert series.about["dicom"]["passed_over"] == ["organs.dcm"]
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / "organs.dcm", alone)
    np.testing.assert_array_equal(whole(slimscan.read(alone)), labels(1))


def test_the_untrusted_way_gives_the_same(ct: Path, tmp_path: Path) -> None:
    from slimscan.child import apart

    pixels = labels(1, 2)
    written(pixels, ct, path := tmp_path / "out.dcm", kind="labelmap", packing="rle")
    with apart():
        np.testing.assert_array_equal(whole(slimscan.read(path)), pixels)


def test_frames_far_apart_are_no_grid_of_millions() -> None:
    def plane(z: float) -> Plane:
        return Plane(f"frame at {z}", (0.0, 0.0, z), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0))

    with pytest.raises(GeometryError, match="the frames span 1000001 slices; allowed: 65535"):
        seggrid.spread([plane(0), plane(10_000)], 0.01)
    slices, affine, count = seggrid.spread([plane(4), plane(0), plane(4), plane(10)], 2.0, 1, 2)
    assert (slices, count) == ([3, 1, 3, 6], 9)
    np.testing.assert_allclose(affine @ [0, 0, 1, 1], [0, 0, 0, 1], atol=1e-9)


def test_the_class_is_found_in_the_first_bytes() -> None:
    assert seg.sop_class(io.BytesIO(b"").read()) == ""
    for uid in (seg.SEGMENTATION, seg.LABELMAP):
        element = b"\x02\x00\x02\x00UI" + len(uid).to_bytes(2, "little") + uid.encode()
        assert seg.is_segmentation(b"\0" * 128 + b"DICM" + element)
