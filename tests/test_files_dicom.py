"""DICOM in: every file of the zoo, one regular volume or the slice that does not fit, and bytes that lie."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from slimscan.errors import CodecError, GeometryError, InputError, NotReadable, SlimscanError
from slimscan.files.dicom import DICOM
from slimscan.files.dicom import frames as dicom_frames
from slimscan.files.dicom import save as dicom_save
from slimscan.files.dicom.codestream import ends, inspect
from slimscan.files.dicom.geometry import Plane, planes_of, stack
from slimscan.files.dicom.header import header
from slimscan.files.dicom.write import write, write_exact
from slimscan.files.guard import read_head
from slimscan.nouns import Volume

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")
ZOO = Path(DATA) / "dicom_zoo"
CORNER = "cornerstone_ct_transfer_syntaxes/CTImage.dcm"

# Every file of the zoo that is refused, and why; everything else must be read, pixel for pixel.
DEEP, FLOATS, NO_DICOM = (
    "32 bits allocated",
    "floating point numbers",
    "is not a DICOM image",
)
REFUSED = {
    **{
        f"pydicom-data/SC_rgb_{kind}.dcm": DEEP for kind in ("32bit", "32bit_2frame", "expb_32bit", "expb_32bit_2frame")
    },
    "pydicom-data/parametric_map_float.dcm": FLOATS,
    "pydicom-data/parametric_map_double_float.dcm": FLOATS,
    "cornerstone_ct_transfer_syntaxes/no-pixel-data.dcm": "Basic Text SR Storage is no image",
    **{
        f"cornerstone_ct_transfer_syntaxes/wadors/{name}": NO_DICOM
        for name in ("CTImageEvenAligned.dat", "CTImageOddAligned.dat", "metadata")
    },
    **{f"wg04_ct_mr/REF/{name}_UNC.zst": NO_DICOM for name in ("CT1", "CT2", "MR3")},
}
# What pydicom cannot decode here must equal the same image in another transfer syntax; None: nothing to compare with.
# The lossless JPEGs equal their native twins; two coders of the same DCT coefficients give the same pixels.
TWIN: dict[str, str | None] = {
    f"{CORNER}_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm": CORNER,
    f"{CORNER}_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm": CORNER,
    f"{CORNER}_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": f"{CORNER}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
    f"{CORNER}_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": f"{CORNER}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
    f"{CORNER}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": None,
    "cornerstone_ct_transfer_syntaxes/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": None,
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": "pydicom-data/emri_small.dcm",
    "pydicom-data/JPEG-LL.dcm": None,
    "pydicom-data/JPGLosslessP14SV1_1s_1f_8b.dcm": None,
    "pydicom-data/bad_sequence.dcm": None,
    **{f"wg04_ct_mr/JPLL/{name}_JPLL": f"wg04_ct_mr/RLE/{name}_RLE" for name in ("CT1", "CT2", "MR3")},
    "wg04_ct_mr/JPLY/MR3_JPLY": None,
}


def whole(volume: Volume) -> np.ndarray:
    return volume.slices(0, volume.shape[0])


def ramp(count: int = 6, shape: tuple[int, int] = (8, 10), **facts: Any) -> Volume:
    """A CT volume with stored values that tell every voxel apart, 0.7 x 0.7 x 2.5 mm."""
    pixels = np.arange(count * shape[0] * shape[1]).reshape(count, *shape).astype(np.int16)
    affine = np.array([[-0.7, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])
    return Volume(pixels, affine, bits=16, unit="HU", intercept=-1024.0, source="ramp.nii", **facts)


def edit(path: Path, change: Callable[[Dataset], object]) -> Path:
    found = dcmread(path)
    change(found)
    found.save_as(path)
    return path


def series(folder: Path, count: int = 6) -> list[Path]:
    write(ramp(count), folder)
    return sorted(folder.iterdir())


def moved(x: float = 0, y: float = 0, z: float = 0) -> Callable[[Dataset], object]:
    def change(found: Dataset) -> None:
        found.ImagePositionPatient = [float(a) + b for a, b in zip(found.ImagePositionPatient, (x, y, z), strict=True)]

    return change


# --- the zoo ---------------------------------------------------------------------------------------------------------


def zoo() -> list[str]:
    """Every image; the segmentations among them are in test_dicom_seg.py."""
    files = [path for path in ZOO.rglob("*") if path.is_file()] if DATA else []
    return sorted(str(path.relative_to(ZOO)) for path in files if not path.name.startswith("liver"))


@needs_data
@pytest.mark.parametrize("name", zoo())
def test_every_file_of_the_zoo_is_read_or_refused_with_the_reason(name: str) -> None:
    path = ZOO / name
    if name in REFUSED:
        assert DICOM.sniff(path, read_head(path)) is (REFUSED[name] != NO_DICOM)
        with pytest.raises(InputError) as said:
            DICOM.read(path)
        assert REFUSED[name] in str(said.value)
        assert str(said.value).startswith(f"{path}: ")
        assert "\n" not in str(said.value)
        return
    assert DICOM.sniff(path, read_head(path))
    volume = DICOM.read(path)
    pixels = whole(volume)
    assert (pixels.shape, pixels.dtype) == (volume.shape, volume.pixels.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in TWIN:
            twin = TWIN[name]
            if twin is not None:
                np.testing.assert_array_equal(pixels, whole(DICOM.read(ZOO / twin)))
            return
        pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is what pydicom decodes JPEG 2000 with")
        found = dcmread(path, force=True)
        if "TransferSyntaxUID" not in found.file_meta:
            found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        expected = found.pixel_array.reshape(volume.shape)  # pydicom's pixel_array turns YBR into RGB as well
    np.testing.assert_array_equal(pixels, expected[volume.about["dicom"]["frames"]])


@needs_data
def test_the_lists_above_name_files_that_exist() -> None:
    assert set(REFUSED) | set(TWIN) <= set(zoo())


@needs_data
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("wg04_ct_mr/RLE/CT1_RLE", {"padding": -2000, "bits": 16, "intercept": -1024.0, "unit": "HU"}),
        ("pydicom-data/693_UNCR.dcm", {"padding": -2000, "bits": 14}),
        ("pydicom-data/MR-SIEMENS-DICOM-WithOverlays.dcm", {"bits": 12, "padding": None, "slope": 1.0}),
        ("pydicom-data/MR2_UNCR.dcm", {"bits": 12, "slope": 3.774114}),
    ],
)
def test_what_stored_values_mean_comes_along(name: str, facts: dict[str, Any]) -> None:
    volume = DICOM.read(ZOO / name)
    for key, value in facts.items():
        assert getattr(volume, key) == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value)


@needs_data
@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("pydicom-data/RG3_J2KR.dcm", {"photometric": "MONOCHROME1", "lossy_before": False}),
        ("pydicom-data/OBXXXX1A_rle.dcm", {"photometric": "PALETTE COLOR"}),
        ("pydicom-data/mlut_18.dcm", {"modality_lut": True}),
        ("pydicom-data/SC_ybr_full_uncompressed.dcm", {"converted": "YBR_FULL to RGB"}),
        ("pydicom-data/US1_J2KR.dcm", {"converted": "", "photometric": "YBR_RCT"}),
        ("pydicom-data/HTJ2K_08_RGB.dcm", {"lossy_why": "transfer syntax High-Throughput JPEG 2000"}),
        ("pydicom-data/693_UNCI.dcm", {"lossy_why": "LossyImageCompression is 01"}),
        ("wg04_ct_mr/J2KI/CT1_J2KI", {"lossy_ratios": [69.0], "lossy_methods": []}),
        ("pydicom-data/emri_small.dcm", {"geometry": "frames in file order", "spacing_from": "unknown"}),
        ("pydicom-data/eCT_Supplemental.dcm", {"geometry": "planes", "frames": [1, 0]}),
        ("cornerstone_ct_transfer_syntaxes/no-pixel-spacing.dcm", {"spacing_from": "unknown", "geometry": "none"}),
    ],
)
def test_what_cannot_be_seen_in_the_pixels_is_said(name: str, about: dict[str, Any]) -> None:
    volume = DICOM.read(ZOO / name)
    assert {key: volume.about["dicom"][key] for key in about} == about
    assert volume.about.get("palette", False) is (volume.about["dicom"]["photometric"] == "PALETTE COLOR")


@needs_data
@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [
        ("ct_abdomen_totalseg_example/example_ct_dicom", (20, 512, 512), (2.0, 0.9765625, 0.9765625)),
        ("ct_head_phantom_philips_5mm_dicom", (28, 512, 512), (5.0, 0.451171875, 0.451171875)),
        ("mri_abdomen_philips_dicom_slideio", (25, 480, 480), (5.5, 0.72916669, 0.72916669)),
    ],
)
def test_real_series_lie_where_highdicom_and_simpleitk_put_them(
    name: str, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    import SimpleITK as sitk  # noqa: N813 its own habit

    folder = Path(DATA) / name
    volume = DICOM.read(folder)
    assert volume.shape == shape
    np.testing.assert_allclose(volume.spacing_mm, spacing, rtol=1e-6)
    files = [str(folder / file) for file in volume.about["dicom"]["files"]]
    image = sitk.ReadImage(files[:2])  # SimpleITK sees the first two slices in our order
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine_mm
    np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint((3.0, 5.0, 0.0)), (lps @ [3, 5, 0, 1])[:3])
    stored = (sitk.GetArrayFromImage(image).astype(float) - volume.intercept) / volume.slope
    np.testing.assert_allclose(stored, volume.slices(0, 2), atol=0.02)
    image_module = pytest.importorskip("highdicom.image", reason="highdicom is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sets = [dcmread(file) for file in files]
        for number, one in enumerate(sets):  # anonymisers empty what highdicom wants
            one.StudyInstanceUID = one.StudyInstanceUID or "1.2.3"
            one.SeriesInstanceUID = one.SeriesInstanceUID or "1.2.4"
            one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID
            one.SOPInstanceUID = one.SOPInstanceUID or f"1.2.5.{number}"
        other = image_module.get_volume_from_series(sets, rtol=0.05)
    corners = np.array([[0, 0, 0, 1], [shape[2] - 1, 0, 0, 1], [0, shape[1] - 1, shape[0] - 1, 1]], float).T
    ours = (lps @ corners)[:3]
    indices = np.linalg.inv(other.affine) @ np.vstack([ours, np.ones(3)])
    sides = np.array(other.array.shape[:3])[:, None] - 1
    np.testing.assert_allclose(np.minimum(np.abs(indices[:3]), np.abs(indices[:3] - sides)), 0, atol=0.02)


# --- geometry --------------------------------------------------------------------------------------------------------


def test_slices_are_sorted_by_position_and_nothing_else(tmp_path: Path) -> None:
    files = series(tmp_path / "in")
    for number, file in enumerate(reversed(files)):
        edit(file, lambda found, n=number: setattr(found, "InstanceNumber", n))  # the numbers run against the positions
        file.rename(file.with_name(f"{(number * 7) % 6}.dcm"))
    volume = DICOM.read(tmp_path / "in")
    np.testing.assert_array_equal(whole(volume), ramp().pixels)
    np.testing.assert_allclose(volume.affine_mm, ramp().affine_mm)
    assert (volume.unit, volume.intercept) == ("HU", -1024.0)


def retype(keyword: str, value: Any) -> Callable[[Dataset], object]:
    return lambda found: setattr(found, keyword, value)


CASES: dict[str, tuple[Callable[[list[Path]], object], list[str]]] = {
    "missing": (
        lambda files: files[3].unlink(),
        ["1 slice(s) missing between 00003.dcm at -25.000 mm and 00005.dcm at -20.000 mm: expected at -22.500 mm"],
    ),
    "two missing": (
        lambda files: [file.unlink() for file in files[2:4]],
        [
            "2 slice(s) missing between 00002.dcm at -27.500 mm and 00005.dcm at -20.000 mm: expected at -25.000, -22.500"
        ],
    ),
    "twice": (
        lambda files: edit(files[3], moved(z=-2.5)),
        ["two slices at one position: 00003.dcm at -25.000 mm and 00004.dcm at -25.000 mm, expected 2.500 mm apart"],
    ),
    "tilted": (
        lambda files: [edit(file, moved(y=k * 2.5 * np.tan(np.radians(15)))) for k, file in enumerate(files)],
        ["tilted by 15.00 degrees (gantry tilt): 00006.dcm at -17.500 mm lies 3.349 mm beside", "expected 0 mm"],
    ),
    "shifted": (
        lambda files: edit(files[2], moved(x=3)),
        ["00003.dcm at -25.000 mm is shifted in its plane by 3.000 mm against the other slices, expected 0 mm"],
    ),
    "another gap": (
        lambda files: edit(files[5], moved(z=0.9)),
        ["another spacing between 00005.dcm at -20.000 mm and 00006.dcm at -16.600 mm: 3.400 mm, expected 2.500 mm"],
    ),
    "another pixel spacing": (
        lambda files: edit(files[1], retype("PixelSpacing", [0.8, 0.8])),
        ["00002.dcm at -27.500 mm has pixel spacing 0.8 x 0.8 mm, expected 0.7 x 0.7 mm"],
    ),
    "another orientation": (
        lambda files: edit(files[1], retype("ImageOrientationPatient", [1, 0, 0, 0, 0, 1])),
        ["00002.dcm at", "has orientation 1\\0\\0\\0\\0\\1, expected 1\\0\\0\\0\\1\\0"],
    ),
    "another size": (
        lambda files: edit(files[4], lambda found: (retype("Rows", 10)(found), retype("Columns", 8)(found))),
        ["00005.dcm at -20.000 mm has Rows 10, expected 8 as in 00001.dcm at -30.000 mm (1 of 6 differ)"],
    ),
    "another depth": (
        lambda files: edit(files[4], lambda found: (retype("BitsStored", 12)(found), retype("HighBit", 11)(found))),
        ["00005.dcm at -20.000 mm has BitsStored 12, expected 16"],
    ),
    "another sign": (
        lambda files: edit(files[4], retype("PixelRepresentation", 0)),
        ["00005.dcm at -20.000 mm has PixelRepresentation 0, expected 1"],
    ),
    "another syntax": (
        lambda files: edit(files[0], lambda found: found.decompress() or _implicit(found)),
        ["00001.dcm at -30.000 mm has TransferSyntaxUID 1.2.840.10008.1.2, expected 1.2.840.10008.1.2.1"],
    ),
    "nowhere": (
        lambda files: edit(files[2], lambda found: found.pop("ImagePositionPatient")),
        ["00003.dcm has no ImagePositionPatient, ImageOrientationPatient or PixelSpacing, expected all three"],
    ),
}


def _implicit(found: Dataset) -> None:
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"


@pytest.mark.parametrize("name", CASES)
def test_a_slice_that_does_not_fit_is_named_with_its_position(name: str, tmp_path: Path) -> None:
    files = series(tmp_path / "in")
    spoil, said = CASES[name]
    if name == "another syntax":
        edit(files[0], _implicit)
    else:
        spoil(files)
    with pytest.raises(GeometryError) as error:
        DICOM.read(tmp_path / "in")
    for part in said:
        assert part in str(error.value)
    assert str(error.value).endswith("; `slimscan compress --frames` takes every file for itself")
    assert str(error.value).startswith(f"{tmp_path / 'in'}: ")
    assert "\n" not in str(error.value)


def test_jitter_of_a_few_hundredths_is_no_fault(tmp_path: Path) -> None:
    for k, file in enumerate(series(tmp_path / "in")):
        edit(file, moved(z=0.05 * (-1) ** k))
    assert DICOM.read(tmp_path / "in").spacing_mm[0] == pytest.approx(2.48)


def test_a_spacing_that_drifts_is_a_fault() -> None:
    depths = np.cumsum(np.linspace(0.96, 1.04, 60))
    planes = [Plane(f"{k}", (0, 0, float(d)), (1, 0, 0), (0, 1, 0), (1, 1)) for k, d in enumerate(depths)]
    with pytest.raises(GeometryError, match="the spacing drifts: 30 at"):
        stack(planes)


def test_two_series_are_listed(tmp_path: Path) -> None:
    files = series(tmp_path / "in")
    for file in files[:2]:
        edit(file, retype("SeriesInstanceUID", "1.2.3"))
        edit(file, retype("SeriesDescription", "scout"))
    with pytest.raises(InputError) as error:
        DICOM.read(tmp_path / "in")
    assert str(error.value) == (
        f'{tmp_path / "in"}: holds 2 series, want one: 4 file(s) like 00003.dcm (CT ""); 2 file(s) like 00001.dcm'
        ' (CT "scout"); move each into its own folder; `slimscan compress --frames` takes every file for itself'
    )


def test_scales_that_differ_between_slices_are_refused(tmp_path: Path) -> None:
    edit(series(tmp_path / "in")[3], retype("RescaleSlope", 2))
    with pytest.raises(InputError, match=r"00004.dcm frame 1 has rescale 2 \* stored \+ -1024 HU, 00001.dcm has 1 \*"):
        DICOM.read(tmp_path / "in")


def test_what_is_no_image_is_passed_over_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    files = series(folder)
    (folder / "README.txt").write_text("notes")
    (folder / "DICOMDIR").write_bytes(files[0].read_bytes())
    report = dcmread(files[0])
    for keyword in ("Rows", "Columns", "BitsAllocated", "PixelData"):
        del report[keyword]
    report.save_as(folder / "report.dcm")
    volume = DICOM.read(folder)
    assert volume.shape == (6, 8, 10)
    assert volume.about["dicom"]["passed_over"] == ["DICOMDIR", "README.txt", "report.dcm"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert not DICOM.sniff(tmp_path, b"")
    with pytest.raises(NotReadable, match="holds no DICOM image"):
        DICOM.read(tmp_path)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(2, 9),
    step=st.floats(0.2, 8),
    spacing=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
)
@settings(max_examples=60, deadline=None)
def test_any_box_in_space_comes_back_from_its_planes(
    seed: int, count: int, step: float, spacing: tuple[float, float]
) -> None:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if np.linalg.det(turn) < 0:
        turn[:, 2] *= -1
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([spacing[1], spacing[0], step])
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    planes = planes_of(affine, count)
    shuffled = rng.permutation(count)
    order, back = stack([planes[k] for k in shuffled])
    assert [int(shuffled[k]) for k in order] == list(range(count))
    np.testing.assert_allclose(back, affine, atol=1e-6)


def test_a_sheared_affine_has_no_planes() -> None:
    affine = np.eye(4)
    affine[1, 2] = 0.2
    with pytest.raises(GeometryError, match="not at right angles"):
        planes_of(affine, 3)


# --- bytes that lie --------------------------------------------------------------------------------------------------


def encapsulated(path: Path, frames: list[bytes], syntax: str, **facts: Any) -> Path:
    """A one-slice secondary capture whose pixel data are these codestreams."""
    write(Volume(np.zeros((1, 8, 10), np.uint16), bits=12, source="x"), path)
    found = dcmread(path)
    for keyword, value in facts.items():
        setattr(found, keyword, value)
    del found.PixelData
    with dicom_save.Spool(path, frames) as spool:
        dicom_save.save(path, found, b"\0" * 128, None, syntax, spool, range(len(frames)))
    return path


J2K, JLS, JPG = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.70"
SLICE = (np.arange(80).reshape(8, 10) * 51).astype(np.uint16)


def codestreams(pixels: np.ndarray) -> dict[str, tuple[str, bytes]]:
    return {
        "jpeg2000": (
            J2K,
            imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", reversible=True, level=0, bitspersample=12),
        ),
        "jpegls": (JLS, imagecodecs.jpegls_encode(pixels)),
        "jpeg": (JPG, imagecodecs.ljpeg_encode(pixels)),
        "jpegxl": ("1.2.840.10008.1.2.4.110", imagecodecs.jpegxl_encode(pixels, lossless=True)),
    }


@pytest.mark.parametrize("kind", ["jpeg2000", "jpegls", "jpeg", "jpegxl"])
def test_a_codestream_larger_than_its_header_is_not_decoded(kind: str, tmp_path: Path) -> None:
    syntax, small = codestreams(SLICE)[kind]
    np.testing.assert_array_equal(whole(DICOM.read(encapsulated(tmp_path / "a.dcm", [small], syntax)))[0], SLICE)
    syntax, large = codestreams(np.zeros((800, 1000), np.uint16))[kind]
    path = encapsulated(tmp_path / "b.dcm", [large], syntax)
    with pytest.raises(CodecError) as error:
        DICOM.read(path)
    assert str(error.value) == f"{path}: the codestream says 800 x 1000 x 1, the header 8 x 10 x 1; not decoded"


@pytest.mark.parametrize("kind", ["jpeg2000", "jpegls", "jpeg", "jpegxl"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.99])
def test_a_codestream_cut_short_is_an_error(kind: str, part: float, tmp_path: Path) -> None:
    syntax, stream = codestreams(SLICE)[kind]
    path = encapsulated(tmp_path / "a.dcm", [stream[: int(len(stream) * part)]], syntax)
    with pytest.raises(SlimscanError, match=r"a\.dcm") as error:
        whole(DICOM.read(path))
    assert "\n" not in str(error.value)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"]),
)
def test_no_bytes_make_the_size_check_fail_in_another_way(tail: bytes, start: bytes) -> None:
    ends(start + tail)
    with suppress(CodecError):
        inspect(start + tail)


def test_a_jpeg2000_of_a_million_tiles_is_refused() -> None:
    siz = struct.pack(">HIIIIIIIIH", 0, 4096, 4096, 0, 0, 1, 1, 0, 0, 1) + b"\x07\x01\x01"
    with pytest.raises(CodecError, match="tiles of 1 x 1"):
        inspect(b"\xff\x4f\xff\x51" + struct.pack(">H", len(siz) + 2) + siz)


@needs_data
def test_fewer_frames_than_the_header_says_are_counted(tmp_path: Path) -> None:
    for name, syntax in (
        ("emri_small.dcm", "native"),
        ("emri_small_jpeg_ls_lossless.dcm", "JPEG-LS"),
        ("emri_small_RLE.dcm", "RLE"),
    ):
        found = dcmread(ZOO / "pydicom-data" / name)
        found.NumberOfFrames = 13
        found.save_as(tmp_path / f"{syntax}.dcm")
        with pytest.raises(NotReadable, match="NumberOfFrames says 13, the pixel data hold 10"):
            DICOM.read(tmp_path / f"{syntax}.dcm")


@needs_data
@pytest.mark.parametrize("name", ["pydicom-data/MR2_UNCR.dcm", "wg04_ct_mr/J2KR/CT1_J2KR", "wg04_ct_mr/RLE/MR3_RLE"])
@pytest.mark.parametrize("keep", [200, 900, 5000, -5000, -1000])
def test_a_file_cut_off_is_one_sentence(name: str, keep: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes((ZOO / name).read_bytes()[:keep])
    with pytest.raises(InputError) as error:
        whole(DICOM.read(path))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_flipped_bits_give_an_error_or_pixels_never_another_exception(tmp_path_factory: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ["jpeg2000", "jpegls", "jpeg", "native"][seed % 4]
    path = tmp_path_factory.mktemp("flip") / "a.dcm"
    if kind == "native":
        write(Volume(SLICE[None], bits=12, source="x"), path)
    else:
        syntax, stream = codestreams(SLICE)[kind]
        encapsulated(path, [stream], syntax)
    data = bytearray(path.read_bytes())
    for at in rng.integers(128, len(data), 3):
        data[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))
    with suppress(SlimscanError):
        assert whole(DICOM.read(path)).ndim in (3, 4)


# --- single frames ---------------------------------------------------------------------------------------------------


def test_high_bits_and_low_bits_are_masked_off(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write(Volume(SLICE[None], bits=12, source="x"), path)

    def shift(found: Dataset) -> None:
        found.HighBit = 13
        found.PixelData = ((SLICE << 2) | 0xC001).astype("<u2").tobytes()  # overlays above and below

    volume = DICOM.read(edit(path, shift))
    np.testing.assert_array_equal(whole(volume)[0], SLICE)
    assert dicom_frames.overlay_bits(header(path), 0, 15).all()


def test_signed_values_in_few_bits_keep_their_sign(tmp_path: Path) -> None:
    pixels = np.array([[[-2048, -1, 0, 1, 2047]]], np.int16)
    path = tmp_path / "a.dcm"
    write(Volume(pixels, bits=12, source="x"), path)
    edit(path, lambda found: setattr(found, "PixelData", (pixels & 0x0FFF).astype("<u2").tobytes()))
    np.testing.assert_array_equal(whole(DICOM.read(path)), pixels)


def test_padding_written_as_unsigned_is_read_as_signed(tmp_path: Path) -> None:
    path = series(tmp_path / "in", 1)[0]
    edit(path, lambda found: found.add_new("PixelPaddingValue", "US", 63536))
    assert DICOM.read(path).padding == -2000


def test_single_slices_are_read_without_their_neighbours(tmp_path: Path) -> None:
    files = series(tmp_path / "in")
    volume = DICOM.read(tmp_path / "in")
    files[5].unlink()
    np.testing.assert_array_equal(volume.slices(2, 4), ramp().pixels[2:4])
    with pytest.raises((NotReadable, OSError)):
        volume.slices(5, 6)


def test_a_file_without_preamble_is_known_by_its_content(tmp_path: Path) -> None:
    found = dcmread(series(tmp_path / "in", 1)[0])
    expected = found.pixel_array
    plain = Dataset(found)
    plain.save_as(tmp_path / "bare", implicit_vr=True, little_endian=True)
    assert DICOM.sniff(tmp_path / "bare", read_head(tmp_path / "bare"))
    np.testing.assert_array_equal(whole(DICOM.read(tmp_path / "bare"))[0], expected)
    (tmp_path / "text").write_bytes(b"\x08\x00\x05\x00 but this is a text that goes on and on")
    assert not DICOM.sniff(tmp_path / "text", read_head(tmp_path / "text"))


def test_rows_of_rle_are_packed_one_by_one(tmp_path: Path) -> None:
    write_exact(Volume(np.zeros((1, 3, 300), np.uint8), bits=8, source="x"), tmp_path / "a.dcm", "1.2.840.10008.1.2.5")
    frame = header(tmp_path / "a.dcm").place.read(0)
    assert frame[64 : 64 + 18] == bytes([129, 0, 129, 0, 256 - 43, 0] * 3)
