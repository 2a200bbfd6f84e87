"""A pyramid as a quadtree: a tile is the 2x2 means of the four below it; a subtree is a piece of work of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError

Pixels = NDArray[np.uint8]
Made = tuple[int, int, int, bytes, bool]  # level, row, column, payload, whether all its pixels are one colour


@dataclass(frozen=True)
class Subtree:
    """A piece of the pyramid: called with (level, row, col), it gives every tile below, and the pixels of its top."""

    shapes: tuple[tuple[int, int], ...]
    side: int
    tile: Callable[[int, int], Pixels]
    encode: Callable[[Pixels], bytes]

    def __call__(self, where: tuple[int, int, int]) -> tuple[list[Made], Pixels | None]:
        """The tiles below and at `where`, and the pixels of that one; None outside the level."""
        made: list[Made] = []
        return made, self.grow(*where, made.append, lambda _: None)

    def grow(
        self,
        level: int,
        row: int,
        col: int,
        put: Callable[[Made], object],
        known: Callable[[int], Pixels | None],
    ) -> Pixels | None:
        """The pixels of one tile, its own and all tiles below it put; None outside the level."""
        height, width = (full - k * self.side for full, k in zip(self.shapes[level], (row, col), strict=True))
        if height <= 0 or width <= 0:
            return None
        pixels = known(level)
        if pixels is not None:
            return pixels
        if level:
            below = [self.grow(level - 1, 2 * row + y, 2 * col + x, put, known) for y in (0, 1) for x in (0, 1)]
            pixels = halved(below)
        else:
            pixels = np.asarray(self.tile(row, col))
            if pixels.shape != (self.side, self.side, 3) or pixels.dtype != np.uint8:
                raise InputError(
                    f"tile ({row}, {col}): want uint8 of {(self.side, self.side, 3)}, it is {pixels.dtype} of {pixels.shape}"
                )
        if height < self.side or width < self.side:  # means must not know what lies outside
            inner = pixels[: min(height, self.side), : min(width, self.side)]
            pixels = np.pad(inner, [(0, self.side - n) for n in inner.shape[:2]] + [(0, 0)], mode="edge")
        put((level, row, col, self.encode(pixels), bool((pixels == pixels[0, 0]).all())))
        return pixels


def halved(below: Sequence[Pixels | None]) -> Pixels:
    """(n, n, 3): means of 2x2 pixels, halves rounded up, of four tiles (n, n, 3): upper left and right, lower left and right.

    A tile that lies outside (None) repeats the border of the one beside it.
    """
    upper, right, lower, corner = below
    assert upper is not None
    n = len(upper)
    big = np.empty((2 * n, 2 * n, 3), np.uint16)
    big[:n, :n] = upper
    big[:n, n:] = upper[:, -1:] if right is None else right
    big[n:, :n] = big[n - 1, :n] if lower is None else lower
    big[n:, n:] = corner if corner is not None else big[n:, n - 1 : n] if right is None else big[n - 1, n:]
    return ((big[::2, ::2] + big[1::2, ::2] + big[::2, 1::2] + big[1::2, 1::2] + 2) >> 2).astype(np.uint8)


def shapes_of(shape: tuple[int, int], side: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of the levels, each half of the one before, rounded up, to the one that fits a tile."""
    shapes = [shape]
    while max(shapes[-1]) > side:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    return tuple(shapes)


def blocks_of(shapes: Sequence[tuple[int, int]], side: int, depth: int) -> Iterator[tuple[int, int, int]]:
    """The subtrees in the order in which grow() asks for them."""

    def visit(level: int, row: int, col: int) -> Iterator[tuple[int, int, int]]:
        if row * side >= shapes[level][0] or col * side >= shapes[level][1]:
            return
        if level == depth:
            yield level, row, col
            return
        for y in (0, 1):
            for x in (0, 1):
                yield from visit(level - 1, 2 * row + y, 2 * col + x)

    return visit(len(shapes) - 1, 0, 0)
