"""Mask metrics beside MedPy and surface-distance: time and values on a vessel tree, in one process.

    python benchmarks/mask_metrics.py [--shape 300 300 200] [--spacing 1 1 1] [--rounds 3] [--radius 6]

Every row runs ours and theirs in turn, `rounds` times, and prints the medians, theirs / ours (above 1: ours is faster),
and the difference of the values. "same" rows follow one definition and must agree to 1e-6, or the script exits with 1;
"other" rows are what people call instead, and the difference shows what another definition does to the number.
Needs: pip install "slimscan[bench]". It reads no files.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import medpy.metric.binary as medpy
import numpy as np
import surface_distance
from scipy import ndimage

from slimscan import metrics

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from vessels import second_reading, vessel_tree

Call = Callable[[], float]


def rows(x: np.ndarray, y: np.ndarray, mm: tuple[float, ...]) -> list[tuple[str, str, bool, Call, Call]]:
    def surfaces() -> dict[str, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # scipy's old names
            found: dict[str, np.ndarray] = surface_distance.compute_surface_distances(x, y, mm)
            return found

    def ahd_by_transform() -> float:
        to_x, to_y = (ndimage.distance_transform_edt(~m, sampling=mm) for m in (x, y))
        return float((to_y[x].mean() + to_x[y].mean()) / 2)

    def ahd() -> float:
        return metrics.average_hausdorff(x, y, mm)

    def smbd() -> float:
        return metrics.smbd(x, y, mm)

    def assd() -> float:
        return float(np.concatenate(metrics.border_distances(x, y, mm)).mean())

    def average_surface() -> float:
        return float(np.mean(surface_distance.compute_average_surface_distance(surfaces())))

    return [
        ("average_hausdorff", "scipy distance transforms", True, ahd, ahd_by_transform),
        ("average_hausdorff", "MedPy assd", False, ahd, lambda: medpy.assd(x, y, mm)),
        ("average_hausdorff", "surface-distance average", False, ahd, average_surface),
        ("smbd", "MedPy (asd + asd) / 2", True, smbd, lambda: (medpy.asd(x, y, mm) + medpy.asd(y, x, mm)) / 2),
        ("smbd", "surface-distance average", False, smbd, average_surface),
        ("border_distances, mean", "MedPy assd", True, assd, lambda: medpy.assd(x, y, mm)),
        ("hausdorff", "MedPy hd", True, lambda: metrics.hausdorff(x, y, mm), lambda: medpy.hd(x, y, mm)),
        (
            "hausdorff 95 pooled", "MedPy hd95", True,
            lambda: metrics.hausdorff(x, y, mm, 95, pooled=True), lambda: medpy.hd95(x, y, mm),
        ),
        (
            "hausdorff 95", "surface-distance robust 95", False,
            lambda: metrics.hausdorff(x, y, mm, 95),
            lambda: surface_distance.compute_robust_hausdorff(surfaces(), 95),
        ),
        (
            "normalized_surface_dice", "surface-distance at 1 mm", True,
            lambda: metrics.normalized_surface_dice(x, y, mm, 1.0),
            lambda: surface_distance.compute_surface_dice_at_tolerance(surfaces(), 1.0),
        ),
        ("dice", "MedPy dc", True, lambda: metrics.dice(x, y), lambda: medpy.dc(x, y)),
    ]  # fmt: skip


def measured(call: Call) -> tuple[float, float]:
    start = time.perf_counter()
    value = float(call())
    return time.perf_counter() - start, value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 300, 200))
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.0, 1.0, 1.0))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--radius", type=float, default=6.0, help="of the stem, in voxels")
    given = parser.parse_args()
    x = vessel_tree(tuple(given.shape), given.radius)
    y = second_reading(x)
    share = 100 * float(x.mean())
    print(f"vessel tree of {x.sum()} voxels ({share:.2f} %) in {x.shape}, second reading {y.sum()}; mm {given.spacing}")
    print(f"{'ours':24}{'theirs':28}{'ours s':>9}{'theirs s':>10}{'theirs/ours':>13}{'value':>12}{'difference':>12}")
    wrong = 0
    for name, other, same, ours, theirs in rows(x, y, tuple(given.spacing)):
        runs = [(measured(ours), measured(theirs)) for _ in range(given.rounds)]
        mine, yours = (statistics.median(run[side][0] for run in runs) for side in (0, 1))
        ratio = statistics.median(run[1][0] / run[0][0] for run in runs)
        value, gap = runs[0][0][1], runs[0][0][1] - runs[0][1][1]
        word = "same" if same else "other"
        print(f"{name:24}{other:28}{mine:9.3f}{yours:10.3f}{ratio:13.1f}{value:12.6f}{gap:12.1e}  {word}", flush=True)
        wrong += same and not abs(gap) <= 1e-6
    for name, call in (
        ("centreline_dice", lambda: metrics.centreline_dice(x, y)),
        ("skeleton_length_mm", lambda: metrics.skeleton_length_mm(x, tuple(given.spacing))),
    ):
        seconds, value = measured(call)
        print(f"{name:24}{'(nobody to compare with)':28}{seconds:9.3f}{'':10}{'':13}{value:12.4f}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
