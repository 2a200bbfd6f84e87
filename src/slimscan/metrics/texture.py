"""Weighted total variation in boxes around annotations: how much texture and edge compression left standing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slimscan.errors import InputError
from slimscan.metrics.metric import Metric
from slimscan.nouns import Pixels


def wtv_per_box(plane: Pixels, boxes: ArrayLike) -> NDArray[np.float64]:
    """The weighted total variation of each box in one slice.

    plane: (y, x), or (y, x, c) whose samples are averaged. boxes: rows (y0, x0, y1, x1) in voxels, y1 and x1 excluded.
    Forward differences read one pixel outside the box; beyond the image's edge they are 0. Unit: that of the samples.
    InputError: a box that is empty or outside the slice. No boxes give an empty array.
    """
    rows = _rows(boxes, 4)
    height, width = plane.shape[:2]
    found = np.empty(len(rows))
    for n, (y0, x0, y1, x1) in enumerate(rows.tolist()):
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise InputError(
                f"box {n} (y0, x0, y1, x1) = ({y0}, {x0}, {y1}, {x1}) is empty or outside the slice of "
                f"{height}x{width}; give 0 <= y0 < y1 <= {height} and 0 <= x0 < x1 <= {width}"
            )
        part = plane[y0 : y1 + 1, x0 : x1 + 1].astype(np.float64)
        down = np.zeros((y1 - y0, x1 - x0, *plane.shape[2:]))
        right = np.zeros_like(down)
        step = part[1:, : x1 - x0] - part[:-1, : x1 - x0]
        down[: len(step)] = step
        step = part[: y1 - y0, 1:] - part[: y1 - y0, :-1]
        right[:, : step.shape[1]] = step
        found[n] = np.hypot(down, right).mean()
    return found


def wtv(image: ArrayLike, boxes: ArrayLike) -> float:
    """Weighted total variation: the mean over all boxes, in the unit of the samples; NaN when there are no boxes.

    image: (z, y, x[, c]) with boxes of rows (slice, y0, x0, y1, x1), or (y, x) with rows (y0, x0, y1, x1); y1 and x1
    are excluded. Reported against the raw image as 100 (wtv(test) / wtv(raw) - 1) percent.
    InputError: an empty image, boxes of another form, or outside the image. Source: Cunha 2023, eq. 7.
    """
    pixels = np.asarray(image)
    if pixels.size == 0:
        raise InputError(f"the image has no samples, its shape is {pixels.shape}; give an image with at least one")
    if pixels.ndim == 2:
        return _mean(wtv_per_box(pixels, boxes))
    if pixels.ndim not in (3, 4):
        raise InputError(f"the image is {pixels.shape}; wtv takes (y, x), (z, y, x) or (z, y, x, c)")
    by_slice = boxes_by_slice(boxes, pixels.shape[0])
    return _mean(np.concatenate([np.empty(0), *(wtv_per_box(pixels[z], rows) for z, rows in by_slice.items())]))


def boxes_by_slice(boxes: ArrayLike, slices: int) -> dict[int, NDArray[np.int64]]:
    """{slice: rows (y0, x0, y1, x1)}, slices ascending; InputError for rows of another form or outside the volume."""
    rows = _rows(boxes, 5)
    outside = (rows[:, 0] < 0) | (rows[:, 0] >= slices)
    if outside.any():
        n = int(np.flatnonzero(outside)[0])
        raise InputError(f"box {n} is on slice {rows[n, 0]}; the image has slices 0 to {slices - 1}")
    return {int(z): rows[rows[:, 0] == z, 1:] for z in np.unique(rows[:, 0])}


def boxes_from_mask(mask: ArrayLike) -> NDArray[np.int64]:
    """One bounding box for every connected piece of every slice: rows (slice, y0, x0, y1, x1), y1 and x1 excluded.

    mask: (z, y, x), non-zero is inside; pieces that touch at a corner are one (8 neighbours). Boxes come slice by
    slice, top to bottom. An empty mask gives shape (0, 5). Source: Cunha 2023, "Texture Analysis", the boxes B_n.
    """
    from scipy import ndimage

    voxels = np.asarray(mask)
    if voxels.ndim != 3:
        raise InputError(f"the mask is {voxels.shape}; boxes_from_mask takes (z, y, x)")
    rows: list[tuple[int, int, int, int, int]] = []
    for z in range(voxels.shape[0]):
        labels, _ = ndimage.label(voxels[z] != 0, structure=np.ones((3, 3), np.int8))
        rows += [(z, y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(labels)]
    return np.array(rows, np.int64).reshape(-1, 5)


def _rows(boxes: ArrayLike, columns: int) -> NDArray[np.int64]:
    form = "(slice, y0, x0, y1, x1)" if columns == 5 else "(y0, x0, y1, x1)"
    rows = np.asarray(boxes)
    if rows.size == 0:
        return np.empty((0, columns), np.int64)
    whole = rows.astype(np.int64) if rows.dtype.kind in "iuf" and np.isfinite(rows).all() else None
    if whole is None or rows.ndim != 2 or rows.shape[1] != columns or not np.array_equal(whole, rows):
        raise InputError(f"boxes of shape {rows.shape} and type {rows.dtype}; give rows {form} of whole numbers")
    return whole


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


METRICS = (
    Metric(
        "wtv", "Weighted total variation in annotation boxes", "stored units", "none", 0.0, math.inf,
        "mean over boxes of sum over the box of sqrt((I(i+1,j)-I(i,j))^2 + (I(i,j+1)-I(i,j))^2) / (H W)",
        "Cunha 2023, eq. 7", wtv, "texture",
    ),
)  # fmt: skip
