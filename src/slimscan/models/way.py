"""How a network wants its input and what its output means: the words of the TOML file beside it.

`liver.toml` beside `liver.pt` or `liver.onnx`, for example: run = "slices", normalise = "range", low = -100, high = 400,
output = "softmax", class = 1. A network says nothing of this itself, so a missing file means the defaults below.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from slimscan.errors import InputError

CHOICES = {
    "run": ("whole", "slices", "patches"),
    "normalise": ("none", "zscore", "range"),
    "output": ("probability", "sigmoid", "softmax"),
}
_NAMES = {"class": "index", "2d": "slices", "3d": "whole", "logits": "sigmoid"}


@dataclass(frozen=True, slots=True)
class Way:
    """run: the whole volume at once (1, 1, z, y, x), slices one by one (n, 1, y, x), or patches (1, 1, z, y, x).

    patch: sides (z, y, x) in voxels; overlap: share of a patch that the next one covers again, blended by distance from
    its edge. normalise: none, zscore (over the volume), range (low..high of the image's unit to 0..1, cut off). multiple:
    sides are padded at their end to a multiple of it, with the edge's values. output: what a channel holds, probabilities
    or logits for a sigmoid or a softmax over channels. index ("class" in the file): the channel that counts where there
    are several, from 0. name: what it marks.
    """

    run: str = "whole"
    patch: tuple[int, int, int] = (64, 128, 128)
    overlap: float = 0.5
    normalise: str = "zscore"
    low: float = 0.0
    high: float = 1.0
    multiple: int = 16
    output: str = "probability"
    index: int = 1
    name: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def beside(model: Path) -> Way:
    """The way that the TOML file beside the model says, the defaults without one. InputError naming the file and the word."""
    place = model.with_suffix(".toml")
    if not place.is_file():
        return Way()
    try:
        said = tomllib.loads(place.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: cannot be read as TOML ({' '.join(str(error).split())})") from None
    return checked(said.get("model", said), str(place))


def checked(said: Mapping[str, Any], where: str) -> Way:
    """The way of these words; InputError for an unknown one or a value that is not allowed."""
    known = {field.name: field.default for field in fields(Way)}
    words: dict[str, Any] = {}
    for key, value in said.items():
        name = _NAMES.get(key, key)
        if name not in known:
            allowed = ", ".join("class" if word == "index" else word for word in known)
            raise InputError(f'{where}: "{key}" is not known; allowed: {allowed}')
        words[name] = _fit(where, key, name, value, known[name])
    way = Way(**words)
    if way.normalise == "range" and not way.low < way.high:
        raise InputError(f"{where}: low {way.low:g} is not below high {way.high:g}")
    return way


def _fit(where: str, key: str, name: str, value: Any, default: Any) -> Any:
    if name in CHOICES:
        value = _NAMES.get(value, value) if isinstance(value, str) else value
        if value not in CHOICES[name]:
            raise InputError(f"{where}: {key} = {value!r}; allowed: {', '.join(CHOICES[name])}")
        return value
    if name == "patch":
        sides = value if isinstance(value, list) else []
        if len(sides) != 3 or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
            raise InputError(f"{where}: patch = {value!r}; want three sides in voxels, [z, y, x]")
        return tuple(sides)
    if name == "name":
        return str(value)
    limits = {"overlap": (0.0, 0.9), "multiple": (1, 512), "index": (0, 65535)}.get(name, (-1e9, 1e9))
    whole = type(default) is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise InputError(f"{where}: {key} = {value!r}; want a {'whole ' if whole else ''}number")
    if not limits[0] <= value <= limits[1]:
        raise InputError(f"{where}: {key} = {value:g}; allowed: {limits[0]:g} to {limits[1]:g}")
    return value
