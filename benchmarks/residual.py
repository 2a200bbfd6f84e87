"""A lossy base and the residual that undoes it, beside the smallest lossless file of a standard codec.

    python benchmarks/residual.py [--images "head CT,micro-CT"] [--codecs jpeg2000,hevc] [--ratios 10,20,40] [--plain]

For every base: the whole file (base, residual, headers) in per cent of the smallest .ozx that JPEG XL, JPEG-LS,
JPEG 2000, HTJ2K or FFV1 make of the same volume without loss; with --plain the same where a standard codec takes the
residual (the fallback without numba); and seconds for writing and for the exact way back. Every file was written, read back, and
restored to the sha256 of its source. "bone, calm" is a base whose outside of the bone was smoothed first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from common import REAL, data, images, table, where

from slimscan import Lossless, Ratio, Receipt, Volume, compress, read
from slimscan.errors import SlimscanError
from slimscan.press import residual_code
from slimscan.press.decompress import decompress

STANDARD = ("jpegxl", "jpegls", "jpeg2000", "htj2k", "ffv1")
ABDOMEN = "ct_abdomen_totalseg_example/example_ct_dicom"
MOST = 1.08


def smallest(volume: Volume, folder: Path) -> tuple[str, int]:
    """(codec, bytes) of the smallest lossless file."""
    sizes = {}
    for name in STANDARD:
        out = folder / f"{name}.ozx"
        sizes[name] = compress(volume, out, target=Lossless(), codec=name, verify=False, force=True).file_bytes
    best = min(sizes, key=sizes.__getitem__)
    return best, sizes[best]


def pressed(volume: Volume, codec: str, ratio: float, folder: Path, *, calm: bool = False) -> Receipt:
    """One file with a residual."""
    out = folder / "a.ozx"
    if calm:
        outside = f"calm+ratio:{ratio:g}"
        return compress(volume, out, roi="image:bone", outside=outside, codec=codec, residual=True, force=True)
    return compress(volume, out, target=Ratio(ratio), codec=codec, residual=True, force=True)


def without_numba(volume: Volume, codec: str, ratio: float, folder: Path, *, calm: bool) -> int:
    """Bytes of the file with the residual in a standard codec."""
    compiled, residual_code.COMPILED = residual_code.COMPILED, False
    try:
        return pressed(volume, codec, ratio, folder, calm=calm).file_bytes
    finally:
        residual_code.COMPILED = compiled


def row(
    name: str, volume: Volume, base: str, codec: str, ratio: float, best: int, folder: Path, *, plain: bool
) -> list[str]:
    """One line of the table."""
    calm = base != codec
    try:
        started = time.perf_counter()
        receipt = pressed(volume, codec, ratio, folder, calm=calm)
        written = time.perf_counter() - started
        started = time.perf_counter()
        decompress(folder / "a.ozx", folder / "b.mha", exact=True, force=True)
        back = time.perf_counter() - started
        standard = without_numba(volume, codec, ratio, folder, calm=calm) / best if plain else None
    except SlimscanError as error:
        return [name, base, f"{ratio:g}", "refused", str(error)[-70:], "", "", "", ""]
    whole = receipt.file_bytes / best
    return [
        name,
        base,
        f"{ratio:g}",
        f"{100 * (receipt.file_bytes - (receipt.residual_bytes or 0)) / best:.1f}",
        f"{100 * whole:.1f}",
        "yes" if whole <= MOST else "no",
        "" if standard is None else f"{100 * standard:.1f}",
        f"{written:.1f}",
        f"{back:.1f}",
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="head CT,abdomen CT,brain T1c,micro-CT")
    parser.add_argument("--codecs", default="jpeg2000,hevc,jpegxl,sperr,bone")
    parser.add_argument("--ratios", default="10,20,40")
    parser.add_argument("--plain", action="store_true", help="also write every file without numba")
    parser.add_argument("--quick", action="store_true")
    said = parser.parse_args(arguments)
    names = said.images.split(",")
    volumes = images([name for name in names if name in REAL], quick=said.quick)
    if "abdomen CT" in names and (folder := data()) and not said.quick:
        volumes["abdomen CT"] = read(folder / ABDOMEN)
    head = ["image", "base", "ratio", "base %", "all %", "<= 108", "without numba %", "s", "s back"]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, volume in volumes.items():
            best, size = smallest(volume, Path(place))
            print(f"{name}: smallest lossless {best}, {size} bytes", flush=True)
            for codec in said.codecs.split(","):
                if codec == "bone" and "CT" not in name.split():
                    continue
                for ratio in [float(one) for one in said.ratios.split(",")]:
                    base, used = ("bone, calm", "jpeg2000") if codec == "bone" else (codec, codec)
                    rows.append(row(name, volume, base, used, ratio, size, Path(place), plain=said.plain))
                    print(" | ".join(rows[-1]), flush=True)
    print(table(head, rows))
    print(where())
    return 0


if __name__ == "__main__":
    sys.exit(main())
