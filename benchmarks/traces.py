"""Traces of an earlier lossy compression in pixels: false alarms on images that had none, and what is found by quality.

    python benchmarks/traces.py [--every 1] [--quick]

False alarms: every slice of every image in the folder of real images that no header calls lossy, two slices at a time as
`slimscan compress` looks at them. Found: two slices of each image, coded by libjpeg-turbo (8 or 12 bits) and OpenJPEG (the 9/7
wavelet cut at a PSNR), decoded, and looked at without being told. 1 when there is a false alarm.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import imagecodecs
import numpy as np
from common import SEED, data, images, table, where

from slimscan import Volume, read
from slimscan.errors import SlimscanError
from slimscan.metrics.traces import jpeg_trace
from slimscan.metrics.wavelet_traces import wavelet_trace
from slimscan.press.history import told

QUALITIES = (50, 75, 90, 95, 98)
DECIBELS = (70, 60, 50, 45)
EXTRA = {"CR": "dicom_zoo/pydicom-data/RG3_J2KR.dcm", "abdomen CT": "ct_abdomen_totalseg_example/example_ct_dicom"}
SKIPPED = ("wsi_he", "ct_lungtumour_patches_msd", "malformed")  # lossy slides, no image files, broken on purpose


def everything() -> Iterator[tuple[str, Volume]]:
    """Every image of the folder that can be read and that no header calls lossy."""
    folder = data()
    if folder is None:
        yield from images().items()
        return
    series = {file.parent for file in folder.rglob("*") if file.is_file() and "_dicom" in str(file.parent)}
    files = [file for file in folder.rglob("*") if file.is_file() and file.parent not in series]
    for path in sorted([*series, *files]):
        if any(word in str(path) for word in SKIPPED) or path.suffix in (".md", ".txt", ".json"):
            continue
        try:
            volume = read(path)
        except SlimscanError:
            continue
        if not told(volume).why and min(volume.shape[1:3]) >= 32:
            yield str(path.relative_to(folder)), volume


def alarms(every: int) -> tuple[list[list[str]], int]:
    """Rows of a table of false alarms by folder, and their number."""
    seen: dict[str, list[int]] = {}
    for name, volume in everything():
        counts = seen.setdefault(name.split("/")[0], [0, 0, 0, 0, 0])
        counts[0] += 1
        pixels = np.asarray(volume.pixels)
        for z in range(0, len(pixels), 2 * every):
            pair = list(pixels[z : z + 2])
            jpeg, wavelet = jpeg_trace(pair), wavelet_trace(pair)
            counts[1] += 1
            counts[2] += jpeg.found
            counts[3] += wavelet.found
            counts[4] += jpeg.suspected + wavelet.suspected
            if jpeg.suspected or wavelet.suspected:
                print(f"{name} slice {z}: {jpeg} {wavelet}", file=sys.stderr, flush=True)
        print(name, counts, file=sys.stderr, flush=True)
    rows = [[name, *map(str, counts)] for name, counts in seen.items()]
    total = [sum(column) for column in zip(*seen.values(), strict=True)]
    return [*rows, ["all", *map(str, total)]], total[2] + total[3]


def found() -> list[list[str]]:
    """A row for each image: votes by quality, a dash where the traces do not suffice, and the seconds that a look takes."""
    folder = data()
    volumes = images() | ({name: read(folder / place) for name, place in EXTRA.items()} if folder else {})
    rows = []
    for name, volume in volumes.items():
        pixels = np.asarray(volume.pixels)
        picks = sorted({len(pixels) // 4, len(pixels) // 2})
        low = int(pixels.min())
        bits = max(8, (int(pixels.max()) - low).bit_length())
        planes = [
            (np.rint(pixels[z]).astype(np.int64) - low).astype(np.uint8 if bits == 8 else np.uint16) for z in picks
        ]
        started = time.perf_counter()
        jpeg_trace(planes), wavelet_trace(planes)
        seconds = time.perf_counter() - started
        row = [name, f"{planes[0].shape[0]} x {planes[0].shape[1]}, {bits} bits"]
        for quality in QUALITIES:
            deep, shift = (8, 0) if bits == 8 else (12, max(0, bits - 12))
            coded = [imagecodecs.jpeg8_encode(plane >> shift, level=quality, bitspersample=deep) for plane in planes]
            row.append(_told([imagecodecs.jpeg8_decode(one) for one in coded], jpeg_trace))
        for level in DECIBELS:
            coded = [
                imagecodecs.jpeg2k_encode(plane, level=level, reversible=False, bitspersample=bits, codecformat="J2K")
                for plane in planes
            ]
            ratio = sum(plane.nbytes for plane in planes) / sum(map(len, coded))
            row.append(f"{_told([imagecodecs.jpeg2k_decode(one) for one in coded], wavelet_trace)} ({ratio:.0f})")
        rows.append([*row, f"{seconds:.2f}"])
    return rows


def _told(planes: list[np.ndarray], look: object) -> str:
    trace = look(planes)  # type: ignore[operator]
    return f"{trace.votes}/{trace.asked}" if trace.found else "-"


def main(arguments: list[str]) -> int:
    """Print both tables; 1 when an image that was never lossy is called so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="look at every n-th pair of slices")
    parser.add_argument("--quick", action="store_true", help="phantoms or few pairs: shows that it runs")
    given = parser.parse_args(arguments)
    print(f"## Traces\n\n{where(SEED)}\n")
    head = ["image", "slices", *(f"JPEG {q}" for q in QUALITIES), *(f"J2K {db} dB (ratio)" for db in DECIBELS), "s"]
    print(table(head, found()), flush=True)
    rows, wrong = alarms(50 if given.quick else given.every)
    head = ["folder", "images", "looks", "called JPEG", "called JPEG 2000", "suspected"]
    print(f"\n{table(head, rows)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
