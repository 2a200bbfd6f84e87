"""What Luu 2021 reports, number by number, so that a run can stand beside it.

Luu, van Walsum, Franklin, Pham, Vu, Moelker, Staring, HoangVan, Niessen, Trung: Efficiently Compressing 3D Medical Images
for Teleinterventions via CNNs and Anisotropic Diffusion, typeset 27 January 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ratios(NamedTuple):
    """One column of Table 3: median ratios (standard deviations), improvement in percent, largest time in seconds."""

    original: float
    original_sd: float
    diffused: float
    diffused_sd: float
    improvement: float
    improvement_sd: float
    seconds: float | None

    @property
    def of_medians(self) -> float:
        """The improvement in percent that the two medians alone give; the paper's own is a mean over images."""
        return 100 * (self.diffused / self.original - 1)


TABLE_3: Mapping[str, Ratios] = {
    "GZ": Ratios(1.7, 0.21, 2.1, 0.37, 33, 14, 23.1),
    "RAR": Ratios(2.28, 0.33, 3.29, 0.70, 44, 18, 26.8),
    "ZIP": Ratios(1.6, 0.2, 2.34, 0.43, 29, 14, 23.6),
    "BZ2": Ratios(2.28, 0.32, 3.45, 0.78, 47, 20, 23.8),
    "7z": Ratios(2.13, 0.28, 3.06, 0.63, 38, 16, 34.9),
    "iSyntax": Ratios(2.26, 0.26, 2.93, 0.51, 29, 15, None),
    "SPIHT": Ratios(2.54, 0.94, 3.3, 1.07, 33, 24, 32.8),
    "JLS": Ratios(2.63, 0.42, 4.12, 0.95, 53, 22, 27.5),
    "J2K": Ratios(2.18, 0.32, 3.22, 0.61, 46, 19, 38.2),
    "HEVC": Ratios(4.73, 0.77, 6.45, 1.06, 36, 13, 36.3),
}
"""Table 3: 141 abdominal CTs. Median ratio and improvement by compression method."""

TABLE_2: Mapping[str, float] = {
    "diffusion_s": 34.7,
    "psnr_db": 70.33,
    "ssim": 0.95,
    "bz2_ratio": 2.25,
    "entropy_original": 9.15,
    "entropy_diffused": 8.66,
}
"""Table 2: the 10 pilot CTs (Mayo) at K 0.4 and 15 iterations, means."""

TABLE_5: Mapping[str, float] = {"psnr_db": 70.03, "ssim": 0.95, "ratio": 6.45, "encode_s": 138.5, "decode_s": 21.6}
"""Table 5, last row: 151 CTs, HEVC on the diffused images; the largest times."""

LIVER: Mapping[str, float] = {"psnr_db": 92.0, "ssim": 0.998}
"""Section III.D.1: inside the liver of HEVC-decompressed diffused images, means."""


class Reading(NamedTuple):
    """One column of Table 4, 33 CTs with 61 lesions. sc, ns: percent, as printed. mm: median displacement (Fig. 8)."""

    tp: int
    fp: int
    fn: int
    sc: float
    ns: float
    mm: float


TABLE_4: Mapping[tuple[str, str], Reading] = {
    ("radiologist 1", "original"): Reading(41, 21, 20, 67.2, 0.0, 2.4),
    ("radiologist 1", "diffused BZ2"): Reading(39, 16, 22, 63.9, 1.6, 2.2),
    ("radiologist 1", "diffused HEVC"): Reading(40, 19, 21, 65.5, 0.0, 2.6),
    ("radiologist 2", "original"): Reading(44, 15, 17, 72.1, 19.7, 2.0),
    ("radiologist 2", "diffused BZ2"): Reading(43, 13, 18, 70.4, 19.7, 2.3),
    ("radiologist 2", "diffused HEVC"): Reading(42, 12, 19, 68.8, 18.0, 2.3),
}
"""Table 4, and the medians of section III.D.2."""
