"""OME-Zarr written by others (0.4 and 0.5), through zarr-python: the finest level of the first image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slimscan import child
from slimscan.errors import CodecError, InputError, NotReadable
from slimscan.nouns import Pixels, Volume

MM = {"millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6, "centimeter": 10.0, "meter": 1000.0, "angstrom": 1e-7}


class _ZarrPixels:
    """A zarr array seen as (z, y, x[, c]), read slice by slice."""

    def __init__(self, array: Any, axes: list[str], path: Path) -> None:
        self._array = array
        self._path = path
        self._limits = child.asked()
        self._axes = axes
        sizes = dict(zip(axes, array.shape, strict=True))
        colour = (int(sizes["c"]),) if sizes.get("c", 1) > 1 else ()
        self.shape: tuple[int, ...] = (int(sizes.get("z", 1)), int(sizes["y"]), int(sizes["x"]), *colour)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    def __getitem__(self, index: slice) -> Pixels:
        start, stop, step = index.indices(self.shape[0])
        if self._limits is not None:
            taken = (len(range(start, stop, step)), *self.shape[1:])
            call = ("slimscan.files.zarr_foreign:slices", (self._path.resolve(), start, stop, step))
            try:
                return child.decode(*call, taken, self.dtype, self._limits)
            except CodecError as error:
                told = str(error)
                raise CodecError(told if str(self._path) in told else f"{self._path}: {told}") from None
        pick = {"z": slice(start, stop, step), "y": slice(None), "x": slice(None), "c": slice(None), "t": 0}
        try:
            got = np.asarray(self._array[tuple(pick[axis] for axis in self._axes)]).astype(self.dtype, copy=False)
        except Exception as error:  # zarr's codecs raise many kinds for damaged chunks
            raise CodecError(f"{self._path}: slices {start}..{stop - 1} do not decode ({error})") from error
        left = [axis for axis in self._axes if axis != "t"]
        for missing in [axis for axis in "zc" if axis not in left]:
            got = got[..., None]
            left.append(missing)
        got = np.moveaxis(got, [left.index(axis) for axis in "zyxc"], [0, 1, 2, 3])
        return got if len(self.shape) == 4 else got[..., 0]


def slices(path: Path, start: int, stop: int, step: int) -> Pixels:
    """Slices of somebody's OME-Zarr, for a child that is asked for them."""
    return np.asarray(read_foreign(path).pixels[start:stop:step])


def read_foreign(path: Path) -> Volume:
    """The volume of somebody's OME-Zarr; NotReadable or InputError when it is none or has too many dimensions."""
    import zarr

    try:
        store = path if path.is_dir() else zarr.storage.ZipStore(path, mode="r")
        node: Any = zarr.open(store, mode="r")
    except Exception as error:  # zarr and its stores raise many kinds for damaged files
        raise NotReadable(f"{path}: this zarr cannot be opened ({error})") from error
    if isinstance(node, zarr.Array):
        axes = ["z", "y", "x"][-node.ndim :] if node.ndim <= 3 else []
        return _volume(path, node, axes, [1.0] * node.ndim, [""] * node.ndim)
    attributes: dict[str, Any] = dict(node.attrs)
    images = attributes.get("ome", attributes).get("multiscales")
    if not images:
        raise NotReadable(f"{path}: a zarr group without OME multiscales; point at an OME-Zarr image or at one array")
    said = images[0]["axes"]
    level = images[0]["datasets"][0]
    scale, shift = [1.0] * len(said), [0.0] * len(said)
    # Those of the level first, then those of all levels.
    for step in [*level["coordinateTransformations"], *images[0].get("coordinateTransformations", [])]:
        if step["type"] == "scale":
            factors = step["scale"]
            scale = [a * b for a, b in zip(scale, factors, strict=True)]
            shift = [a * b for a, b in zip(shift, factors, strict=True)]
        elif step["type"] == "translation":
            shift = [a + b for a, b in zip(shift, step["translation"], strict=True)]
    units = [str(a.get("unit", "")) for a in said]
    return _volume(path, node[level["path"]], [a["name"] for a in said], scale, units, shift)


def _volume(
    path: Path, array: Any, axes: list[str], scale: list[float], units: list[str], shift: list[float] | None = None
) -> Volume:
    sizes = dict(zip(axes, array.shape, strict=False))
    if (
        not {"y", "x"} <= set(axes)
        or sizes.get("t", 1) > 1
        or sizes.get("c", 1) not in (1, 3)
        or len(axes) != array.ndim
    ):
        raise InputError(
            f"{path}: an array of shape {tuple(array.shape)} with axes {axes or 'unknown'}; "
            "want z, y, x with at most one time point and 1 or 3 channels: choose one of them first"
        )
    steps = {axis: float(s) * MM.get(unit, 1.0) for axis, s, unit in zip(axes, scale, units, strict=True)}
    origin = shift or [0.0] * len(axes)
    starts = {axis: float(s) * MM.get(unit, 1.0) for axis, s, unit in zip(axes, origin, units, strict=True)}
    affine = np.diag([steps["x"], steps["y"], steps.get("z", 1.0), 1.0])
    affine[:3, 3] = starts["x"], starts["y"], starts.get("z", 0.0)
    pixels = _ZarrPixels(array, axes, path)
    if 0 in pixels.shape:
        raise InputError(f"{path}: the image has no voxels (shape {pixels.shape})")
    return Volume(pixels, affine, bits=8 * pixels.dtype.itemsize, about={"format": "OME-Zarr"}, source=str(path))
