"""Slides there and back: each profile keeps its promise on the written file, and damage never passes for a slide."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import slides_made as made
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan.errors import ChecksumError, InputError, OutputError
from slimscan.files.slides import open_slide
from slimscan.files.slides.decode import rgb
from slimscan.files.slides.splice import spliced
from slimscan.nouns.slide import Level
from slimscan.press.slide import plan as plans
from slimscan.press.slide import restore
from slimscan.press.slide.blank import blank_like
from slimscan.press.slide.board import Board
from slimscan.press.slide.compress import compress_slide
from slimscan.press.slide.families import FAMILIES, PAPER
from slimscan.press.slide.ledger import MAGIC, Ledger, packed, read_ledger
from slimscan.press.slide.plan import Plan
from slimscan.press.slide.quality import Floors, judge
from slimscan.press.slide.restore import restore_slide
from slimscan.press.slide.transcode import SOI, Way, grow, plain_way, shrink
from slimscan.press.staging import LEFTOVER
from slimscan.regions.tissue import Tissue


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.svs(tmp_path_factory.mktemp("slides") / "a.svs", "jpeg")


def corner(path: Path) -> dict[int, np.ndarray]:
    """Glass in the first row of level 0."""
    with open_slide(path) as opened:
        grid = np.zeros(opened.levels[0].grid, bool)
    grid[0, :2] = True
    return {0: grid}


# ---- tiles


def test_a_tile_is_judged_by_hand_computed_numbers() -> None:
    flat = np.full((64, 64, 3), 100, np.uint8)
    assert judge(flat, flat).psnr_db == math.inf
    seen = judge(flat, flat + np.uint8(3))
    assert seen.mse == 9
    assert seen.psnr_db == pytest.approx(10 * math.log10(255**2 / 9))
    c1 = (0.01 * 255) ** 2  # no contrast: luminance alone, (2ab + C1) / (a2 + b2 + C1)
    assert seen.ssim == pytest.approx((2 * 100 * 103 + c1) / (100**2 + 103**2 + c1))
    assert seen.window == pytest.approx(seen.ssim)


def test_the_worst_window_sees_what_the_mean_hides() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(60, 200, (256, 256, 3), np.uint8)
    second = first.copy()
    second[200:216, 40:56] = 255 - second[200:216, 40:56]
    seen = judge(first, second)
    assert seen.ssim > 0.97
    assert seen.window < 0.3
    assert not seen.passes(Floors(0.9, 20, 0.8))
    assert seen.passes(Floors(0.9, 20, -1))


def test_floors_say_what_is_allowed() -> None:
    with pytest.raises(InputError) as caught:
        Floors(psnr_db=-1)
    assert str(caught.value) == "--floor-psnr -1: want decibels between 0 and 120; 30 is the default"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 100), st.sampled_from(("444", "422", "420")))
def test_jpeg_tiles_come_back_byte_for_byte(seed: int, quality: int, subsampling: str) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 256, (6, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    stored = bytes(imagecodecs.jpeg8_encode(pixels, level=quality, subsampling=subsampling))
    way = Way("jpeg", SOI, (48, 40))
    small = shrink(stored, way)
    assert small is not None
    assert grow(small, way) == stored
    assert shrink(stored + b"tail", way) is None or grow(shrink(stored + b"tail", way) or b"", way) == stored + b"tail"
    shrink(stored[: len(stored) // 2], way)  # whatever it is, nothing is raised
    assert shrink(b"", way) == b"" == grow(b"", way)


@pytest.mark.parametrize("predictor", [1, 2])
def test_plain_tiles_come_back_by_their_own_packer(predictor: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 30, (32, 48, 3), np.uint8)
    raw = np.diff(pixels, axis=1, prepend=np.zeros_like(pixels[:, :1])) if predictor == 2 else pixels
    flat = np.ascontiguousarray(raw).tobytes()
    for kind, stored in (
        ("none", flat),
        ("lzw", bytes(imagecodecs.lzw_encode(flat))),
        ("deflate", zlib.compress(flat, 9)),
        ("deflate", bytes(imagecodecs.deflate_encode(flat, level=6))),
    ):
        way = plain_way(stored, kind, (32, 48), lambda got: bool((got == pixels).all()))
        assert way is not None
        assert way.predictor == predictor
        small = shrink(stored, way)
        assert small is not None
        assert grow(small, way) == stored
    foreign = zlib.compressobj(9, wbits=9)  # a window that nobody uses: these bytes cannot be made again
    assert plain_way(foreign.compress(flat) + foreign.flush(), "deflate", (32, 48), lambda _: True) is None


@pytest.mark.parametrize(("colour", "subsampling"), [("rgb", "444"), ("ycbcr", "444"), ("ycbcr", "420")])
@pytest.mark.parametrize("quality", [10, 50, 95])
def test_the_blank_tile_is_white_with_the_tables_of_the_level(colour: str, subsampling: str, quality: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (64, 80, 3), np.uint8)
    space = {"colorspace": "RGB", "outcolorspace": "RGB"} if colour == "rgb" else {}
    stored = bytes(imagecodecs.jpeg8_encode(pixels, level=quality, subsampling=subsampling, **space))
    stream = spliced(stored, None, colour)
    blank = blank_like(stored, stream, "jpeg", (64, 80), colour)
    assert blank is not None
    assert len(blank) < 1000
    assert rgb(spliced(blank, None, colour), (64, 80)).min() >= 249


def test_every_family_codes_a_tile_of_any_shape() -> None:
    pixels = np.kron(np.arange(30).reshape(5, 6, 1) * 8, np.ones((16, 8, 3))).astype(np.uint8)
    for name, family in (FAMILIES | {"paper " + key: value for key, value in PAPER.items()}).items():
        for value in (*family.settings, family.paper):
            coded = family.encode(pixels, value)
            assert family.decode(coded, (80, 48)).shape == (80, 48, 3), name
        if family.codec.lossless:
            assert np.array_equal(family.decode(family.encode(pixels, None), (80, 48)), pixels)


def test_a_ledger_is_read_back_and_damage_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x"
    ledger = Ledger({"profile": "exact"}, {0: b"a" * 64, 3: b"b" * 32}, b"skeleton")
    for pad in (b"", b"\x00"):
        file.write_bytes(b"slide" + packed(ledger) + pad)
        assert read_ledger(file) == ledger
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    file.write_bytes(data)
    with pytest.raises(ChecksumError, match="is damaged; copy the compressed slide anew"):
        read_ledger(file)
    file.write_bytes(b"")
    assert read_ledger(file) is None


def test_a_ledger_of_a_stranger_is_damage(tmp_path: Path) -> None:
    def signed(body: bytes, head: bytes) -> bytes:
        blob = body + head + struct.pack("<I", len(head))
        return blob + struct.pack("<Q32s16s", len(blob), hashlib.sha256(blob).digest(), MAGIC)

    bomb = zlib.compress(b'{"a": "' + bytes(80 << 20) + b'"}')
    for body, head in (
        (b"", b"not json"), (b"", b"[]"), (b"", b'{"digests": 3}'), (b"x", b'{"digests": [], "about": 1}'),
        (zlib.compress(b"3"), b'{"digests": [], "about": 9}'), (bomb, b'{"digests": [], "about": %d}' % len(bomb)),
    ):  # fmt: skip
        place = tmp_path / "x.svs"
        place.write_bytes(b"slide" + signed(body, head))
        with pytest.raises(ChecksumError, match="is damaged; copy the compressed slide anew"):
            read_ledger(place)


def test_painting_spares_every_pixel_of_the_mask() -> None:
    level = Level((97, 97), (97, 97), (1, 1), 1.0, "none")
    held = np.zeros((13, 13), bool)
    held[6] = True
    plan = Plan(Board(0, 0, level, b"", lambda _: np.zeros((97, 97, 3), np.uint8)), left="paint")
    shown = replace(plan, tissue=Tissue(held, (8.0, 8.0), (97, 97))).wanted(0, b"x")
    assert (shown[48:56] == 0).all()
    assert (shown[:48] == 255).all()
    assert (shown[56:] == 255).all()


# ---- profiles


def test_many_levels_that_do_not_fit_their_plans_stay_as_they_are(tmp_path: Path, monkeypatch: Any) -> None:
    source = made.plain(tmp_path / "a.tif", 5, tile=(64, 64), compression="jpeg")
    with open_slide(source) as opened:
        last = {opened.tile(n, one.grid[0] - 1, one.grid[1] - 1) for n, one in enumerate(opened.levels)}
        assert len(opened.levels) == 5
    monkeypatch.setattr(plans, "SAMPLE", 1)
    monkeypatch.setattr(plans, "_cost", lambda plan, sample: 0.0)  # whatever can be planned is
    monkeypatch.setattr(plans, "shrink", lambda stored, way: None if stored in last else shrink(stored, way))
    receipt = compress_slide(source, tmp_path / "b.tif")
    assert receipt.copied
    assert (tmp_path / "b.tif").read_bytes() == source.read_bytes()


def test_a_mask_without_tissue_is_said_to_be_one(slide: Path, tmp_path: Path) -> None:
    blank = Tissue(np.zeros((96, 120), bool), (10.0, 10.0), (960, 1200))
    grids = {0: np.zeros((4, 5), bool)}
    receipt = compress_slide(slide, tmp_path / "b.svs", profile="compatible", tissue=lambda _: (blank, grids))
    assert receipt.copied
    assert "no tissue was found, so that all tiles were kept" in receipt.notes[1]


def test_exact_gives_the_very_same_file_back(slide: Path, tmp_path: Path) -> None:
    before = slide.read_bytes()
    out, back = tmp_path / "b.svs", tmp_path / "c.svs"
    receipt = compress_slide(slide, out, profile="exact")
    assert receipt.tiles["transcoded"] == 22
    assert receipt.psnr_db is None
    assert receipt.saved_percent > 15
    assert receipt.output_bytes == out.stat().st_size < len(before)
    done = restore_slide(out, back)
    assert back.read_bytes() == before == slide.read_bytes()
    assert done.sha256 == receipt.sha256 == hashlib.sha256(before).hexdigest()
    assert done.tiles == 22
    with open_slide(slide) as first, open_slide(out) as second:
        assert np.array_equal(first.read(0, 0, 0, 960, 1200), second.read(0, 0, 0, 960, 1200))


@pytest.mark.parametrize("kind", ["ome", "lzw"])
def test_exact_on_other_containers_and_packings(kind: str, tmp_path: Path) -> None:
    source = (
        made.ome(tmp_path / "a.ome.tif")
        if kind == "ome"
        else made.svs(tmp_path / "a.svs", None if kind == "none" else kind)
    )
    out, back = tmp_path / f"b{source.suffix}", tmp_path / "back.tif"
    assert compress_slide(source, out).saved_percent > 15
    restore_slide(out, back)
    assert back.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("syntax", ["jpeg", "native"])
def test_exact_on_dicom(syntax: str, tmp_path: Path) -> None:
    source = sorted(made.dicom(tmp_path / "series", syntax=syntax).iterdir())[0]
    out, back = tmp_path / "b.dcm", tmp_path / "c.dcm"
    assert compress_slide(source, out).tiles["transcoded"] == 20
    restore_slide(out, back)
    assert back.read_bytes() == source.read_bytes()


def test_a_slide_that_no_form_makes_smaller_is_copied(tmp_path: Path) -> None:
    source, out = made.svs(tmp_path / "a.svs", "jpeg2000"), tmp_path / "b.svs"
    receipt = compress_slide(source, out)
    assert receipt.copied
    assert out.read_bytes() == source.read_bytes()
    assert receipt.notes == ("no exact form is smaller than this slide; the output is a copy of it, byte for byte",)


def test_compatible_touches_no_tile_but_glass(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.svs"
    receipt = compress_slide(slide, out, profile="compatible", tissue=corner(slide))
    assert receipt.tiles["shared"] == 2
    assert receipt.tiles["as is"] == 20
    assert receipt.psnr_db is None
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(slide) as first, openslide.OpenSlide(out) as second:
        assert dict(first.properties) == dict(second.properties)
        pair = [np.asarray(one.read_region((0, 0), 0, (1200, 960)))[..., :3] for one in (first, second)]
    assert pair[1][:256, :512].min() >= 249
    assert np.array_equal(pair[0][256:], pair[1][256:])
    assert np.array_equal(pair[0][:256, 512:], pair[1][:256, 512:])


def test_small_is_never_larger_and_passes_its_floors(slide: Path, tmp_path: Path) -> None:
    out, floors = tmp_path / "b.svs", Floors(0.98, 31, 0.92)
    receipt = compress_slide(slide, out, profile="small", floors=floors, tissue=corner(slide), allow_lossy_again=True)
    assert out.stat().st_size < slide.stat().st_size
    assert receipt.tiles["recoded"]
    assert receipt.tiles["shared"] == 2
    assert receipt.worst_window is not None
    assert receipt.worst_window["ssim"] >= 0.92
    with open_slide(slide) as first, open_slide(out) as second:
        for row, col in ((1, 1), (2, 3), (3, 4)):
            box = (0, row * 256, col * 256, min(256, 960 - row * 256), min(256, 1200 - col * 256))
            assert judge(first.read(*box), second.read(*box)).passes(floors)


@pytest.mark.parametrize("codec", tuple(PAPER))
@pytest.mark.parametrize("left", ["paint", "empty"])
def test_paper_writes_what_was_said(slide: Path, tmp_path: Path, codec: str, left: str) -> None:
    grid = corner(slide)
    held = np.ones((96, 120), bool)
    held[:32, :60] = False
    found = Tissue(held, (10.0, 10.0), (960, 1200), ("made",))
    receipt = compress_slide(
        slide, tmp_path / "b.svs", profile="paper", left=left, paper_codec=codec, tissue=lambda _: (found, grid),
        allow_lossy_again=True,
    )  # fmt: skip
    glass = {"keep": 0, "paint": 2, "empty": 2}[left]
    assert receipt.tiles["recoded"] == 22 - glass
    # a tile of no bytes below a stored coarser one would make OpenSlide draw that one anew
    assert receipt.tiles["shared"] == (2 if left == "empty" else 0)
    with open_slide(tmp_path / "b.svs") as second:
        if left != "keep":
            assert second.read(0, 0, 0, 250, 500).min() >= 240
        if left == "paint":
            assert second.read(0, 270, 100, 30, 300).min() >= 200  # glass inside a tile of tissue


# ---- what is refused


def test_refusals_are_one_sentence_and_write_nothing(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.svs"
    said = {
        f"{slide}: its tiles were compressed with loss before; --profile small would lose once more, which --allow-lossy-again "
        "permits; exact and compatible lose nothing": {"profile": "small"},
        '--profile "best" is not known; allowed: exact, compatible, small, paper': {"profile": "best"},
        '--glass "away" is not known; allowed: keep, paint, shared, empty': {"left": "away"},
        "--glass shared: exact keeps every tile; take --profile compatible or small to leave glass out": {
            "left": "shared"
        },
        '--paper-codec "gif" is not known; allowed: jpeg, jpegxl, jpeg2000': {"profile": "paper", "paper_codec": "gif"},
    }
    for text, words in said.items():
        with pytest.raises(InputError) as caught:
            compress_slide(slide, out, **words)
        assert str(caught.value) == text
    with pytest.raises(OutputError, match="would change its own source"):
        compress_slide(slide, slide, force=True)
    assert not list(tmp_path.iterdir())


def test_glass_everywhere_above_is_stored_as_no_bytes(slide: Path, tmp_path: Path) -> None:
    with open_slide(slide) as opened:
        grids = {k: np.ones(level.grid, bool) for k, level in enumerate(opened.levels)}
    grids[0][2:] = False
    words = {"profile": "compatible", "left": "empty", "tissue": grids}
    receipt = compress_slide(slide, tmp_path / "b.svs", **words)
    assert receipt.tiles["empty"] == 12
    assert any(note.startswith("glass is stored as tiles of no bytes") for note in receipt.notes)
    with open_slide(tmp_path / "b.svs") as opened:
        assert opened.tile(0, 0, 0) == b""
        assert opened.read(0, 0, 0, 512, 1200).min() == 255


def test_only_whole_exact_outputs_are_restored(slide: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "b.svs", tmp_path / "c.svs"
    with pytest.raises(InputError, match="keeps nothing to restore from"):
        restore_slide(slide, back)
    compress_slide(slide, out, profile="compatible", tissue=corner(slide))
    with pytest.raises(InputError, match="was written with --profile compatible, which keeps less than its source"):
        restore_slide(out, back)
    compress_slide(slide, out, force=True)
    data = bytearray(out.read_bytes())
    data[len(data) // 3] ^= 0x10
    out.write_bytes(data)
    with pytest.raises(Exception, match=r"damaged|does not come back as it was|other JPEG tables"):
        restore_slide(out, back)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.svs"]


def test_what_a_killed_check_leaves_is_swept(slide: Path, tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[str] = []
    compress_slide(slide, tmp_path / "b.svs")
    real = restore._written
    monkeypatch.setattr(
        restore, "_written", lambda source, ledger, out: (seen.append(out.name), real(source, ledger, out))[1]
    )
    assert restore.restored_digest(tmp_path / "b.svs") == hashlib.sha256(slide.read_bytes()).hexdigest()
    assert len(seen) == 1
    assert LEFTOVER.match(seen[0])
    assert [one.name for one in tmp_path.iterdir()] == ["b.svs"]


# ---- real slides


@pytest.mark.parametrize("name", ["cmu_small_region.svs", "small_dicom.dcm"])
def test_real_jpeg_slides_lose_15_percent_and_come_back(name: str, real_data: Path, tmp_path: Path) -> None:
    source = real_data / "wsi_he" / name
    out, back = tmp_path / f"small{source.suffix}", tmp_path / f"back{source.suffix}"
    receipt = compress_slide(source, out)
    assert receipt.saved_percent >= 15
    assert all(check.passed for check in receipt.checks)
    restore_slide(out, back)
    assert back.read_bytes() == source.read_bytes()
