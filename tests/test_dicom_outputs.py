"""slimscan compress to DICOM: every codec, signed samples, padding, checksums, the receipt; read by programs of others."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

import slimscan
from slimscan.codecs import CODECS
from slimscan.errors import ChecksumError, InputError, LayoutRefused, TargetUnreachable
from slimscan.files.dicom import DICOM, block
from slimscan.files.dicom import save as dicom_save
from slimscan.files.dicom.codestream import inspect
from slimscan.files.dicom.frames import decode
from slimscan.files.dicom.header import header
from slimscan.nouns import Lossless, MaxError, Ratio, Receipt, Setting, Target, Volume
from slimscan.press.about import about
from slimscan.press.dicom import AUTO_IN_DICOM, IN_DICOM, TRANSFER_SYNTAX
from slimscan.press.padding import padding_found

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")
DCIODVFY, DCMDJPLS, DCMCONV = (shutil.which(name) for name in ("dciodvfy", "dcmdjpls", "dcmconv"))
ZOO = "dicom_zoo/"
PADDED = [f"{ZOO}wg04_ct_mr/RLE/CT1_RLE", f"{ZOO}pydicom-data/693_UNCR.dcm"]  # GE, signed, -2000 outside the circle
PADDED_MR = f"{ZOO}wg04_ct_mr/RLE/MR3_RLE"
RGB = f"{ZOO}pydicom-data/US1_UNCR.dcm"
LOSSY: dict[str, Target] = {
    "jpeg2000": Setting("jpeg2000", 58.0),
    "htj2k": Setting("htj2k", 12.0),
    "jpegls": MaxError(3),
    "jpegxl": Setting("jpegxl", 0.8),
}
REAL: dict[str, Target] = {"jpeg2000": Ratio(8), "htj2k": Ratio(8), "jpegls": MaxError(3)}


def smooth(shape: tuple[int, ...], low: float, high: float, dtype: str) -> np.ndarray:
    z, y, x = (np.arange(n).reshape([-1 if i == j else 1 for j in range(3)]) for i, n in enumerate(shape))
    wave = 0.5 + 0.4 * np.sin(y / 9 + z / 4) * np.cos(x / 13)
    noise = np.random.default_rng(1).normal(scale=0.004, size=shape)
    return np.clip(np.rint(low + (wave + noise) * (high - low)), low, high).astype(dtype)


def scan(dtype: str = "int16", bits: int = 12, pad: int | None = None, shape: tuple[int, ...] = (4, 64, 72)) -> Volume:
    """A CT of made pixels; pad: what stands outside a circle."""
    low, high = (-900, 1100) if dtype == "int16" else (0, 2**bits - 1)
    pixels = smooth(shape, low, high, dtype)
    if pad is not None:
        y, x = np.ogrid[: shape[1], : shape[2]]
        pixels[:, (y - shape[1] / 2) ** 2 + (x - shape[2] / 2) ** 2 > (shape[1] / 2) ** 2] = pad
    affine = np.diag([-0.7, -0.7, 2.5, 1.0])
    return Volume(pixels, affine, bits=bits, padding=pad, unit="HU", source="made.nii")


def series(folder: Path, volume: Volume) -> Path:
    DICOM.write(volume, folder)
    return folder


def press(source: Any, out: Path, codec: str, target: Target, **more: Any) -> Receipt:
    return slimscan.compress(source, f"{out}/" if out.suffix != ".dcm" else out, codec=codec, target=target, **more)


def whole(path: Path | Volume) -> np.ndarray:
    volume = path if isinstance(path, Volume) else DICOM.read(path)
    return volume.slices(0, volume.shape[0])


def files_of(path: Path) -> list[Path]:
    """In z order."""
    found = DICOM.read(path).about["dicom"]
    return [Path(found["folder"]) / name for name in dict.fromkeys(found["files"])]


def ours(found: Dataset) -> dict[int, Any]:
    """Our block by element number."""
    return {tag.element & 0xFF: found[tag].value for tag in found.keys() if tag.group == block.GROUP}  # noqa: SIM118


# --- every codec -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["series", "volume", "multi-frame", "colour"])
@pytest.mark.parametrize("codec", IN_DICOM)
def test_every_codec_is_exact_in_its_own_transfer_syntax(codec: str, kind: str, tmp_path: Path) -> None:
    volume, out = scan(), tmp_path / "out"
    if kind == "colour":
        volume = Volume(np.stack([scan("uint8", 8).pixels] * 3, -1), bits=8, source="made.tif")
    if kind == "multi-frame":
        volume, out = scan("uint16", 12), tmp_path / "out.dcm"
    receipt = press(series(tmp_path / "in", volume) if kind == "series" else volume, out, codec, Lossless())
    assert receipt.identical
    np.testing.assert_array_equal(whole(out), volume.pixels)
    files = files_of(out)
    found = [dcmread(file) for file in files]
    assert {one.file_meta.TransferSyntaxUID for one in found} == {TRANSFER_SYNTAX[codec][0]}
    assert not any("LossyImageCompression" in one for one in found)
    assert receipt.file_bytes == sum(file.stat().st_size for file in files)
    assert 0 < receipt.payload_bytes < receipt.file_bytes
    assert len(receipt.notes) == (codec in ("jpegxl", "htj2k"))
    if codec == "deflate":  # what is not pixels is small: preamble, meta, a deflated header
        assert receipt.file_bytes - receipt.payload_bytes < len(files) * 2000
    else:
        coded = sum(length for file in files for frame in header(file).place.frames for _, length in frame)
        assert coded - len(volume.pixels) <= receipt.payload_bytes <= coded  # a pad byte is not counted
    if kind == "series":
        before = [dcmread(file) for file in files_of(tmp_path / "in")]
        assert [one.SOPInstanceUID for one in found] == [one.SOPInstanceUID for one in before]


@pytest.mark.parametrize("codec", LOSSY)
def test_every_lossy_codec_says_what_it_did(codec: str, tmp_path: Path) -> None:
    volume = scan("uint16", 12, shape=(4, 256, 260))
    receipt = press(series(tmp_path / "in", volume), tmp_path / "out", codec, LOSSY[codec])
    assert not receipt.identical
    found = dcmread(files_of(tmp_path / "out")[0])
    method = {"jpeg2000": "ISO_15444_1", "htj2k": "ISO_15444_15", "jpegls": "ISO_14495_1", "jpegxl": "ISO_18181_1"}
    assert found.file_meta.TransferSyntaxUID == TRANSFER_SYNTAX[codec][1]
    assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == ("01", method[codec])
    np.testing.assert_allclose(whole(tmp_path / "out"), volume.pixels, atol=receipt.max_abs_error)


def test_exact_codecs_and_auto(tmp_path: Path) -> None:
    for codec in ("rle", "deflate"):
        with pytest.raises(InputError, match="it is exact only; use --lossless"):
            press(scan(), tmp_path / "out", codec, Ratio(8))
    with pytest.raises(InputError, match=r"not zstd; choose one, or write \.ozx"):
        press(scan(), tmp_path / "out", "zstd", Lossless())
    receipt = press(scan(), tmp_path / "out", "auto", Lossless())
    assert {row["codec"] for row in receipt.candidates} == set(AUTO_IN_DICOM)  # no young standard without being asked
    assert set(IN_DICOM) <= set(CODECS)


@pytest.mark.parametrize(("codec", "target"), [(c, Lossless()) for c in IN_DICOM] + [*LOSSY.items()])
def test_the_same_input_gives_the_same_bytes(codec: str, target: Target, tmp_path: Path) -> None:
    source = series(tmp_path / "in", scan("uint16", 12, shape=(2, 128, 130)))
    for name in ("a", "b"):
        press(source, tmp_path / name, codec, target)
    a, b = ([file.read_bytes() for file in files_of(tmp_path / name)] for name in ("a", "b"))
    assert a == b


# --- signed samples --------------------------------------------------------------------------------------------------


def by_pydicom(path: Path) -> np.ndarray:
    pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed")
    from pydicom.pixels import pixel_array

    syntax = dcmread(path).file_meta.TransferSyntaxUID
    plugin = "pyjpegls" if syntax in TRANSFER_SYNTAX["jpegls"] else "pylibjpeg"
    return pixel_array(path, decoding_plugin=plugin)


def by_gdcm(path: Path) -> np.ndarray:
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    kind = {gdcm.PixelFormat.INT16: "<i2", gdcm.PixelFormat.UINT16: "<u2", gdcm.PixelFormat.INT8: "i1"}
    dtype = kind.get(image.GetPixelFormat().GetScalarType(), "u1")
    raw = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    return np.frombuffer(raw, dtype).reshape(image.GetDimension(1), image.GetDimension(0))


def by_itk(path: Path) -> np.ndarray:
    import SimpleITK as sitk  # noqa: N813 its own habit

    found = dcmread(path, stop_before_pixels=True)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0].astype(np.float64)
    return (values - float(found.get("RescaleIntercept", 0))) / float(found.get("RescaleSlope", 1))


def by_dcmtk(path: Path) -> np.ndarray:
    if not DCMDJPLS:
        pytest.skip("dcmdjpls is not installed (Debian package dcmtk)")
    plain = path.parent.parent / f"{path.stem}.plain"
    subprocess.run([DCMDJPLS, str(path), str(plain)], check=True, capture_output=True)
    return np.asarray(dcmread(plain).pixel_array)


READERS: list[Callable[[Path], np.ndarray]] = [by_pydicom, by_gdcm, by_itk, by_dcmtk]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("target", [Lossless(), MaxError(2)])
@pytest.mark.parametrize("kind", ["made", "made 16 bit", *PADDED])
def test_others_read_signed_jpeg_ls(
    kind: str, target: Target, reader: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    if kind.startswith("made"):
        source = series(tmp_path / "in", scan("int16", 16 if "16" in kind else 12))
    elif not DATA:
        pytest.skip("SLIMSCAN_DATA does not name the folder of real images")
    else:
        source = Path(DATA) / kind
    press(source, tmp_path / "out", "jpegls", target)
    pixels = whole(source)
    assert pixels.min() < 0 < pixels.max()
    for k, file in enumerate(files_of(tmp_path / "out")):
        np.testing.assert_array_equal(reader(file), whole(tmp_path / "out")[k])
    limit = 0 if isinstance(target, Lossless) else 2
    assert np.abs(whole(tmp_path / "out").astype(int) - pixels).max() <= limit


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_bits_stored_of_signed_pixels_stay(bits: int, reader: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
    """As DCMTK and GDCM write it: two's complement of the whole container in the codestream, BitsStored as it was.

    Of a codestream of 12 bits GDCM's own buffer would hold 4095 for -1.
    """
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    pixels = smooth((2, 24, 30), low, high, "int16")
    pixels[0, 0, :4] = [low, high, -1, 0]
    source = series(tmp_path / "in", replace(scan(), pixels=pixels, bits=bits))
    receipt = press(source, tmp_path / "out", "jpegls", Lossless())
    assert receipt.identical
    for k, (old, new) in enumerate(zip(files_of(source), files_of(tmp_path / "out"), strict=True)):
        before, after = dcmread(old), dcmread(new)
        assert (after.BitsStored, after.HighBit) == (before.BitsStored, before.HighBit) == (bits, bits - 1)
        assert after.SOPInstanceUID == before.SOPInstanceUID
        assert inspect(get_frame(after.PixelData, 0, number_of_frames=1)).precision == 16
        np.testing.assert_array_equal(reader(new), pixels[k])
    np.testing.assert_array_equal(whole(tmp_path / "out"), pixels)


def test_frames_of_one_series_stay_one_series(tmp_path: Path) -> None:
    """Each file comes to a setting of its own, and all are instances of one new series."""
    pixels = smooth((3, 48, 56), 0, 4000, "uint16")
    noise = np.random.default_rng(5).integers(0, 60, pixels.shape) * np.arange(3)[:, None, None]
    source = series(tmp_path / "in", replace(scan("uint16"), pixels=(pixels + noise).clip(0, 4095).astype("uint16")))
    for ratio in ("4", "6"):
        here("compress", source, "-o", f"{tmp_path}/{ratio}/", "--frames", "--psnr", f"{40 + int(ratio)}")
    found = [[dcmread(file) for file in files_of(tmp_path / ratio)] for ratio in ("4", "6")]
    assert len({one.SeriesInstanceUID for one in found[0]}) == 1
    assert len({one.SeriesInstanceUID for one in found[0] + found[1]}) == 2
    assert len({one.SOPInstanceUID for one in found[0] + found[1]}) == 6


def test_a_sign_never_turns(tmp_path: Path) -> None:
    """-32768 less 1 would be 32767 in two's complement; and in lossy JPEG XL -1 lies beside 65535."""
    volume = scan("int16", 16)
    pixels = volume.pixels.copy()
    pixels[0, 0, 0] = -32768
    edge = replace(volume, pixels=pixels)
    with pytest.raises(LayoutRefused) as refused:
        press(edge, tmp_path / "out", "jpegls", MaxError(1))
    assert str(refused.value) == (
        "made.nii: near-lossless JPEG-LS in DICOM holds signed samples of -32513..32512, so that no sign turns; these"
        f" reach -32768..{pixels.max()}; use jpeg2000, or write .ozx"
    )
    assert press(edge, tmp_path / "exact", "jpegls", Lossless()).identical
    with pytest.raises(LayoutRefused, match="lossy JPEG XL in DICOM holds no sign, and these samples have one; use"):
        press(volume, tmp_path / "out", "jpegxl", Ratio(5))
    pixels = volume.pixels.copy()
    pixels[0, :2] = [[-32513], [32512]]
    kept = replace(volume, pixels=pixels)
    assert press(kept, tmp_path / "near", "jpegls", Setting("jpegls", 255.0)).max_abs_error == 255


# --- padding ---------------------------------------------------------------------------------------------------------


def check_padding(source: Volume, out: Path, receipt: Receipt) -> tuple[int, int]:
    """The declared range holds every padding pixel and no other; (PixelPaddingValue, PixelPaddingRangeLimit)."""
    found = dcmread(files_of(out)[0])
    value, limit = int(found.PixelPaddingValue), int(found.PixelPaddingRangeLimit)
    decoded, pixels = whole(out), whole(source)
    low, high = min(value, limit), max(value, limit)
    np.testing.assert_array_equal((decoded >= low) & (decoded <= high), pixels == source.padding)
    assert not ((pixels != source.padding) & (pixels >= low) & (pixels <= high)).any()
    said = next(check for check in receipt.checks if check.name == "padding")
    assert said.passed
    assert f"declared as {low}..{high}" in said.got
    return value, limit


@pytest.mark.parametrize("pad", [-1500, -2000])
@pytest.mark.parametrize("codec", ["jpeg2000", "htj2k", "jpegls"])
def test_padding_comes_back_in_a_range_of_its_own(codec: str, pad: int, tmp_path: Path) -> None:
    source = DICOM.read(series(tmp_path / "in", scan(pad=pad, shape=(3, 192, 200))))
    receipt = press(tmp_path / "in", tmp_path / "out", codec, LOSSY[codec])
    value, limit = check_padding(source, tmp_path / "out", receipt)
    assert value <= pad <= limit
    found = dcmread(files_of(tmp_path / "out")[0])
    assert (found["PixelPaddingValue"].VR, found["PixelPaddingRangeLimit"].VR) == ("SS", "SS")
    # A second generation: the range is its padding.
    again = press(tmp_path / "out", tmp_path / "again", codec, LOSSY[codec], allow_lossy_again=True)
    told = next(check for check in again.checks if check.name == "padding")
    assert told.asked.startswith(f"{value}..{limit} comes back")
    back = dcmread(files_of(tmp_path / "again")[0])
    low, high = int(back.PixelPaddingValue), int(back.PixelPaddingRangeLimit)
    decoded = whole(tmp_path / "again")
    np.testing.assert_array_equal((decoded >= low) & (decoded <= high), whole(source) == pad)


@needs_data
@pytest.mark.parametrize("codec", ["jpeg2000", "htj2k", "jpegls"])
@pytest.mark.parametrize("name", PADDED)
def test_real_padding_comes_back_in_a_range_of_its_own(name: str, codec: str, tmp_path: Path) -> None:
    source = DICOM.read(Path(DATA) / name)
    receipt = press(Path(DATA) / name, tmp_path / "out", codec, REAL[codec])
    value, limit = check_padding(source, tmp_path / "out", receipt)
    assert value <= -2000 <= limit < -1900
    old, new = dcmread(Path(DATA) / name), dcmread(files_of(tmp_path / "out")[0])
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        assert new.get(keyword) == old.get(keyword)
    assert "SmallestImagePixelValue" not in new


@pytest.mark.parametrize("reader", [by_pydicom, by_gdcm, by_itk])
@pytest.mark.parametrize("codec", ["jpeg2000", "htj2k"])
def test_others_find_the_same_padding(codec: str, reader: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
    """Decoders may differ by one unit; the declared range has one to spare."""
    source = series(tmp_path / "in", scan(pad=-1500, shape=(2, 192, 200)))
    press(source, tmp_path / "out", codec, LOSSY[codec])
    for k, file in enumerate(files_of(tmp_path / "out")):
        found, decoded = dcmread(file), reader(file)
        low, high = int(found.PixelPaddingValue), int(found.PixelPaddingRangeLimit)
        np.testing.assert_array_equal((decoded >= low) & (decoded <= high), whole(source)[k] == -1500)
        assert np.abs(decoded - whole(tmp_path / "out")[k]).max() <= 1


@needs_data
@pytest.mark.parametrize("target", [Lossless(), Setting("jpeg2000", 60.0)])
def test_an_overlay_in_high_bits_window_and_rescale_survive(target: Target, tmp_path: Path) -> None:
    found = dcmread(Path(DATA) / f"{ZOO}pydicom-data/693_UNCR.dcm")
    plane = np.zeros((512, 512), bool)
    plane[10:20, 30:60] = True
    stored = np.clip(found.pixel_array + 2000, 0, 4095).astype("<u2")  # 0 outside, 2000 and more inside
    found.PixelData = (stored | (plane.astype("<u2") << 14)).tobytes()
    found.BitsStored, found.HighBit, found.PixelRepresentation, found.RescaleIntercept = 12, 11, 0, -3024
    del found.PixelPaddingValue
    found.add_new("PixelPaddingValue", "US", 0)
    found.add_new("SmallestImagePixelValue", "US", 0)
    for element, value in ((0x0010, 512), (0x0011, 512), (0x0100, 16), (0x0102, 14)):
        found.add_new((0x6000, element), "US", value)
    found.add_new((0x6000, 0x0040), "CS", "G")
    found.add_new((0x6000, 0x0050), "SS", [1, 1])
    found.save_as(tmp_path / "in.dcm")
    receipt = press(tmp_path / "in.dcm", tmp_path / "out", "jpeg2000", target)
    new = dcmread(files_of(tmp_path / "out")[0])
    np.testing.assert_array_equal(new.overlay_array(0x6000), plane)
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        assert new[keyword].value == found[keyword].value
    assert ("SmallestImagePixelValue" in new) == isinstance(target, Lossless)
    assert new["PixelPaddingValue"].VR == "US"
    if isinstance(target, Lossless):
        assert (new.PixelPaddingValue, "PixelPaddingRangeLimit" in new) == (0, False)
    else:
        value, limit = check_padding(DICOM.read(tmp_path / "in.dcm"), tmp_path / "out", receipt)
        assert value == 0 < limit


def test_an_ozx_goes_out_as_dicom_without_its_source(tmp_path: Path) -> None:
    source = series(tmp_path / "in", scan(pad=-1500))
    slimscan.compress(source, tmp_path / "a.ozx", target=Lossless())
    shutil.rmtree(source)
    for codec in ("rle", "jpegls"):
        assert press(tmp_path / "a.ozx", tmp_path / codec, codec, Lossless()).identical
        found = dcmread(files_of(tmp_path / codec)[0])
        assert (found.PixelPaddingValue, found.PixelRepresentation, found.Modality) == (-1500, 1, "CT")


def test_padding_of_inverted_grey_counts_downwards(tmp_path: Path) -> None:
    """PS3.3 C.7.5.1.1.2: with MONOCHROME1 PixelPaddingValue is the upper end."""
    volume = scan(pad=3000, bits=13)
    source = series(tmp_path / "in", volume)
    for file in source.iterdir():
        found = dcmread(file)
        found.PhotometricInterpretation = "MONOCHROME1"
        found.save_as(file)
    receipt = press(source, tmp_path / "out", "jpeg2000", Setting("jpeg2000", 65.0))
    value, limit = check_padding(DICOM.read(source), tmp_path / "out", receipt)
    assert value > 3000 > limit


def test_padding_among_other_pixels_is_refused(tmp_path: Path) -> None:
    volume = scan("uint16", 12, pad=0)
    near = np.maximum(1, (volume.pixels.astype(int) - 420) // 8)  # its smallest pixels are beside the padding
    volume = replace(volume, pixels=np.where(volume.pixels == 0, 0, near).astype(np.uint16), unit="")
    source = series(tmp_path / "in", volume)
    for codec in ("jpeg2000", "htj2k", "jpegls"):
        out = tmp_path / "out"
        with pytest.raises(TargetUnreachable) as refused:
            press(source, out, codec, LOSSY[codec])
        said = str(refused.value)
        assert "padding 0 comes back as 0.." in said
        assert said.endswith("ask for more quality or --lossless, or write .ozx, which keeps padding exact")
        assert "\n" not in said
        assert not out.exists()
    assert press(source, tmp_path / "exact", "jpeg2000", Lossless()).identical
    assert int(dcmread(files_of(tmp_path / "exact")[0]).PixelPaddingValue) == 0
    kept = slimscan.compress(source, tmp_path / "kept.ozx", codec="jpeg2000", target=LOSSY["jpeg2000"])
    assert next(check for check in kept.checks if check.name == "background").passed


def check_moved(source: Volume, out: Path, receipt: Receipt) -> None:
    """Padding lies below every other pixel, where it was put; the receipt says so, and speaks of the other pixels."""
    found = dcmread(files_of(out)[0])
    low, high = int(found.PixelPaddingValue), int(found.PixelPaddingRangeLimit)
    decoded, pixels = whole(out).astype(int), whole(source).astype(int)
    inside = pixels != source.padding
    np.testing.assert_array_equal((decoded >= low) & (decoded <= high), ~inside)
    assert high < min(decoded[inside].min(), pixels[inside].min())
    (note,) = receipt.notes
    assert note.startswith(f"padding was moved from {source.padding} to ")
    assert np.abs(decoded - pixels)[inside].max() <= (receipt.max_abs_error or 0)
    assert found.LossyImageCompression == "01"
    assert about(out)["receipt"]["notes"] == [note]


@needs_data
@pytest.mark.parametrize(
    ("codec", "target"), [("jpeg2000", Ratio(10)), ("jpeg2000", Ratio(20)), ("jpegls", MaxError(3))]
)
def test_padding_right_below_a_real_image_is_moved(codec: str, target: Target, tmp_path: Path) -> None:
    """A GE head MR, signed, 0 outside and 1 inside."""
    receipt = press(Path(DATA) / PADDED_MR, tmp_path / "out", codec, target)
    check_moved(DICOM.read(Path(DATA) / PADDED_MR), tmp_path / "out", receipt)


def test_padding_right_below_the_image_is_moved(tmp_path: Path) -> None:
    source = series(tmp_path / "in", scan(pad=-910))
    for codec in ("jpeg2000", "jpegls"):
        receipt = press(source, tmp_path / codec, codec, LOSSY[codec])
        check_moved(DICOM.read(source), tmp_path / codec, receipt)
    exact = press(source, tmp_path / "exact", "jpegls", MaxError(0))
    assert (exact.identical, exact.notes) == (True, ())
    np.testing.assert_array_equal(whole(tmp_path / "exact"), whole(source))
    first = press(source, tmp_path / "again", "jpeg2000", LOSSY["jpeg2000"])
    files = [[file.read_bytes() for file in files_of(tmp_path / name)] for name in ("jpeg2000", "again")]
    assert files[0] == files[1]
    assert first.notes


def test_padding_founds_by_hand() -> None:
    source = np.array([[[-2000, -2000, 10, 20]]], np.int16)
    volume = Volume(source, padding=-2000, source="x")

    def said(decoded: list[int], spare: int = 1) -> tuple[int, int] | None:
        found = padding_found(volume, lambda _k: np.array([[decoded]], np.int16), "x", "c@1", spare=spare)
        assert found is not None
        return found.declare

    assert said([-2000, -2000, 11, 19]) is None  # exact: nothing to declare
    assert said([-2003, -1990, 11, 19]) == (-2004, -1989)
    assert said([-2003, -1990, 11, 19], spare=0) == (-2003, -1990)
    assert said([-2003, -1990, -1989, 19]) == (-2003, -1990)  # no room to spare
    for bad in ([-2003, -1990, -1995, 19], [-2003, 12, 30, 40], [-2000, -2000, -2000, 19]):
        with pytest.raises(TargetUnreachable, match=r"^x: padding -2000 comes back as .* from c@1"):
            said(bad)
    assert padding_found(replace(volume, padding=None), lambda _k: source, "x", "c") is None
    nowhere = replace(volume, padding=-3000)
    kept = padding_found(nowhere, lambda _k: source, "x", "c")
    assert kept is not None
    assert (kept.declare, kept.check.got) == (None, "-3000, the nearest other pixel is -2000")
    with pytest.raises(TargetUnreachable, match="padding -3000 comes back"):
        padding_found(nowhere, lambda _k: np.full((1, 1, 4), -3000, np.int16), "x", "c")


# --- checksums and the receipt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", IN_DICOM)
def test_every_instance_says_what_it_is_and_the_lowest_holds_the_receipt(codec: str, tmp_path: Path) -> None:
    source = series(tmp_path / "in", scan())
    receipt = press(source, tmp_path / "out", codec, Lossless())
    files = files_of(tmp_path / "out")
    for k, file in enumerate(files):
        found, held = ours(dcmread(file)), header(file)
        assert found[0x10] == "SLIMSCAN"
        assert found[block.SYNTAX] == TRANSFER_SYNTAX[codec][0]
        assert found[block.SOFTWARE] == f"slimscan {slimscan.__version__}"
        assert found[block.SETTING] == f"{codec}@lossless"
        assert found[block.SHA256] == hashlib.sha256(held.place.read(0)).digest()
        assert (block.RECEIPT in found) == (k == 0)
    said = about(tmp_path / "out")["receipt"]
    assert (said["setting"], said["identical"], said["sha256"]) == (f"{codec}@lossless", True, receipt.sha256)
    assert said["verified"]
    assert list(said["notes"]) == list(receipt.notes)
    assert json.loads(block.receipt(files[0])) == said
    assert block.receipt(files[1]) == b""
    slimscan.decompress(tmp_path / "out", tmp_path / "back.nii")
    plain = slimscan.decompress(tmp_path / "out", f"{tmp_path}/plain/")
    assert {check.name for check in plain.checks} == {"written", "receipt"}
    assert not ours(dcmread(files_of(tmp_path / "plain")[0]))  # its frames are no longer those of the block


@pytest.mark.parametrize("codec", IN_DICOM)
def test_a_changed_frame_is_refused_by_name(codec: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    press(scan("uint16", 12), out, codec, Lossless())
    held = header(out)
    assert len(held.checksums) == 4
    if codec == "deflate":
        found = dcmread(out)
        raw = bytearray(found.PixelData)
        raw[-9] ^= 1  # in the last of 4 frames
        found.PixelData = bytes(raw)
        found.save_as(out)
    else:
        at, length = held.place.frames[3][0]
        raw = bytearray(out.read_bytes())
        raw[at + length // 2] ^= 1
        out.write_bytes(raw)
    for k in range(3):
        decode(header(out), k)
    with pytest.raises(ChecksumError) as refused:
        decode(header(out), 3)
    assert str(refused.value) == (
        f"{out}: frame 4 of 4 is not what was written (its SHA-256 differs from the one in the file); not decoded, fetch"
        " the file again"
    )


def test_a_block_of_other_frames_is_void(tmp_path: Path) -> None:
    """Another program recodes the frames and copies what it does not know."""
    out = tmp_path / "out"
    press(scan(), out, "jpegls", Lossless())
    for file in files_of(out):
        found = dcmread(file)
        found.decompress(generate_instance_uid=False)
        found.save_as(file)
        assert header(file).checksums == ()
    np.testing.assert_array_equal(whole(out), scan().pixels)
    assert about(out)["receipt"] == {}


@pytest.mark.parametrize("codec", ["rle", "deflate"])
def test_a_receipt_that_is_larger_than_its_room(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "RESERVED", 16)
    out = tmp_path / "out.dcm"
    press(scan("uint16", 12), out, codec, Lossless())
    assert about(out)["receipt"]["setting"] == f"{codec}@lossless"
    np.testing.assert_array_equal(whole(out), scan("uint16", 12).pixels)


def test_a_second_run_replaces_our_block_and_nobody_elses(tmp_path: Path) -> None:
    source = series(tmp_path / "in", scan())
    for file in source.iterdir():
        found = dcmread(file)
        for creator in ("SOMEONE", "SOMEONE ELSE"):  # in our group, and elsewhere
            found.private_block(block.GROUP, creator, create=True).add_new(5, "OB", b"\1\2")
        found.private_block(0x0029, "SOMEONE", create=True).add_new(5, "UN", b"\3\4\5\6")
        found.save_as(file)
    press(source, tmp_path / "one", "jpeg2000", Lossless())
    press(tmp_path / "one", tmp_path / "two", "jpegls", MaxError(2))
    one, two = (dcmread(files_of(tmp_path / name)[0]) for name in ("one", "two"))
    for found, setting in ((one, "jpeg2000@lossless"), (two, "jpegls@2")):
        ours_too = found.private_block(block.GROUP, "SLIMSCAN")
        assert (ours_too[block.SETTING].value, ours_too.block_start) == (setting, 0x1200)
        for group, creator, value in (
            (block.GROUP, "SOMEONE", b"\1\2"),
            (block.GROUP, "SOMEONE ELSE", b"\1\2"),
            (0x0029, "SOMEONE", b"\3\4\5\6"),
        ):
            assert found.private_block(group, creator)[5].value == value
        assert sum(tag.group == block.GROUP and tag.element < 0x100 for tag in found.keys()) == 3  # noqa: SIM118
    assert about(tmp_path / "two")["receipt"]["setting"] == "jpegls@2"


# --- offset tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["rle", "jpeg2000", "jpegls"])
def test_offset_tables_lead_to_every_frame(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.encaps import generate_frames

    volume = scan("uint16", 12, shape=(5, 33, 37))
    press(volume, tmp_path / "basic.dcm", codec, Lossless())
    monkeypatch.setattr(dicom_save, "_OFFSET_LIMIT", 100)
    press(volume, tmp_path / "extended.dcm", codec, Lossless())
    basic, extended = (dcmread(tmp_path / f"{name}.dcm") for name in ("basic", "extended"))
    assert "ExtendedOffsetTable" not in basic
    assert basic.PixelData[4:8] == (20).to_bytes(4, "little")
    assert extended.PixelData[4:8] == bytes(4)
    wide = (extended.ExtendedOffsetTable, extended.ExtendedOffsetTableLengths)
    frames = list(generate_frames(basic.PixelData, number_of_frames=5))
    for k, frame in enumerate(frames):
        assert len(frame) % 2 == 0
        assert get_frame(basic.PixelData, k, number_of_frames=5) == frame
        told = get_frame(extended.PixelData, k, number_of_frames=5, extended_offsets=wide)
        assert told.rstrip(b"\0") == frame.rstrip(b"\0")  # the lengths do not count the pad byte
    lengths = np.frombuffer(extended.ExtendedOffsetTableLengths, "<u8")
    assert any(length % 2 for length in lengths) or codec == "rle"
    for found in (basic, extended):
        np.testing.assert_array_equal(found.pixel_array, volume.pixels)
    np.testing.assert_array_equal(whole(tmp_path / "extended.dcm"), volume.pixels)


# --- the validator ---------------------------------------------------------------------------------------------------


def complaints(path: Path) -> Counter[str]:
    """Its errors and warnings. Apart from them it says of every private element, whoever's, that it knows it not."""
    if dcmread(path).file_meta.TransferSyntaxUID == TRANSFER_SYNTAX["deflate"][0]:  # it reads no deflated file
        if not DCMCONV:
            pytest.skip("dcmconv is not installed (Debian package dcmtk)")
        path, deflated = path.parent.parent / "inflated.dcm", path
        subprocess.run([DCMCONV, "+te", str(deflated), str(path)], check=True, capture_output=True)
    ran = subprocess.run([DCIODVFY or "", str(path)], capture_output=True, text=True, check=False)
    return Counter(line for line in ran.stderr.splitlines() if line.startswith(("Error", "Warning")))


@needs_data
@pytest.mark.skipif(not DCIODVFY, reason="dciodvfy is not installed (Debian package dicom3tools)")
@pytest.mark.parametrize("codec", ["rle", "deflate", "jpeg2000", "jpegls"])
@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("name", [*PADDED, RGB, "mri_abdomen_philips_dicom_slideio"])
def test_dciodvfy_has_nothing_new_to_say(name: str, lossy: bool, codec: str, tmp_path: Path) -> None:
    if lossy and codec not in LOSSY:
        pytest.skip(f"{codec} is exact only")
    source = Path(DATA) / name
    if source.is_dir():
        shutil.copytree(source, tmp_path / "in")
        for file in files_of(tmp_path / "in")[3:]:
            file.unlink()
        source = tmp_path / "in"
    targets = REAL if name in PADDED else LOSSY
    press(source, tmp_path / "out", codec, targets[codec] if lossy else Lossless())
    for old, new in zip(files_of(source), files_of(tmp_path / "out"), strict=True):
        assert list((complaints(new) - complaints(old)).elements()) == []


def test_the_command_line_says_notes_and_info_prints_the_receipt(tmp_path: Path) -> None:
    source, out = series(tmp_path / "in", scan("uint16", 12)), f"{tmp_path}/out/"
    said = here("compress", source, "-o", out, "--lossless", "--codec", "jpegxl")
    assert said.status == 0
    assert "JPEG XL in DICOM is experimental: most viewers and archives do not open it yet" in said.err
    told = here("info", out)
    for word in ("receipt", "jpegxl@lossless", "nothing differs", "note  JPEG XL in DICOM is experimental"):
        assert word in told.out
    assert here("info", out, "--json").json["receipt"]["setting"] == "jpegxl@lossless"
