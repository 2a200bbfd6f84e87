"""How a training begins: from nothing, from other weights, or where it was stopped."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from slimscan.errors import InputError
from slimscan.models.checkpoint import Network, load, loaded
from slimscan.models.spec import FitSpec, NetSpec, NormSpec, plain

_FREE = ("device", "threads", "half")  # may differ when a training goes on elsewhere
_FIXED = ("kind", "dims", "inputs", "classes", "levels", "width")  # of the network whose weights are taken


def beginning(net: NetSpec, start: Path | None) -> tuple[Network | None, dict[str, Any]]:
    """The network to begin from (None: random weights), and what history says of this training.

    InputError naming every word in which that network is another one.
    """
    said: dict[str, Any] = {"torch": str(torch.__version__), "machine": platform.machine()}
    if start is None:
        return None, said | {"start": None}
    first = load(start)
    other = [
        f"{word} is {getattr(first.net, word)!r} there and {getattr(net, word)!r} here"
        for word in _FIXED
        if getattr(first.net, word) != getattr(net, word)
    ]
    if other:
        raise InputError(f"{start}: its weights do not fit this network: {'; '.join(other)}")
    return first, said | {"start": first.sha256}


def found(
    place: Path, net: NetSpec, norm: NormSpec, fit: FitSpec, said: Mapping[str, Any], same: Sequence[str] = ()
) -> tuple[Network, dict[str, Any]] | None:
    """The network and state of a training that was stopped; None when there is none. same: words of said that count too.

    InputError naming every word in which that training was another one.
    """
    if not place.is_file():
        return None
    network, state = loaded(place)
    other = [
        f"{what} {word} was {before.get(word)!r}, now {now.get(word)!r}"
        for what, before, now in (
            ("network", plain(network.net), plain(net)),
            ("normalisation", plain(network.norm), plain(norm)),
            ("training", plain(network.fit), plain(fit)),
        )
        for word in sorted({*before, *now})
        if before.get(word) != now.get(word) and word not in _FREE
    ]
    if network.history and network.history[-1].get("start") != said["start"]:
        other.append("it began from other weights")
    before = network.history[-1] if network.history else {}
    other += [f"its {word} were others" for word in same if word in before and before[word] != said[word]]
    if other:
        raise InputError(
            f"{place}: is of another training: {'; '.join(other)}; choose another folder, or delete this one to start anew"
        )
    return network, state
