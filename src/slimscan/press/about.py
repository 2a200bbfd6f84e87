"""What a file is, without decoding it: geometry, samples, and the receipt that travels in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import NotReadable
from slimscan.files.ozx import is_box, open_box
from slimscan.nouns import Volume
from slimscan.press.open import lazy
from slimscan.press.residual import described
from slimscan.press.store import receipt_of


def about(path: str | Path) -> dict[str, Any]:
    """Plain facts of any image that can be read: the keys of `info --json`.

    path, shape (z, y, x[, c]), dtype, bits, spacing_mm (z, y, x), affine_mm (16 numbers, rows first), padding, slope,
    intercept, unit, raw_bytes, file_bytes, ratio (raw bytes / bytes on disk now), header, receipt (empty without one).
    residual_bytes, base_bytes: of file_bytes, what only restores the original, and the rest (None without a residual);
    residual: how that is coded.
    """
    place = Path(path)
    volume = lazy(place)
    dtype = np.dtype(volume.pixels.dtype)
    raw = int(np.prod(volume.shape, dtype=np.int64)) * dtype.itemsize
    on_disk = _bytes(place)
    receipt = receipt_at(place, volume)
    header = {key: value for key, value in volume.about.items() if key != "bits_declared"}
    return {
        "path": str(path),
        "shape": list(volume.shape),
        "dtype": str(dtype),
        "bits": volume.bits,
        "spacing_mm": list(volume.spacing_mm),
        "affine_mm": [float(v) for v in np.asarray(volume.affine_mm).ravel()],
        "padding": volume.padding,
        "slope": volume.slope,
        "intercept": volume.intercept,
        "unit": volume.unit,
        "raw_bytes": raw,
        "file_bytes": on_disk,
        "ratio": raw / max(1, on_disk),
        **_exact(place, on_disk),
        "header": header,
        "receipt": receipt,
    }


def _exact(place: Path, on_disk: int) -> dict[str, Any]:
    """What an exact restoration takes, when one is inside."""
    none = {"residual_bytes": None, "base_bytes": None, "residual": None}
    if not is_box(place):
        return none
    try:
        beside = open_box(place).residual
    except NotReadable:  # somebody else's zarr
        return none
    if beside is None:
        return none
    name = described(beside.array, str(place)).name
    return {"residual_bytes": beside.nbytes, "base_bytes": on_disk - beside.nbytes, "residual": name}


def receipt_at(place: Path, volume: Volume) -> dict[str, Any]:
    """The receipt that travels in a container, a TIFF, or the DICOM instance of the lowest slice; empty without one."""
    if is_box(place):
        try:
            return receipt_of(open_box(place))
        except NotReadable:
            return {}  # somebody else's zarr
    from slimscan.files import tiffreceipt

    dicom = volume.about.get("dicom") or {}
    try:
        if dicom.get("files") and dicom.get("folder"):
            from slimscan.files.dicom.block import receipt

            text = receipt(Path(dicom["folder"]) / dicom["files"][0])
        else:
            text = tiffreceipt.receipt(place) if place.is_file() else b""
        found = json.loads(text or b"{}")
    except ValueError:
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
