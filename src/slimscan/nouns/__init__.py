"""The nouns: frozen values that every room shares. Functions elsewhere do the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slimscan.nouns.codec import IMAGECODECS, NUMBERS, Codec, Holds, Knob, Needs, Setting
from slimscan.nouns.image import Layout, Lazy, Pixels, Volume
from slimscan.nouns.press import Apart, Check, Lossless, MaxError, Outside, Peak, Policy, Psnr, Ratio, Receipt, Target
from slimscan.nouns.region import Region

if TYPE_CHECKING:
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
    "Apart",
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
    "Outside",
    "Peak",
    "Pixels",
    "Policy",
    "Psnr",
    "Ratio",
    "Receipt",
    "Region",
    "Setting",
    "Target",
    "Trial",
    "Verdict",
    "Volume",
]


def __getattr__(name: str) -> Any:
    """The nouns of a study, made when first asked for: compressing needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module 'slimscan.nouns' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module("slimscan.nouns.study"), name)
