"""New pyramids, slides as DICOM, and where an Aperio tile may be empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan.each import threads
from slimscan.errors import InputError, OutputError
from slimscan.files.slides import open_slide
from slimscan.files.slides.rewrite import AS_IS, EMPTY, Shared, rewrite
from slimscan.files.slides.rewrite_blank import drawn_anew, may_be_empty
from slimscan.files.slides.rewrite_dicom import write_dicom
from slimscan.files.slides.rewrite_dicomhead import About, Frames
from slimscan.files.slides.rewrite_ifd import structure
from slimscan.files.slides.rewrite_new import pyramid
from slimscan.files.slides.rewrite_tree import halved
from slimscan.nouns.slide import Level

SLIDE = "wsi_he/cmu_small_region.svs"
ABOUT = About("a slide", "20200102030405", magnification=20.0)


def _real() -> Path:
    folder = os.environ.get("SLIMSCAN_DATA")
    if not folder or not (Path(folder) / SLIDE).is_file():
        pytest.skip("SLIMSCAN_DATA does not hold the slides")
    return Path(folder) / SLIDE


def _cut(base: np.ndarray, side: int) -> Any:
    """Tiles of an array, what lies outside of it 77."""

    def tile(row: int, col: int) -> np.ndarray:
        found = base[row * side : (row + 1) * side, col * side : (col + 1) * side]
        return np.pad(found, [(0, side - n) for n in found.shape[:2]] + [(0, 0)], constant_values=77)

    return tile


def _deflate(pixels: np.ndarray) -> bytes:
    return zlib.compress(pixels.tobytes(), 1)


def _half(base: np.ndarray) -> np.ndarray:
    """2x2 means, halves rounded up, of a whole level at once; an odd border counts twice."""
    even = np.pad(base, [(0, n % 2) for n in base.shape[:2]] + [(0, 0)], mode="edge").astype(int)
    return ((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) // 4).astype(np.uint8)


def test_means_by_hand() -> None:
    one = np.zeros((2, 2, 3), np.uint8)
    one[0, 0] = 1, 2, 7
    one[1, 1] = 1, 0, 8
    assert halved([one, one, None, None]).tolist() == [[[1, 1, 4]] * 2, [[1, 0, 4], [1, 0, 4]]]
    full = [np.full((2, 2, 3), value, np.uint8) for value in (255, 1, 2, 3)]
    assert halved(full)[..., 0].tolist() == [[255, 1], [2, 3]]


@given(height=st.integers(1, 330), width=st.integers(1, 330), workers=st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_every_level_is_the_means_of_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, workers: int
) -> None:
    out = tmp_path_factory.mktemp("new") / "a.tif"
    base = np.random.default_rng(height * 997 + width).integers(0, 256, (height, width, 3), np.uint8)
    tags = {259: 8, 262: 2}
    done = pyramid(
        out, (height, width), _cut(base, 16), _deflate, side=16, tags=tags, mpp=(0.5, 0.25), each=threads(workers)
    )
    with tifffile.TiffFile(out) as tif:
        levels: list[Any] = list(tif.pages)
        assert tuple(level.shape[:2] for level in levels) == done.shapes
        assert max(done.shapes[-1]) <= 16
        for level in levels:
            assert np.array_equal(level.asarray(), base)
            base = _half(base)
        x, y = (tif.pages.first.tags[tag].value for tag in (282, 283))
        assert (x[0] / x[1], y[0] / y[1]) == (40000, 20000)
    assert [path.name for path in out.parent.iterdir()] == ["a.tif"]


def test_tiles_of_one_colour_are_written_once(tmp_path: Path) -> None:
    white = np.full((16, 16, 3), 255, np.uint8)
    done = pyramid(tmp_path / "a.tif", (1600, 1600), lambda *_: white, _deflate, side=16, tags={259: 8, 262: 2})
    assert done.tiles - done.shared == len(done.shapes)
    assert done.bytes_out < 10_000 + 8 * 14_000 + 1000


def test_a_pyramid_holds_a_few_tiles_only(tmp_path: Path) -> None:
    """64 x 64 tiles: never more asked for, beyond those that are done, than a subtree a worker."""
    lock, seen = threading.Lock(), [0]

    def tile(row: int, col: int) -> np.ndarray:
        with lock:
            seen[0] += 1
        return np.full((16, 16, 3), (row + col) % 256, np.uint8)

    done = pyramid(tmp_path / "a.tif", (1024, 1024), tile, _deflate, side=16, tags={259: 8, 262: 2}, each=threads(2))
    assert seen[0] == 64 * 64, "each tile of level 0 is asked for once"
    assert done.shapes[-1] == (16, 16)


def test_a_pyramid_that_cannot_be(tmp_path: Path) -> None:
    tags = {259: 8, 262: 2}
    with pytest.raises(InputError, match=r"^a pyramid of 0 x 5 pixels in tiles of 16 cannot be"):
        pyramid(tmp_path / "a.tif", (0, 5), _cut(np.zeros((1, 1, 3)), 16), _deflate, side=16, tags=tags)
    with pytest.raises(InputError, match=r"^tile \(0, 0\): want uint8 of \(16, 16, 3\), it is float64 of \(2, 2\)$"):
        pyramid(tmp_path / "a.tif", (20, 20), lambda *_: np.zeros((2, 2)), _deflate, side=16, tags=tags)  # type: ignore[arg-type,return-value]
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)"):
        pyramid(
            tmp_path / "no" / "a.tif", (20, 20), _cut(np.zeros((20, 20, 3), np.uint8), 16), _deflate, side=16, tags=tags
        )
    assert not list(tmp_path.iterdir())


def test_a_real_slide_gets_levels_and_keeps_its_pictures(tmp_path: Path) -> None:
    openslide, imagecodecs = pytest.importorskip("openslide"), pytest.importorskip("imagecodecs")
    source, out = _real(), tmp_path / "a.svs"
    with open_slide(source) as slide:
        shape, mpp = slide.levels[0].shape, slide.mpp
        pyramid(
            out,
            shape,
            lambda row, col: slide.read(0, row * 240, col * 240, 240, 240),
            lambda pixels: imagecodecs.jpeg8_encode(pixels, 92, subsampling="444"),
            side=240,
            tags={259: 7, 262: 6, 530: (1, 1)},
            first={270: structure(source).text(0)},
            mpp=mpp,
            beside=source,
            each=threads(2),
        )
        whole = slide.read(0, 0, 0, *shape)
    with openslide.OpenSlide(source) as a, openslide.OpenSlide(out) as b:
        assert b.level_count == 5
        assert b.properties["openslide.vendor"] == "aperio"
        assert b.properties["openslide.mpp-x"] == a.properties["openslide.mpp-x"]
        assert all(
            np.array_equal(np.asarray(b.associated_images[k]), np.asarray(a.associated_images[k]))
            for k in a.associated_images
        )
        half = np.asarray(b.read_region((0, 0), 1, b.level_dimensions[1]))[..., :3].astype(float)
    assert np.abs(half - _half(whole)).mean() < 3


def _levels(*grids: tuple[int, int], tile: int = 240) -> list[Level]:
    return [
        Level(
            shape=(rows * tile, cols * tile),
            tile=(tile, tile),
            grid=(rows, cols),
            downsample=4.0**k,
            compression="jpeg",
        )
        for k, (rows, cols) in enumerate(grids)
    ]


def test_where_a_tile_may_be_empty() -> None:
    """Two levels, 8 x 8 tiles over 2 x 2: only the quarter under the glass of level 1 may be empty."""
    levels = _levels((8, 8), (2, 2))
    glass = {0: np.ones((8, 8), bool), 1: np.array([[True, False], [False, False]])}
    glass[0][0, 0] = False
    free = may_be_empty(levels, glass)
    assert free[1].tolist() == glass[1].tolist()
    assert free[0].sum() == 15
    assert free[0][:4, :4].sum() == 15
    assert drawn_anew(levels, free) == 0
    assert drawn_anew(levels, glass) == 3
    assert may_be_empty(levels[:1], {0: glass[0]})[0].sum() == 63, "one level: all its glass"
    assert may_be_empty(levels, {0: glass[0]})[0].sum() == 0, "level 1 keeps all its tiles"


def test_the_driver_counts_last_columns_to_the_next_row() -> None:
    """13 columns over 4: it divides by 3, so column 12 becomes 4, which is column 0 of the row below."""
    levels = _levels((13, 13), (4, 4))
    empty = {0: np.zeros((13, 13), bool)}
    empty[0][0, 12] = True
    assert drawn_anew(levels, empty) == 1
    glass = {0: np.ones((13, 13), bool), 1: np.ones((4, 4), bool)}
    glass[1][1, 0] = False
    free = may_be_empty(levels, glass)
    assert not free[0][0, 12]
    assert not free[0][3, 0]
    assert free[0][0, 11]
    assert drawn_anew(levels, free) == 0


def test_openslide_draws_as_we_say(tmp_path: Path) -> None:
    """A slide of two levels, some tiles empty: level 1 shows its own tiles where drawn_anew says 0."""
    openslide, imagecodecs = pytest.importorskip("openslide"), pytest.importorskip("imagecodecs")
    source, out = tmp_path / "a.svs", tmp_path / "b.svs"

    def tile(row: int, col: int) -> np.ndarray:
        return np.full((16, 16, 3), 40 * (1 + (row + col) % 5), np.uint8)

    encode = lambda pixels: imagecodecs.jpeg8_encode(pixels, 95, subsampling="444")  # noqa: E731
    tags = {259: 7, 262: 6, 530: (1, 1)}
    pyramid(source, (16 * 13, 16 * 13), tile, encode, side=16, tags=tags, first={270: "Aperio Image Library"})
    with open_slide(source) as slide:
        levels = slide.levels[:2]
        numbers = [level.page for level in levels]
    glass = {0: np.ones(levels[0].grid, bool), 1: np.ones(levels[1].grid, bool)}
    glass[1][2:5, 2:5] = False

    def shown(empty: dict[int, np.ndarray]) -> np.ndarray:
        def answer(page: int, index: int, stored: bytes) -> Any:
            return EMPTY if page in numbers and empty[numbers.index(page)].flat[index] else AS_IS

        rewrite(source, out, answer)
        with openslide.OpenSlide(out) as slide:
            return np.asarray(slide.read_region((64, 64), 1, (48, 48)))

    with openslide.OpenSlide(source) as slide:
        before = np.asarray(slide.read_region((64, 64), 1, (48, 48)))
    free = may_be_empty(levels, glass)
    assert free[0].any()
    assert np.array_equal(shown(free), before)
    assert drawn_anew(levels, glass) > 0
    assert not np.array_equal(shown(glass), before), "the trap: tiles that are stored are not shown"
    rewrite(source, out, lambda page, index, stored: Shared(encode(tile(0, 4))) if page == 0 else AS_IS)
    with openslide.OpenSlide(out) as slide:
        assert np.array_equal(np.asarray(slide.read_region((64, 64), 1, (48, 48))), before)


def _streams(side: int) -> Any:
    imagecodecs = pytest.importorskip("imagecodecs")
    rng = np.random.default_rng(5)

    def payload(level: int, row: int, col: int) -> bytes:
        pixels = np.full((side, side, 3), (40 * row, 30 * col, 200 - 90 * level), np.uint8)
        pixels[rng.integers(0, side)] = 0
        raw: bytes = imagecodecs.jpeg8_encode(pixels, 90, colorspace="RGB", outcolorspace="RGB")
        return raw

    return payload


@pytest.mark.parametrize("sparse", [False, True])
def test_dicom_holds_the_same_streams(tmp_path: Path, sparse: bool) -> None:
    """Frames are the streams, byte for byte but for a padding byte; a sparse slide says where each belongs."""
    pydicom = pytest.importorskip("pydicom")
    levels = [Frames((300, 500), (64, 64), (0.5, 0.25)), Frames((75, 125), (64, 64), (2.0, 1.0))]
    make = _streams(64)
    held = {
        (k, row, col): make(k, row, col)
        for k, level in enumerate(levels)
        for row in range(level.grid[0])
        for col in range(level.grid[1])
        if not (sparse and k == 0 and (row < 2 or col == 3))
    }
    done = write_dicom(
        tmp_path / "d", levels, lambda *place: held.get(place, b""), ABOUT, sparse=sparse, each=threads(2)
    )
    assert sum(one.frames for one in done) == len(held)
    assert [one.left_out for one in done] == [2 * 8 + 3 if sparse else 0, 0]
    for k, one in enumerate(done):
        found = pydicom.dcmread(one.path)
        mine = [place for place in held if place[0] == k]
        assert found.NumberOfFrames == len(mine)
        assert found.DimensionOrganizationType == ("TILED_SPARSE" if sparse else "TILED_FULL")
        assert (found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns) == levels[k].shape
        spacing = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        assert [float(value) * 1000 for value in spacing] == pytest.approx(levels[k].mpp)
        table = (found.ExtendedOffsetTable, found.ExtendedOffsetTableLengths)
        frames = list(
            pydicom.encaps.generate_frames(found.PixelData, number_of_frames=len(mine), extended_offsets=table)
        )
        assert [frame.rstrip(b"\0") for frame in frames] == [held[place].rstrip(b"\0") for place in mine]
        groups = found.get("PerFrameFunctionalGroupsSequence") or []
        assert len(groups) == (len(mine) if sparse else 0)
        for (_, row, col), group in zip(mine, groups, strict=False):
            place = group.PlanePositionSlideSequence[0]
            assert place.RowPositionInTotalImagePixelMatrix == row * 64 + 1
            assert place.ColumnPositionInTotalImagePixelMatrix == col * 64 + 1
            assert group.FrameContentSequence[0].DimensionIndexValues == [col + 1, row + 1]
            assert float(place.XOffsetInSlideCoordinateSystem) == pytest.approx(40 - row * 64 * levels[k].mpp[0] / 1000)


def test_dicom_that_cannot_be(tmp_path: Path) -> None:
    levels, make = [Frames((100, 100), (64, 64), (0.5, 0.5))], _streams(64)
    with pytest.raises(
        InputError, match=r"^level 0, tile \(0, 0\): is not there, and TILED_FULL holds every tile; ask for a sparse"
    ):
        write_dicom(tmp_path / "d", levels, lambda *_: b"", ABOUT)
    with pytest.raises(InputError, match=r"^level 0 of 100 x 100: every tile was left out; keep one$"):
        write_dicom(tmp_path / "d", levels, lambda *_: b"", ABOUT, sparse=True)
    with pytest.raises(InputError, match=r'^the colours "CMYK" are none of a DICOM slide; allowed: RGB, '):
        write_dicom(tmp_path / "d", [Frames((9, 9), (64, 64), (1, 1), colour="CMYK")], make, ABOUT)
    with pytest.raises(InputError, match=r'^the picture "cat" of 4 x 3 is none of label, macro, thumbnail$'):
        write_dicom(tmp_path / "d", levels, make, ABOUT, pictures={"cat": (b"\xff\xd8", (3, 4))})
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"exists already; name a new folder for the DICOM slide$"):
        write_dicom(tmp_path, levels, make, ABOUT)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.filterwarnings("ignore")  # other people's readers warn of their own libraries
def test_other_readers_of_our_dicom(tmp_path: Path, sparse: bool) -> None:
    """OpenSlide, wsidicom and our own door see the source's pixels, MPP, magnification and pictures."""
    openslide, wsidicom = pytest.importorskip("openslide"), pytest.importorskip("wsidicom")
    imagecodecs = pytest.importorskip("imagecodecs")
    folder = tmp_path / "d"
    with open_slide(_real()) as slide:
        level = slide.levels[0]
        assert level.mpp is not None
        pictures = {
            name: (imagecodecs.jpeg8_encode(slide.image(name), 90, subsampling="422"), slide.image(name).shape[:2])
            for name in slide.associated
        }

        def payload(k: int, row: int, col: int) -> bytes:
            return b"" if sparse and row < 3 else slide.stream(k, row, col)

        write_dicom(
            folder, [Frames(level.shape, level.tile, level.mpp)], payload, ABOUT, sparse=sparse, pictures=pictures
        )
        real = slide.read(0, 720, 720, 480, 480)
    with openslide.OpenSlide(folder / "level_0.dcm") as seen:
        assert seen.properties["openslide.mpp-x"] == "0.499"
        assert seen.properties["openslide.objective-power"] == "20"
        assert sorted(seen.associated_images) == ["label", "macro", "thumbnail"]
        assert np.array_equal(np.asarray(seen.read_region((720, 720), 0, (480, 480)))[..., :3], real)
        assert (np.asarray(seen.read_region((0, 0), 0, (720, 720)))[..., 3] == (0 if sparse else 255)).all()
    with wsidicom.WsiDicom.open(folder) as seen:
        assert np.array_equal(np.asarray(seen.read_region((720, 720), 0, (480, 480))), real)
    with open_slide(folder) as seen:
        assert sorted(seen.associated) == ["label", "macro", "thumbnail"]
        assert np.array_equal(seen.read(0, 720, 720, 480, 480), real)


def test_the_benchmark_makes_a_slide_and_leaves_its_glass_out(tmp_path: Path) -> None:
    _real()
    pytest.importorskip("openslide")
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "slides.py"
    source, out = tmp_path / "a.svs", tmp_path / "b.svs"
    told: dict[str, Any] = {}
    for step in ("generate", "empty", "equal"):
        command = [sys.executable, str(script), "--one", step, str(source), str(out), "3000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        told |= json.loads(done.stdout)
    assert told["rewritten"]["shared"] > 0
    assert told["anew"] == 0
    assert told["regions"] == "40 of 40"
    assert told["pictures"]
