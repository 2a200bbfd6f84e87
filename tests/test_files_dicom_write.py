"""DICOM out: identity kept, history told, the same bytes every time, and readers that others made agree."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from slimscan.codecs import charls
from slimscan.errors import CodecError, GeometryError, InputError, LayoutRefused
from slimscan.files.dicom import DICOM
from slimscan.files.dicom import save as dicom_save
from slimscan.files.dicom.frames import native_frame, rle_frame
from slimscan.files.dicom.write import write, write_encoded, write_exact
from slimscan.nouns import Volume

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")
DCIODVFY = shutil.which("dciodvfy")
ZOO = "dicom_zoo/"
CT, MR = "ct_abdomen_totalseg_example/example_ct_dicom", "mri_abdomen_philips_dicom_slideio"
KINDS = {
    "CT": f"{ZOO}cornerstone_ct_transfer_syntaxes/CTImage.dcm",
    "GE CT, padded and signed": f"{ZOO}wg04_ct_mr/RLE/CT1_RLE",
    "big endian": f"{ZOO}pydicom-data/SC_rgb_expb_16bit.dcm",
    "MR with an overlay": f"{ZOO}pydicom-data/MR-SIEMENS-DICOM-WithOverlays.dcm",
    "MONOCHROME1": f"{ZOO}pydicom-data/RG3_J2KR.dcm",
    "RGB": f"{ZOO}pydicom-data/US1_UNCR.dcm",
    "enhanced CT": f"{ZOO}pydicom-data/eCT_Supplemental.dcm",
    "series": MR,
}
PALETTE, LOSSY = f"{ZOO}pydicom-data/OBXXXX1A_2frame.dcm", f"{ZOO}pydicom-data/US1_UNCI.dcm"
J2K, J2K_LOSSY, JLS, NEAR = (f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 80, 81))
HT, HT_LOSSY, JXL = (f"1.2.840.10008.1.2.4.{n}" for n in (201, 203, 110))
EXPLICIT, DEFLATED, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"


def whole(volume: Volume) -> np.ndarray:
    return volume.slices(0, volume.shape[0])


def files_of(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]


def jpeg2000(volume: Volume, level: float | None = None) -> Iterator[bytes]:
    for k in range(volume.shape[0]):
        yield bytes(
            imagecodecs.jpeg2k_encode(
                volume.slices(k, k + 1)[0],
                level=level or 0,  # type: ignore[arg-type]
                reversible=level is None,
                bitspersample=volume.bits,
                codecformat="J2K",
                mct=len(volume.shape) == 4,
            )
        )


def lossy(volume: Volume, path: Path, level: float = 55, **facts: Any) -> Path:
    options: dict[str, Any] = {"transfer_syntax": J2K_LOSSY, "ratio": None, "method": None, "lossless": False}
    write_encoded(path, volume, jpeg2000(volume, level), **{**options, **facts})
    return path


def lossless(volume: Volume, path: Path) -> Path:
    write_encoded(path, volume, jpeg2000(volume), transfer_syntax=J2K, ratio=None, method=None, lossless=True)
    return path


def made(shape: tuple[int, ...] = (4, 9, 11), dtype: str = "int16", bits: int = 12, **facts: Any) -> Volume:
    signed = np.dtype(dtype).kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    pixels = np.random.default_rng(3).integers(low, high, shape).astype(dtype)
    affine = np.array([[-0.7, 0, 0, 10], [0, 0, 1.5, 20], [0, 0.8, 0, -30], [0, 0, 0, 1.0]])
    return Volume(pixels, affine, bits=bits, source="somewhere/made.nii.gz", **facts)


def plain(found: Dataset) -> dict[int, Any]:
    """Every element but pixels, as the bytes or values that were read."""
    tags = [tag for tag in found.keys() if tag.group not in (0x7FE0, 0xFFFC) and tag.element]  # noqa: SIM118
    return {int(tag): found[tag].value for tag in tags}


# --- lossless recoding -----------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize("kind", [*KINDS, "palette", "lossy before"])
@pytest.mark.parametrize("way", ["native", "rle", "deflated", "jpeg2000"])
def test_lossless_recoding_changes_nothing_but_the_coding(kind: str, way: str, tmp_path: Path) -> None:
    source = Path(DATA) / {**KINDS, "palette": PALETTE, "lossy before": LOSSY}[kind]
    volume, out = DICOM.read(source), tmp_path / "out"
    if way == "jpeg2000":
        lossless(volume, out)
    else:
        write_exact(volume, out, {"native": EXPLICIT, "rle": RLE, "deflated": DEFLATED}[way])
    back = DICOM.read(out)
    np.testing.assert_array_equal(whole(back), whole(volume))
    np.testing.assert_allclose(back.affine_mm, volume.affine_mm)
    assert (back.bits, back.padding, back.slope, back.intercept, back.unit) == (
        *(volume.bits, volume.padding, volume.slope, volume.intercept),
        volume.unit,
    )
    assert back.about["dicom"]["sop_uids"] == volume.about["dicom"]["sop_uids"]
    assert back.about["dicom"]["lossy_before"] == volume.about["dicom"]["lossy_before"]
    folder = Path(volume.about["dicom"]["folder"])
    new_folder = Path(back.about["dicom"]["folder"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for old, new in zip(volume.about["dicom"]["files"], back.about["dicom"]["files"], strict=True):
            before, after = plain(dcmread(folder / old)), plain(dcmread(new_folder / new))
            free = {0x00280004, 0x00280006} if len(volume.shape) == 4 else set()  # YBR_RCT, colour by pixel
            assert {k: v for k, v in before.items() if k not in free} == {
                k: v for k, v in after.items() if k not in free
            }


@needs_data
def test_a_series_goes_through_a_lossy_generation_with_its_history(tmp_path: Path) -> None:
    volume = DICOM.read(Path(DATA) / MR)
    first = DICOM.read(lossy(volume, tmp_path / "first", ratio=[10.0 + k for k in range(25)]))
    second = DICOM.read(lossy(first, tmp_path / "second", ratio=20.0, method="ISO_15444_1"))
    source = dcmread(Path(DATA) / MR / volume.about["dicom"]["files"][3])
    one, two = (dcmread(files_of(tmp_path / name)[3]) for name in ("first", "second"))
    assert one.LossyImageCompression == two.LossyImageCompression == "01"
    assert one.LossyImageCompressionRatio == 13
    assert one.LossyImageCompressionMethod == "ISO_15444_1"
    assert list(two.LossyImageCompressionRatio) == [13, 20]
    assert list(two.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_15444_1"]
    uids = [found.SOPInstanceUID for found in (source, one, two)]
    assert len(set(uids)) == 3
    assert len({found.SeriesInstanceUID for found in (source, one, two)}) == 3
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient", "PatientID", "RescaleSlope"):
        assert one[keyword].value == two[keyword].value == source[keyword].value
    assert list(one.ImageType) == ["DERIVED", *source.ImageType[1:]]
    assert one.SeriesDescription == two.SeriesDescription == "lossy"  # the source has none
    assert "SmallestImagePixelValue" not in one
    assert "InstanceCreationTime" not in one
    assert [item.ReferencedSOPInstanceUID for item in two.SourceImageSequence][-2:] == uids[:2]
    purpose = one.SourceImageSequence[-1].PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121320", "DCM")
    assert [code.CodeValue for code in two.DerivationCodeSequence] == ["113040"]
    assert two.DerivationDescription == (
        "slimscan: lossy compression by ISO_15444_1, ratio 13:1; slimscan: lossy compression by ISO_15444_1, ratio 20:1"
    )
    private = {tag: source[tag].value for tag in source.keys() if tag.is_private}  # noqa: SIM118
    assert private
    assert private == {tag: one[tag].value for tag in one.keys() if tag.is_private}  # noqa: SIM118
    assert second.about["dicom"]["lossy_ratios"] == [10, 20]
    np.testing.assert_allclose(second.affine_mm, volume.affine_mm)


@needs_data
def test_the_ratio_is_raw_bytes_by_bits_allocated_over_encoded_bytes(tmp_path: Path) -> None:
    volume = DICOM.read(Path(DATA) / KINDS["CT"])
    out = lossy(volume, tmp_path / "out.dcm")
    encoded = len(next(jpeg2000(volume, 55)))
    assert float(dcmread(out).LossyImageCompressionRatio) == pytest.approx(512 * 512 * 2 / encoded, rel=1e-4)


@needs_data
def test_a_lossy_transfer_syntax_is_remembered_when_it_is_left(tmp_path: Path) -> None:
    """HTJ2K .203 without any attribute: after recoding only the attributes could tell."""
    volume = DICOM.read(Path(DATA) / f"{ZOO}pydicom-data/HTJ2K_08_RGB.dcm")
    write(volume, tmp_path / "out.dcm")
    found = dcmread(tmp_path / "out.dcm")
    assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == ("01", "ISO_15444_15")
    assert found.SOPInstanceUID == volume.about["dicom"]["sop_uids"][0]


@needs_data
def test_a_lossy_enhanced_image_tells_it_in_its_functional_groups(tmp_path: Path) -> None:
    source = Path(DATA) / KINDS["enhanced CT"]
    volume = DICOM.read(source)
    found, old = dcmread(lossy(volume, tmp_path / "out.dcm", level=80)), dcmread(source)
    shared = found.SharedFunctionalGroupsSequence[0]
    assert shared.CTImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
    item = shared.DerivationImageSequence[-1]
    assert item.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert item.DerivationCodeSequence[0].CodeValue == "113040"
    evidence = found.SourceImageEvidenceSequence[-1].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == old.SeriesInstanceUID
    assert found.PerFrameFunctionalGroupsSequence == old.PerFrameFunctionalGroupsSequence
    assert volume.about["dicom"]["frames"] == [1, 0]  # frames stay in the file's own order
    np.testing.assert_allclose(whole(DICOM.read(tmp_path / "out.dcm")), whole(volume), atol=99)
    assert np.abs(found.pixel_array.astype(float) - old.pixel_array).mean() < 5


@needs_data
def test_colour_turned_by_us_is_another_image_but_not_a_lossy_one(tmp_path: Path) -> None:
    volume = DICOM.read(Path(DATA) / f"{ZOO}pydicom-data/SC_ybr_full_uncompressed.dcm")
    found = dcmread(lossless(volume, tmp_path / "out.dcm"))
    assert found.PhotometricInterpretation == "YBR_RCT"
    assert found.SOPInstanceUID != volume.about["dicom"]["sop_uids"][0]
    old = dcmread(Path(DATA) / f"{ZOO}pydicom-data/SC_ybr_full_uncompressed.dcm")
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "DerivationCodeSequence"):
        assert found.get(keyword) == old.get(keyword)
    np.testing.assert_array_equal(found.pixel_array, whole(volume)[0])


@needs_data
def test_decoded_lossy_pixels_do_not_pass_for_the_source(tmp_path: Path) -> None:
    volume = DICOM.read(Path(DATA) / KINDS["CT"])
    changed = whole(volume).copy()
    changed[0, 100, 100] += 1
    write(Volume(changed, volume.affine_mm, bits=16, about=volume.about), tmp_path / "out.dcm")
    found = dcmread(tmp_path / "out.dcm")
    assert found.LossyImageCompression == "01"
    assert found.SOPInstanceUID != volume.about["dicom"]["sop_uids"][0]
    assert "LossyImageCompressionRatio" not in found


@needs_data
@pytest.mark.parametrize("name", [MR, KINDS["RGB"]])
def test_a_second_run_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    volume = DICOM.read(Path(DATA) / name)
    for folder in ("a", "b"):
        lossy(volume, tmp_path / folder)
    lossy(volume, tmp_path / "c", level=50)
    a, b, c = (files_of(tmp_path / folder) for folder in "abc")
    assert [file.read_bytes() for file in a] == [file.read_bytes() for file in b]
    assert not {dcmread(file).SOPInstanceUID for file in a} & {dcmread(file).SOPInstanceUID for file in c}
    assert {dcmread(file).SeriesInstanceUID for file in a} != {dcmread(file).SeriesInstanceUID for file in c}


@needs_data
def test_an_overlay_hidden_in_the_pixels_moves_out(tmp_path: Path) -> None:
    found = dcmread(Path(DATA) / KINDS["CT"])
    plane = np.zeros((512, 512), bool)
    plane[10:20, 30:60] = True
    found.PixelData = ((found.pixel_array.astype("<u2") & 0x0FFF) | (plane.astype("<u2") << 14)).tobytes()
    found.BitsStored, found.HighBit, found.PixelRepresentation = 12, 11, 0
    del found.PixelPaddingValue
    for element, value in ((0x0010, 512), (0x0011, 512), (0x0100, 16), (0x0102, 14)):
        found.add_new((0x6000, element), "US", value)
    found.add_new((0x6000, 0x0040), "CS", "G")
    found.add_new((0x6000, 0x0050), "SS", [1, 1])
    found.save_as(tmp_path / "in.dcm")
    lossless(DICOM.read(tmp_path / "in.dcm"), tmp_path / "out.dcm")
    new = dcmread(tmp_path / "out.dcm")
    np.testing.assert_array_equal(new.overlay_array(0x6000), plane)
    assert (new[0x60000100].value, new[0x60000102].value) == (1, 0)


@needs_data
def test_private_elements_behind_the_pixels_are_kept(tmp_path: Path) -> None:
    for name in (KINDS["CT"], KINDS["MONOCHROME1"], f"{ZOO}pydicom-data/SC_rgb_expb.dcm"):
        found = dcmread(Path(DATA) / name)
        found.private_block(0x7FE1, "SOMEONE", create=True).add_new(1, "LO", "behind")
        found.save_as(tmp_path / "in.dcm")
        volume = DICOM.read(tmp_path / "in.dcm")
        for out in (lossless(volume, tmp_path / "a.dcm"), lossy(volume, tmp_path / "b.dcm")):
            new = dcmread(out)
            assert new.private_block(0x7FE1, "SOMEONE")[1].value in (
                "behind",
                b"behind",
            )  # UN where the source had no VR
            assert new.pixel_array.shape == volume.shape[1:]


# --- what others read ------------------------------------------------------------------------------------------------


def codestreams(volume: Volume) -> dict[str, list[bytes]]:
    """Every slice in every lossless syntax; JPEG-LS and JPEG XL take two's complement as unsigned."""
    slices = [np.ascontiguousarray(one) for one in whole(volume)]
    bits = [one.view(one.dtype.str.replace("i", "u")) & ((1 << volume.bits) - 1) for one in slices]
    return {
        J2K: list(jpeg2000(volume)),
        JLS: [bytes(imagecodecs.jpegls_encode(one)) for one in bits],
        HT: [bytes(imagecodecs.htj2k_encode(one, reversible=True)) for one in slices],
        JXL: [bytes(imagecodecs.jpegxl_encode(one, lossless=True)) for one in bits],
    }


@needs_data
@pytest.mark.parametrize("syntax", [J2K, JLS, HT, JXL, RLE, EXPLICIT, DEFLATED])
@pytest.mark.parametrize("kind", ["CT", "RGB"])
def test_others_decode_the_same_pixels(syntax: str, kind: str, tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813 its own habit

    volume, out = DICOM.read(Path(DATA) / KINDS[kind]), tmp_path / "out.dcm"
    if syntax in (RLE, EXPLICIT, DEFLATED):
        write_exact(volume, out, syntax)
    else:
        frames = codestreams(volume)[syntax]
        write_encoded(out, volume, frames, transfer_syntax=syntax, ratio=None, method=None, lossless=True)
    np.testing.assert_array_equal(whole(DICOM.read(out)), whole(volume))
    if syntax == JXL:
        return  # experimental: nobody else reads it yet
    np.testing.assert_array_equal(dcmread(out).pixel_array, whole(volume)[0])
    stored = (sitk.GetArrayFromImage(sitk.ReadImage(str(out)))[0] - volume.intercept) / volume.slope
    np.testing.assert_array_equal(stored, whole(volume)[0])


@needs_data
@pytest.mark.skipif(not DCIODVFY, reason="dciodvfy is not installed (Debian package dicom3tools)")
@pytest.mark.parametrize("kind", [*KINDS, "CT with emptied UIDs"])
@pytest.mark.parametrize("way", ["native", "rle", "lossless", "lossy"])
def test_dciodvfy_finds_nothing_that_the_source_did_not_have(kind: str, way: str, tmp_path: Path) -> None:
    source = Path(DATA) / {**KINDS, "CT with emptied UIDs": CT}[kind]
    volume, out = DICOM.read(min(source.iterdir()) if source.is_dir() else source), tmp_path / "out"
    {
        "native": lambda: write(volume, out),
        "rle": lambda: write_exact(volume, out, RLE),
        "lossless": lambda: lossless(volume, out),
        "lossy": lambda: lossy(volume, out),
    }[way]()
    original = Path(volume.about["dicom"]["folder"]) / volume.about["dicom"]["files"][0]
    if kind == "CT with emptied UIDs":  # its anonymiser emptied the UIDs, without which dciodvfy checks nothing
        found = dcmread(original)
        found.SOPClassUID, found.SOPInstanceUID = found.file_meta.MediaStorageSOPClassUID, "1.2.3"
        found.StudyInstanceUID, found.SeriesInstanceUID = "1.2.4", "1.2.5"
        original = tmp_path / "original.dcm"
        found.save_as(original)
    new = Path(DICOM.read(out).about["dicom"]["folder"]) / DICOM.read(out).about["dicom"]["files"][0]
    assert list((said(new) - said(original)).elements()) == []


def said(path: Path) -> Counter[str]:
    ran = subprocess.run([DCIODVFY or "", str(path)], capture_output=True, text=True, check=False)
    return Counter(line for line in ran.stderr.splitlines() if line.startswith(("Error", "Warning")))


@pytest.mark.skipif(not DCIODVFY, reason="dciodvfy is not installed (Debian package dicom3tools)")
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("kind", ["SC", "CT", "MR", "colour"])
def test_dciodvfy_finds_no_error_in_an_image_from_elsewhere(kind: str, single: bool, tmp_path: Path) -> None:
    volume = {
        "SC": made(dtype="uint16"),
        "CT": made(dtype="uint16" if single else "int16", unit="HU", intercept=-1024.0),
        "MR": made(dtype="uint16", about={"dicom": {"modality": "MR"}}),
        "colour": made((4, 9, 11, 3), "uint8", 8),
    }[kind]
    out = tmp_path / ("out.dcm" if single else "out")
    write(volume, out)
    errors = [line for line in said(files_of(out)[0]) if line.startswith("Error")]
    assert errors == []


# --- images from elsewhere -------------------------------------------------------------------------------------------


@given(
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)),
    rgb=st.booleans(),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_any_volume_comes_back(
    tmp_path_factory: Any, dtype: str, shape: tuple[int, ...], rgb: bool, data: st.DataObject
) -> None:
    rgb = rgb and dtype.startswith("u")
    bits = data.draw(st.integers(1, np.dtype(dtype).itemsize * 8))
    volume = made((*shape, 3) if rgb else shape, dtype, bits)
    out = tmp_path_factory.mktemp("any") / "out"
    for syntax in (EXPLICIT, RLE, DEFLATED):
        write_exact(volume, out / syntax, syntax)
        back = DICOM.read(out / syntax)
        np.testing.assert_array_equal(whole(back), volume.pixels)
        assert (back.bits, back.pixels.dtype) == (bits, np.dtype(dtype))
        np.testing.assert_allclose(back.affine_mm, volume.affine_mm, atol=1e-9)


@pytest.mark.parametrize(
    ("volume", "sop_class", "modality"),
    [
        (made(unit="HU"), "1.2.840.10008.5.1.4.1.1.2", "CT"),
        (made(about={"dicom": {"modality": "MR"}}), "1.2.840.10008.5.1.4.1.1.4", "MR"),
        (made(bits=8, dtype="uint8", unit="HU"), "1.2.840.10008.5.1.4.1.1.7", "OT"),
        (made(), "1.2.840.10008.5.1.4.1.1.7", "OT"),
    ],
)
def test_the_class_follows_what_is_known(volume: Volume, sop_class: str, modality: str, tmp_path: Path) -> None:
    write(volume, tmp_path / "out")
    found = [dcmread(file) for file in files_of(tmp_path / "out")]
    assert {(one.SOPClassUID, one.Modality) for one in found} == {(sop_class, modality)}
    assert len({one.SOPInstanceUID for one in found}) == 4
    assert len({one.SeriesInstanceUID for one in found}) == 1
    assert {str(one.PatientName) + one.PatientID for one in found} == {""}
    assert not [one for one in found[0] if one.VR in ("DA", "TM") and one.value]


def test_a_lossy_image_from_elsewhere_says_so(tmp_path: Path) -> None:
    volume = made()
    found = dcmread(files_of(lossy(volume, tmp_path / "out", ratio=7.5))[0])
    assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
    assert found.LossyImageCompressionRatio == 7.5
    assert found.ImageType[0] == "DERIVED"


def test_a_history_survives_the_loss_of_the_source(tmp_path: Path) -> None:
    about = {"dicom": {"lossy_before": True, "lossy_ratios": [8.0], "lossy_methods": ["ISO_10918_1"], "modality": "CT"}}
    found = dcmread(files_of(lossy(made(about=about), tmp_path / "out", ratio=5.0))[0])
    assert list(found.LossyImageCompressionRatio) == [8, 5]
    assert list(found.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]
    exact = dcmread(files_of(lossless(made(about=about), tmp_path / "exact"))[0])
    assert (exact.LossyImageCompression, exact.LossyImageCompressionRatio) == ("01", 8)


def test_large_multi_frames_get_the_extended_offset_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = made(dtype="uint16")
    lossless(volume, tmp_path / "basic.dcm")
    monkeypatch.setattr(dicom_save, "_OFFSET_LIMIT", 20)
    lossless(volume, tmp_path / "extended.dcm")
    basic, extended = (dcmread(tmp_path / f"{name}.dcm") for name in ("basic", "extended"))
    assert "ExtendedOffsetTable" not in basic
    assert len(extended.ExtendedOffsetTable) == len(extended.ExtendedOffsetTableLengths) == 4 * 8
    for name, found in (("basic", basic), ("extended", extended)):
        np.testing.assert_array_equal(found.pixel_array, volume.pixels)
        np.testing.assert_array_equal(whole(DICOM.read(tmp_path / f"{name}.dcm")), volume.pixels)


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(volume: Volume, path: Path, frames: list[bytes], syntax: str, exact: bool) -> str:
    with pytest.raises((InputError, CodecError)) as error:
        write_encoded(path, volume, frames, transfer_syntax=syntax, ratio=None, method=None, lossless=exact)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_right_is_refused(tmp_path: Path) -> None:
    volume, out = made(), tmp_path / "out"
    frames = list(jpeg2000(volume))
    assert "3 encoded frames for a volume of 4 slices" in refused(volume, out, frames[:3], J2K, True)
    assert "is a lossy transfer syntax" in refused(volume, out, frames, NEAR.replace("81", "51"), True)
    assert "JPEG 2000 Lossless is lossless" in refused(volume, out, frames, J2K, False)
    assert "holds no codestreams" in refused(volume, out, frames, EXPLICIT, True)
    small = list(jpeg2000(made((4, 9, 10))))
    assert "frame 1 is jpeg2000 of 9 x 10 x 1, want jpeg2000 of 9 x 11 x 1" in refused(volume, out, small, J2K, True)
    assert "want jpegls of 9 x 11" in refused(volume, out, frames, JLS, True)
    assert "frame 2 has no end marker" in refused(volume, out, [frames[0], frames[1][:-9], *frames[2:]], J2K, True)
    deeper = next(jpeg2000(made(bits=13)))
    assert "frame 2 has 13 bits a sample, frame 1 has 12; encode every slice with the stored bits" in refused(
        volume, out, [frames[0], deeper, *frames[2:]], J2K, True
    )
    few = [charls.encode(np.full((9, 11), 300, np.uint16), 10, 0, 4096)] * 4
    assert "for 12-bit int16 pixels" in refused(volume, out, few, JLS, True)
    with pytest.raises(LayoutRefused, match="palette indices must not become lossy"):
        lossy(made(about={"palette": True}), out)
    with pytest.raises(LayoutRefused, match="samples of type float32"):
        write(Volume(np.zeros((1, 2, 2), np.float32)), out)
    with pytest.raises(InputError, match="holds 8-bit or 9 to 16-bit unsigned grey, or 8-bit RGB; write a folder"):
        write(volume, tmp_path / "out.dcm")
    sheared = np.eye(4)
    sheared[0, 2] = 0.3
    with pytest.raises(GeometryError, match="not at right angles"):
        write(Volume(np.zeros((2, 2, 2), np.int16), sheared), out)
    assert not any(tmp_path.rglob("*.dcm"))


def test_a_volume_that_is_not_its_source_any_more_is_refused(tmp_path: Path) -> None:
    write(made(), tmp_path / "in")
    volume = DICOM.read(tmp_path / "in")
    pixels = whole(volume)
    with pytest.raises(InputError, match="the volume has 2 slices, its DICOM source 4"):
        write(Volume(pixels[:2], volume.affine_mm, bits=12, about=volume.about), tmp_path / "out")
    shifted = volume.affine_mm + np.array([[0, 0, 0, 9], [0] * 4, [0] * 4, [0] * 4])
    with pytest.raises(InputError, match="the volume says"):
        write(Volume(pixels, shifted, bits=12, about=volume.about), tmp_path / "out")
    with pytest.raises(InputError, match="is a series of 4 single-frame files"):
        write(volume, tmp_path / "out.dcm")
    shutil.copy(tmp_path / "in" / "00001.dcm", tmp_path / "in" / "00002.dcm")
    with pytest.raises(InputError, match="is not the file that the volume was read from"):
        write(Volume(pixels, volume.affine_mm, bits=12, about=volume.about), tmp_path / "out")
    shutil.rmtree(tmp_path / "in")
    write(Volume(pixels, volume.affine_mm, bits=12, about=volume.about), tmp_path / "new")
    np.testing.assert_array_equal(whole(DICOM.read(tmp_path / "new")), pixels)


@given(
    st.integers(1, 4),
    st.integers(1, 300),
    st.sampled_from(["uint8", "int16", "uint16"]),
    st.booleans(),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_rle_is_what_pydicom_reads(rows: int, columns: int, dtype: str, rgb: bool, seed: int) -> None:
    from pydicom.pixels.decoders.rle import _rle_decode_frame

    shape = (rows, columns, 3) if rgb else (rows, columns)
    pixels = np.random.default_rng(seed).integers(0, 2 + 9 * seed, shape).astype(dtype)
    frame = rle_frame(pixels)
    raw = _rle_decode_frame(frame, rows, columns, 3 if rgb else 1, pixels.dtype.itemsize * 8, segment_order=">")
    planes = np.frombuffer(bytes(raw), dtype).reshape(3 if rgb else 1, rows, columns)
    np.testing.assert_array_equal(np.moveaxis(planes, 0, -1).reshape(shape), pixels)
    assert len(frame) % 2 == 0
    assert native_frame(pixels) == pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
