"""Patches: the right voxels, the same with any number of workers, few decodings, and what fit() asks for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from phantoms import head, masked, slide

import slimscan
from slimscan import Lossless, Psnr, Setting, Volume, compress
from slimscan.errors import CodecError, GeometryError, InputError, NotReadable
from slimscan.feed import source
from slimscan.feed.patches import Patches, batches, dataset, stream
from slimscan.feed.source import Cache, Source
from slimscan.models.spec import FitSpec, NetSpec, NormSpec

SIDE = (6, 24, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("feed")
    for number in range(3):
        volume = head((14 + number, 48, 40), seed=number)
        compress(volume, out / f"image{number}.ozx", target=Lossless(), codec="htj2k")
        labels = np.zeros(volume.shape, np.uint8)
        labels[4:6, 20:24, 10:14], labels[8, 40, 30] = 1, 3
        compress(Volume(labels, volume.affine_mm, bits=8), out / f"mask{number}.ozx", target=Lossless(), codec="zstd")
    return out


def images(folder: Path) -> list[Path]:
    return [folder / f"image{number}.ozx" for number in range(3)]


def masks(folder: Path) -> list[Path]:
    return [folder / f"mask{number}.ozx" for number in range(3)]


@pytest.mark.parametrize("codec", ["htj2k", "jpegls", "zstd", "jpeg2000z"])
@pytest.mark.parametrize("volume", [head((9, 40, 33)), masked((8, 40, 44)), slide()], ids=["ct", "masked", "rgb"])
def test_crops_are_those_of_the_decoded_volume(codec: str, volume: Volume, tmp_path: Path) -> None:
    if slimscan.CODECS[codec].holds.samples == (1,) and len(volume.shape) == 4:
        pytest.skip(f"{codec} holds grey only")
    knob = {"htj2k": 20.0, "jpegls": 5.0, "jpeg2000z": 45.0}.get(codec)
    exact = [None] if slimscan.CODECS[codec].lossless else []
    for value in [*exact, *([knob] if knob else [])]:
        path = tmp_path / f"{value}.ozx"
        compress(volume, path, target=Setting(codec, value))
        whole = np.asarray(slimscan.read(path).pixels)
        found = Source(path)
        assert (found.shape, found.dtype) == (whole.shape, whole.dtype)
        corners, size = [(0, 3, 5), (1, 0, 0), (2, 7, 7)], (1, 20, 24)
        for corner, patch in zip(corners, found.crops(corners, size), strict=True):
            z, y, x = corner
            np.testing.assert_array_equal(patch, whole[z : z + 1, y : y + 20, x : x + 24])
        np.testing.assert_array_equal(found.volume.slices(0, found.shape[0]), whole)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.tif"])
def test_other_files_give_patches_too(name: str, tmp_path: Path) -> None:
    volume = head((9, 40, 33))
    slimscan.write(volume, tmp_path / name)
    found = Source(tmp_path / name, Cache(0))
    np.testing.assert_array_equal(found.crop((2, 5, 6), (4, 10, 12)), volume.pixels[2:6, 5:15, 6:18])


def test_only_touched_chunks_are_decoded_and_each_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    honest = source.decoded
    monkeypatch.setattr(source, "decoded", lambda *given: read.append(given[2]) or honest(*given))
    found = Source(images(folder)[0], Cache(0))
    found.crops([(2, 0, 0), (3, 5, 5), (4, 9, 9)], (3, 8, 8))
    assert len(read) == 5  # slices 2 to 6
    found.cache.limit = 1 << 20
    found.crop((6, 0, 0), (2, 8, 8))
    assert len(read) == 6  # the sixth slice was the last one, and is kept
    found.crop((6, 0, 0), (2, 8, 8))
    assert len(read) == 6


def test_the_cache_keeps_to_its_bytes_and_pickles_empty() -> None:
    cache = Cache(100)
    for key in range(9):
        cache.get(key, lambda: np.zeros(40, np.uint8))
    assert (cache.nbytes, cache.misses, cache.hits) == (80, 9, 0)
    cache.get(8, lambda: np.zeros(40, np.uint8))
    assert cache.hits == 1
    again = pickle.loads(pickle.dumps(cache))
    assert (again.limit, again.nbytes) == (100, 0)
    cache._process = -1  # as in a child that was forked
    cache.get(8, lambda: np.zeros(40, np.uint8))
    assert (cache.nbytes, cache.misses) == (40, 1)


def test_reversible_streams_take_the_fast_way_and_others_do_not(tmp_path: Path) -> None:
    volume = head((2, 64, 64))
    for target, fast in ((Lossless(), True), (Psnr(45), False)):
        path = tmp_path / f"{fast}.ozx"
        compress(volume, path, target=target, codec="htj2k")
        box = source.open_box(path)
        assert source.reversible(box.chunk(0)) is fast
        whole = np.asarray(slimscan.read(path).pixels)
        quick = Source(path, fast=True).crop((0, 0, 0), volume.shape)
        assert np.abs(quick.astype(int) - whole).max() == (0 if fast else 1)
    edges = np.where(np.random.default_rng(1).random((2, 64, 64)) < 0.5, 255, 0).astype(np.uint8)
    compress(
        Volume(edges, bits=8), tmp_path / "full.ozx", target=Setting("htj2k", 60.0)
    )  # overshoots, and fills its bytes
    whole = np.asarray(slimscan.read(tmp_path / "full.ozx").pixels)
    np.testing.assert_array_equal(Source(tmp_path / "full.ozx", fast=True).crop((0, 0, 0), whole.shape), whole)


def test_a_pool_is_the_patches_by_number_and_epochs_differ(folder: Path) -> None:
    patches = Patches(images(folder), masks(folder), patch=SIDE, per_visit=4, mixed=2, foreground=0.5)
    pool = patches.get_pool(1)
    for at, one in enumerate(pool):
        alone = patches.get(patches.pool + at)
        assert (alone.case, alone.corner) == (one.case, one.corner)
        np.testing.assert_array_equal(alone.image, one.image)
        whole = np.asarray(slimscan.read(images(folder)[one.case]).pixels)
        z, y, x = one.corner
        np.testing.assert_array_equal(one.image[0], whole[z : z + 6, y : y + 24, x : x + 20])
        assert one.image.dtype == np.float32
    assert [one.corner for one in patches.get_pool(1, epoch=1)] != [one.corner for one in pool]
    assert sorted(patches.case_of(visit) for visit in range(3)) == [0, 1, 2]  # every image once in a pass


def test_corners_reach_every_place_evenly(folder: Path) -> None:
    patches = Patches(images(folder)[:1], patch=(12, 47, 40), per_visit=1, mixed=1)
    corners = [patches._corner(0, (14, 48, 40), np.random.default_rng(seed)) for seed in range(600)]
    counts = {corner: corners.count(corner) for corner in set(corners)}
    assert set(counts) == {(z, y, 0) for z in range(3) for y in range(2)}
    assert min(counts.values()) > 60  # 100 expected, deviation 9


def test_foreground_patches_hold_a_label_and_values_are_equal(folder: Path) -> None:
    patches = Patches(images(folder), masks(folder), patch=(3, 9, 9), per_visit=60, mixed=1, foreground=1.0)
    held = [set(np.unique(one.mask)) - {0} for one in patches.get_pool(0)]
    assert all(held)
    assert 15 < sum(3 in values for values in held) < 45  # one voxel of 3, 32 of 1


def test_small_images_are_continued_by_their_edge(folder: Path) -> None:
    patches = Patches(images(folder)[:1], masks(folder)[:1], patch=(20, 24, 20), per_visit=3, mixed=1)
    whole = np.asarray(slimscan.read(images(folder)[0]).pixels)
    for one in patches.get_pool(0):
        z, y, x = one.corner
        want = np.pad(whole[:, y : y + 24, x : x + 20], [(-z, 6 + z), (0, 0), (0, 0)], mode="edge")
        np.testing.assert_array_equal(one.image[0], want)
        assert one.mask is not None
        assert one.mask.shape == (20, 24, 20)


def test_channels_and_real_units(tmp_path: Path) -> None:
    volume = head((5, 30, 30))
    scaled = Volume(volume.pixels, volume.affine_mm, slope=0.5, intercept=-3.0)
    compress(scaled, tmp_path / "a.ozx", target=Lossless(), codec="htj2k")
    compress(slide((5, 30, 30)), tmp_path / "b.ozx", target=Lossless(), codec="htj2k")
    one = Patches([[tmp_path / "a.ozx", tmp_path / "b.ozx"]], patch=(5, 30, 30)).get(0)
    assert one.image.shape == (4, 5, 30, 30)
    np.testing.assert_array_equal(one.image[0], np.float32(volume.pixels * 0.5 - 3))
    with pytest.raises(GeometryError) as caught:
        Patches([[tmp_path / "a.ozx", _other(tmp_path)]], patch=(5, 30, 30)).get(0)
    assert str(caught.value) == (
        f"{tmp_path}/c.ozx: (4, 30, 30) voxels, {tmp_path}/a.ozx has (5, 30, 30); resample one to the other's grid"
    )


def _other(folder: Path) -> Path:
    compress(head((4, 30, 30)), folder / "c.ozx", target=Lossless(), codec="zstd")
    return folder / "c.ozx"


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path) -> None:
    some = images(folder)
    for arguments, words, said in (
        (([],), {}, "patches of no images: name at least one"),
        ((some, masks(folder)[:2]), {}, "3 images and 2 masks: want a mask for every image, in order"),
        ((some,), {"patch": (64, 64)}, "patch (64, 64): want three sides (z, y, x) of 1 voxel or more"),
        ((some,), {"per_visit": 0}, "per_visit 0, mixed 4, threads 1: each must be 1 or more"),
        ((some,), {"foreground": 0.5}, "foreground 0.5: want a share of 0 to 1, and masks to find it in"),
        ((some,), {"cache_bytes": -1}, "a cache of -1 bytes: want 0 or more"),
    ):
        with pytest.raises(InputError) as caught:
            Patches(*arguments, **words)  # type: ignore[arg-type]
        assert str(caught.value) == said
    with pytest.raises(
        InputError, match=r"image0\.ozx: \(4, 4, 4\) voxels from \(12, 0, 0\) are not inside \(14, 48, 40\)$"
    ):
        Source(some[0]).crop((12, 0, 0), (4, 4, 4))
    bad = tmp_path / "bad.ozx"
    content = bytearray(some[0].read_bytes())
    content[source.open_box(some[0]).chunks[3][0] + 200] ^= 1
    bad.write_bytes(content)
    with pytest.raises(CodecError, match=r"bad\.ozx: chunk 3 is damaged"):
        Source(bad).crop((0, 0, 0), (6, 4, 4))
    bad.write_bytes(content[: len(content) // 2])
    with pytest.raises(NotReadable, match=r"bad\.ozx: this OME-Zarr is damaged or cut short"):
        Source(bad).crop((0, 0, 0), (6, 4, 4))


def test_workers_hand_out_the_same_patches_however_many_they_are(folder: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    patches = Patches(images(folder), masks(folder), patch=SIDE, per_visit=3, mixed=2, foreground=0.5)
    patches.get(0)  # a parent that has files open and a warm cache
    found = []
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(
            stream(patches, 20), batch_size=None, num_workers=workers, persistent_workers=workers > 0
        )
        items = list(loader)
        assert len(items) == 20
        found.append(
            sorted((int(one["case"]), tuple(one["corner"].tolist()), float(one["image"].sum())) for one in items)
        )
        loader.dataset.set_epoch(1)
        other = [tuple(one["corner"].tolist()) for one in loader]
        assert sorted(other) != sorted(corner for _, corner, _ in found[-1])
        loader.dataset.set_epoch(0)
    assert found[0] == found[1]
    mapped = dataset(patches, 20, transform=lambda item: item | {"seen": True})
    again = [mapped[at] for at in range(20)]
    assert sorted((one["case"], tuple(one["corner"].tolist()), float(one["image"].sum())) for one in again) == found[0]
    assert again[0]["seen"]
    assert (again[0]["image"].shape, again[0]["mask"].shape) == ((1, *SIDE), (1, *SIDE))
    with pytest.raises(IndexError, match=r"patch 20 is outside 0\.\.19"):
        mapped[20]


@pytest.mark.parametrize(
    "norm",
    [
        NormSpec(),
        NormSpec("zscore", -900, 900, 8),
        NormSpec("zscore", bits=8),
        NormSpec("trainset", -500, 800, 0, 20.0, 300.0),
        NormSpec("none", -1000, 1000),
        NormSpec("zscore", low=-100, bits=6),
    ],
    ids=lambda norm: f"{norm.way}-{norm.bits}-{norm.low}",
)
@pytest.mark.parametrize("dims", [2, 3])
def test_batches_are_crops_of_the_normalised_volume(norm: NormSpec, dims: int, folder: Path) -> None:
    from slimscan.models.normal import ready

    side = (1, 24, 20) if dims == 2 else SIDE
    net = NetSpec(dims=dims, classes=3, labels=(0, 3, 1))
    fit = FitSpec(patch=side, batch=2, flips="none")
    start = batches(images(folder), masks(folder), net, norm, fit, per_visit=2, mixed=2)
    wholes = [ready(np.asarray(slimscan.read(path).pixels), norm) for path in images(folder)]
    labels = [np.array([0, 2, 9, 1], np.uint8)[np.asarray(slimscan.read(path).pixels)] for path in masks(folder)]
    patches = Patches(
        images(folder), masks(folder), patch=side, per_visit=2, mixed=2, foreground=fit.foreground, seed=2021
    )
    steps = start(0)
    for step in range(4):
        x, y = next(steps)
        assert (x.dtype, y.dtype) == (np.float32, np.uint8)
        assert x.shape == ((2, 1, 24, 20) if dims == 2 else (2, 1, *SIDE))
        for at in range(2):
            one = patches.get(2 * step + at)
            box = tuple(slice(low, low + n) for low, n in zip(one.corner, side, strict=True))
            np.testing.assert_allclose(x[at, 0], wholes[one.case][box].reshape(x[at, 0].shape), rtol=2e-5, atol=2e-5)
            np.testing.assert_array_equal(y[at], labels[one.case][box].reshape(y[at].shape))
    steps.close()  # type: ignore[attr-defined]


def test_batches_go_on_from_any_step(folder: Path) -> None:
    fit = FitSpec(patch=SIDE, batch=3)
    start = batches(
        images(folder), masks(folder), NetSpec(classes=3, labels=(0, 1, 3)), NormSpec(), fit, per_visit=2, mixed=2
    )
    first = start(0)
    seen = [next(first) for _ in range(5)]
    for step in (1, 3):
        x, y = next(start(step))
        np.testing.assert_array_equal(x, seen[step][0])
        np.testing.assert_array_equal(y, seen[step][1])
    few = batches(images(folder), masks(folder), NetSpec(classes=2), NormSpec(), FitSpec(patch=SIDE, foreground=1.0))
    with pytest.raises(InputError, match=r"mask\d\.ozx: holds the value 3; the network knows 0, 1$"):
        for _, _ in zip(few(0), range(20), strict=False):
            pass
