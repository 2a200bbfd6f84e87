"""Annotations as QuPath exports them (GeoJSON, RFC 7946, in pixels of the largest level), in and out.

Taken: a FeatureCollection, a Feature, a geometry, or QuPath's bare list of features; Polygon and MultiPolygon with holes
(QuPath's rectangles, ellipses, polygons, brush strokes), LineString and MultiLineString (its lines), Point and MultiPoint,
GeometryCollection. A class of the name glass, background, hole or ignore (QuPath's "Ignore*") is glass; all others, and
annotations without a class, are tissue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.errors import InputError, NotReadable
from slimscan.regions.tissue.fill import filled, touched
from slimscan.regions.tissue.grid import Tissue
from slimscan.regions.tissue.trace import outlines

GLASS = ("glass", "background", "hole", "ignore")
_MOST_BYTES = 1 << 30

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shape:
    """One ROI. rings: (x, y) in pixels of level 0; kind: "area" (outside, then holes), "line" or "points"; name: its class."""

    kind: str
    rings: tuple[Points, ...]
    name: str = ""

    @property
    def glass(self) -> bool:
        """Whether its class says that there is no tissue."""
        return self.name.strip().rstrip("*").lower() in GLASS


def read(path: str | Path) -> list[Shape]:
    """The annotations in a file; NotReadable, one sentence, for anything but GeoJSON, and for one without any ROI."""
    place = Path(path)
    try:
        if place.stat().st_size > _MOST_BYTES:
            raise NotReadable(
                f"{path}: {place.stat().st_size} bytes are more than annotations take; want GeoJSON of QuPath"
            )
        said = json.loads(place.read_text("utf-8-sig"))
    except OSError as error:
        raise NotReadable(f"{path}: cannot be read ({error.strerror or error}); want GeoJSON of QuPath") from None
    except (ValueError, RecursionError):
        raise NotReadable(f"{path}: is no JSON; in QuPath: File, Export objects as GeoJSON, not compressed") from None
    try:
        found = list(_shapes(said, "", 0))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NotReadable(
            f"{path}: is not the GeoJSON that QuPath writes ({' '.join(str(error).split())[:100]})"
        ) from None
    if not found:
        raise NotReadable(f"{path}: holds no annotation; draw the tissue in QuPath and export it as GeoJSON")
    return found


def drawn(shapes: list[Shape], shape: tuple[int, int], step: tuple[float, float], what: str = "annotations") -> Tissue:
    """Annotations as a mask on level 0's (height, width) `shape`, one pixel for `step` (y, x) of it.

    Tissue: every pixel that a ROI fills or touches. Glass takes away only pixels that it fills and no edge of it touches.
    InputError when no ROI is tissue, or none touches the slide: such a file would leave out the whole slide.
    """
    if all(one.glass for one in shapes):
        raise InputError(
            f"{what}: every annotation is glass, and nothing says where tissue is; annotate the tissue as well"
        )
    sides = (max(1, int(np.ceil(shape[0] / step[0]))), max(1, int(np.ceil(shape[1] / step[1]))))
    found, gone = np.zeros(sides, bool), np.zeros(sides, bool)
    scale = np.array([step[1], step[0]])
    for one in shapes:
        rings = [ring / scale for ring in one.rings]
        edges = np.zeros(sides, bool)
        for ring in rings:
            if one.kind == "points":
                for point in ring:
                    edges |= touched(point[None], sides, ring=False)
            else:
                edges |= touched(ring, sides, ring=one.kind == "area")
        area = filled(rings, sides) if one.kind == "area" else np.zeros(sides, bool)
        if one.glass:
            gone |= area & ~edges
        else:
            found |= area | edges
    if not found.any():
        raise InputError(
            f"{what}: no annotation of tissue touches the slide of {shape[1]} x {shape[0]} pixels; is it of another slide?"
        )
    return Tissue(found & ~gone, step, shape, (what,))


def written(tissue: Tissue, name: str = "Tissue") -> str:
    """The mask as GeoJSON that QuPath imports: one annotation for every piece, along the pixels' edges, holes kept."""
    scale = np.array([tissue.step[1], tissue.step[0]])
    most = np.array([tissue.shape[1], tissue.shape[0]])
    features = []
    for rings in outlines(tissue.pixels):
        closed = [np.minimum(np.vstack([ring, ring[:1]]) * scale, most).tolist() for ring in rings]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": closed},
                "properties": {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}},
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))


def _shapes(said: Any, name: str, depth: int) -> Iterator[Shape]:
    if depth > 8:
        raise ValueError("collections within collections")
    if isinstance(said, list):
        for one in said:
            yield from _shapes(one, name, depth + 1)
        return
    kind = said["type"]
    if kind == "FeatureCollection":
        yield from _shapes(list(said["features"]), name, depth + 1)
    elif kind == "Feature":
        if said.get("geometry") is not None:
            yield from _shapes(said["geometry"], _class(said.get("properties")), depth + 1)
    elif kind == "GeometryCollection":
        yield from _shapes(list(said["geometries"]), name, depth + 1)
    else:
        yield from _geometry(kind, said["coordinates"], name)


def _geometry(kind: str, at: Any, name: str) -> Iterator[Shape]:
    if kind == "Polygon":
        rings = tuple(_points(ring) for ring in at)
        if rings:
            yield Shape("area", rings, name)
    elif kind == "LineString":
        yield Shape("line", (_points(at),), name)
    elif kind == "Point":
        yield Shape("points", (_points([at]),), name)
    elif kind == "MultiPoint":
        yield Shape("points", (_points(at),), name)
    elif kind in ("MultiPolygon", "MultiLineString"):
        for one in at:
            yield from _geometry(kind.removeprefix("Multi"), one, name)
    else:
        raise ValueError(f"geometry {kind!r}")


def _points(said: Any) -> Points:
    points = np.array([one[:2] for one in said], np.float64).reshape(-1, 2)
    if not len(points) or not np.isfinite(points).all():
        raise ValueError("a ring without points, or one that is no number")
    return points


def _class(properties: Any) -> str:
    """The class of an annotation, the first word where QuPath writes a list of names; "" without."""
    said = properties.get("classification") if isinstance(properties, Mapping) else None
    if isinstance(said, Mapping):
        names = said.get("names")
        said = said.get("name") or (names[0] if isinstance(names, list) and names else "")
    return said if isinstance(said, str) else ""
