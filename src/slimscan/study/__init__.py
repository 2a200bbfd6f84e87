"""The study: how far may an image be compressed, with proof. Rows become a verdict."""

from __future__ import annotations

from slimscan.study.judge import judge
from slimscan.study.plain import as_json

__all__ = ["as_json", "judge"]
