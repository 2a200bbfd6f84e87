"""Slides in TIFF are read as OpenSlide reads them, tiles come as stored, and damage is one sentence."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from slides_made import CROP, cut, empty_tiles, encoded_svs, ome, picture, plain, retag, svs

from slimscan.errors import CodecError, InputError, NotReadable
from slimscan.files.slides import decode, open_slide, splice
from slimscan.files.slides.sizes import stored_bytes
from slimscan.files.slides.tiff import open_tiff

openslide: Any = pytest.importorskip("openslide", reason="the extra slides is not installed")


def whole(slide: Any, level: int) -> np.ndarray[Any, Any]:
    return np.asarray(slide.read(level, 0, 0, *slide.levels[level].shape))


def theirs(path: Path, level: int) -> np.ndarray[Any, Any]:
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))


def same_as_openslide(path: Path) -> None:
    with open_slide(path) as slide, openslide.OpenSlide(path) as other:
        for number, level in enumerate(slide.levels[: other.level_count]):
            assert other.level_dimensions[number] == level.shape[::-1]
            assert level.downsample == pytest.approx(other.level_downsamples[number])
            laid = theirs(path, number)
            assert (laid[..., 3] == 255).all()
            assert np.array_equal(whole(slide, number), laid[..., :3])
        for name in other.associated_images:
            assert np.array_equal(slide.image(name), np.asarray(other.associated_images[name].convert("RGB")))
        assert dict(slide.properties) == dict(other.properties)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "jpeg-ycbcr.svs": lambda path: svs(path, "jpeg", "rgb", {"level": 80}),
    "jpeg-rgb.svs": lambda path: svs(path, "jpeg", "rgb", {"level": 80, "outcolorspace": "rgb"}),
    "jpeg2000.svs": lambda path: svs(path, 33005, "rgb", {"level": 40, "codecformat": "j2k"}),
    "lzw.svs": lambda path: svs(path, "lzw"),
    "zstd.svs": lambda path: svs(path, "zstd"),
    "plain.tiff": plain,
    "big.tiff": lambda path: plain(path, compression="none"),
    "ome.ome.tiff": ome,
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_of_tile_is_read_as_openslide_reads_it(name: str, tmp_path: Path) -> None:
    same_as_openslide(MAKERS[name](tmp_path / name))


def test_the_crop_of_a_real_slide() -> None:
    same_as_openslide(CROP)
    with open_slide(CROP) as slide:
        (level,) = slide.levels
        assert (level.shape, level.tile, level.grid, level.tiles) == ((960, 1200), (240, 240), (4, 5), 20)
        assert (level.compression, level.colour, level.page, level.tag, level.lossy, level.quality) == (
            *("jpeg", "rgb", 0, 7, True, 30),
        )
        assert (slide.format, slide.mpp, slide.magnification, slide.icc) == ("svs", (0.499, 0.499), 20.0, None)
        assert slide.associated == ("label", "macro", "thumbnail")


@pytest.mark.parametrize("name", ["cmu_small_region.svs", "small_HE_levels.tiff"])
def test_real_slides_are_read_as_openslide_reads_them(name: str, real_data: Path) -> None:
    same_as_openslide(real_data / "wsi_he" / name)


def test_own_properties_are_named_and_written_as_openslide_does(tmp_path: Path, monkeypatch: Any) -> None:
    paths = [CROP, svs(tmp_path / "a.svs", "jpeg"), plain(tmp_path / "b.tiff")]
    monkeypatch.setattr("slimscan.files.slides.openslide_door.properties", lambda path: None)
    for path in paths:
        with openslide.OpenSlide(path) as slide:
            want = {name: value for name, value in slide.properties.items() if name != "openslide.quickhash-1"}
        with open_tiff(path) as slide:
            assert dict(slide.properties) == want


def test_stored_tiles_are_the_bytes_of_the_file_and_streams_stand_alone() -> None:
    with tifffile.TiffFile(CROP) as tif, open_slide(CROP) as slide:
        page, sizes = tif.pages[0], stored_bytes(slide, 0)
        assert sizes is not None
        for index in (0, 7, 19):
            row, col = divmod(index, 5)
            tif.filehandle.seek(page.dataoffsets[index])
            stored = tif.filehandle.read(page.databytecounts[index])
            stream = slide.stream(0, row, col)
            assert slide.tile(0, row, col) == stored
            assert sizes[row, col] == len(stored)
            assert splice.stripped(stream, len(stored)) == stored
            assert splice.said_colour(stream) == "adobe-rgb"
            alone = np.asarray(Image.open(io.BytesIO(stream)))
            assert np.array_equal(alone, slide.read(0, row * 240, col * 240, 240, 240))


def test_transcoded_jpeg_tiles_are_decoded_as_the_jpeg(tmp_path: Path) -> None:
    streams = [bytes(imagecodecs.jpeg8_encode(tile, level=70, outcolorspace="RGB")) for tile in cut()]
    path = encoded_svs(tmp_path / "x.svs", 50002, (bytes(imagecodecs.jpegxl_encode_jpeg(one)) for one in streams))
    with open_slide(path) as slide:
        assert slide.levels[0].compression == "jpegxl"
        for index, stream in enumerate(streams):
            row, col = divmod(index, 5)
            want = np.full((256, 256, 3), 255, np.uint8)
            want[: 960 - row * 256, : 1200 - col * 256] = imagecodecs.jpeg8_decode(stream)[
                : 960 - row * 256, : 1200 - col * 256
            ]
            assert np.array_equal(slide.read(0, row * 256, col * 256, 256, 256), want)
            assert decode.restored(slide.stream(0, row, col)) == stream


def test_jpeg_xl_and_aperios_ycbcr_jpeg_2000(tmp_path: Path) -> None:
    exact = encoded_svs(
        tmp_path / "l.svs", 50002, (bytes(imagecodecs.jpegxl_encode(tile, lossless=True, effort=1)) for tile in cut())
    )
    with open_slide(exact) as slide:
        assert np.array_equal(whole(slide, 0), picture())

    def ycbcr(tile: Any) -> Any:
        r, g, b = (tile[..., k].astype(float) for k in range(3))
        y = 0.299 * r + 0.587 * g + 0.114 * b
        return np.clip(np.round(np.stack((y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128), -1)), 0, 255).astype(
            np.uint8
        )

    tiles = (bytes(imagecodecs.jpeg2k_encode(ycbcr(tile), level=0, mct=False, codecformat="j2k")) for tile in cut())
    path = encoded_svs(tmp_path / "y.svs", 33003, tiles, "ycbcr")
    with open_slide(path) as slide:
        assert slide.levels[0].colour == "ycbcr"
        assert np.array_equal(whole(slide, 0), theirs(path, 0)[..., :3])


def test_outside_and_tiles_that_are_not_stored_are_white(tmp_path: Path) -> None:
    path = plain(tmp_path / "empty.tiff", 2, compression="jpeg")
    empty_tiles(path, 0, [0, 6])
    with open_slide(path) as slide:
        assert slide.tile(0, 1, 1) == slide.stream(0, 0, 0) == b""
        laid = theirs(path, 0)
        absent = laid[..., 3] == 0
        assert absent.sum() == 2 * 256 * 256
        assert np.array_equal(np.where(absent[..., None], 255, laid[..., :3]), whole(slide, 0))
        around = slide.read(0, -3, 1190, 8, 20)
        assert (around[:3] == 255).all()
        assert (around[:, 10:] == 255).all()
        assert np.array_equal(around[3:, :10], whole(slide, 0)[:5, 1190:])
        assert slide.read(0, 9999, 9999, 2, 3).min() == 255
        assert slide.read(0, 5, 5, 0, 0).shape == (0, 0, 3)


def test_a_tile_that_aperio_left_out_of_a_coarse_level_comes_from_the_finer_one(tmp_path: Path) -> None:
    path = svs(tmp_path / "a.svs", "lzw")
    with open_slide(path) as slide:
        fine = whole(slide, 0)[:256, :256].astype(float)
    empty_tiles(path, 2, [0])
    empty_tiles(path, 0, [1])
    with open_slide(path) as slide:
        got = whole(slide, 1)
        assert np.array_equal(got[:64, :64], fine.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3)).round())
        assert (got[:64, 64:128] == 255).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(-300, 1300), st.integers(-300, 1300), st.integers(0, 500), st.integers(0, 500))
def test_any_region_is_the_same_cut_of_the_whole(y: int, x: int, h: int, w: int) -> None:
    with open_slide(CROP) as slide:
        around = np.full((960 + 1800, 1200 + 1800, 3), 255, np.uint8)
        around[300:1260, 300:1500] = picture()
        assert np.array_equal(slide.read(0, y, x, h, w), around[y + 300 : y + 300 + h, x + 300 : x + 300 + w])


@given(st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_the_quality_of_a_jpeg_is_found(quality: int) -> None:
    stream = bytes(imagecodecs.jpeg8_encode(np.zeros((8, 8, 3), np.uint8), level=quality))
    assert splice.quality(stream) == quality


def test_what_is_said_of_colour_decides_about_the_adobe_marker() -> None:
    tile = np.zeros((16, 16, 3), np.uint8) + np.array([200, 30, 90], np.uint8)
    named = bytes(imagecodecs.jpeg8_encode(tile, level=95, outcolorspace="RGB"))
    jfif = bytes(imagecodecs.jpeg8_encode(tile, level=95))
    assert splice.said_colour(jfif) == "jfif"
    assert splice.inserted(jfif, None, "rgb") == b""
    assert splice.inserted(named, None, "rgb") == b""
    bare = b"\xff\xd8" + jfif[20:]  # JFIF's segment is 18 bytes
    assert splice.said_colour(bare) == "ycbcr"
    assert splice.inserted(bare, None, "ycbcr") == b""
    assert splice.inserted(bare, None, "rgb") == splice.ADOBE_RGB
    assert splice.spliced(b"", None, "rgb") == splice.stripped(b"", 0) == b""


def spoiled(change: Callable[[Path], object], **more: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = svs(folder / "s.svs", "jpeg", **more)
        change(path)
        return path

    return make


def tile_list(code: int, change: Callable[[list[int]], list[int]]) -> Callable[[Path], object]:
    def act(path: Path) -> None:
        with tifffile.TiffFile(path) as tif:
            values = list(tif.pages[0].tags[code].value)
        retag(path, 0, code, change(values))

    return act


def in_tile(content: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def act(path: Path) -> None:
        with tifffile.TiffFile(path) as tif:
            start, count = tif.pages[0].dataoffsets[3], tif.pages[0].databytecounts[3]
        raw = bytearray(path.read_bytes())
        raw[start : start + count] = content(bytes(raw[start : start + count])).ljust(count, b"\0")
        path.write_bytes(raw)

    return act


def lose_chain(path: Path) -> None:
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[1].offset
    raw = bytearray(path.read_bytes())
    entries = int.from_bytes(raw[at : at + 2], "little")
    raw[at + 2 + 12 * entries : at + 6 + 12 * entries] = (10**7).to_bytes(4, "little")
    path.write_bytes(raw)


def picture_file(**more: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "s.tif"
        tifffile.imwrite(path, picture(), **({"photometric": "rgb"} | more))
        return path

    return make


def wide_file(folder: Path) -> Path:
    tifffile.imwrite(folder / "w.tif", picture().astype(np.uint16), photometric="rgb", tile=(256, 256))
    return folder / "w.tif"


def bytes_file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


DAMAGED = {
    "cut in the tiles": (spoiled(lambda p: os.truncate(p, 4000)), r"past the end of the file \(4000 bytes\)"),
    "cut in a picture": (
        lambda f: bytes_file("a.svs", CROP.read_bytes()[:-30])(f),
        "directory 3 has a strip that reaches past",
    ),
    "a tile cut short": (
        spoiled(tile_list(325, lambda n: [*n[:3], n[3] // 2, *n[4:]])),
        r"tile \(0, 3\): .* end marker",
    ),
    "a tile of zeros": (spoiled(in_tile(lambda raw: b"")), r"level 0, tile \(0, 3\): .*no JPEG image"),
    "another tile's size": (
        spoiled(in_tile(lambda raw: bytes(imagecodecs.jpeg8_encode(np.zeros((64, 64, 3), np.uint8))))),
        "holds 64 x 64 pixels, the slide says 256 x 256",
    ),
    "too few tiles": (spoiled(tile_list(325, lambda n: n[:10])), "directory 0 lists 10 tiles, its size asks for 20"),
    "a lying width": (spoiled(lambda p: retag(p, 0, 256, 99999)), "lists 20 tiles, its size asks for 1564"),
    "a tile outside": (spoiled(tile_list(324, lambda n: [10**8, *n[1:]])), "directory 0 has a tile that reaches past"),
    "a missing level": (spoiled(lose_chain), "invalid page offset 10000000"),
    "an unknown compression": (
        spoiled(lambda p: retag(p, 2, 259, 34567)),
        "directory 2 has TIFF compression 34567, which is not known here; allowed: 1 5 7 ",
    ),
    "strips": (picture_file(), "strips without tiles, so no slide"),
    "16 bits": (wide_file, "3 samples of 16 bits"),
    "no slide": (bytes_file("a.svs", b"hello, this is text"), "not a slide that is known here .first bytes 68 65 6c"),
    "nothing": (bytes_file("a.svs", b""), "is empty"),
    "not there": (lambda folder: folder / "no.svs", "there is no such file"),
    "a folder": (lambda folder: folder, "holds no DICOM slide"),
}


def read_all(path: Path) -> None:
    with open_slide(path) as slide:
        for level in range(len(slide.levels)):
            whole(slide, level)


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_sentence_that_names_the_file(name: str, tmp_path: Path) -> None:
    make, says = DAMAGED[name]
    path = make(tmp_path)
    with pytest.raises(NotReadable) as caught:
        read_all(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    assert re.search(says, message), message


def test_the_broken_slide(real_data: Path) -> None:
    with pytest.raises(NotReadable, match=r"is not a slide that is known here \(first bytes 49 4a 72 45"):
        open_slide(real_data / "wsi_he/broken.svs")


def test_a_slide_without_scale_opens_and_says_none(tmp_path: Path) -> None:
    with open_slide(svs(tmp_path / "a.svs", "jpeg", description="Aperio Image Library v12.0.0 \r\n{w}x{h}")) as slide:
        assert (slide.mpp, slide.magnification, slide.levels[1].mpp) == (None, None, None)
        assert "openslide.mpp-x" not in slide.properties
    with open_slide(plain(tmp_path / "b.tiff", resolution=(72, 72), resolutionunit="INCH")) as slide:
        assert slide.mpp is None  # 353 micrometres: the 72 dots an inch of a program that knew none
    with open_slide(plain(tmp_path / "c.tiff")) as slide:
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert [level.mpp[0] for level in slide.levels if level.mpp] == pytest.approx([0.5, 1.0, 2.0])


ASKED: list[tuple[Callable[[Any], object], str]] = [
    (lambda slide: slide.read(1, 0, 0, 1, 1), "level 1 is not there; levels are 0 to 0"),
    (lambda slide: slide.read(0, 0, 0, -1, 4), "a region of 4 x -1 pixels was asked for"),
    (lambda slide: slide.read(0, 0, 0, 10**6, 10**6), "want sizes from 0, up to 4 GB"),
    (lambda slide: slide.tile(0, 4, 0), r"tile \(4, 0\) is outside the 4 x 5 tiles of level 0"),
    (lambda slide: slide.image("lable"), "no associated picture 'lable'; there are: label, macro, thumbnail"),
]


@pytest.mark.parametrize(("ask", "says"), ASKED)
def test_what_is_not_there_is_named(ask: Callable[[Any], object], says: str) -> None:
    with open_slide(CROP) as slide, pytest.raises(InputError, match=says):
        ask(slide)


def test_a_closed_slide_says_so_and_closing_twice_is_fine() -> None:
    slide = open_slide(CROP)
    slide.close()
    slide.close()
    with pytest.raises(NotReadable, match="the slide is closed; open it again"):
        slide.read(0, 0, 0, 1, 1)


def test_threads_read_the_same(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    want = picture()
    with open_slide(CROP) as slide, ThreadPoolExecutor(4) as pool:
        places = [(y, x) for y in range(0, 900, 100) for x in range(0, 1100, 150)]
        for (y, x), got in zip(places, pool.map(lambda at: slide.read(0, *at, 60, 100), places), strict=True):
            assert np.array_equal(got, want[y : y + 60, x : x + 100])


def test_noise_in_a_tile_never_ends_otherwise(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    stream = bytearray(next(iter(cut())).tobytes())
    good = bytearray(imagecodecs.jpeg8_encode(np.frombuffer(stream, np.uint8).reshape(256, 256, 3), level=60))
    for _ in range(200):
        bad = bytearray(good)
        for at in rng.integers(2, len(bad), 8):
            bad[at] = rng.integers(256)
        try:
            pixels = decode.rgb(splice.spliced(bytes(bad), None, "ycbcr"), (256, 256), "ycbcr")
        except CodecError:
            continue
        assert pixels.shape == (256, 256, 3)
