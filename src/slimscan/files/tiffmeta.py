"""What a TIFF file says of spacing and bits: OME-XML, ImageJ's description, resolution tags."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

AFFINE_KEY = "slimscan affine_mm"
RESCALE_KEY = "slimscan rescale"

_UNIT_MM = {
    "m": 1e3,
    "cm": 10.0,
    "mm": 1.0,
    "µm": 1e-3,
    "\u03bcm": 1e-3,
    "um": 1e-3,
    "\\u00b5m": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "nm": 1e-6,
    "pm": 1e-9,
    "Å": 1e-7,
    "inch": 25.4,
    "in": 25.4,
}
# What screens, printers and cameras write when nobody measured anything.
_OFFICE_DPI = (1, 72, 96, 100, 150, 200, 300, 600, 1200)


def spacing_and_bits(tif: Any, page: Any, dtype: np.dtype[Any]) -> tuple[NDArray[np.float64], int, dict[str, Any]]:
    """(affine_mm, significant bits, what to say about it).

    A spacing along z that nobody states is taken equal to that along x, and about["spacing"] says so; with no spacing at
    all it is 1 mm.
    """
    bits = dtype.itemsize * 8
    if isinstance(page.bitspersample, int) and dtype.kind in "ui":
        bits = min(bits, page.bitspersample)
    about: dict[str, Any] = {}
    xyz: tuple[float, float, float] | None = None
    if tif.is_ome:
        xyz, affine, significant, about = _ome(tif.ome_metadata)
        bits = min(bits, significant or bits)
        if affine is not None:
            return affine, bits, about | {"spacing": "slimscan affine"}
    if xyz is None and tif.is_imagej:
        xyz, about = _imagej(tif, page)
    if xyz is None:
        xyz, about = _tags(page)
    return np.diag([*xyz, 1.0]), bits, about


def _xyz(x: float, y: float, z: float, source: str) -> tuple[tuple[float, float, float] | None, dict[str, Any]]:
    """Three spacings of which some may be 0 or absurd; None when x and y are not known."""
    known = [bool(np.isfinite(side) and side > 0) for side in (x, y, z)]
    if not (known[0] and known[1]):
        return None, {}
    return (x, y, z if known[2] else x), {"spacing": source if known[2] else f"{source}; z taken equal to x"}


def _ome(
    text: str,
) -> tuple[tuple[float, float, float] | None, NDArray[np.float64] | None, int | None, dict[str, Any]]:
    root = ElementTree.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    pixels = root.find("Image/Pixels")
    if pixels is None:
        return None, None, None, {}
    sides = []
    for axis in "XYZ":
        size, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        sides.append(float(size) * _UNIT_MM[unit] if size and unit in _UNIT_MM else 0.0)
    xyz, about = _xyz(sides[0], sides[1], sides[2], "OME-XML")
    significant = pixels.get("SignificantBits")
    affine = None
    for entry in root.iter("M"):
        if entry.get("K") == AFFINE_KEY:
            affine = np.array(json.loads(entry.text or ""), np.float64).reshape(4, 4)
            if not np.isfinite(affine).all():
                raise ValueError("its affine is not finite")
        elif entry.get("K") == RESCALE_KEY:
            slope, intercept, unit = json.loads(entry.text or "")
            about["rescale"] = [float(slope), float(intercept), str(unit)]
    return xyz, affine, int(significant) if significant else None, about


def _imagej(tif: Any, page: Any) -> tuple[tuple[float, float, float] | None, dict[str, Any]]:
    said = tif.imagej_metadata or {}
    factor = _UNIT_MM.get(str(said.get("unit", "")).strip().lower().replace("\u00b5m", "µm"))
    if factor is None:
        return None, {}
    x, y = _pixels_per_unit(page)
    return _xyz(
        factor / x if x else 0.0, factor / y if y else 0.0, float(said.get("spacing", 0.0) or 0.0) * factor, "ImageJ"
    )


def _tags(page: Any) -> tuple[tuple[float, float, float], dict[str, Any]]:
    tag = page.tags.get("ResolutionUnit")
    unit = int(tag.value) if tag is not None and isinstance(tag.value, int) else 0
    x, y = _pixels_per_unit(page)
    factor = {2: 25.4, 3: 10.0}.get(unit)
    if factor and x and y and not (unit == 2 and round(x, 3) in _OFFICE_DPI):
        xyz, about = _xyz(factor / x, factor / y, 0.0, "resolution tags")
        if xyz is not None:
            return xyz, about
    return (1.0, 1.0, 1.0), {"spacing": "unknown; taken as 1 mm"}


def _pixels_per_unit(page: Any) -> tuple[float, float]:
    """Values of XResolution and YResolution, 0 when missing or not a fraction."""
    found = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        value = tag.value if tag is not None else None
        found.append(value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else 0.0)
    return found[0], found[1]
