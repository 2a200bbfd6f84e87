"""Codecs: two functions and a few facts, the knob that turns them, and the layouts that they hold."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from slimscan.errors import InputError, MissingExtra
from slimscan.nouns.image import Layout, Pixels


@dataclass(frozen=True, slots=True)
class Knob:
    """The one number that a lossy codec is turned by. Read by the check, --help, the search and the tests.

    finer: the end of low..high at which the decoded image is closest. step: 0 when every value is allowed, else the
    grid on which values lie. scale: how quality moves with it, so that a search walks in even steps.
    """

    name: str
    unit: str
    low: float
    high: float
    finer: Literal["low", "high"]
    step: float = 0.0
    scale: Literal["linear", "log"] = "linear"

    def check(self, codec: str, value: float) -> float:
        """The value on the knob's grid; InputError outside low..high."""
        if not self.low <= value <= self.high:
            raise InputError(
                f"{codec}: {self.name} {value:g} is outside {self.low:g}..{self.high:g} {self.unit}".rstrip()
                + f" (finest at {self.low if self.finer == 'low' else self.high:g}); choose a value inside"
            )
        return round(value / self.step) * self.step if self.step else float(value)


@dataclass(frozen=True, slots=True)
class Holds:
    """The layouts that a codec takes; everything else is refused by name."""

    dtypes: tuple[str, ...] = ("uint8", "int8", "uint16", "int16")
    bits: tuple[int, int] = (1, 16)
    samples: tuple[int, ...] = (1, 3)
    min_side: int = 1
    max_side: int = 65535

    def refuses(self, layout: Layout) -> str | None:
        """None when the layout can be held, else the reason with what is allowed."""
        if layout.dtype not in self.dtypes:
            return f"samples of type {layout.dtype}; allowed: {', '.join(self.dtypes)}"
        if not self.bits[0] <= layout.bits <= self.bits[1]:
            return f"{layout.bits} bits a sample; allowed: {self.bits[0]} to {self.bits[1]}"
        if layout.samples not in self.samples:
            return f"{layout.samples} samples a voxel; allowed: {', '.join(map(str, self.samples))}"
        sides = layout.shape[1:3]
        if min(sides) < self.min_side or max(sides) > self.max_side:
            return f"slices of {sides[0]}x{sides[1]}; allowed: sides of {self.min_side} to {self.max_side}"
        return None


# What codecs of plain bytes or numbers hold: every sample type that an image file has.
NUMBERS = Holds(
    dtypes=(
        *("uint8", "int8", "uint16", "int16"),
        *("uint32", "int32", "uint64", "int64", "float16", "float32", "float64"),
    ),
    bits=(1, 64),
)


@dataclass(frozen=True, slots=True)
class Needs:
    """A package that a codec, reader or task uses, and the extra that brings it ("" when the core does)."""

    package: str
    module: str
    extra: str = ""

    def missing(self) -> bool:
        """Whether the module cannot be imported here."""
        return importlib.util.find_spec(self.module) is None

    def version(self) -> str:
        """The installed version, or "not installed"."""
        from importlib import metadata  # slow, and asked for once an image is done

        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "not installed"

    def demand(self, what: str) -> None:
        """Raise MissingExtra when the module cannot be imported."""
        if self.missing():
            raise MissingExtra(what, self.package, self.extra)


IMAGECODECS = Needs("imagecodecs", "imagecodecs")

Encode = Callable[[Pixels, Layout, float | None], bytes]
Decode = Callable[[bytes, Layout], Pixels]


@dataclass(frozen=True)
class Codec:
    """A codec is a record of two functions and a few facts.

    encode(pixels, layout, value): pixels (z, y, x[, c]) of layout.dtype; value on the knob, or None for lossless.
    decode(payload, layout): the same shape and dtype; CodecError for damaged bytes.
    lossless: value None is allowed and exact. bounded: the knob is a bound on the largest error in stored units.
    chunk: one slice a chunk, or a slab of `depth` slices. zarr_name: its name in imagecodecs-zarr when a payload
    is a bare standard codestream of an unsigned slice that others can read. zarr_bits: whether that codestream says its
    bits, so that their decoders clamp an overshoot to them as ours do. fragile: crafted bytes can end the process of its
    decoder, so that a file's chunks are decoded by a child.
    """

    name: str
    title: str
    standard: str
    knob: Knob | None
    lossless: bool
    bounded: bool
    chunk: Literal["slice", "slab", "tile"]
    holds: Holds
    encode: Encode
    decode: Decode
    needs: tuple[Needs, ...] = (IMAGECODECS,)
    depth: int = 1
    zarr_name: str = ""
    zarr_bits: bool = True
    threads: bool = True
    fragile: bool = False
    note: str = ""

    @property
    def lossy(self) -> bool:
        """Whether the codec has a knob at all."""
        return self.knob is not None


@dataclass(frozen=True, slots=True)
class Setting:
    """A codec and where its knob stands; value None is lossless. Prints and parses as "jpeg2000@38.2"."""

    codec: str
    value: float | None

    def __str__(self) -> str:
        return f"{self.codec}@{'lossless' if self.value is None else format(self.value, '.6g')}"

    @classmethod
    def parse(cls, text: str) -> Setting:
        """The setting that `text` names; InputError with the form that is wanted."""
        codec, _, value = text.partition("@")
        try:
            return cls(codec, None if value == "lossless" else float(value))
        except ValueError:
            raise InputError(
                f'setting "{text}": want CODEC@NUMBER or CODEC@lossless, for example jpeg2000@38.2'
            ) from None
