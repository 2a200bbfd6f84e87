"""The nouns: frozen values that every room shares. Functions elsewhere do the work."""

from __future__ import annotations

from slimscan.nouns.codec import IMAGECODECS, NUMBERS, Codec, Holds, Knob, Needs, Setting
from slimscan.nouns.image import Layout, Lazy, Pixels, Volume
from slimscan.nouns.press import Check, Lossless, MaxError, Peak, Psnr, Ratio, Receipt, Target

__all__ = [
    "IMAGECODECS",
    "NUMBERS",
    "Check",
    "Codec",
    "Holds",
    "Knob",
    "Layout",
    "Lazy",
    "Lossless",
    "MaxError",
    "Needs",
    "Peak",
    "Pixels",
    "Psnr",
    "Ratio",
    "Receipt",
    "Setting",
    "Target",
    "Volume",
]
