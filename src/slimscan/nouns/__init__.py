"""The nouns: frozen values that every room shares. Functions elsewhere do the work."""

from __future__ import annotations

from slimscan.nouns.codec import IMAGECODECS, NUMBERS, Codec, Holds, Knob, Needs, Setting
from slimscan.nouns.image import Layout, Lazy, Pixels, Volume
from slimscan.nouns.press import Check, Lossless, MaxError, Peak, Psnr, Ratio, Receipt, Target
from slimscan.nouns.study import (
    Achieved,
    Code,
    CodecVerdict,
    Contract,
    Evidence,
    Grade,
    Level,
    LevelVerdict,
    Trial,
    Verdict,
)

__all__ = [
    "IMAGECODECS",
    "NUMBERS",
    "Achieved",
    "Check",
    "Code",
    "Codec",
    "CodecVerdict",
    "Contract",
    "Evidence",
    "Grade",
    "Holds",
    "Knob",
    "Layout",
    "Lazy",
    "Level",
    "LevelVerdict",
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
    "Trial",
    "Verdict",
    "Volume",
]
