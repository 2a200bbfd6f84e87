"""Predictors: TorchScript and ONNX networks, Python functions and command lines, run so that they may fail.

What a model raises, prints or leaves behind becomes one BadAnswer; a model that crashes its process or hangs does that to
a child.
"""

from __future__ import annotations

from slimscan.models.answer import BadAnswer
from slimscan.models.way import Way

__all__ = ["BadAnswer", "Way"]
