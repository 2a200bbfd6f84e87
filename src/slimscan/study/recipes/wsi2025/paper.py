"""What the slide paper reports, number by number, so that a run can stand beside it.

Deep learning-based compression of giga-resolution whole slide images, 2025 (called wsi2025 here). Learned codecs are left
out: their rows come with their codecs. ORIGIN says where each number stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ends(NamedTuple):
    """A mean with the least and the largest patch."""

    mean: float
    low: float
    high: float


class Line(NamedTuple):
    """A row of Table 3: 828 patches of 256 x 256, 138 of each magnification. kb: 1024 bytes, all patches together."""

    ssim: Ends
    psnr_db: Ends
    kb: int
    reduction: Ends
    bpp: float
    decode_ms: float | None


TABLE_3: Mapping[str, Line] = {
    "jpeg": Line(Ends(0.95, 0.87, 1.0), Ends(35, 28, 54), 18678, Ends(0, 0, 0), 2.82, 2),
    "jpeg2000": Line(Ends(0.96, 0.9, 0.99), Ends(37, 28, 47), 18812, Ends(14, -74, 92), 2.84, None),
    "jpegxl": Line(Ends(0.96, 0.9, 1.0), Ends(37, 28, 54), 15293, Ends(17, -3, 60), 2.31, 3),
}
"""Table 3, the rows without a learned codec."""

MAGNIFICATIONS = (1.25, 2.5, 5.0, 10.0, 20.0, 40.0)
"""Section 2.3.1."""

PATCHES: Mapping[float, int] = {1.25: 138, 2.5: 565, 5.0: 2296, 10.0: 9168, 20.0: 36947, 40.0: 6045}
"""Section 2.3.1: patches of the test slides at each magnification; 138 of each are the balanced set."""

FIG_6: Mapping[tuple[str, str], tuple[float, float]] = {
    ("jpeg", "kept"): (0.0, 0.0),
    ("jpeg", "painted"): (0.3, 33.0),
    ("jpeg", "zero-byte"): (6.0, 62.0),
    ("jpegxl", "kept"): (19.0, 35.0),
    ("jpegxl", "painted"): (22.0, 69.0),
    ("jpegxl", "zero-byte"): (22.0, 71.0),
}
"""Fig. 6 in the words of section 3.1.2: percent saved of the JPEG pyramid with its glass, least and most of 21 slides."""

TOTAL_GB: Mapping[tuple[str, str], float] = {
    ("jpeg", "kept"): 6.45,
    ("jpeg", "zero-byte"): 5.07,
    ("jpegxl", "zero-byte"): 3.95,
}
"""Section 3.1.2: all 21 slides."""

WHITE_TILE: Mapping[str, tuple[str, int]] = {"jpeg": ("more than", 4096), "jpegxl": ("less than", 200)}
"""Sections 2.2.5 and 4.2: bytes of a tile that is all white."""

FIG_9_SSIM: Mapping[str, float] = {"jpeg": 0.93, "jpeg2000": 0.98, "jpegxl": 0.93}
"""Section 3.2.1: the patch that is worst for a learned codec, through the others."""

SECONDS: Mapping[tuple[str, str], float] = {
    ("jpeg", "kept"): 26,
    ("jpeg", "painted"): 39,
    ("jpeg", "zero-byte"): 39,
    ("jpegxl", "kept"): 835,
    ("jpegxl", "painted"): 926,
    ("jpegxl", "zero-byte"): 344,
}
"""Section 3.1.3: mean seconds to write a slide anew."""

ORIGIN: Mapping[str, str] = {
    "TABLE_3": "Table 3, rows JPEG, JPEG-2000, JPEG-XL",
    "MAGNIFICATIONS": "section 2.3.1, last paragraph",
    "PATCHES": "section 2.3.1, last paragraph",
    "FIG_6": "section 3.1.2, second paragraph (Fig. 6)",
    "TOTAL_GB": "section 3.1.2, third paragraph",
    "WHITE_TILE": "section 2.2.5 (JPEG, more than 4 kB) and section 4.2 (JPEG XL, less than 200 bytes)",
    "FIG_9_SSIM": "section 3.2.1, worst case",
    "SECONDS": "section 3.1.3, second paragraph",
}
"""Where each of these stands in the paper."""
