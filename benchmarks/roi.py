"""What a region costs: liver of an abdomen CT exact, everything else coarser, beside the whole in one quality.

SLIMSCAN_DATA=... python benchmarks/roi.py [--codecs jpeg2000,hevc] > roi.md
The image: 20 slices of 512 x 512 (DICOM, 12 bits) with its liver labels; see docs/roi.md for the numbers that came.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import slimscan
from slimscan import Lossless, Ratio, Volume
from slimscan.nouns import Region
from slimscan.press.compress import compress

LIVER = 5


def abdomen(data: Path) -> tuple[Volume, Region]:
    """The DICOM series and its liver: slice k of the labels is seg[:, :, k].T[::-1]."""
    import nibabel

    folder = data / "ct_abdomen_totalseg_example"
    volume = slimscan.read(folder / "example_ct_dicom")
    labels = np.asarray(nibabel.load(folder / "example_seg_dicom.nii.gz").dataobj)
    mask = np.stack([labels[:, :, k].T[::-1] for k in range(volume.shape[0])]) == LIVER
    return volume, Region(mask, "liver", {}, "example_seg_dicom.nii.gz#5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codecs", default="jpeg2000,htj2k,jpegls,jpegxl,hevc,sperr,sz3,zstd")
    args = parser.parse_args()
    if not os.environ.get("SLIMSCAN_DATA"):
        sys.exit("SLIMSCAN_DATA names no folder with images")
    volume, region = abdomen(Path(os.environ["SLIMSCAN_DATA"]))
    raw = np.asarray(volume.pixels).nbytes
    print("| output | codec | asked | bytes | ratio | inside | outside PSNR dB | outside, largest error | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")

    def row(name: str, codec: str, asked: str, **options: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            place = f"{folder}/{name}"
            started = time.perf_counter()
            try:
                receipt = compress(volume, place, codec=codec, **options)  # type: ignore[arg-type]
            except slimscan.errors.SlimscanError as error:
                print(f"| {name} | {codec} | {asked} | {error} |")
                return
            seconds = time.perf_counter() - started
            back = np.asarray(slimscan.read(place).pixels).astype(np.float64) - np.asarray(volume.pixels)
            size = receipt.file_bytes
        within, without = back[region.weight], back[~np.asarray(region.weight)]
        psnr = 10 * np.log10(4095**2 / max(1e-12, (without**2).mean()))
        inside = "exact" if not within.any() else f"off by {np.abs(within).max():g}"
        shown = "exact" if not without.any() else f"{psnr:.1f}"
        print(
            f"| {name} | {codec} | {asked} | {size} | {raw / size:.2f} | {inside} | {shown} |"
            f" {np.abs(without).max():g} | {seconds:.1f} |",
            flush=True,
        )

    for codec in ("jpeg2000", "jpegls", "jpegxl"):
        row("a.ozx", codec, "lossless", target=Lossless())
    row("a.ozx", "jpeg2000", "ratio 20, no region", target=Ratio(20))
    for codec in args.codecs.split(","):
        row("a.ozx", codec, "inside lossless, outside ratio:40", roi=region, outside="ratio:40")
    for value in (10, 20, 40):
        row("a.ozx", "jpeg2000", f"ratio {value}, region first", roi=region, target=Ratio(value))
    row("a.ozx", "hevc", "ratio 20, region first", roi=region, target=Ratio(20))
    row(
        "a.ozx",
        "jpeg2000",
        "inside max-error:1, outside ratio:40",
        roi=region,
        inside="max-error:1",
        outside="ratio:40",
    )
    for codec in ("jpeg2000", "htj2k", "jpegls", "jpegxl"):
        row("dicom/", codec, "lossless", target=Lossless())
        row("dicom/", codec, "inside lossless, outside max-error:32", roi=region, outside="max-error:32")
    row("dicom/", "jpeg2000", "inside lossless, outside ratio:20", roi=region, outside="ratio:20")
    for codec in ("jpeg2000", "jpegls", "jpegxl"):
        row("dicom/", codec, "inside lossless, outside calm", roi=region, outside="calm")
    row("dicom/", "jpegls", "inside lossless, outside constant:0", roi=region, outside="constant:0")
    row("a.nii.gz", "gzip", "lossless", target=Lossless())
    row("a.nii.gz", "gzip", "inside lossless, outside max-error:32", roi=region, outside="max-error:32")


if __name__ == "__main__":
    main()
