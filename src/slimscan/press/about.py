"""What a file is, without decoding it: geometry, samples, and the receipt that travels in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slimscan.errors import NotReadable
from slimscan.files.ozx import is_box, open_box
from slimscan.press.open import lazy
from slimscan.press.store import receipt_of


def about(path: str | Path) -> dict[str, Any]:
    """Plain facts of any image that can be read: the keys of `info --json`.

    path, shape (z, y, x[, c]), dtype, bits, spacing_mm (z, y, x), affine_mm (16 numbers, rows first), padding, slope,
    intercept, unit, raw_bytes, file_bytes, ratio (raw bytes / bytes on disk now), header, receipt (empty without one).
    """
    place = Path(path)
    volume = lazy(place)
    dtype = np.dtype(volume.pixels.dtype)
    raw = int(np.prod(volume.shape, dtype=np.int64)) * dtype.itemsize
    on_disk = _bytes(place)
    receipt: dict[str, Any] = {}
    if is_box(place):
        try:
            receipt = receipt_of(open_box(place))
        except NotReadable:
            receipt = {}  # somebody else's zarr
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
        "header": header,
        "receipt": receipt,
    }


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
