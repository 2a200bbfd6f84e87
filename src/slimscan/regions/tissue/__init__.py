"""Where tissue lies on a slide: masks from colours, from annotations and from corrected pictures, and grids of glass tiles."""

from __future__ import annotations

from slimscan.regions.tissue.grid import Tissue, glass, united
from slimscan.regions.tissue.methods import METHODS, glass_colour

__all__ = ["METHODS", "Tissue", "glass", "glass_colour", "united"]
