"""Whole slides: a pyramid of tiled pictures of one specimen, read where it lies.

Rows come before columns everywhere: shapes are (height, width), micrometres a pixel are (y, x), tiles are (row, column).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

SlideFormat = Literal["svs", "ndpi", "scn", "mrxs", "tiff", "ome-tiff", "dicom"]


@dataclass(frozen=True, slots=True)
class Level:
    """One step of the pyramid.

    shape: (height, width) in pixels. tile: (height, width) of a stored tile, edge tiles are stored as large as the others;
    (0, 0) where the format keeps none that can be handed out. grid: (rows, columns) of tiles, (0, 0) with them.
    downsample: how many pixels of level 0 one pixel covers, the mean of both axes. compression: of the stored tiles: "none",
    "jpeg", "jpeg2000", "jpegxl", "lzw", "deflate", "zstd", "webp", "htj2k", "jpegls", "" where there are no tiles. colour:
    what the samples inside the stream are: "rgb", "ycbcr" or "grey", "" when not known. mpp: micrometres a pixel (y, x), or
    None. page: number of the IFD (TIFF) from 0, None elsewhere. tag: the TIFF compression number, None elsewhere.
    lossy: whether the tiles have lost something already; None when the file does not say.
    quality: of JPEG tiles, the libjpeg quality (1..100) whose luminance table is nearest, None when not known.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    grid: tuple[int, int]
    downsample: float
    compression: str
    mpp: tuple[float, float] | None = None
    colour: str = ""
    page: int | None = None
    tag: int | None = None
    lossy: bool | None = None
    quality: int | None = None

    @property
    def tiles(self) -> int:
        """How many places the grid has."""
        return self.grid[0] * self.grid[1]


class Slide(Protocol):
    """An open slide. A context manager; methods may be called by several threads at once."""

    @property
    def path(self) -> Path:
        """The file, or the folder of a DICOM slide, that was opened."""
        ...

    @property
    def format(self) -> SlideFormat:
        """Which kind of slide it is."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the largest to the smallest; never empty."""
        ...

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Micrometres a pixel of level 0, (y, x); None when the file does not say."""
        ...

    @property
    def magnification(self) -> float | None:
        """The objective's power, 20.0 or 40.0 mostly; None when the file does not say."""
        ...

    @property
    def icc(self) -> bytes | None:
        """The colour profile, as it is stored."""
        ...

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says about itself, named as OpenSlide names it where OpenSlide opens the file."""
        ...

    @property
    def associated(self) -> tuple[str, ...]:
        """Names of the pictures beside the specimen: "label", "macro", "thumbnail"."""
        ...

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """(h, w, 3) RGB with its upper left corner at (y, x) of that level; white outside and where no tile is stored.

        InputError for a level that is not there or a negative size; NotReadable for a tile that cannot be decoded.
        """
        ...

    def tile(self, level: int, row: int, col: int) -> bytes:
        """The tile as stored, b"" where none is; NotReadable where the format hands out no tiles."""
        ...

    def stream(self, level: int, row: int, col: int) -> bytes:
        """The tile as a whole codestream that stands alone: JPEG tables and the Adobe marker put in. b"" where none is."""
        ...

    def image(self, name: str) -> NDArray[np.uint8]:
        """(h, w, 3) RGB of the associated picture `name`; InputError with the names that there are."""
        ...

    def close(self) -> None:
        """Let the file go; closing twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: Any) -> None: ...
