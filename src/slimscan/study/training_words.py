"""What a training's TOML may say: [cases], [network], [normalisation] and [training]."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from slimscan.errors import InputError
from slimscan.models.spec import PRESETS, FitSpec, NetSpec, NormSpec, plain, preset, unplain, usual
from slimscan.study.words import REQUIRED, Word, nearest, table

TABLES = ("cases", "network", "normalisation", "training")
CASES = (
    Word("images", "texts", "folder or pattern of the images, images/{patient}.nii.gz", REQUIRED),
    Word("masks", "text", "folder or pattern of their masks, on the same grids", REQUIRED),
    Word("classes", "labels", "names with label values; left out: every value that occurs", default=None),
    Word("held_back", "number", "share of the patients that is not trained on, but scores the network", 0.15, 0, 0.9),
)
PRESET = "small_3d"
NET_WORDS = ("kind", "dims", "levels", "width")
NORM_WORDS = ("way", "low", "high", "bits")
KINDS: Mapping[str, Any] = {"str": "text", "int": "whole", "float": "number", "bool": "flag"}


def word_of(one: Field[Any]) -> Word:
    """A field of models.spec as a word: the same help, range, unit and default."""
    said, kind = one.metadata, KINDS.get(str(one.type), "numbers")
    return Word(one.name, kind, said["help"], one.default, said["low"], said["high"], said["unit"], said["allowed"])


def words_of(spec: type[Any], names: Sequence[str]) -> tuple[Word, ...]:
    """Some fields of a spec as words."""
    return tuple(word_of(one) for one in fields(spec) if one.name in names)


NETWORK = (
    Word(
        "preset", "text", "a known network, whose words hold where nothing else is said", PRESET, allowed=tuple(PRESETS)
    ),
    *words_of(NetSpec, NET_WORDS),
)
NORMALISATION = words_of(NormSpec, NORM_WORDS)
TRAINING = words_of(FitSpec, [one.name for one in fields(FitSpec)])


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
    cases = _said("cases", said, over)
    found = table("[cases]", CASES, cases)
    base = toml.parent if toml is not None and "images" not in over.get("cases", {}) else Path()
    classes = None
    if found["classes"] is not None:
        many = [name for name, values in found["classes"].items() if len(values) > 1]
        if many:
            raise InputError(f'[cases] classes: "{many[0]}" has several labels; a network answers with one a class')
        classes = {name: values[0] for name, values in found["classes"].items()}
    given = _said("network", said, over)
    own = {"classes", "labels", "names"} & set(given)
    if own:
        raise InputError(f"[network] {', '.join(sorted(own))}: say [cases] classes = {{name = label}} instead")
    network = _checked("[network]", NETWORK, given)
    norm = unplain(NormSpec, _checked("[normalisation]", NORMALISATION, _said("normalisation", said, over)))
    training = _checked("[training]", TRAINING, _said("training", said, over))
    if "patch" in training:
        if any(side != int(side) for side in training["patch"]) or len(training["patch"]) != 3:
            raise InputError(
                f"[training] patch = {list(training['patch'])}: want three whole numbers z, y, x in voxels"
            )
        training["patch"] = tuple(int(side) for side in training["patch"])
    made = Wanted(base, found["images"], found["masks"], classes, found["held_back"], network, norm, training)
    made.fit(made.net(classes or {"1": 1}))  # so that a wrong word is told before images are read
    return made


def _said(name: str, said: Mapping[str, Any], over: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    given = said.get(name, {})
    if not isinstance(given, Mapping):
        raise InputError(f"[{name}]: want a table of words, came {given!r}")
    return {**given, **over.get(name, {})}


def _checked(where: str, words: Sequence[Word], given: Mapping[str, Any]) -> dict[str, Any]:
    """Only the words that were said, checked; an empty list says what leaving it out says."""
    given = {name: value for name, value in given.items() if value != []}
    checked = table(where, words, given)
    return {name: checked[name] for name in given}
