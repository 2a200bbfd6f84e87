"""Compressed files for TorchIO: a reader for its images, and patches as subjects. TorchIO is imported when asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from slimscan.feed.patches import real
from slimscan.feed.source import Cache, Source
from slimscan.nouns import Needs, Pixels

TORCHIO = Needs("torchio", "torchio", "torchio")


def read(path: str | Path) -> tuple[Pixels, Pixels]:
    """tio.ScalarImage("a.ozx", reader=read), tio.LabelMap likewise: ((c, x, y, z), affine in RAS+ mm), the whole image.

    Any file that slimscan reads. Stored samples as they are, float32 in real units where the header scales them.
    """
    source = Source(path, Cache(0))
    volume = source.volume
    whole = volume.slices(0, source.shape[0])
    if volume.slope != 1 or volume.intercept != 0:
        whole = np.moveaxis(real(whole, source), 0, -1)
    channels = whole[..., np.newaxis] if whole.ndim == 3 else whole
    return np.ascontiguousarray(channels.transpose(3, 2, 1, 0)), np.array(volume.affine_mm, np.float64)


def as_subject(item: dict[str, Any]) -> Any:
    """A patch as tio.Subject(image, mask), for TorchIO's transforms: stream(patches, transform=as_subject).

    Only the patch is ever decoded; its affine is that of the patch.
    """
    TORCHIO.demand("patches as subjects")
    tio: Any = importlib.import_module("torchio")
    affine = item["affine"].numpy()
    held: dict[str, Any] = {"image": tio.ScalarImage(tensor=item["image"].permute(0, 3, 2, 1), affine=affine)}
    if "mask" in item:
        held["mask"] = tio.LabelMap(tensor=item["mask"].permute(0, 3, 2, 1), affine=affine)
    return tio.Subject(**held, case=item["case"])
