"""Checkpoints: a network with its weights, its configuration and where it comes from, in one file that torch reads."""

from __future__ import annotations

import functools
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimscan.errors import NotReadable, OutputError, SlimscanError
from slimscan.models.spec import FitSpec, NetSpec, NormSpec, plain, unplain

FORMAT = "slimscan network 1"


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network. history: one entry a training, the oldest first; sha256: of the weights alone."""

    net: NetSpec
    norm: NormSpec
    fit: FitSpec
    weights: Mapping[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.sha256:
            object.__setattr__(self, "sha256", fingerprint(self.weights))


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(weights):
        one = weights[name].detach().cpu()
        found.update(f"{name} {one.dtype} {tuple(one.shape)}\n".encode())
        found.update(one.numpy().tobytes())  # in C order, however torch keeps it
    return found.hexdigest()


def save(path: Path, network: Network, state: Mapping[str, Any] | None = None) -> None:
    """Write a checkpoint whole or not at all; state: what a training needs to go on. OutputError, one sentence."""
    data = io.BytesIO()
    torch.save(
        {
            "format": FORMAT,
            "net": plain(network.net),
            "norm": plain(network.norm),
            "fit": plain(network.fit),
            "history": network.history,
            "weights": dict(network.weights),
            "state": dict(state or {}),
        },
        data,
    )
    part = path.with_name(f".{path.name}.part")
    try:
        put(part, data.getbuffer())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        kept = "; the one before it is kept" if path.exists() else ""
        raise OutputError(f"{path}: the checkpoint cannot be written ({error.strerror or error}){kept}") from None


def put(path: Path, data: bytes | memoryview) -> None:
    """Bytes into a new file, and onto the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load(path: str | Path) -> Network:
    """The network in a checkpoint; NotReadable, one sentence, for anything else. No code in a file is ever run."""
    return loaded(path)[0]


@functools.lru_cache(maxsize=2)
def remembered(path: str, _digest: str) -> Network:
    """load(), once for a path and the SHA-256 of what lies there."""
    return load(path)


def loaded(path: str | Path) -> tuple[Network, dict[str, Any]]:
    """The network, and the state of its training."""
    try:
        said = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise NotReadable(f"{path}: is not there; want a checkpoint that `slimscan net train` wrote") from None
    except Exception as error:  # noqa: BLE001 - torch raises half a dozen kinds for a damaged file
        told = error.strerror if isinstance(error, OSError) else None
        why = told or "damaged, or of another program"  # torch's own words tell of its options, at length
        raise NotReadable(
            f"{path}: cannot be read as a checkpoint ({why}); want best.pt or last.pt of `slimscan net train`"
        ) from None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise NotReadable(
            f"{path}: is no checkpoint of slimscan ({FORMAT}); weights of others go by TorchScript or ONNX"
        )
    try:
        return Network(
            unplain(NetSpec, said["net"]),
            unplain(NormSpec, said["norm"]),
            unplain(FitSpec, said["fit"]),
            said["weights"],
            list(said["history"]),
        ), dict(said["state"])
    except (SlimscanError, KeyError, TypeError, ValueError) as error:
        raise NotReadable(f"{path}: is a damaged checkpoint, or one of a newer slimscan ({error})") from None
