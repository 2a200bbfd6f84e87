"""JPEG 2000 behind a wavelet along z: slabs of slices, each slab's coefficient planes as JPEG 2000 codestreams.

As JPEG 2000 Part 2 (ISO/IEC 15444-2 annex J) and Part 10 do, with the tools of Part 1. The z-wavelet is (nearly)
orthonormal, so all planes are cut at one squared error. How many levels pay differs by image: thin slices gain a half,
thick ones lose a tenth. Each slab therefore takes the number of levels, 0 to 3, whose details are smallest.

A payload is sealed parts: the number of levels and the main header that all planes share, then for every plane what
follows the SOD marker, without EOC.
"""

from __future__ import annotations

import math
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from slimscan.codecs.guard import guarded
from slimscan.codecs.headers import check_siz
from slimscan.codecs.lifting import forward53, forward97, inverse53, inverse97
from slimscan.codecs.openjpeg import opened as codestream_opened
from slimscan.codecs.openjpeg import resolutions, split
from slimscan.codecs.samples import restored, span
from slimscan.codecs.sealed import opened, seal
from slimscan.errors import CodecError
from slimscan.nouns import Codec, Holds, Knob, Layout, Pixels

MOST_LEVELS = 3
HEADROOM = 3  # bits: three levels of the 9/7 grow a sample by less than 4.6 times, its sign takes one bit
FRACTION = 2  # bits after the point that lossy coefficients keep, else their rounding shows above 70 dB
UNIT = 2**FRACTION
EOC = b"\xff\xd9"


def encode(pixels: Pixels, layout: Layout, value: float | None) -> bytes:
    """A slab (z, y, x[, c]) to a sealed payload; value: PSNR in dB against 2**bits - 1, None for lossless."""
    low, high = span(layout)
    centred = pixels.reshape(_grey(layout)).astype(np.int32) - (low + high + 1) // 2
    bits = layout.bits + HEADROOM + (0 if value is None else FRACTION)
    kind = np.int16 if bits <= 16 else np.int32
    if value is None:
        levels = _levels(centred, 1.0)
        planes = forward53(centred, levels).astype(kind)
        level = 0.0
    else:
        levels = _levels(centred, math.sqrt(12) * (high - low) / 10 ** (value / 20))
        planes = np.rint(forward97(np.float32(UNIT) * centred.astype(np.float32), levels)).astype(kind)
        level = value + 20 * math.log10((2**bits - 1) / (2**layout.bits - 1) / UNIT)
    streams = [split(_plane(plane, layout, bits, level)) for plane in planes]
    if len({header for header, _ in streams}) != 1:
        raise CodecError("jpeg2000z: OpenJPEG wrote different headers for planes of one slab; please report this")
    # SOT (12 bytes) and SOD (2) are known: one tile, one part.
    return seal([bytes([levels]) + streams[0][0], *(rest[14:-2] for _, rest in streams)], layout)


def _plane(plane: Pixels, layout: Layout, bits: int, level: Any) -> bytes:
    codestream = imagecodecs.jpeg2k_encode(
        plane,
        level=level,
        reversible=level == 0,
        bitspersample=bits,
        codecformat="J2K",
        planar=False,
        mct=layout.samples == 3,
        resolutions=resolutions(layout),
        numthreads=1,
    )
    return bytes(codestream)


def decode(payload: bytes, layout: Layout) -> Pixels:
    """The slab back, in the layout's shape, dtype and span; CodecError for damaged bytes."""
    low, high = span(layout)
    head, *parts = opened("jpeg2000z", payload, 1 + layout.shape[0], layout)
    levels, header = head[:1], head[1:]
    cod = header.find(b"\xff\x52")
    if levels not in (b"\0", b"\1", b"\2", b"\3") or not 0 < cod < len(header) - 13:
        raise CodecError(f"jpeg2000z: a chunk of {len(payload)} bytes begins with no header; it is damaged")
    check_siz("jpeg2000z", header, layout)
    planes = np.empty(_grey(layout), np.int32)
    for plane, part in zip(planes, parts, strict=True):
        sot = b"\xff\x90\x00\x0a\x00\x00" + (len(part) + 14).to_bytes(4) + b"\x00\x01\xff\x93"
        found = guarded("jpeg2000z", codestream_opened, header + sot + part + EOC)
        if found.shape != plane.shape:
            raise CodecError(f"jpeg2000z: decoded {found.shape}, the layout says {plane.shape}; the chunk is damaged")
        plane[...] = found
    reversible = header[cod + 13] == 1  # the transformation in COD (15444-1 table A.20)
    if reversible:
        slab: Pixels = inverse53(planes, levels[0])
    else:
        slab = np.rint(inverse97(planes.astype(np.float32), levels[0]) / UNIT).astype(np.int32)
    return restored("jpeg2000z", slab + (low + high + 1) // 2, layout)


def _grey(layout: Layout) -> tuple[int, ...]:
    return layout.shape if layout.samples > 1 else layout.shape[:3]


def _levels(slab: NDArray[np.int32], step: float) -> int:
    """The number of levels along z that leaves the fewest bits in the details within slices at this quantiser step.

    Details are two levels of Haar differences on every fourth pair of rows: they commute with the wavelet along z, so
    it is applied to them. Bits are log2(1 + detail / step), summed.
    """
    rows = np.arange(slab.shape[1] // 4 * 4).reshape(-1, 4)[::3].reshape(-1)
    some: Pixels = slab[:, rows, : slab.shape[2] // 4 * 4].astype(np.float32)
    if not some.size or len(slab) < 2:
        return 0
    details: list[Pixels] = []
    for _ in range(2):
        a, b = some[:, 0::2, 0::2], some[:, 0::2, 1::2]
        c, d = some[:, 1::2, 0::2], some[:, 1::2, 1::2]
        details += [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
        some = (a + b + c + d) / 2
    bits = []
    for levels in range(MOST_LEVELS + 1):
        moved = [np.abs(forward97(detail, levels)) for detail in details]
        bits.append(sum(float(np.log2(1 + detail / step).sum(dtype=np.float64)) for detail in moved))
    return int(np.argmin(bits))


CODEC = Codec(
    name="jpeg2000z",
    title="JPEG 2000 behind a wavelet along z",
    standard="ISO/IEC 15444-1 planes (OpenJPEG)",
    knob=Knob("psnr_db", "dB", 10.0, 130.0, finer="high"),
    lossless=True,
    bounded=False,
    chunk="slab",
    depth=32,
    holds=Holds(),
    encode=encode,
    decode=decode,
    note="strong on thin slices",
)
