"""Models as regions: fed as described, and every way in which somebody's model may fail."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from slimscan import files
from slimscan.errors import InputError, MissingExtra, NotReadable
from slimscan.models import BadAnswer, Way, apart
from slimscan.models.network import normalised, predict, probability
from slimscan.models.way import beside, checked
from slimscan.nouns import Volume
from slimscan.press.where import region_of

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
PIXELS = np.random.default_rng(0).integers(-200, 300, (7, 21, 18)).astype(np.int16)
IMAGE = Volume(PIXELS, AFFINE, source="ct")

MODEL = """
import os, time
import numpy as np

def fine(pixels): return pixels > 100
def labels(pixels): return (pixels > 100) * 2 + (pixels < -100) * 5
def chance(pixels): return np.clip(pixels / 300, 0, 1).astype(np.float32)
def placed(pixels, spacing_mm, affine_mm):
    assert spacing_mm == (2.0, 1.0, 1.0) and affine_mm.shape == (4, 4)
    return pixels > 0
def short(pixels): return pixels[1:] > 0
def nan(pixels): return np.where(pixels > 0, np.nan, 0.5)
def words(pixels): return np.full(pixels.shape, "liver")
def none(pixels): return np.zeros(pixels.shape)
def raises(pixels): raise RuntimeError("no\\nlicence")
def dies(pixels): os.abort()
def leaves(pixels): os._exit(0)
def hangs(pixels): time.sleep(60)
def greedy(pixels): raise MemoryError
def wants(pixels, hospital): return pixels
def scaled(pixels): return np.clip(pixels, 0, 255)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "seg.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- functions and commands


def test_a_function_draws():
    assert np.array_equal(region_of("python:seg.py:fine", IMAGE).inside(0, 7), PIXELS > 100)
    assert np.array_equal(region_of("python:seg:placed", IMAGE).inside(0, 7), PIXELS > 0)
    assert np.array_equal(region_of("python:seg.py:labels#5", IMAGE).inside(0, 7), PIXELS < -100)
    found = region_of("python:seg.py:chance", IMAGE, threshold=0.5)
    assert found.weight.dtype == np.float32
    assert np.array_equal(found.inside(0, 7), PIXELS > 150)
    assert found.about["kind"] == "probability"
    hu = Volume(PIXELS + 1024, AFFINE, intercept=-1024.0)
    assert np.array_equal(region_of("python:seg.py:fine", hu).inside(0, 7), PIXELS > 100)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", "the function's answer is (6, 21, 18), the image (7, 21, 18) (z, y, x)"),
        ("nan", "holds NaN or infinity; want a mask, labels, or probabilities from 0 to 1"),
        ("words", "the function's answer is an array of <U5; want a mask, labels or probabilities"),
        ("none", "the region is empty: every voxel is 0; check the file and the class that was asked for"),
        ("raises", "the function failed: RuntimeError: no licence"),
        ("leaves", "the function ended without an answer"),
        ("hangs", "the function took longer than 3 s and was stopped"),
        ("greedy", "the model does not fit into memory; run it on slices or patches"),
        ("wants", 'call = "seg.py:wants": takes "hospital", which nobody gives; allowed: spacing_mm, affine_mm'),
        ("nothing", 'call = "seg.py:nothing": seg.py has no function "nothing"'),
    ],
)
def test_a_function_that_fails_says_how(name, message):
    with pytest.raises(InputError) as error:
        region_of(f"python:seg.py:{name}", IMAGE, timeout=3 if name == "hangs" else 60)
    assert str(error.value) == f"python:seg.py:{name}: {message}"


def test_a_function_that_takes_its_process_along():
    with pytest.raises(InputError, match=r"^python:seg.py:dies: the function ended with signal 6; its last words: "):
        region_of("python:seg.py:dies", IMAGE)
    with pytest.raises(
        InputError, match=r"holds the labels 1, 2, .* and \d+ more; .*if they are probabilities times 255"
    ):
        region_of("python:seg.py:scaled", IMAGE)
    with pytest.raises(InputError, match=r"python:no_such_module:f: call = .* cannot be imported"):
        region_of("python:no_such_module:f", IMAGE)
    with pytest.raises(InputError, match="want something behind python:"):
        region_of("python: #3", IMAGE)


SCRIPT = """
import sys
from slimscan import files
from dataclasses import replace
image = files.read(sys.argv[1])
mask = (image.slices(0, image.shape[0]) > 100).astype("uint8")
if sys.argv[3] == "turned":
    import numpy as np
    step = np.diag([-1.0, 1, 1, 1]); step[0, 3] = mask.shape[2] - 1
    image = replace(image, affine_mm=image.affine_mm @ step)
    mask = mask[:, :, ::-1]
if sys.argv[3] == "short":
    mask = mask[:, 2:]
if sys.argv[3] == "rubbish":
    open(sys.argv[2], "w").write("rubbish"); sys.exit()
files.write(replace(image, pixels=mask, bits=8), sys.argv[2])
"""


def test_a_command_draws(tmp_path):
    (tmp_path / "draw.py").write_text(SCRIPT)
    line = f"command:{sys.executable} draw.py {{image}} {{mask}} "
    assert np.array_equal(region_of(line + "fine", IMAGE).inside(0, 7), PIXELS > 100)
    assert np.array_equal(region_of(line + "turned", IMAGE).inside(0, 7), PIXELS > 100)
    with pytest.raises(InputError, match=r"is not on the grid of ct: 7 x 19 x 18 voxels"):
        region_of(line + "short", IMAGE)
    with pytest.raises(InputError, match="what the command wrote cannot be read: "):
        region_of(line + "rubbish", IMAGE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{py} -c pass {image}", "want {mask} in it, where the file name goes"),
        ("no-such-prog {image} {mask}", "the program no-such-prog is not found; install it or give its path"),
        ("{py} -c pass {image} {mask}", "the command ended without writing {mask}; its last words: none"),
        ("{py} -c 'print(5);1/0' {image} {mask}", "the command ended with exit status 1; its last words: ZeroDivisionError: division by zero"),
        ("{py} -c 'import time; time.sleep(60)' {image} {mask}", "the command took longer than 1.5 s and was stopped"),
        ("{py} -c 'x {image} {mask}", "cannot be split into words (No closing quotation); check its quotes"),
    ],
)  # fmt: skip
def test_a_command_that_fails_says_how(text, message):
    spec = "command:" + text.replace("{py}", sys.executable)
    with pytest.raises(InputError) as error:
        region_of(spec, IMAGE, timeout=1.5)
    assert str(error.value) == f"{spec}: {message}"


# ---------------------------------------------------------------- networks, with stand-ins for the libraries


def bright(batch):
    """A network: logits of two classes, the second is what is bright."""
    return np.concatenate([np.zeros_like(batch), 4 * batch], axis=1)


def test_a_network_is_fed_as_described():
    scores = 1 / (1 + np.exp(-4 * np.clip((PIXELS + 100.0) / 300, 0, 1)))
    words = {"normalise": "range", "low": -100, "high": 200, "output": "softmax"}
    for run in ("whole", "slices"):
        got = predict(PIXELS, bright, checked({"run": run, **words}, "t"))
        assert got.dtype == np.float32
        assert np.abs(got - scores).max() < 1e-6
    for overlap in (0, 0.3, 0.5):
        patches = {"run": "patches", "patch": [4, 8, 30], "overlap": overlap, "multiple": 4}
        assert np.abs(predict(PIXELS, bright, checked(words | patches, "t")) - scores).max() < 1e-6
    seen = []

    def slicewise(batch):
        seen.append(batch.shape)
        return batch

    predict(PIXELS.clip(0, 1), slicewise, Way(run="slices", normalise="none"))
    assert seen == [(7, 1, 32, 32)]


def test_outputs_by_hand():
    scores = np.array([0.0, np.log(3.0), 0.0]).reshape(3, 1, 1, 1)
    assert probability(scores, Way(output="softmax")) == pytest.approx(0.6)
    assert probability(scores, Way(output="softmax", index=0)) == pytest.approx(0.2)
    assert probability(scores, Way(output="sigmoid")) == pytest.approx(0.75)
    assert probability(scores[:1], Way(output="sigmoid")) == 0.5
    assert probability(scores[:1] + 1.0005, Way()) == 1
    assert probability(np.full((1, 1, 1, 1), -900.0), Way(output="sigmoid")) == 0
    assert np.array_equal(normalised(np.array([1.0, 3.0]), "zscore", 0, 1), [-1, 1])
    assert np.array_equal(normalised(np.full(3, 7.0), "zscore", 0, 1), [0, 0, 0])


@pytest.mark.parametrize(
    ("scores", "way", "message"),
    [
        (np.zeros((2, 1, 1, 1)), Way(index=2), "the model has 2 channels, class 2 is none of 0..1"),
        (np.full((1, 1, 1, 1), np.nan), Way(), "the model's output holds NaN or infinity"),
        (np.zeros((1, 1, 1, 1)), Way(output="softmax"), 'the model has one channel, and a softmax of one is always 1; say output = "sigmoid"'),
        (np.full((1, 1, 1, 1), -3.5), Way(), 'the model\'s output goes from -3.5 to -3.5, and probabilities from 0 to 1 are wanted; say output = "sigmoid" or "softmax" in the TOML file beside the model'),
    ],
)  # fmt: skip
def test_an_output_that_is_no_probability(scores, way, message):
    with pytest.raises(BadAnswer) as error:
        probability(scores, way)
    assert str(error.value) == message


def test_an_output_of_another_shape():
    with pytest.raises(BadAnswer) as error:
        predict(PIXELS, lambda batch: batch[..., ::2], Way())
    assert str(error.value) == "the model's output is (1, 1, 16, 32, 16); want (1, classes, 16, 32, 32)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run = 3", "{0}: run = 3; allowed: whole, slices, patches"),
        ('output = "lots"', "{0}: output = 'lots'; allowed: probability, sigmoid, softmax"),
        ("patch = [1, 2]", "{0}: patch = [1, 2]; want three sides in voxels, [z, y, x]"),
        ("overlap = 1.5", "{0}: overlap = 1.5; allowed: 0 to 0.9"),
        ("multiple = 1.5", "{0}: multiple = 1.5; want a whole number"),
        ("low = true", "{0}: low = True; want a number"),
        ('normalise = "range"\nlow = 5', "{0}: low 5 is not below high 1"),
        ("clas = 1", '{0}: "clas" is not known; allowed: run, patch, overlap, normalise, low, high, multiple, output, class, name'),
        ("run", "{0}: cannot be read as TOML (Expected '=' after a key in a key/value pair (at end of document))"),
    ],
)  # fmt: skip
def test_a_description_that_is_wrong(tmp_path, text, message):
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(InputError) as error:
        beside(tmp_path / "net.onnx")
    assert str(error.value) == message.format(tmp_path / "net.toml")


def test_a_description_is_read(tmp_path):
    assert beside(tmp_path / "net.pt") == Way()
    (tmp_path / "net.toml").write_text(
        '[model]\nname = "liver"\nrun = "2d"\noutput = "logits"\nclass = 3\npatch = [1, 2, 3]\n'
    )
    assert beside(tmp_path / "net.pt") == Way(run="slices", output="sigmoid", index=3, name="liver", patch=(1, 2, 3))


def test_models_that_cannot_be_opened(tmp_path):
    with pytest.raises(
        InputError, match=r"net.h5: is no model that can be run; allowed: .pt .pth .ts .torchscript .onnx"
    ):
        region_of("model:net.h5", IMAGE)
    with pytest.raises(NotReadable, match=r"net.pt: there is no such file or folder"):
        region_of("model:net.pt", IMAGE)
    for name, module in (("net.pt", "torch"), ("net.onnx", "onnxruntime")):
        (tmp_path / name).write_bytes(b"no model")
        if importlib.util.find_spec(module) is None:
            with pytest.raises(MissingExtra, match=f"the model {name} needs the package {module}"):
                region_of(f"model:{name}", IMAGE)
        else:
            with pytest.raises(InputError, match=f"^model:{name}: the model failed: "):
                region_of(f"model:{name}", IMAGE)
            with pytest.raises(InputError, match="a model has channels by number"):
                region_of(f"model:{name}#liver", IMAGE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch would like something newer than TorchScript
def test_a_torchscript_model(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Net(torch.nn.Module):
        def forward(self, batch):
            return torch.cat([torch.zeros_like(batch), 8 * batch - 4], 1)

    torch.jit.script(Net()).save(str(tmp_path / "net.pt"))
    _as_described(tmp_path, "net.pt")


def test_an_onnx_model(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import TensorProto, helper, numpy_helper

    for rank, name in ((5, "net.onnx"), (4, "flat.onnx")):
        sides = ["n", "c", "z", "y", "x"][:2] + ["z", "y", "x"][5 - rank :]
        nodes = [
            helper.make_node("Mul", ["in", "eight"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "four"], ["bright"]),
            helper.make_node("Sub", ["in", "in"], ["dark"]),
            helper.make_node("Concat", ["dark", "bright"], ["out"], axis=1),
        ]
        numbers = [
            numpy_helper.from_array(np.array(value, np.float32), key) for key, value in (("eight", 8), ("four", 4))
        ]
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("in", TensorProto.FLOAT, sides)],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
            numbers,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(made, str(tmp_path / name))
    _as_described(tmp_path, "net.onnx")
    _as_described(tmp_path, "flat.onnx", "slices")


def _as_described(folder: Path, name: str, run: str = "patches") -> None:
    """Above half of -200..300 is the organ: 8 * 0.5 - 4 = 0."""
    stem = name.split(".")[0]
    with pytest.raises(
        InputError,
        match=r"the model's output (goes from|is )|the model failed: .*; it was run on whole: run = in the TOML",
    ):
        region_of(f"model:{name}", IMAGE)
    (folder / f"{stem}.toml").write_text(
        f'name = "liver"\nrun = "{run}"\npatch = [4, 16, 16]\nnormalise = "range"\nlow = -200\nhigh = 300\noutput = "softmax"\n'
    )
    found = region_of(f"model:{name}", IMAGE, threshold=0.5)
    near = np.abs(PIXELS - 50) > 1
    assert np.array_equal(found.inside(0, 7)[near], (PIXELS > 50)[near])
    assert found.name == "liver"
    other = region_of(f"model:{name}#0", IMAGE, threshold=0.5)
    assert np.array_equal(other.inside(0, 7)[near], (PIXELS < 50)[near])
    with pytest.raises(InputError, match=r"the model has 2 channels, class 7 is none of 0..1"):
        region_of(f"model:{name}#7", IMAGE)


def test_the_image_goes_to_the_child_as_it_is_stored(tmp_path):
    files.write(IMAGE, tmp_path / "ct.nii.gz")
    assert np.array_equal(apart.function("seg.py:fine", files.read(tmp_path / "ct.nii.gz"), 60), PIXELS > 100)
    colour = Volume(np.repeat(PIXELS[..., None].clip(0, 200).astype(np.uint8), 3, axis=3), AFFINE)
    assert np.array_equal(apart.function("seg.py:fine", colour, 60), PIXELS > 100)


def test_a_checkpoint_of_our_own_needs_no_description(tmp_path):
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    from slimscan.models import checkpoint, predict
    from slimscan.models.spec import FitSpec, NetSpec, NormSpec
    from slimscan.models.unet import build, weights

    torch.manual_seed(3)
    net = NetSpec(classes=3, levels=2, width=2)
    made = weights(build(net))
    made["head.bias"] = torch.tensor([0.0, 0.3, -0.2])
    made["head.weight"] = made["head.weight"] * 100  # so that probabilities differ from voxel to voxel
    held = checkpoint.Network(net, NormSpec(), FitSpec(patch=(8, 8, 8)), made, [])
    checkpoint.save(tmp_path / "best.pt", held)
    logits = predict.logits(held, PIXELS.astype(np.float64), "cpu").astype(np.float64)
    powers = np.exp(logits - logits.max(axis=0))
    for index in (1, 2):
        found = region_of(f"model:{tmp_path / 'best.pt'}#{index}", IMAGE, threshold=0.999999)
        np.testing.assert_allclose(found.weights(0, 7), (powers / powers.sum(axis=0))[index], atol=1e-5)
    other = torch.load(tmp_path / "best.pt", weights_only=True) | {"format": "of others"}
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(InputError, match="is no checkpoint of slimscan"):
        region_of(f"model:{tmp_path / 'other.pt'}", IMAGE)
