"""Whole slides: opened by content, read as pixels and as stored tiles."""

from __future__ import annotations

from slimscan.files.slides.open import open_slide

__all__ = ["open_slide"]
