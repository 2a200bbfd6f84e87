"""Surfaces of masks as pictures: marching cubes, then a small renderer with a depth buffer and smooth shading.

The camera stands in front of the patient, a little to the left and above, and looks without perspective: sizes compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimscan.nouns import Pixels

Array = NDArray[np.float64]
BONE = (0.80, 0.77, 0.72)
_AZIMUTH, _ELEVATION = 30.0, 22.0  # degrees from the front towards the patient's left, and upwards
_FINE = 2  # the picture is rendered this many times finer and averaged
_ROOM = 3  # voxels around a mask, so that its surface is closed
_CHUNK = 4_000_000  # sample points at once


@dataclass(frozen=True)
class Mesh:
    """Closed surfaces. points: (n, 3) RAS mm. normals: (n, 3), outward. faces: (m, 3). values: (n,) one a point."""

    points: Array
    normals: Array
    faces: NDArray[np.int64]
    values: Array


@dataclass(frozen=True)
class Camera:
    """centre: the point in the middle of the picture, mm. span: mm from the middle to each edge."""

    centre: Array
    span: float


def mesh_of(mask: Pixels, affine_mm: Array, values: Array | None = None, smooth: float = 0.9) -> Mesh | None:
    """The surface of a mask (z, y, x); None when it is empty.

    values: what the surface is painted with, a field of `signed_distance_mm`, taken at each point. smooth: Gaussian blur of the mask in
    voxels before the surface is taken, so that steps of single voxels do not catch the light; structures that the
    blur would lose (one or two voxels wide) are kept by taking the larger of both.
    """
    from scipy import ndimage
    from skimage.measure import marching_cubes

    if not mask.any():
        return None
    start, stop = _bounds(mask)
    inside = np.pad(mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] != 0, _ROOM).astype(np.float64)
    thin = (inside > 0) & ~ndimage.binary_opening(inside > 0)
    solid = np.maximum(ndimage.gaussian_filter(inside, smooth), 0.62 * thin)
    cubes: Any = marching_cubes  # ships no types
    vertices, faces, _, _ = cubes(solid, 0.5)
    zyx = vertices + (np.array(start) - _ROOM)
    points = np.asarray(zyx[:, ::-1] @ affine_mm[:3, :3].T + affine_mm[:3, 3], np.float64)
    painted = np.zeros(len(points))
    if values is not None:
        painted = ndimage.map_coordinates(values, (zyx + _ROOM).T, order=1, mode="nearest")
    faces = _outward(points, faces.astype(np.int64))
    return Mesh(points, _normals(points, faces), faces, np.asarray(painted, np.float64))


def signed_distance_mm(mask: Pixels, spacing_mm: tuple[float, float, float]) -> Array:
    """Distance in mm to the border of a mask (z, y, x), negative inside, with 3 voxels of room on every side.

    The image's edge is a border too: a mask that is cut off there ends there. inf everywhere when the mask is empty.
    """
    from scipy import ndimage

    inside = np.pad(mask != 0, _ROOM)
    if not inside.any():
        return np.full(inside.shape, math.inf)
    outer = ndimage.distance_transform_edt(~inside, sampling=spacing_mm)
    inner = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    # Voxel centres lie half a voxel from the border between them.
    half = min(spacing_mm) / 2
    return np.asarray(np.where(inside, half - inner, outer - half), np.float64)


def camera_of(meshes: list[Mesh]) -> Camera:
    """One camera that holds all meshes, so that their pictures compare."""
    turned = np.concatenate([_turn(mesh.points) for mesh in meshes])
    low, high = turned.min(axis=0), turned.max(axis=0)
    return Camera((low + high) / 2, float(max(high[0] - low[0], high[1] - low[1], 1e-6)) * 0.54)


def render(mesh: Mesh | None, camera: Camera, side: int, colours: Array | None = None) -> NDArray[np.uint8]:
    """The picture (side, side, 3) on white. colours: (n, 3) of the mesh's points, 0..1; left out: bone."""
    big = side * _FINE
    picture = np.ones((big * big, 3))
    if mesh is not None and len(mesh.faces):
        turned = _turn(mesh.points)
        scale = big / (2 * camera.span)
        across = (turned[:, 0] - camera.centre[0]) * scale + big / 2
        down = big / 2 - (turned[:, 1] - camera.centre[1]) * scale
        screen = np.column_stack([across, down, turned[:, 2]])
        normals = _turn(mesh.normals)
        paint = np.tile(np.array(BONE), (len(turned), 1)) if colours is None else colours
        nearest = np.full(big * big, -math.inf)
        a, b, c = (screen[mesh.faces[:, n]] for n in range(3))
        turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        # Rows count downwards, so a triangle that faces the camera runs the other way round on the picture.
        for faces, weights in _patches(screen, mesh.faces[turn < 0]):
            _splat(screen, normals, paint, faces, weights, big, nearest, picture)
    small = picture.reshape(side, _FINE, side, _FINE, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(np.clip(small, 0, 1) * 255), np.uint8)


def _patches(screen: Array, faces: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Array]]:
    """Triangles in groups of like size, each with barycentric points dense enough to leave no gap between pixels."""
    corners = screen[faces][:, :, :2]
    longest = np.sqrt(((corners - np.roll(corners, 1, axis=1)) ** 2).sum(axis=2)).max(axis=1)
    steps = np.clip(np.ceil(longest * 1.5), 1, 400).astype(int)
    sizes = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400])
    steps = sizes[np.searchsorted(sizes, steps)]
    out = []
    for step in np.unique(steps):
        i, j = np.meshgrid(np.arange(step + 1), np.arange(step + 1), indexing="ij")
        kept = i + j <= step
        weights = np.column_stack([i[kept], j[kept], step - i[kept] - j[kept]]) / step
        group = faces[steps == step]
        size = max(_CHUNK // len(weights), 1)
        out += [(group[n : n + size], weights) for n in range(0, len(group), size)]
    return out


def _splat(
    screen: Array,
    normals: Array,
    paint: Array,
    faces: NDArray[np.int64],
    weights: Array,
    big: int,
    nearest: Array,
    picture: Array,
) -> None:
    """Sample points of triangles onto the picture where they are nearer than what stands there; changes both arrays."""
    points = np.einsum("kc,fcd->fkd", weights, screen[faces]).reshape(-1, 3)
    column, row = np.floor(points[:, 0]).astype(np.int64), np.floor(points[:, 1]).astype(np.int64)
    seen = (column >= 0) & (column < big) & (row >= 0) & (row < big)
    place = np.where(seen, row * big + column, 0)
    depth = np.where(seen, points[:, 2], -math.inf)
    before = nearest.copy()
    np.maximum.at(nearest, place, depth)
    won = np.flatnonzero(seen & (depth == nearest[place]) & (depth > before[place]))
    face, weight = faces[won // len(weights)], weights[won % len(weights)]
    normal = np.einsum("nc,ncd->nd", weight, normals[face])
    colour = np.einsum("nc,ncd->nd", weight, paint[face])
    picture[place[won]] = np.clip(colour * _light(normal)[:, None] + _shine(normal)[:, None], 0, 1)


def _light(normal: Array) -> Array:
    """Brightness of a surface: one light from the upper left, a weaker one from the right, and a little from all sides."""
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    key = np.clip(unit @ _unit(-0.5, 0.65, 0.75), 0, 1)
    fill = np.clip(unit @ _unit(0.8, -0.1, 0.5), 0, 1)
    return np.asarray(0.30 + 0.62 * key + 0.16 * fill, np.float64)


def _shine(normal: Array) -> Array:
    unit = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return np.asarray(0.12 * np.clip(unit @ _unit(-0.3, 0.4, 1.0), 0, 1) ** 24, np.float64)


def _unit(*vector: float) -> Array:
    found = np.array(vector)
    return np.asarray(found / np.linalg.norm(found), np.float64)


def _turn(vectors: Array) -> Array:
    """RAS to the camera: x to the right of the picture, y up, z towards the camera."""
    azimuth, elevation = math.radians(_AZIMUTH), math.radians(_ELEVATION)
    # Seen from the front the patient's right is on the left of the picture: the picture's x grows towards the left.
    towards = np.array(
        [-math.sin(azimuth) * math.cos(elevation), math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    right = np.array([-math.cos(azimuth), -math.sin(azimuth), 0.0])
    up = np.cross(towards, right)
    return np.asarray(vectors @ np.column_stack([right, up, towards]), np.float64)


def _normals(points: Array, faces: NDArray[np.int64]) -> Array:
    """One normal a point: those of its triangles, weighted by their area."""
    a, b, c = (points[faces[:, n]] for n in range(3))
    flat = np.cross(b - a, c - a)
    out = np.zeros_like(points)
    for n in range(3):
        for axis in range(3):
            out[:, axis] += np.bincount(faces[:, n], weights=flat[:, axis], minlength=len(points))
    return out


def _outward(points: Array, faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles that run counter-clockwise seen from outside: the volume they enclose is positive."""
    a, b, c = (points[faces[:, n]] - points[0] for n in range(3))
    volume = float(np.einsum("nd,nd->", a, np.cross(b, c)))
    return faces if volume > 0 else faces[:, ::-1]


def _bounds(mask: Pixels) -> tuple[list[int], list[int]]:
    start, stop = [], []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(n for n in range(3) if n != axis)))
        start.append(int(hit[0]))
        stop.append(int(hit[-1]) + 1)
    return start, stop
