"""What the benchmarks share: images to measure on, paired timing, and the line that says where it was run.

Real images come from the folder that SLIMSCAN_DATA names; without it the phantoms of the tests stand in, and every
table says so. Nothing is written there: large volumes are made from the small real ones in a temporary folder.
"""

from __future__ import annotations

import datetime
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from slimscan import Volume, read
from slimscan.press.survey import survey

ROOT = Path(__file__).resolve().parents[1]
SEED = 20240229
PACKAGES = ("numpy", "imagecodecs", "nibabel", "zarr", "glymur", "av")

# Name -> where it lies in the folder of real images.
REAL: Mapping[str, str] = {
    "head CT": "ct_head_cranium_invesalius/cranium_ct.nii.gz",
    "spleen CT": "ct_spleen_msd_crop/sub-spleen2_ct.nii.gz",
    "brain T1c": "mri_brain_tumour_pyradiomics/brain1_image.nrrd",
    "abdomen MR": "mri_abdomen_philips_dicom_slideio",
    "mouse brain": "microscopy_mousebrain_brainreg/brain_u16_270x193x271.tif",
    "micro-CT": "microct_mousebrain_xbrain/test_cube1_u8_0.65um.tif",
}


def data() -> Path | None:
    """The folder of real images, or None."""
    named = os.environ.get("SLIMSCAN_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def images(names: Sequence[str] = tuple(REAL), *, quick: bool = False) -> dict[str, Volume]:
    """The real volumes by name, in memory; phantoms when there are none. quick: a few slices of two of them."""
    folder = data()
    found = {name: read(folder / REAL[name]) for name in names} if folder else _phantoms()
    if not quick:
        return found
    return {name: _cropped(volume, 12, 96) for name, volume in list(found.items())[:2]}


def _phantoms() -> dict[str, Volume]:
    sys.path.insert(0, str(ROOT / "tests"))
    from phantoms import head, masked

    return {"phantom head": head((48, 160, 160)), "phantom brain": masked((32, 160, 160))}


def _cropped(volume: Volume, slices: int, side: int) -> Volume:
    from dataclasses import replace

    z, y, x = ((n - min(n, most)) // 2 for n, most in zip(volume.shape[:3], (slices, side, side), strict=True))
    pixels = np.asarray(volume.pixels)[z : z + slices, y : y + side, x : x + side]
    return replace(volume, pixels=np.ascontiguousarray(pixels), raw_header={}, about={})


def enlarged(volume: Volume, shape: tuple[int, int, int], seed: int = SEED) -> np.ndarray:
    """The volume stretched to a shape by linear interpolation, with the noise that this took away put back.

    Background of one value stays so, and the range stays. int16 or uint16 (z, y, x).
    """
    background = survey(volume).background
    source = np.asarray(volume.pixels, np.float32)
    noise = _noise(source)
    rng = np.random.default_rng(seed)
    out = np.empty(shape, np.int16 if source.min() < 0 else np.uint16)
    low, high = float(source.min()), float(source.max())
    depths = np.linspace(0, len(source) - 1, shape[0])
    zoom = (shape[1] / source.shape[1], shape[2] / source.shape[2])
    planes = [ndimage.zoom(plane, zoom, order=1) for plane in source]
    air = [ndimage.zoom((plane == background).astype(np.float32), zoom, order=1) >= 0.5 for plane in source]
    for z, depth in enumerate(depths):
        below = min(int(depth), len(source) - 2) if len(source) > 1 else 0
        above, share = min(below + 1, len(source) - 1), depth - below
        mixed = (1 - share) * planes[below] + share * planes[above]
        mixed += rng.standard_normal(mixed.shape, np.float32) * noise
        mixed = np.clip(np.rint(mixed), low, high)
        if background is not None:
            mixed = np.where(air[below] & air[above], background, np.maximum(mixed, low + (background == low)))
        out[z] = mixed.astype(out.dtype)
    return out


def _noise(source: np.ndarray) -> float:
    """Standard deviation of the noise, from the diagonal details of one Haar level (Donoho 1994), inside the object."""
    a, b = source[:, 0:-1:2, 0:-1:2], source[:, 0:-1:2, 1::2]
    c, d = source[:, 1::2, 0:-1:2], source[:, 1::2, 1::2]
    detail = ((a - b - c + d) / 2)[a > source.min()]
    return float(np.median(np.abs(detail)) / 0.6745) if detail.size else 0.0


def save_nifti(pixels: np.ndarray, path: Path) -> Path:
    """(z, y, x) as NIfTI-1 with voxels of 1 mm, packed when the name ends in .gz."""
    import nibabel

    image = nibabel.Nifti1Image(pixels.transpose(2, 1, 0), np.eye(4), dtype=pixels.dtype)
    image.to_filename(path)
    return path


@dataclass(frozen=True)
class Run:
    """A child process that has ended. wall_s, cpu_s (user and system, children too), peak_bytes (resident)."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    stdout: str


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> Run:
    """Run to the end and measure; RuntimeError with what it said when it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdout=said, stderr=said, text=True, env={**os.environ, **(env or {})})
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        out = said.read()
    if child.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {child.returncode}: {out.strip()[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit, out)


def slimscan(*arguments: str | Path) -> list[str]:
    """The command line of `slimscan`, of the interpreter that runs this."""
    return [sys.executable, "-c", "from slimscan.cli import main; main()", *map(str, arguments)]


def alternate(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Every call once a round, in turn and each round in the other order: load that comes and goes meets them alike."""
    got: dict[str, list[Any]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls) if turn % 2 == 0 else list(calls)[::-1]:
            got[name].append(calls[name]())
    return got


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of ours / theirs, round by round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def where(seed: int = SEED) -> str:
    """One line: date, machine, load, versions, seed, images."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{datetime.date.today()}, {model}, {os.cpu_count()} cores, load {load} at the start, Python "
        f"{platform.python_version()}, {', '.join(versions)}, seed {seed}, "
        f"{'real images' if data() else 'phantoms (SLIMSCAN_DATA is not set)'}"
    )


def own_peak_bytes() -> int:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
