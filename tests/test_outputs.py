"""Every kind of output from every kind of source: read back, it is what the codec decodes, at the same place in space."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from commands import here, pixels, scan, volume

import slimscan
from slimscan.errors import OutputError
from slimscan.files import tiffreceipt
from slimscan.nouns import Volume

OUTPUTS = ["a.ozx", "a.zarr", "a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.tif", "a.ome.tif", "series/", "one.dcm"]
SOURCES = {
    "int16": ((5, 36, 44), "int16"),
    "uint16": ((5, 36, 44), "uint16"),
    "uint8": ((5, 36, 44), "uint8"),
    "rgb": ((3, 36, 44, 3), "uint8"),
}
# What a format has no place for, and says so.
REFUSED = {("int16", "one.dcm"): "multi-frame secondary capture holds"}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    shape, dtype = SOURCES[request.param]
    return request.param, scan(tmp_path / "source.nii", shape, dtype)


def same_place(found: Volume, wanted: Volume) -> bool:
    """Whether the corners of the volume lie at the same millimetres, to a thousandth."""
    z, y, x = np.array(wanted.shape[:3]) - 1
    corners = np.array([[i, j, k, 1] for i in (0, x) for j in (0, y) for k in (0, z)], np.float64).T
    return bool(np.abs(found.affine_mm @ corners - wanted.affine_mm @ corners).max() < 1e-3)


@pytest.mark.parametrize("name", OUTPUTS)
def test_lossless_outputs_hold_the_source(name: str, source: tuple[str, Path], tmp_path: Path) -> None:
    kind, path = source
    said = here("compress", path, "-o", f"{tmp_path}/out/{name}", "--lossless", "--json")
    if (kind, name) in REFUSED:
        assert REFUSED[kind, name] in said.error()
        assert not (tmp_path / "out").exists()
        return
    assert said.status == 0, said.err
    assert said.json["identical"] is True
    back, wanted = slimscan.read(f"{tmp_path}/out/{name}"), slimscan.read(path)
    assert back.pixels.dtype == wanted.pixels.dtype
    assert np.array_equal(back.pixels, wanted.pixels)
    assert same_place(back, wanted)


@pytest.mark.parametrize("name", OUTPUTS)
def test_lossy_outputs_hold_what_the_codec_decodes(name: str, source: tuple[str, Path], tmp_path: Path) -> None:
    kind, path = source
    setting = ("--setting", "jpeg2000@42")
    assert here("compress", path, "-o", tmp_path / "plain.ozx", *setting).status == 0
    said = here("compress", path, "-o", f"{tmp_path}/out/{name}", *setting, "--json")
    if (kind, name) in REFUSED:
        assert REFUSED[kind, name] in said.error()
        return
    assert said.status == 0, said.err
    back = slimscan.read(f"{tmp_path}/out/{name}")
    decoded = pixels(tmp_path / "plain.ozx")
    assert not np.array_equal(decoded, pixels(path))
    assert back.pixels.dtype == decoded.dtype
    if not (
        kind == "int16" and name in ("a.tif", "a.ome.tif", "series/")
    ):  # signed codestreams, where .ozx shifts them
        assert np.array_equal(back.pixels, decoded)
    assert same_place(back, slimscan.read(path))
    receipt = said.json
    error = back.pixels.astype(np.float64) - pixels(path)
    assert receipt["mse"] == pytest.approx((error**2).mean())
    assert receipt["max_abs_error"] == np.abs(error).max()


@pytest.mark.parametrize("name", OUTPUTS[2:])
def test_decompress_writes_what_lies_in_the_container(name: str, source: tuple[str, Path], tmp_path: Path) -> None:
    kind, path = source
    assert here("compress", path, "-o", tmp_path / "a.ozx", "--setting", "jpegxl@1").status == 0
    said = here("decompress", tmp_path / "a.ozx", "-o", f"{tmp_path}/out/{name}", "--json")
    if (kind, name) in REFUSED:
        assert REFUSED[kind, name] in said.error()
        return
    assert said.status == 0, said.err
    assert {check["name"]: check["passed"] for check in said.json["checks"]} == {"written": True, "receipt": True}
    back = slimscan.read(f"{tmp_path}/out/{name}")
    assert np.array_equal(back.pixels, pixels(tmp_path / "a.ozx"))
    assert same_place(back, slimscan.read(path))


def test_jpeg_xl_in_tiff_and_other_syntaxes_in_dicom(tmp_path: Path) -> None:
    path = scan(tmp_path / "a.nii", (4, 36, 44), "uint16")
    for name, codec in (("x.tif", "jpegxl"), ("ls/", "jpegls"), ("ht/", "htj2k"), ("ls.dcm", "jpegls")):
        said = here("compress", path, "-o", f"{tmp_path}/{name}", "--lossless", "--codec", codec)
        assert said.status == 0, said.err
        assert np.array_equal(pixels(f"{tmp_path}/{name}"), pixels(path))
    for name, codec in (("b.tif", "jpegls"), ("b.dcm", "zstd")):
        assert (
            f"not {codec}; choose one"
            in here("compress", path, "-o", tmp_path / name, "--lossless", "--codec", codec).error()
        )


# ---- NIfTI comes back byte for byte ------------------------------------------------------------------------------------


def headers() -> dict[str, nibabel.Nifti1Image]:
    rng = np.random.default_rng(5)
    values = rng.integers(-1000, 3000, (20, 24, 7)).astype(np.int16)
    turned = np.array([[0.9, 0.1, 0, -4.25], [-0.1, 0.9, 0, 7], [0, 0.05, 2.5, 1 / 3], [0, 0, 0, 1]])
    plain = nibabel.Nifti1Image(values, turned)
    plain.header["descrip"] = b"scanner 7, room 3"
    plain.header["aux_file"] = b"none"
    plain.header["cal_max"] = 80
    scaled = nibabel.Nifti1Image(values, np.diag([2, 2, 3, 1]))
    scaled.header.set_slope_inter(0.5, -100)
    extended = nibabel.Nifti1Image(values, turned)
    extended.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"kept as it is \x01\xff"))
    frames = nibabel.Nifti1Image(rng.integers(0, 4000, (12, 13, 4, 5)).astype(np.uint16), turned)
    frames.header.set_xyzt_units("mm", "sec")
    frames.header["pixdim"][4] = 2.25
    swapped = nibabel.Nifti1Image(values, turned, nibabel.Nifti1Header(endianness=">"))
    swapped.header.set_data_dtype(np.int16)
    floats = nibabel.Nifti1Image(np.rint(values).astype(np.float32), turned)
    second = nibabel.Nifti2Image(values, turned)
    return {
        "plain": plain, "scaled": scaled, "extended": extended, "4d": frames, "big-endian": swapped,
        "whole floats": floats, "NIfTI-2": second,
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(headers()))
@pytest.mark.parametrize("container", ["a.ozx", "a.zarr"])
def test_a_nifti_file_comes_back_byte_for_byte(kind: str, container: str, tmp_path: Path) -> None:
    path = tmp_path / "x.nii.gz"
    image = headers()[kind]
    if kind == "scaled":  # nibabel would rescale: keep the stored values
        image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    nibabel.save(image, path)
    assert here("compress", path, "-o", tmp_path / container, "--lossless").status == 0
    assert here("decompress", tmp_path / container, "-o", tmp_path / "y.nii.gz").status == 0
    assert here("decompress", tmp_path / container, "-o", tmp_path / "y.nii").status == 0
    whole = gzip.decompress(path.read_bytes())
    assert gzip.decompress((tmp_path / "y.nii.gz").read_bytes()) == whole
    assert (tmp_path / "y.nii").read_bytes() == whole


def test_lossy_pixels_keep_the_header(tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    nibabel.save(headers()["extended"], path)
    assert here("compress", path, "-o", tmp_path / "a.ozx", "--max-error", "3", "--codec", "jpegls").status == 0
    assert here("decompress", tmp_path / "a.ozx", "-o", tmp_path / "y.nii").status == 0
    offset = int(nibabel.load(path).header["vox_offset"])
    assert (tmp_path / "y.nii").read_bytes()[:offset] == path.read_bytes()[:offset]


# ---- a real series -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.ozx", "a.nii.gz", "a.tif", "a.mha", "a.nrrd", "series/"])
def test_a_real_dicom_series_goes_everywhere(name: str, real_data: Path, tmp_path: Path) -> None:
    path = real_data / "ct_abdomen_totalseg_example" / "example_ct_dicom"
    codec = "jpeg2000" if name in ("a.tif", "series/") else "zstd"
    said = here("compress", path, "-o", f"{tmp_path}/{name}", "--lossless", "--codec", codec)
    assert said.status == 0, said.err
    back, wanted = slimscan.read(f"{tmp_path}/{name}"), slimscan.read(path)
    assert np.array_equal(back.pixels, wanted.pixels)
    assert same_place(back, wanted)
    if name != "a.nii.gz":
        assert (back.slope, back.intercept) == (wanted.slope, wanted.intercept)


def test_a_real_dicom_series_comes_back_as_dicom(real_data: Path, tmp_path: Path) -> None:
    import pydicom

    path = real_data / "ct_abdomen_totalseg_example" / "example_ct_dicom"
    assert here("compress", path, "-o", tmp_path / "a.ozx", "--lossless", "--codec", "zstd").status == 0
    assert here("decompress", tmp_path / "a.ozx", "-o", f"{tmp_path}/series/").status == 0
    assert np.array_equal(pixels(tmp_path / "series"), pixels(path))
    first = next((tmp_path / "series").iterdir())
    assert pydicom.dcmread(first).Modality == "CT"


def test_volumes_from_python_go_everywhere(tmp_path: Path) -> None:
    held = volume((4, 30, 32), "uint16")
    for name in OUTPUTS:
        slimscan.compress(held, f"{tmp_path}/{name}", target=slimscan.Lossless())
        assert np.array_equal(pixels(f"{tmp_path}/{name}"), held.pixels), name


@pytest.mark.parametrize("name", ["ct.ozx", "ct.tif", "ct/"])
def test_the_receipt_travels_in_the_file(name: str, tmp_path: Path) -> None:
    out = f"{tmp_path}/{name}"
    said = here("compress", scan(tmp_path / "source.nii.gz"), "-o", out, "--setting", "jpeg2000@50", "--json")
    assert said.status == 0, said.err
    kept = here("info", out, "--json").json["receipt"]
    for key in ("setting", "psnr_db", "max_abs_error", "payload_bytes", "versions", "sha256"):
        assert kept[key] == said.json[key], key
    assert kept["verified"] is True


def test_a_tiff_without_room_for_a_receipt_says_so(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    slimscan.write(volume(), path)
    assert tiffreceipt.receipt(path) == b""
    with pytest.raises(OutputError, match=r"plain\.tif: has no room for a receipt of 4 characters"):
        tiffreceipt.fill(path, b"abc")
