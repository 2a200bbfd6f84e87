"""How hippocampus.onnx was made: `SLIMSCAN_DATA=... python examples/networks/train.py FOLDER` (extra torch and onnx).

Cases of the Medical Segmentation Decathlon, Task04, that are not shipped with slimscan: nine of ninety are watched, the
others train. The forty shipped ones are tested once, at the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

import slimscan
from slimscan.models.checkpoint import Network, load
from slimscan.models.crops import crops
from slimscan.models.fit import fit
from slimscan.models.normal import ready
from slimscan.models.onnx_out import to_onnx
from slimscan.models.predict import labels
from slimscan.models.spec import FitSpec, NetSpec, NormSpec

SHIPPED = Path(__file__).parent.parent / "data" / "hippocampus"
NET = NetSpec(kind="modern", dims=3, classes=3, levels=3, width=8, names=("anterior", "posterior"))
FIT = FitSpec(steps=800, batch=2, patch=(40, 56, 40), every=100, seed=2021, threads=1)
NORM = NormSpec()


def real(place: Path) -> np.ndarray:
    """Pixels (z, y, x) in their real unit, float64."""
    volume = slimscan.read(place)
    return np.asarray(volume.pixels).astype(np.float64) * volume.slope + volume.intercept


def mask(place: Path) -> np.ndarray:
    """Labels (z, y, x)."""
    return np.asarray(slimscan.read(place).pixels).astype(np.uint8)


def dice(network: Network, images: list[np.ndarray], masks: list[np.ndarray]) -> np.ndarray:
    """(cases, classes) of DSC."""
    found = []
    for image, truth in zip(images, masks, strict=True):
        answer = labels(network, image, "cpu")
        pairs = [(answer == value, truth == value) for value in NET.values[1:]]
        found.append([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])
    return np.array(found)


def main(folder: Path) -> None:
    """Train, test, and write hippocampus.onnx with its TOML."""
    source = Path(os.environ["SLIMSCAN_DATA"]) / "mri_hippocampus_msd"
    shipped = sorted(place.name for place in (SHIPPED / "images").iterdir())
    names = sorted({place.name for place in (source / "images").iterdir()} - set(shipped))
    images = [real(source / "images" / name) for name in names]
    masks = [mask(source / "labels" / name) for name in names]
    watched = range(0, len(names), 10)
    x = [ready(image, NORM) for at, image in enumerate(images) if at not in watched]
    y = [one for at, one in enumerate(masks) if at not in watched]

    def validate(network: Network) -> dict[str, float]:
        means = dice(network, [images[at] for at in watched], [masks[at] for at in watched]).mean(axis=0)
        return dict(zip(NET.names, map(float, means), strict=True))

    best = fit(NET, NORM, FIT, lambda step: crops(x, y, FIT, 3, FIT.seed, step), folder, validate=validate, log=print)
    network = load(best)
    tested = dice(
        network,
        [real(SHIPPED / "images" / name) for name in shipped],
        [mask(SHIPPED / "labels" / name) for name in shipped],
    )
    for name, mean, deviation in zip(NET.names, tested.mean(axis=0), tested.std(axis=0, ddof=1), strict=True):
        print(f"{name}: DSC {mean:.3f} +- {deviation:.3f} over {len(shipped)} patients")
    to_onnx(network, folder / "hippocampus.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
