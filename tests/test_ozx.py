"""The container: opens with plain zarr, reads only what it must, notices every damaged byte."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from phantoms import head, masked, slide

import slimscan
from slimscan.codecs import CODECS
from slimscan.errors import CodecError, NotReadable, SlimscanError
from slimscan.files.ozx import COMMENT, is_box, open_box
from slimscan.nouns import Lossless, MaxError, Psnr, Setting, Volume
from slimscan.press.compress import compress


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    compress(head((12, 40, 48)), tmp_path / "scan.ozx", target=Setting("jpeg2000", 60.0))
    return tmp_path / "scan.ozx"


@pytest.mark.parametrize("suffix", [".ozx", ".zarr"])
@pytest.mark.parametrize("volume", [head((7, 30, 22)), masked((6, 40, 44)), slide()], ids=["ct", "masked", "rgb"])
@pytest.mark.parametrize("codec", ["jpeg2000", "htj2k", "jpegls", "jpegxl", "zstd"])
def test_plain_zarr_reads_what_slimscan_wrote(codec: str, volume: Volume, suffix: str, tmp_path: Path) -> None:
    import zarr

    out = tmp_path / f"a{suffix}"
    lossy = CODECS[codec].lossy
    target = MaxError(6) if CODECS[codec].bounded else Psnr(40) if lossy else Lossless()
    compress(volume, out, target=target, codec=codec)
    store = zarr.storage.ZipStore(out, mode="r") if suffix == ".ozx" else out
    group = zarr.open(store, mode="r")
    pixels = np.asarray(group["0"][...])
    if len(volume.shape) == 4:
        pixels = np.moveaxis(pixels, 0, -1)
    np.testing.assert_array_equal(pixels, slimscan.read(out).pixels)
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    axes = [axis["name"] for axis in ome["multiscales"][0]["axes"]]
    assert axes == (["c", "z", "y", "x"] if len(volume.shape) == 4 else ["z", "y", "x"])


def test_others_see_the_zip_as_ome_zarr(scan: Path) -> None:
    ngff = pytest.importorskip("ngff_zarr.rfc9_zip")
    assert ngff.is_ozx_path(scan)
    assert ngff.read_ozx_version(scan) == "0.5"
    assert ngff.read_ozx_json_first(scan)


def test_the_zip_is_as_rfc_9_asks(scan: Path) -> None:
    with zipfile.ZipFile(scan) as archive:
        names = archive.namelist()
        assert names[:2] == ["zarr.json", "0/zarr.json"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.comment == COMMENT
        assert archive.testzip() is None
        assert json.loads(archive.read("zarr.json"))["attributes"]["slimscan"]["format"] == 1


def test_one_slice_costs_one_chunk(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimscan.files import ozx

    opened = slimscan.open(scan)
    read: list[int] = []
    honest = ozx.read_chunk

    def counted(path: Path, offset: int, length: int, index: int) -> bytes:
        read.append(index)
        return honest(path, offset, length, index)

    monkeypatch.setattr(ozx, "read_chunk", counted)
    assert opened[5, 10:20, 3].shape == (10,)
    assert opened[8:10, 2:4].shape == (2, 2, 48)
    assert read == [5, 8, 9]


def test_indexing_is_that_of_an_array(scan: Path) -> None:
    opened, whole = slimscan.open(scan), np.asarray(slimscan.read(scan).pixels)
    for index in (
        3, -1, slice(None), slice(2, 9, 3), slice(9, 2, -2), slice(5, 5), (slice(1, 4), slice(None, None, 2), -1),
        (..., 7), (2, ..., slice(3, 6)), (slice(0, 3), [1, 5], 2),
    ):  # fmt: skip
        np.testing.assert_array_equal(opened[index], whole[index])
    np.testing.assert_array_equal(np.asarray(opened), whole)
    assert (opened.shape, opened.dtype, len(opened)) == (whole.shape, whole.dtype, 12)
    with pytest.raises(IndexError, match=r"slice 12 is outside 0\.\.11"):
        opened[12]


def test_geometry_header_and_receipt_travel(tmp_path: Path) -> None:
    volume = head((4, 20, 24))
    volume = Volume(
        volume.pixels, volume.affine_mm, unit="HU", slope=2.0, intercept=-7.0, raw_header={"nifti": b"\0\1"}
    )
    receipt = compress(volume, tmp_path / "a.ozx", target=Lossless(), codec="jpeg2000")
    back = slimscan.read(tmp_path / "a.ozx")
    np.testing.assert_array_equal(back.affine_mm, volume.affine_mm)
    assert (back.slope, back.intercept, back.unit, back.raw_header) == (2.0, -7.0, "HU", {"nifti": b"\0\1"})
    from slimscan.press.about import about

    travelled = about(tmp_path / "a.ozx")["receipt"]
    assert travelled["sha256"] == receipt.sha256
    assert travelled["setting"] == "jpeg2000@lossless"
    assert "seconds" not in travelled
    assert [check["passed"] for check in travelled["checks"]] == [True, True]


@pytest.mark.parametrize("suffix", [".ozx", ".zarr"])
def test_no_damaged_byte_is_read_silently(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"a{suffix}"
    compress(head((5, 24, 24)), out, target=Setting("jpeg2000", 50.0))
    whole = np.asarray(slimscan.read(out).pixels)
    rng = random.Random(4)
    target = out if suffix == ".ozx" else next(place for place in (out / "0" / "c").rglob("*") if place.is_file())
    honest = target.read_bytes()
    said: list[str] = []
    for trial in range(150):
        broken = bytearray(honest)
        if trial % 3 == 0:
            broken = broken[: rng.randrange(len(broken))]
        else:
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        target.write_bytes(broken)
        try:
            volume = slimscan.read(out)
        except SlimscanError as error:
            said.append(str(error))
            continue
        if volume.shape == whole.shape:
            np.testing.assert_array_equal(volume.pixels, whole)
    assert len(said) > 100
    assert all(out.name in line and "\n" not in line for line in said)


def test_a_foreign_zarr_is_read_and_a_group_without_pixels_refused(tmp_path: Path) -> None:
    import zarr

    group = zarr.open_group(tmp_path / "f.zarr", mode="w", zarr_format=3)
    array = group.create_array("s0", shape=(1, 2, 3, 8, 9), dtype="uint16", chunks=(1, 1, 1, 8, 9))
    array[...] = np.arange(2 * 3 * 72).reshape(1, 2, 3, 8, 9)
    axes = [
        {"name": "t", "type": "time"},
        {"name": "c", "type": "channel"},
        *({"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"),
    ]
    said = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": axes,
                "datasets": [
                    {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 4, 0.5, 0.5]}]}
                ],
            }
        ],
    }
    group.attrs["ome"] = said
    with pytest.raises(SlimscanError, match="at most one time point and 1 or 3 channels"):
        slimscan.read(tmp_path / "f.zarr")
    one = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=3)
    grey = one.create_array("s0", shape=(1, 1, 3, 8, 9), dtype="uint16", chunks=(1, 1, 1, 8, 9))
    grey[...] = np.arange(3 * 72).reshape(1, 1, 3, 8, 9)
    one.attrs["ome"] = said
    volume = slimscan.read(tmp_path / "g.zarr")
    assert volume.spacing_mm == pytest.approx((0.004, 0.0005, 0.0005))
    np.testing.assert_array_equal(volume.pixels, np.arange(216).reshape(3, 8, 9))
    zarr.open_group(tmp_path / "empty.zarr", mode="w", zarr_format=3)
    with pytest.raises(NotReadable, match="a zarr group without OME multiscales"):
        slimscan.read(tmp_path / "empty.zarr")


def test_a_newer_format_asks_for_an_update(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.zarr"
    compress(head((3, 16, 16)), out, target=Lossless(), codec="jpeg2000")
    root = json.loads((out / "zarr.json").read_text())
    root["attributes"]["slimscan"]["format"] = 99
    (out / "zarr.json").write_text(json.dumps(root))
    with pytest.raises((NotReadable, CodecError), match="file format 99 is newer than 1; update slimscan"):
        slimscan.read(out)
    shutil.rmtree(out)
    assert is_box(scan)
    assert len(open_box(scan).chunks) == 12


def test_decoded_lossy_pixels_say_so_in_dicom_and_no_path_travels(tmp_path: Path) -> None:
    import pydicom

    scan = head((3, 32, 32))
    compress(scan, tmp_path / "scan.ozx", target=Setting("jpeg2000", 45.0))
    slimscan.decompress(tmp_path / "scan.ozx", f"{tmp_path}/back/")
    compress(tmp_path / "back", tmp_path / "again.ozx", target=Lossless(), codec="jpeg2000")
    kept = slimscan.open(tmp_path / "again.ozx").volume.about
    assert str(tmp_path) not in json.dumps(kept)
    one = pydicom.dcmread(sorted((tmp_path / "back").glob("*.dcm"))[0])
    assert one.LossyImageCompression == "01"
    assert one.LossyImageCompressionMethod == "ISO_15444_1"
    assert float(one.LossyImageCompressionRatio) > 2
    assert one.ImageType[0] == "DERIVED"
    exact = slimscan.open(tmp_path / "again.ozx").volume.about
    assert "lossy" not in exact
    assert exact["dicom"]["lossy_before"]
