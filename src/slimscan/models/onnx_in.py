"""An ONNX file that slimscan wrote, run with onnxruntime as the checkpoint is run with torch; torch is not needed."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import InputError, NotReadable
from slimscan.models import sliding
from slimscan.models.network import ONNX, Forward
from slimscan.models.normal import ready
from slimscan.models.spec import FitSpec, NetSpec, NormSpec, unplain
from slimscan.nouns import Pixels


@dataclass(frozen=True, eq=False)
class Exported:
    """What the metadata says of the network."""

    forward: Forward
    net: NetSpec
    norm: NormSpec
    fit: FitSpec
    sha256: str
    history: list[dict[str, Any]]


@functools.lru_cache(maxsize=4)
def exported(path: str, _digest: str = "") -> Exported:
    """The network of a file of to_onnx; _digest: of what lies there, where the file may change. MissingExtra without onnxruntime; NotReadable, one sentence, for another file."""
    ONNX.demand("running an ONNX network")
    import onnxruntime

    if not Path(path).is_file():
        raise NotReadable(f"{path}: is not there; want an .onnx that `slimscan net export` wrote")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        words = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # noqa: BLE001 - onnxruntime has an exception for everything
        raise NotReadable(f"{path}: cannot be read as ONNX ({' '.join(str(error).split())[:120]})") from None
    if "net" not in words or "norm" not in words:
        raise NotReadable(
            f'{path}: does not say how it is used; slimscan did not write it, so take kind = "onnx" for it'
        )
    try:
        net = unplain(NetSpec, json.loads(words["net"]))
        norm = unplain(NormSpec, json.loads(words["norm"]))
        fit = unplain(FitSpec, json.loads(words["fit"]))
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise NotReadable(f"{path}: its metadata is damaged, or of a newer slimscan ({error})") from None
    name = session.get_inputs()[0].name

    def forward(batch: Pixels) -> Pixels:
        return np.asarray(session.run(None, {name: batch})[0])

    return Exported(
        forward, net, norm, fit, json.loads(words.get("sha256", '""')), json.loads(words.get("history", "[]"))
    )


def labels(network: Exported, pixels: Pixels) -> Pixels:
    """uint16 (z, y, x): label values of pixels (z, y, x) in their real unit; as predict.labels."""
    if pixels.ndim != 3:
        raise InputError(f"a network wants a volume (z, y, x); got {pixels.shape}")
    logits = sliding.scores(ready(pixels, network.norm), network.forward, network.net, network.fit.patch)
    return sliding.named(logits, network.net)
