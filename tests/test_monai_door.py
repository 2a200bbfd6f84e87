"""Swin UNETR from a spec, weights as others keep them, and a real MONAI bundle as a task."""

from __future__ import annotations

import json

import numpy as np
import pytest

from slimscan.errors import InputError, NotReadable
from slimscan.models import BadAnswer, monai_door
from slimscan.models import monai_bundle as monai_bundle_model
from slimscan.models.spec import NetSpec
from slimscan.nouns import Volume
from slimscan.study.task import Asked
from slimscan.study.tasks import monai_bundle
from slimscan.study.words import table

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("monai", reason="the extra monai is not installed")

SMALL = NetSpec("swin_unetr", 3, 1, 3, 5, 12)
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return monai_door.swin(SMALL).eval()


# ---------------------------------------------------------------- the network


@torch.no_grad()
def test_swin_gives_logits_of_the_input_s_sides(net):
    assert net(torch.zeros(1, 1, 32, 64, 32)).shape == (1, 3, 32, 64, 32)
    flat = monai_door.swin(NetSpec("swin_unetr", 2, 2, 2, 5, 12)).eval()
    assert flat(torch.zeros(2, 2, 32, 64)).shape == (2, 2, 32, 64)


def test_sides_and_widths_that_do_not_fit_are_said(net):
    with pytest.raises(InputError) as caught:
        net(torch.zeros(1, 1, 32, 40, 20))
    assert str(caught.value) == "Swin UNETR: sides (32, 40, 20) are not all multiples of 32; take (32, 64, 32)"
    with pytest.raises(InputError) as caught:
        net(torch.zeros(1, 1, 32, 32, 32))
    assert str(caught.value) == (
        "Swin UNETR: sides (32, 32, 32) leave one voxel at its deepest level; one side must be 64 or more"
    )
    with pytest.raises(InputError) as caught:
        monai_door.swin(NetSpec("swin_unetr", 3, 1, 2, 5, 8))
    assert str(caught.value) == ("network width = 8: Swin UNETR takes multiples of 12; 24 is small, 48 as published")


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    "held",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 5000},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {"state_dict": {f"module.net.{name}": value for name, value in state.items()}, "best_acc": 0.8},
    ],
)
def test_weights_are_found_however_they_are_kept(net, tmp_path, held):
    torch.save(held(net.state_dict()), tmp_path / "w.pt")
    torch.manual_seed(1)
    other = monai_door.swin(SMALL)
    assert monai_door.load_weights(other, tmp_path / "w.pt") == ()
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    assert monai_door.spec_of(tmp_path / "w.pt") == SMALL


def test_a_pre_trained_transformer_fills_the_encoder_alone(net, tmp_path):
    """The layout of MONAI's self-supervised model_swinvit.pt: module., no swinViT., and fc1 where MONAI has linear1."""
    state = {
        "module." + name.removeprefix("swinViT.").replace("linear1", "fc1").replace("linear2", "fc2"): value
        for name, value in net.state_dict().items()
        if name.startswith("swinViT.")
    }
    state["module.rotation_head.weight"] = torch.zeros(4, 4)
    torch.save({"state_dict": state}, tmp_path / "model_swinvit.pt")
    torch.manual_seed(1)
    other = monai_door.swin(SMALL)
    left = monai_door.load_weights(other, tmp_path / "model_swinvit.pt", encoder=True)
    assert left
    assert all(not name.startswith("swinViT.") for name in left)
    mine, theirs = net.state_dict(), other.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if name.startswith("swinViT."))
    with pytest.raises(
        InputError, match=r"more weights that Swin UNETR does not have; a pre-trained transformer alone"
    ):
        monai_door.load_weights(other, tmp_path / "model_swinvit.pt")


def test_weights_that_do_not_fit_are_said(net, tmp_path):
    place = tmp_path / "w.pt"
    torch.save({"state_dict": net.state_dict()}, place)
    with pytest.raises(InputError) as caught:
        monai_door.load_weights(monai_door.swin(NetSpec("swin_unetr", 3, 1, 5, 5, 12)), place)
    assert str(caught.value) == (
        f"{place}: out.conv.conv.weight is (3, 12, 1, 1, 1), the network's is (5, 12, 1, 1, 1); so many classes were trained"
    )
    state = dict(net.state_dict())
    del state["out.conv.conv.bias"]
    torch.save(state, place)
    with pytest.raises(InputError, match=r"out\.conv\.conv\.bias and 0 more weights of Swin UNETR are not in it$"):
        monai_door.load_weights(net, place)
    torch.save({"epoch": 3}, place)
    with pytest.raises(NotReadable, match=r"holds no weights; looked for them at the top and under state_dict, model"):
        monai_door.load_weights(net, place)
    place.write_bytes(b"no checkpoint")
    with pytest.raises(NotReadable, match=r"is no checkpoint of weights that can be read safely \("):
        monai_door.load_weights(net, place)
    with pytest.raises(NotReadable, match=r"is not there$"):
        monai_door.load_weights(net, tmp_path / "nowhere.pt")


class Bomb:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_checkpoint_is_run(net, tmp_path, capsys):
    torch.save({"state_dict": net.state_dict(), "args": Bomb()}, tmp_path / "w.pt")
    with pytest.raises(NotReadable):
        monai_door.weights_of(tmp_path / "w.pt")
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- a bundle

INFERENCE = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "datalist": "$list(sorted(glob.glob(@bundle_root + '/data/*.nii.gz')))",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2,
                    "channels": [4, 8], "strides": [2], "num_res_units": 0, "bias": True},
    "network": "$@network_def.to(@device)",
    "preprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 1.0], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 100, "b_min": 0, "b_max": 1,
         "clip": True},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.25},
    "postprocessing": {"_target_": "Compose", "transforms": [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
         "nearest_interp": False, "to_tensor": True},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
    ]},
}  # fmt: skip


def bundle_in(folder, config=INFERENCE, suffix="json", script=False):
    """A bundle whose network answers 1 where the scaled image is above one half: a U-Net whose skip is all that counts."""
    from monai.bundle import ConfigParser

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    ConfigParser.export_config_file(
        config, str(folder / f"configs/inference.{suffix}"), fmt="json" if suffix == "json" else "yaml"
    )
    (folder / "configs/metadata.json").write_text(json.dumps({"version": "0.1.0", "monai_version": "1.6.1"}))
    net = Half()
    if script:
        torch.jit.script(net).save(str(folder / "models/model.ts"))
    else:
        parser = ConfigParser(config)
        torch.manual_seed(0)
        net = parser.get_parsed_content("network_def")
        torch.save(
            {"model": {f"module.{name}": value for name, value in net.state_dict().items()}}, folder / "models/model.pt"
        )
    return folder


class Half(torch.nn.Module):
    def forward(self, x):
        return torch.cat([0.5 - x, x - 0.5], 1)


# Bright where x is large and z is small, on a grid that is neither the bundle's orientation nor its spacing.
SHAPE = (10, 12, 14)
PIXELS = np.zeros(SHAPE, np.int16)
PIXELS[1:5, 3:9, 6:12] = 90
AFFINE = np.array([[-1.0, 0, 0, 5], [0, 1.0, 0, -3], [0, 0, 2.0, 7], [0, 0, 0, 1]])
IMAGE = Volume(PIXELS, AFFINE, slope=2.0, intercept=-50.0, source="ct")
REAL = PIXELS * 2.0 - 50


def task_of(base, **words):
    said = table("task", monai_bundle.WORDS, {"bundle": "bundle", **words})
    return monai_bundle.make({"name": "t", "kind": "monai_bundle", **said}, base)


def test_a_scripted_bundle_answers_on_the_image_s_own_grid(tmp_path):
    bundle_in(tmp_path / "bundle", script=True)
    task = task_of(tmp_path)
    found = task.predict(IMAGE, Asked("c", "c"))
    assert found.dtype == np.uint16
    assert found.shape == SHAPE
    assert np.array_equal(found, PIXELS > 0)  # 90 * 2 - 50 is above 50, and -50 is not: real units went in
    assert not list((tmp_path / "bundle").glob("eval*"))  # what saves files is left out
    without = {
        **INFERENCE,
        "postprocessing": {"_target_": "Compose", "transforms": INFERENCE["postprocessing"]["transforms"][2:3]},
    }
    bundle_in(tmp_path / "other", without, script=True)
    moved = monai_bundle_model.predict(tmp_path / "other", REAL, AFFINE)  # no Invertd: put back by the affine
    assert np.mean(moved == (PIXELS > 0)) > 0.97
    assert task.version != task_of(tmp_path, bundle="other").version


def test_a_bundle_of_weights_is_what_monai_itself_gives(tmp_path):
    from monai.bundle import ConfigParser
    from monai.inferers import SlidingWindowInferer

    plain = {name: value for name, value in INFERENCE.items() if name != "postprocessing"}
    plain["preprocessing"] = {
        "_target_": "Compose",
        "transforms": [
            one
            for one in INFERENCE["preprocessing"]["transforms"]
            if one["_target_"] not in ("Orientationd", "Spacingd")
        ],
    }
    bundle_in(tmp_path / "bundle", plain, suffix="yaml")
    found = monai_bundle_model.predict(tmp_path / "bundle", REAL, AFFINE)
    torch.manual_seed(0)
    net = ConfigParser(plain).get_parsed_content("network_def").eval()
    ready = np.clip((PIXELS.astype(np.float32) * 2 - 50) / 100, 0, 1).transpose(2, 1, 0)
    with torch.no_grad():
        scores = SlidingWindowInferer([16, 16, 16], 2, 0.25)(torch.from_numpy(ready[None, None].copy()), net)[0]
    assert np.array_equal(found, scores.argmax(0).numpy().transpose(2, 1, 0))


def test_what_is_no_bundle_and_what_fails_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        task_of(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'bundle'}: is no MONAI bundle that can be run; want configs/inference.json, inference.yaml, "
        "inference.yml in it"
    )
    broken = {name: value for name, value in INFERENCE.items() if name != "preprocessing"}
    folder = bundle_in(
        tmp_path / "bundle", {**broken, "postprocessing": {"_target_": "Compose", "transforms": []}}, script=True
    )
    with pytest.raises(InputError, match=r"^the bundle's configuration has no preprocessing; its words are "):
        monai_bundle_model.predict(folder, REAL, AFFINE)
    (folder / "models/model.ts").unlink()
    with pytest.raises(InputError, match=r"its weights are not there; want models/model\.pt or models/model\.ts$"):
        task_of(tmp_path)
    (folder / "configs/inference.json").write_text(json.dumps({**INFERENCE, "inferer": "$1/0"}))
    torch.jit.script(Half()).save(str(folder / "models/model.ts"))
    with pytest.raises(BadAnswer, match=r"^the bundle failed: ZeroDivisionError: division by zero$"):
        task_of(tmp_path).predict(IMAGE, Asked("c", "c"))
