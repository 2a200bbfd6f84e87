"""Real TorchScript and ONNX files as tasks of a study: labels on the image's own grid, failures in one line."""

from __future__ import annotations

import numpy as np
import pytest

from slimscan.errors import InputError
from slimscan.nouns import Volume
from slimscan.study import tasks
from slimscan.study.task import Asked, BadAnswer

SHAPE = (7, 21, 18)
PIXELS = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16)
IMAGE = Volume(PIXELS, slope=2.0, intercept=-1000.0, source="ct")
ASKED = Asked("c", "c")
RANGE = {"normalise": "range", "low": -1000.0, "high": 1000.0, "multiple": 8}


def task_of(base, **words):
    return tasks.make(tasks.check("[[tasks]] 1", {"name": "t", **words}), base)


def torchscript(place, classes=2):
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")

    class Net(torch.nn.Module):
        """Above one half is class 1; both from a convolution, so that the padding has to be right."""

        def __init__(self, classes: int) -> None:
            super().__init__()
            self.conv = torch.nn.Conv3d(1, classes, 1)
            with torch.no_grad():
                self.conv.weight[:] = torch.tensor([-1.0, 1.0, 0.0])[:classes].view(-1, 1, 1, 1, 1)
                self.conv.bias[:] = torch.tensor([1.0, 0.0, -9.0])[:classes]

        def forward(self, x):
            return self.conv(x)

    torch.jit.trace(Net(classes), torch.zeros(1, 1, 8, 24, 24)).save(str(place))


def onnx_file(place):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from onnx import TensorProto, helper

    sides = [1, 1, "z", "y", "x"]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2, 1, 1, 1, 1], [-1.0, 1.0])
    bias = helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 0.0])
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["scores"])],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, "z", "y", "x"])],
        [weight, bias],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, str(place))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "make", "name"), [("torchscript", torchscript, "m.pt"), ("onnx", onnx_file, "m.onnx")]
)
def test_a_real_file_answers_on_the_image_s_grid(tmp_path, kind, make, name):
    make(tmp_path / name)
    task = task_of(tmp_path, kind=kind, model=name, **RANGE)
    found = task.predict(IMAGE, ASKED)
    assert found.dtype == np.uint16
    assert np.array_equal(found, PIXELS * 2.0 - 1000 > 0)  # real units, padded to 8 and cut again
    assert task.version == task_of(tmp_path, kind=kind, model=name, **RANGE).version
    assert task.version != task_of(tmp_path, kind=kind, model=name, **{**RANGE, "multiple": 16}).version


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_goes_wrong_is_said(tmp_path):
    torchscript(tmp_path / "three.pt", classes=3)
    found = task_of(tmp_path, kind="torchscript", model="three.pt", **RANGE).predict(IMAGE, ASKED)
    assert set(np.unique(found)) == {0, 1}
    with pytest.raises(InputError, match=r'^model = "no\.pt": .*no\.pt is not there; paths count from the study'):
        task_of(tmp_path, kind="torchscript", model="no.pt")
    torch = pytest.importorskip("torch")

    class Flat(torch.nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3, 4))

    torch.jit.script(Flat()).save(str(tmp_path / "flat.pt"))
    with pytest.raises(BadAnswer, match=r"^the model's output is \(1, 1\); want \(1, classes, 8, 24, 24\)$"):
        task_of(tmp_path, kind="torchscript", model="flat.pt", **RANGE).predict(IMAGE, ASKED)
