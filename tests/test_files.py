"""The registry of formats: asked by content, the same geometry everywhere, and damage that is always named."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from slimscan import files
from slimscan.errors import InputError, MissingExtra, NotReadable, OutputError
from slimscan.files import guard
from slimscan.files.lazy import Slices, native, slabs
from slimscan.nouns import Volume

DATA = os.environ.get("SLIMSCAN_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="SLIMSCAN_DATA does not name the folder of real images")

WRITABLE = (".nii", ".nii.gz", ".tif", ".mha", ".nrrd")
PIXELS = np.random.default_rng(5).integers(-900, 1000, (4, 9, 11)).astype(np.int16)
AFFINE = np.array([[0, -0.5, 0, 10], [0.75, 0, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
READABLE = (
    "formats that can be read: DICOM, NIfTI-1 and NIfTI-2, TIFF, OME-TIFF, and folders of TIFF slices, MetaImage, NRRD"
)


def test_the_registry_is_whole() -> None:
    assert list(files.FORMATS) == ["dicom", "nifti", "tiff", "metaimage", "nrrd", "isq"]
    for name, found in files.FORMATS.items():
        assert found.name == name
        assert found.title
        assert found.suffixes
        assert all(need.version() != "not installed" for need in found.needs)
    suffixes = [suffix for found in files.FORMATS.values() for suffix in found.suffixes]
    assert len(suffixes) == len(set(suffixes))


@pytest.mark.parametrize("suffix", WRITABLE)
def test_names_do_not_matter_for_reading(tmp_path: Path, suffix: str) -> None:
    files.write(Volume(PIXELS, AFFINE), tmp_path / f"a{suffix}")
    for name in ("no_suffix", "wrong.dcm", "wrong.tif", "wrong.nii.gz"):
        (tmp_path / name).write_bytes((tmp_path / f"a{suffix}").read_bytes())
        volume = files.read(str(tmp_path / name))
        np.testing.assert_array_equal(volume.slices(0, 4), PIXELS)
        assert volume.source == str(tmp_path / name)
        json.dumps(volume.about)


def test_the_same_image_lies_at_the_same_place_in_every_format(tmp_path: Path) -> None:
    for first in WRITABLE:
        files.write(Volume(PIXELS, AFFINE, slope=0.5, intercept=-7.0), tmp_path / f"a{first}")
        volume = files.read(tmp_path / f"a{first}")
        for second in WRITABLE:
            files.write(volume, tmp_path / f"b{second}")
            back = files.read(tmp_path / f"b{second}")
            np.testing.assert_allclose(back.affine_mm, AFFINE, atol=1e-6)
            np.testing.assert_array_equal(back.slices(0, 4), PIXELS)
            assert (back.slope, back.intercept) == (0.5, -7.0)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_writing_twice_gives_the_same_bytes_and_lazy_pixels_are_enough(tmp_path: Path, suffix: str) -> None:
    lazy = Slices(PIXELS.shape, PIXELS.dtype, lambda start, stop: PIXELS[start:stop])
    files.write(Volume(PIXELS, AFFINE), tmp_path / f"a{suffix}")
    files.write(Volume(lazy, AFFINE), tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_name_chooses_the_format_to_write(tmp_path: Path) -> None:
    assert files.suffix_format("a/b.NII.GZ").name == "nifti"
    assert files.suffix_format("out/").name == "dicom"
    for name in ("a.xyz", "plain", "a.gz"):
        with pytest.raises(InputError) as caught:
            files.write(Volume(PIXELS), tmp_path / name)
        assert str(caught.value) == (
            f"{tmp_path}/{name}: the end of the name says no format that can be written; allowed: / .dcm .nii.gz .nii .tif "
            ".tiff .mha .nrrd"
        )
    with pytest.raises(OutputError, match=r"none/a\.nii: cannot be written: No such file or directory"):
        files.write(Volume(PIXELS), tmp_path / "none/a.nii")


# --- what is no image


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.nii.gz", b"", "is empty (0 bytes); fetch it again"),
        (
            "a.nii",
            b"hello, this is text",
            "is named like NIfTI-1 and NIfTI-2, and its content is not that (first bytes 68 65",
        ),
        (
            "a",
            b"hello",
            "is not an image that is known here (first bytes 68 65 6c 6c 6f); fetch it again or convert it",
        ),
        ("a.png", b"\x89PNG\r\n", "looks like a PNG picture; convert it first"),
        ("a.h5", b"\x89HDF\r\n", "looks like an HDF5 file; convert it first"),
        ("a.npz", b"PK\x03\x04", "looks like a zip archive"),
        ("a.gz", gzip.compress(b"x", mtime=0), "looks like a gzip stream that holds no NIfTI header"),
    ],
    ids=["empty", "text in .nii", "text", "png", "hdf5", "zip", "gzip"],
)
def test_what_is_no_image_is_described(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotReadable) as caught:
        files.read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path}/{name}: {says}")
    assert not content or READABLE in str(caught.value)


def test_folders_without_an_image_are_described(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotReadable, match="is an empty folder; name one with an image in it"):
        files.read(tmp_path / "empty")
    for number in range(4):
        files.write(Volume(PIXELS), tmp_path / f"case{number}.nii")
    with pytest.raises(
        NotReadable, match=r"is a folder of 5 things \(case0\.nii, case1\.nii, case2\.nii, \.\.\.\) and none"
    ):
        files.read(tmp_path)


def test_a_folder_of_several_formats_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[0])
    (tmp_path / "b").write_bytes(bytes(128) + b"DICM" + bytes(200))
    with pytest.raises(NotReadable, match=r"holds images of several formats \(DICOM, TIFF, OME-TIFF, and folders"):
        files.read(tmp_path)


def test_links_pipes_and_locked_files_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, says in (
        ("loop", "is a link that leads back to itself"),
        ("gone.nii", "there is no such file or folder; check the name"),
        ("pipe", "is a device or a pipe; want a file or a folder"),
    ):
        with pytest.raises(NotReadable, match=f"{name}: {says}"):
            files.read(tmp_path / name)
    (tmp_path / "locked.nii").write_bytes(b"x")

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NotReadable, match=r"locked\.nii: may not be read by you; ask its owner for read permission"):
        files.read(tmp_path / "locked.nii")


def test_a_disk_that_fills_up_is_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for suffix in WRITABLE:
        (tmp_path / f"a{suffix}").symlink_to("/dev/full")
        with pytest.raises(OutputError, match="cannot be written: No space left on device"):
            files.write(Volume(np.zeros((4, 200, 200), np.uint8)), tmp_path / f"a{suffix}")


def test_memory_that_runs_out_is_one_sentence() -> None:
    with (
        pytest.raises(InputError, match="a: the NIfTI image does not fit into memory"),
        guard.reading(Path("a"), "NIfTI"),
    ):
        raise MemoryError
    with pytest.raises(KeyboardInterrupt), guard.reading(Path("a"), "NIfTI"):
        raise KeyboardInterrupt


# --- damage


def specimens(folder: Path) -> Iterator[tuple[str, bytes]]:
    """One small file of each kind, all of them PIXELS."""
    for suffix in WRITABLE:
        files.write(Volume(PIXELS, AFFINE), folder / f"a{suffix}")
        yield f"a{suffix}", (folder / f"a{suffix}").read_bytes()
    for name, options in {
        "raw.tif": {},
        "lzw.tif": {"compression": "lzw", "metadata": None},
        "tiled.tif": {"tile": (16, 16), "compression": "zlib", "metadata": None},
        "big.tif": {"bigtiff": True, "byteorder": ">", "ome": True},
    }.items():
        tifffile.imwrite(folder / name, PIXELS, photometric="minisblack", **options)
        yield name, (folder / name).read_bytes()


def outcome(path: Path) -> str:
    """What the refusal says, or "" when an image of the same shape came."""
    try:
        volume = files.read(path)
        assert volume.slices(0, volume.shape[0]).shape == PIXELS.shape, path
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_refused_or_keep_their_shape(
    tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    for name, whole in specimens(tmp_path):
        refused = 0
        for number in range(60):
            damaged = bytearray(whole)
            if number % 3 == 0:
                damaged = damaged[: chance.randrange(len(whole))]
            else:  # one bit anywhere, or one in the header
                damaged[chance.randrange(len(whole) if number % 3 == 1 else min(len(whole), 700))] ^= (
                    1 << chance.randrange(8)
                )
            path = tmp_path / f"damaged_{name}"
            path.write_bytes(bytes(damaged))
            said = outcome(path)
            if said:
                assert said.startswith(f"{path}: "), (name, number)
                assert "\n" not in said
                refused += 1
        assert refused >= 15, name
    assert capfd.readouterr() == ("", "")


@needs_data
def test_real_files_that_are_no_images() -> None:
    with pytest.raises(NotReadable, match=r"broken\.svs: is not an image that is known here"):
        files.read(Path(DATA, "wsi_he/broken.svs"))
    with pytest.raises(NotReadable, match="is a folder of 130 things"):
        files.read(Path(DATA, "mri_hippocampus_msd/images"))
    # an image without its label is an image all the same
    assert files.read(Path(DATA, "mri_hippocampus_msd/malformed/images/hippocampus_118.nii.gz")).shape == (33, 52, 37)


# --- slices on disk


def test_slices_read_what_is_asked_for() -> None:
    asked: list[tuple[int, int]] = []

    def load(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return PIXELS[start:stop]

    lazy = Slices(PIXELS.shape, PIXELS.dtype, load)
    np.testing.assert_array_equal(lazy[1:4:2], PIXELS[1:4:2])
    np.testing.assert_array_equal(lazy[-2:], PIXELS[-2:])
    assert lazy[3:1].shape == (0, 9, 11)
    assert len(lazy) == 4
    np.testing.assert_array_equal(np.asarray(lazy), PIXELS)
    assert asked == [(1, 4), (2, 4), (0, 4)]
    with pytest.raises(ValueError, match="the step must be positive"):
        lazy[::-1]


def test_other_byte_orders_become_this_machine_s() -> None:
    swapped = native(PIXELS.astype(PIXELS.dtype.newbyteorder()))
    assert swapped.dtype.isnative
    np.testing.assert_array_equal(swapped[1:3], PIXELS[1:3])
    assert native(PIXELS) is PIXELS


def test_slabs_cover_the_volume_once() -> None:
    for slab_bytes in (1, 198, 500, 10**9):
        parts = list(slabs(Volume(PIXELS), slab_bytes))
        np.testing.assert_array_equal(np.concatenate(parts), PIXELS)
        assert all(part.nbytes <= max(slab_bytes, 198) for part in parts)


def test_a_missing_package_names_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files.write(Volume(PIXELS), tmp_path / "a.nii")
    monkeypatch.setattr("slimscan.nouns.codec.importlib.util", SimpleNamespace(find_spec=lambda _: None))
    with pytest.raises(
        MissingExtra, match="reading NIfTI-1 and NIfTI-2 needs the package nibabel, which is not installed"
    ):
        files.read(tmp_path / "a.nii")
