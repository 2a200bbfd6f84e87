"""Verdicts, trials and comparisons as something to look at."""

from __future__ import annotations

from slimscan.report.panel import panel, panel_png

__all__ = ["panel", "panel_png"]
