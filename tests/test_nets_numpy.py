"""Networks without torch: specs, normalisation, crops, sliding windows, the log, a training's words."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimscan.errors import InputError
from slimscan.models import sliding
from slimscan.models.crops import crops, cut
from slimscan.models.log import Log, read
from slimscan.models.normal import measured, ready
from slimscan.models.spec import PRESETS, FitSpec, NetSpec, NormSpec, plain, preset, unplain, usual
from slimscan.report.learning import best, learning, scored


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_as_plain_text(name):
    net = preset(name, 3)
    assert unplain(NetSpec, plain(net)) == net
    fit = usual(net)
    assert unplain(FitSpec, plain(fit)) == fit
    assert all(side % net.multiple == 0 for side in fit.patch[3 - net.dims :])


def test_the_papers_pair_keeps_its_proportion():
    flat, deep = PRESETS["elkhoury_2d"], PRESETS["elkhoury_3d"]
    assert flat.width == 4 * deep.width
    assert deep.levels == flat.levels + 1


def test_an_unknown_preset():
    with pytest.raises(InputError) as caught:
        preset("unet")
    assert str(caught.value) == f'"unet" is no preset of a network; allowed: {", ".join(PRESETS)}'


def test_normalisation_by_hand():
    pixels = np.array([[[-2000, 0, 100, 5000]]], np.int16)
    assert ready(pixels, NormSpec("none", -100, 100)).tolist() == [[[0, 0.5, 1, 1]]]
    found = ready(pixels, NormSpec())
    assert found.dtype == np.float32
    assert (abs(found.mean()), found.std()) == pytest.approx((0, 1), abs=1e-6)
    assert ready(np.full((2, 2, 2), 7), NormSpec()).tolist() == np.zeros((2, 2, 2)).tolist()
    assert ready(np.zeros((0, 2, 2)), NormSpec()).shape == (0, 2, 2)
    # Two bits between 0 and 3: whole numbers.
    assert (
        ready(np.array([[[0, 0.4, 1.6, 3]]]), NormSpec("none", 0, 3, 2)).tolist()
        == np.float32([[[0, 0, 2 / 3, 1]]]).tolist()
    )


@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_training_sets_mean_is_that_of_all_voxels(volumes):
    arrays = [np.array(one).reshape(1, 1, -1) for one in volumes]
    found = measured(NormSpec("trainset"), arrays)
    every = np.concatenate([one.ravel() for one in arrays])
    assert found.mean == pytest.approx(every.mean(), rel=1e-9, abs=1e-9)
    assert found.deviation == pytest.approx(max(every.std(), 1e-12), rel=1e-6, abs=1e-6)
    assert measured(NormSpec(), arrays) == NormSpec()


def test_no_voxel_has_no_mean():
    with pytest.raises(InputError, match="holds no voxel"):
        measured(NormSpec("trainset"), [])


IMAGES = [np.random.default_rng(i).normal(size=(9, 12, 7)).astype(np.float32) for i in range(3)]
MASKS = [(image > 2).astype(np.uint8) for image in IMAGES]


@pytest.mark.parametrize(("dims", "patch", "shape"), [(3, (8, 16, 4), (2, 1, 8, 16, 4)), (2, (1, 8, 8), (2, 1, 8, 8))])
def test_crops_go_on_where_they_were(dims, patch, shape):
    fit = FitSpec(patch=patch)
    first = list(itertools.islice(crops(IMAGES, MASKS, fit, dims, 5), 6))
    later = list(itertools.islice(crops(IMAGES, MASKS, fit, dims, 5, start_step=3), 3))
    other = next(crops(IMAGES, MASKS, fit, dims, 6))
    for (x, y), (again, mask) in zip(first[3:], later, strict=True):
        assert x.shape == shape
        assert y.shape == (shape[0], *shape[2:])
        assert (x.dtype, y.dtype) == (np.float32, np.uint8)
        assert np.array_equal(x, again)
        assert np.array_equal(y, mask)
        assert np.array_equal(y, x[:, 0] > 2)  # flipped and continued alike
    assert not np.array_equal(first[0][0], other[0])


def test_crops_on_labels_hold_labels():
    masks = [np.zeros((40, 40, 40), np.uint8)]
    masks[0][3, 30, 7] = 1
    fit = FitSpec(patch=(4, 4, 4), foreground=1.0, batch=3)
    for _, y in itertools.islice(crops([masks[0].astype(np.float32)], masks, fit, 3, 1), 8):
        assert (y.reshape(3, -1).sum(axis=1) == 1).all()


def test_cut_by_hand():
    volume = np.arange(4).reshape(1, 1, 4)
    assert cut(volume, (0, 0, 1), (1, 1, 2)).tolist() == [[[1, 2]]]
    assert cut(volume, (0, 0, -2), (1, 1, 7)).tolist() == [[[0, 0, 0, 1, 2, 3, 3]]]


def test_crops_refuse():
    for images, masks, message in (
        ([], [], "training wants a mask for every image and at least one; got 0 and 0"),
        (
            IMAGES[:1],
            [MASKS[0][:3]],
            "training image 0 is (9, 12, 7), its mask (3, 12, 7); want the same (z, y, x), not empty",
        ),
    ):
        with pytest.raises(InputError) as caught:
            next(crops(images, masks, FitSpec(), 3, 0))
        assert str(caught.value) == message
    with pytest.raises(InputError, match="the first side is 1"):
        next(crops(IMAGES, MASKS, FitSpec(), 2, 0))


@given(st.tuples(*[st.integers(1, 23)] * 3), st.sampled_from([2, 3]), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_a_network_of_one_voxel_gives_the_same_in_patches_and_slices(shape, dims, levels):
    net = NetSpec(dims=dims, levels=levels, classes=2)
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    def forward(batch):
        assert all(side % net.multiple == 0 for side in batch.shape[2:])
        assert max(batch.shape[2:]) > net.multiple
        return np.concatenate((batch, -2 * batch), axis=1)

    found = sliding.scores(image, forward, net, (8, 8, 4) if dims == 3 else (1, 8, 8))
    assert found.dtype == np.float32
    assert np.allclose(found, np.stack((image, -2 * image)), atol=1e-5)


def test_labels_are_values():
    net = NetSpec(classes=3, labels=(0, 7, 300))
    logits = np.zeros((3, 1, 1, 4))
    logits[:, 0, 0] = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]).T
    found = sliding.named(logits, net)
    assert found.dtype == np.uint16
    assert found.tolist() == [[[0, 7, 300, 0]]]
    assert sliding.scores(np.zeros((0, 4, 4), np.float32), None, net, (4, 4, 4)).shape == (3, 0, 4, 4)


def test_the_log_drops_what_was_not_kept(tmp_path):
    path, heard = tmp_path / "log.jsonl", []
    first = Log(path, 0, heard.append)
    for step in (10, 20, 30):
        first.add({"step": step, "loss": math.nan if step == 30 else 1.0, "rate": 1e-3, "seconds": 1.0})
    assert [line["step"] for line in heard] == [10, 20, 30]
    assert read(path)[-1]["loss"] is None
    with path.open("a") as file:
        file.write('{"step": 4')  # a line that was being written
    Log(path, 20)
    assert [line["step"] for line in read(path)] == [10, 20]
    path.write_text("pixels\nand more\n")
    with pytest.raises(InputError, match="line 1: is no line of a training's log"):
        read(path)


def test_learning_curves(tmp_path):
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    assert "Nothing was logged yet." in learning({"net": path})
    for step, score in ((10, 0.2), (20, 0.6), (30, 0.5)):
        log.add(
            {"step": step, "loss": 1 / step, "rate": 1e-3, "seconds": step, "validation": {"mean": score}, "best": True}
        )
    assert scored(read(path)) == [(10, 0.2), (20, 0.6), (30, 0.5)]
    assert best(scored(read(path))) == (20, 0.6)
    page = learning({"net": path, "other": path})
    assert page == learning({"net": path, "other": path})
    assert "net: 30 steps in 30 s, last loss 0.033; best mean Dice 0.600 at step 20." in page
    assert "<svg" in page
