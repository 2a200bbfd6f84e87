"""Peak memory against the number of slices: a stack that is larger than memory may be, compressed in one command.

    python benchmarks/scale.py [--gigabytes 1 2 4 6] [--codec htj2k] [--ratio 20] [--packed 2.4] [--quick]

A folder of 16-bit TIFF slices of 2000x1500 (6 MB each), made from the micro-CT by mirroring it, with noise of its own on
every slice, is compressed by `slimscan compress --ratio`; then a .nii.gz of --packed gigabytes. Asked for: the resident
memory of the command stays under 2 GB at any number of slices. Needs twice the largest size on the disk of the temporary
folder (set TMPDIR), and minutes: it is not part of the tests. Everything is deleted at the end.

resident: the largest that the system saw (ru_maxrss), pages of files that are only mapped among it; own: the part that
the program allocated (RssAnon, looked at every 50 ms, Linux only).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import SEED, images, slimscan, table, where

LIMIT_BYTES = 2e9
SIDES = (2000, 1500)


@dataclass(frozen=True)
class Peak:
    """bytes resident at most, bytes of its own at most (0 when unknown), seconds, and the command's JSON."""

    resident: int
    own: int
    seconds: float
    said: dict[str, object]


def planes(count: int, sides: tuple[int, int]) -> Iterator[np.ndarray]:
    """Slices (y, x) of uint16: the cube back and forth along z, mirrored in y and x, 12 bits, with noise."""
    cube = np.asarray(next(iter(images(("micro-CT",)).values())).pixels)
    cube = (cube.astype(np.int32) - int(cube.min())).astype(np.uint16)
    scale = np.uint16(max(1, 4000 // int(cube.max())))
    rng = np.random.default_rng(SEED)
    noise = rng.normal(scale=8, size=(sides[0] + 256, sides[1] + 256)).astype(np.int16) + np.int16(32)
    depth = len(cube)
    for z in range(count):
        k = z % (2 * depth - 2) if depth > 1 else 0
        plane = cube[k if k < depth else 2 * depth - 2 - k]
        both = np.block([[plane, plane[:, ::-1]], [plane[::-1], plane[::-1, ::-1]]])
        repeats = tuple(-(-side // n) for side, n in zip(sides, both.shape, strict=True))
        wide = np.tile(both, repeats)[: sides[0], : sides[1]] * scale
        y, x = rng.integers(0, 256, 2)
        yield wide + np.maximum(noise[y : y + sides[0], x : x + sides[1]], 0).astype(np.uint16)


def folder_of_slices(place: Path, count: int, sides: tuple[int, int]) -> None:
    """Adds slices to a folder until it holds `count`."""
    import tifffile

    place.mkdir(exist_ok=True)
    held = len(list(place.iterdir()))
    for z, plane in enumerate(planes(count, sides)):
        if z >= held:
            tifffile.imwrite(place / f"slice_{z:05d}.tif", plane, photometric="minisblack")


def packed_nifti(place: Path, count: int, sides: tuple[int, int]) -> None:
    """The same as one .nii.gz."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint16)
    header.set_data_shape((sides[1], sides[0], count))
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    with gzip.open(place, "wb", compresslevel=1) as out:
        out.write(header.binaryblock + b"\0\0\0\0")
        for plane in planes(count, sides):
            out.write(plane.tobytes())


def watched(command: Sequence[str]) -> Peak:
    """Run and watch the memory; RuntimeError with what it said when it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        own = 0
        while True:
            ended, status, used = os.wait4(child.pid, os.WNOHANG)
            if ended:
                break
            own = max(own, _own_bytes(child.pid))
            time.sleep(0.05)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}: {err.read().strip()[-2000:]}")
        unit = 1 if sys.platform == "darwin" else 1024
        return Peak(used.ru_maxrss * unit, own, time.perf_counter() - started, json.loads(out.read()))


def _own_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def main(arguments: list[str]) -> int:
    """Print the table; 1 when the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[1, 2, 4, 6])
    parser.add_argument("--packed", type=float, default=2.4, help="gigabytes of the .nii.gz, 0 for none")
    parser.add_argument("--codec", default="htj2k")
    parser.add_argument("--ratio", type=float, default=20)
    parser.add_argument("--quick", action="store_true", help="a few small slices: shows that it runs")
    given = parser.parse_args(arguments)
    sides = (200, 150) if given.quick else SIDES
    sizes = [0.002, 0.004] if given.quick else sorted(given.gigabytes)
    packed = 0.002 if given.quick else given.packed
    slice_bytes = 2 * sides[0] * sides[1]
    print(f"## Memory\n\n{where(SEED)}\n")
    rows, worst = [], 0
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        free = shutil.disk_usage(folder).free
        if free < 1.5e9 * max([*sizes, 2 * packed]):
            raise SystemExit(f"{folder}: {free / 1e9:.0f} GB free, too little; set TMPDIR to another disk")
        for size in [*sizes, -packed] if packed else sizes:
            count = max(2, round(abs(size) * 1e9 / slice_bytes))
            source = folder / ("slices" if size > 0 else "packed.nii.gz")
            (folder_of_slices if size > 0 else packed_nifti)(source, count, sides)
            if size < 0:
                shutil.rmtree(folder / "slices", ignore_errors=True)
            asked = ["--codec", given.codec, "--ratio", f"{given.ratio:g}", "--force", "--json"]
            peak = watched(slimscan("compress", source, "-o", folder / "out.ozx", *asked))
            worst = max(worst, peak.resident)
            kind = "folder of TIFF" if size > 0 else ".nii.gz"
            row = [kind, f"{count * slice_bytes / 1e9:.1f}", str(count), f"{peak.resident / 1e9:.2f}"]
            row += [f"{peak.own / 1e9:.2f}", f"{peak.said['ratio']:.2f}", f"{peak.seconds:.0f}"]
            row.append(f"{count * slice_bytes / 1e6 / peak.seconds:.0f}")
            rows.append(row)
            print(" ".join(row), file=sys.stderr, flush=True)
    print(table(["source", "GB", "slices", "resident GB", "own GB", "ratio", "s", "MB/s"], rows))
    print(
        f"\nslimscan compress --codec {given.codec} --ratio {given.ratio:g}; asked: resident under {LIMIT_BYTES / 1e9:g} GB"
    )
    return int(worst > LIMIT_BYTES and not given.quick)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
