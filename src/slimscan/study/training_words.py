"""What a training's TOML may say: [cases], [network], [normalisation] and [training]."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.models.spec import FitSpec, NetSpec, NormSpec, plain, preset, unplain, usual
from slimscan.study.words import REQUIRED, Word, nearest, table

TABLES = ("cases", "network", "normalisation", "training")
CASES = (
    Word("images", "texts", "folder or pattern of the images, images/{patient}.nii.gz", REQUIRED),
    Word("masks", "text", "folder or pattern of their masks, on the same grids", REQUIRED),
    Word("classes", "labels", "names with label values; left out: every value that occurs", default=None),
    Word("held_back", "number", "share of the patients that is not trained on, but scores the network", 0.15, 0, 0.9),
)
PRESET = "small_3d"


@dataclass(frozen=True)
class Wanted:
    """A training as it was asked; classes and their labels are filled in when the masks are known."""

    base: Path
    images: tuple[str, ...]
    masks: str
    classes: Mapping[str, int] | None
    held_back: float
    network: Mapping[str, Any]
    norm: NormSpec
    training: Mapping[str, Any]

    def net(self, classes: Mapping[str, int]) -> NetSpec:
        """The network of these classes; InputError for a word or number that is not allowed."""
        words = dict(self.network)
        base = preset(str(words.pop("preset", PRESET)), len(classes) + 1)
        return unplain(NetSpec, plain(base) | words | {"names": list(classes), "labels": [0, *classes.values()]})

    def fit(self, net: NetSpec) -> FitSpec:
        """The training of that network: what was said, the usual for the rest."""
        return unplain(FitSpec, plain(usual(net)) | dict(self.training))


def wanted(toml: Path | None, over: Mapping[str, Mapping[str, Any]]) -> Wanted:
    """The words of a TOML with those of `over` (the command line's) in their place. InputError naming the word."""
    said: dict[str, Any] = {}
    if toml is not None:
        try:
            said = tomllib.loads(toml.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{toml}: cannot be read as TOML ({' '.join(str(error).split())})") from None
    for name in said:
        if name not in TABLES:
            raise InputError(f"{toml}: [{name}] is not known; allowed: {', '.join(TABLES)}{nearest(name, TABLES)}")
    # Patterns of the command line count from where it stands, those of a TOML from its folder.
    cases = {**said.get("cases", {}), **over.get("cases", {})}
    found = table("[cases]", CASES, cases)
    base = toml.parent if toml is not None and "images" not in over.get("cases", {}) else Path()
    classes = None
    if found["classes"] is not None:
        many = [name for name, values in found["classes"].items() if len(values) > 1]
        if many:
            raise InputError(f'[cases] classes: "{many[0]}" has several labels; a network answers with one a class')
        classes = {name: values[0] for name, values in found["classes"].items()}
    network = {**said.get("network", {}), **over.get("network", {})}
    own = {"classes", "labels", "names"} & set(network)
    if own:
        raise InputError(f"[network] {', '.join(sorted(own))}: say [cases] classes = {{name = label}} instead")
    norm = unplain(NormSpec, {**said.get("normalisation", {}), **over.get("normalisation", {})})
    training = {**said.get("training", {}), **over.get("training", {})}
    strange = sorted(set(training) - {one.name for one in fields(FitSpec)})
    if strange:
        raise InputError(
            f'[training] "{strange[0]}" is not known{nearest(strange[0], [f.name for f in fields(FitSpec)])}'
        )
    made = Wanted(base, found["images"], found["masks"], classes, found["held_back"], network, norm, training)
    made.fit(made.net(classes or {"1": 1}))  # so that a wrong word is told before images are read
    return made
