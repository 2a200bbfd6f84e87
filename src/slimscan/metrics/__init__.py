"""The metrics: one idea a file, plain functions of arrays, and the registry METRICS.

A metric is added by one function, one record in its file's METRICS tuple, and one word here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from slimscan.metrics.metric import Direction, Kind, Metric

_ALL: tuple[tuple[Metric, ...], ...] = ()

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for group in _ALL for metric in group})

__all__ = [
    "METRICS",
    "Direction",
    "Kind",
    "Metric",
]
