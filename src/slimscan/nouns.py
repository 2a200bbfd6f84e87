"""The nouns: frozen values that every room shares. Functions elsewhere do the work.

Arrays are (z, y, x) or (z, y, x, c). Affines map voxel indices (x, y, z) to RAS+ millimetres, as NIfTI does: the first
column of an affine belongs to the last spatial axis of the array.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, MissingExtra

Pixels = NDArray[Any]


class Lazy(Protocol):
    """Pixels that stay on disk: indexing with a slice along z reads those slices and nothing else."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, index: slice) -> Pixels: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """What a decoder must know of one chunk and a payload may not say.

    shape: (z, y, x) or (z, y, x, c). dtype: "uint8", "int16", ... bits: significant bits of a sample; unsigned samples
    lie in 0..2**bits - 1, signed ones in -2**(bits-1)..2**(bits-1) - 1.
    """

    shape: tuple[int, ...]
    dtype: str
    bits: int

    @property
    def samples(self) -> int:
        """Colour samples of a voxel: 1 for grey."""
        return self.shape[3] if len(self.shape) == 4 else 1

    @property
    def raw_bytes(self) -> int:
        """Bytes of the uncompressed samples in whole bytes per sample (12 bits count as 2 bytes)."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Volume:
    """An image with its geometry.

    pixels: (z, y, x) or (z, y, x, c), in memory or Lazy. affine_mm: 4x4, voxel (x, y, z) to RAS+ mm. bits: stored bits of
    a sample. padding: the value outside the field of view, or None. slope, intercept: real value = slope * stored +
    intercept, in `unit`. about: the header as plain JSON values. raw_header: the header's own bytes by name, for
    writing it back byte for byte. source: the file that it came from, for messages.
    """

    pixels: Pixels | Lazy
    affine_mm: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    bits: int = 16
    padding: int | None = None
    slope: float = 1.0
    intercept: float = 0.0
    unit: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    raw_header: Mapping[str, bytes] = field(default_factory=dict)
    source: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x) or (z, y, x, c)."""
        return tuple(int(n) for n in self.pixels.shape)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (z, y, x) in mm."""
        x, y, z = np.sqrt((np.asarray(self.affine_mm, np.float64)[:3, :3] ** 2).sum(axis=0))
        return float(z), float(y), float(x)

    def slices(self, start: int, stop: int) -> Pixels:
        """Slices start..stop-1 along z as an array in memory."""
        return np.asarray(self.pixels[start:stop])


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
    chunk: one slice a chunk, or a slab of `depth` slices. zarr_name: the codec's name in imagecodecs-zarr when a payload
    is a bare standard codestream of an unsigned slice that others can read.
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
    threads: bool = True
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
            raise InputError(f'setting "{text}": want CODEC@NUMBER or CODEC@lossless, for example jpeg2000@38.2') from None


Peak = Literal["stored", "range", "dtype"] | float


@dataclass(frozen=True, slots=True)
class Ratio:
    """raw bytes / bytes on disk is to be `value`, within 2 %."""

    value: float

    def __str__(self) -> str:
        return f"ratio:{self.value:g}"


@dataclass(frozen=True, slots=True)
class Psnr:
    """PSNR over the whole volume is to be at least `db` and at most 0.1 dB more; the peak is named."""

    db: float
    peak: Peak = "stored"

    def __str__(self) -> str:
        return f"psnr:{self.db:g}dB,peak={self.peak}"


@dataclass(frozen=True, slots=True)
class MaxError:
    """No voxel may be off by more than `value` stored units."""

    value: float

    def __str__(self) -> str:
        return f"max-error:{self.value:g}"


@dataclass(frozen=True, slots=True)
class Lossless:
    """Every voxel comes back as it was."""

    def __str__(self) -> str:
        return "lossless"


Target = Ratio | Psnr | MaxError | Lossless | Setting


@dataclass(frozen=True, slots=True)
class Check:
    """One promise and what was measured of it on the written file."""

    name: str
    asked: str
    got: str
    passed: bool


@dataclass(frozen=True)
class Receipt:
    """Everything measured about one compression; it travels in the file. The fields are the keys of `compress --json`.

    ratio: raw_bytes / file_bytes. ratio_payload: raw_bytes / payload_bytes. ratio_bits: stored bits / file bits.
    psnr_db, max_abs_error, mse: None when the file was not read back (--no-verify). probes: every encoding tried.
    """

    source: str
    output: str
    codec: str
    setting: str
    target: str
    raw_bytes: int
    file_bytes: int
    payload_bytes: int
    ratio: float
    ratio_payload: float
    ratio_bits: float
    bits_per_voxel: float
    psnr_db: float | None
    peak: str
    max_abs_error: float | None
    mse: float | None
    identical: bool | None
    seconds: float
    megabytes_per_second: float
    probes: tuple[Mapping[str, Any], ...]
    checks: tuple[Check, ...]
    versions: Mapping[str, str]
    candidates: tuple[Mapping[str, Any], ...] = ()
