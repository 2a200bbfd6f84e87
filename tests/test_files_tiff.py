"""TIFF: every layout that people bring, folders of slices, and codestreams written as they are."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimscan import files
from slimscan.errors import GeometryError, InputError, NotReadable, OutputError
from slimscan.files.tiffstack import TIFF, in_order
from slimscan.files.tiffwrite import ENCODED, write_encoded
from slimscan.nouns import Volume

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 4000, (5, 40, 51)).astype(np.uint16)
RGB = RNG.integers(0, 255, (5, 40, 51, 3)).astype(np.uint8)


def whole(volume: Volume) -> np.ndarray:
    return volume.slices(0, volume.shape[0])


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)),
    dtype=st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]),
    samples=st.sampled_from([1, 2, 3, 4]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_volume_comes_back(
    tmp_path: Path, shape: tuple[int, int, int], dtype: str, samples: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    full = shape if samples == 1 else (*shape, samples)
    pixels = np.nan_to_num(np.frombuffer(rng.bytes(int(np.prod(full)) * np.dtype(dtype).itemsize), dtype)).reshape(full)
    affine = np.eye(4)
    affine[:3] = rng.normal(0, 1, (3, 4))
    path = tmp_path / "v.tif"
    bits = np.dtype(dtype).itemsize * 8 - (np.dtype(dtype).kind in "ui")
    files.write(Volume(pixels, affine, bits, slope=0.5, intercept=-1024, unit="HU"), path)
    back = files.read(path)
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(whole(back), pixels)
    np.testing.assert_array_equal(back.affine_mm, affine)
    assert (back.slope, back.intercept, back.unit, back.bits) == (0.5, -1024, "HU", bits)
    np.testing.assert_array_equal(tifffile.imread(path).reshape(full), pixels)


def test_equal_images_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        files.write(Volume(GREY, bits=12), tmp_path / name)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_ome
        assert tif.pages[0].compression == 8


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"tile": (16, 32)},
        {"tile": (32, 16), "compression": "lzma"},
        {"rowsperstrip": 7},
        {"bigtiff": True},
        {"bitspersample": 12},
        {"metadata": None},
        {"ome": True},
        {"imagej": True},
    ],
    ids=str,
)
def test_layouts_of_grey_stacks(tmp_path: Path, options: dict[str, object], byteorder: str) -> None:
    if byteorder == ">" and "bitspersample" in options:
        pytest.skip("tifffile packs swapped samples; see the next test")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack", byteorder=byteorder, **options)
    volume = files.read(path)
    assert volume.bits == options.get("bitspersample", 16)
    assert volume.pixels.dtype == np.dtype("uint16")
    assert volume.pixels.dtype.isnative
    np.testing.assert_array_equal(whole(volume), GREY)
    np.testing.assert_array_equal(volume.slices(2, 4), GREY[2:4])
    assert volume.slices(2, 2).shape == (0, 40, 51)


def test_packed_twelve_bits_of_the_other_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY[0, :2, :2], bitspersample=12, byteorder=">", metadata=None)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[0].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[at : at + 6] = bytes.fromhex("123456789abc")  # TIFF 6.0: packed samples are a stream of bits, high bits first
    path.write_bytes(bytes(raw))
    assert whole(files.read(path)).tolist() == [[[0x123, 0x456], [0x789, 0xABC]]]


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": (16, 16)}], ids=str)
def test_layouts_of_colour_stacks(tmp_path: Path, options: dict[str, object]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", **options)
    planar = np.moveaxis(RGB, -1, 1)
    tifffile.imwrite(tmp_path / "b.tif", planar, photometric="rgb", planarconfig="separate", **options)
    for name in ("a.tif", "b.tif"):
        np.testing.assert_array_equal(whole(files.read(tmp_path / name)), RGB)


def test_other_sample_types(tmp_path: Path) -> None:
    mask = GREY > 2000
    tifffile.imwrite(tmp_path / "bit.tif", mask, photometric="minisblack")
    volume = files.read(tmp_path / "bit.tif")
    assert (volume.pixels.dtype, volume.bits) == (np.uint8, 1)
    np.testing.assert_array_equal(whole(volume), mask)
    tifffile.imwrite(tmp_path / "single.tif", GREY[0])
    assert files.read(tmp_path / "single.tif").shape == (1, 40, 51)
    tifffile.imwrite(tmp_path / "complex.tif", GREY[0].astype(np.complex64), photometric="minisblack")
    with pytest.raises(InputError, match="want real numbers"):
        files.read(tmp_path / "complex.tif")
    palette = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "palette.tif", RGB[0, ..., 0], photometric="palette", colormap=palette)
    with pytest.raises(InputError, match=r"palette\.tif: has a colour palette, whose numbers are no intensities"):
        files.read(tmp_path / "palette.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_two_axes_of_pages_are_stacked_with_z_last(tmp_path: Path, compression: str | None) -> None:
    stack = RNG.integers(0, 255, (3, 2, 8, 9)).astype(np.uint8)
    kwargs = {"photometric": "minisblack", "compression": compression}
    tifffile.imwrite(tmp_path / "tz.tif", stack, ome=True, metadata={"axes": "TZYX"}, **kwargs)
    tifffile.imwrite(tmp_path / "zc.tif", stack, ome=True, metadata={"axes": "ZCYX"}, **kwargs)
    tifffile.imwrite(tmp_path / "ij.tif", stack, imagej=True, metadata={"axes": "ZCYX"}, **kwargs)
    volume = files.read(tmp_path / "tz.tif")
    assert volume.about["frames"] == 3
    np.testing.assert_array_equal(whole(volume), stack.reshape(6, 8, 9))
    for name in ("zc.tif", "ij.tif"):
        volume = files.read(tmp_path / name)
        assert volume.about["frames"] == 2
        np.testing.assert_array_equal(whole(volume), stack.transpose(1, 0, 2, 3).reshape(6, 8, 9))
    files.write(volume, tmp_path / "back.tif")
    np.testing.assert_array_equal(whole(files.read(tmp_path / "back.tif")), whole(volume))
    five = np.zeros((2, 3, 4, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "five.tif", five, ome=True, metadata={"axes": "TZCYX"}, **kwargs)
    with pytest.raises(InputError, match="has 5 dimensions TZCYX"):
        files.read(tmp_path / "five.tif")


@pytest.mark.parametrize(
    ("options", "spacing", "says"),
    [
        (
            {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 3, "PhysicalSizeY": 4, "PhysicalSizeZ": 5}},
            (0.005, 0.004, 0.003),
            "OME-XML",
        ),
        (
            {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 3, "PhysicalSizeY": 4, "PhysicalSizeXUnit": "nm",
                                       "PhysicalSizeYUnit": "mm"}},
            (3e-6, 4.0, 3e-6),
            "OME-XML; z taken equal to x",
        ),
        (
            {"imagej": True, "resolution": (1, 0.5), "metadata": {"spacing": 2.5, "unit": "um", "axes": "ZYX"}},
            (0.0025, 0.002, 0.001),
            "ImageJ",
        ),
        ({"resolution": (40, 20), "resolutionunit": "CENTIMETER"}, (0.25, 0.5, 0.25), "resolution tags; z taken equal to x"),
        ({"resolution": (2540, 2540), "resolutionunit": "INCH"}, (0.01, 0.01, 0.01), "resolution tags; z taken equal to x"),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, (1, 1, 1), "unknown; taken as 1 mm"),
        ({}, (1, 1, 1), "unknown; taken as 1 mm"),
    ],
)  # fmt: skip
def test_spacing(tmp_path: Path, options: dict[str, object], spacing: tuple[float, ...], says: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", **options)
    volume = files.read(tmp_path / "a.tif")
    np.testing.assert_allclose(volume.spacing_mm, spacing)
    assert volume.about["spacing"] == says


def test_threads_read_the_same_slices(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (64, 60, 70)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", compression="zlib")
    volume = files.read(tmp_path / "a.tif")
    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(lambda n: volume.slices(n % 64, n % 64 + 1)[0], range(512))):
            np.testing.assert_array_equal(found, stack[number % 64])


# --- codestreams as they are


@pytest.mark.parametrize("codec", ENCODED)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int16"])
@pytest.mark.parametrize("colour", [False, True])
def test_codestreams_come_back_as_pixels(tmp_path: Path, codec: str, dtype: str, colour: bool) -> None:
    bits = 8 if "8" in dtype else 12
    low = -(2 ** (bits - 1)) if dtype[0] == "i" else 0
    shape = (3, 33, 47, 3) if colour else (3, 33, 47)
    pixels = RNG.integers(low, low + 2**bits, shape).astype(dtype)
    volume = Volume(pixels, np.diag([0.5, 0.5, 2, 1.0]), bits)
    if dtype[0] == "i" and codec != "jpeg2000":
        if codec == "jpegxl":
            with pytest.raises(OutputError, match="jpegxl in TIFF cannot hold int"):
                write_encoded(tmp_path / "a.tif", volume, [b""] * 3, codec, bits)
        return
    encode = {
        "jpeg2000": lambda s: imagecodecs.jpeg2k_encode(
            s, level=0, reversible=True, bitspersample=bits, codecformat="J2K", mct=colour
        ),
        "htj2k": lambda s: imagecodecs.htj2k_encode(s, reversible=True),
        "jpegxl": lambda s: imagecodecs.jpegxl_encode(s, lossless=True, bitspersample=bits),
    }[codec]
    frames = [bytes(encode(np.ascontiguousarray(plane))) for plane in pixels]
    write_encoded(tmp_path / "a.tif", volume, iter(frames), codec, bits)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    back = files.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(whole(back), pixels)
    assert (back.bits, back.spacing_mm) == (bits, (2.0, 0.5, 0.5))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert int(tif.pages[0].compression) == ENCODED[codec][0]
        held = tif.filehandle.read_segments(tif.pages[1].dataoffsets, tif.pages[1].databytecounts)
        assert next(iter(held))[0] == frames[1]


def test_wrong_codestreams_are_refused(tmp_path: Path) -> None:
    volume = Volume(GREY, bits=12)
    good = bytes(imagecodecs.jpeg2k_encode(GREY[0], level=0, codecformat="J2K"))
    for frames, says in (
        ([good] * 4, "4 jpeg2000 codestreams came for 5 slices; want one a slice"),
        ([good] * 6, "more jpeg2000 codestreams came than 5 slices; want one a slice"),
        ([good, b"no"], "frame 2 of 5 is no jpeg2000 codestream"),
    ):
        with pytest.raises(OutputError) as caught:
            write_encoded(tmp_path / "a.tif", volume, frames, "jpeg2000", 12)
        assert says in str(caught.value)
    with pytest.raises(
        OutputError, match="TIFF has no place for zstd; allowed: jpeg2000 htj2k jpegxl, or decoded pixels"
    ):
        write_encoded(tmp_path / "a.tif", volume, [], "zstd", 12)


# --- folders


def slices(folder: Path, names: list[str], **options: object) -> None:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, np.full((6, 8), number, np.uint16), **options)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    slices(folder, [f"E14_slice{n}.tif" for n in range(8, 13)], resolution=(100, 100), resolutionunit="CENTIMETER")
    (folder / "notes.txt").write_text("3 um")
    (folder / ".hidden.tif").write_bytes(b"II*\0")
    volume = files.read(folder)
    assert volume.shape == (5, 6, 8)
    assert [int(plane[0, 0]) for plane in whole(volume)] == [0, 1, 2, 3, 4]
    assert volume.spacing_mm == (0.1, 0.1, 0.1)
    assert volume.about["first"] == "E14_slice8.tif"
    assert volume.about["other_files"] == ["notes.txt"]


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["a2.tif", "a10.tif", "a1.tif"] + [f"a{n}.tif" for n in range(3, 10)], [f"a{n}.tif" for n in range(1, 11)]),
        (["z0030.tif", "z0010.tif", "z0020.tif"], ["z0010.tif", "z0020.tif", "z0030.tif"]),
        (["t091503_2.tif", "t091502_1.tif", "t091701_3.tif"], ["t091502_1.tif", "t091503_2.tif", "t091701_3.tif"]),
        (["b.tif", "a.tif"], ["a.tif", "b.tif"]),
    ],
)
def test_order(names: list[str], ordered: list[str]) -> None:
    assert [file.name for file in in_order(Path("f"), [Path(name) for name in names])] == ordered


@pytest.mark.parametrize(
    ("names", "error", "says"),
    [
        (
            ["s1.tif", "s2.tif", "s4.tif", "s7.tif"],
            GeometryError,
            "3 slice(s) missing between s1.tif and s7.tif: 3, 5, 6;",
        ),
        (["s1.tif", "s3.tif"], GeometryError, "1 slice(s) missing between s1.tif and s3.tif: 2;"),
        (["s1.tif", "s01.tif"], GeometryError, "s01.tif and s1.tif are both slice 1; remove one"),
        (["t1z1.tif", "t1z2.tif", "t2z1.tif", "t2z2.tif"], InputError, "2 numbers change in the names"),
        ([f"s{n}.tif" for n in (1, 10**30)], GeometryError, "1000 or more slice(s) missing"),
    ],
)
def test_gaps_and_doubles_are_named(tmp_path: Path, names: list[str], error: type[Exception], says: str) -> None:
    slices(tmp_path / "f", names)
    with pytest.raises(error) as caught:
        files.read(tmp_path / "f")
    assert says in str(caught.value)


def test_a_slice_that_differs_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    slices(folder, ["s1.tif", "s2.tif", "s3.tif"])
    tifffile.imwrite(folder / "s2.tif", np.zeros((6, 9), np.uint16))
    with pytest.raises(
        GeometryError, match=r"s2\.tif: is \(6, 9\) uint16, s1\.tif is \(6, 8\) uint16; want slices of one"
    ):
        files.read(folder)
    tifffile.imwrite(folder / "s2.tif", np.zeros((6, 8), np.uint16), resolution=(5, 5), resolutionunit="CENTIMETER")
    with pytest.raises(GeometryError, match=r"s2\.tif: has pixels of \[2\. 2\.\] mm, s1\.tif of \[1\. 1\.\] mm"):
        files.read(folder)
    tifffile.imwrite(folder / "s2.tif", np.zeros((4, 6, 8), np.uint16), photometric="minisblack")
    with pytest.raises(GeometryError, match=r"s2\.tif: holds 4 pages; in a folder of 3 TIFF files want one a file"):
        files.read(folder)
    (folder / "s2.tif").write_bytes((folder / "s1.tif").read_bytes()[:60])
    with pytest.raises(NotReadable, match=r"s2\.tif: damaged TIFF"):
        files.read(folder)


def test_a_slice_damaged_later_is_named(tmp_path: Path) -> None:
    slices(tmp_path / "f", ["s1.tif", "s2.tif"], compression="zlib")
    volume = files.read(tmp_path / "f")
    raw = bytearray((tmp_path / "f/s2.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "f/s2.tif") as tif:
        at = tif.pages[0].dataoffsets[0]
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "f/s2.tif").write_bytes(bytes(raw))
    assert volume.slices(0, 1).max() == 0
    with pytest.raises(NotReadable, match=r"s2\.tif: damaged TIFF file"):
        volume.slices(1, 2)


# --- files that lie


def test_pages_that_differ_or_are_lost_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for shape in ((6, 8), (6, 8), (7, 8)):
            tif.write(np.zeros(shape, np.uint8), metadata=None)
    with pytest.raises(
        GeometryError, match=r"page 3 is \(7, 8\) uint8, page 1 is \(6, 8\) uint8; want pages of one size"
    ):
        files.read(path)
    tifffile.imwrite(path, GREY, photometric="minisblack", metadata=None, compression="lzw")
    whole_file = path.read_bytes()
    with tifffile.TiffFile(path) as tif:
        cut = tif.pages[3].offset + 4
    path.write_bytes(whole_file[:cut])
    with pytest.raises(NotReadable, match=r"a\.tif: damaged TIFF file: "):
        files.read(path)


def test_a_header_that_claims_too_much_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for compression in (None, "zlib"):
        tifffile.imwrite(path, GREY[0], metadata=None, compression=compression)
        with tifffile.TiffFile(path, mode="r+") as tif:
            for name in ("ImageWidth", "ImageLength"):
                tif.pages[0].tags[name].overwrite(46_000, dtype="I")
        with pytest.raises(NotReadable, match="its header claims 4232000000 bytes"):
            files.read(path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(900_000, dtype="I")
    with pytest.raises(InputError, match=r"one page is \(46000, 900000\), 82\.8 GB: a slide, not a slice"):
        files.read(path)


def test_an_ome_tiff_whose_other_files_are_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack", ome=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path, mode="r+") as tif:
        text = tif.pages[0].tags["ImageDescription"].value
        lost = text.replace('SizeZ="5"', 'SizeZ="6"')
        tif.pages[0].tags["ImageDescription"].overwrite(lost)
    with pytest.raises(NotReadable, match=r"a\.ome\.tif: damaged TIFF file: it describes 6 pages, 5 are there"):
        files.read(path)


def test_nothing_is_logged_or_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0\xff\xff")
    with pytest.raises(NotReadable):
        files.read(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("tifffile").handlers == []


def test_a_zarr_store_is_left_to_its_own_reader(tmp_path: Path) -> None:
    slices(tmp_path / "f", ["s1.tif"])
    assert TIFF.sniff(tmp_path / "f", b"")
    (tmp_path / "f/zarr.json").write_text("{}")
    assert not TIFF.sniff(tmp_path / "f", b"")


@needs_data
@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("microct_mousebrain_xbrain/test_cube1_u8_0.65um.tif", (200, 200, 200), "uint8"),
        ("microscopy_mousebrain_brainreg/brain_u16_270x193x271.tif", (270, 193, 271), "uint16"),
        ("em_drosophila_vnc_CCBYNCSA/raw", (10, 1024, 1024), "uint8"),
        ("wsi_he/cmu_small_region.svs", (1, 2967, 2220, 3), "uint8"),
    ],
)
def test_real_files(name: str, shape: tuple[int, ...], dtype: str) -> None:
    volume = files.read(Path(DATA, name))
    assert (volume.shape, volume.pixels.dtype) == (shape, dtype)
    middle = shape[0] // 2
    source = Path(DATA, name)
    reference = tifffile.imread(sorted(source.iterdir())[middle]) if source.is_dir() else tifffile.imread(source)
    expected = reference[middle] if reference.ndim == 3 and shape[0] > 1 else reference
    np.testing.assert_array_equal(volume.slices(middle, middle + 1)[0], expected)
