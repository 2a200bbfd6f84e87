"""An earlier lossy generation is recognised, refused for more loss, and told in whatever is written next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from commands import here, pixels
from phantoms import head, masked

import slimscan
from slimscan.errors import InputError
from slimscan.metrics.traces import jpeg_trace
from slimscan.metrics.wavelet_traces import wavelet_trace
from slimscan.nouns import Lossless, Psnr, Ratio, Setting, Volume
from slimscan.press.compress import compress
from slimscan.press.history import generations, seen, told

SCAN = replace(head((4, 160, 176), noise=5.0), unit="", source="scan")
AGAIN = "; use --lossless, or --allow-lossy-again to add a generation"
MEASURED = ", and what is lost now would be measured against that, not against the original"


def unsigned(volume: Volume = SCAN) -> np.ndarray:
    return (np.asarray(volume.pixels).astype(np.int32) + 1024).clip(0, 4095).astype(np.uint16)


def through_jpeg(planes: np.ndarray, quality: int) -> np.ndarray:
    coded = [imagecodecs.jpeg8_encode(plane, level=quality, bitspersample=12) for plane in planes]
    return np.stack([imagecodecs.jpeg8_decode(one) for one in coded])


def through_jpeg2000(planes: np.ndarray, db: float, reversible: bool = False) -> np.ndarray:
    coded = [
        imagecodecs.jpeg2k_encode(plane, level=db, reversible=reversible, bitspersample=12, codecformat="J2K")
        for plane in planes
    ]
    return np.stack([imagecodecs.jpeg2k_decode(one) for one in coded])


# ---- traces


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
@pytest.mark.parametrize("cut", [(0, 0), (3, 5)])
def test_a_jpeg_is_seen_wherever_its_grid_begins(quality: int, cut: tuple[int, int]) -> None:
    planes = through_jpeg(unsigned(), quality)[:, cut[0] :, cut[1] :]
    trace = jpeg_trace(list(planes))
    assert trace.found
    assert trace.control == 0
    assert trace.offset == ((8 - cut[0]) % 8, (8 - cut[1]) % 8)


def test_the_steps_of_a_jpeg_are_told() -> None:
    planes = through_jpeg(unsigned(), 50)  # at quality 50 the tables are those of ISO/IEC 10918-1 annex K
    steps = {(u, v): step for u, v, step in jpeg_trace(list(planes)).steps}
    assert {place: steps[place] for place in ((0, 1), (0, 2), (1, 0), (1, 1))} == {
        (0, 1): 11,
        (0, 2): 10,
        (1, 0): 12,
        (1, 1): 12,
    }


@pytest.mark.parametrize("db", [55, 50, 45])
@pytest.mark.parametrize("reversible", [False, True])
def test_a_jpeg_2000_is_seen_and_its_wavelet_told(db: float, reversible: bool) -> None:
    trace = wavelet_trace(list(through_jpeg2000(unsigned(), db, reversible)))
    assert trace.found
    assert trace.votes > 2 * trace.control
    assert trace.wavelet == ("5/3" if reversible else "9/7")


@pytest.mark.parametrize(
    "planes",
    [
        unsigned(),
        np.asarray(masked((3, 160, 160)).pixels),
        16 * unsigned(),  # a stretched histogram
        unsigned() // 16 * 16,
        np.zeros((2, 160, 160), np.uint16),
        np.kron(np.random.default_rng(1).integers(0, 4000, (2, 20, 20)), np.ones((1, 8, 8), int)).astype(np.uint16),
        np.random.default_rng(2).integers(0, 2, (2, 160, 160)).astype(np.uint16) * 1000,
        np.random.default_rng(3).normal(size=(2, 160, 160)),
        unsigned()[:, :20, :20],
        through_jpeg(unsigned(), 100),
    ],
    ids=["head", "masked", "x16", "rounded", "flat", "blocks", "binary", "floats", "small", "finest"],
)
def test_no_trace_where_there_was_no_loss_or_too_little(planes: np.ndarray) -> None:
    jpeg, wavelet = jpeg_trace(list(planes)), wavelet_trace(list(planes))
    assert not jpeg.found
    assert not wavelet.found


def test_the_wavelets_are_those_of_the_standard() -> None:
    from slimscan.metrics.wavelet_traces import _lift_53, _lift_97

    flat = np.full((10, 3), 7.0)
    for lift in (_lift_53, _lift_97):
        low, high = lift(flat)
        assert np.allclose(low, 7)  # the low-pass gain is 1 at zero frequency, F.4.8.1
        assert np.allclose(high, 0)
    ramp = np.arange(9.0)[:, None] * np.ones((1, 2))
    assert np.array_equal(_lift_53(ramp)[1][:-1], np.zeros((3, 2)))  # 5/3: two vanishing moments, away from the end
    step = np.array([0.0, 0, 0, 8, 8, 8, 8, 8])[:, None]
    assert _lift_53(step)[1].ravel().tolist() == [0, 4, 0, 0]  # 8 - (0 + 8) / 2 at the edge


# ---- what files say


def test_more_loss_on_our_own_lossy_file_is_refused(tmp_path: Path) -> None:
    first = compress(SCAN, tmp_path / "a.ozx", target=Ratio(8))
    said = here("compress", tmp_path / "a.ozx", "-o", tmp_path / "b.ozx", "--psnr", "45")
    why = f"its receipt says ISO_15444_1 at a ratio of {first.ratio_payload:.4g}"
    assert said.error() == f"{tmp_path}/a.ozx: was compressed with loss before ({why}){MEASURED}{AGAIN}"
    assert not (tmp_path / "b.ozx").exists()
    assert here("compress", tmp_path / "a.ozx", "-o", tmp_path / "b.ozx", "--lossless").status == 0
    assert (
        "was compressed with loss before"
        in here("compress", tmp_path / "b.ozx", "-o", tmp_path / "c.ozx", "--ratio", "9").error()
    )


def test_generations_are_carried_through_containers_into_dicom(tmp_path: Path) -> None:
    import pydicom

    first = compress(SCAN, tmp_path / "a.ozx", target=Ratio(8))
    second = compress(tmp_path / "a.ozx", tmp_path / "b.ozx", target=Setting("jpegls", 4), allow_lossy_again=True)
    assert second.history is not None
    assert second.history["lossy_before"]
    compress(tmp_path / "b.ozx", tmp_path / "c.ozx", target=Lossless())
    known = generations(slimscan.read(tmp_path / "c.ozx"))
    assert [one["method"] for one in known] == ["ISO_15444_1", "ISO_14495_1"]
    assert [one["ratio"] for one in known] == pytest.approx([first.ratio_payload, second.ratio_payload])
    compress(tmp_path / "c.ozx", f"{tmp_path}/exact/", target=Lossless())
    assert here("decompress", tmp_path / "b.ozx", "-o", f"{tmp_path}/decoded/").status == 0
    compress(tmp_path / "b.ozx", f"{tmp_path}/third/", target=Setting("jpeg2000", 40), allow_lossy_again=True)
    for folder, methods in (
        ("exact", ["ISO_15444_1", "ISO_14495_1"]),
        ("decoded", ["ISO_15444_1", "ISO_14495_1"]),
        ("third", ["ISO_15444_1", "ISO_14495_1", "ISO_15444_1"]),
    ):
        found = pydicom.dcmread(tmp_path / folder / "00001.dcm")
        assert found.LossyImageCompression == "01"
        assert list(found.LossyImageCompressionMethod) == methods, folder
        ratios = [float(one) for one in found.LossyImageCompressionRatio]
        assert ratios[:2] == pytest.approx([first.ratio_payload, second.ratio_payload], rel=1e-3)
        assert len(ratios) == len(methods)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"compression": "jpeg"}, "TIFF compression JPEG"),
        ({"compression": "jpeg2000", "compressionargs": {"level": 50, "reversible": False}}, "TIFF compression JPEG 2000 with the irreversible wavelet"),
        ({"compression": "jpegxl", "compressionargs": {"distance": 1.0}}, "TIFF compression JPEG XL in its lossy colour space"),
        ({"compression": "jpeg2000", "compressionargs": {"reversible": True}}, ""),
        ({"compression": "jpegxl", "compressionargs": {"lossless": True}}, ""),
        ({"compression": "deflate"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_a_tiff_tells_of_its_codec(options: dict[str, object], why: str, tmp_path: Path) -> None:
    planes = (unsigned() >> 4).astype(np.uint8) if options.get("compression") == "jpeg" else unsigned()
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="minisblack", **options)  # type: ignore[arg-type]
    assert told(slimscan.read(tmp_path / "a.tif")).why == why
    (tmp_path / "stack").mkdir()
    for k, plane in enumerate(planes):
        tifffile.imwrite(tmp_path / "stack" / f"{k}.tif", plane, photometric="minisblack", **options)  # type: ignore[arg-type]
    assert told(slimscan.read(tmp_path / "stack")).why == (f"0.tif: {why}" if why else "")


def test_pixels_that_were_a_jpeg_are_refused_and_may_be_allowed(tmp_path: Path) -> None:
    slimscan.write(replace(SCAN, pixels=through_jpeg(unsigned(), 90)), tmp_path / "a.nii.gz")
    said = here("compress", tmp_path / "a.nii.gz", "-o", tmp_path / "a.ozx", "--ratio", "8").error()
    assert said.startswith(f"{tmp_path}/a.nii.gz: was compressed with loss before (its pixels were a JPEG once: ")
    assert said.endswith(f" frequencies of an 8 x 8 grid are quantised){MEASURED}{AGAIN}")
    done = here(
        "compress", tmp_path / "a.nii.gz", "-o", tmp_path / "a.ozx", "--ratio", "8", "--allow-lossy-again", "--json"
    )
    assert done.json["history"]["jpeg_trace"]["certain"]
    assert done.json["history"]["generations"] == [{"method": "ISO_10918_1", "ratio": None}]
    assert [one["method"] for one in generations(slimscan.read(tmp_path / "a.ozx"))] == ["ISO_10918_1", "ISO_15444_1"]
    exact = here("compress", tmp_path / "a.nii.gz", "-o", tmp_path / "b.ozx", "--lossless", "--json").json["history"]
    assert exact["jpeg_trace"] is None  # nothing is looked for when nothing is lost


def test_a_lossy_source_is_no_uncompressed_predecessor(tmp_path: Path) -> None:
    import pydicom

    compress(SCAN, f"{tmp_path}/plain/", target=Lossless())
    compress(tmp_path / "plain", f"{tmp_path}/one/", target=Setting("jpeg2000", 50))
    compress(tmp_path / "one", f"{tmp_path}/two/", target=Setting("jpeg2000", 40), allow_lossy_again=True)
    found = pydicom.dcmread(tmp_path / "two" / "00001.dcm")
    purposes = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in found.SourceImageSequence]
    assert purposes == ["121320", "121322"]


def test_pixels_that_were_a_jpeg_2000_are_refused(tmp_path: Path) -> None:
    volume = replace(SCAN, pixels=through_jpeg2000(unsigned(), 50))
    with pytest.raises(InputError) as caught:
        compress(volume, tmp_path / "a.ozx", target=Psnr(45))
    assert "(its pixels were a JPEG 2000 once: " in str(caught.value)
    assert "code-blocks of its 9/7 wavelet are quantised)" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_was_never_lossy_says_so(tmp_path: Path) -> None:
    found = compress(SCAN, tmp_path / "a.ozx", target=Ratio(8)).history
    assert found is not None
    assert (found["lossy_before"], found["why"], found["generations"]) == (False, "", [])
    assert not found["jpeg_trace"]["certain"]
    assert not found["jpeg2000_trace"]["certain"]


# ---- real images


def test_real_dicom_that_was_lossy_is_refused_and_appended(real_data: Path, tmp_path: Path) -> None:
    import pydicom

    source = real_data / "dicom_zoo" / "pydicom-data" / "US1_UNCI.dcm"
    said = here("compress", source, "-o", tmp_path / "a.dcm", "--setting", "jpeg2000@45")
    assert said.error() == f"{source}: was compressed with loss before (LossyImageCompression is 01){MEASURED}{AGAIN}"
    assert (
        here("compress", source, "-o", tmp_path / "a.dcm", "--setting", "jpeg2000@45", "--allow-lossy-again").status
        == 0
    )
    found = pydicom.dcmread(tmp_path / "a.dcm")
    assert list(found.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_15444_1"]
    assert float(found.LossyImageCompressionRatio[0]) == 16
    assert here("compress", source, "-o", tmp_path / "b.dcm", "--lossless").status == 0
    assert np.array_equal(pixels(tmp_path / "b.dcm"), pixels(source))


@pytest.mark.parametrize(
    "name",
    ["ct_head_cranium_invesalius/cranium_ct.nii.gz", "ct_abdomen_totalseg_example/example_ct_dicom", "mri_abdomen_philips_dicom_slideio",
     "microct_mousebrain_xbrain/test_cube1_u8_0.65um.tif", "dicom_zoo/pydicom-data/RG3_J2KR.dcm", "dicom_zoo/wg04_ct_mr/J2KR/CT1_J2KR"],
)  # fmt: skip
def test_real_images_that_were_never_lossy_leave_no_trace(name: str, real_data: Path) -> None:
    found = np.asarray(slimscan.read(real_data / name).pixels)
    planes = list(found[len(found) // 2 :][:2])
    assert jpeg_trace(planes).votes <= 1
    assert wavelet_trace(planes).votes <= 1


@pytest.mark.parametrize(
    ("name", "codec"),
    [("wg04_ct_mr/J2KI/CT1_J2KI", "JPEG 2000"), ("wg04_ct_mr/J2KI/MR3_J2KI", "JPEG 2000"), ("pydicom-data/MR2_UNCI.dcm", "JPEG 2000"),
     ("pydicom-data/RG3_J2KI.dcm", "JPEG 2000"), ("wg04_ct_mr/JPLY/MR3_JPLY", "JPEG")],
)  # fmt: skip
def test_the_work_of_other_encoders_is_seen_without_their_headers(name: str, codec: str, real_data: Path) -> None:
    found = slimscan.read(real_data / "dicom_zoo" / name)
    assert seen(replace(found, about={})).why.startswith(f"its pixels were a {codec} once: ")
