"""Every lossy codec meets every kind of target, measured on the written file; every exact codec is exact."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from phantoms import head, masked, slide

import slimscan
from slimscan.codecs import CODECS
from slimscan.errors import CheckFailed, InputError, LayoutRefused, TargetUnreachable
from slimscan.nouns import Lossless, MaxError, Psnr, Ratio, Setting, Target, Volume
from slimscan.press.compress import compress

LOSSY = [name for name, codec in CODECS.items() if codec.lossy]
EXACT = [name for name, codec in CODECS.items() if codec.lossless]
SCAN = head((40, 112, 112), noise=4.0)


def usable(name: str) -> None:
    missing = [need for need in CODECS[name].needs if need.missing()]
    if missing:
        pytest.skip(f"{name} needs {missing[0].package}")


def decoded(path: Path) -> np.ndarray:
    return np.asarray(slimscan.read(path).pixels)


def psnr_db(test: np.ndarray, reference: np.ndarray, peak: float) -> float:
    mse = float(((test.astype(np.float64) - reference.astype(np.float64)) ** 2).mean())
    return math.inf if mse == 0 else 10 * math.log10(peak**2 / mse)


@pytest.mark.parametrize("name", LOSSY)
def test_a_ratio_is_met_on_the_bytes_on_disk(name: str, tmp_path: Path) -> None:
    usable(name)
    out = tmp_path / "a.ozx"
    receipt = compress(SCAN, out, target=Ratio(12), codec=name)
    raw = SCAN.pixels.nbytes  # type: ignore[union-attr]
    assert receipt.file_bytes == out.stat().st_size
    assert receipt.raw_bytes == raw
    assert receipt.ratio == pytest.approx(raw / out.stat().st_size)
    assert 12 * 0.98 <= receipt.ratio <= 12 * 1.02


@pytest.mark.parametrize("name", LOSSY)
def test_a_psnr_is_met_from_above(name: str, tmp_path: Path) -> None:
    usable(name)
    receipt = compress(SCAN, tmp_path / "a.ozx", target=Psnr(50), codec=name)
    assert receipt.bits == 11  # -1003..917: the peak is of the bits that the range needs
    got = psnr_db(decoded(tmp_path / "a.ozx"), np.asarray(SCAN.pixels), 2**receipt.bits - 1)
    assert receipt.psnr_db == pytest.approx(got, abs=1e-6)
    assert 50 <= got <= 50.1


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("bound", [12, 40])
def test_a_largest_error_is_never_exceeded_by_one_voxel(name: str, bound: int, tmp_path: Path) -> None:
    usable(name)
    try:
        receipt = compress(SCAN, tmp_path / "a.ozx", target=MaxError(bound), codec=name)
    except TargetUnreachable as reached:  # video of 10 bits ends early, and says where
        assert name.startswith("av1")
        assert f"head: --max-error {bound} cannot be met by {name}: its finest" in str(reached)  # noqa: PT017
        return
    worst = np.abs(decoded(tmp_path / "a.ozx").astype(np.int64) - np.asarray(SCAN.pixels, np.int64)).max()
    assert receipt.max_abs_error == worst
    assert worst <= bound


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("volume", [head((5, 33, 21)), masked((4, 40, 31)), slide()], ids=["ct", "masked", "rgb"])
def test_exact_codecs_give_every_voxel_back(name: str, volume: Volume, tmp_path: Path) -> None:
    usable(name)
    try:
        receipt = compress(volume, tmp_path / "a.ozx", target=Lossless(), codec=name)
    except LayoutRefused as refused:
        assert len(volume.shape) == 4
        assert str(refused).startswith(f"{name} cannot hold 3 samples a voxel")  # noqa: PT017 (refusals are allowed)
        return
    assert receipt.identical
    back = slimscan.read(tmp_path / "a.ozx")
    np.testing.assert_array_equal(back.pixels, volume.pixels)
    np.testing.assert_allclose(back.affine_mm, volume.affine_mm)


@pytest.mark.parametrize("name", LOSSY)
def test_background_comes_back_exactly(name: str, tmp_path: Path) -> None:
    usable(name)
    volume = masked((40, 64, 64))
    receipt = compress(volume, tmp_path / "a.ozx", target=Psnr(46), codec=name)
    back = decoded(tmp_path / "a.ozx")
    assert (back[np.asarray(volume.pixels) == 0] == 0).all()
    assert "background" in [check.name for check in receipt.checks]


@pytest.mark.parametrize("target", [Ratio(15), Psnr(50)])
def test_per_slice_meets_the_target_in_every_slice(target: Ratio | Psnr, tmp_path: Path) -> None:
    volume = head((10, 128, 128))
    peak = 2 ** compress(volume, tmp_path / "a.ozx", target=target, codec="jpeg2000", per="slice").bits - 1
    back = decoded(tmp_path / "a.ozx")
    if isinstance(target, Psnr):
        for before, after in zip(np.asarray(volume.pixels), back, strict=True):
            # One small slice is cut between coding passes; the volume as a whole is met within 0.1 dB.
            assert 50 <= psnr_db(after, before, peak) <= 50.3
    else:
        from slimscan.files.ozx import open_box

        sizes = [length for _, length in open_box(tmp_path / "a.ozx").chunks]
        assert max(sizes) / min(sizes) < 1.05


def test_a_ratio_that_exact_coding_beats_gives_the_exact_file(tmp_path: Path) -> None:
    receipt = compress(SCAN, tmp_path / "a.ozx", target=Ratio(1.2), codec="jpeg2000")
    assert receipt.identical
    assert receipt.setting == "jpeg2000@lossless"
    assert receipt.ratio > 1.2


def test_what_cannot_be_reached_says_what_can(tmp_path: Path) -> None:
    with pytest.raises(TargetUnreachable) as caught:
        compress(head((8, 32, 32)), tmp_path / "a.ozx", target=Ratio(3000), codec="jpeg2000")
    assert "the file's own description is" in str(caught.value)
    with pytest.raises(TargetUnreachable) as caught:
        compress(SCAN, tmp_path / "a.ozx", target=Ratio(300), codec="jpeg2000")
    assert "head: --ratio 300 cannot be met by jpeg2000: its coarsest setting, psnr_db 10, gives ratio" in str(
        caught.value
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Ratio(0.5), "--ratio 0.5: want a number of at least 1, for example 20"),
        (Ratio(math.nan), "--ratio nan: want a number of at least 1, for example 20"),
        (Psnr(-3), "--psnr -3: want decibels between 0 and 200, for example 55"),
        (MaxError(-1), "--max-error -1: want a number of at least 0, in stored units"),
        (
            Setting("jpeg2000", 500.0),
            "jpeg2000: psnr_db 500 is outside 10..130 dB (finest at 130); choose a value inside",
        ),
    ],
)
def test_numbers_that_mean_nothing_are_refused(target: Target, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        compress(SCAN, tmp_path / "a.ozx", target=target)
    assert str(caught.value) == message


def test_floats_are_kept_exactly_when_asked(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(size=(5, 16, 17)).astype(np.float32)
    receipt = compress(Volume(pixels), tmp_path / "a.ozx", target=Lossless())
    assert receipt.identical
    np.testing.assert_array_equal(decoded(tmp_path / "a.ozx"), pixels)


def test_floats_mapped_to_16_bits_count_the_step_in_the_error(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(size=(6, 32, 32)).astype(np.float32)
    with pytest.raises(LayoutRefused, match="jpeg2000 cannot hold samples of type float32"):
        compress(Volume(pixels), tmp_path / "a.ozx", target=Setting("jpeg2000", None))
    step = float(np.ptp(pixels)) / 65535
    loose = compress(Volume(pixels), tmp_path / "b.ozx", target=MaxError(0.05), codec="jpeg2000")
    assert loose.max_abs_error is not None
    assert step / 2 < loose.max_abs_error <= 0.05
    with pytest.raises(TargetUnreachable, match="is finer than half the 16-bit step"):
        compress(Volume(pixels), tmp_path / "c.ozx", target=MaxError(step / 10), codec="jpeg2000")


def test_palettes_are_never_lossy(tmp_path: Path) -> None:
    volume = Volume(np.zeros((1, 8, 8), np.uint8), about={"palette": True}, source="p.dcm")
    with pytest.raises(InputError, match=r"^p\.dcm: palette colours are numbers of a table, not brightness"):
        compress(volume, tmp_path / "a.ozx", target=Ratio(5))


def test_auto_is_as_good_as_the_best_and_shows_its_table(tmp_path: Path) -> None:
    receipt = compress(SCAN, tmp_path / "auto.ozx", target=Psnr(48), codec="auto")
    rows = {str(row["codec"]): row for row in receipt.candidates}
    assert rows[receipt.codec]["chosen"]
    assert set(rows) == {name for name in LOSSY if not any(need.missing() for need in CODECS[name].needs)}
    others = [name for name in ("jpeg2000", "jpegls", "jpegxl", "sperr") if name in rows]
    sizes = [compress(SCAN, tmp_path / f"{name}.ozx", target=Psnr(48), codec=name).file_bytes for name in others]
    assert receipt.file_bytes <= 1.02 * min(sizes)


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        compress(SCAN, tmp_path / f"{name}.ozx", target=Ratio(15), codec="jpeg2000")
    assert (tmp_path / "a.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes()


@pytest.mark.parametrize("each", ["serial", "processes"])
def test_every_map_gives_the_same_file(each: str, tmp_path: Path) -> None:
    from slimscan.each import choose

    small = head((6, 64, 64))
    compress(small, tmp_path / "threads.ozx", target=Psnr(45), codec="jpeg2000")
    compress(small, tmp_path / "other.ozx", target=Psnr(45), codec="jpeg2000", each=choose(each, 2))
    assert (tmp_path / "threads.ozx").read_bytes() == (tmp_path / "other.ozx").read_bytes()


def test_dask_gives_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from slimscan.each import choose

    small = head((6, 64, 64))
    compress(small, tmp_path / "threads.ozx", target=Ratio(5), codec="jpeg2000")
    compress(small, tmp_path / "dask.ozx", target=Ratio(5), codec="jpeg2000", each=choose("dask", 2))
    assert (tmp_path / "threads.ozx").read_bytes() == (tmp_path / "dask.ozx").read_bytes()


def test_what_comes_back_wrong_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimscan.files import ozx

    honest = ozx.read_chunk

    def flipped(path: Path, offset: int, length: int, index: int) -> bytes:
        payload = bytearray(honest(path, offset, length, index))
        return bytes(payload[: len(payload) // 2])

    monkeypatch.setattr(ozx, "read_chunk", flipped)
    with pytest.raises(CheckFailed, match="what was written does not decode"):
        compress(SCAN, tmp_path / "a.ozx", target=Setting("jpeg2000", 50.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", LOSSY)
def test_an_image_of_one_value_is_small_and_exact_at_any_quality(name: str, tmp_path: Path) -> None:
    usable(name)
    receipt = compress(Volume(np.full((5, 9, 9), 7, np.int16)), tmp_path / "a.ozx", target=Psnr(60), codec=name)
    assert (decoded(tmp_path / "a.ozx") == 7).all()
    assert receipt.identical
