"""Survey and grid: what is seen of a volume, and that every code comes back as the value that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from phantoms import head, masked

from slimscan.errors import InputError
from slimscan.nouns import Volume
from slimscan.press.grid import grid_for, plain_grid, stored_bits
from slimscan.press.survey import survey

SMALL = (3, 5, 4)


@given(st.sampled_from(["uint8", "int8", "uint16", "int16"]).flatmap(lambda kind: npst.arrays(kind, SMALL)))
def test_integers_of_16_bits_come_back_exactly(pixels: np.ndarray) -> None:
    volume = Volume(pixels)
    grid = grid_for(volume, survey(volume))
    codes = grid.codes(pixels)
    assert grid.exact
    assert codes.dtype == grid.code_dtype
    assert codes.min() >= 0
    assert int(codes.max()).bit_length() <= grid.bits
    back = grid.stored(codes)
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)


@given(npst.arrays("int32", SMALL, elements=st.integers(-30000, 30000)))
def test_wide_containers_of_narrow_values_come_back_exactly(pixels: np.ndarray) -> None:
    volume = Volume(pixels)
    grid = grid_for(volume, survey(volume))
    np.testing.assert_array_equal(grid.stored(grid.codes(pixels)), pixels)


@given(npst.arrays("float64", SMALL, elements=st.floats(-1e4, 1e4, width=32)))
def test_floats_are_off_by_at_most_half_a_step(pixels: np.ndarray) -> None:
    volume = Volume(pixels)
    seen = survey(volume)
    grid = grid_for(volume, seen)
    off = np.abs(grid.stored(grid.codes(pixels)) - pixels)
    assert off.max() <= (0.0 if grid.exact else grid.step / 2 * (1 + 1e-6) + 1e-9)


def test_floats_that_hold_integers_are_integers() -> None:
    pixels = np.array([[[0.0, 1500.0], [7.0, -3.0]]], np.float32)
    volume = Volume(pixels)
    grid = grid_for(volume, survey(volume))
    assert (grid.exact, grid.offset, grid.bits) == (True, -3.0, 11)
    np.testing.assert_array_equal(grid.stored(grid.codes(pixels)), pixels)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "bits"),
    [
        ("int16", -1024, 3033, 12),
        ("uint16", 0, 4095, 12),
        ("uint16", 5, 14580, 14),
        ("uint8", 0, 90, 8),
        ("int16", 0, 3, 8),
    ],
)
def test_the_stored_peak_is_of_the_bits_that_the_range_needs(dtype: str, low: int, high: int, bits: int) -> None:
    volume = Volume(np.array([[[low, high]]], dtype))
    assert stored_bits(volume, survey(volume)) == bits


def test_a_header_that_knows_its_bits_is_believed() -> None:
    volume = Volume(np.array([[[0, 90]]], np.uint16), bits=12, about={"bits_declared": True})
    assert stored_bits(volume, survey(volume)) == 12


def test_a_plain_grid_leaves_room_for_the_sign() -> None:
    volume = Volume(np.array([[[-1024, 3033]]], np.int16))
    assert plain_grid(volume, survey(volume)).bits == 13


def test_flat_air_is_background_and_noisy_air_is_not() -> None:
    assert survey(masked()).background == 0.0
    assert survey(head()).background is None


def test_a_padding_value_of_the_header_is_background_however_rare() -> None:
    pixels = head().pixels[:].copy()
    pixels[0, 0, 0] = -2000
    seen = survey(Volume(pixels, padding=-2000))
    assert seen.background == -2000
    assert seen.low == -2000
    assert seen.inside_low >= -1024


def test_a_constant_image_has_no_background() -> None:
    seen = survey(Volume(np.full((2, 8, 8), 5, np.uint8)))
    assert (seen.low, seen.high, seen.background) == (5, 5, None)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((0, 4, 4), np.uint8), "v: shape (0, 4, 4) has no voxels to compress; want (z, y, x) or (z, y, x, c)"),
        (np.zeros((4, 4), np.uint8), "v: shape (4, 4) has no voxels to compress; want (z, y, x) or (z, y, x, c)"),
        (np.zeros((1, 2, 2), bool), "v: samples of type bool cannot be compressed; integers and floats can"),
        (
            np.array([[[1, np.nan], [np.inf, 2]]]),
            "v: 2 voxels are NaN or infinite, the first at (0, 0, 1) (z, y, x); replace them by a number before compressing",
        ),
    ],
)
def test_what_cannot_be_compressed_is_said(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError) as caught:
        survey(Volume(pixels, source="v"))
    assert str(caught.value) == message
