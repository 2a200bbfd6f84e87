"""One slice as it is hung: grey values, masks and geometry turned the same way, cut to what matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels, Volume
from slimscan.report.again import Again
from slimscan.report.view import View, view_of

Plane = NDArray[np.float64]
_WHOLE = 160  # a picture with no side above this many pixels is shown whole


@dataclass(frozen=True)
class Cut:
    """A slice turned for viewing. original, decoded: (rows, columns) in the shown unit. masks: (rows, columns) by name.

    cropped: whether it is a part. aspect: height of a pixel / its width.
    """

    original: Plane
    decoded: Plane
    masks: Mapping[str, NDArray[np.bool_]]
    view: View
    window: tuple[float, float]
    unit: str
    aspect: float
    cropped: bool


def cut(found: Again, masks: Mapping[str, Pixels], z: int) -> Cut:
    """Slice z of a case, cut around its masks when it is large; colour samples are averaged."""
    volume = found.original
    view = view_of(volume)
    original, decoded = view.picture(_grey(volume, z)), view.picture(_grey(found.decoded, z))
    shown = {name: view.picture(np.asarray(mask[z] != 0)) for name, mask in masks.items()}
    box = _box(original.shape, shown)
    inside = original[box]
    low, high = (float(end) for end in np.percentile(inside, (0.5, 99.5)))
    if not high > low:
        low, high = low - 0.5, low + 0.5
    aspect = view.row_mm / view.column_mm if view.row_mm and view.column_mm else 1.0
    unit = volume.unit or ("stored units" if (volume.slope, volume.intercept) == (1, 0) else "real units")
    whole = inside.shape == original.shape
    return Cut(
        inside,
        decoded[box],
        {name: mask[box] for name, mask in shown.items()},
        view,
        (low, high),
        unit,
        aspect,
        not whole,
    )


def letters(axes: Any, view: View) -> None:
    """R, L, A, P, S, I at the edges, where the file says how the patient lies."""
    from matplotlib import patheffects

    outline = [patheffects.withStroke(linewidth=2.2, foreground="black")]
    places = (
        (0.5, 0.98, "center", "top"),
        (0.5, 0.02, "center", "bottom"),
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
    )
    for letter, (x, y, across, up) in zip(view.edges, places, strict=False):
        axes.text(
            x,
            y,
            letter,
            ha=across,
            va=up,
            transform=axes.transAxes,
            color="white",
            fontsize=9.5,
            fontweight="bold",
            path_effects=outline,
        )


def hang(axes: Any, title: str) -> None:
    """A picture without ticks and frame."""
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def outline(
    axes: Any, mask: NDArray[np.bool_], colour: str, style: str = "-", width: float = 1.6, halo: float = 1.3
) -> None:
    """The border of a mask along the edges of its pixels, with a dark halo so that it reads on any grey."""
    from matplotlib import patheffects
    from matplotlib.collections import LineCollection

    segments: Any = _edges(mask)
    if len(segments):
        dark = (
            [patheffects.withStroke(linewidth=width + halo, foreground="black", alpha=0.55)] if style == "-" else None
        )
        axes.add_collection(
            LineCollection(
                segments, colors=colour, linewidths=width, linestyles=style, path_effects=dark, capstyle="projecting"
            )
        )


def tall(one: Cut, width: float) -> float:
    """Inches of height of a picture that is `width` inches wide."""
    rows, columns = one.original.shape
    return float(np.clip(width * rows * one.aspect / columns, 0.35 * width, 1.7 * width))


def _edges(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    padded = np.pad(mask, 1)
    down = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])  # between rows
    right = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])  # between columns
    across = [((c - 0.5, r - 0.5), (c + 0.5, r - 0.5)) for r, c in down]
    upright = [((c - 0.5, r - 0.5), (c - 0.5, r + 0.5)) for r, c in right]
    return np.asarray([*across, *upright], np.float64)


def _grey(volume: Volume, z: int) -> Plane:
    plane = volume.slices(z, z + 1)[0].astype(np.float64) * volume.slope + volume.intercept
    return np.asarray(plane.mean(axis=2) if plane.ndim == 3 else plane, np.float64)


def _box(shape: tuple[int, ...], masks: Mapping[str, NDArray[np.bool_]]) -> tuple[slice, slice]:
    union = np.zeros(shape[:2], bool)
    for mask in masks.values():
        union |= mask
    if max(shape[:2]) <= _WHOLE or not union.any():
        return slice(None), slice(None)
    parts = []
    hits = [np.flatnonzero(union.any(axis=1 - axis)) for axis in range(2)]
    side = max(_WHOLE // 2, round(1.5 * max(int(hit[-1] - hit[0]) + 1 for hit in hits)))
    for axis, hit in enumerate(hits):
        start = min(max((int(hit[0]) + int(hit[-1])) // 2 - side // 2, 0), max(shape[axis] - side, 0))
        parts.append(slice(start, start + side))
    return parts[0], parts[1]
