"""A small study of made images: blobs in noise, written as NIfTI, with their masks and a TOML."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import slimscan
from slimscan import Volume

TOML = """
[study]
name = "blobs"
question = "How far may blobs be compressed?"

[cases]
images = "images/{case}.nii.gz"
masks = "masks/{case}.nii.gz"
classes = {blob = 1}
modality = "CT"

[[codecs]]
name = "jpeg2000"
settings = [60, 40, 25]

[[codecs]]
name = "jpegxl"
settings = [0.2, 3]

[[tasks]]
name = "bright"
kind = "otsu"
against = "truth"
classes = {blob = 1}

[[tasks]]
name = "texture"
kind = "texture"

[metrics]
names = ["dice", "average_hausdorff", "volume_ml"]

[contract]
task = "bright"
delta = 0.05
mode = "separate"
"""


def blobs(seed: int, shape: tuple[int, int, int] = (6, 32, 32)) -> tuple[np.ndarray, np.ndarray]:
    """(image uint16, mask uint8), (z, y, x): one bright ellipsoid in noise."""
    rng = np.random.default_rng(seed)
    centre = np.array(shape) / 2 + rng.uniform(-1, 1, 3)
    z, y, x = np.indices(shape)
    radii = np.array(shape) * rng.uniform(0.25, 0.35)
    mask = ((z - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((x - centre[2]) / radii[2]) ** 2 < 1
    image = 300 + 500 * mask + rng.normal(0, 30, shape)
    image.flat[0], image.flat[1] = 0, 1200  # one range for all, so that all have the same bits
    return np.clip(np.rint(image), 0, 4095).astype(np.uint16), mask.astype(np.uint8)


def make(folder: Path, cases: int = 3, toml: str = TOML, shape: tuple[int, int, int] = (6, 32, 32)) -> Path:
    """Write the study; returns its TOML."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    for number in range(cases):
        image, mask = blobs(number, shape)
        slimscan.write(Volume(image, affine, 12), folder / "images" / f"case{number:02}.nii.gz")
        slimscan.write(Volume(mask, affine, 8), folder / "masks" / f"case{number:02}.nii.gz")
    place = folder / "study.toml"
    place.write_text(toml, "utf-8")
    return place
