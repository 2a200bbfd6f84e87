"""A region of interest: its inside exact or bounded with every codec, and in files that others read."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantoms import head, masked, slide

import slimscan
from slimscan.codecs import CODECS
from slimscan.errors import CodecError, InputError, TargetUnreachable
from slimscan.nouns import Lossless, MaxError, Outside, Psnr, Ratio, Region, Setting, Volume
from slimscan.press.compress import compress
from slimscan.press.grid import Grid
from slimscan.press.roi import parse_inside, parse_outside
from slimscan.press.roi_code import CROP, HEAD, PACKED, VALUES, code_inside, read_inside
from slimscan.press.roi_fill import filled
from slimscan.press.roi_treat import Treat, treated
from slimscan.press.scheme import (
    ENVELOPE_2,
    Inside,
    Scheme,
    code_region,
    decode,
    encode,
    parts_of,
    prepare,
    with_inside,
)

LOSSY = [name for name, codec in CODECS.items() if codec.lossy]
EXACT = [name for name, codec in CODECS.items() if codec.lossless]
SCHEME = Scheme("jpeg2000", Grid("int16", -1024.0, 1.0, 12, "uint16"), 1, inside=Inside())


def usable(name: str) -> None:
    missing = [need for need in CODECS[name].needs if need.missing()]
    if missing:
        pytest.skip(f"{missing[0].package} is not installed")


def ball(volume: Volume, radius: float = 0.5) -> Region:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in volume.shape[:3]), indexing="ij")
    return Region((x - 0.2) ** 2 + y**2 + z**2 / 2 < radius**2, "ball", {"kind": "mask"}, "ball")


def differences(volume: Volume, path: Path, region: Region) -> tuple[np.ndarray, np.ndarray]:
    back = np.asarray(slimscan.read(path).pixels)
    off = np.abs(back.astype(np.float64) - np.asarray(volume.pixels))
    inside = np.asarray(region.weight)
    return off[inside], off[~inside]


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_keeps_the_inside_exact_in_an_ozx(name: str, tmp_path: Path) -> None:
    usable(name)
    volume = head((10, 64, 64))
    region, place = ball(volume), tmp_path / "a.ozx"
    receipt = compress(volume, place, codec=name, roi=region, outside="max-error:40")
    inside, outside = differences(volume, place, region)
    assert inside.max() == 0
    assert 0 < outside.max() <= 40
    assert receipt.regions is not None
    assert receipt.regions["inside"]["identical"]
    assert receipt.regions["inside"]["max_abs_error"] == 0
    assert receipt.regions["inside"]["voxels"] == inside.size
    assert receipt.regions["outside"]["max_abs_error"] == outside.max()
    assert receipt.regions["outside"]["mse"] == pytest.approx((outside**2).mean())
    assert receipt.regions["region"] == {"name": "ball", "source": "ball", "kind": "mask"}
    assert {"decodes", "inside", "outside"} <= {check.name for check in receipt.checks if check.passed}


@pytest.mark.parametrize("name", LOSSY)
def test_a_bound_inside_and_a_ratio_outside(name: str, tmp_path: Path) -> None:
    usable(name)
    volume = head((40, 96, 96))
    region, place = ball(volume), tmp_path / "a.ozx"
    receipt = compress(volume, place, codec=name, roi=region, inside="max-error:2", outside="ratio:6")
    inside, outside = differences(volume, place, region)
    assert inside.max() == 2
    assert receipt.regions is not None
    spent = 2 * outside.size / receipt.regions["outside"]["bytes"]
    assert spent == pytest.approx(6, rel=0.02)


@pytest.mark.parametrize("name", ["jpeg2000", "sperr", "zstd"])
def test_a_psnr_inside_is_met_from_above(name: str, tmp_path: Path) -> None:
    usable(name)
    volume = head((40, 64, 64))
    region, place = ball(volume), tmp_path / "a.ozx"
    compress(volume, place, codec=name, roi=region, inside="psnr:62", outside="max-error:30", peak=4095.0)
    inside, _ = differences(volume, place, region)
    assert 62 <= 10 * np.log10(4095**2 / (inside**2).mean()) <= 62.1


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    share=st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]),
    bound=st.integers(0, 9),
    bits=st.sampled_from([1, 8, 12, 16]),
    samples=st.sampled_from([(), (3,)]),
)
def test_codes_inside_come_back_within_the_bound(
    seed: int, shape: tuple[int, int, int], share: float, bound: int, bits: int, samples: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**bits, (*shape, *samples)).astype("uint8" if bits <= 8 else "uint16")
    inside = rng.random(shape) < share
    split = int(rng.integers(0, inside.sum() + 1))
    back = read_inside(code_inside(codes, inside, bound, split), inside, samples, 2**bits - 1)
    off = np.abs(back - codes[inside].astype(np.int64))
    assert back.shape == codes[inside].shape
    assert back.max(initial=0) < 2**bits
    assert off[:split].max(initial=0) <= bound + 1
    assert off[split:].max(initial=0) <= bound


def test_codes_worked_by_hand() -> None:
    codes = np.array([[[10, 11, 12, 13]]], np.uint16)
    inside = np.array([[[True, False, True, True]]])
    coded = code_inside(codes, inside, 2)  # (c + 2) // 5 = 2, 2, 3, and times 5
    assert HEAD.unpack_from(coded) == (VALUES, 2, 2, 0)
    assert read_inside(coded, inside, (), 4095).tolist() == [10, 10, 15]
    assert read_inside(coded, inside, (), 14).tolist() == [10, 10, 14]  # never above the largest code
    assert read_inside(code_inside(codes, inside, 1, 1), inside, (), 4095).tolist() == [10, 12, 12]
    assert code_inside(codes, np.zeros_like(inside)) == b""


def test_the_smallest_form_is_taken() -> None:
    rng = np.random.default_rng(5)
    smooth = np.cumsum(rng.integers(-2, 3, (1, 64, 64)), axis=2).astype(np.int64) + 2000
    full = np.ones(smooth.shape, bool)
    thin = (np.add.outer(np.arange(64), np.arange(64)) % 64 < 3)[None]  # a diagonal in a large box
    assert code_inside(smooth.astype(np.uint16), full)[0] == CROP
    assert code_inside(rng.integers(0, 4096, smooth.shape).astype(np.uint16), thin)[0] in (PACKED, VALUES)


def test_holes_are_filled_smoothly_from_around() -> None:
    codes = np.full((1, 8, 8), 100, np.uint16)
    hole = np.zeros(codes.shape, bool)
    hole[0, 2:6, 2:6] = True
    codes[hole] = 4000
    assert (filled(codes, hole, ~hole) == 100).all()
    assert filled(codes, np.zeros_like(hole), ~hole) is codes
    nothing = filled(codes, np.ones_like(hole), np.zeros_like(hole))
    assert (nothing == 0).all()


@pytest.mark.parametrize("where", ["empty slices", "one voxel", "whole volume", "nowhere in a chunk"])
@pytest.mark.parametrize("name", ["jpeg2000", "hevc", "zstd"])
def test_odd_regions(where: str, name: str, tmp_path: Path) -> None:
    usable(name)
    volume = head((20, 48, 48))
    weight = np.zeros(volume.shape, bool)
    if where == "whole volume":
        weight[:] = True
    elif where == "one voxel":
        weight[7, 20, 30] = True
    else:
        weight[3 if where == "empty slices" else 17 :: 5, 10:30, 12:40] = True
    region, place = Region(weight, where), tmp_path / "a.ozx"
    compress(volume, place, codec=name, roi=region, outside="max-error:60" if name == "hevc" else "constant:0")
    inside, _ = differences(volume, place, region)
    assert inside.max() == 0


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    amount=st.sampled_from([3.0, 40.0, 900.0]),
    kind=st.sampled_from(["wavelet", "levels", "constant", "coarse"]),
)
def test_what_is_treated_keeps_the_region_and_padding(seed: int, amount: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, *rng.integers(1, 40, 2))
    pixels = rng.integers(-1024, 2000, shape).astype(np.int16)
    pixels[rng.random(shape) < 0.1] = -2000
    inside = np.repeat(rng.random((1, *shape[1:])) < rng.choice([0.0, 0.01, 0.5]), 2, axis=0)
    treat = Treat(kind, 2 if kind == "coarse" else amount, -32768, 32767, padding=-2000)  # type: ignore[arg-type]
    out = treated(treat, pixels, inside)
    assert out.dtype == pixels.dtype
    assert (out[inside] == pixels[inside]).all()
    assert ((out == -2000) == (pixels == -2000)).all()
    if kind == "levels":
        assert np.abs(out.astype(int) - pixels).max(initial=0) <= amount


def test_levels_worked_by_hand() -> None:
    pixels = np.array([[[0, 1, 2, 3, 7, 8]]], np.uint16)
    treat = Treat("levels", 1, 0, 8)
    assert treated(treat, pixels, None).tolist() == [[[0, 0, 3, 3, 6, 8]]]  # 9 is above the largest value
    keep = np.array([[[False, True, False, False, True, False]]])
    assert treated(treat, pixels, keep).tolist() == [[[0, 1, 3, 3, 7, 8]]]


@pytest.mark.parametrize("name", ["jpeg2000", "jpegls", "htj2k", "jpegxl"])
@pytest.mark.parametrize("outside", ["ratio:8", "max-error:25", "constant:-1000", "coarse:2"])
def test_dicom_that_any_decoder_reads_holds_the_region_exactly(name: str, outside: str, tmp_path: Path) -> None:
    import pydicom

    volume = head((8, 64, 64))
    region, place = ball(volume), tmp_path / "out"
    receipt = compress(volume, f"{place}/", codec=name, roi=region, outside=outside)
    inside, off = differences(volume, place, region)
    assert inside.max() == 0
    assert off.max() > 0
    for path in place.iterdir():
        found = pydicom.dcmread(path)
        assert found.LossyImageCompression == "01"
        assert found.ImageType[0] == "DERIVED"
        assert float(found.LossyImageCompressionRatio) == pytest.approx(
            64 * 64 * 2 / len(pydicom.encaps.get_frame(found.PixelData, 0)), rel=0.01
        )
    if name == "jpeg2000":  # not by our own reader
        found = sorted(
            (pydicom.dcmread(path) for path in place.iterdir()), key=lambda one: float(one.ImagePositionPatient[2])
        )
        stored = np.stack([one.pixel_array for one in found])
        kept = np.asarray(region.weight)
        assert (stored[kept] == np.asarray(volume.pixels)[kept]).all()
    assert receipt.regions is not None
    assert "lossless" in receipt.setting


@pytest.mark.parametrize("name", ["a.nii.gz", "a.tif", "a.ozx"])
def test_a_constant_outside_may_be_the_background(name: str, tmp_path: Path) -> None:
    volume = masked()
    region = ball(volume, 0.3)
    compress(volume, tmp_path / name, roi=region, outside="constant")
    back = np.asarray(slimscan.read(tmp_path / name).pixels)
    kept = np.asarray(region.weight)
    assert (back[kept] == np.asarray(volume.pixels)[kept]).all()
    outside = back[~kept]
    assert len(np.unique(outside)) <= 2
    assert outside.max() <= np.asarray(volume.pixels)[np.asarray(volume.pixels) > 0].min()


@pytest.mark.parametrize("name", ["out/", "a.ozx", "a.nii.gz"])
def test_a_calm_outside_takes_fewer_bytes(name: str, tmp_path: Path) -> None:
    volume = head((8, 64, 64))
    region = ball(volume)
    sizes = []
    for outside in ("calm:iterations=1", "calm:k=2,iterations=15"):
        receipt = compress(
            volume,
            f"{tmp_path}/{name}",
            roi=region,
            outside=outside,
            codec="jpeg2000" if name == "out/" else None,
            force=True,
        )
        inside, off = differences(volume, tmp_path / name, region)
        assert inside.max() == 0
        assert off.max() > 0
        assert receipt.regions is not None
        sizes.append(receipt.payload_bytes)
    assert sizes[1] < sizes[0]
    if name == "a.ozx":
        smaller = compress(volume, f"{tmp_path}/{name}", roi=region, outside="calm+ratio:20", force=True)
        assert smaller.payload_bytes < sizes[1]


def test_near_lossless_jpegls_keeps_a_bound_inside(tmp_path: Path) -> None:
    volume = head((8, 64, 64))
    region = ball(volume)
    receipt = compress(
        volume, f"{tmp_path}/out/", codec="jpegls", roi=region, inside="max-error:2", outside="constant:0"
    )
    inside, _ = differences(volume, tmp_path / "out", region)
    assert inside.max() == 2
    assert receipt.setting.startswith("jpegls@2")


def test_nifti_gets_smaller_and_stays_ordinary(tmp_path: Path) -> None:
    import nibabel

    volume = head((12, 64, 64))
    region = ball(volume)
    slimscan.write(volume, tmp_path / "plain.nii.gz")
    compress(volume, tmp_path / "out.nii.gz", roi=region, outside="max-error:40")
    assert 2 * (tmp_path / "out.nii.gz").stat().st_size < (tmp_path / "plain.nii.gz").stat().st_size
    back = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj).T
    kept = np.asarray(region.weight)
    assert (back[kept] == np.asarray(volume.pixels)[kept]).all()
    assert np.abs(back - np.asarray(volume.pixels)).max() <= 40


def test_tiff_and_background(tmp_path: Path) -> None:
    volume = masked()
    region = ball(volume, 0.3)
    for name in ("a.tif", "a.ozx"):
        receipt = compress(volume, tmp_path / name, roi=region, outside="ratio:10")
        inside, _ = differences(volume, tmp_path / name, region)
        back = np.asarray(slimscan.read(tmp_path / name).pixels)
        assert inside.max() == 0
        assert ((back == 0) == (np.asarray(volume.pixels) == 0)).all()
        assert any(check.name == "background" and check.passed for check in receipt.checks)


@pytest.mark.parametrize("name", ["jpeg2000", "hevc", "jpegls"])
@pytest.mark.parametrize("value", [5, 14])
def test_the_whole_file_meets_a_ratio_and_bytes_go_inside(name: str, value: float, tmp_path: Path) -> None:
    usable(name)
    volume = head((40, 96, 96))
    region, place = ball(volume), tmp_path / "a.ozx"
    receipt = compress(volume, place, codec=name, roi=region, target=Ratio(value))
    assert receipt.raw_bytes / place.stat().st_size == pytest.approx(value, rel=0.02)
    inside, outside = differences(volume, place, region)
    assert inside.max() == 0 if value == 5 else inside.max() < 20
    assert inside.max() < outside.max()


def test_what_cannot_be_had_says_what_can(tmp_path: Path) -> None:
    volume = head((12, 64, 64))
    with pytest.raises(
        TargetUnreachable, match=r"^head: --ratio 200 with this region cannot be met: .* ratios up to \d+\.\d+ are"
    ):
        compress(volume, tmp_path / "a.ozx", roi=ball(volume), target=Ratio(200))
    whole = Region(np.ones(volume.shape, bool))
    with pytest.raises(TargetUnreachable, match="the region is the whole image"):
        compress(volume, tmp_path / "a.ozx", roi=whole, outside="ratio:20")
    assert not list(tmp_path.iterdir())


def test_floats_follow_their_16_bits(tmp_path: Path) -> None:
    source = head((8, 48, 48))
    volume = Volume(np.asarray(source.pixels) / np.float32(7), source="floats")
    region = ball(volume)
    receipt = compress(volume, tmp_path / "a.ozx", roi=region, outside="ratio:10")
    inside, _ = differences(volume, tmp_path / "a.ozx", region)
    assert 0 < inside.max() <= np.ptp(volume.pixels) / 65535 / 2 * 1.001
    assert next(check for check in receipt.checks if check.name == "inside").asked.startswith(
        "lossless but for the mapping"
    )
    with pytest.raises(TargetUnreachable, match="finer than half the 16-bit step"):
        compress(volume, tmp_path / "b.ozx", roi=region, inside="max-error:0.0001", outside="ratio:10")


def test_colours(tmp_path: Path) -> None:
    volume = slide()
    region = ball(volume)
    compress(volume, tmp_path / "a.ozx", roi=region, outside="ratio:12")
    inside, outside = differences(volume, tmp_path / "a.ozx", region)
    assert inside.max() == 0
    assert outside.max() > 0


def chunk() -> tuple[np.ndarray, np.ndarray, bytes]:
    pixels = np.asarray(head((1, 40, 40)).pixels)
    inside = np.zeros(pixels.shape, bool)
    inside[:, 8:30, 5:33] = True
    base = encode(SCHEME, prepare(SCHEME, pixels, inside=inside), 40.0)
    return pixels, inside, with_inside(base, *code_region(SCHEME, pixels, inside))


def test_a_chunk_is_a_base_with_the_inside_behind() -> None:
    pixels, inside, payload = chunk()
    whole = decode(SCHEME, payload, pixels.shape)
    assert (whole[inside] == pixels[inside]).all()
    parts = parts_of(SCHEME, payload)
    cut = payload[: ENVELOPE_2.size + len(parts.mask) + len(parts.base)]
    base = decode(SCHEME, cut, pixels.shape, inside=False)
    assert (base[~inside] == whole[~inside]).all()
    assert (base == decode(SCHEME, payload, pixels.shape, inside=False)).all()
    with pytest.raises(CodecError, match=r"^jpeg2000: the chunk says \d+ bytes, and \d+ are there; it is damaged$"):
        decode(SCHEME, cut, pixels.shape)
    again = Scheme.from_json(SCHEME.as_json())
    assert again == SCHEME
    assert SCHEME.as_json()["version"] == 2
    assert Scheme("jpegls", SCHEME.grid, 1).as_json()["version"] == 1


def test_damaged_chunks_are_refused_or_keep_their_shape() -> None:
    pixels, _, payload = chunk()
    chance = random.Random(4)
    refused = 0
    for _ in range(300):
        bad = bytearray(payload)
        if chance.random() < 0.3:
            bad = bad[: chance.randrange(len(bad))]
        else:
            at = chance.randrange(ENVELOPE_2.size) if chance.random() < 0.3 else chance.randrange(len(bad))
            bad[at] ^= 1 << chance.randrange(8)
        try:
            back = decode(SCHEME, bytes(bad), pixels.shape)
        except CodecError:
            refused += 1
        else:
            assert back.shape == pixels.shape
            assert back.dtype == pixels.dtype
    assert refused > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outside": "ratio:20", "target": Ratio(3)}, "--outside ratio:20 and ratio:3: two targets"),
        ({}, "--roi: want --outside"),
        ({"target": Lossless()}, "--roi: want --outside .* came: lossless"),
        ({"outside": "blur:3"}, '--outside "blur:3": want ratio:R'),
        ({"outside": "ratio:x"}, '--outside "ratio:x": "x" is no number'),
        ({"outside": "coarse:9"}, "want coarse:N, with 1 to 5"),
        ({"outside": "calm+psnr:40"}, "it goes with ratio or setting, or alone"),
        ({"outside": "ratio:4", "inside": "good"}, '--inside "good": want lossless, max-error:N or psnr:DB'),
        ({"outside": "ratio:4", "per": "slice"}, "--per slice with --roi"),
        ({"outside": "ratio:4", "codec": "auto"}, "--codec auto with --roi"),
        ({"outside": "constant", "codec": "hevc"}, "which has no exact mode"),
        ({"outside": "setting:hevc@20", "codec": "jpegls"}, "name two codecs"),
        ({"roi": None, "outside": "ratio:4"}, "--outside belongs to a region"),
        ({"roi": Region(np.ones((2, 2, 2), bool))}, "want its grid"),
    ],
)
def test_words_that_do_not_go_together(options: dict, message: str, tmp_path: Path) -> None:
    volume = head((4, 32, 32))
    asked = {"roi": ball(volume)} | options
    if "outside" not in asked and "want its grid" in message:
        asked["outside"] = "ratio:4"
    if "hevc" in str(options):
        usable("hevc")
    with pytest.raises(InputError, match=message):
        compress(volume, tmp_path / "a.ozx", **asked)


def test_words() -> None:
    assert parse_inside("lossless") == Lossless()
    assert parse_inside("max-error:5HU") == MaxError(5, "HU")
    assert parse_inside("psnr:60") == Psnr(60)
    assert parse_outside("ratio:40") == Outside(Ratio(40))
    assert parse_outside("setting:jpeg2000@40") == Outside(Setting("jpeg2000", 40))
    assert parse_outside("calm:k=0.3,iterations=5+ratio:9") == Outside(
        Ratio(9), "calm", {"k": "0.3", "iterations": "5"}
    )
    assert str(parse_outside("constant:-1000")) == "constant:value=-1000"


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    volume = head((10, 48, 48))
    for name in ("a.ozx", "b.ozx"):
        compress(volume, tmp_path / name, codec="jpegls", roi=ball(volume), outside="max-error:9")
    assert (tmp_path / "a.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes()


def test_a_real_abdomen_with_its_liver(tmp_path: Path) -> None:
    data = os.environ.get("SLIMSCAN_DATA")
    if not data:
        pytest.skip("SLIMSCAN_DATA names no folder with images")
    folder = Path(data) / "ct_abdomen_totalseg_example"
    mask = folder / "example_seg_fast_force_split.nii.gz"
    receipt = compress(folder / "example_ct.nii.gz", tmp_path / "a.ozx", roi=f"{mask}#5", outside="ratio:40")
    whole = compress(folder / "example_ct.nii.gz", tmp_path / "b.ozx", target=Lossless(), codec="jpegxl")
    assert receipt.regions is not None
    assert receipt.regions["inside"]["identical"]
    assert receipt.regions["inside"]["voxels"] > 1000
    assert receipt.file_bytes < whole.file_bytes / 4


def test_the_command_says_inside_and_outside(tmp_path: Path) -> None:
    from commands import here as run

    volume = head((8, 48, 48))
    slimscan.write(volume, tmp_path / "ct.nii.gz")
    mask = Volume(np.asarray(ball(volume).weight).astype(np.uint8), volume.affine_mm)
    slimscan.write(mask, tmp_path / "mask.nii.gz")
    words = ["compress", tmp_path / "ct.nii.gz", "-o", tmp_path / "a.ozx", "--roi", tmp_path / "mask.nii.gz"]
    done = run(*words, "--outside", "max-error:20")
    assert done.status == 0, done.err
    assert "region" in done.out
    assert "nothing differs" in done.out
    done = run("info", tmp_path / "a.ozx", "--json")
    assert done.json["receipt"]["regions"]["region"]["source"] == "mask.nii.gz"
    assert done.json["receipt"]["regions"]["inside"]["identical"] is True
    assert "inside" in run("info", tmp_path / "a.ozx").out
    done = run(*words, "--force")
    assert done.status == 2
    assert "--roi: want --outside" in done.err
