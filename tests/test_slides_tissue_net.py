"""The tissue network: its size, its augmentations, equal sampling, stitching, and that it learns."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from slimscan.errors import InputError
from slimscan.models.spec import FitSpec, NetSpec
from slimscan.models.tissue_net_augment import augmented, blurred, lined, pooled, tinted
from slimscan.models.tissue_net_run import owned, segmented
from slimscan.models.tissue_net_sample import Ground, batches, draws
from slimscan.models.tissue_net_words import MAGNIFICATIONS, NET, NORM, Augment, usual
from slimscan.nouns.slide import Level


class Stand:
    """A slide in memory of one level, scanned at 10x."""

    format, icc, properties, associated, mpp, magnification = "svs", None, {}, (), (1.0, 1.0), 10.0

    def __init__(self, pixels: np.ndarray):
        self.path, self.pixels = Path("stand.svs"), pixels
        h, w = pixels.shape[:2]
        self.levels = (Level((h, w), (32, 32), (-(-h // 32), -(-w // 32)), 1.0, "jpeg"),)

    def read(self, level: int, y: int, x: int, h: int, w: int) -> np.ndarray:
        out = np.full((h, w, 3), 255, np.uint8)
        inside = self.pixels[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)]
        out[max(0, -y) :, max(0, -x) :][: inside.shape[0], : inside.shape[1]] = inside
        return out


def made(seed: int, side: int = 192) -> tuple[Stand, np.ndarray]:
    """Discs of tissue on glass, and where they are."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    mask = np.zeros((side, side), bool)
    for _ in range(3):
        middle, radius = random.integers(0, side, 2), random.integers(25, 50)
        mask |= (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    pixels = np.where(mask[..., None], (190.0, 90, 150), (240.0, 240, 240)) + random.normal(0, 6, (side, side, 3))
    return Stand(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)), mask


def test_flips_keep_the_mask_with_its_pixels():
    pixels = np.full((24, 24, 3), 240, np.uint8)
    mask = np.zeros((24, 24), np.uint8)
    pixels[2:7, 3:11], mask[2:7, 3:11] = 100, 1
    still = Augment(chance=0.0)
    seen = set()
    for seed in range(20):
        x, y = augmented(pixels, mask, np.random.default_rng(seed), still)
        assert np.array_equal(x[..., 0] == 100, y == 1)
        seen.add(y.tobytes())
    assert len(seen) == 4


def test_each_change_by_hand():
    pixels = np.arange(75, dtype=np.float32).reshape(5, 5, 3)
    assert pooled(pixels, 2)[0, 0].tolist() == pixels[:2, :2].mean(axis=(0, 1)).tolist()
    assert pooled(pixels, 2)[4, 4].tolist() == pixels[4, 4].tolist()
    assert np.allclose(blurred(np.full((9, 9, 3), 7, np.float32), 1.2), 7)
    colours = np.array([[[255, 0, 0], [10, 200, 30], [120, 120, 120], [200, 100, 250]]], np.float32)
    assert np.allclose(tinted(colours, 1.0), colours, atol=1e-3)
    half = tinted(colours, 0.5)
    assert half[0, 0].tolist() == [255, 127.5, 127.5]
    assert half[0, 2].tolist() == [120, 120, 120]
    assert np.allclose(half.max(axis=-1), colours.max(axis=-1))


def test_glass_lines_are_dark_rows_and_columns_of_a_grid_of_30():
    glass = np.full((60, 90, 3), 200, np.float32)
    found = lined(glass, np.random.default_rng(3), Augment(line=0.2))
    dark = found[..., 0] == 80
    rows, columns = dark.all(axis=1), dark.all(axis=0)
    assert np.array_equal(dark, rows[:, None] | columns[None])
    assert np.array_equal(rows[::2], rows[1::2])
    assert np.array_equal(columns[::3], columns[1::3])
    assert 0 < rows.sum() < 60
    words = Augment(chance=1.0, blur=(0, 0), pool=(1, 1), factor=(1, 1), added=(0, 0), hue=(1, 1), line=1.0)
    full, none = np.ones((60, 90), np.uint8), np.zeros((60, 90), np.uint8)
    random = np.random.default_rng(0)
    assert (augmented(glass.astype(np.uint8), none, random, words)[0] == 80).all()
    assert (augmented(glass.astype(np.uint8), full, random, words)[0] == 200).all(), "tissue gets no glass lines"


def test_magnifications_are_drawn_equally_and_their_patches_without_replacement():
    counts = (2, 50, 7)
    first = list(islice(draws(counts, 5), 3000))
    share = Counter(which for which, _ in first)
    assert all(900 < share[which] < 1100 for which in range(3))
    for which, count in enumerate(counts):
        mine = [patch for at, patch in first if at == which]
        for start in range(0, len(mine) - count, count):
            assert sorted(mine[start : start + count]) == list(range(count))
    assert list(islice(draws(counts, 5, 1234), 50)) == first[1234:1284]
    with pytest.raises(InputError, match="wants at least one patch at every magnification"):
        next(draws((3, 0), 1))


def test_batches_are_the_same_wherever_one_starts():
    random = np.random.default_rng(0)
    held = [
        (random.integers(0, 256, (32, 32, 3), np.uint8), random.integers(0, 2, (32, 32), np.uint8)) for _ in range(5)
    ]
    grounds = [Ground(10, 3, lambda at: held[at]), Ground(20, 2, lambda at: held[3 + at])]
    fit = usual(steps=9, patch=32, batch=3)
    run = batches(grounds, fit, NORM)
    all_of = [next(run) for _ in range(4)]
    again = next(batches(grounds, fit, NORM, 3))
    for one, other in zip(all_of[3], again, strict=True):
        assert np.array_equal(one, other)
    x, y = again
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((3, 3, 32, 32), np.float32, (3, 32, 32), np.uint8)
    assert x.min() >= 0
    assert x.max() <= 1
    with pytest.raises(
        InputError, match=r"a patch is \(32, 32, 3\) with a mask of \(32, 32\); want sides of \(64, 64\)"
    ):
        next(batches(grounds, usual(steps=9, patch=64, batch=3), NORM))


@pytest.mark.parametrize("side", [1, 63, 64, 65, 100, 500, 1021])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5])
def test_patches_meet_without_gap_and_away_from_their_edges(side, overlap):
    found = list(owned(side, 64, overlap))
    assert found[0][1] == 0
    assert found[-1][2] == side
    for (_, _, end), (_, first, _) in pairwise(found):
        assert end == first
    for number, (start, first, end) in enumerate(found):
        assert start <= first < end <= start + 64
        if overlap == 0.1 and side > 64:
            assert number == 0 or first >= start + 3
            assert number == len(found) - 1 or end <= start + 64 - 3


def test_stitching_is_the_answer_of_every_pixel():
    """A forward that knows each pixel by its own colour alone: stitched, it must be the threshold of the whole picture."""
    slide, _ = made(4)
    shapes = []

    def forward(x: np.ndarray) -> np.ndarray:
        shapes.append(x.shape)
        return np.stack([np.zeros_like(x[:, 1]), 10 * (0.6 - x[:, 1])], axis=1)

    def read(y: int, x: int, h: int, w: int) -> np.ndarray:
        return slide.read(0, y, x, h, w)

    for patch in (64, 96, 256):
        found = segmented(read, (192, 180), forward, NET, NORM, patch=patch)
        assert np.array_equal(found, slide.pixels[:, :180, 1] < 153)
    assert set(shapes) >= {(4, 3, 64, 64), (1, 3, 256, 256)}
    for words, said in (
        ({"patch": 100}, "patch = 100: want a multiple of 32 pixels"),
        ({"overlap": 0.9}, "overlap = 0.9: want 0 to 0.5 of a patch"),
        ({"chance": 1.0}, "chance = 1: want a probability between 0 and 1"),
    ):
        with pytest.raises(InputError, match=said):
            segmented(read, (9, 9), forward, NET, NORM, **words)
    with pytest.raises(InputError, match=r"takes RGB patches and gives 2 classes; this one is 3D with 1 inputs"):
        segmented(read, (9, 9), forward, NetSpec(), NORM)


def test_grounds_by_magnification():
    from slimscan.press.slide.tissue_train import Pair, grounds
    from slimscan.regions.tissue import Tissue

    slide, mask = made(1)
    pair = Pair(slide, Tissue(mask[::2, ::2].copy(), (2.0, 2.0), (192, 192)))
    found = grounds([pair, pair], MAGNIFICATIONS, 64)
    assert [(one.magnification, one.count) for one in found] == [(1.25, 2), (2.5, 2), (5.0, 8), (10.0, 18)]
    pixels, truth = found[-1].load(4)
    assert np.array_equal(pixels, slide.pixels[64:128, 64:128])
    assert np.array_equal(truth, np.repeat(np.repeat(mask[64:128:2, 64:128:2], 2, 0), 2, 1))
    pixels, truth = found[0].load(0)
    assert (pixels[24:] == 255).all()
    assert not truth[24:].any()
    with pytest.raises(InputError, match="no slide to train on at 40x"):
        grounds([pair], (40.0,), 64)


def test_the_network_is_the_papers():
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    from slimscan.models.unet import build

    net = build(NET)
    assert sum(one.numel() for one in net.parameters()) == 1_996_450
    assert net(torch.zeros(2, 3, 64, 96)).shape == (2, 2, 64, 96)
    norms = [name for name, one in net.named_modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert len(norms) == 2 * (5 + 1 + 2)
    with pytest.raises(InputError, match=r"the network tissue is 2D with 6 levels and width 32; got 3D, 3 and 8"):
        build(NetSpec("tissue"))


def test_it_learns_and_finds(tmp_path):
    """Eight steps on discs lower the loss, and give a model that `found` takes beside the methods."""
    pytest.importorskip("torch", reason="the extra torch is not installed")
    from slimscan.models.checkpoint import load
    from slimscan.press.slide import tissue as press
    from slimscan.press.slide.tissue_train import Pair, trained
    from slimscan.regions.tissue import Tissue

    pairs = [Pair(slide, Tissue(mask, (1.0, 1.0), mask.shape)) for slide, mask in (made(seed) for seed in range(3))]
    words = {"device": "cpu", "threads": 1, "half": False, "seed": 3, "every": 8, "rate": 2e-3}
    fit = usual(8, 64, 2, **words)
    assert isinstance(fit, FitSpec)
    lines: list[dict] = []
    best = trained(
        pairs[:2], pairs[2:], fit, tmp_path / "a", magnifications=(5, 10), log=lambda one: lines.append(dict(one))
    )
    scores = [line["validation"] for line in lines if "validation" in line]
    assert set(scores[0]) == {"5x", "10x", "mean"}
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    model = load(best)
    assert model.net == NET
    found = press.found(pairs[2].slide, press.Wanted(model=best, at=10))
    assert found.how[0].startswith("network ")
    assert found.pixels.shape == (192, 192)
    wide = press.found(pairs[2].slide, press.Wanted(model=best, methods=("colour",), at=10))
    assert (wide.pixels >= found.pixels).all(), "what the model finds is never taken away by a method"


def test_the_command_trains_on_files(tmp_path, real_data, capsys):
    pytest.importorskip("torch", reason="the extra torch is not installed")
    from slimscan.cli import slide_tissue

    place = real_data / "wsi_he" / "cmu_small_region.svs"
    if not place.is_file():
        pytest.skip("no wsi_he/cmu_small_region.svs among the real images")
    mask = tmp_path / "m.tif"
    slide_tissue.tissue(str(place), str(mask), method="colour")
    capsys.readouterr()
    pair = f"{place}={mask}"
    done = slide_tissue.train(
        [pair], str(tmp_path / "net"), held=[pair], steps=2, patch=64, batch=2, every=2, magnifications="1.25,2.5",
        device="cpu", threads=1, as_json=True,
    )  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert done == 0
    assert told["steps"] == 2
    assert told["weights"] > 1_996_450, "running means and deviations of the batch norms are kept as well"
    with pytest.raises(InputError, match=r'"slide\.svs": want SLIDE=MASK, for example a\.svs=a\.geojson'):
        slide_tissue.train(["slide.svs"], str(tmp_path / "other"))
    with pytest.raises(InputError, match=r'--magnifications "two": want numbers above 0, for example 1\.25,2\.5'):
        slide_tissue.train([pair], str(tmp_path / "other"), magnifications="two")
