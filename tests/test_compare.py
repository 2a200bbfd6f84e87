"""Two volumes compared: the same numbers as the metrics on whole arrays, however they are read and on however many cores."""

from __future__ import annotations

import dataclasses
import math
import os
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan import metrics
from slimscan.errors import GeometryError, InputError
from slimscan.nouns import Volume
from slimscan.press import compare as room
from slimscan.press.compare import compare

CONTRACT = (
    "shape", "psnr_db", "peak", "mse", "mae", "max_abs_error", "ssim", "ms_ssim",
    "entropy_reference", "entropy_test", "identical",
)  # fmt: skip


def pair(shape=(14, 24, 20), seed=0, dtype=np.uint16, **facts):
    random = np.random.default_rng(seed)
    image = random.integers(0, 4096, shape)
    other = np.clip(image + random.integers(-300, 301, shape), 0, 4095)
    facts = {"bits": 12} | facts
    return Volume(image.astype(dtype), **facts), Volume(other.astype(dtype), **facts)


@dataclass
class OnDisk:
    """A Lazy that keeps what was asked of it."""

    pixels: np.ndarray
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def shape(self):
        return self.pixels.shape

    @property
    def dtype(self):
        return self.pixels.dtype

    def __getitem__(self, index):
        self.asked.append((index.start, index.stop))
        return self.pixels[index]


def same(one, other) -> bool:
    """Field by field, where NaN is equal to NaN."""
    return repr(dataclasses.astuple(one)) == repr(dataclasses.astuple(other))


def test_the_fields_begin_with_the_keys_of_the_command() -> None:
    names = tuple(f.name for f in dataclasses.fields(room.Comparison))
    assert names[: len(CONTRACT)] == CONTRACT


@pytest.mark.parametrize("shape", [(14, 24, 20), (3, 90, 83), (1, 11, 12), (12, 16, 16, 3), (2, 5, 4)])
def test_the_numbers_are_those_of_the_metrics(shape) -> None:
    reference, test = pair(shape)
    a, b = reference.pixels, test.pixels
    found = compare(reference, test)
    assert found.shape == shape
    assert (found.peak, found.peak_value, found.unit) == ("stored", 4095.0, "stored units")
    assert found.mse == metrics.mse(a, b)
    assert found.mae == metrics.mae(a, b)
    assert found.max_abs_error == metrics.max_abs_error(a, b)
    assert found.psnr_db == metrics.psnr_db(a, b, bits=12)
    assert found.ssim == pytest.approx(metrics.ssim(a, b, bits=12), abs=1e-14, nan_ok=True)
    assert found.ms_ssim == pytest.approx(metrics.ms_ssim(a, b, bits=12), abs=1e-14, nan_ok=True)
    assert found.ssim_3d == pytest.approx(metrics.ssim_3d(a, b, bits=12), abs=1e-12, nan_ok=True)
    assert found.entropy_reference == metrics.entropy(a)
    assert found.entropy_test == metrics.entropy(b)
    assert found.identical is False
    assert math.isnan(found.wtv_change_percent)
    each = [metrics.mse(a[z], b[z]) for z in range(shape[0])]
    assert [s.mse for s in found.per_slice] == each
    assert [s.z for s in found.per_slice] == list(range(shape[0]))
    assert found.worst_slice == int(np.argmax(each))
    assert found.per_slice[0].psnr_db == metrics.psnr_db(a[0], b[0], bits=12)
    assert found.per_slice[0].max_abs_error == metrics.max_abs_error(a[0], b[0])


def test_identical_volumes() -> None:
    reference, _ = pair()
    found = compare(reference, reference)
    assert found.identical is True
    assert found.psnr_db == math.inf
    assert (found.mse, found.max_abs_error, found.worst_slice) == (0.0, 0.0, 0)
    assert (found.ssim, found.ms_ssim, found.ssim_3d) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("peak", ["range", "dtype", 4096, 1000.0])
def test_every_peak_is_named(peak) -> None:
    reference, test = pair()
    found = compare(reference, test, peak)
    assert found.psnr_db == metrics.psnr_db(reference.pixels, test.pixels, peak)
    assert found.ssim == pytest.approx(metrics.ssim(reference.pixels, test.pixels, peak), abs=1e-14)
    assert found.peak == str(peak).removesuffix(".0")


@pytest.mark.parametrize("depth", [1, 3, 10, 11, 13, 32])
def test_every_slice_is_read_once_and_in_order_whatever_the_slab(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, test = pair((27, 13, 15))
    whole = compare(reference, test)
    monkeypatch.setattr(room, "_SLAB_SLICES", depth)
    disks = OnDisk(reference.pixels), OnDisk(test.pixels)
    lazy = [dataclasses.replace(v, pixels=d) for v, d in zip((reference, test), disks, strict=True)]
    found = compare(lazy[0], lazy[1])
    for disk in disks:
        assert [z for start, stop in disk.asked for z in range(start, stop)] == list(range(27))
        assert max(stop - start for start, stop in disk.asked) <= depth
    assert found.ssim_3d == pytest.approx(whole.ssim_3d, abs=1e-13)
    assert same(dataclasses.replace(found, ssim_3d=0.0), dataclasses.replace(whole, ssim_3d=0.0))


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 4), st.integers(0, 9))
def test_the_number_of_threads_changes_nothing(workers: int, seed: int) -> None:
    reference, test = pair((13, 12, 14), seed)
    assert same(compare(reference, test, workers=workers), compare(reference, test, workers=1))


def test_progress_counts_every_slice() -> None:
    reference, test = pair((5, 4, 4))
    told: list[int] = []
    compare(reference, test, progress=told.append)
    assert sum(told) == 5


def test_memory_does_not_grow_with_the_number_of_slices() -> None:
    class Generated:
        dtype = np.dtype(np.uint16)

        def __init__(self, slices: int, step: int) -> None:
            self.shape, self.step = (slices, 64, 64), step

        def __getitem__(self, index):
            z = np.arange(index.start, index.stop)[:, None, None]
            return ((z * 37 + np.arange(64 * 64).reshape(64, 64) * self.step) % 4096).astype(np.uint16)

    def peak(slices: int) -> int:
        tracemalloc.start()
        compare(Volume(Generated(slices, 5), bits=12), Volume(Generated(slices, 6), bits=12), workers=2)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(40)
    assert peak(400) < 1.5 * peak(100)


# What is compared


def test_real_values_are_compared_where_the_rescaling_differs() -> None:
    hounsfield = np.arange(-1000, -1000 + 12 * 12 * 2, dtype=np.int16).reshape(2, 12, 12)
    stored = Volume((hounsfield + 1024).astype(np.uint16), bits=12, intercept=-1024.0, unit="HU")
    plain = Volume(hounsfield, bits=12, unit="HU")
    found = compare(stored, plain)
    assert found.identical
    assert found.unit == "HU"
    halves = Volume((hounsfield + 1024) // 2, bits=11, slope=2.0, intercept=-1024.0)
    found = compare(stored, halves)
    assert (found.max_abs_error, found.mse, found.peak_value) == (1.0, 0.5, 4095.0)
    found = compare(halves, stored)
    assert (found.peak_value, found.unit) == ((2**11 - 1) * 2.0, "real units")
    assert compare(halves, stored, "range").peak_value == 2.0 * (int(halves.pixels.max()) - int(halves.pixels.min()))
    assert compare(halves, stored, 4096).peak_value == 4096


def test_stored_values_are_compared_where_the_rescaling_is_the_same() -> None:
    reference, test = pair(slope=0.5, intercept=-3.0, unit="HU")
    found = compare(reference, test)
    assert found.unit == "stored units"
    assert found.mse == metrics.mse(reference.pixels, test.pixels)


def test_real_valued_pixels_have_a_range_and_no_entropy() -> None:
    reference, test = pair(dtype=np.float32)
    whole = compare(reference, test)
    assert whole.peak == "range"
    assert whole.peak_value == float(np.ptp(reference.pixels))
    assert whole.entropy_reference == metrics.entropy(reference.pixels)
    reference.pixels[7, 0, 0] += 0.5
    found = compare(reference, test)
    assert math.isnan(found.entropy_reference)
    assert found.entropy_test == whole.entropy_test
    with pytest.raises(InputError, match=r'^peak "dtype" needs integer samples, got float32; use "range" or a number$'):
        compare(reference, test, "dtype")


def test_a_mask_counts_only_what_is_inside() -> None:
    reference, test = pair()
    mask = np.zeros(reference.shape, np.uint8)
    mask[4:, 2:20, 3:17] = 1
    found = compare(reference, test, mask=mask)
    a, b = reference.pixels, test.pixels
    assert found.mse == metrics.mse(a, b, mask)
    assert found.ssim == pytest.approx(metrics.ssim(a, b, bits=12, mask=mask), abs=1e-14)
    assert found.ssim_3d == pytest.approx(metrics.ssim_3d(a, b, bits=12, mask=mask), abs=1e-12)
    assert found.entropy_reference == metrics.entropy(a)
    assert math.isnan(found.per_slice[0].mse)
    assert found.worst_slice >= 4
    assert same(found, compare(reference, test, mask=Volume(mask)))
    outside = dataclasses.replace(test, pixels=np.where(mask, a, b))
    assert compare(reference, outside, mask=mask).identical


def test_texture_in_boxes() -> None:
    reference, test = pair()
    boxes = [(0, 2, 2, 9, 9), (0, 0, 0, 4, 20), (13, 5, 6, 24, 20)]
    found = compare(reference, test, boxes=boxes)
    assert found.wtv_reference == pytest.approx(metrics.wtv(reference.pixels, boxes), rel=1e-14)
    assert found.wtv_test == pytest.approx(metrics.wtv(test.pixels, boxes), rel=1e-14)
    assert found.wtv_change_percent == pytest.approx(100 * (found.wtv_test / found.wtv_reference - 1))
    with pytest.raises(InputError, match=r"^box 0 is on slice 14; the image has slices 0 to 13$"):
        compare(reference, test, boxes=[(14, 0, 0, 1, 1)])
    flat = dataclasses.replace(reference, pixels=np.zeros_like(reference.pixels))
    assert math.isnan(compare(flat, test, boxes=boxes).wtv_change_percent)


# What is refused


def refused(*arguments, kind=InputError, **named) -> str:
    with pytest.raises(kind) as error:
        compare(*arguments, **named)
    return str(error.value)


def test_shapes_that_differ() -> None:
    reference, _ = pair(source="scan.nii.gz")
    _, test = pair((14, 24, 21), source="small.ozx")
    assert refused(reference, test) == (
        "scan.nii.gz has the shape (14, 24, 20) and small.ozx has (14, 24, 21) (z, y, x); "
        "only images of one shape can be compared"
    )
    plain = dataclasses.replace(reference, source=""), dataclasses.replace(test, source="")
    assert refused(*plain).startswith("the reference has the shape (14, 24, 20) and the test has (14, 24, 21)")


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (2, 2, 2, 2, 2)])
def test_shapes_that_are_no_volume(shape) -> None:
    nothing = Volume(np.zeros(shape))
    assert "allowed: (z, y, x) or (z, y, x, c), not empty" in refused(nothing, nothing)


def test_samples_that_are_no_numbers() -> None:
    odd = Volume(np.zeros((2, 2, 2), complex), source="mri.npz")
    assert refused(odd, odd) == "mri.npz holds samples of type complex128; allowed: integers, bool and floats"


def test_places_that_differ() -> None:
    reference, test = pair()
    near, far = np.eye(4), np.eye(4)
    near[0, 3], far[0, 3] = 0.004, 2.5
    assert compare(reference, dataclasses.replace(test, affine_mm=near)).shape == (14, 24, 20)
    moved = dataclasses.replace(test, affine_mm=far, source="moved.nii")
    assert refused(reference, moved, kind=GeometryError) == (
        "the reference and moved.nii have one shape but lie up to 2.5 mm apart; "
        "bring them to one grid, or compare voxel by voxel with ignore_geometry=True"
    )
    assert same(compare(reference, moved, ignore_geometry=True), compare(reference, test))
    mask = Volume(np.ones(reference.shape, np.uint8), affine_mm=far, source="mask.nii")
    assert "the reference and mask.nii have one shape" in refused(reference, test, mask=mask, kind=GeometryError)
    wide = dataclasses.replace(test, affine_mm=np.diag([1.01, 1, 1, 1]))
    assert "0.19 mm apart" in refused(reference, wide, kind=GeometryError)


def test_nan_and_infinity_are_counted_and_placed() -> None:
    reference, test = pair(dtype=np.float64, source="map.nii")
    bad = test.pixels.copy()
    bad[3, 4, 5], bad[9, 0, 0], bad[9, 0, 1] = np.nan, np.inf, -np.inf
    message = (
        "map.nii: 3 of 6720 samples are NaN or infinite, the first at (3, 4, 5) (z, y, x); "
        "replace them by numbers before comparing"
    )
    assert refused(reference, dataclasses.replace(test, pixels=bad)) == message
    assert refused(dataclasses.replace(test, pixels=bad), reference) == message
    nothing = Volume(np.full((2, 3, 4), np.nan))
    assert refused(nothing, nothing).startswith(
        "the reference: 24 of 24 samples are NaN or infinite, the first at (0, 0, 0)"
    )


def test_masks_that_do_not_fit() -> None:
    reference, test = pair()
    assert refused(reference, test, mask=np.ones((2, 2))) == (
        "the mask has the shape (2, 2) and the reference has (14, 24, 20) (z, y, x); give a mask of that shape"
    )
    assert refused(reference, test, mask=np.zeros(reference.shape)) == (
        "the mask is empty: no voxel is compared; give a mask with at least one voxel inside"
    )


def test_peaks_that_cannot_be() -> None:
    reference, test = pair()
    assert (
        refused(reference, test, "loud")
        == 'peak "loud" is not known; allowed: stored, range, dtype, or a number above 0'
    )
    flat = dataclasses.replace(reference, pixels=np.zeros_like(reference.pixels))
    assert refused(flat, test, "range") == "peak range is 0 here; it must be a number above 0: give one"


# A real scan


def test_a_head_ct_after_jpeg_2000() -> None:
    nibabel = pytest.importorskip("nibabel")
    data = os.environ.get("SLIMSCAN_DATA")
    if not data:
        pytest.skip("SLIMSCAN_DATA does not name the folder of real images")
    from slimscan.codecs import CODECS
    from slimscan.nouns import Layout

    image = nibabel.load(Path(data) / "ct_head_cranium_invesalius" / "cranium_ct.nii.gz")
    pixels = np.ascontiguousarray(np.asarray(image.dataobj).T[40:60])
    layout = Layout((1, *pixels.shape[1:]), str(pixels.dtype), 13)
    codec = CODECS["jpeg2000"]
    back = np.concatenate([codec.decode(codec.encode(plane[None], layout, 50.0), layout) for plane in pixels])
    found = compare(Volume(pixels, image.affine, 13), Volume(back, image.affine, 13))
    assert found.psnr_db == pytest.approx(50.0, abs=1.5)
    assert 0.9 < found.ssim < found.ms_ssim < 1.0
    assert found.psnr_db - 20 * math.log10(found.peak_value) + 10 * math.log10(found.mse) == pytest.approx(0, abs=1e-9)
    assert found.max_abs_error < 500
