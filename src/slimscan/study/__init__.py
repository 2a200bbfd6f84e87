"""The study: how far may an image be compressed, with proof. Rows become a verdict."""

from __future__ import annotations

from slimscan.study.plain import as_json
from slimscan.study.verdict import judge

__all__ = ["as_json", "judge"]
