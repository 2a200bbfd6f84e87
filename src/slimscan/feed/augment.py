"""Compression as an augmentation: a crop is encoded and decoded in memory, at a setting drawn at random.

    noise = CodecNoise(["htj2k@4..64", "jpegls@1..16"], bits=12, span=(-1024, 3071), seed=1)
    crop = noise(crop)

A network that has seen what codecs leave behind loses less when it meets compressed images (El Khoury 2021, section 5).
Only the crop is encoded, slice by slice in the codec's own chunks: about 10 ms for 48x64x48 voxels with HTJ2K or JPEG-LS.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from slimscan.codecs import admit, codec
from slimscan.each import serial, threads
from slimscan.errors import InputError
from slimscan.nouns import Codec, Layout, Pixels, Setting
from slimscan.press.search import Axis

DEFAULT = ("htj2k@2..64", "jpegls@1..16")
PROBES = 7  # of a search for a PSNR or a ratio
SAMPLE = 4  # slices of a crop that a search looks at

Goal = Literal["setting", "psnr", "ratio"]


@dataclass(frozen=True, slots=True)
class Noise:
    """One augmentation, settled: the same pixels and the same noise give the same result.

    bits: of a code. span: the real values of code 0 and of code 2**bits - 1; values outside are cut.
    """

    setting: Setting
    bits: int
    span: tuple[float, float]

    def __call__(self, pixels: Pixels, workers: int = 1) -> Pixels:
        """Pixels (z, y, x[, c]) coded and decoded, in their own type. workers: threads that take chunks."""
        codes = _codes(pixels, self.bits, self.span)
        found = codec(self.setting.codec)
        decoded, _ = _through(found, codes, self.bits, self.setting.value, workers)
        return _values(decoded, self.bits, self.span, pixels.dtype)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was drawn before the crop is seen: a place on a codec's knob, a PSNR in dB, or a ratio."""

    codec: str
    goal: Goal
    value: float | None
    bits: int


class CodecNoise:
    """Codes and decodes crops at random settings. Callable on (z, y, x[, c]); the type and shape stay.

    settings: "codec@value", "codec@low..high" (drawn evenly on the knob's own scale) or "codec@lossless"; one of them is
    drawn, then the value. Or `codecs` with psnr = (low, high) in dB of 2**bits - 1, or ratio = (low, high) of raw bytes
    (whole bytes a sample) to encoded bytes of the crop, whose headers count: for these the knob is searched on a few
    slices, so they are met to about half a dB and a tenth.
    probability: that a call does anything. bits: of the codes, or (low, high) to draw from, 8 to 16, fewer where the codec
    holds fewer. span: real values of the first and the last code, for example (-1024, 3071) in a CT; None: each crop's
    own range, and knobs in "stored units" then scale with it. seed: of the draws, in a torch worker together with its own
    seed. workers: threads; leave it at 1 in a loader's workers.
    InputError, LayoutRefused or MissingExtra, at once, for what cannot be.
    """

    def __init__(
        self,
        settings: Sequence[str] | None = None,
        *,
        codecs: Sequence[str] | None = None,
        psnr: tuple[float, float] | None = None,
        ratio: tuple[float, float] | None = None,
        probability: float = 1.0,
        bits: int | tuple[int, int] = 12,
        span: tuple[float, float] | None = None,
        seed: int = 2021,
        workers: int = 1,
    ) -> None:
        if (psnr is not None and ratio is not None) or (settings and (psnr or ratio or codecs)):
            raise InputError("compression noise: give settings, or codecs with one of psnr and ratio")
        if codecs and not (psnr or ratio):
            raise InputError(f"compression noise by {', '.join(codecs)}: say how strong, with psnr, ratio or settings")
        if not 0 <= probability <= 1:
            raise InputError(f"compression noise: probability {probability:g} is outside 0..1")
        self.bits = (bits, bits) if isinstance(bits, int) else (int(bits[0]), int(bits[1]))
        if not 8 <= self.bits[0] <= self.bits[1] <= 16:
            raise InputError(f"compression noise: bits {bits}; want 8 to 16, or (low, high) between them")
        if span is not None and not (span[0] < span[1] and math.isfinite(span[0]) and math.isfinite(span[1])):
            raise InputError(f"compression noise: span {tuple(span)}; want the lowest and the highest value")
        self.goal: Goal = "psnr" if psnr else "ratio" if ratio else "setting"
        goals = psnr or ratio
        self._ranges: list[tuple[str, float | None, float | None]]
        if goals:
            low, high = float(goals[0]), float(goals[1])
            if not 0 < low <= high < math.inf or (ratio and low < 1):
                raise InputError(f"compression noise: {self.goal} {tuple(goals)}; want (low, high), low not above high")
            self._ranges = [(name, low, high) for name in (codecs or ("jpeg2000", "htj2k", "jpegls"))]
        else:
            self._ranges = [_range(text) for text in (settings or DEFAULT)]
        for name, low_end, _ in self._ranges:
            found = codec(name)
            if (goals or low_end is not None) and found.knob is None:
                raise InputError(f"compression noise: {name} has no knob; only {name}@lossless")
            size = min(self.bits[1], found.holds.bits[1])
            side = max(64, found.holds.min_side)
            admit(found, Layout((1, side, side), "uint8" if size <= 8 else "uint16", size))
        self.probability, self.span, self.seed, self.workers = probability, span, seed, workers
        self._random: np.random.Generator | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_random": None}

    def __call__(self, pixels: Pixels, rng: np.random.Generator | None = None) -> Pixels:
        """A new array, or the pixels themselves when chance, or a crop of one value, leaves nothing to do.

        rng: draws from there instead. InputError for NaN and for arrays of other than three or four axes.
        """
        random = rng or self._own()
        if random.random() >= self.probability:
            return pixels
        noise = self.settle(self.draw(random), pixels)
        return pixels if noise is None else noise(pixels, self.workers)

    def draw(self, rng: np.random.Generator) -> Wanted:
        """Which codec, and how strong."""
        name, low, high = self._ranges[int(rng.integers(len(self._ranges)))]
        found, share = codec(name), float(rng.random())
        bits = int(rng.integers(self.bits[0], self.bits[1] + 1))
        value: float | None = None
        if low is not None and high is not None:
            if self.goal == "setting":
                assert found.knob is not None
                axis = Axis(found.knob)
                value = axis.value(axis.place(low) + share * (axis.place(high) - axis.place(low)))
            elif self.goal == "ratio":
                value = low * (high / low) ** share
            else:
                value = low + share * (high - low)
        return Wanted(name, self.goal, value, max(found.holds.bits[0], min(bits, found.holds.bits[1])))

    def settle(self, wanted: Wanted, pixels: Pixels) -> Noise | None:
        """The noise for these pixels, with the knob found where a PSNR or a ratio was drawn; None for one flat value."""
        if pixels.ndim not in (3, 4) or not pixels.size:
            raise InputError(f"compression noise of an array {pixels.shape}: want (z, y, x) or (z, y, x, c), not empty")
        span = self.span or (float(pixels.min()), float(pixels.max()))
        if not (math.isfinite(span[0]) and math.isfinite(span[1])):
            raise InputError("compression noise: the crop holds NaN or infinity; replace them first")
        if not span[0] < span[1]:
            return None
        found = codec(wanted.codec)
        if wanted.goal == "setting" or wanted.value is None:
            return Noise(Setting(wanted.codec, wanted.value), wanted.bits, span)
        depth = SAMPLE if found.chunk == "slice" else max(SAMPLE, min(found.depth, len(pixels)))
        rows = np.unique(np.linspace(0, len(pixels) - 1, depth).astype(int))
        if found.chunk != "slice":
            rows = np.arange(len(rows)) + (len(pixels) - len(rows)) // 2
        codes = _codes(pixels[rows], wanted.bits, span)
        return Noise(Setting(wanted.codec, _searched(found, codes, wanted)), wanted.bits, span)

    def _own(self) -> np.random.Generator:
        """This process's generator: of a torch worker it hangs on the worker's seed, so that no two draw the same."""
        if self._random is None or self._process != os.getpid():
            data = sys.modules.get("torch.utils.data")
            worker = data.get_worker_info() if data is not None else None
            self._process = os.getpid()
            self._random = np.random.default_rng([self.seed, 0 if worker is None else int(worker.seed) & 0xFFFFFFFF])
        return self._random


def _range(text: str) -> tuple[str, float | None, float | None]:
    """(codec, low, high) of "codec@low..high", "codec@value" or "codec@lossless", checked against the knob."""
    name, _, said = text.partition("@")
    found = codec(name)
    if said == "lossless":
        if not found.lossless:
            raise InputError(f'compression noise "{text}": {name} is never lossless')
        return name, None, None
    parts = said.split("..") if ".." in said else [said, said]
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        raise InputError(
            f'compression noise "{text}": want CODEC@LOW..HIGH, CODEC@NUMBER or CODEC@lossless, as htj2k@4..64'
        ) from None
    if found.knob is None:
        raise InputError(f"compression noise: {name} has no knob; only {name}@lossless")
    return name, found.knob.check(name, low), found.knob.check(name, high)


def _searched(found: Codec, codes: Pixels, wanted: Wanted) -> float:
    """The place of the knob where the sample has the PSNR or the ratio; the nearer end when none has it."""
    assert found.knob is not None
    assert wanted.value is not None
    axis = Axis(found.knob)
    low, high = 0.0, 1.0  # coarse, fine
    if wanted.goal == "psnr" and found.knob.unit == "dB":  # the knob is a PSNR already
        low, high = sorted(max(0.0, min(1.0, axis.place(wanted.value + more))) for more in (-6, 6))
    for _ in range(PROBES):
        middle = (low + high) / 2
        decoded, nbytes = _through(found, codes, wanted.bits, axis.value(middle), 1)
        if wanted.goal == "ratio":
            too_coarse = codes.nbytes / nbytes > wanted.value
        else:
            mse = float(((decoded.astype(np.float64) - codes) ** 2).mean())
            too_coarse = mse > (2**wanted.bits - 1) ** 2 / 10 ** (wanted.value / 10)
        low, high = (middle, high) if too_coarse else (low, middle)
    return axis.value((low + high) / 2)


def _codes(pixels: Pixels, bits: int, span: tuple[float, float]) -> Pixels:
    top = 2**bits - 1
    scaled = (pixels.astype(np.float64) - span[0]) * (top / (span[1] - span[0]))
    return np.asarray(np.clip(np.rint(scaled), 0, top).astype(np.uint8 if bits <= 8 else np.uint16))


def _values(codes: Pixels, bits: int, span: tuple[float, float], dtype: Any) -> Pixels:
    values = codes.astype(np.float64) * ((span[1] - span[0]) / (2**bits - 1)) + span[0]
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.asarray(values.astype(kind))


def _through(found: Codec, codes: Pixels, bits: int, value: float | None, workers: int) -> tuple[Pixels, int]:
    """(codes decoded again, encoded bytes); sides below what the codec holds are continued by their edge."""
    colour = codes.shape[3] if codes.ndim == 4 else 1
    if codes.ndim == 4 and colour not in found.holds.samples:
        parts = [_through(found, codes[..., at], bits, value, workers) for at in range(colour)]
        return np.stack([part for part, _ in parts], axis=-1), sum(nbytes for _, nbytes in parts)
    short = [max(0, found.holds.min_side - side) for side in codes.shape[1:3]]
    whole = codes
    if any(short):
        whole = np.pad(codes, [(0, 0), (0, short[0]), (0, short[1]), *[(0, 0)] * (codes.ndim - 3)], mode="edge")
    depth = 1 if found.chunk == "slice" else found.depth
    pieces = [np.ascontiguousarray(whole[at : at + depth]) for at in range(0, len(whole), depth)]
    admit(found, Layout(pieces[0].shape, str(codes.dtype), bits))
    one = partial(_there_and_back, found, bits, value)
    done = list((serial if workers == 1 or not found.threads else threads(workers))(one, pieces))
    decoded = np.concatenate([part for part, _ in done])[:, : codes.shape[1], : codes.shape[2]]
    return decoded, sum(nbytes for _, nbytes in done)


def _there_and_back(found: Codec, bits: int, value: float | None, piece: Pixels) -> tuple[Pixels, int]:
    layout = Layout(piece.shape, str(piece.dtype), bits)
    payload = found.encode(piece, layout, value)
    return found.decode(payload, layout), len(payload)


def on_channels(noise: Noise, image: Pixels, workers: int = 1) -> Pixels:
    """Of MONAI and TorchIO: (c, x, y[, z]), the last axis through the slices; every channel by itself."""
    return np.stack([_turned(noise(turned(part), workers), image.ndim) for part in image])


def turned(part: Pixels) -> Pixels:
    """(x, y[, z]) as (z, y, x)."""
    return np.ascontiguousarray(part.T if part.ndim == 3 else part.T[np.newaxis])


def _turned(part: Pixels, axes: int) -> Pixels:
    return np.asarray(part.T if axes == 4 else part[0].T)
