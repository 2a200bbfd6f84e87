"""What Kurmukov 2024 reports, number by number, so that a run can stand beside it.

Kurmukov, Zavolovich, Dalechina, Proskurov, Shirokikh: The Effect of Lossy Compression on 3D Medical Images Segmentation
with Deep Learning, 2024. Figs. 1, 2, 3 and 5 print no numbers; what the text says of them stands in SAID.
"""

from __future__ import annotations

from collections.abc import Mapping

RATES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 70.0, 100.0)

AMOS: Mapping[str, tuple[float, ...]] = {
    "SPL": (0.96, 0.96, 0.96, 0.96, 0.96, 0.94, 0.92, 0.90),
    "RKI": (0.84, 0.84, 0.84, 0.84, 0.83, 0.76, 0.72, 0.67),
    "LKI": (0.76, 0.76, 0.76, 0.76, 0.73, 0.63, 0.59, 0.54),
    "GBL": (0.76, 0.76, 0.76, 0.76, 0.75, 0.62, 0.57, 0.51),
    "ESO": (0.80, 0.80, 0.80, 0.80, 0.78, 0.70, 0.67, 0.62),
    "LIV": (0.87, 0.87, 0.88, 0.87, 0.85, 0.79, 0.76, 0.73),
    "STO": (0.82, 0.81, 0.81, 0.82, 0.80, 0.75, 0.73, 0.70),
    "AOR": (0.96, 0.96, 0.96, 0.96, 0.95, 0.93, 0.91, 0.89),
    "IVC": (0.95, 0.95, 0.95, 0.95, 0.95, 0.92, 0.91, 0.89),
    "PAN": (0.82, 0.81, 0.82, 0.82, 0.79, 0.66, 0.61, 0.52),
    "RAD": (0.84, 0.84, 0.84, 0.84, 0.83, 0.78, 0.75, 0.72),
    "LAD": (0.97, 0.97, 0.97, 0.97, 0.97, 0.96, 0.95, 0.94),
    "DUO": (0.90, 0.90, 0.90, 0.90, 0.89, 0.85, 0.83, 0.80),
    "BLA": (0.95, 0.95, 0.95, 0.95, 0.95, 0.93, 0.92, 0.90),
    "PRO/UTE": (0.90, 0.90, 0.90, 0.90, 0.89, 0.85, 0.83, 0.80),
    "average": (0.87, 0.87, 0.87, 0.87, 0.86, 0.80, 0.78, 0.74),
}
"""Table 1: mean Dice by organ, trained and tested at the same rate, nnU-Net lowres, 300 AMOS CTs, 3 folds."""

CLEAN_RATES = (1.0, 5.0, 10.0, 20.0, 50.0)
CLEAN: Mapping[str, tuple[float, ...]] = {
    "nnU-Net (high resolution)": (0.971, 0.971, 0.970, 0.969, 0.946),
    "Swin UNETR": (0.614, 0.614, 0.614, 0.614, 0.603),
}
"""Table 2: trained on uncompressed, tested on compressed AMOS images. Its head is read as 1, 5, 10, 20, 50."""

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50, 1.0)
"""Section 3.4: shares of the training set that few-shot networks see."""

EVEN, BEST_FEW = 20.0, 20.0
"""Abstract: no loss up to 20:1 when trained and tested there; section 3.4: at 20:1 compressed full-shot beats few-shot."""

SAID: Mapping[str, str] = {
    "psnr": "Its Fig. 1 (right): a significant drop of PSNR at rate 10, which then steadily declines.",
    "diagonal": "Fig. 2 (left) and section 3.2: stable up to rate 20, with rapid deterioration beyond.",
    "matrix": "Figs. 3 and 5, section 3.3: no drop for rates up to 20 in either direction on AMOS and LiTS.",
    "few": "Fig. 2 (right) and section 3.4: at rate 20, training on all images compressed is better than on a fraction of "
    "uncompressed images that takes the same room.",
}

REMARKS = (
    "Its Table 1 prints the left adrenal gland at 0.97 and the liver at 0.87, and two rows (DUO, PRO/UTE) that are alike to the "
    "digit: names and rows may be out of step. They are given as printed.",
    '"No negative impact up to 20" is its reading of 0.87 and 0.86 on average; the left kidney and the pancreas lose 0.03 '
    "at 20:1. No interval and no test is given.",
    "Table 2's nnU-Net has 0.971 where Table 1's average is 0.87: the first is of full, the second of low resolution.",
)
"""What the reader of its numbers should know."""
