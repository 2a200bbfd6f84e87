"""A region of interest: where an image must stay exact, and how much it matters elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns.image import Lazy


@dataclass(frozen=True)
class Region:
    """How much every voxel of a volume belongs to what must be kept.

    weight: (z, y, x) on the grid of the volume, bool, or float32 in 0..1; 1 is inside and exact, less is outside (Luu
    2021 eq. 2 lets diffusion fade with it). In memory or Lazy. name: what it shows ("liver"). about: where it came from
    and every parameter with its unit, as plain JSON values. source: for messages.
    """

    weight: NDArray[Any] | Lazy
    name: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        z, y, x = (int(n) for n in self.weight.shape)
        return z, y, x

    def inside(self, start: int, stop: int) -> NDArray[np.bool_]:
        """(stop - start, y, x): True where every voxel must stay as it is."""
        weight = np.asarray(self.weight[start:stop])
        return weight if weight.dtype == np.bool_ else weight >= 1

    def weights(self, start: int, stop: int) -> NDArray[np.float32]:
        """(stop - start, y, x) in 0..1."""
        return np.asarray(self.weight[start:stop], np.float32)
