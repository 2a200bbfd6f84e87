"""Compression as noise: every codec, the strength that was asked for, and the same again from seed and history."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from phantoms import head, slide

from slimscan import CODECS
from slimscan.errors import InputError
from slimscan.feed.augment import CodecNoise, Noise
from slimscan.nouns import Pixels, Setting

SPAN = (-1024.0, 3071.0)


@pytest.fixture(scope="module")
def crop() -> Pixels:
    return np.asarray(head((12, 48, 40)).pixels)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_codec_at_every_depth_keeps_shape_and_type(name: str, bits: int, crop: Pixels) -> None:
    found = CODECS[name]
    if any(need.missing() for need in found.needs):
        pytest.skip(f"{name}: a package is not installed")
    setting = f"{name}@{found.knob.low!r}..{found.knob.high!r}" if found.knob else f"{name}@lossless"
    noise = CodecNoise([setting], bits=bits, span=SPAN, seed=3)
    for pixels in (crop[:3], crop[:3].astype(np.float32), crop[:2, :9, :7]):
        out = noise(pixels)
        assert (out.shape, out.dtype) == (pixels.shape, pixels.dtype)
        assert out is not pixels
    if found.lossless and bits >= 12 and bits <= found.holds.bits[1]:
        exact = CodecNoise([f"{name}@lossless"], bits=bits, span=SPAN)(crop[:3])
        assert np.abs(exact.astype(int) - crop[:3]).max() <= (0 if bits == 12 else 1)


def test_near_bounds_the_error_in_real_units(crop: Pixels) -> None:
    out = CodecNoise(["jpegls@9"], bits=12, span=SPAN)(crop)  # a code is one unit
    error = np.abs(out.astype(int) - np.clip(crop, -1024, 3071))
    assert 5 <= error.max() <= 9


@pytest.mark.parametrize("name", ["jpeg2000", "htj2k", "jpegls", "jpegxl", "sperr", "jpeg"])
def test_psnr_and_ratio_are_met_roughly(name: str, crop: Pixels) -> None:
    for want in (38.0, 46.0):
        noise = CodecNoise(codecs=[name], psnr=(want, want), span=SPAN)
        settled = noise.settle(noise.draw(np.random.default_rng(1)), crop)
        assert settled is not None
        error = settled(crop).astype(np.float64) - crop
        got = 10 * np.log10((SPAN[1] - SPAN[0]) ** 2 / (error**2).mean())
        assert abs(got - want) < 1.5
    noise = CodecNoise(codecs=[name], ratio=(5, 5), span=SPAN)
    settled = noise.settle(noise.draw(np.random.default_rng(1)), crop)
    assert settled is not None
    found = CODECS[name]
    from slimscan.feed.augment import _codes, _through

    codes = _codes(crop, settled.bits, SPAN)
    _, nbytes = _through(found, codes, settled.bits, settled.setting.value, 1)
    assert 4.2 < codes.nbytes / nbytes < 5.8


def test_the_same_seed_is_the_same_noise_and_threads_do_not_matter(crop: Pixels) -> None:
    first, second = CodecNoise(seed=5), pickle.loads(pickle.dumps(CodecNoise(seed=5, workers=2)))
    for _ in range(3):
        np.testing.assert_array_equal(first(crop), second(crop))
    rng = [np.random.default_rng(4), np.random.default_rng(4)]
    np.testing.assert_array_equal(first(crop, rng[0]), second(crop, rng[1]))
    assert not np.array_equal(CodecNoise(seed=6)(crop), CodecNoise(seed=5)(crop))


def test_draws_cover_the_range_evenly_on_the_knobs_scale() -> None:
    noise, rng = CodecNoise(["htj2k@4..64"], bits=(8, 16)), np.random.default_rng(0)
    drawn = [noise.draw(rng) for _ in range(400)]
    values = np.array([one.value for one in drawn])
    assert 4 <= values.min() < 4.3
    assert 60 < values.max() <= 64
    assert abs(np.median(values) - 16) < 2  # the middle of a logarithmic scale
    assert {one.bits for one in drawn} == set(range(8, 17))


def test_chance_flat_crops_and_colour(crop: Pixels) -> None:
    flat = np.full((2, 16, 16), 7, np.int16)
    assert CodecNoise()(flat) is flat
    rng = np.random.default_rng(2)
    noise = CodecNoise(["jpegls@4"], probability=0.25)
    same = crop[:1]
    assert 5 < sum(noise(same, rng) is not same for _ in range(60)) < 28  # 15 expected
    colour = np.asarray(slide().pixels)
    for name in ("jpegls@4", "sz3@4"):  # with colour, and channel by channel
        if not any(need.missing() for need in CODECS[name.split("@")[0]].needs):
            out = CodecNoise([name], bits=8, span=(0, 255))(colour)
            assert 0 < np.abs(out.astype(int) - colour).max() <= 4


def test_a_settled_noise_repeats(crop: Pixels) -> None:
    noise = Noise(Setting("htj2k", 24.0), 12, SPAN)
    np.testing.assert_array_equal(noise(crop), noise(crop))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"settings": ["htj2k"]}, 'compression noise "htj2k": want CODEC@LOW..HIGH, CODEC@NUMBER or CODEC@lossless, as htj2k@4..64'),
        ({"settings": ["zstd@4"]}, "compression noise: zstd has no knob; only zstd@lossless"),
        ({"settings": ["jpeg@lossless"]}, 'compression noise "jpeg@lossless": jpeg is never lossless'),
        ({"settings": ["jpegls@1..900"]}, "jpegls: near 900 is outside 1..255 stored units (finest at 1); choose a value inside"),
        ({"psnr": (40, 50), "ratio": (2, 4)}, "compression noise: give settings, or codecs with one of psnr and ratio"),
        ({"codecs": ["htj2k"]}, "compression noise by htj2k: say how strong, with psnr, ratio or settings"),
        ({"ratio": (9, 4)}, "compression noise: ratio (9, 4); want (low, high), low not above high"),
        ({"probability": 2}, "compression noise: probability 2 is outside 0..1"),
        ({"bits": 7}, "compression noise: bits 7; want 8 to 16, or (low, high) between them"),
        ({"span": (5, 5)}, "compression noise: span (5, 5); want the lowest and the highest value"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_at_once(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        CodecNoise(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == said


def test_pixels_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"^compression noise of an array \(4, 4\): want \(z, y, x\) or"):
        CodecNoise()(np.zeros((4, 4)))
    with pytest.raises(InputError, match=r"^compression noise: the crop holds NaN or infinity; replace them first$"):
        CodecNoise()(np.array([[[0.0, np.nan]]]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_monai_dictionary_form_keeps_meta_and_repeats(crop: Pixels) -> None:
    monai = pytest.importorskip("monai", reason="the extra monai is not installed")
    torch = pytest.importorskip("torch")
    from slimscan.feed.augment_monai import RandCodecNoised

    image = monai.data.MetaTensor(
        torch.from_numpy(crop.T.copy()[None]).float(), affine=torch.diag(torch.tensor([2.0, 3, 4, 1]))
    )
    data = {"image": image, "label": torch.ones(1, 4, 4, 4)}
    transform = monai.transforms.Compose([RandCodecNoised(["image"], prob=1.0, settings=["jpegls@9"], span=SPAN)])
    out = transform.set_random_state(7)(data)
    assert isinstance(out["image"], monai.data.MetaTensor)
    assert torch.equal(out["image"].affine, image.affine)
    assert out["image"].dtype == torch.float32
    direct = Noise(Setting("jpegls", 9.0), 12, SPAN)(crop)
    np.testing.assert_array_equal(out["image"].numpy()[0].T, direct.astype(np.float32))
    assert out["label"] is data["label"]
    some = RandCodecNoised(["image"], prob=0.5, settings=["htj2k@4..64"], span=SPAN).set_random_state(1)
    first = [some(data)["image"].sum() for _ in range(6)]
    again = some.set_random_state(1)
    assert first == [again(data)["image"].sum() for _ in range(6)]
    assert 1 < len({float(one) for one in first}) < 7
    plane = {"image": np.asarray(crop[0].T[None], np.float32)}
    assert RandCodecNoised("image", prob=1.0)(plane)["image"].shape == (1, 40, 48)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_torchio_form_repeats_from_its_history(crop: Pixels) -> None:
    tio = pytest.importorskip("torchio", reason="the extra torchio is not installed")
    torch = pytest.importorskip("torch")
    from slimscan.feed.augment_torchio import RandomCodecNoise

    tensor = torch.from_numpy(crop.T.copy()[None]).float()
    subject = tio.Subject(image=tio.ScalarImage(tensor=tensor), label=tio.LabelMap(tensor=(tensor > 0).int()))
    torch.manual_seed(3)
    out = RandomCodecNoise(codecs=["htj2k"], psnr=(35, 45))(subject)
    assert not torch.equal(out.image.data, tensor)
    assert torch.equal(out.label.data, subject.label.data)
    assert torch.equal(out.get_applied_transforms()[0](subject).image.data, out.image.data)
    assert torch.equal(out.get_composed_history()(subject).image.data, out.image.data)
    assert torch.equal(RandomCodecNoise(p=0)(subject).image.data, tensor)
    torch.manual_seed(3)
    assert torch.equal(RandomCodecNoise(codecs=["htj2k"], psnr=(35, 45))(subject).image.data, out.image.data)
