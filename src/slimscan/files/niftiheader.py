"""The fields of a NIfTI-1 or NIfTI-2 header, and the affine that they mean (nifti1.h, nifti2.h; nifti.nimh.nih.gov).

Read here and not by nibabel because nibabel takes longer to import than a fast codec needs for the volume; the tests
hold every value against nibabel's, which writes the headers that are new (niftiwrite.py).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Data types of nifti1.h that hold real numbers: code -> (numpy type without byte order, samples a voxel).
SAMPLES = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    2304: ("u1", 4),
}
LABELS = {
    code: {3: "RGB", 4: "RGBA"}.get(samples, str(np.dtype(sample))) for code, (sample, samples) in SAMPLES.items()
}

_TEXT = [("descrip", "S80"), ("aux_file", "S24")]


def _place(integer: str, real: str) -> list[Any]:
    offsets = [(name, real) for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")]
    rows = [(name, real, (4,)) for name in ("srow_x", "srow_y", "srow_z")]
    return [("qform_code", integer), ("sform_code", integer), *offsets, *rows]


_NIFTI1 = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("_unused_1", "V36"),
        ("dim", "i2", (8,)),
        ("_intent", "V14"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("_slice_start", "i2"),
        ("pixdim", "f4", (8,)),
        ("vox_offset", "f4"),
        ("scl_slope", "f4"),
        ("scl_inter", "f4"),
        ("_slice", "V3"),
        ("xyzt_units", "u1"),
        ("_display", "V24"),
        *_TEXT,
        *_place("i2", "f4"),
        ("intent_name", "S16"),
        ("magic", "S4"),
    ]
)
_NIFTI2 = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("magic", "S4"),
        ("_eol_check", "V4"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("dim", "i8", (8,)),
        ("_intent", "V24"),
        ("pixdim", "f8", (8,)),
        ("vox_offset", "i8"),
        ("scl_slope", "f8"),
        ("scl_inter", "f8"),
        ("_display", "V48"),
        *_TEXT,
        *_place("i4", "f8"),
        ("_slice_code", "i4"),
        ("xyzt_units", "i4"),
        ("_intent_code", "i4"),
        ("intent_name", "S16"),
        ("_rest", "V16"),
    ]
)
SIZES = {1: _NIFTI1.itemsize, 2: _NIFTI2.itemsize}  # 348, 540

# Below this 1 - b^2 - c^2 - d^2 is rounding of the stored quaternion, whose own precision these are.
_ROUNDING = {1: -3 * float(np.finfo(np.float32).eps), 2: -3 * float(np.finfo(np.float64).eps)}
_UNITS = {0: "unknown", 1: "meter", 2: "mm", 3: "micron"}


def fields(block: bytes, version: int, order: Literal["<", ">"]) -> Any:
    """The header's fields by their names in nifti1.h, as a NumPy record; ValueError for a block that is too short."""
    dtype = (_NIFTI1 if version == 1 else _NIFTI2).newbyteorder(order)
    return np.frombuffer(block, dtype, count=1)[0]


def affine(found: Any, version: int) -> NDArray[np.float64]:
    """4x4, voxel (x, y, z) to the header's units, RAS+: sform, else qform, else voxels around the centre, x to the left.

    ValueError for a quaternion that is none, a negative side of a voxel, or a pixdim[0] that is no sign.
    """
    matrix = np.eye(4)
    if found["sform_code"] != 0:
        for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
            matrix[row] = found[name]
        return matrix
    sides = np.array(found["pixdim"], np.float64)
    if found["qform_code"] != 0:
        if (sides[1:4] < 0).any():
            raise ValueError(f"pixdim {sides[1:4].tolist()} is negative")
        if sides[0] not in (-1.0, 1.0):
            raise ValueError(f"pixdim[0] is {sides[0]:g}, want 1 or -1")
        matrix[:3, :3] = _rotation(found, version) * (sides[1:4] * (1.0, 1.0, sides[0]))
        matrix[:3, 3] = [found[f"qoffset_{axis}"] for axis in "xyz"]
        return matrix
    count = min(int(found["dim"][0]), 3)
    shape, steps = np.ones(3), np.ones(3)
    shape[:count], steps[:count] = found["dim"][1 : 1 + count], sides[1 : 1 + count]
    steps[0] *= -1
    matrix[:3, :3] = np.diag(steps)
    matrix[:3, 3] = -(shape - 1) / 2 * steps
    return matrix


def _rotation(found: Any, version: int) -> NDArray[np.float64]:
    """The rotation of the unit quaternion (a, b, c, d), a >= 0 (nifti1.h, method 2)."""
    b, c, d = (float(found[name]) for name in ("quatern_b", "quatern_c", "quatern_d"))
    square = 1.0 - (b * b + c * c + d * d)
    if not square >= _ROUNDING[version]:
        raise ValueError(f"its quaternion ({b:g}, {c:g}, {d:g}) is longer than 1")
    a = 0.0 if abs(square) < -_ROUNDING[version] else float(np.sqrt(square))
    scale = 2.0 / (a * a + b * b + c * c + d * d)
    return np.array(
        [
            [1 - scale * (c * c + d * d), scale * (b * c - a * d), scale * (b * d + a * c)],
            [scale * (b * c + a * d), 1 - scale * (b * b + d * d), scale * (c * d - a * b)],
            [scale * (b * d - a * c), scale * (c * d + a * b), 1 - scale * (b * b + c * c)],
        ]
    )


def slope_intercept(found: Any) -> tuple[float, float]:
    """scl_slope and scl_inter, (1, 0) when the slope is 0 or not finite; ValueError for an intercept that is not finite."""
    slope, intercept = float(found["scl_slope"]), float(found["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise ValueError(f"scl_slope is {slope:g}, and scl_inter {intercept:g}")
    return slope, intercept


def unit(found: Any) -> str:
    """Of the axes: meter, mm, micron, or unknown, also for a code outside the standard."""
    return _UNITS.get(int(found["xyzt_units"]) & 7, "unknown")
