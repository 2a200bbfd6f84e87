"""Calming, compiled: slices with all their iterations in cache, volumes in strips with a few iterations at a time.

What lies outside the box that can change is not computed: all inside, closed, or flat so far around that nothing reaches it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels
from slimscan.regions.calm_flow import WHOLE, Flow, exponent
from slimscan.regions.calm_rows import (
    along,
    between,
    compiled,
    flux2,
    flux2_along,
    flux3,
    flux3_along,
    in_plane,
    sum_along,
    sum_rows,
    update2,
    update3,
    width,
)

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]

# Three iterations of 64 rows: 5 MB a core for slices of 512x512, and the best of those tried (1, 3, 5; 16 to 128 rows).
LEVELS, STRIP = 3, 64


@compiled
def slice_diffused(u: Any, q: Any, iterations: int, s: Any, a: Any, shut: bool) -> None:
    """All iterations of one slice, in place, row by row in a wave: iteration t works t rows behind the first.

    u, q: (y, x) of one float type, q = 1 - p, or -1 for closed voxels (which take and give nothing, and whose u is
    finite); shut: whether there are any. s: (6,) of that type: factors of squared differences along z, y, x, and of squared sums of four
    differences along z, y, x. a: (3,): time step over squared spacing along z, y, x. Those along z are not used.
    """
    rows, n = u.shape
    w = np.zeros((6 * iterations + 3, width(n)), u.dtype)
    x, fx, cy = 6 * iterations, 6 * iterations + 1, 6 * iterations + 2
    for front in range(rows + iterations - 1):
        for t in range(max(0, front - rows + 1), min(iterations, front + 1)):
            r = front - t
            dy0, dy1 = 6 * t + (r & 1), 6 * t + 1 - (r & 1)
            cx0, cx1, fy0, fy1 = dy0 + 2, dy1 + 2, dy0 + 4, dy1 + 4
            if r == 0:
                along(n, u, 0, q, 0, w, x, shut)
                sum_along(n, w, x, cx0)
            if r + 1 < rows:
                between(n, u, r, u, r + 1, q, r, r + 1, w, dy1, shut)
                along(n, u, r + 1, q, r + 1, w, x, shut)
                sum_along(n, w, x, cx1)
                flux2(n, w, dy1, q, r, r + 1, cx0, cx1, s[1], s[5], fy1)
            else:
                w[dy1] = 0
                w[fy1] = 0
            sum_rows(n, w, dy0, dy1, cy)
            along(n, u, r, q, r, w, x, shut)
            flux2_along(n, w, x, q, r, cy, s[2], s[4], fx)
            update2(n, u, r, w, fx, fy0, fy1, a[2], a[1])


@compiled
def strip_diffused(
    u: Any,
    q: Any,
    head: Any,
    tail: Any,
    rows: int,
    low: int,
    high: int,
    levels: int,
    s: Any,
    a: Any,
    shut: bool,
    w: Any,
) -> None:
    """Some iterations of rows low..high - 1 of all slices, in place: plane after plane in a wave along z.

    u, q: (z * rows, x) of one float type, and s, a, shut, as in slice_diffused. levels: iterations; level t also makes
    levels - 1 - t rows beyond the strip on either side, which the next levels need. head, tail: (z, n, x), the n rows
    of u before and after the strip, at most `levels`, as they were: others work on those. w: room of
    (10 levels + 1) (high - low + 2 levels) + 6 rows of width(x).
    """
    depth, n = u.shape[0] // rows, u.shape[1]
    first, last = max(0, low - levels), min(rows, high + levels)  # rows that are read
    span = last - first
    # Blocks of `span` rows. Of a level: slices z and z + 1 of u, of the sums along x and along y; faces z and z + 1.
    cz = 10 * levels * span  # this block: sums along z
    x, fx, dy, fy = cz + span, cz + span + 1, cz + span + 2, cz + span + 4  # single rows; two of dy and of fy
    w[cz + span :] = 0  # all others are written before they are read
    for front in range(depth + levels - 1):
        for t in range(max(0, front - depth + 1), min(levels, front + 1)):
            z = front - t
            margin = levels - t
            start, stop = max(0, low - margin), min(rows, high + margin)  # rows that are known at this level
            base, old, new = 10 * t * span, (z & 1) * span, (1 - (z & 1)) * span
            u0, u1 = base + old, base + new
            cx0, cx1, cy0, cy1 = u0 + 2 * span, u1 + 2 * span, u0 + 4 * span, u1 + 4 * span
            dz0, dz1, fz0, fz1 = u0 + 6 * span, u1 + 6 * span, u0 + 8 * span, u1 + 8 * span
            if z == 0:
                if t == 0:
                    w[u0 : u0 + low - first, :n] = head[0]
                    w[u0 + low - first : u0 + high - first, :n] = u[low:high]
                    w[u0 + high - first : u0 + span, :n] = tail[0]
                w[dz0 : dz0 + span] = 0
                w[fz0 : fz0 + span] = 0
                in_plane(n, w, u0 - first, q, 0, cx0 - first, cy0 - first, start, stop, x, dy, shut)
            here, after = z * rows, (z + 1) * rows  # rows of q, u and out
            if z + 1 < depth:
                if t == 0:
                    w[u1 : u1 + low - first, :n] = head[z + 1]
                    w[u1 + low - first : u1 + high - first, :n] = u[after + low : after + high]
                    w[u1 + high - first : u1 + span, :n] = tail[z + 1]
                in_plane(n, w, u1 - first, q, after, cx1 - first, cy1 - first, start, stop, x, dy, shut)
                for y in range(start, stop):
                    k = y - first
                    between(n, w, u0 + k, w, u1 + k, q, here + y, after + y, w, dz1 + k, shut)
                    flux3(
                        n,
                        w,
                        dz1 + k,
                        q,
                        here + y,
                        after + y,
                        cx0 + k,
                        cx1 + k,
                        cy0 + k,
                        cy1 + k,
                        s[0],
                        s[5],
                        s[4],
                        fz1 + k,
                    )
            else:
                w[dz1 : dz1 + span] = 0
                w[fz1 : fz1 + span] = 0
            for k in range(start - first, stop - first):
                sum_rows(n, w, dz0 + k, dz1 + k, cz + k)
            w[fy] = 0
            w[fy + 1] = 0
            lower, upper = max(0, low - margin + 1), min(rows, high + margin - 1)  # rows that this level makes
            for y in range(start, upper):
                k = y - first
                below, above = fy + (y & 1), fy + 1 - (y & 1)
                if y + 1 < stop:
                    between(n, w, u0 + k, w, u0 + k + 1, q, here + y, here + y + 1, w, dy, shut)
                    flux3(
                        n,
                        w,
                        dy,
                        q,
                        here + y,
                        here + y + 1,
                        cx0 + k,
                        cx0 + k + 1,
                        cz + k,
                        cz + k + 1,
                        s[1],
                        s[5],
                        s[3],
                        above,
                    )
                else:
                    w[above] = 0
                if y < lower:
                    continue
                along(n, w, u0 + k, q, here + y, w, x, shut)
                flux3_along(n, w, x, q, here + y, cy0 + k, cz + k, s[2], s[4], s[3], fx)
                fz = fz0 + k, fz1 + k
                if t == levels - 1:
                    update3(n, w, u0 + k, w, fx, below, above, fz[0], fz[1], a[2], a[1], a[0], u, here + y)
                else:
                    made = u0 + 10 * span + k
                    update3(n, w, u0 + k, w, fx, below, above, fz[0], fz[1], a[2], a[1], a[0], w, made)


@compiled
def _loaded(src: Any, weights: Any, padded: bool, padding: Any, times: Any, u: Any, q: Any) -> None:
    """U and q = 1 - p of (rows, x); closed voxels are 0 and -1. weights: bool or float."""
    zero, one = u.dtype.type(0), u.dtype.type(1)
    for r in range(src.shape[0]):
        for i in range(src.shape[1]):
            value = u.dtype.type(src[r, i]) * times
            # A difference with itself is 0 for numbers only.
            shut = (padded and src[r, i] == padding) or value - value != zero
            u[r, i] = zero if shut else value
            q[r, i] = -one if shut else one - u.dtype.type(weights[r, i])


@compiled
def _kept(src: Any, u: Any, q: Any, low: Any, high: Any, out: Any) -> None:
    """Integers: rounded where q > 0, else as they were."""
    for r in range(src.shape[0]):
        for i in range(src.shape[1]):
            value = min(max(np.rint(u[r, i]), low), high)
            out[r, i] = out.dtype.type(value) if q[r, i] > 0 else src[r, i]


@compiled
def _kept_float(src: Any, u: Any, q: Any, times: Any, out: Any) -> None:
    for r in range(src.shape[0]):
        for i in range(src.shape[1]):
            out[r, i] = out.dtype.type(u[r, i] * times) if q[r, i] > 0 else src[r, i]


@compiled
def _live(u: Any, q: Any, before: Any, box: Any) -> None:
    """box: (10,): rows and columns [low, high) where p < 1, and where a sample differs from its neighbours; 0, any closed.

    before: the slice before, or u itself."""
    rows, n = u.shape
    box[0::2] = max(rows, n)
    box[1::2] = 0
    soft = np.zeros(n, np.uint8)
    rough = np.zeros(n, np.uint8)
    closed = np.uint8(0)
    for r in range(rows):
        some = np.uint8(0)
        for i in range(n):
            one = np.uint8(q[r, i] > 0)
            soft[i] |= one
            some |= one
            closed |= np.uint8(q[r, i] < 0)
        if some:
            box[0], box[1] = min(box[0], r), r + 1
        some = np.uint8(0)
        for i in range(n):
            one = np.uint8(u[r, i] != before[r, i])
            rough[i] |= one
            some |= one
        for i in range(n - 1):
            one = np.uint8(u[r, i] != u[r, i + 1])
            rough[i + 1] |= one
            some |= one
        if r > 0:
            for i in range(n):
                one = np.uint8(u[r - 1, i] != u[r, i])
                rough[i] |= one
                some |= one
        if some:
            box[4], box[5] = min(box[4], max(0, r - 1)), r + 1
    box[8], box[9] = 0, closed
    for i in range(n):
        if soft[i]:
            box[2], box[3] = min(box[2], i), i + 1
        if rough[i]:
            box[6], box[7] = min(box[6], max(0, i - 1)), i + 1


def _window(box: NDArray[np.int64], iterations: int, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Rows and columns that must be computed: what may change, and one voxel around; None: nothing changes."""
    found = []
    for axis, count in enumerate(shape):
        soft, rough = box[2 * axis : 2 * axis + 2], box[4 + 2 * axis : 6 + 2 * axis]
        low = max(int(soft[0]), int(rough[0]) - iterations)
        high = min(int(soft[1]), int(rough[1]) + iterations)
        if low >= high:
            return None
        found += [max(0, low - 1), min(count, high + 1)]
    return found[0], found[1], found[2], found[3]


def _slice(pixels: Pixels, weights: NDArray[Any], flow: Flow, out: Pixels) -> None:
    """One slice into `out`."""
    power = exponent(pixels)
    u, q = np.empty(pixels.shape, flow.work), np.empty(pixels.shape, flow.work)
    _load(pixels, weights, flow, power, u, q)
    box = np.empty(10, np.int64)
    _live(u, q, u, box)
    window = _window(box, flow.iterations, pixels.shape)
    if window is None:
        out[...] = pixels
        return
    y0, y1, x0, x1 = window
    s, a = flow.factors(2.0**-power)
    if (y1 - y0, x1 - x0) == pixels.shape:
        slice_diffused(u, q, flow.iterations, s, a, bool(box[9]))
    else:
        part = np.ascontiguousarray(u[y0:y1, x0:x1])
        slice_diffused(part, np.ascontiguousarray(q[y0:y1, x0:x1]), flow.iterations, s, a, bool(box[9]))
        u[y0:y1, x0:x1] = part
    _store(pixels, u, q, power, out)


def _volume(pixels: Pixels, weights: NDArray[Any], flow: Flow, out: Pixels, each: Each) -> None:
    """A volume: every pass makes LEVELS iterations of all strips; those that no one can see change are left out."""
    depth, rows, n = pixels.shape
    power = exponent(pixels)
    u, q = np.empty(pixels.shape, flow.work), np.empty(pixels.shape, flow.work)

    for _ in each(lambda z: _load(pixels[z], weights[z], flow, power, u[z], q[z]), range(depth)):
        pass

    def live(z: int) -> NDArray[np.int64]:
        box = np.empty(10, np.int64)
        _live(u[z], q[z], u[max(0, z - 1)], box)
        return box

    boxes = np.array(list(each(live, range(depth))))
    box = np.where(np.arange(10) % 2, boxes.max(axis=0), boxes.min(axis=0))
    window = _window(box, flow.iterations, (rows, n))
    if window is None:
        out[...] = pixels
        return
    y0, y1, x0, x1 = window
    whole = (y0, y1, x0, x1) == (0, rows, 0, n)
    part = u if whole else np.ascontiguousarray(u[:, y0:y1, x0:x1])
    soft = q if whole else np.ascontiguousarray(q[:, y0:y1, x0:x1])
    height, across = y1 - y0, x1 - x0
    strip = min(STRIP, max(8, -(-height // 2)))
    s, a = flow.factors(2.0**-power)
    flat, weight = part.reshape(depth * height, across), soft.reshape(depth * height, across)
    left, shut = flow.iterations, bool(box[9])
    span = strip + 2 * LEVELS
    held = threading.local()

    def room() -> NDArray[Any]:
        """What strip_diffused works in, one for each thread."""
        if not hasattr(held, "rows"):
            held.rows = np.empty((10 * LEVELS * span + span + 6, width(across)), flow.work)
        rows: NDArray[Any] = held.rows
        return rows

    while left:
        levels = min(LEVELS, left)
        # What lies beside a strip is kept as it is now: the strips work in place, in any order.
        sides = [
            (low, part[:, max(0, low - levels) : low].copy(), part[:, low + strip : low + strip + levels].copy())
            for low in range(0, height, strip)
        ]

        def work(side: tuple[int, NDArray[Any], NDArray[Any]], levels: int = levels) -> None:
            low, below, above = side
            high = min(low + strip, height)
            strip_diffused(flat, weight, below, above, height, low, high, levels, s, a, shut, room())

        for _ in each(work, sides):
            pass
        left -= levels
    if part is not u:
        u[:, y0:y1, x0:x1] = part
    for _ in each(lambda z: _store(pixels[z], u[z], q[z], power, out[z]), range(depth)):
        pass


def _load(pixels: Pixels, weights: NDArray[Any], flow: Flow, power: int, u: NDArray[Any], q: NDArray[Any]) -> None:
    padding = pixels.dtype.type(0 if flow.padding is None else flow.padding)
    _loaded(pixels, weights, flow.padding is not None, padding, flow.work.type(2.0**-power), u, q)


def _store(pixels: Pixels, u: NDArray[Any], q: NDArray[Any], power: int, out: Pixels) -> None:
    work = u.dtype.type
    if pixels.dtype.kind == "f":
        _kept_float(pixels, u, q, work(2.0**power), out)
    else:
        ends = np.iinfo(pixels.dtype)
        _kept(pixels, u, q, work(ends.min), work(min(ends.max, int(WHOLE))), out)


def calmed(pixels: Pixels, weights: NDArray[Any], flow: Flow, each: Each = map) -> Pixels:
    """As slimscan.regions.calm_numpy.calmed, within rounding."""
    given = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels  # which numba does not know
    out = np.empty_like(given)
    if flow.dims == 3:
        _volume(given, weights, flow, out, each)
    else:
        for _ in each(lambda z: _slice(given[z], weights[z], flow, out[z]), range(len(given))):
            pass
    return out.astype(pixels.dtype, copy=False)


@compiled
def _squares(slab: Any, z: int, dims: int, inverse: Any, padded: bool, padding: Any, sums: Any) -> None:
    """sums[0]: sum of squared gradient magnitudes of slice z over open voxels; sums[1]: their count."""
    depth, rows, n = slab.shape
    row = np.empty((5, n + 2))
    total = np.zeros(n)
    count = 0
    nan = np.nan
    # Rows of `row`: this one (with a closed voxel on either side), the ones before and after it, below and above.
    for y in range(rows):
        for which in range(5):
            zz = z + (which == 4) - (which == 3)
            yy = y + (which == 2) - (which == 1)
            there = 0 <= yy < rows and 0 <= zz < depth and (dims == 3 or which < 3)
            row[which, 0] = nan
            row[which, n + 1] = nan
            if not there:
                row[which] = nan
                continue
            for i in range(n):
                value = np.float64(slab[zz, yy, i])
                shut = (padded and slab[zz, yy, i] == padding) or value - value != 0.0
                row[which, i + 1] = nan if shut else value
        for i in range(n):
            here = row[0, i + 1]
            square = 0.0
            left, right = here - row[0, i], row[0, i + 2] - here
            both = (left if left == left else 0.0) + (right if right == right else 0.0)
            square += (both * inverse[2]) ** 2
            left, right = here - row[1, i + 1], row[2, i + 1] - here
            both = (left if left == left else 0.0) + (right if right == right else 0.0)
            square += (both * inverse[1]) ** 2
            left, right = here - row[3, i + 1], row[4, i + 1] - here
            both = (left if left == left else 0.0) + (right if right == right else 0.0)
            square += (both * inverse[0]) ** 2
            total[i] += square
            count += here == here
    sums[0] = total.sum()
    sums[1] = count


def gradient_squares(slab: Pixels, first: int, last: int, flow: Flow) -> tuple[float, int]:
    """As slimscan.regions.calm_numpy.gradient_squares."""
    given = slab.astype(np.float32) if slab.dtype == np.float16 else slab
    padding = given.dtype.type(0 if flow.padding is None else flow.padding)
    sums = np.zeros((last - first, 2))
    for z in range(first, last):
        _squares(given, z, flow.dims, 0.5 / np.array(flow.spacing), flow.padding is not None, padding, sums[z - first])
    return float(sums[:, 0].sum()), int(sums[:, 1].sum())
