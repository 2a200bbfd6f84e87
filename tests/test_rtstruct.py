"""RT Structure Sets: polygons by hand, contours of a real label map, and every way in which one does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from slimscan import files
from slimscan.errors import GeometryError, InputError, NotReadable, SlimscanError
from slimscan.files.dicom import rtstruct
from slimscan.files.dicom.rtstruct import inside, read_structures, structures
from slimscan.nouns import Volume
from slimscan.press.where import region_of

SQUARE = [(1.5, 1.5), (5.5, 1.5), (5.5, 4.5), (1.5, 4.5)]  # x, y: centres 2..5 by 2..4, 12 pixels
AFFINE = np.array([[-0.7, 0, 0, 30], [0, -0.8, 0, 40], [0, 0, 2.5, -100], [0, 0, 0, 1.0]])
IMAGE = Volume(np.zeros((6, 10, 12), np.int16), AFFINE, source="ct")


def lps(points, z: float, affine=AFFINE) -> list[float]:
    """Voxels (x, y) of slice z as DICOM's triplets."""
    voxels = np.array([[x, y, z, 1.0] for x, y in points])
    return (np.diag([-1, -1, 1, 1.0]) @ affine @ voxels.T)[:3].T.ravel().tolist()


def contour(data, kind="CLOSED_PLANAR") -> Dataset:
    one = Dataset()
    one.ContourGeometricType = kind
    one.NumberOfContourPoints = len(data) // 3
    one.ContourData = [f"{value:.10g}" for value in data]
    return one


def saved(folder: Path, regions, frame: str = "1.2.3", sop=rtstruct.STRUCTURES) -> str:
    """A structure set of {name: [contours]}; numbers begin at 1."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = sop, generate_uid(), "RTSTRUCT"
    of_frame = Dataset()
    of_frame.FrameOfReferenceUID = frame
    made.ReferencedFrameOfReferenceSequence = [of_frame]
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        drawn.ReferencedROINumber, drawn.ContourSequence = number, contours
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(drawn)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta = meta
    pydicom.dcmwrite(folder / "plan.dcm", made, enforce_file_format=True)
    return str(folder / "plan.dcm")


def area(*contours) -> int:
    return int(inside([np.array(one, float) for one in contours], (10, 12)).sum())


# ---------------------------------------------------------------- pixels of polygons, by hand


def test_polygons_by_hand():
    assert area(SQUARE) == 12
    assert area(SQUARE[::-1]) == 12
    triangle = [(0.5, 0.5), (6.5, 0.5), (0.5, 6.5)]  # centres with x + y < 7 and x, y >= 1; on the edge x + y = 7 too
    assert area(triangle) == sum(1 for x in range(1, 12) for y in range(1, 10) if x + y <= 7) == 21
    assert area([(2.9, 2.9), (3.1, 2.9), (3.1, 3.1), (2.9, 3.1)]) == 1
    assert area([(2.1, 2.1), (2.9, 2.1), (2.9, 2.9), (2.1, 2.9)]) == 0  # between centres


def test_a_centre_on_the_contour_is_inside():
    """PS3.3 C.8.8.6.3: points on the path of a contour are part of the region."""
    assert area([(2, 2), (5, 2), (5, 4), (2, 4)]) == 12
    assert area([(2, 2), (4, 4), (2, 4)]) == 6  # the slanted edge passes through (2,2) (3,3) (4,4)
    assert area([(4, 2), (6, 4), (4, 6), (2, 4)]) == 13
    assert area([(3.00001, 3), (3.00001, 3), (3.00001, 3)]) == 1


def test_holes_and_keyholes():
    hole = [(2.5, 2.5), (4.5, 2.5), (4.5, 3.5), (2.5, 3.5)]  # 2 pixels
    assert area(SQUARE, hole) == 10
    keyhole = [*SQUARE, SQUARE[0], *hole, hole[0]]  # out through the first corner and back the same way
    assert area(keyhole) == 10
    island = [(2.6, 2.6), (3.4, 2.6), (3.4, 3.4), (2.6, 3.4)]
    assert area(SQUARE, hole, island) == 11
    apart = [(8.5, 6.5), (9.5, 6.5), (9.5, 8.5), (8.5, 8.5)]
    assert area(SQUARE, apart) == 14
    assert area(SQUARE, SQUARE) == 12  # drawn twice by mistake: not a hole of itself


def test_what_reaches_beyond_the_image_is_cut():
    assert area([(-5, -5), (50, -5), (50, 50), (-5, 50)]) == 120
    assert area([(-5, -5), (1.5, -5), (1.5, 50), (-5, 50)]) == 20
    assert area([(-9, -9), (-2, -9), (-2, -2)]) == 0
    assert area([(-9, 4), (40, 4), (40, 4.2)]) == 12


@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(-30, 150), st.integers(-30, 130)), min_size=3, max_size=9),
    turn=st.integers(0, 8),
)
def test_inside_is_the_crossing_number(points, turn):
    """Against the textbook test, at a quarter of a tenth beside every grid line, so that no centre is on an edge's end."""
    corners = np.array(points) / 10 + 0.0237
    want = np.zeros((10, 12), bool)
    for y in range(10):
        for x in range(12):
            odd = False
            for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                if (y0 > y) != (y1 > y):
                    odd ^= bool(x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
            want[y, x] = odd
    got = inside([np.roll(corners, turn, axis=0)], (10, 12))
    assert not (want & ~got).any()
    for y, x in np.argwhere(got & ~want):  # only centres on an edge may come on top
        ends = zip(corners, np.roll(corners, -1, axis=0), strict=True)
        assert min(_away(np.array([x, y]), a, b) for a, b in ends) < 2e-3


def _away(point, a, b) -> float:
    along = b - a
    share = np.clip((point - a) @ along / max(along @ along, 1e-30), 0, 1)
    return float(np.linalg.norm(point - a - share * along))


# ---------------------------------------------------------------- files


def test_regions_on_their_slices(tmp_path):
    hole = [(2.5, 2.5), (4.5, 2.5), (4.5, 3.5), (2.5, 3.5)]
    place = saved(
        tmp_path,
        {
            "Body": [contour(lps([(-1, -1), (13, -1), (13, 11), (-1, 11)], 0))],
            "GTV 1": [
                contour(lps(SQUARE, 2)),
                contour(lps(SQUARE, 3), "CLOSEDPLANAR_XOR"),
                contour(lps(hole, 3), "CLOSEDPLANAR_XOR"),
            ],
            "empty": [],
        },
    )
    held = structures(place)
    assert [(one.number, one.name, len(one.contours)) for one in held] == [
        (1, "Body", 1),
        (2, "GTV 1", 3),
        (3, "empty", 0),
    ]
    mask = read_structures(place, [2], IMAGE)
    assert [int(mask.slices(z, z + 1).sum()) for z in range(6)] == [0, 0, 12, 10, 0, 0]
    found = region_of(f"{place}#gtv_1", IMAGE)
    assert (found.about["inside"], found.name, found.about["slices"], found.about["kind"]) == (
        22,
        "GTV 1",
        [2, 3],
        "contours",
    )
    assert region_of(f"{place}#2", IMAGE).about["inside"] == 22
    assert region_of(f"{place}#1,2", IMAGE).about["inside"] == 142
    assert region_of(f"{place}#any", IMAGE).about["inside"] == 142


def test_the_only_drawn_region_needs_no_name(tmp_path):
    place = saved(tmp_path, {"GTV": [contour(lps(SQUARE, 1))], "empty": []})
    assert region_of(place, IMAGE).about["inside"] == 12


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ("", InputError, '{0}: holds the regions 1 "good", 2 "off", 3 "beyond", 4 "tilted", 5 "points", 6 "beside", 7 "none"; say which one is meant by #name or #number'),
        ("#goood", InputError, '{0}: has no class "goood"; it has 1 good, 2 off, 3 beyond, 4 tilted, 5 points, 6 beside, 7 none; did you mean "good"?'),
        ("#9", InputError, '{0}: has no class "9"; it has 1 good, 2 off, 3 beyond, 4 tilted, 5 points, 6 beside, 7 none'),
        ("#off", GeometryError, '{0}: region 2 "off": contour 1 lies 1.000 mm off slice 2; contours must lie on the slices of ct (within 0.625 mm): use the series it was drawn on, or a mask'),
        ("#beyond", GeometryError, '{0}: region 3 "beyond": contour 2 lies on slice 8, the image ct has 0..5; use the series it was drawn on'),
        ("#tilted", GeometryError, '{0}: region 4 "tilted": contour 1 spans 1.00 slices: it is tilted against the slices; contours must lie on the slices of ct (within 0.625 mm): use the series it was drawn on, or a mask'),
        ("#points", InputError, '{0}: region 5 "points": contour 1 is POINT with 1 point(s); want CLOSED_PLANAR contours of at least 3 points'),
        ("#beside", GeometryError, '{0}: region 6 "beside" lies wholly beside the image ct; use the series it was drawn on'),
        ("#none", InputError, '{0}: region 7 "none" has no contours; choose another, or draw it'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path, asked, error, message):
    tilted = lps(SQUARE, 2)
    tilted[2] += 2.5
    place = saved(
        tmp_path,
        {
            "good": [contour(lps(SQUARE, 1))],
            "off": [contour(lps(SQUARE, 2.4))],
            "beyond": [contour(lps(SQUARE, 1)), contour(lps(SQUARE, 8))],
            "tilted": [contour(tilted)],
            "points": [contour(lps(SQUARE[:1], 2), "POINT")],
            "beside": [contour(lps([(x + 40, y) for x, y in SQUARE], 2))],
            "none": [],
        },
    )
    with pytest.raises(error) as caught:
        region_of(place + asked, IMAGE)
    assert str(caught.value) == message.format(place)


def test_another_frame_of_reference_is_refused(tmp_path):
    series = tmp_path / "series"
    series.mkdir()
    files.write(IMAGE, f"{series}/")
    on = files.read(series)
    frame = rtstruct.frame_of(on)
    assert frame
    good = saved(tmp_path, {"GTV": [contour(lps(SQUARE, 1, on.affine_mm))]}, frame)
    assert region_of(f"{good}#GTV", on).about["inside"] == 12
    assert rtstruct.frame_of(IMAGE) == ""
    assert rtstruct.frame_of(replace(on, about={"dicom": {"folder": "/gone", "files": ["a"]}})) == ""
    other = saved(tmp_path, {"GTV": [contour(lps(SQUARE, 1, on.affine_mm))]}, "1.2.3")
    with pytest.raises(GeometryError) as error:
        region_of(f"{other}#GTV", on)
    assert str(error.value) == (
        f'{other}: region 1 "GTV" stands in the frame of reference 1.2.3, the image {series} in {frame}; use the series it'
        " was drawn on, or register and resample it"
    )


def test_no_structure_set_and_damaged_ones(tmp_path):
    other = saved(tmp_path, {"a": []}, sop="1.2.840.10008.5.1.4.1.1.481.5")
    with pytest.raises(NotReadable) as error:
        structures(other)
    assert str(error.value) == f"{other}: is no RT Structure Set; `slimscan info` says what it is"
    with pytest.raises(NotReadable, match="the structure set names no region"):
        structures(saved(tmp_path, {}))
    odd = contour(lps(SQUARE, 1))
    odd.ContourData = odd.ContourData[:-1]
    with pytest.raises(NotReadable, match="a contour of 11 numbers, want finite triplets"):
        structures(saved(tmp_path, {"a": [odd]}))
    whole = Path(saved(tmp_path, {"a": [contour(lps(SQUARE, 1))]})).read_bytes()
    said = []
    for cut in range(200, len(whole), 53):
        (tmp_path / "cut.dcm").write_bytes(whole[:cut])
        try:
            region_of(str(tmp_path / "cut.dcm"), IMAGE)
        except SlimscanError as caught:
            said.append(str(caught))
    assert len(said) > 10
    assert all("cut.dcm" in one and "\n" not in one for one in said)


# ---------------------------------------------------------------- contours of a real label map


@pytest.mark.parametrize("label", [5, 20, 1])
def test_contours_of_a_real_label_map_come_back(tmp_path, real_data, label):
    """TotalSegmentator's liver, colon (with holes and islands) and spleen: contours between pixels, drawn again."""
    from skimage.measure import find_contours

    folder = real_data / "ct_abdomen_totalseg_example"
    series = files.read(folder / "example_ct_dicom")
    held = region_of(f"{folder / 'example_seg_dicom.nii.gz'}#{label}", series)
    truth = held.inside(0, held.shape[0])
    drawn = []
    for z, plane in enumerate(truth):
        for line in find_contours(np.pad(plane.astype(float), 1), 0.5):
            drawn.append(contour(lps(line[:-1, ::-1] - 1, z, series.affine_mm)))
    place = saved(tmp_path, {"organ": drawn}, rtstruct.frame_of(series))
    got = region_of(f"{place}#organ", series)
    mask = got.inside(0, got.shape[0])
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice >= 0.999
