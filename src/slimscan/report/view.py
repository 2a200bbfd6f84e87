"""How a slice is shown: which way up, which side left, how wide a voxel is.

Where the file states an orientation, slices are shown as radiologists hang them: superior (else anterior) up, and the
patient's right, else the front, on the left of the picture. Oblique slices are named by their dominant axes. Files
without an orientation are shown as they are stored, first row on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimscan.nouns import Pixels, Volume

_PLUS, _MINUS = "RAS", "LPI"


@dataclass(frozen=True, slots=True)
class View:
    """From the stored slice (y, x) to the picture (rows, columns).

    transpose, then flip_rows and flip_columns. row_mm, column_mm: distance between rows and between columns of the
    picture; None when the file states no spacing. edges: letters (top, bottom, left, right), "" when unknown.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    row_mm: float | None = None
    column_mm: float | None = None
    edges: str = ""

    def picture(self, plane: Pixels) -> Pixels:
        """The slice (y, x[, c]) as it is shown; a view of the same memory."""
        shown = plane.swapaxes(0, 1) if self.transpose else plane
        return shown[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def place(self, y: int, x: int, shape: tuple[int, ...]) -> tuple[int, int]:
        """Where the stored voxel (y, x) of a slice of that shape stands in the picture: (row, column)."""
        row, column = (x, y) if self.transpose else (y, x)
        height, width = (shape[1], shape[0]) if self.transpose else (shape[0], shape[1])
        return height - 1 - row if self.flip_rows else row, width - 1 - column if self.flip_columns else column

    @property
    def line(self) -> str:
        """What a row of the picture is in the stored slice: "row y" or "column x"."""
        return "column x" if self.transpose else "row y"


def view_of(volume: Volume) -> View:
    """The view of the slices along z of a volume."""
    affine = np.asarray(volume.affine_mm, np.float64)
    if np.array_equal(affine, np.eye(4)) and not _stated(volume):
        return View()
    _, row_mm, column_mm = volume.spacing_mm
    silent = "qform_code" in volume.about and not _stated(volume)  # a NIfTI whose affine is a guess
    if (
        silent
        or not (_stated(volume) or _turned(affine))
        or not np.isfinite(affine).all()
        or not row_mm * column_mm > 0
    ):
        return View(row_mm=row_mm or None, column_mm=column_mm or None)
    directions = affine[:3, :2] / (column_mm, row_mm)
    world_x, world_y = _dominant(directions)
    sign_x, sign_y = directions[world_x, 0] > 0, directions[world_y, 1] > 0
    # Of the two directions in the slice, the later of right, anterior, superior stands upright.
    transpose = world_x > world_y
    up, across = (world_x, world_y) if transpose else (world_y, world_x)
    return View(
        transpose,
        # Rows count downwards and columns to the right: an axis that grows upwards or to the patient's right is turned.
        bool(sign_x if transpose else sign_y),
        bool(sign_y if transpose else sign_x),
        column_mm if transpose else row_mm,
        row_mm if transpose else column_mm,
        _PLUS[up] + _MINUS[up] + _PLUS[across] + _MINUS[across],
    )


def _stated(volume: Volume) -> bool:
    """Whether a NIfTI header says that its affine is an orientation and not only a spacing."""
    return any(volume.about.get(code) for code in ("qform_code", "sform_code"))


def _turned(affine: Pixels) -> bool:
    """Whether an affine is more than a spacing: turned, mirrored, or placed somewhere."""
    return not np.array_equal(affine, np.diag(np.abs(np.diag(affine))))


def _dominant(directions: Pixels) -> tuple[int, int]:
    """The world axes (0 right, 1 anterior, 2 superior) that array x and y follow most; never the same one."""
    strength = np.abs(directions)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    return max(pairs, key=lambda pair: strength[pair[0], 0] + strength[pair[1], 1])
