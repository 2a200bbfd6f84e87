"""The equations of slimscan.regions.calm, compiled: rows as vectors, several iterations while the rows are in cache.

Rows are named by number in 2D arrays: views would be counted, with a lock, for each of them. Every loop writes one row
and reads few, so that LLVM proves them apart and uses the widest vectors. There is no fast-math: with `fmuladd` written out, a voxel's result does not depend on where in a vector, a strip or a slab it lay,
so that slabs join without a seam. Floats are float32 or float64; all functions release the interpreter's lock.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

F = TypeVar("F")
# Their types describe the functions that generate code, not those that compiled code calls.
_intrinsic: Any = intrinsic
_njit: Any = njit
_function: Any = cgutils.get_or_insert_function

_LN2 = math.log(2.0)
# Taylor's series of 2^f on -1/2..1/2: the remainder is under 2^-22 after 7 terms and under 2^-57 after 14.
_TERMS = [_LN2**power / math.factorial(power) for power in range(14)]
_F32 = tuple(np.float32(term) for term in _TERMS[:7])
_F64 = tuple(_TERMS)
# Adding 1.5 * 2^mantissa rounds to a whole number and leaves it in the lowest bits.
_MAGIC32, _MOST32 = np.float32(1.5 * 2**23), np.float32(126)
_MAGIC64, _MOST64 = 1.5 * 2.0**52, 1022.0


@_intrinsic  # type: ignore[untyped-decorator]
def _scaled(typing: Any, value: Any, whole: Any) -> Any:  # noqa: ARG001 - numba's signature
    """Value times 2^n, n in the lowest bits of whole."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        bits, shift = (32, 23) if signature.return_type == types.float32 else (64, 52)
        integer = ir.IntType(bits)
        first, second = (builder.bitcast(one, integer) for one in arguments)
        moved = builder.shl(second, ir.Constant(integer, shift))
        return builder.bitcast(builder.add(first, moved), arguments[0].type)

    return value(value, whole), generate


@_intrinsic  # type: ignore[untyped-decorator]
def _fma(typing: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    """A * b + c, rounded once where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        kind = arguments[0].type
        name = "llvm.fmuladd.f32" if signature.return_type == types.float32 else "llvm.fmuladd.f64"
        called = _function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(called, arguments)

    return a(a, b, c), generate


def _halved(s: Any) -> Any:
    """2^-s for s >= 0, in the type of s; at least the smallest normal number."""
    raise NotImplementedError  # compiled below


@overload(_halved)
def _halved_typed(s: Any) -> Any:
    if s == types.float32:

        def single(s: Any) -> Any:
            s = min(s, _MOST32)
            whole = _MAGIC32 - s
            f = (_MAGIC32 - whole) - s
            p = _fma(f, _F32[6], _F32[5])
            p = _fma(f, p, _F32[4])
            p = _fma(f, p, _F32[3])
            p = _fma(f, p, _F32[2])
            p = _fma(f, p, _F32[1])
            p = _fma(f, p, _F32[0])
            return _scaled(p, whole)

        return single

    def double(s: Any) -> Any:
        s = min(s, _MOST64)
        whole = _MAGIC64 - s
        f = (_MAGIC64 - whole) - s
        p = _fma(f, _F64[13], _F64[12])
        p = _fma(f, p, _F64[11])
        p = _fma(f, p, _F64[10])
        p = _fma(f, p, _F64[9])
        p = _fma(f, p, _F64[8])
        p = _fma(f, p, _F64[7])
        p = _fma(f, p, _F64[6])
        p = _fma(f, p, _F64[5])
        p = _fma(f, p, _F64[4])
        p = _fma(f, p, _F64[3])
        p = _fma(f, p, _F64[2])
        p = _fma(f, p, _F64[1])
        p = _fma(f, p, _F64[0])
        return _scaled(p, whole)

    return double


def compiled(function: F) -> F:
    """Compiled at the first call and kept on disk; the interpreter's lock is free, and x / 0 is infinite as in NumPy."""
    made: F = _njit(nogil=True, cache=True, error_model="numpy")(function)
    return made


@compiled
def between(n: int, A: Any, a: int, B: Any, b: int, q: Any, qa: int, qb: int, w: Any, o: int, shut: bool) -> None:
    """w[o] = B[b] - A[a], or 0 across a closed face; q[qa], q[qb]: 1 - p of both sides. shut: some voxel is closed."""
    if shut:
        for i in range(n):
            w[o, i] = B[b, i] - A[a, i] if min(q[qa, i], q[qb, i]) >= 0 else w.dtype.type(0)
    else:
        for i in range(n):
            w[o, i] = B[b, i] - A[a, i]


@compiled
def along(n: int, A: Any, a: int, q: Any, k: int, w: Any, o: int, shut: bool) -> None:
    """w[o, i + 1] = A[a, i + 1] - A[a, i], or 0 across a closed face; w[o, 0] and w[o, n] stay 0."""
    if shut:
        for i in range(n - 1):
            w[o, i + 1] = A[a, i + 1] - A[a, i] if min(q[k, i], q[k, i + 1]) >= 0 else w.dtype.type(0)
    else:
        for i in range(n - 1):
            w[o, i + 1] = A[a, i + 1] - A[a, i]


@compiled
def sum_rows(n: int, w: Any, a: int, b: int, o: int) -> None:
    """w[o] = w[a] + w[b]."""
    for i in range(n):
        w[o, i] = w[a, i] + w[b, i]


@compiled
def sum_along(n: int, w: Any, a: int, o: int) -> None:
    """w[o, i] = w[a, i] + w[a, i + 1]: the two faces of a voxel."""
    for i in range(n):
        w[o, i] = w[a, i] + w[a, i + 1]


@compiled
def flux2(n: int, w: Any, d: int, q: Any, qa: int, qb: int, a0: int, a1: int, sd: Any, sa: Any, o: int) -> None:
    """w[o] = min(q) 2^-sqrt(sd d^2 + sa (a0 + a1)^2) d across the faces between two rows."""
    for i in range(n):
        first = w[a0, i] + w[a1, i]
        steep = math.sqrt(_fma(sd * w[d, i], w[d, i], sa * first * first))
        w[o, i] = min(q[qa, i], q[qb, i]) * _halved(steep) * w[d, i]


@compiled
def flux2_along(n: int, w: Any, d: int, q: Any, k: int, a: int, sd: Any, sa: Any, o: int) -> None:
    """The same across the faces between the voxels of a row; face i + 1 lies after voxel i."""
    for i in range(n - 1):
        first = w[a, i] + w[a, i + 1]
        steep = math.sqrt(_fma(sd * w[d, i + 1], w[d, i + 1], sa * first * first))
        w[o, i + 1] = min(q[k, i], q[k, i + 1]) * _halved(steep) * w[d, i + 1]


@compiled
def flux3(
    n: int,
    w: Any,
    d: int,
    q: Any,
    qa: int,
    qb: int,
    a0: int,
    a1: int,
    b0: int,
    b1: int,
    sd: Any,
    sa: Any,
    sb: Any,
    o: int,
) -> None:
    """As flux2, with two directions across."""
    for i in range(n):
        first, second = w[a0, i] + w[a1, i], w[b0, i] + w[b1, i]
        steep = math.sqrt(_fma(sd * w[d, i], w[d, i], _fma(sa * first, first, sb * second * second)))
        w[o, i] = min(q[qa, i], q[qb, i]) * _halved(steep) * w[d, i]


@compiled
def flux3_along(n: int, w: Any, d: int, q: Any, k: int, a: int, b: int, sd: Any, sa: Any, sb: Any, o: int) -> None:
    """As flux2_along, with two directions across."""
    for i in range(n - 1):
        first, second = w[a, i] + w[a, i + 1], w[b, i] + w[b, i + 1]
        steep = math.sqrt(_fma(sd * w[d, i + 1], w[d, i + 1], _fma(sa * first, first, sb * second * second)))
        w[o, i + 1] = min(q[k, i], q[k, i + 1]) * _halved(steep) * w[d, i + 1]


@compiled
def update2(n: int, u: Any, r: int, w: Any, fx: int, fy0: int, fy1: int, ax: Any, ay: Any) -> None:
    """What flows in less what flows out, added to row r of u."""
    for i in range(n):
        u[r, i] = u[r, i] + _fma(ax, w[fx, i + 1] - w[fx, i], ay * (w[fy1, i] - w[fy0, i]))


@compiled
def update3(
    n: int,
    A: Any,
    a: int,
    w: Any,
    fx: int,
    fy0: int,
    fy1: int,
    fz0: int,
    fz1: int,
    ax: Any,
    ay: Any,
    az: Any,
    out: Any,
    o: int,
) -> None:
    """out[o] = A[a] and what flows in less what flows out."""
    for i in range(n):
        change = _fma(ay, w[fy1, i] - w[fy0, i], az * (w[fz1, i] - w[fz0, i]))
        out[o, i] = A[a, i] + _fma(ax, w[fx, i + 1] - w[fx, i], change)


@compiled
def width(n: int) -> int:
    """Samples of a row of n + 1 with room up to a whole line of the cache, and one more: rows stay apart in it."""
    return (n // 16 + 2) * 16


@compiled
def in_plane(
    n: int, w: Any, u: int, q: Any, k: int, cx: int, cy: int, start: int, stop: int, x: int, dy: int, shut: bool
) -> None:
    """Sums of the two differences of every voxel along x and along y in rows start..stop - 1 of one slice.

    u, cx, cy: where row 0 of the slice lies in w (or would). k: the same in q. x, dy, dy + 1: rows for use here.
    """
    w[dy] = 0
    w[dy + 1] = 0
    for y in range(start, stop):
        along(n, w, u + y, q, k + y, w, x, shut)
        sum_along(n, w, x, cx + y)
        below, above = dy + (y & 1), dy + 1 - (y & 1)
        if y + 1 < stop:
            between(n, w, u + y, w, u + y + 1, q, k + y, k + y + 1, w, above, shut)
        else:
            w[above] = 0
        sum_rows(n, w, below, above, cy + y)
