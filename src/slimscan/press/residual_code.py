"""An exact coder of what a lossy base left out, given the base: prediction, contexts, binary arithmetic coding.

A residual by itself looks like noise to an image codec. Beside the decoded base it does not: a linear predictor of 22
neighbours (residuals that are known already, in this plane and the one before, and the base all around), fitted to
every plane by least squares and carried in the chunk, removes what the base's own filters and thresholds left. The
error that remains is coded bit by bit, its probabilities mixed from five contexts of local activity (as Wu and Memon
1997, CALIC, choose theirs; mixing in the logistic domain after Mahoney 2005, PAQ).

Integers only, so that every machine decodes the same. numba compiles it (about 3 million voxels a second and core);
without numba the same functions run in plain Python, some hundred times slower.

    u8 sets of coefficients | i16 coefficients (sets, 22), in 1/16384 | stream          (little endian)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np

from slimscan.errors import CodecError
from slimscan.nouns import Pixels

TAPS = 22
ONE = 14  # bits behind the point of a coefficient
EDGE = 2  # planes are framed by so many voxels, so that every voxel has all neighbours
LEVELS = 24  # of local activity
INPUTS = 6  # probabilities that are mixed: five contexts and one constant
NODES = 66  # zero?, 6 bits of the token as a tree, sign
SIGN = 65
FEW = 32768  # voxels of a plane below which a chunk shares one set of coefficients
SPAN = 17  # bits: errors are taken modulo 2**SPAN at most, which the tokens reach

Function = TypeVar("Function", bound=Callable[..., Any])

try:
    import numba

    COMPILED = True
except ImportError:
    COMPILED = False


def _jit(function: Function) -> Function:
    if not COMPILED:
        return function
    try:
        return cast("Function", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder to keep what was compiled in
        return cast("Function", numba.njit(nogil=True)(function))


@_jit
def _taps(rest: Any, base: Any, z: int, y: int, x: int, out: Any) -> None:
    """What is known around a voxel: residuals before it, the base around it less the base there."""
    here = base[z, y, x]
    out[0] = rest[z, y, x - 1]
    out[1] = rest[z, y - 1, x]
    out[2] = rest[z, y - 1, x - 1]
    out[3] = rest[z, y - 1, x + 1]
    out[4] = rest[z, y, x - 2]
    out[5] = rest[z, y - 2, x]
    out[6] = rest[z, y - 1, x + 2]
    out[7] = base[z, y, x - 1] - here
    out[8] = base[z, y, x + 1] - here
    out[9] = base[z, y - 1, x] - here
    out[10] = base[z, y + 1, x] - here
    out[11] = base[z, y - 1, x - 1] - here
    out[12] = base[z, y - 1, x + 1] - here
    out[13] = base[z, y + 1, x - 1] - here
    out[14] = base[z, y + 1, x + 1] - here
    out[15] = base[z + 1, y, x] - here if z + 1 < base.shape[0] else 0
    if z > 0:
        out[16] = rest[z - 1, y, x]
        out[17] = rest[z - 1, y, x - 1]
        out[18] = rest[z - 1, y, x + 1]
        out[19] = rest[z - 1, y - 1, x]
        out[20] = rest[z - 1, y + 1, x]
        out[21] = base[z - 1, y, x] - here
    else:
        out[16:22] = 0


@_jit
def _moments(rest: Any, base: Any, z: int, step: int, square: Any, right: Any) -> None:
    """Normal equations of one plane's least squares, from every `step`-th voxel."""
    taps = np.zeros(22, np.int64)
    for y in range(2, rest.shape[1] - 2):
        for x in range(2 + y % step, rest.shape[2] - 2, step):
            _taps(rest, base, z, y, x, taps)
            value = float(rest[z, y, x])
            for i in range(22):
                tap = float(taps[i])
                right[i] += tap * value
                for j in range(i + 1):
                    square[i, j] += tap * float(taps[j])


@_jit
def _level(value: int) -> int:
    """The logarithm of an activity in half steps, 0..23."""
    found = 0
    value = value + 4
    while value >= 8:
        value >>= 1
        found += 2
    if value >= 6:
        found += 1
    return min(found, 23)


@_jit
def _bit(
    bit: int, node: int, spots: Any, chances: Any, counts: Any, weights: Any, tables: Any, state: Any, stream: Any
) -> int:
    """One binary decision, written (state[4] 0) or read (1), and everything learns from it. chances in 1/65536."""
    stretch, squash, steps = tables[0], tables[1], tables[2]
    dot = 0
    for i in range(5):
        state[5 + i] = stretch[chances[spots[i], node] >> 4]
        dot += weights[node, i] * state[5 + i]
    dot += weights[node, 5] * 256
    dot >>= 16
    dot = max(-2047, min(2047, dot))
    chance = squash[dot + 2048]
    low, high = state[0], state[1]
    span = high - low
    middle = low + (span >> 16) * chance + (((span & 65535) * chance) >> 16)
    if state[4]:
        bit = 1 if state[2] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & 0xFF000000 == 0:
        if state[4]:
            state[2] = (state[2] << 8) & 0xFFFFFFFF
            if state[3] < stream.size:
                state[2] |= stream[state[3]]
        else:
            stream[state[3]] = high >> 24
        state[3] += 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    state[0], state[1] = low, high
    missed = ((bit << 16) - chance) >> 4
    for i in range(5):
        weights[node, i] += (state[5 + i] * missed * 6 + 32768) >> 16
        spot = spots[i]
        count = counts[spot, node]
        chances[spot, node] += (((bit << 16) - chances[spot, node]) * steps[count]) >> 16
        if count < 160:
            counts[spot, node] = count + 1
    weights[node, 5] += (256 * missed * 6 + 32768) >> 16
    return bit


@_jit
def _run(rest: Any, base: Any, coefficients: Any, bits: int, tables: Any, stream: Any, reading: bool) -> int:
    """All planes, framed: residuals to a stream (its length comes back), or a stream to residuals."""
    planes, height, width = rest.shape
    half, wrap = 1 << (bits - 1), (1 << bits) - 1
    errors = np.zeros((2, height, width), np.int64)
    chances = np.full((5 * 576, 66), 32768, np.int64)
    counts = np.zeros((5 * 576, 66), np.int64)
    weights = np.full((66, 6), 20000, np.int64)
    weights[:, 5] = 0
    taps, spots = np.zeros(22, np.int64), np.zeros(5, np.int64)
    state = np.zeros(10, np.int64)  # low, high, code, place in the stream, reading, stretched chances
    state[1] = 0xFFFFFFFF
    if reading:
        state[4] = 1
        for _ in range(4):
            state[2] <<= 8
            if state[3] < stream.size:
                state[2] |= stream[state[3]]
            state[3] += 1
    for z in range(planes):
        now, before = errors[z & 1], errors[1 - (z & 1)]
        fit = coefficients[min(z, coefficients.shape[0] - 1)]
        for y in range(2, height - 2):
            for x in range(2, width - 2):
                _taps(rest, base, z, y, x, taps)
                total = 0
                for i in range(22):
                    total += taps[i] * fit[i]
                guess = (total + 8192) >> 14
                west, north = abs(now[y, x - 1]), abs(now[y - 1, x])
                near = 2 * (west + north) + abs(now[y - 1, x - 1]) + abs(now[y - 1, x + 1])
                near += abs(now[y, x - 2]) + abs(now[y - 2, x])
                below = near
                if z > 0:
                    below = 3 * abs(before[y, x]) + abs(before[y, x - 1]) + abs(before[y, x + 1])
                    below += abs(before[y - 1, x]) + abs(before[y + 1, x])
                slope = abs(base[z, y, x - 1] - base[z, y, x + 1]) + abs(base[z, y - 1, x] - base[z, y + 1, x])
                bend = abs(taps[7] + taps[8] + taps[9] + taps[10])
                level = _level(4 * near + 3 * below + 2 * slope)
                part = ((total + 8192) >> 11) & 7
                spots[0] = level * 8 + part
                spots[1] = 576 + _level(2 * near) * 24 + _level(2 * slope)
                spots[2] = 1152 + _level(4 * west) // 2 * 48 + _level(4 * north) // 2 * 4 + min(3, level // 4)
                spots[3] = 1728 + _level(2 * below) * 24 + _level(4 * bend)
                signs = 0
                if now[y, x - 1] > 0:
                    signs = 1
                elif now[y, x - 1] < 0:
                    signs = 2
                if now[y - 1, x] > 0:
                    signs += 3
                elif now[y - 1, x] < 0:
                    signs += 6
                spots[4] = 2304 + level * 9 + signs
                error, token, extra = 0, 0, 0
                if not reading:
                    error = ((rest[z, y, x] - guess + half) & wrap) - half
                    token = abs(error)
                    while token >= 8 << extra:
                        extra += 1
                    if extra:
                        token = 8 + (extra - 1) * 4 + ((token >> extra) - 4)
                if not _bit(1 if token == 0 else 0, 0, spots, chances, counts, weights, tables, state, stream):
                    node, found = 1, 0
                    for place in range(5, -1, -1):
                        got = _bit((token >> place) & 1, node, spots, chances, counts, weights, tables, state, stream)
                        node, found = 2 * node + got, 2 * found + got
                    size = found
                    if found >= 8:
                        extra = (found - 8) // 4 + 1
                        size = (4 + (found - 8) % 4) << extra
                        rest_of = abs(error) & ((1 << extra) - 1)
                        for place in range(extra - 1, -1, -1):
                            size |= _even((rest_of >> place) & 1, state, stream) << place
                    if _bit(1 if error < 0 else 0, 65, spots, chances, counts, weights, tables, state, stream):
                        size = -size
                    if reading:
                        error = size
                if reading:
                    rest[z, y, x] = ((error + guess + half) & wrap) - half
                now[y, x] = error
    if not reading:
        for shift in (24, 16, 8, 0):
            stream[state[3]] = (state[0] >> shift) & 255 if shift else 255
            state[3] += 1
    return int(state[3])


@_jit
def _even(bit: int, state: Any, stream: Any) -> int:
    """A bit that is as often 1 as 0."""
    low, high = state[0], state[1]
    middle = low + ((high - low) >> 1)
    if state[4]:
        bit = 1 if state[2] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while (low ^ high) & 0xFF000000 == 0:
        if state[4]:
            state[2] = (state[2] << 8) & 0xFFFFFFFF
            if state[3] < stream.size:
                state[2] |= stream[state[3]]
        else:
            stream[state[3]] = high >> 24
        state[3] += 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    state[0], state[1] = low, high
    return bit


@cache
def _tables() -> Pixels:
    """(3, 4096): logarithm of the odds of a chance in 1/4096, 256 a unit; its inverse in 1/65536; steps of learning."""
    odds = np.arange(-2048, 2048) / 256
    squash = np.clip(np.rint(65536 / (1 + np.exp(-odds))), 16, 65520)
    chance = (np.arange(4096) + 0.5) / 4096
    stretch = np.clip(np.rint(256 * np.log(chance / (1 - chance))), -2047, 2047)
    steps = np.rint(65536 / (np.minimum(np.arange(4096), 160) + 1.6))
    return np.stack([stretch, squash, steps]).astype(np.int64)


def _planes(pixels: Pixels) -> Pixels:
    """(z, y, x[, c]) as planes (z or z x c, y, x): a colour is predicted from the one before."""
    wide = pixels.astype(np.int64)
    return wide if wide.ndim == 3 else np.moveaxis(wide, 3, 1).reshape(-1, *wide.shape[1:3])


def _framed(planes: Pixels, **how: Any) -> Pixels:
    return np.pad(planes, ((0, 0), (EDGE, EDGE), (EDGE, EDGE)), **how)


def _fitted(rest: Pixels, base: Pixels) -> Pixels:
    """(sets, 22) int16: one set a plane, or one for all when planes are small."""
    planes, height, width = rest.shape
    shared = height * width < FEW
    step = 1 if shared or not COMPILED else 2
    out = []
    square, right = np.zeros((TAPS, TAPS)), np.zeros(TAPS)
    for z in range(planes):
        _moments(rest, base, z, step, square, right)
        if not shared or z == planes - 1:
            whole = square + np.tril(square, -1).T
            whole[np.diag_indices(TAPS)] += 1e-6 * np.trace(whole) / TAPS + 1
            out.append(np.clip(np.rint(np.linalg.solve(whole, right) * (1 << ONE)), -32768, 32767))
            square[:], right[:] = 0, 0
    return np.array(out).astype(np.int16)


def encode(rest: Pixels, base: Pixels, bits: int) -> bytes:
    """Residuals (z, y, x[, c]), integers in -2**(bits-1)..2**(bits-1)-1, beside the decoded base of the same shape."""
    inside, around = _framed(_planes(rest)), _framed(_planes(base), mode="edge")
    fit = _fitted(inside, around)
    stream = np.zeros(16 * inside.size + 1024, np.uint8)  # no decision costs more than 12 bits
    length = _run(inside, around, fit.astype(np.int64), bits, _tables(), stream, False)
    return bytes([len(fit) & 255]) + fit.astype("<i2").tobytes() + stream[:length].tobytes()


def decode(payload: bytes, base: Pixels, bits: int) -> Pixels:
    """The residuals back, int64, in the base's shape; CodecError for bytes that are cut short."""
    sets = payload[0] if payload else 0
    begin = 1 + 2 * TAPS * sets
    around = _framed(_planes(base), mode="edge")
    if sets not in (1, around.shape[0]) or len(payload) < begin + 4:
        raise CodecError(f"residual: a chunk of {len(payload)} bytes is cut short or damaged")
    fit = np.frombuffer(payload[1:begin], "<i2").reshape(sets, TAPS).astype(np.int64)
    inside = np.zeros_like(around)
    _run(inside, around, fit, bits, _tables(), np.frombuffer(payload, np.uint8, offset=begin).copy(), True)
    planes = inside[:, EDGE:-EDGE, EDGE:-EDGE]
    if base.ndim == 3:
        return planes
    z, y, x, c = base.shape
    return np.ascontiguousarray(np.moveaxis(planes.reshape(z, c, y, x), 1, 3))
