"""Real DICOM of every kind, there and back: raw values by pydicom, dciodvfy on both, and every other decoder."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array

import slimscan
from slimscan import files
from slimscan.cli import run
from slimscan.errors import GeometryError, InputError, NotReadable
from slimscan.files.dicom.encode import encoded
from slimscan.files.dicom.geometry import FRAMES
from slimscan.files.dicom.open import open_dataset
from slimscan.files.dicom.scan import scan
from slimscan.nouns import Lossless, MaxError, Psnr, Setting
from slimscan.press.frames import dicom_files, frame_pairs

DATA = os.environ.get("SLIMSCAN_DATA", "")
pytestmark = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")
ZOO = Path(DATA) / "dicom_zoo"
PYDICOM = "pydicom-data"
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def raw(path: Path) -> np.ndarray:
    """Stored values by pydicom, no colour turned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = dcmread(path, force=True)
        if "TransferSyntaxUID" not in found.file_meta:
            found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        return np.asarray(pixel_array(found, raw=True))


# --- every kind of image, there and back -----------------------------------------------------------------------------

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "signed, padded": (
        "wg04_ct_mr/RLE/CT1_RLE",
        {"PixelRepresentation": 1, "PixelPaddingValue": -2000, "BitsStored": 16},
    ),
    "signed, 14 bits, padded": (
        f"{PYDICOM}/693_UNCR.dcm",
        {"PixelRepresentation": 1, "PixelPaddingValue": -2000, "BitsStored": 14},
    ),
    "signed MR": ("wg04_ct_mr/RLE/MR3_RLE", {"PixelRepresentation": 1, "Modality": "MR"}),
    "unsigned MR, 12 bits": (f"{PYDICOM}/MR2_UNCR.dcm", {"PixelRepresentation": 0, "BitsStored": 12}),
    "MONOCHROME1": (f"{PYDICOM}/RG3_J2KR.dcm", {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 10}),
    "RGB": (f"{PYDICOM}/US1_UNCR.dcm", {"SamplesPerPixel": 3}),
    "RGB by plane": (f"{PYDICOM}/color-pl.dcm", {"SamplesPerPixel": 3, "PlanarConfiguration": 0}),
    "RGB 16 bits, two frames": (f"{PYDICOM}/SC_rgb_16bit_2frame.dcm", {"NumberOfFrames": 2, "BitsStored": 16}),
    "YBR_RCT": (f"{PYDICOM}/US1_J2KR.dcm", {"PhotometricInterpretation": "YBR_RCT"}),
    "enhanced CT": (f"{PYDICOM}/eCT_Supplemental.dcm", {"NumberOfFrames": 2}),
    "enhanced MR": (f"{PYDICOM}/emri_small.dcm", {"NumberOfFrames": 10, "BitsStored": 12}),
    "enhanced MR, big-endian": (f"{PYDICOM}/emri_small_big_endian.dcm", {"NumberOfFrames": 10}),
    "palette": (f"{PYDICOM}/OBXXXX1A_rle_2frame.dcm", {"PhotometricInterpretation": "PALETTE COLOR"}),
    "palette, 16 bits, no meta": (f"{PYDICOM}/gdcm-US-ALOKA-16.dcm", {"PhotometricInterpretation": "PALETTE COLOR"}),
    "overlay in the pixels": (f"{PYDICOM}/MR-SIEMENS-DICOM-WithOverlays.dcm", {"BitsStored": 12}),
}


@pytest.mark.parametrize("codec", ["jpeg2000", "jpegls", "rle"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_value_for_value(kind: str, codec: str, tmp_path: Path) -> None:
    name, facts = KINDS[kind]
    if codec != "rle":
        pytest.importorskip("openjpeg" if codec == "jpeg2000" else "jpeg_ls", reason=f"pydicom decodes {codec} with it")
    receipt = slimscan.compress(ZOO / name, tmp_path / "out.dcm", target=Lossless(), codec=codec)
    assert receipt.identical
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = dcmread(ZOO / name, force=True), dcmread(tmp_path / "out.dcm")
    expected = raw(ZOO / name)
    bits = np.array((1 << before.BitsStored) - 1)
    if not before.PixelRepresentation:
        expected = expected & bits  # overlays above the stored bits stay out
    np.testing.assert_array_equal(raw(tmp_path / "out.dcm"), expected)
    assert after.SOPInstanceUID == before.SOPInstanceUID
    for keyword, value in facts.items():
        if keyword == "PhotometricInterpretation" and value.startswith("YBR"):
            assert after[keyword].value == ("YBR_RCT" if codec == "jpeg2000" else "RGB")
        elif keyword != "BitsStored":  # codestreams of signed samples may need all bits
            assert after[keyword].value == value
    assert after.get("LossyImageCompression", "00") == before.get("LossyImageCompression", "00")


def test_ybr_that_no_codec_undoes_becomes_rgb_and_says_so(tmp_path: Path) -> None:
    source = ZOO / PYDICOM / "SC_ybr_full_uncompressed.dcm"
    slimscan.compress(source, tmp_path / "out.dcm", target=Lossless(), allow_lossy_again=True)
    after = dcmread(tmp_path / "out.dcm")
    assert after.SOPInstanceUID != dcmread(source).SOPInstanceUID
    assert "YBR turned into RGB" in after.DerivationDescription
    np.testing.assert_array_equal(raw(tmp_path / "out.dcm"), dcmread(source).pixel_array)


def test_an_enhanced_mr_without_groups_gets_no_derivation_that_its_iod_has_no_place_for(tmp_path: Path) -> None:
    slimscan.compress(ZOO / PYDICOM / "emri_small.dcm", tmp_path / "out.dcm", target=MaxError(2), codec="jpegls")
    after = dcmread(tmp_path / "out.dcm")
    assert (after.ImageType[0], after.LossyImageCompression) == ("DERIVED", "01")
    assert not {"DerivationDescription", "SourceImageSequence", "SourceImageEvidenceSequence"} & set(after.dir())


# --- what other programs say -----------------------------------------------------------------------------------------


def matrix() -> Any:
    """benchmarks/dicom_matrix.py, which is where all combinations are tried."""
    if "dicom_matrix" not in sys.modules:
        sys.path.insert(0, str(BENCHMARKS))
        try:
            spec = importlib.util.spec_from_file_location("dicom_matrix", BENCHMARKS / "dicom_matrix.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules["dicom_matrix"] = module
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(BENCHMARKS))
    return sys.modules["dicom_matrix"]


PART = [
    ("CT signed, 14 bits", "jpeg2000@60"),
    ("CT signed, padded", "jpegls@2"),
    ("CT unsigned, padded", "rle@lossless"),
    ("CT series", "jpegls@2"),
    ("US RGB", "jpeg2000@lossless"),
    ("US RGB", "htj2k@4"),
    ("enhanced CT", "jpeg2000@60"),
    ("enhanced MR", "jpegls@2"),
    ("enhanced MR", "htj2k@lossless"),
    ("enhanced MR", "deflate@lossless"),
    ("enhanced MR", "jpegxl@lossless"),
    ("palette", "jpegls@lossless"),
]
REFUSES = {  # the syntaxes that a program does not take; everything else it must decode to the same values
    "pydicom": ("jpegxl",),
    "pydicom, gdcm plugin": ("htj2k", "rle", "jpegxl"),
    "python-gdcm": ("jpegxl",),
    "SimpleITK": ("jpegxl",),
    "DCMTK": ("jpeg2000", "htj2k", "jpegxl"),
    "highdicom": ("jpegxl",),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: Any) -> Callable[[str, str], tuple[list[Path], list[Path]]]:
    """(source files, output files) of a source and a setting, made once."""
    folder, known = tmp_path_factory.mktemp("matrix"), {}

    def made(name: str, setting: str) -> tuple[list[Path], list[Path]]:
        if (name, setting) not in known:
            path = matrix().source(name, Path(DATA), folder)
            out = matrix().compressed(path, setting, folder / f"{len(known)}")
            assert not isinstance(out, str), out
            known[name, setting] = (sorted(path.iterdir()) if path.is_dir() else [path], out)
        return known[name, setting]

    return made


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed (Debian: dicom3tools)")
@pytest.mark.parametrize(("name", "setting"), PART)
def test_dciodvfy_has_no_line_that_it_did_not_have_of_the_source(name: str, setting: str, written: Any) -> None:
    before, after = written(name, setting)
    for one in after:
        assert matrix().new_complaints(matrix().predecessor(one, before), one) == []


@pytest.mark.parametrize("decoder", list(REFUSES))
@pytest.mark.parametrize(("name", "setting"), PART)
def test_other_programs_decode_the_same_values(name: str, setting: str, decoder: str, written: Any) -> None:
    if not matrix().installed(decoder):
        pytest.skip(f"{decoder} is not installed")
    if setting.split("@")[0] in REFUSES[decoder]:
        pytest.skip(f"{decoder} does not take {setting.split('@')[0]}")
    _, after = written(name, setting)
    told = {matrix().verdict(decoder, one) for one in after}
    looks_up = name == "palette" and decoder == "SimpleITK"
    assert told == {"colours: it looks palette indices up" if looks_up else "same"}


# --- series that are spoiled ------------------------------------------------------------------------------------------

MR = "mri_abdomen_philips_dicom_slideio"  # 25 slices, 5.5 mm apart, oblique


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """A copy of a real series, sorted by position; 9 slices of it, so that it is quick."""
    folder = tmp_path / "in"
    folder.mkdir()
    found = files.read(Path(DATA) / MR)
    names = found.about["dicom"]["files"][8:17]
    return [Path(shutil.copy(Path(DATA) / MR / name, folder / name)) for name in names]


def moved(path: Path, millimetres: float, along: str = "normal") -> None:
    found = dcmread(path)
    turn = np.array(found.ImageOrientationPatient, float)
    axis = np.cross(turn[:3], turn[3:]) if along == "normal" else turn[3:]
    found.ImagePositionPatient = [f"{v:.6f}" for v in np.array(found.ImagePositionPatient, float) + millimetres * axis]
    found.save_as(path)


def _tilt(files: list[Path]) -> None:
    for k, file in enumerate(files):
        moved(file, k * 5.5 * np.tan(np.radians(12)), "column")


SPOILED: dict[str, tuple[Callable[[list[Path]], object], str]] = {
    "missing": (lambda f: f[4].unlink(), r"1 slice\(s\) missing between {3} at .* mm and {5} at"),
    "three missing": (lambda f: [one.unlink() for one in f[2:5]], r"3 slice\(s\) missing between {1} at .* and {5} at"),
    "twice": (
        lambda f: moved(f[4], -5.5),
        r"two slices at one position: ({3}|{4}) at .* and ({4}|{3}) at .*5\.500 mm apart",
    ),
    "copied": (
        lambda f: shutil.copy(f[4], f[4].with_name("copy")),
        r"two slices at one position: ({4}|copy) at .* and ({4}|copy) at",
    ),
    "tilted": (_tilt, r"the stack is tilted by 12\.00 degrees \(gantry tilt\): {8} at"),
    "another spacing": (
        lambda f: [moved(one, 1.5 * (k + 1)) for k, one in enumerate(f[6:])],
        r"another spacing between {5} at .* mm and {6} at .* mm: 7\.000 mm, expected 5\.500 mm",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_is_wrong_with_a_real_series_is_said(name: str, series: list[Path]) -> None:
    spoil, pattern = SPOILED[name]
    named = pattern
    for k, one in enumerate(series):
        named = named.replace(f"{{{k}}}", one.name)
    spoil(series)
    with pytest.raises(GeometryError, match=named) as error:
        files.read(series[0].parent)
    assert str(error.value).endswith("; `slimscan compress --frames` takes every file for itself")


def test_the_series_itself_is_a_volume(series: list[Path]) -> None:
    volume = files.read(series[0].parent)
    assert volume.shape == (9, 480, 480)
    assert volume.about["dicom"]["files"] == [one.name for one in series]


def test_two_real_series_in_one_folder_are_listed(series: list[Path]) -> None:
    shutil.copy(ZOO / PYDICOM / "MR2_UNCR.dcm", series[0].parent)
    with pytest.raises(
        InputError, match=r"holds 2 series, want one: 9 file\(s\) like .*; 1 file\(s\) like MR2_UNCR.dcm"
    ):
        files.read(series[0].parent)


# --- --frames ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Images of several sizes, series and kinds in two folders, and what is none."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("emri_small.dcm", "SC_rgb_2frame.dcm", "liver.dcm"):
        shutil.copy(ZOO / PYDICOM / name, folder)
    shutil.copy(ZOO / "wg04_ct_mr/RLE/CT1_RLE", folder / "deep" / "er")
    shutil.copy(ZOO / PYDICOM / "OT-PAL-8-face.dcm", folder / "deep")
    shutil.copy(ZOO / "cornerstone_ct_transfer_syntaxes" / "no-pixel-data.dcm", folder / "deep")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden").mkdir()
    shutil.copy(ZOO / PYDICOM / "SC_rgb.dcm", folder / ".hidden")
    return folder


def test_frames_compresses_every_file_for_itself_in_the_same_folders(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="--frames` takes every file for itself"):
        slimscan.compress(mixed, f"{tmp_path}/out/", target=Lossless())
    assert run(["compress", str(mixed), "-o", f"{tmp_path}/out/", "--lossless", "--frames", "--codec", "jpegls"]) == 0
    out, notes = capsys.readouterr()
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == ["SC_rgb_2frame.dcm", "deep/OT-PAL-8-face.dcm", "deep/er/CT1_RLE.dcm", "emri_small.dcm"]
    assert out.count("lossless: asked identical samples, got yes") == 4
    assert "passed over 2 file(s) that are no DICOM image: liver.dcm, notes.txt" in notes
    assert "no-pixel-data.dcm" in notes
    for name in made:
        source = mixed / name if (mixed / name).exists() else mixed / name[:-4]
        np.testing.assert_array_equal(raw(tmp_path / "out" / name), raw(source))


def test_one_damaged_file_does_not_stop_the_others(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mixed / "deep" / "er" / "CT1_RLE"
    path.write_bytes(path.read_bytes()[:-5000])
    arguments = ["compress", str(mixed), "-o", f"{tmp_path}/out/", "--lossless", "--frames", "--json"]
    assert run(arguments) == 2
    out, errors = capsys.readouterr()
    assert '"failed": 1' in out
    assert "CT1_RLE" in errors
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3


def nowhere(path: Path) -> Path:
    """An enhanced CT whose two frames lie at one place, with two scales."""
    found = dcmread(ZOO / PYDICOM / "eCT_Supplemental.dcm")
    first, second = found.PerFrameFunctionalGroupsSequence
    second.PlanePositionSequence[0].ImagePositionPatient = first.PlanePositionSequence[0].ImagePositionPatient
    scale = Dataset()
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 2, 0, "HU"
    second.PixelValueTransformationSequence = [scale]
    found.save_as(path)
    return path


def test_frames_that_make_no_volume_are_read_in_file_order(tmp_path: Path) -> None:
    path = nowhere(tmp_path / "in.dcm")
    with pytest.raises(GeometryError, match=r"all 2 slices lie at one position, in\.dcm frame 1 and in\.dcm frame 2"):
        files.read(path)
    volume = files.read(path, frames=True)
    assert (volume.shape, volume.slope, volume.intercept) == ((2, 512, 512), 1.0, 0.0)
    assert volume.about["dicom"]["geometry"] == FRAMES
    assert volume.about["dicom"]["frames"] == [0, 1]
    np.testing.assert_array_equal(volume.slices(0, 2), raw(path))
    slimscan.compress(path, tmp_path / "out.dcm", target=Psnr(60), frames=True, per="slice")
    after = dcmread(tmp_path / "out.dcm")
    assert after.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence[0].RescaleSlope == 2
    assert run(["compress", str(path), "-o", f"{tmp_path}/out/", "--setting", "htj2k@lossless", "--frames"]) == 0
    np.testing.assert_array_equal(raw(tmp_path / "out" / "in.dcm"), raw(path))


def test_frames_of_a_folder_or_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, want one file"):
        files.read(Path(DATA) / MR, frames=True)
    with pytest.raises(InputError, match="frames for themselves are read from single DICOM files"):
        files.read(Path(DATA) / "ct_head_cranium_invesalius/cranium_ct.nii.gz", frames=True)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(NotReadable, match="holds no DICOM file; --frames is for DICOM"):
        dicom_files(tmp_path)


def test_frames_never_writes_into_its_source_or_two_files_to_one_place(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies in the source"):
        frame_pairs(mixed, mixed / "out")
    shutil.copy(mixed / "emri_small.dcm", mixed / "emri_small")
    with pytest.raises(InputError, match="would both be written there"):
        frame_pairs(mixed, tmp_path / "out")
    assert run(["compress", str(mixed), "-o", f"{tmp_path}/one.dcm", "--lossless", "--frames"]) == 2


# --- the quick reader and writer ----------------------------------------------------------------------------------------


def explicit() -> Iterator[Path]:
    return (path for path in sorted(ZOO.rglob("*")) if path.is_file() and scan(path) is not None)


def test_the_quick_scan_finds_what_pydicom_finds_in_every_file() -> None:
    count = 0
    for path in explicit():
        held = scan(path)
        assert held is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, at, _ = open_dataset(path)
            for tag in [tag for tag in found.keys() if tag.element == 0]:  # noqa: SIM118 retired group lengths
                del found[tag]
            whole = held.whole()
            assert held.pixels == at
            assert whole == found, path
            assert whole.file_meta == found.file_meta
            for element in found:
                if element.keyword and element.VR in ("US", "SS", "UL", "IS", "DS", "CS", "UI", "LO", "SH"):
                    assert _plain(held.get(element.keyword)) == _plain(element.value), (path, element)
        count += 1
    assert count > 60


def _plain(value: Any) -> Any:
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return [_plain(one) for one in value]
    return (
        float(value) if isinstance(value, (int, float)) or type(value).__name__.startswith("DS") else str(value).strip()
    )


def test_what_is_not_touched_is_written_byte_for_byte() -> None:
    for path in list(explicit())[::7]:
        held = scan(path)
        assert held is not None
        content = path.read_bytes()
        groups = [  # retired group lengths are the only bytes that do not come back
            content[132 + 12 + int.from_bytes(content[140:144], "little") : held.pixels],
        ]
        if b"\x00\x00UL\x04\x00" not in groups[0]:
            assert encoded(held.whole()) == groups[0], path


def test_settings_of_the_matrix_are_settings() -> None:
    assert all(Setting.parse(one) for one in matrix().SETTINGS)
