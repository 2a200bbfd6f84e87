"""What a codec makes of patches of tissue: bytes, likeness and time, patch by patch and magnification by magnification.

Source: wsi2025 (Deep learning-based compression of giga-resolution whole slide images), section 2.3.3, Tables 3 and 4.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.metrics.fidelity import psnr_db
from slimscan.metrics.ssim import similarity
from slimscan.nouns import Codec, Layout
from slimscan.press.slide.sample import Patch

PEAK = 255.0


@dataclass(frozen=True)
class Likeness:
    """Of two RGB pictures. psnr_db: over all samples, peak 255, inf when identical. ssim, ms_ssim: means over R, G, B."""

    psnr_db: float
    ssim: float
    ms_ssim: float
    mse: float


@dataclass(frozen=True)
class Row:
    """One patch through one codec. reference_bytes: of the same patch through the codec that sizes are told against."""

    codec: str
    slide: str
    magnification: float
    y: int
    x: int
    pixels: int
    bytes: int
    reference_bytes: int
    psnr_db: float
    ssim: float
    ms_ssim: float
    encode_s: float
    decode_s: float

    @property
    def bpp(self) -> float:
        """Bits a pixel."""
        return 8 * self.bytes / self.pixels

    @property
    def reduction(self) -> float:
        """Percent saved of the reference's bytes; negative when it grew. Source: wsi2025, supplement, eq. 1."""
        return 100 * (1 - self.bytes / self.reference_bytes)


@dataclass(frozen=True)
class Spread:
    """A mean over magnifications of the mean over patches (so that each counts the same), and the ends over patches."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """A line of Table 3. bytes: of all patches together; decode_ms: a patch."""

    codec: str
    patches: int
    psnr_db: Spread
    ssim: Spread
    ms_ssim: Spread
    bytes: int
    reduction: Spread
    bpp: float
    decode_ms: float


def likeness(reference: NDArray[np.uint8], test: NDArray[np.uint8]) -> Likeness:
    """Of two (h, w, 3) pictures of uint8; SSIM is NaN when a side is under 11 pixels. InputError: shapes differ, empty."""
    psnr = psnr_db(reference, test, PEAK)
    if math.isinf(psnr):
        whole = min(reference.shape[:2]) >= 11
        return Likeness(psnr, 1.0 if whole else math.nan, 1.0 if whole else math.nan, 0.0)
    found = similarity(reference.astype(np.float64), test.astype(np.float64), PEAK)
    return Likeness(psnr, found.ssim, found.ms_ssim, PEAK**2 / 10 ** (psnr / 10))


def through(
    codec: Codec, value: float | None, pixels: NDArray[np.uint8], repeats: int = 1
) -> tuple[bytes, NDArray[np.uint8], float, float]:
    """(payload, decoded (h, w, 3), seconds to encode, seconds to decode, the shortest of `repeats`). Errors: the codec's."""
    layout = Layout((1, *pixels.shape), "uint8", 8)
    start = time.perf_counter()
    payload = codec.encode(pixels[None], layout, value)
    encoded = time.perf_counter() - start
    best = math.inf
    for _ in range(max(1, repeats)):
        start = time.perf_counter()
        back = codec.decode(payload, layout)
        best = min(best, time.perf_counter() - start)
    return payload, np.asarray(back[0], np.uint8), encoded, best


def measured(
    codecs: Mapping[str, tuple[Codec, float | None]], reference: str, patches: Iterable[Patch], repeats: int = 1
) -> Iterator[Row]:
    """One row for each codec and patch, patches in their order. reference: the name that sizes are told against.

    The first patch goes through every codec once before anything is timed.
    """
    warm = False
    for patch in patches:
        if not warm:
            for codec, value in codecs.values():
                through(codec, value, patch.pixels)
            warm = True
        codec, value = codecs[reference]
        done = {reference: through(codec, value, patch.pixels, repeats)}
        for name, (codec, value) in codecs.items():
            payload, back, encode_s, decode_s = done.get(name) or through(codec, value, patch.pixels, repeats)
            like = likeness(patch.pixels, back)
            yield Row(
                name, patch.slide, patch.magnification, patch.y, patch.x, patch.pixels.shape[0] * patch.pixels.shape[1],
                len(payload), len(done[reference][0]), like.psnr_db, like.ssim, like.ms_ssim, encode_s, decode_s,
            )  # fmt: skip


def summary(rows: Sequence[Row]) -> list[Summary]:
    """A line for each codec, in the order in which they first come; magnifications weigh the same."""
    out = []
    for name in dict.fromkeys(row.codec for row in rows):
        mine = [row for row in rows if row.codec == name]
        out.append(
            Summary(
                name,
                len(mine),
                spread(mine, "psnr_db"),
                spread(mine, "ssim"),
                spread(mine, "ms_ssim"),
                sum(row.bytes for row in mine),
                spread(mine, "reduction"),
                spread(mine, "bpp").mean,
                1e3 * spread(mine, "decode_s").mean,
            )
        )
    return out


def by_magnification(rows: Sequence[Row]) -> dict[tuple[str, float], Summary]:
    """(codec, magnification) -> its line. Source: wsi2025, Table 4."""
    keys = dict.fromkeys((row.codec, row.magnification) for row in rows)
    return {key: summary([row for row in rows if (row.codec, row.magnification) == key])[0] for key in keys}


def spread(rows: Sequence[Row], word: str) -> Spread:
    """Of one number of the rows. An exact patch (infinite PSNR) makes the mean infinite, as it should."""
    groups: dict[float, list[float]] = {}
    for row in rows:
        groups.setdefault(row.magnification, []).append(float(getattr(row, word)))
    every = [value for group in groups.values() for value in group]
    mean = math.fsum(math.fsum(group) / len(group) for group in groups.values()) / len(groups)
    return Spread(mean, min(every), max(every))


def worst(rows: Sequence[Row], codec: str, count: int = 1) -> list[Row]:
    """The rows of a codec with the lowest SSIM, the lowest first."""
    mine = [row for row in rows if row.codec == codec and not math.isnan(row.ssim)]
    return sorted(mine, key=lambda row: (row.ssim, row.psnr_db))[:count]


def difference(reference: NDArray[np.uint8], test: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean of R, G, B of the test minus that of the reference, (h, w). Source: wsi2025, section 2.3.4, worst case."""
    return np.asarray(test.astype(np.float64).mean(axis=2) - reference.astype(np.float64).mean(axis=2), np.float64)
