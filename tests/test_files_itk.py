"""MetaImage and NRRD against SimpleITK: samples, geometry, dialects, and files that lie."""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 its own name in its own documentation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimscan import files
from slimscan.errors import InputError, NotReadable, OutputError
from slimscan.nouns import Volume

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")

SUFFIXES = (".mha", ".nrrd")
OBLIQUE = (0.0, 1.0, 0.0, 0.8, 0.0, -0.6, -0.6, 0.0, -0.8)


def image(shape: tuple[int, ...] = (4, 5, 6), dtype: str = "int16", vector: bool = False) -> sitk.Image:
    pixels = np.random.default_rng(3).integers(0, 100, shape).astype(dtype)
    made = sitk.GetImageFromArray(pixels, isVector=vector)
    if made.GetDimension() == 3:
        made.SetSpacing((0.5, 0.75, 2.0))
        made.SetOrigin((-10.0, 20.5, 3.25))
        made.SetDirection(OBLIQUE)
    return made


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    code=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]),
    samples=st.sampled_from([1, 2, 3, 4]),
    suffix=st.sampled_from(SUFFIXES),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_volume_comes_back_and_itk_reads_the_same(
    tmp_path: Path, shape: tuple[int, int, int], code: str, samples: int, suffix: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    full = shape if samples == 1 else (*shape, samples)
    pixels = np.nan_to_num(np.frombuffer(rng.bytes(int(np.prod(full)) * np.dtype(code).itemsize), code)).reshape(full)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0] * rng.uniform(0.1, 5, 3)
    affine[:3, 3] = rng.normal(0, 50, 3)
    path = tmp_path / f"v{suffix}"
    files.write(Volume(pixels, affine, slope=0.5, intercept=-1024.0), path)
    back = files.read(path)
    assert back.pixels.dtype == np.dtype(code)
    np.testing.assert_array_equal(np.asarray(back.pixels), pixels)
    np.testing.assert_allclose(back.affine_mm, affine, atol=1e-12)
    assert (back.slope, back.intercept) == (0.5, -1024.0)
    itk = sitk.ReadImage(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), pixels)
    np.testing.assert_allclose(itk.GetSpacing(), np.linalg.norm(affine[:3, :3], axis=0))
    np.testing.assert_allclose(itk.TransformContinuousIndexToPhysicalPoint((1.0, 2.0, 3.0)),
                               np.diag([-1, -1, 1]) @ (affine @ [1, 2, 3, 1])[:3], atol=1e-9)  # fmt: skip


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("shape", "vector"), [((4, 5, 6), False), ((4, 5, 6, 3), True), ((5, 6), False)])
def test_files_by_itk_agree_with_the_nifti_of_the_same_image(
    tmp_path: Path, suffix: str, packed: bool, shape: tuple[int, ...], vector: bool
) -> None:
    made = image(shape, "uint8" if vector else "int16", vector)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(made, path, useCompression=packed)
    volume = files.read(path)
    expected = sitk.GetArrayFromImage(made)
    np.testing.assert_array_equal(np.asarray(volume.pixels), expected if len(shape) > 2 else expected[None])
    if len(shape) > 2:
        reference = tmp_path / "a.nii.gz"
        sitk.WriteImage(sitk.VectorIndexSelectionCast(made) if vector else made, reference)
        np.testing.assert_allclose(volume.affine_mm, files.read(reference).affine_mm, atol=1e-5)
        np.testing.assert_allclose(volume.affine_mm, nib.load(reference).affine, atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_four_dimensions_are_stacked(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 6)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=False), tmp_path / f"a{suffix}", useCompression=True)
    volume = files.read(tmp_path / f"a{suffix}")
    assert volume.about["frames"] == 3
    np.testing.assert_array_equal(np.asarray(volume.pixels), pixels.reshape(12, 5, 6))
    files.write(volume, tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"b{suffix}")), pixels)
    sitk.WriteImage(sitk.Image([2] * 5, sitk.sitkInt16), tmp_path / f"five{suffix}")
    with pytest.raises(InputError, match=r"has 5 dimensions \[2, 2, 2, 2, 2\]; allowed: up to 4"):
        files.read(tmp_path / f"five{suffix}")


META = "ObjectType = Image\nNDims = 3\nBinaryData = True\n{}DimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "ElementSize = 1 2 3\n",
        "ElementSize = 1 2 3\nElementSpacing = 4 5 6\n",
        "ElementSpacing = -1 2 3\n",
        "Position = 1 2 3\nRotation = 0 1 0 1 0 0 0 0 1\n",
        "Origin = 1 2 3\nOrientation = 0 0 1 1 0 0 0 1 0\nElementSpacing = 1 2 3\n",
    ],
)
def test_dialects_of_metaimage_mean_what_itk_takes_them_for(tmp_path: Path, lines: str) -> None:
    (tmp_path / "a.mha").write_bytes(META.format(lines).encode() + bytes(range(8)))
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.mha"), tmp_path / "a.nii")
    np.testing.assert_allclose(files.read(tmp_path / "a.mha").affine_mm, nib.load(tmp_path / "a.nii").affine, atol=1e-6)


@pytest.mark.parametrize(
    "header",
    [
        "space: left-posterior-superior\nspace directions: (0,1,0) (2,0,0) (0,0,3)\nspace origin: (1,2,3)\n",
        "space: right-anterior-superior\nspace directions: (0,1,0) (2,0,0) (0,0,3)\nspace origin: (1,2,3)\n",
        "space: LAS\nspace directions: (0,1,0) (2,0,0) (0,0,3)\nspace origin: (1,2,3)\n",
        "spacings: 1 2 3\n",
        "",
    ],
)
def test_dialects_of_nrrd_mean_what_itk_takes_them_for(tmp_path: Path, header: str) -> None:
    text = f"NRRD0005\n# note\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n{header}a key:=its value\n\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode() + bytes(range(8)))
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.nrrd"), tmp_path / "a.nii")
    volume = files.read(tmp_path / "a.nrrd")
    np.testing.assert_allclose(volume.affine_mm, nib.load(tmp_path / "a.nii").affine, atol=1e-6)
    assert volume.about["metadata"] == {"a key": "its value"}
    files.write(volume, tmp_path / "b.nrrd")
    assert files.read(tmp_path / "b.nrrd").about["metadata"] == {"a key": "its value"}
    assert sitk.ReadImage(tmp_path / "b.nrrd").GetMetaData("a key") == "its value"


VALUES = np.arange(-4, 4, dtype=">i2").reshape(2, 2, 2)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("raw", VALUES.tobytes()),
        ("gzip", gzip.compress(VALUES.tobytes(), mtime=0)),
        ("bzip2", bz2.compress(VALUES.tobytes())),
        ("hex", VALUES.tobytes().hex().encode() + b"\n"),
        ("ascii", b"-4 -3\n-2 -1 0 1 2 3\n"),
    ],
)
@pytest.mark.parametrize("detached", [False, True])
def test_encodings_of_nrrd(tmp_path: Path, encoding: str, data: bytes, detached: bool) -> None:
    head = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nendian: big\nencoding: {encoding}\n"
    if detached:
        skipped = b"one line\nanother\n"
        (tmp_path / "a.nhdr").write_text(f"{head}line skip: 2\ndata file: a.bin\n")
        (tmp_path / "a.bin").write_bytes(skipped + data)
    else:
        (tmp_path / "a.nhdr").write_bytes(f"{head}\n".encode() + data)
    volume = files.read(tmp_path / "a.nhdr")
    assert volume.pixels.dtype.isnative
    np.testing.assert_array_equal(np.asarray(volume.pixels), VALUES)
    if detached:
        (tmp_path / "a.bin").unlink()
        with pytest.raises(
            NotReadable, match=r"a\.nhdr: its samples should be in .*a\.bin, which is not there; put it"
        ):
            files.read(tmp_path / "a.nhdr")


def test_encodings_of_metaimage(tmp_path: Path) -> None:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\n{}ElementDataFile = {}\n"
    (tmp_path / "d.raw").write_bytes(b"xyz" + VALUES.tobytes())
    (tmp_path / "s0").write_bytes(VALUES[0].tobytes())
    (tmp_path / "s1").write_bytes(VALUES[1].tobytes())
    for lines, data, tail in (
        ("BinaryData = True\nBinaryDataByteOrderMSB = True\n", "LOCAL", VALUES.tobytes()),
        (
            "BinaryData = True\nElementByteOrderMSB = True\nCompressedData = True\n",
            "LOCAL",
            zlib.compress(VALUES.tobytes()),
        ),
        ("BinaryData = True\nElementByteOrderMSB = True\nHeaderSize = 3\n", "d.raw", b""),
        ("BinaryData = True\nElementByteOrderMSB = True\nHeaderSize = -1\n", "d.raw", b""),
        ("BinaryData = False\n", "LOCAL", b"-4 -3 -2 -1 0 1 2 3"),
        ("BinaryData = True\nElementByteOrderMSB = True\n", "LIST", b"s0\ns1\n"),
    ):
        (tmp_path / "a.mhd").write_bytes(head.format(lines, data).encode() + tail)
        np.testing.assert_array_equal(np.asarray(files.read(tmp_path / "a.mhd").pixels), VALUES, err_msg=lines)


def test_raw_samples_are_mapped(tmp_path: Path) -> None:
    made = image((4, 5, 6))
    for name in ("a.mha", "a.nrrd"):
        sitk.WriteImage(made, tmp_path / name, useCompression=False)
        pixels = np.asarray(files.read(tmp_path / name).pixels)
        while isinstance(pixels, np.ndarray) and not isinstance(pixels, np.memmap):
            pixels = pixels.base
        assert isinstance(pixels, np.memmap), name


NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: {}\nendian: little\nencoding: {}\n\n"


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        (
            NRRD.format("50000 50000 20", "raw") + "abc",
            NotReadable,
            "its header claims 100000000000 bytes, 3 are there",
        ),
        (
            NRRD.format("50000 50000 20", "gzip") + "abc",
            NotReadable,
            "its header claims 100000000000 bytes, 3 are there",
        ),
        (NRRD.format("0 4 4", "raw"), NotReadable, "holds no voxels: its sides are [0, 4, 4]"),
        (NRRD.format("2 2", "raw") + "abc", NotReadable, "dimension 3 and sizes 2 2 disagree"),
        (NRRD.format("2 2 2", "raw") + "a" * 17, NotReadable, "it holds 17 bytes of samples, its header describes 16"),
        (
            NRRD.format("2 2 2", "ascii") + "1 2 3 4 5 6 7 99999",
            NotReadable,
            "8 numbers, or numbers that do not fit; want 8",
        ),
        (NRRD.format("2 2 2", "ascii") + "1 2 3 4 5 6 7       ", NotReadable, "7 numbers, or numbers that do not fit"),
        (NRRD.format("2 2 2", "weird") + "abc", InputError, "encoding weird is not known; allowed: raw gz gzip"),
        (NRRD.format("2 2 2", "raw").replace("short", "block"), InputError, "samples of type block; allowed: integers"),
        ("NRRD0004\ntype: short\n", NotReadable, "its header does not end, and names no data file"),
        (META.format("ElementSpacing = 0 1 1\n") + "a" * 8, NotReadable, "a spacing is zero: [0. 1. 1.]"),
        (META.format("Offset = nan 1 1\n") + "a" * 8, NotReadable, "its geometry or rescaling is not finite"),
        (META.format("Offset = 1 1\n") + "a" * 8, NotReadable, "damaged MetaImage file: cannot reshape array"),
        (META.format("") + "a" * 7, NotReadable, "its header claims 8 bytes, 7 are there"),
        (META.format("CompressedData = True\n") + "a" * 9, NotReadable, "the packed bytes break off or are wrong"),
        (
            META.format("").replace("UCHAR", "STRING"),
            InputError,
            "samples of type MET_STRING; allowed: CHAR UCHAR SHORT",
        ),
        (META.format("").replace("LOCAL", "gone.raw"), NotReadable, "which is not there; put it beside the header"),
        (META.format("").replace("ElementDataFile", "Data"), NotReadable, "its header has no ElementDataFile"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) and "\n" not in value else "",
)
def test_files_that_lie_are_named(
    tmp_path: Path, content: str, error: type[Exception], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lie"
    path.write_bytes(content.encode())
    with pytest.raises(error) as caught:
        files.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_the_formats_cannot_hold_is_said(tmp_path: Path) -> None:
    for suffix, title in ((".mha", "MetaImage"), (".nrrd", "NRRD")):
        with pytest.raises(OutputError, match=f"{title} cannot hold float16; allowed: signed char, unsigned char"):
            files.write(Volume(np.zeros((2, 2, 2), np.float16)), tmp_path / f"a{suffix}")
        flat = np.diag([1.0, 1.0, 0.0, 1.0])
        with pytest.raises(OutputError, match=f"{title} wants voxels with three finite spacings"):
            files.write(Volume(np.zeros((2, 2, 2), np.uint8), flat), tmp_path / f"a{suffix}")


@needs_data
def test_a_real_file(tmp_path: Path) -> None:
    source = Path(DATA, "mri_brain_tumour_pyradiomics/brain1_image.nrrd")
    volume = files.read(source)
    itk = sitk.ReadImage(source)
    np.testing.assert_array_equal(np.asarray(volume.pixels), sitk.GetArrayFromImage(itk))
    for suffix in SUFFIXES:
        files.write(volume, tmp_path / f"b{suffix}")
        back = sitk.ReadImage(tmp_path / f"b{suffix}")
        np.testing.assert_allclose(back.GetOrigin(), itk.GetOrigin(), atol=1e-9)
        np.testing.assert_allclose(back.GetSpacing(), itk.GetSpacing(), atol=1e-9)
        np.testing.assert_allclose(back.GetDirection(), itk.GetDirection(), atol=1e-9)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(itk))
