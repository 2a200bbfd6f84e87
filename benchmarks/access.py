"""One slice out of a container of 300 slices, beside the same slice out of the same .nii.gz through nibabel.

    python benchmarks/access.py [--rounds 7] [--only jpeg2000,hevc] [--quick]

Every reading opens its file anew, in this process, in turn; both return the slice as an array, and it is checked
against the source. Asked for: at least 50 times faster. The files lie in the page cache: what is measured is decoding,
not the disk.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import SEED, alternate, enlarged, images, ratio, save_nifti, table, where

import slimscan
from slimscan import CODECS, Lossless, Psnr, compress

NAMES = ("jpeg2000", "htj2k", "jpegls", "jpegxl", "zstd", "jpeg2000z", "sperr", "hevc", "hevc-gop8", "av1-gop8")
LEAST = 50.0


def timed(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds and the result."""
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(NAMES), help="codecs between commas")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny volume: shows that it runs, the times mean nothing"
    )
    given = parser.parse_args(arguments)
    names = [name for name in given.only.split(",") if not any(need.missing() for need in CODECS[name].needs)]
    shape = (24, 96, 96) if given.quick else (300, 512, 512)
    rounds = 1 if given.quick else given.rounds
    print(f"## One slice\n\n{where(SEED)}\n")
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as held:
        volume = next(iter(images(("head CT",)).values()))
        pixels = enlarged(volume, shape)
        packed = save_nifti(pixels, Path(held) / "volume.nii.gz")
        for name in names[:3] if given.quick else names:
            row, faster = one(name, pixels, packed, Path(held), rounds)
            rows.append(row)
            missed += faster < LEAST
            print(" ".join(row), file=sys.stderr, flush=True)
    print(table(["codec", "chunk", "saved as", "nibabel .nii.gz ms", "slimscan .ozx ms", "nibabel/slimscan"], rows))
    print(f"\nasked: at least {LEAST:g} times; {shape[0]} slices of {shape[1]}x{shape[2]}, medians of {rounds} slices")
    return int(missed > 0 and not given.quick)


def one(name: str, pixels: np.ndarray, packed: Path, folder: Path, rounds: int) -> tuple[list[str], float]:
    """One codec's row, and how many times faster it is."""
    import nibabel

    found = CODECS[name]
    lossy = found.knob is not None and (name in ("jpeg2000", "htj2k", "jpeg2000z") or not found.lossless)
    path = folder / f"{name}.ozx"
    compress(packed, path, target=Psnr(50) if lossy else Lossless(), codec=name, verify=False)
    wanted = iter(np.linspace(0, len(pixels) - 1, 2 * rounds + 1, dtype=int)[1::2].tolist() * 2)
    at = {"z": 0}

    def theirs() -> tuple[float, np.ndarray]:
        return timed(lambda: np.asarray(nibabel.load(packed).dataobj[:, :, at["z"]]).T)

    def ours() -> tuple[float, np.ndarray]:
        return timed(lambda: slimscan.open(path)[at["z"]])

    ours()  # imports
    times: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(rounds):
        at["z"] = next(wanted)
        got = alternate({"theirs": theirs, "ours": ours}, 1)
        for side, runs in got.items():
            times[side] += [seconds for seconds, _ in runs]
        source, test = pixels[at["z"]], got["ours"][0][1]
        assert (got["theirs"][0][1] == source).all(), "nibabel returned another slice"
        assert test.shape == source.shape
        assert np.abs(test.astype(float) - source).mean() < 30, f"{name} returned another slice"
    faster = ratio(times["theirs"], times["ours"])
    chunk = "slice" if found.chunk == "slice" else f"{found.depth} slices"
    milliseconds = [f"{1e3 * statistics.median(times[side]):.1f}" for side in ("theirs", "ours")]
    return [name, chunk, "50 dB" if lossy else "lossless", *milliseconds, f"{faster:.0f}"], faster


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
