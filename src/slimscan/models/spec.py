"""What a network is and how it is trained, as frozen values that a checkpoint, a TOML and a page keep as plain text.

Every number is declared once, with its range and unit; from the declaration come the check and the words of a TOML.
No torch here: a study is planned and its results are read without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from slimscan.errors import InputError

Spec = TypeVar("Spec", bound="NetSpec | NormSpec | FitSpec")


def said(
    default: Any,
    means: str,
    low: float = -math.inf,
    high: float = math.inf,
    unit: str = "",
    allowed: tuple[str, ...] = (),
) -> Any:
    """A field with its declaration: what it means, its range and unit, or the texts that it may be."""
    declared = {"help": means, "low": low, "high": high, "unit": unit, "allowed": allowed}
    return field(default=default, metadata=declared)


@dataclass(frozen=True, slots=True)
class NetSpec:
    """One network. Input (n, inputs, z, y, x) or (n, inputs, y, x) float32, output (n, classes, ...) logits.

    levels: resolutions, the first is the image's own; width: feature maps there, doubled at every level (up to 320 in
    "modern"). classes: with the background, which is channel 0; labels: their values in masks, labels[0] is 0.
    """

    kind: str = said(
        "modern",
        "elkhoury: as in the paper of 2021; modern: instance norm and leaky ReLU; swin_unetr: MONAI's; "
        "tissue: of slides, 2025",
        allowed=("elkhoury", "modern", "swin_unetr", "tissue"),
    )
    dims: int = said(3, "2: slices one by one; 3: volumes", 2, 3)
    inputs: int = said(1, "channels of the image", 1, 16)
    classes: int = said(2, "with the background", 2, 256)
    levels: int = said(3, "resolutions", 1, 7)
    width: int = said(8, "feature maps of the first level; multiples of 8 are fast", 1, 512)
    labels: tuple[int, ...] = said((), "values in masks, the background's 0 first; empty: 0, 1, 2 ...")
    names: tuple[str, ...] = said((), "of the classes without the background")

    def __post_init__(self) -> None:
        check(self, "network")
        if self.labels and (
            len(self.labels) != self.classes or self.labels[0] != 0 or len(set(self.labels)) != self.classes
        ):
            raise InputError(f"network labels: want {self.classes} different values, 0 first; got {list(self.labels)}")
        if self.names and len(self.names) != self.classes - 1:
            raise InputError(f"network names: want {self.classes - 1}, the background has none; got {list(self.names)}")

    @property
    def values(self) -> tuple[int, ...]:
        """The label of every channel."""
        return self.labels or tuple(range(self.classes))

    @property
    def multiple(self) -> int:
        """Sides of an input must be multiples of this."""
        return 32 if self.kind == "swin_unetr" else 1 << (self.levels - 1)


@dataclass(frozen=True, slots=True)
class NormSpec:
    """How real values (HU ...) become the network's input.

    window: first cut to low..high. bits: then rounded to 2**bits - 1 steps, 0 for none (8 in El Khoury 2021). Then
    zscore: mean 0 and deviation 1 of each volume; trainset: of the training set (mean, deviation); none: low..high to 0..1.
    """

    way: str = said(
        "zscore",
        "zscore: each volume by itself; trainset: by the training set; none: low..high to 0..1",
        allowed=("zscore", "trainset", "none"),
    )
    low: float = said(-math.inf, "values below are cut to it; left out: no cut")
    high: float = said(math.inf, "values above are cut to it; left out: no cut")
    bits: int = said(
        0, "values are rounded to so many bits between low and high (or the volume's own), 0: not", 0, 16, "bits"
    )
    mean: float = said(0.0, "of trainset, measured")
    deviation: float = said(1.0, "of trainset, measured", 1e-12)

    def __post_init__(self) -> None:
        check(self, "normalisation")
        if not self.low < self.high:
            raise InputError(f"normalisation: low {self.low:g} must be below high {self.high:g}")
        if self.way == "none" and not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise InputError('normalisation way = "none" needs low and high: they become 0 and 1')


@dataclass(frozen=True, slots=True)
class FitSpec:
    """One training. patch: (z, y, x) voxels, (1, y, x) in 2D. weights: of the classes without background in "dice"."""

    loss: str = said(
        "dice_ce",
        "dice: El Khoury eq. 6, weighted; cross_entropy: eq. 7; dice_ce: their sum, batch Dice",
        allowed=("dice", "cross_entropy", "dice_ce"),
    )
    weights: tuple[float, ...] = said(
        (), "of the classes without background, loss = dice; empty: 1 each (1, 3 in the paper)"
    )
    patch: tuple[int, int, int] = said((40, 56, 40), "sides z, y, x of a crop", 1, 1024, "voxels")
    batch: int = said(2, "crops a step", 1, 1024)
    steps: int = said(500, "updates of the weights", 1, 10_000_000)
    rate: float = said(0.0, "highest learning rate, one cycle of AdamW; 0: the usual one of the network", 0.0, 1.0)
    decay: float = said(1e-4, "weight decay of AdamW", 0.0, 1.0)
    flips: str = said(
        "x",
        "axes along which crops are flipped at random; x is left and right of most scans, and a body's front is not its back",
        allowed=("none", "x", "y", "z", "yx", "zyx"),
    )
    foreground: float = said(0.67, "share of crops that are centred on a labelled voxel", 0.0, 1.0)
    every: int = said(100, "steps between two validations", 1, 1_000_000)
    patience: int = said(0, "validations without gain after which it ends, 0: never", 0, 1_000_000)
    seed: int = said(2021, "of weights, crops and flips", 0, 2**31 - 1)
    half: bool = said(True, "mixed precision where the machine has it: a GPU, or a CPU with bfloat16")
    device: str = said("auto", "auto: a GPU when torch finds one", allowed=("auto", "cpu", "cuda"))
    threads: int = said(0, "of torch on the CPU, 0: all cores", 0, 4096)

    def __post_init__(self) -> None:
        check(self, "training")


def check(spec: Any, what: str) -> None:
    """InputError, naming the word and what is allowed, unless every value of a spec has its type and range."""
    for one in fields(spec):
        value, declared = getattr(spec, one.name), one.metadata
        of(one.name, str(one.type), value, what)
        if declared["allowed"] and value not in declared["allowed"]:
            raise InputError(f"{what} {one.name} = {value!r}: allowed are {', '.join(declared['allowed'])}")
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if isinstance(number, (int, float)) and not declared["low"] <= number <= declared["high"]:
                unit = f" {declared['unit']}" if declared["unit"] else ""
                raise InputError(
                    f"{what} {one.name} = {value!r}: allowed are {declared['low']:g} to {declared['high']:g}{unit}"
                )


_WANT = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}


def of(name: str, kind: str, value: Any, what: str) -> None:
    """InputError unless a value is of the kind that its field declares: int, float, str, bool, or a tuple of them."""
    if not kind.startswith("tuple["):
        if not _is(kind, value):
            raise InputError(f"{what} {name} = {value!r}: want {_WANT[kind]}")
        return
    inner = kind.removeprefix("tuple[").removesuffix("]").split(", ")
    count = None if inner[-1] == "..." else len(inner)
    if not isinstance(value, tuple) or count not in (None, len(value)) or not all(_is(inner[0], v) for v in value):
        came = list(value) if isinstance(value, tuple) else value
        raise InputError(f"{what} {name} = {came!r}: want a list of {count or 'values'}, each {_WANT[inner[0]]}")


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool) or kind == "bool":
        return isinstance(value, bool) and kind == "bool"
    types: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}
    return isinstance(value, types[kind])


def plain(spec: NetSpec | NormSpec | FitSpec) -> dict[str, Any]:
    """As JSON values; infinities are left out."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(spec).items()
        if not (isinstance(value, float) and math.isinf(value))
    }


def unplain(kind: type[Spec], values: Mapping[str, Any]) -> Spec:
    """What plain() wrote; InputError for words that it does not know, or numbers out of range."""
    known = {one.name for one in fields(kind)}
    strange = sorted(set(values) - known)
    if strange:
        raise InputError(f"{kind.__name__}: {', '.join(strange)} is not known; allowed: {', '.join(sorted(known))}")
    made: Any = kind  # each is checked by its own __post_init__
    found: Spec = made(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    return found


# El Khoury 2021, 2.3: at every level the 2D network has four times the feature maps of the 3D one, which has one more
# pooling. The paper prints no number of maps; 64 in 2D and five resolutions are those of the code it was adapted from.
PRESETS: Mapping[str, NetSpec] = {
    "elkhoury_2d": NetSpec("elkhoury", 2, levels=5, width=64),
    "elkhoury_3d": NetSpec("elkhoury", 3, levels=6, width=16),
    "modern_2d": NetSpec("modern", 2, levels=5, width=32),
    "modern_3d": NetSpec("modern", 3, levels=4, width=16),
    "small_2d": NetSpec("modern", 2, levels=4, width=16),
    "small_3d": NetSpec("modern", 3, levels=3, width=8),
    "swin_unetr": NetSpec("swin_unetr", 3, levels=5, width=24),
}


def preset(name: str, classes: int = 2, width: int = 0, levels: int = 0) -> NetSpec:
    """A network by name; width and levels 0: as the preset has them. InputError, with the names, for another one.

    In a pair of elkhoury_2d and elkhoury_3d keep the paper's proportion: width 4 w and levels n beside w and n + 1.
    """
    if name not in PRESETS:
        raise InputError(f'"{name}" is no preset of a network; allowed: {", ".join(PRESETS)}')
    found = PRESETS[name]
    return replace(found, classes=classes, width=width or found.width, levels=levels or found.levels)


def usual(net: NetSpec) -> FitSpec:
    """How such a network is trained when nothing else is said: the paper's loss for elkhoury, 64^3 or 128^2 crops."""
    patch = (64, 64, 64) if net.dims == 3 else (1, 128, 128)
    batch = 2 if net.dims == 3 else 16
    if net.kind == "elkhoury":  # eq. 6 in 3D, eq. 7 in 2D
        return FitSpec(loss="dice" if net.dims == 3 else "cross_entropy", patch=patch, batch=batch)
    return FitSpec(patch=patch, batch=batch)


# Tried on hippocampus, a run each: with a norm 1e-2 learns faster than 3e-3; without one, 1e-3 is the careful choice
# (3e-3 learned a little faster in 100 steps, and had come to nothing with another head).
RATES: Mapping[str, float] = {"elkhoury": 1e-3, "modern": 1e-2, "swin_unetr": 5e-4, "tissue": 1e-4}
