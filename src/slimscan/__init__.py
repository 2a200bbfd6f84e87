"""slimscan makes a medical image as small as the task it serves allows, and proves it.

import slimscan
from slimscan import Ratio

receipt = slimscan.compress("ct.nii.gz", "ct.ozx", target=Ratio(20))
slices = slimscan.open("ct.ozx")[100:110, 50:200]  # decodes ten slices, no more
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slimscan.nouns import Lossless, MaxError, Policy, Psnr, Ratio, Receipt, Setting, Volume

if TYPE_CHECKING:
    from slimscan.codecs import CODECS
    from slimscan.files import write
    from slimscan.metrics import METRICS
    from slimscan.press.compress import compress
    from slimscan.press.decompress import decompress
    from slimscan.press.open import open_image as open  # noqa: A004 (slimscan.open is its public name)
    from slimscan.press.open import read

__version__ = "0.1.0.dev0"

__all__ = [
    "CODECS",
    "METRICS",
    "Lossless",
    "MaxError",
    "Policy",
    "Psnr",
    "Ratio",
    "Receipt",
    "Setting",
    "Volume",
    "compress",
    "decompress",
    "open",
    "read",
    "write",
]

# Imported when first asked for: `import slimscan` stays quick.
_WHERE = {
    "CODECS": ("slimscan.codecs", "CODECS"),
    "METRICS": ("slimscan.metrics", "METRICS"),
    "compress": ("slimscan.press.compress", "compress"),
    "decompress": ("slimscan.press.decompress", "decompress"),
    "open": ("slimscan.press.open", "open_image"),
    "read": ("slimscan.press.open", "read"),
    "write": ("slimscan.files", "write"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'slimscan' has no attribute '{name}'")
    import importlib

    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
