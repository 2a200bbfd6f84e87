"""A volume whose outside is calmed as its slices are asked for, and the file and the numbers that come of it.

Before the first slice every voxel is looked at once: the scale of the gradient belongs to the volume, and so does the
precision to compute with. Slices are calmed for themselves (dims=2) or with as many neighbours on either side as there
are iterations (dims=3), so what comes out does not depend on how it is asked for, and memory does not grow with depth.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimscan.each import Each, threads
from slimscan.errors import InputError
from slimscan.nouns import Pixels, Region, Volume
from slimscan.press.units import STORED, parse, real_unit
from slimscan.regions.calm import (
    ITERATIONS,
    Engine,
    K,
    calm,
    checked,
    engine_name,
    flow_of,
    gradient_squares,
    held,
    root_mean,
)
from slimscan.regions.calm_flow import Flow, closed

BLOCK_BYTES = 48 << 20  # of stored samples that are calmed at once when slices need their neighbours
NARROW = 1 << 16  # integers within this either way are computed in float32


@dataclass(frozen=True, slots=True)
class Calm:
    """k: times the root mean square gradient of the volume when unit is "", else a gradient in that unit a pixel.

    unit: "", "stored", or the unit of the image ("HU"). iterations, dims: as slimscan.regions.calm. engine: see there.
    """

    k: float = K
    unit: str = ""
    iterations: int = ITERATIONS
    dims: int = 2
    engine: Engine = "auto"

    def __str__(self) -> str:
        return f"k={self.k:g}{self.unit},iterations={self.iterations},dims={self.dims}"


def settings(given: str | Mapping[str, Any] | Calm) -> Calm:
    """From "k=20HU,iterations=15,dims=2" (any of them), or the same as a mapping; InputError for anything else."""
    if isinstance(given, Calm):
        return given
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(",") if part.strip()]
        given = {name.strip(): value.strip() for name, _, value in parts}
    found = Calm()
    for name, value in given.items():
        if name == "k":
            said = _number(str(value))
            found = replace(found, k=said[0], unit=said[1])
        elif name in ("iterations", "dims"):
            number, unit = _number(str(value))
            if unit or number != int(number):
                raise InputError(f'calm: {name} "{value}" is no whole number')
            found = replace(found, iterations=int(number)) if name == "iterations" else replace(found, dims=int(number))
        else:
            raise InputError(f'calm: "{name}" is not known; want k, iterations or dims, such as k=20HU,dims=3')
    return found


def _number(text: str) -> tuple[float, str]:
    try:
        said = parse(text)
    except InputError:
        raise InputError(
            f'calm: "{text}" is no number, and no number with a unit such as 20HU or "20 stored"'
        ) from None
    named = text.strip().lower().endswith(STORED)
    return said.value, STORED if named else said.unit


@dataclass(frozen=True, slots=True)
class _Look:
    squares: float
    count: int
    low: float
    high: float
    whole: bool


def calmed(
    volume: Volume,
    region: Region,
    settings_: str | Mapping[str, Any] | Calm = Calm(),
    *,
    padding: float | None = None,
    each: Each | None = None,
) -> Volume:
    """The volume (z, y, x) with everything outside the region calmed, slices computed when they are read.

    settings_: see `settings`. padding: the value that keeps its place and gives nothing; None: the volume's own. each:
    threads by default. Floats that all hold whole numbers come back whole. The header stays; pixels is Lazy.
    InputError: colour, a region of another shape, weights outside 0..1, a unit that the image has not, bad numbers.
    """
    asked, run = settings(settings_), each or threads()
    where = volume.source or "volume"
    if len(volume.shape) != 3:
        raise InputError(f"{where}: shape {volume.shape} is in colour; calming takes grey images (z, y, x)")
    if region.shape != volume.shape:
        raise InputError(f"{where}: the region is {region.shape} and the image {volume.shape}; give one weight a voxel")
    dtype = np.dtype(volume.pixels.dtype)
    shut = held(volume.padding if padding is None else padding, dtype)
    flow = flow_of(dtype, asked.k, asked.iterations, volume.spacing_mm, asked.dims, None, shut, None)

    def look(z: int) -> _Look:
        first = max(0, z - 1) if asked.dims == 3 else z
        slab = volume.slices(first, z + 2 if asked.dims == 3 else z + 1)
        checked(slab[z - first : z - first + 1], region.weights(z, z + 1))
        return _look(slab, z - first, flow)

    looks = list(run(look, range(volume.shape[0])))
    scale = 1.0
    if not asked.unit:
        scale = root_mean((one.squares, one.count) for one in looks)
    elif asked.unit != STORED:
        unit = real_unit(volume)
        if unit.casefold() != asked.unit.casefold():
            raise InputError(
                f"{where}: k={asked.k:g}{asked.unit}: the unit of the image is {unit or 'not known'}; say k in "
                f"{unit or 'stored units (20 stored)'}, or a plain number, times the gradient of the image"
            )
        scale = 1 / abs(volume.slope)
    wide = dtype.kind in "iu" and dtype.itemsize > 2
    low, high = min((one.low for one in looks), default=0), max((one.high for one in looks), default=0)
    pixels = _Calmed(volume, region, asked, scale, shut, run)
    pixels.work = "float32" if wide and low >= -NARROW and high <= NARROW else None
    pixels.whole = dtype.kind == "f" and all(one.whole for one in looks)
    return replace(volume, pixels=pixels)


def _look(slab: Pixels, z: int, flow: Flow) -> _Look:
    squares, count = gradient_squares(slab, z, z + 1, flow)
    one = slab[z]
    if one.dtype.kind == "f":
        shut = closed(one, flow.padding)
        one = one if shut is None else one[~shut]
        return _Look(squares, count, 0.0, 0.0, bool(np.array_equal(one, np.rint(one))))
    return _Look(squares, count, float(one.min(initial=0)), float(one.max(initial=0)), True)


class _Calmed:
    """Pixels that are calmed when they are read. For dims=3 in blocks, the last ones kept."""

    def __init__(
        self, volume: Volume, region: Region, asked: Calm, scale: float, padding: float | None, each: Each
    ) -> None:
        self.shape = volume.shape
        self.dtype = np.dtype(volume.pixels.dtype)
        self.scale = scale  # stored units per finest spacing that k is multiplied by
        self.engine = engine_name(asked.engine)
        self.work: str | None = None
        self.whole = False
        self._volume, self._region, self._asked, self._padding, self._each = volume, region, asked, padding, each
        plane = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        # Of b slices, b + 2 iterations are computed: at least twice as many as that keeps the waste under a half.
        self._block = max(4 * asked.iterations, BLOCK_BYTES // plane, 1)
        self._kept: OrderedDict[int, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, index: slice) -> Pixels:
        start, stop, step = index.indices(self.shape[0])
        if stop <= start:
            return np.empty((0, *self.shape[1:]), self.dtype)
        if self._asked.dims == 2:
            return self._made(start, stop, start, stop)[::step]
        blocks = range(start // self._block, (stop - 1) // self._block + 1)
        parts = []
        for number in blocks:
            first = number * self._block
            parts.append(self._at(number)[max(start, first) - first : stop - first])
        return np.concatenate(parts)[::step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        return np.asarray(self[0 : self.shape[0]], dtype)

    def _at(self, number: int) -> Pixels:
        with self._lock:  # whoever comes second waits, and finds it done
            if number not in self._kept:
                start, halo = number * self._block, self._asked.iterations
                stop = min(start + self._block, self.shape[0])
                self._kept[number] = self._made(start, stop, max(0, start - halo), min(self.shape[0], stop + halo))
                while len(self._kept) > 2:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    def _made(self, start: int, stop: int, first: int, last: int) -> Pixels:
        asked = self._asked
        pixels = self._volume.slices(first, last)
        weight = np.asarray(self._region.weight[first:last])
        weight = weight if weight.dtype == np.bool_ else weight.astype(np.float32, copy=False)
        out = calm(
            pixels, weight, k=asked.k, iterations=asked.iterations, spacing_mm=self._volume.spacing_mm,
            dims=asked.dims, scale=self.scale, padding=self._padding, engine=asked.engine, work=self.work,
            each=self._each if last - first > 1 else map,
        )[start - first : stop - first]  # fmt: skip
        return np.rint(out) if self.whole else out


def facts(volume: Volume) -> dict[str, Any]:
    """Of a volume that `calmed` made: k_stored (stored units a pixel of the finest spacing), scale, engine, work."""
    pixels = volume.pixels
    if not isinstance(pixels, _Calmed):
        raise InputError("these pixels were not calmed here")
    unit = abs(volume.slope) if real_unit(volume) else None
    k = pixels._asked.k * pixels.scale
    return {
        "k": str(pixels._asked), "k_stored": k, "k_real": None if unit is None else k * unit,
        "unit": real_unit(volume), "scale": pixels.scale, "engine": pixels.engine,
        "float64": pixels.work is None and not (pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32),
    }  # fmt: skip


__all__ = ["BLOCK_BYTES", "Calm", "calmed", "facts", "settings"]
