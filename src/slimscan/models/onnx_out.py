"""A trained network as ONNX, with what it needs to be used without slimscan in its metadata and in a TOML beside it."""

from __future__ import annotations

import io
import json
import math
import warnings
from pathlib import Path
from typing import Any

import torch

from slimscan.errors import OutputError
from slimscan.models.checkpoint import Network, put
from slimscan.models.sliding import OVERLAP
from slimscan.models.spec import plain
from slimscan.models.unet import build
from slimscan.nouns import Needs

WRITES = Needs("onnx", "onnx", "onnx")
_OPSET = 17


def to_onnx(network: Network, path: str | Path) -> None:
    """Write path (.onnx): x float32 (n, inputs, [z,] y, x), already normalised, to logits (n, classes, [z,] y, x).

    Sides are free, but multiples of net.multiple. Metadata, JSON each: net, norm, fit, history, sha256 (of the weights).
    A TOML beside it says the same in the words of models.way, where it has them; a normalisation with a window or bits
    before the z-score has none, so no TOML is written then (the task kind "unet" reads the metadata).
    MissingExtra without onnx; OutputError when a file cannot be written.
    """
    WRITES.demand("writing ONNX")
    import onnx

    path, net = Path(path), network.net
    module = build(net)
    module.load_state_dict(dict(network.weights))
    sides = [2 * net.multiple] * net.dims
    free = {0: "n"} | {2 + axis: "zyx"[3 - net.dims + axis] for axis in range(net.dims)}
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that another exporter is newer; it wants one more package
        torch.onnx.export(
            module.eval(),
            (torch.zeros(1, net.inputs, *sides),),
            data,
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": free, "logits": free},
            opset_version=_OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(data.getvalue())
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in said(network).items()})
    beside = path.with_suffix(".toml")
    try:
        put(path, model.SerializeToString())
        beside.unlink(missing_ok=True)
        words = way(network)
        if words:
            put(beside, words.encode())
    except OSError as error:
        raise OutputError(f"{path}: the network cannot be written ({error.strerror or error})") from None


def said(network: Network) -> dict[str, Any]:
    """The metadata, as JSON values."""
    return {
        "net": plain(network.net),
        "norm": plain(network.norm),
        "fit": plain(network.fit),
        "history": network.history,
        "sha256": network.sha256,
    }


def way(network: Network) -> str:
    """The TOML in the words of models.way; "" where they cannot say how the input is made ready."""
    net, norm = network.net, network.norm
    if norm.bits or (norm.way == "zscore" and (math.isfinite(norm.low) or math.isfinite(norm.high))):
        return ""
    if norm.way == "zscore":
        normal = 'normalise = "zscore"'
    elif norm.way == "none":
        normal = f'normalise = "range"\nlow = {norm.low!r}\nhigh = {norm.high!r}'
    else:
        return ""
    run = 'run = "slices"'
    if net.dims == 3:
        run = f'run = "patches"\npatch = {list(network.fit.patch)}\noverlap = {OVERLAP}'
    name = ", ".join(f"{index + 1} {name}" for index, name in enumerate(net.names))
    head = "# How the network beside this file wants its input, and what comes out."
    classes = f"  # of {net.classes}; channels: 0 background{', ' + name if name else ''}"
    return f'{head}\n{run}\n{normal}\nmultiple = {net.multiple}\noutput = "softmax"\nclass = 1{classes}\n'
