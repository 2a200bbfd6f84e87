"""Pixel metrics: by hand, against scikit-image, and streamed against whole."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slimscan import metrics
from slimscan.errors import InputError
from slimscan.metrics import METRICS, Metric
from slimscan.metrics.entropy import histogram, merged
from slimscan.metrics.fidelity import error_sums, peak_value, pooled
from slimscan.metrics.ssim import SCALE_WEIGHTS, scale_weights, slab_ssim_3d
from slimscan.metrics.texture import boxes_from_mask, wtv

TEN = np.array([[10, 10]], np.uint16)
TWELVE = np.array([[12, 10]], np.uint16)


def noisy(shape, seed=0, noise=300, dtype=np.uint16):
    random = np.random.default_rng(seed)
    image = random.integers(0, 4096, shape)
    return image.astype(dtype), np.clip(image + random.integers(-noise, noise + 1, shape), 0, 4095).astype(dtype)


# The registry


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_says_what_it_is(metric: Metric) -> None:
    assert metric.title
    assert metric.formula
    assert metric.source
    assert "\n" not in metric.formula
    assert metric.low < metric.high
    assert callable(metric.function)
    assert inspect.getdoc(metric.function)
    assert metric.direction in ("higher", "lower", "none")
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_metrics*.py"))
    assert f"{metric.function.__name__}(" in tests, "no test calls it"


def test_the_registry_knows_each_name_once() -> None:
    assert all(name == metric.name for name, metric in METRICS.items())
    assert {"mse", "mae", "max_abs_error", "psnr_db", "ssim", "ssim_3d", "ms_ssim", "entropy", "wtv"} <= set(METRICS)


def test_exported_names_exist() -> None:
    assert all(hasattr(metrics, name) for name in metrics.__all__)


@pytest.mark.parametrize("metric", [m for m in METRICS.values() if m.kind == "image"], ids=lambda m: m.name)
def test_identical_images_have_the_best_value_and_it_is_in_range(metric: Metric) -> None:
    image, other = noisy((11, 24, 20))
    takes_peak = "peak" in inspect.signature(metric.function).parameters
    peak = {"peak": 4095} if takes_peak else {}
    assert metric.function(image, image, **peak) == (metric.high if metric.direction == "higher" else metric.low)
    assert metric.low <= metric.function(image, other, **peak) <= metric.high


@pytest.mark.parametrize("metric", [m for m in METRICS.values() if m.kind == "image"], ids=lambda m: m.name)
def test_empty_images_and_other_shapes_are_refused(metric: Metric) -> None:
    empty = np.empty((0, 20, 20), np.uint16)
    with pytest.raises(InputError, match=r"^the reference has no samples, its shape is \(0, 20, 20\)"):
        metric.function(empty, empty)
    with pytest.raises(InputError, match=r"^the reference is \(20, 20\) and the test is \(20, 21\)"):
        metric.function(np.zeros((20, 20)), np.zeros((20, 21)))
    bad = np.zeros((2, 3))
    bad[1, 2] = np.nan
    with pytest.raises(InputError, match=r"^the test holds 1 NaN or infinite values, first at \(1, 2\)"):
        metric.function(np.zeros((2, 3)), bad)
    with pytest.raises(InputError, match="samples of type complex128"):
        metric.function(np.zeros((2, 3), complex), np.zeros((2, 3), complex))


# Errors


def test_unsigned_integers_do_not_wrap() -> None:
    assert metrics.mse(TEN, TWELVE) == 2.0
    assert metrics.mae(TEN, TWELVE) == 1.0
    assert metrics.max_abs_error(TEN, TWELVE) == 2.0
    assert metrics.max_abs_error(TWELVE, TEN) == 2.0


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "bool"])
def test_the_whole_range_of_a_type_is_one_difference(dtype: str) -> None:
    ends = (False, True) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    low, high = np.full((2, 2), ends[0], dtype), np.full((2, 2), ends[1], dtype)
    wide = float(int(ends[1]) - int(ends[0]))
    assert metrics.max_abs_error(low, high) == wide
    assert metrics.mse(low, high) == wide**2


def test_mixed_types_are_compared_by_value() -> None:
    assert metrics.max_abs_error(np.array([-1], np.int16), np.array([65535], np.uint16)) == 65536


def test_a_mask_counts_only_what_is_inside() -> None:
    mask = np.array([[True, False]])
    assert metrics.mse(TEN, TWELVE, mask) == 4.0
    assert metrics.mse(TEN, TWELVE, ~mask) == 0.0
    with pytest.raises(InputError, match=r"^the mask is empty; give a mask with at least one voxel inside$"):
        metrics.mse(TEN, TWELVE, np.zeros((1, 2)))
    with pytest.raises(InputError, match=r"^the mask is \(2, 1\) and the image is \(1, 2\)"):
        metrics.mse(TEN, TWELVE, np.ones((2, 1)))
    colour, other = np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 3))
    other[0, 0, 0] = 3.0
    assert metrics.mse(colour, other, np.array([[[1, 1], [0, 0]]])) == 4.5
    with pytest.raises(InputError, match=r"^the mask is \(2, 2, 2\)"):
        metrics.mse(colour, other, np.ones((2, 2, 2)))


def test_psnr_by_hand_for_every_peak() -> None:
    reference, test = np.array([[0, 1000]], np.uint16), np.array([[10, 1000]], np.uint16)  # MSE 50
    for peak, value in (("stored", 4095), ("range", 1000), ("dtype", 65535), (4096, 4096)):
        expected = 10 * math.log10(value**2 / 50)
        assert metrics.psnr_db(reference, test, peak, bits=12) == pytest.approx(expected, abs=1e-12)
    assert metrics.psnr_db(reference, reference, bits=12) == math.inf


def test_the_peak_of_the_type_flatters_12_bits_by_24_db() -> None:
    image, other = noisy((20, 20))
    gain = metrics.psnr_db(image, other, "dtype") - metrics.psnr_db(image, other, "stored", bits=12)
    assert gain == pytest.approx(24.08, abs=0.01)


def test_the_peak_of_a_signed_type_is_its_width() -> None:
    assert peak_value("dtype", np.zeros(1, np.int16)) == 65535


@pytest.mark.parametrize(
    ("peak", "message"),
    [
        ("stored", 'peak "stored" is 2^bits - 1 and the bits are not known: give bits, or a number as peak'),
        ("loud", 'peak "loud" is not known; allowed: stored, range, dtype, or a number above 0'),
        ("dtype", 'peak "dtype" needs integer samples, got float64; use "range" or a number'),
        ("range", "peak range is 0 here; it must be a number above 0: give one"),
        (-3.0, "peak -3.0 is -3 here; it must be a number above 0: give one"),
        (math.nan, "peak nan is nan here; it must be a number above 0: give one"),
    ],
)
def test_a_peak_that_cannot_be_is_refused(peak, message: str) -> None:
    with pytest.raises(InputError) as error:
        metrics.psnr_db(np.zeros((2, 2)), np.zeros((2, 2)), peak)
    assert str(error.value) == message


def test_a_peak_without_its_reference_is_refused() -> None:
    with pytest.raises(InputError, match=r'^peak "range" is read from the reference: give the reference$'):
        peak_value("range")


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.int16, np.int32]), st.tuples(*[st.integers(1, 6)] * 3)),
    st.randoms(use_true_random=False),
)
def test_streamed_is_whole_in_any_order(reference, random) -> None:
    test = np.roll(reference, 1)
    slices = [error_sums(reference[z], test[z]) for z in range(len(reference))]
    random.shuffle(slices)
    total = pooled(slices)
    assert total.mse == metrics.mse(reference, test)
    assert total.mae == metrics.mae(reference, test)
    assert total.max_abs == metrics.max_abs_error(reference, test)
    difference = test.astype(np.float64) - reference
    assert total.mse == pytest.approx(np.square(difference).mean(), rel=1e-12)
    assert total.count == reference.size


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, (4, 5, 3), elements=st.floats(-1e6, 1e6)), st.permutations(range(4)))
def test_streamed_floats_are_whole_to_the_last_bit(reference, order) -> None:
    test = reference[::-1] + 0.25
    total = pooled(error_sums(reference[z], test[z]) for z in order)
    assert (total.mse, total.mae) == (metrics.mse(reference, test), metrics.mae(reference, test))


def test_large_slices_are_worked_through_in_parts() -> None:
    image, other = noisy((1200, 1100))
    mask = np.zeros(image.shape, bool)
    mask[::3] = True
    difference = other.astype(np.float64) - image
    found = error_sums(image, other)
    assert found.sum_squares == np.square(difference).sum()
    assert found.count == image.size
    assert error_sums(image, other, mask).sum_abs == np.abs(difference[mask]).sum()


def test_nothing_counted_is_not_a_number() -> None:
    nothing = pooled([])
    assert math.isnan(nothing.mse)
    assert math.isnan(nothing.mae)
    assert math.isnan(nothing.psnr_db(255))


# Structural similarity


def test_ssim_is_that_of_scikit_image() -> None:
    skimage = pytest.importorskip("skimage.metrics")
    facts = {"data_range": 4095, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for shape in ((11, 11), (40, 53), (200, 333)):
        image, other = noisy(shape)
        expected, every = skimage.structural_similarity(image, other, full=True, **facts)
        assert metrics.ssim(image, other, 4095) == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(metrics.ssim_map(image, other, 4095), every, atol=1e-11)
    image, other = noisy((14, 30, 25))
    expected = skimage.structural_similarity(image, other, **facts)
    assert metrics.ssim_3d(image, other, 4095) == pytest.approx(expected, abs=1e-12)
    image, other = noisy((1, 20, 30, 3))
    expected = skimage.structural_similarity(image[0], other[0], channel_axis=2, **facts)
    assert metrics.ssim(image, other, 4095) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_flat_images_by_hand() -> None:
    flat, brighter = np.full((16, 16), 100.0), np.full((16, 16), 110.0)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert metrics.ssim(flat, brighter, 255) == pytest.approx(luminance, abs=1e-12)
    assert metrics.ssim_3d(np.stack([flat] * 12), np.stack([brighter] * 12), 255) == pytest.approx(luminance, abs=1e-12)


def test_ssim_is_the_mean_over_slices_and_3d_is_not() -> None:
    image, other = noisy((12, 20, 22))
    other[3] = image[3]
    each = [metrics.ssim(image[z], other[z], 4095) for z in range(12)]
    assert each[3] == 1.0
    assert metrics.ssim(image, other, 4095) == pytest.approx(np.mean(each), abs=1e-14)
    assert metrics.ssim_3d(image, other, 4095) != pytest.approx(np.mean(each), abs=1e-6)


def test_the_window_must_fit() -> None:
    small = np.zeros((10, 40))
    for metric in (metrics.ssim, metrics.ms_ssim):
        assert math.isnan(metric(small, small, 255))
    assert math.isnan(metrics.ssim_3d(np.zeros((10, 40, 40)), np.zeros((10, 40, 40)), 255))
    assert np.isnan(metrics.ms_ssim_map(small, small, 255)).all()
    with pytest.raises(InputError, match=r"^the images are \(40, 40\); ssim_3d takes \(z, y, x\) or \(z, y, x, c\)$"):
        metrics.ssim_3d(np.zeros((40, 40)), np.zeros((40, 40)), 255)
    with pytest.raises(InputError, match=r"^the images are \(40,\); allowed"):
        metrics.ssim(np.zeros(40), np.zeros(40), 255)
    with pytest.raises(InputError, match=r"^the images are \(1, 12, 12\); a map is made of one slice \(y, x\)$"):
        metrics.ssim_map(np.zeros((1, 12, 12)), np.zeros((1, 12, 12)), 255)


def test_a_mask_weighs_the_map() -> None:
    image, other = noisy((1, 40, 50))
    mask = np.zeros((1, 40, 50), bool)
    mask[0, 2:20, 10:48] = True
    inside = np.zeros((40, 50), bool)
    inside[5:20, 10:45] = True  # what of the mask lies in the valid region
    expected = metrics.ssim_map(image[0], other[0], 4095)[inside].mean()
    assert metrics.ssim(image, other, 4095, mask=mask) == pytest.approx(expected, abs=1e-12)
    whole = np.ones((1, 40, 50), bool)
    assert metrics.ms_ssim(image, other, 4095, mask=whole) == pytest.approx(metrics.ms_ssim(image, other, 4095))
    assert math.isnan(metrics.ms_ssim(image, other, 4095, mask=~whole))
    with pytest.raises(InputError, match=r"^the mask is \(1, 40, 49\)"):
        metrics.ssim(image, other, 4095, mask=mask[:, :, 1:])
    deep, far = noisy((13, 20, 22))
    half = np.zeros(deep.shape, bool)
    half[:, :, :10] = True
    part = metrics.ssim_3d(deep[:, :, :15], far[:, :, :15], 4095)  # valid columns 5 to 9, as in the mask
    assert metrics.ssim_3d(deep, far, 4095, mask=half) == pytest.approx(part, abs=1e-12)
    with pytest.raises(InputError, match=r"^the mask is \(13, 20\)"):
        metrics.ssim_3d(deep, far, 4095, mask=half[:, :, 0])


def test_slabs_that_overlap_add_up_to_the_volume() -> None:
    image, other = noisy((25, 40, 16))
    parts = [slab_ssim_3d(image[a:b], other[a:b], 4095) for a, b in ((0, 12), (2, 20), (10, 25))]
    assert slab_ssim_3d(image[:10], other[:10], 4095) == (0.0, 0.0)
    total, count = (math.fsum(part[i] for part in parts) for i in (0, 1))
    assert count == 15 * 30 * 6
    assert total / count == pytest.approx(metrics.ssim_3d(image, other, 4095), abs=1e-13)
    colour = slab_ssim_3d(np.stack([image, other], 3), np.stack([other, image], 3), 4095)
    assert colour[0] / colour[1] == pytest.approx(metrics.ssim_3d(image, other, 4095), abs=1e-13)


def test_ms_ssim_of_a_constant_shift_is_the_luminance_of_the_coarsest_scale() -> None:
    flat, brighter = np.full((176, 200), 100.0), np.full((176, 200), 110.0)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert metrics.ms_ssim(flat, brighter, 255) == pytest.approx(luminance**0.1333, abs=1e-12)
    np.testing.assert_allclose(metrics.ms_ssim_map(flat, brighter, 255), luminance**0.1333, atol=1e-12)


def test_ms_ssim_of_one_scale_is_ssim() -> None:
    image, other = noisy((20, 20))
    assert scale_weights((20, 20)) == (1.0,)
    assert metrics.ms_ssim(image, other, 4095) == pytest.approx(metrics.ssim(image, other, 4095), abs=1e-14)


def test_ms_ssim_of_two_scales_by_its_definition() -> None:
    image, other = noisy((24, 26))
    weights = scale_weights(image.shape)
    assert weights == pytest.approx([0.0448 / 0.3304, 0.2856 / 0.3304])

    def coarse(a):
        return a.astype(float).reshape(12, 2, 13, 2).mean((1, 3))

    flat = metrics.ssim(image, other, 4095)
    # Contrast-structure alone: SSIM where the local means agree; taken from the formula with a plain loop.
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(kernel, kernel) / kernel.sum() ** 2
    c2 = (0.03 * 4095) ** 2
    contrast = []
    for y in range(14):
        for x in range(16):
            a, b = (image[y : y + 11, x : x + 11].astype(float), other[y : y + 11, x : x + 11].astype(float))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            variances = (window * (a - mean_a) ** 2).sum() + (window * (b - mean_b) ** 2).sum()
            contrast.append((2 * covariance + c2) / (variances + c2))
    expected = np.mean(contrast) ** weights[0] * metrics.ssim(coarse(image), coarse(other), 4095) ** weights[1]
    assert metrics.ms_ssim(image, other, 4095) == pytest.approx(expected, abs=1e-12)
    assert flat != pytest.approx(expected, abs=1e-4)


def test_ms_ssim_uses_the_scales_that_hold_the_window() -> None:
    assert [len(scale_weights((side, 500))) for side in (10, 11, 20, 21, 40, 41, 80, 81, 160, 161)] == [
        0, 1, 1, 2, 2, 3, 3, 4, 4, 5,
    ]  # fmt: skip
    assert all(sum(scale_weights((side, side))) == pytest.approx(1.0) for side in (11, 30, 90, 160))
    assert scale_weights((512, 512)) == SCALE_WEIGHTS
    image, _ = noisy((161, 163))
    assert metrics.ms_ssim(image, image, 4095) == 1.0
    opposite = 4095 - image
    assert metrics.ms_ssim(image, opposite, 4095) == 0.0  # negative structure counts as 0
    found = metrics.ms_ssim_map(image, opposite, 4095)
    assert found.shape == image.shape
    assert (found >= 0).all()


def test_the_ms_ssim_map_points_at_the_damage() -> None:
    image, _ = noisy((96, 101))
    other = image.copy()
    other[40:60, 50:70] = 2000
    found = metrics.ms_ssim_map(image, other, 4095)
    assert found[45:55, 55:65].max() < 0.6
    assert found[:8, :8].min() > 0.99
    assert found.argmin() != 0


# Entropy


def test_entropy_by_hand() -> None:
    assert metrics.entropy(np.zeros((3, 3), np.uint16)) == 0.0
    assert math.copysign(1, metrics.entropy(np.zeros((3, 3), np.uint16))) == 1
    assert metrics.entropy(np.array([0, 0, 5, 9], np.int16)) == 1.5
    assert metrics.entropy(np.arange(256, dtype=np.uint8)) == 8.0
    assert metrics.entropy(np.array([-32768, 32767], np.int16)) == 1.0
    assert metrics.entropy(np.array([-(2**31), 0, 2**31 - 1, 0], np.int32)) == 1.5
    assert metrics.entropy(np.array([2**63, 2**63 + 1], np.uint64)) == 1.0
    assert metrics.entropy(np.array([True, False])) == 1.0
    assert metrics.entropy(np.array([3.0, 4.0])) == 1.0


def test_entropy_refuses_what_has_no_stored_integers() -> None:
    for bad in (np.array([0.5]), np.array([np.nan]), np.array([1j])):
        with pytest.raises(InputError, match=r"^entropy needs stored integers"):
            metrics.entropy(bad)
    with pytest.raises(InputError, match=r"^the image has no samples"):
        metrics.entropy(np.empty((0, 3), np.uint8))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.int64]), st.tuples(*[st.integers(1, 5)] * 3)
    )
)
def test_histograms_of_slices_are_that_of_the_volume(image) -> None:
    together = merged(histogram(plane) for plane in image)
    values, counts = np.unique(image, return_counts=True)
    np.testing.assert_array_equal(together.values, values)
    np.testing.assert_array_equal(together.counts, counts)
    assert together.entropy_bits == pytest.approx(metrics.entropy(image))


def test_no_histogram_has_no_entropy() -> None:
    assert math.isnan(merged([]).entropy_bits)


# Texture


def test_wtv_by_hand() -> None:
    image = np.array([[0, 3, 3], [4, 4, 4], [9, 4, 0]], np.uint16)
    # (0,0): right 3, down 4 -> 5; (0,1): right 0, down 1 -> 1; (1,0): right 0, down 5 -> 5; (1,1): right 0, down 0 -> 0.
    assert wtv(image, [(0, 0, 2, 2)]) == 11 / 4
    # At the corner both differences lie outside the image.
    assert wtv(image, [(2, 2, 3, 3)]) == 0.0
    # On the last row only the step to the right counts, and it must not wrap: 4 - 9, 0 - 4, nothing.
    assert wtv(image, [(2, 0, 3, 3)]) == 9 / 3
    assert wtv(image, [(0, 0, 2, 2), (2, 0, 3, 3)]) == (11 / 4 + 3) / 2
    volume = np.stack([image, image * 2])
    assert wtv(volume, [(0, 0, 0, 2, 2), (1, 0, 0, 2, 2)]) == (11 / 4 + 11 / 2) / 2
    assert wtv(np.stack([volume, volume], 3), [(1, 0, 0, 2, 2)]) == 11 / 2
    assert math.isnan(wtv(volume, []))


def test_wtv_falls_when_texture_is_smoothed() -> None:
    from scipy import ndimage

    image, _ = noisy((1, 60, 60))
    boxes = [(0, 5, 5, 50, 55)]
    assert wtv(ndimage.gaussian_filter(image, (0, 1, 1)), boxes) < 0.5 * wtv(image, boxes)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([(0, 0, 0, 4, 3)], r"^box 0 \(y0, x0, y1, x1\) = \(0, 0, 4, 3\) is empty or outside the slice of 3x3; give"),
        ([(0, 1, 1, 1, 2)], r"^box 0 .* is empty or outside"),
        ([(0, 0, 0, 1, 1), (2, 0, 0, 1, 1)], "^box 1 is on slice 2; the image has slices 0 to 1$"),
        (
            [(0, 0, 1, 1)],
            r"^boxes of shape \(1, 4\) and type int64; give rows \(slice, y0, x0, y1, x1\) of whole numbers$",
        ),
        ([(0, 0.5, 0, 1, 1)], "of whole numbers$"),
        ([("a", "b", "c", "d", "e")], "of whole numbers$"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(boxes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wtv(np.zeros((2, 3, 3)), boxes)


def test_wtv_refuses_what_is_no_image() -> None:
    with pytest.raises(InputError, match=r"^the image has no samples"):
        wtv(np.empty((0, 2, 2)), [])
    with pytest.raises(InputError, match=r"^the image is \(3,\); wtv takes"):
        wtv(np.zeros(3), [])


def test_boxes_from_mask_by_hand() -> None:
    mask = np.zeros((3, 5, 6), np.uint8)
    mask[0, 1:3, 2:5] = 1
    mask[2, 0, 0] = 2
    mask[2, 1, 1] = 7  # touches the one before at its corner: one piece
    mask[2, 4, 5] = 1
    expected = [(0, 1, 2, 3, 5), (2, 0, 0, 2, 2), (2, 4, 5, 5, 6)]
    assert boxes_from_mask(mask).tolist() == [list(row) for row in expected]
    assert boxes_from_mask(np.zeros((2, 4, 4))).shape == (0, 5)
    with pytest.raises(InputError, match=r"^the mask is \(4, 4\); boxes_from_mask takes \(z, y, x\)$"):
        boxes_from_mask(np.zeros((4, 4)))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.bool_, (2, 6, 7)))
def test_boxes_cover_the_mask_and_fit_the_image(mask) -> None:
    boxes = boxes_from_mask(mask)
    covered = np.zeros_like(mask)
    for z, y0, x0, y1, x1 in boxes:
        covered[z, y0:y1, x0:x1] = True
        assert mask[z, y0:y1, x0:x1].any()
    assert covered[mask].all()
    wtv(mask.astype(np.uint8), boxes)
