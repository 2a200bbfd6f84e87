"""Images: pixels with their geometry, and the layout of one chunk.

Arrays are (z, y, x) or (z, y, x, c). Affines map voxel indices (x, y, z) to RAS+ millimetres, as NIfTI does: the first
column of an affine belongs to the last spatial axis of the array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]


class Lazy(Protocol):
    """Pixels that stay on disk: indexing with a slice along z reads those slices and nothing else."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x) or (z, y, x, c)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored sample type."""
        ...

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

    pixels: (z, y, x) or (z, y, x, c), in memory or Lazy. affine_mm: 4x4, voxel (x, y, z) to RAS+ mm. bits: stored bits
    of a sample. padding: the value outside the field of view, or None. slope, intercept: real value = slope * stored +
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
