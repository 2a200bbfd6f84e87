"""What a lossy base left out, kept beside it, so that the original comes back bit for bit.

The array "residual" of a container holds, chunk by chunk of its own depth, (original - decoded) modulo 2**n. Whole
numbers of up to 16 bits, and wider or floating ones that span no more, are coded beside the base by
slimscan.press.residual_code. Everything else (floats that the base maps to 16 bits, wide integers, and machines without
numba) is the difference of the samples' bits, read as integers of n = 8, 16, 32 or 64 bits, in the exact codec of
CODECS that was smallest on one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimscan import child
from slimscan.codecs import CODECS, admit
from slimscan.each import Each
from slimscan.errors import CodecError, InputError, SlimscanError
from slimscan.nouns import Pixels, Volume
from slimscan.press import residual_code, scheme
from slimscan.press.grid import Grid
from slimscan.press.scheme import Scheme
from slimscan.press.survey import Survey

VERSION = 1
BESIDE = "base"  # the name of the coder that needs the base; others are names in CODECS
CHUNK_VOXELS = 1 << 20
DEPTHS = (8, 32)  # slices a chunk, fewest and most: one slice costs the chunk that holds it
TRIED = ("jpegxl", "jpegls", "jpeg2000z", "pcodec", "zstd")
FAR = 1 << 20  # the base is cut to +-FAR where it only tells what to expect

Fetch = Callable[[int, int], Pixels]  # slices start..stop-1


@dataclass(frozen=True, slots=True)
class Residual:
    """How the array is coded. dtype: of the original's samples. bits: residuals are taken modulo 2**bits.

    planes: how the differences of bits are coded, None for the coder beside the base.
    """

    dtype: str
    depth: int
    bits: int
    planes: Scheme | None = None

    @property
    def name(self) -> str:
        """Of the coder: "base", or a codec's."""
        return BESIDE if self.planes is None else self.planes.codec

    @property
    def integer(self) -> str:
        """The signed integer type as wide as a sample: what the array holds."""
        return f"int{8 * np.dtype(self.dtype).itemsize}"

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the attributes of the array."""
        planes = None if self.planes is None else self.planes.as_json()
        said = {"version": VERSION, "coder": self.name, "dtype": self.dtype, "depth": self.depth, "bits": self.bits}
        return said | {"planes": planes}


def from_json(said: Mapping[str, Any]) -> Residual:
    """What as_json wrote; CodecError for a newer version or missing words."""
    try:
        if int(said["version"]) > VERSION:
            raise CodecError(f"residual of version {said['version']} is newer than {VERSION}: update slimscan")
        planes = None if said["planes"] is None else Scheme.from_json(said["planes"])
        found = Residual(str(np.dtype(said["dtype"])), int(said["depth"]), int(said["bits"]), planes)
        if np.dtype(found.dtype).kind not in "iuf" or found.depth < 1 or not 8 <= found.bits <= 64:
            raise ValueError(f"{dict(said)}")
        if planes is None and found.bits > residual_code.SPAN:
            raise ValueError(f"{found.bits} bits")
    except (KeyError, TypeError, ValueError) as error:
        raise CodecError(f"the description of the residual is damaged: {error!r}") from error
    return found


def depth_of(shape: tuple[int, ...]) -> int:
    """Slices a chunk."""
    return int(min(shape[0], np.clip(CHUNK_VOXELS // int(np.prod(shape[1:])), *DEPTHS)))


def pieces_of(found: Residual, slices: int) -> list[tuple[int, int]]:
    """Slices start..stop-1 of every chunk."""
    return [(start, min(start + found.depth, slices)) for start in range(0, slices, found.depth)]


def choose(volume: Volume, seen: Survey, base: Scheme, decoded: Fetch) -> Residual:
    """How to code the residual of this volume beside this base. decoded: what the base gives back."""
    kind = np.dtype(volume.pixels.dtype).newbyteorder("=")
    depth = depth_of(volume.shape)
    small = kind.kind in "iu" and kind.itemsize <= 2
    narrow = base.grid.exact and seen.plain and seen.high - seen.low <= 65535
    if residual_code.COMPILED and (small or narrow):
        return Residual(str(kind), depth, 8 * kind.itemsize if small else residual_code.SPAN)
    start = max(0, (volume.shape[0] - depth) // 2)
    differences = _differences(volume.slices(start, start + depth), decoded(start, start + depth))
    sizes: dict[str, tuple[int, Residual]] = {}
    for name in TRIED:
        try:
            deep = depth if CODECS[name].chunk == "slab" else 1  # a slice is then a bare codestream
            planes = _planes(name, str(differences.dtype), deep)
            admit(CODECS[name], planes.layout((1, *volume.shape[1:])))
            parts = (differences[z : z + deep] for z in range(0, len(differences), deep))
            size = sum(len(scheme.encode(planes, scheme.prepare(planes, part), None)) for part in parts)
            sizes[name] = (size, Residual(str(kind), deep, 8 * kind.itemsize, planes))
        except SlimscanError:
            continue
    return min(sizes.values(), key=lambda one: one[0])[1]


def encode(found: Residual, original: Pixels, decoded: Pixels) -> bytes:
    """One chunk: what is to be added to `decoded` (z, y, x[, c]) to get `original`, of the same shape and type."""
    if found.planes is not None:
        return scheme.encode(found.planes, scheme.prepare(found.planes, _differences(original, decoded)), None)
    rest = original.astype(np.int64) - decoded.astype(np.int64)
    half = 1 << (found.bits - 1)
    return residual_code.encode(((rest + half) & (2 * half - 1)) - half, _expected(decoded), found.bits)


def decode(found: Residual, payload: bytes, decoded: Pixels) -> Pixels:
    """The original of one chunk, in the decoded base's shape and type; CodecError for damaged bytes."""
    kind = np.dtype(found.dtype)
    if decoded.dtype != kind:
        raise CodecError(f"residual: is of {kind} samples, the base's are {decoded.dtype}; the file is damaged")
    if found.planes is None:
        rest = residual_code.decode(payload, _expected(decoded), found.bits)
        whole = decoded.astype(np.int64) + rest
        return np.asarray(whole.astype(kind))  # modulo 2**n where the type is narrower
    unsigned = f"u{kind.itemsize}"
    differences = scheme.decode(found.planes, payload, decoded.shape)
    bits = np.ascontiguousarray(decoded).view(unsigned) + differences.view(unsigned)
    return np.asarray(bits.view(kind))


def decode_within(limits: child.Limits | None, found: Residual, payload: bytes, decoded: Pixels) -> Pixels:
    """decode(), by a child when there are limits."""
    if limits is None:
        return decode(found, payload, decoded)
    arguments = (found, payload, decoded)
    return child.decode("slimscan.press.residual:decode", arguments, decoded.shape, found.dtype, limits)


def payloads(found: Residual, volume: Volume, decoded: Fetch, each: Each) -> Iterator[bytes]:
    """The chunks in order."""

    def one(piece: tuple[int, int]) -> bytes:
        return encode(found, volume.slices(*piece), decoded(*piece))

    yield from each(one, pieces_of(found, volume.shape[0]))


def array_json(found: Residual, shape: tuple[int, ...]) -> dict[str, Any]:
    """The zarr.json of the array: one shard, colours first as the base has them."""
    slices, height, width = shape[:3]
    colour = shape[3:]
    count = len(pieces_of(found, slices))
    transpose = [{"name": "transpose", "configuration": {"order": [1, 2, 3, 0]}}] if colour else []
    planes = found.as_json() if found.planes is None else found.planes.as_json()
    codecs = [*transpose, {"name": "slimscan", "configuration": planes}, {"name": "crc32c"}]
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {
        "chunk_shape": [*colour, found.depth, height, width],
        "codecs": codecs,
        "index_codecs": index,
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*colour, slices, height, width],
        "data_type": found.integer,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [*colour, count * found.depth, height, width]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": [*("c" for _ in colour), "z", "y", "x"],
        "attributes": {"slimscan": {"residual": found.as_json()}},
    }


def described(array: Mapping[str, Any], name: str) -> Residual:
    """The residual that a zarr.json speaks of; InputError naming the file when it is damaged."""
    try:
        return from_json(array["attributes"]["slimscan"]["residual"])
    except (KeyError, TypeError, CodecError) as error:
        raise InputError(f"{name}: the description of its residual is damaged ({error})") from error


def _expected(decoded: Pixels) -> Pixels:
    """The base as the coder looks at it: whole numbers of few bits, so that no sum overflows."""
    return np.clip(decoded, -FAR, FAR).astype(np.int64)


def _differences(original: Pixels, decoded: Pixels) -> Pixels:
    """Bits of the original less those of the decoded, modulo 2**n, as signed integers."""
    size = original.dtype.itemsize
    apart = np.ascontiguousarray(original).view(f"u{size}") - np.ascontiguousarray(decoded).view(f"u{size}")
    return np.asarray(apart.view(f"i{size}"))


def _planes(codec: str, dtype: str, depth: int) -> Scheme:
    """Signed differences as the codec takes them: codes from 0 up to 16 bits, else as they are."""
    bits = 8 * np.dtype(dtype).itemsize
    if bits <= 16:
        return Scheme(codec, Grid(dtype, -float(1 << (bits - 1)), 1.0, bits, f"uint{bits}"), depth)
    return Scheme(codec, Grid(dtype, 0.0, 1.0, bits, dtype), depth)
