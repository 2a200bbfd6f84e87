"""The same pixels through MONAI, TorchIO and nnU-Net's interface as through slimscan.read, and only what is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from phantoms import head, slide

from slimscan import Lossless, Volume, compress, write
from slimscan.errors import GeometryError, InputError, MissingExtra, NotReadable
from slimscan.feed import source
from slimscan.feed.store import Channels, OzxDataset, convert, register
from slimscan.nouns import Setting

quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def case(tmp_path: Path) -> tuple[Path, Path, Volume]:
    volume = head((14, 48, 40))
    compress(volume, tmp_path / "image.ozx", target=Lossless(), codec="htj2k")
    labels = np.zeros(volume.shape, np.uint8)
    labels[4:6, 20:24, 10:14] = 2
    compress(Volume(labels, volume.affine_mm, bits=8), tmp_path / "label.ozx", target=Lossless(), codec="jpegls")
    return tmp_path / "image.ozx", tmp_path / "label.ozx", volume


@quiet
def test_monai_reads_what_nibabel_would_give(case: tuple[Path, Path, Volume], tmp_path: Path) -> None:
    monai = pytest.importorskip("monai", reason="the extra monai is not installed")
    from slimscan.feed.monai import OzxReader

    image, label, volume = case
    write(volume, tmp_path / "image.nii.gz")
    load = monai.transforms.LoadImage(reader=OzxReader, ensure_channel_first=True)
    ours = load(image)
    theirs = monai.transforms.LoadImage(ensure_channel_first=True)(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)
    assert ours.shape == (1, 40, 48, 14)
    assert ours.meta["filename_or_obj"] == str(image)
    both = monai.transforms.LoadImage(reader=OzxReader(), ensure_channel_first=True)([image, label])
    assert both.shape == (2, 40, 48, 14)
    spaced = monai.transforms.Spacing(pixdim=(2.0, 2.0, 2.0))(ours)
    assert spaced.shape[1:] == (20, 24, 14)
    compress(slide(), tmp_path / "rgb.ozx", target=Lossless(), codec="jpegls")
    assert load(tmp_path / "rgb.ozx").shape == (3, 72, 64, 3)
    reader = OzxReader()
    assert reader.verify_suffix([image, "b.zarr/"])
    assert not reader.verify_suffix("a.nii.gz")
    with pytest.raises(GeometryError, match=r"rgb\.ozx: \(3, 64, 72, 3\) voxels, .*image\.ozx has \(14, 48, 40\)$"):
        reader.read([image, tmp_path / "rgb.ozx"])


@quiet
def test_monai_crops_decode_only_what_they_keep(
    case: tuple[Path, Path, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monai = pytest.importorskip("monai", reason="the extra monai is not installed")
    from slimscan.feed.monai import RandLoadCropsd

    image, label, volume = case
    data = {"image": str(image), "label": str(label), "name": "a"}
    crop = RandLoadCropsd(["image", "label"], (16, 24, 3), num_samples=2, label_key="label", pos=1, neg=0)
    chain = monai.transforms.Compose([crop, monai.transforms.RandFlipd(["image", "label"], prob=1.0, spatial_axis=0)])
    chain.set_random_state(3)
    pixels = np.asarray(volume.pixels)
    for _ in range(3):
        out = chain(data)
        assert len(out) == 2
        for item in out:
            assert item["image"].shape == item["label"].shape == (1, 16, 24, 3)
            assert 2 in item["label"]
            assert item["name"] == "a"
            flipped = np.linalg.inv(volume.affine_mm) @ item["image"].affine.numpy()
            x, y, z = np.rint(flipped[:3, 3]).astype(int)
            want = pixels[z : z + 3, y : y + 24, x - 15 : x + 1][:, :, ::-1]
            np.testing.assert_array_equal(item["image"].numpy()[0].transpose(2, 1, 0), want)
    read: list[tuple[int, ...]] = []
    honest = source.decoded
    monkeypatch.setattr(source, "decoded", lambda *given: read.append(given[2]) or honest(*given))
    alone = RandLoadCropsd(["image"], (16, 24, 3), num_samples=1)
    assert len(alone({"image": str(image)})) == 1
    assert len(read) == 3
    with pytest.raises(InputError, match=r'^label_key "other", pos 1, neg 1: want one of the keys, and shares$'):
        RandLoadCropsd(["image"], (16, 24, 3), label_key="other")


@quiet
def test_torchio_reads_images_and_takes_patches(case: tuple[Path, Path, Volume], tmp_path: Path) -> None:
    tio = pytest.importorskip("torchio", reason="the extra torchio is not installed")
    from slimscan.feed.patches import Patches, stream
    from slimscan.feed.torchio import as_subject, read

    image, label, volume = case
    write(volume, tmp_path / "image.nii.gz")
    subject = tio.Subject(image=tio.ScalarImage(image, reader=read), label=tio.LabelMap(label, reader=read))
    theirs = tio.ScalarImage(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(subject.image.numpy(), theirs.numpy())
    np.testing.assert_allclose(subject.image.affine, theirs.affine, atol=1e-5)
    assert tio.ToCanonical()(subject).label.data.max() == 2
    patches = Patches([image], [label], patch=(4, 24, 16), foreground=1.0, per_visit=2, mixed=1)
    for item in stream(patches, 2, transform=as_subject):
        assert item.image.shape == (1, 16, 24, 4)
        assert item.mask.data.max() == 2
        assert tio.RandomFlip(axes=(0, 1, 2), flip_probability=1)(item).image.shape == (1, 16, 24, 4)
        np.testing.assert_allclose(item.image.spacing, subject.image.spacing)
    compress(Volume(np.asarray(volume.pixels), slope=0.5, intercept=2.0), tmp_path / "half.ozx", target=Lossless())
    np.testing.assert_array_equal(
        read(tmp_path / "half.ozx")[0][0].transpose(2, 1, 0), np.asarray(volume.pixels) * 0.5 + 2
    )


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    data = rng.normal(size=(2, 9, 32, 28)).astype(np.float32)
    seg = rng.integers(-1, 3, (1, 9, 32, 28)).astype(np.int8)
    properties = {"class_locations": {1: np.argwhere(seg == 1)}, "spacing": (1.0, 1.0, 1.0)}
    OzxDataset.save_case(data, seg, properties, str(tmp_path / "case_1"))
    return tmp_path, data, seg


def test_a_stored_case_is_cut_like_an_array(stored: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, data, seg = stored
    found = OzxDataset(str(folder))
    assert found.identifiers == ["case_1"]
    ours, labels, before, properties = found["case_1"]
    assert before is None
    assert properties["class_locations"][1].shape[1] == 4
    assert (ours.shape, ours.ndim, ours.dtype, len(ours)) == (data.shape, 4, np.float32, 2)
    step = max(np.ptp(channel) for channel in data) / 4095
    np.testing.assert_allclose(np.asarray(ours), data, atol=0.51 * step)
    np.testing.assert_array_equal(np.asarray(labels), seg)
    assert np.asarray(labels, np.int64).dtype == np.int64
    whole, exact = np.asarray(ours), np.asarray(labels)
    for index in (
        (slice(None), slice(2, 5), slice(3, 20), slice(1, 9)), (0, 4), 1, (..., 5), (slice(0, 1), -1, slice(None, None, 2)),
        (slice(None), slice(4, 4)), (1, ..., slice(9, 2, -3)), slice(None),
    ):  # fmt: skip
        np.testing.assert_array_equal(ours[index], whole[index])
    np.testing.assert_array_equal(labels[:, 1:3, 5:6, 7:9], exact[:, 1:3, 5:6, 7:9])
    for index in ((0, 0, 0, 0, 0), (2,), (slice(None), [1, 2])):
        with pytest.raises(IndexError):
            ours[index]


def test_cutting_touches_only_its_slices(
    stored: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, ...]] = []
    honest = source.decoded
    monkeypatch.setattr(source, "decoded", lambda *given: read.append(given[2]) or honest(*given))
    data, _, _, _ = OzxDataset(str(stored[0])).load_case("case_1")
    assert isinstance(data, Channels)
    assert data[:, 3:6, 0:8, 0:8].shape == (2, 3, 8, 8)
    assert len(read) == 6


def test_settings_stages_and_what_is_missing(stored: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    folder, data, seg = stored
    OzxDataset.save_case(data, seg, {}, str(tmp_path / "lossy"), Setting("jpegls", 3.0), bits=10, chunks=(1, 2, 3))
    ours = OzxDataset(str(tmp_path), ["lossy"])["lossy"][0]
    steps = np.array([np.ptp(channel) for channel in data]) / 1023
    assert (np.abs(np.asarray(ours) - data).max(axis=(1, 2, 3)) <= 3.51 * steps).all()
    (tmp_path / "before").mkdir()
    OzxDataset.save_seg(seg, str(tmp_path / "before" / "lossy"))
    before = OzxDataset(str(tmp_path), ["lossy"], str(tmp_path / "before"))["lossy"][2]
    assert before is not None
    np.testing.assert_array_equal(np.asarray(before), seg)
    with pytest.raises(NotReadable, match=r"holds no case other \(No such file or directory\)$"):
        OzxDataset(str(folder))["other"]
    with pytest.raises(InputError, match=r": 7 bits; allowed: 8 to 16$"):
        OzxDataset.save_case(data, seg, {}, str(tmp_path / "x"), bits=7)


def test_a_folder_of_b2nd_becomes_one_of_ozx(tmp_path: Path) -> None:
    blosc2 = pytest.importorskip("blosc2", reason="the extra nnunet is not installed")
    import pickle

    rng = np.random.default_rng(5)
    data, seg = rng.normal(size=(1, 6, 32, 28)).astype(np.float32), rng.integers(0, 3, (1, 6, 32, 28)).astype(np.int8)
    (tmp_path / "plans").mkdir()
    blosc2.asarray(data, urlpath=str(tmp_path / "plans" / "a.b2nd"))
    blosc2.asarray(seg, urlpath=str(tmp_path / "plans" / "a_seg.b2nd"))
    (tmp_path / "plans" / "a.pkl").write_bytes(pickle.dumps({"spacing": 1}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no preprocessed case \(\.b2nd\); run nnUNetv2_preprocess first$"):
        convert(tmp_path / "empty")
    made = convert(tmp_path / "plans", bits=16)
    assert made == tmp_path / "plans_ozx"
    ours, labels, _, properties = OzxDataset(str(made))["a"]
    np.testing.assert_allclose(np.asarray(ours), data, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(labels), seg)
    assert properties == {"spacing": 1}


def test_nnunet_finds_the_store_or_says_what_is_missing(tmp_path: Path) -> None:
    try:
        from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    except ImportError:
        with pytest.raises(MissingExtra, match=r'nnunetv2, which is not installed: pip install "slimscan\[nnunet\]"$'):
            register()
        return
    register()
    OzxDataset.save_case(np.zeros((1, 4, 32, 32)), np.zeros((1, 4, 32, 32)), {}, str(tmp_path / "a"))
    assert infer_dataset_class(str(tmp_path)) is OzxDataset
