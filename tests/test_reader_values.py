"""Values at the edges of their type, byte orders, minus zero: what comes back is what was promised, by every way of reading."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy.ndimage import gaussian_filter

import slimscan
from slimscan import Lossless, MaxError, Psnr, Ratio, Setting, Volume
from slimscan.codecs import CODECS
from slimscan.errors import InputError, LayoutRefused, TargetUnreachable
from slimscan.files.ozx import open_box

KNOBS = {"jpeg2000": 40, "htj2k": 30, "jpegls": 20, "jpegxl": 3}


def saturated(shape, low, high, dtype):
    noise = gaussian_filter(np.random.default_rng(1).normal(size=shape), (1, 2, 2))
    unit = np.clip((noise - noise.min()) / np.ptp(noise) * 1.4 - 0.2, 0, 1)
    return np.rint(low + unit * (high - low)).astype(dtype)


@pytest.mark.parametrize("codec", KNOBS)
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 200, 255), ("uint16", 65000, 65535), ("int16", 32000, 32767), ("int8", 80, 127), ("uint16", 0, 1000)],
)
def test_an_overshoot_never_wraps_around_and_zarr_reads_the_same(tmp_path, codec, dtype, low, high):
    pixels = saturated((3, 80, 80), low, high, dtype)
    receipt = slimscan.compress(Volume(pixels), tmp_path / "a.zarr", target=Setting(codec, KNOBS[codec]))
    assert receipt.max_abs_error < 1.5 * (high - low)  # a wrapped sample is off by the whole type
    plain = zarr.open(tmp_path / "a.zarr", mode="r")["0"][:]
    np.testing.assert_array_equal(plain, slimscan.read(tmp_path / "a.zarr").pixels)


@pytest.mark.parametrize("codec", CODECS)
def test_big_endian_samples_are_those_of_this_machine(tmp_path, codec):
    found = CODECS[codec]
    target = Setting(codec, None if found.lossless else 40)
    swapped = saturated((5, 40, 40), 0, 4000, ">u2")
    slimscan.compress(Volume(swapped), tmp_path / "a.ozx", target=target)
    slimscan.compress(Volume(swapped.astype("=u2")), tmp_path / "b.ozx", target=target)
    assert (tmp_path / "a.ozx").read_bytes() == (tmp_path / "b.ozx").read_bytes()


def test_minus_zero_and_huge_integers_come_back_bit_for_bit(tmp_path):
    floats = saturated((3, 20, 20), -5, 5, "float32")
    floats[0, 0, 0] = -0.0
    huge = np.arange(3 * 20 * 20, dtype=np.int64).reshape(3, 20, 20) % 90 + 2**60 + 1
    for number, pixels in enumerate((floats, huge)):
        place = tmp_path / f"{number}.ozx"
        assert slimscan.compress(Volume(pixels), place, target=Lossless()).identical
        assert slimscan.read(place).pixels.tobytes() == pixels.tobytes()


def test_loss_of_huge_integers_is_refused_since_it_cannot_be_measured(tmp_path):
    huge = np.arange(3 * 20 * 20, dtype=np.int64).reshape(3, 20, 20) + 2**60
    with pytest.raises(LayoutRefused, match=r"2\*\*53 and more cannot be measured to one unit"):
        slimscan.compress(Volume(huge), tmp_path / "a.ozx", target=MaxError(2))


@pytest.mark.parametrize("codec", ["jpeg2000", "jpegls", "auto"])
@pytest.mark.parametrize("per", ["volume", "slice"])
def test_floats_say_where_their_16_bits_end(tmp_path, codec, per):
    floats = np.random.default_rng(2).normal(size=(4, 30, 30)).astype(np.float32)
    with pytest.raises(TargetUnreachable, match=r"end at 107\.\d\d dB"):
        slimscan.compress(Volume(floats), tmp_path / "a.ozx", target=Psnr(115), codec=codec, per=per)
    assert not (tmp_path / "a.ozx").exists()


def test_a_psnr_between_two_settings_of_floats_says_both(tmp_path):
    floats = np.random.default_rng(2).normal(size=(1, 30, 30)).astype(np.float32)
    with pytest.raises(TargetUnreachable, match=r"gives 107\.\d\d dB or 9\d\.\d\d dB"):
        slimscan.compress(Volume(floats), tmp_path / "a.ozx", target=Psnr(105), codec="jpegls")


def test_floats_that_were_mapped_to_16_bits_never_claim_that_nothing_is_lost(tmp_path):
    floats = saturated((8, 90, 90), 0, 3000, "float32") / np.float32(7.3)
    receipt = slimscan.compress(Volume(floats), tmp_path / "a.ozx", target=Ratio(1.2), codec="jpeg2000")
    (check,) = (check for check in receipt.checks if check.name == "ratio")
    assert check.passed
    assert not receipt.identical
    assert check.got.endswith(", and nothing is lost but in the mapping to 16 bits")


@pytest.mark.parametrize("codec", ["jpeg2000", "jpegls"])
def test_per_slice_keeps_the_ratio_in_every_slice(tmp_path, codec):
    rng = np.random.default_rng(3)
    easy, hard = saturated((5, 90, 90), 0, 3000, "uint16"), rng.integers(0, 3000, (4, 90, 90)).astype(np.uint16)
    pixels = np.concatenate([easy, hard])[[0, 5, 1, 6, 2, 7, 3, 8, 4]]
    slimscan.compress(Volume(pixels), tmp_path / "a.ozx", target=Ratio(4), codec=codec, per="slice")
    assert max(length for _, length in open_box(tmp_path / "a.ozx").chunks) <= 90 * 90 * 2 / 4


def test_per_slice_a_flat_slice_may_lift_the_psnr_of_the_whole(tmp_path):
    pixels = saturated((4, 60, 60), 0, 3000, "uint16")
    pixels[1:3] = 7
    receipt = slimscan.compress(Volume(pixels), tmp_path / "a.ozx", target=Psnr(50), per="slice")
    assert receipt.psnr_db > 50.1


def test_a_slice_that_was_handed_out_is_the_callers(tmp_path):
    pixels = saturated((4, 30, 30), 0, 3000, "uint16")
    slimscan.compress(Volume(pixels), tmp_path / "a.ozx", target=Lossless())
    opened = slimscan.open(tmp_path / "a.ozx")
    opened[2][:] = 0
    np.testing.assert_array_equal(opened[2], pixels[2])
    np.testing.assert_array_equal(opened[np.array([3, 0])], pixels[[3, 0]])


def test_geometry_without_numbers_is_refused_in_a_sentence(tmp_path):
    affine = np.eye(4)
    affine[0, 3] = np.nan
    with pytest.raises(InputError, match="the affine, slope or intercept holds NaN or infinity"):
        slimscan.compress(Volume(np.ones((2, 9, 9), np.uint8), affine), tmp_path / "a.ozx", target=Lossless())


def test_the_origin_and_byte_order_of_somebody_elses_zarr(tmp_path):
    group = zarr.open_group(tmp_path / "f.zarr", mode="w", zarr_format=2)
    array = group.create_array("0", shape=(2, 9, 9), dtype=">u2", chunks=(1, 9, 9))
    array[:] = np.arange(162).reshape(2, 9, 9)
    level = [{"type": "scale", "scale": [2, 1, 1]}, {"type": "translation", "translation": [10, 20, 30]}]
    image = {
        "version": "0.4",
        "axes": [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": level}],
        "coordinateTransformations": [{"type": "scale", "scale": [3, 3, 3]}],
    }
    group.attrs["multiscales"] = [image]
    read = slimscan.read(tmp_path / "f.zarr")
    np.testing.assert_allclose(
        read.affine_mm, np.array([[3, 0, 0, 90], [0, 3, 0, 60], [0, 0, 6, 30], [0, 0, 0, 1e3]]) / 1e3
    )
    assert read.pixels.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(read.pixels, np.arange(162).reshape(2, 9, 9))
