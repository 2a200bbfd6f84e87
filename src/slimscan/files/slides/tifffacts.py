"""What a TIFF slide says of itself: scale, objective, colour profile, and properties under OpenSlide's names."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from slimscan.files.slides.tifflevels import Found
from slimscan.nouns.slide import Level

ICC_TAG = 34675
# TIFF 6.0 ResolutionUnit: 2 inch, 3 centimetre; micrometres of one.
_UNITS = {2: ("inch", 25400.0), 3: ("centimeter", 10000.0)}
_OME_UNITS = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4}
# A scale outside is the 72 dots an inch of a program that knew none.
_PLAUSIBLE = (0.01, 100.0)


@dataclass(frozen=True)
class Facts:
    """levels with their scale; mpp (y, x) in micrometres or None; properties: see Slide."""

    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None
    magnification: float | None
    icc: bytes | None
    properties: dict[str, str]


def facts(tif: Any, found: Found) -> Facts:
    """Everything that the directories say; nothing is decoded."""
    base = found.pages[0]
    said = aperio_words(str(base.description)) if found.format == "svs" else {}
    mpp: tuple[float, float] | None
    magnification = _number(said.get("AppMag", ""))
    if found.format == "svs":
        one = _number(said.get("MPP", ""))
        mpp = None if one is None else (one, one)
    elif found.format == "ome-tiff":
        mpp, magnification = _ome(tif)
        mpp = mpp or _resolution(base)
    else:
        mpp = _resolution(base)
    properties = _properties(found, base, said, mpp, magnification)
    if mpp is not None and not all(_PLAUSIBLE[0] <= value <= _PLAUSIBLE[1] for value in mpp):
        mpp = None
    profile = base.tags.get(ICC_TAG)
    levels = tuple(replace(level, mpp=scaled(mpp, found.levels[0], level)) for level in found.levels)
    return Facts(levels, mpp, magnification, bytes(profile.value) if profile is not None else None, properties)


def scaled(mpp: tuple[float, float] | None, base: Level, level: Level) -> tuple[float, float] | None:
    """Micrometres a pixel of a level, from those of level 0."""
    if mpp is None:
        return None
    return mpp[0] * (base.shape[0] / level.shape[0]), mpp[1] * (base.shape[1] / level.shape[1])


def aperio_words(description: str) -> dict[str, str]:
    """KEY = VALUE between the bars of an Aperio description."""
    found = {}
    for part in description.split("|")[1:]:
        key, equals, value = part.partition("=")
        if equals:
            found[key.strip()] = value.strip()
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _resolution(page: Any) -> tuple[float, float] | None:
    unit = page.tags.get(296)
    size = _UNITS.get(int(unit.value) if unit is not None else 2)
    across, down = (_fraction(page.tags.get(code)) for code in (282, 283))
    if size is None or across is None or down is None:
        return None
    return size[1] / down, size[1] / across


def _fraction(tag: Any) -> float | None:
    if tag is None:
        return None
    value = tag.value
    if isinstance(value, tuple):
        value = value[0] / value[1] if len(value) == 2 and value[1] else 0
    return float(value) if float(value) > 0 else None


def _ome(tif: Any) -> tuple[tuple[float, float] | None, float | None]:
    """((y, x) micrometres, objective power) of the first image in the OME-XML."""
    text = tif.ome_metadata or ""
    sides = []
    for axis in "YX":
        found = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', text)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', text)
        value = _number(found.group(1)) if found else None
        factor = _OME_UNITS.get(unit.group(1)) if unit else 1.0
        sides.append(value * factor if value is not None and factor is not None else None)
    power = re.search(r'\bNominalMagnification="([^"]+)"', text)
    mpp = (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None
    return mpp, _number(power.group(1)) if power else None


def _properties(
    found: Found, base: Any, said: dict[str, str], mpp: tuple[float, float] | None, magnification: float | None
) -> dict[str, str]:
    """As OpenSlide 4 names them, without its quickhash."""
    vendor = {"svs": "aperio"}.get(found.format, "generic-tiff")
    out = {"openslide.vendor": vendor, "openslide.level-count": str(len(found.levels))}
    for number, level in enumerate(found.levels):
        at = f"openslide.level[{number}]."
        sides = {
            "width": level.shape[1],
            "height": level.shape[0],
            "tile-width": level.tile[1],
            "tile-height": level.tile[0],
        }
        out |= {at + name: str(value) for name, value in sides.items()}
        out[at + "downsample"] = _digits(level.downsample)
    if mpp is not None:
        out |= {"openslide.mpp-x": _digits(mpp[1]), "openslide.mpp-y": _digits(mpp[0])}
    if magnification is not None:
        out["openslide.objective-power"] = _digits(magnification)
    for name, page in found.pictures.items():
        out[f"openslide.associated.{name}.width"] = str(page.imagewidth)
        out[f"openslide.associated.{name}.height"] = str(page.imagelength)
    out |= {f"aperio.{key}": value for key, value in said.items()}
    out |= _tags(base)
    description = str(base.description)
    if description:
        out["openslide.comment"] = out["tiff.ImageDescription"] = description
    profile = base.tags.get(ICC_TAG)
    if profile is not None:
        out["openslide.icc-size"] = str(len(bytes(profile.value)))
    return out


def _tags(page: Any) -> dict[str, str]:
    names = {269: "DocumentName", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime", 315: "Artist"}
    names |= {316: "HostComputer", 33432: "Copyright"}
    out = {f"tiff.{name}": str(page.tags[code].value) for code, name in names.items() if code in page.tags}
    for code, name in ((282, "XResolution"), (283, "YResolution"), (286, "XPosition"), (287, "YPosition")):
        value = _fraction(page.tags.get(code))
        if value is not None:
            out[f"tiff.{name}"] = _digits(value)
    unit = page.tags.get(296)
    out["tiff.ResolutionUnit"] = {1: "none", 2: "inch", 3: "centimeter"}.get(int(unit.value) if unit else 2, "unknown")
    return out


def _digits(value: float) -> str:
    """As C prints with %.17g."""
    return f"{value:.17g}"
