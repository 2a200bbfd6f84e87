"""Wavelets along the first axis by lifting, in place and interleaved, with symmetric extension at both ends.

Daubechies and Sweldens (1998); the filters are those of JPEG 2000 (ISO/IEC 15444-1 annex F): the reversible 5/3 on
integers, and the 9/7 on floats, here scaled to (nearly) orthonormal so that an error in any plane counts the same.
After `levels` levels, plane i holds detail of level k where 2**k is the largest power of two that divides i, or the
coarse approximation where 2**levels does. A level needs two planes; on fewer it does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[Any]

_STEPS = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
_LOW = np.float32(np.sqrt(2) / 1.230174104914001)


def forward97(planes: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """The 9/7 of float32 (z, ...), as a new array of the same shape."""
    out = planes.copy()
    for level in range(levels):
        line = out[:: 2**level]
        if len(line) < 2:
            break
        for index, step in enumerate(_STEPS):
            _lift(line, 1 - index % 2, np.float32(step))
        line[0::2] *= _LOW
        line[1::2] /= _LOW
    return out


def inverse97(planes: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """What forward97 was given, but for float rounding."""
    out = planes.copy()
    for level in reversed(range(levels)):
        line = out[:: 2**level]
        if len(line) < 2:
            continue
        line[0::2] /= _LOW
        line[1::2] *= _LOW
        for index, step in reversed(tuple(enumerate(_STEPS))):
            _lift(line, 1 - index % 2, np.float32(-step))
    return out


def forward53(planes: NDArray[np.int32], levels: int) -> NDArray[np.int32]:
    """The reversible 5/3 of int32 (z, ...): 15444-1 equations F-5 and F-6."""
    out = planes.copy()
    for level in range(levels):
        line = out[:: 2**level]
        if len(line) < 2:
            break
        line[1::2] -= _around(line, 1) >> 1
        line[0::2] += (_around(line, 0) + 2) >> 2
    return out


def inverse53(planes: NDArray[np.int32], levels: int) -> NDArray[np.int32]:
    """Exactly what forward53 was given."""
    out = planes.copy()
    for level in reversed(range(levels)):
        line = out[:: 2**level]
        if len(line) < 2:
            continue
        line[0::2] -= (_around(line, 0) + 2) >> 2
        line[1::2] += _around(line, 1) >> 1
    return out


def _lift(line: Planes, first: int, step: np.float32) -> None:
    """Add step times both neighbours to every second plane, from plane `first` on."""
    line[first::2] += step * _around(line, first)


def _around(line: Planes, first: int) -> Planes:
    """The sum of both neighbours of planes first, first + 2, ...; past an end stands the neighbour from the other side."""
    others = line[1 - first :: 2]
    count = len(line[first::2])
    if first:  # neighbours of plane 2i + 1 are evens i and i + 1
        before, after = others[:count], others[1:]
        after = after if len(after) == count else np.concatenate([after, others[-1:]])
    else:  # neighbours of plane 2i are odds i - 1 and i
        before = np.concatenate([others[:1], others[: count - 1]])
        after = others if len(others) == count else np.concatenate([others, others[-1:]])
    return np.asarray(before + after)
