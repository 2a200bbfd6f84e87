"""The metrics: one idea a file, plain functions of arrays, and the registry METRICS.

A metric is added by one function, one record in its file's METRICS tuple, and one word here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from slimscan.metrics import entropy as _entropy
from slimscan.metrics import fidelity as _fidelity
from slimscan.metrics import ssim as _ssim
from slimscan.metrics import texture as _texture
from slimscan.metrics.entropy import entropy
from slimscan.metrics.fidelity import mae, max_abs_error, mse, psnr_db
from slimscan.metrics.metric import Direction, Kind, Metric
from slimscan.metrics.ssim import ms_ssim, ms_ssim_map, ssim, ssim_3d, ssim_map
from slimscan.metrics.texture import boxes_from_mask, wtv

_ALL: tuple[tuple[Metric, ...], ...] = (
    _fidelity.METRICS,
    _ssim.METRICS,
    _entropy.METRICS,
    _texture.METRICS,
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for group in _ALL for metric in group})

__all__ = [
    "METRICS",
    "Direction",
    "Kind",
    "Metric",
    "boxes_from_mask",
    "entropy",
    "mae",
    "max_abs_error",
    "ms_ssim",
    "ms_ssim_map",
    "mse",
    "psnr_db",
    "ssim",
    "ssim_3d",
    "ssim_map",
    "wtv",
]
