"""A CT series of 500 DICOM files recoded by the whole command, against the codec's own time on as many threads.

    SLIMSCAN_DATA=... python benchmarks/dicom_recode.py [--slices 500] [--codecs jpeg2000,jpegls,htj2k] [--rounds 3]

The series is made in a temporary folder: the real slices of the head CT, shifted within their plane from one repeat to
the next, with consistent geometry, new UIDs and every other attribute as it was. The codec's own time: the pixels lie in
memory already, and the library is called for every slice in a pool of threads; with verification, to encode and to
decode. The command does everything else too: starts Python, reads and checks 500 headers, hashes, writes 500 files.
The other column counts the processor seconds of both, which a machine shared with others disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

SERIES = "ct_head_phantom_philips_5mm_dicom"
LOSSY = {"jpeg2000": "jpeg2000@70", "jpegls": "jpegls@2", "htj2k": "htj2k@4"}
UID = "2.25.30000000000000000000000000000000000"


def make_series(folder: Path, slices: int) -> Path:
    """`slices` single-frame CT files, 512 x 512, 12 bits, Explicit VR Little Endian, 1 mm apart."""
    from pydicom import dcmread

    data = common.data()
    if data is None:
        raise SystemExit("error: SLIMSCAN_DATA does not name the folder of real images, which holds the CT series")
    sources = [dcmread(file) for file in sorted((data / SERIES).iterdir())]
    sources.sort(key=lambda found: float(found.ImagePositionPatient[2]))
    pixels = [found.pixel_array for found in sources]
    folder.mkdir(parents=True)
    for k in range(slices):
        turn, at = divmod(k, len(sources))
        found = sources[at]
        found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        found.ImagePositionPatient = [-115.5, -115.5, float(k)]
        found.SliceLocation = found.InstanceNumber = k + 1
        found.SliceThickness = found.SpacingBetweenSlices = 1
        found.GantryDetectorTilt = 0
        found.SeriesInstanceUID, found.SOPInstanceUID = f"{UID}.1", f"{UID}.2.{k + 1}"
        found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
        found.PixelData = np.roll(pixels[at], (3 * turn, 5 * turn), (0, 1)).tobytes()
        found.save_as(folder / f"IM{k + 1:05d}")
    return folder


def own_time(codec: str, value: float | None, pixels: np.ndarray, bits: int, decode: bool, threads: int) -> Any:
    """Wall and processor seconds of the bare library over all slices."""
    from slimscan.codecs import codec as find_codec
    from slimscan.nouns import Layout

    found, layout = find_codec(codec), Layout((1, *pixels.shape[1:]), str(pixels.dtype), bits)

    def one(k: int) -> int:
        payload = found.encode(pixels[k : k + 1], layout, value)
        if decode:
            found.decode(payload, layout)
        return len(payload)

    one(0)
    started, spent = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        nbytes = sum(pool.map(one, range(len(pixels))))
    return time.perf_counter() - started, time.process_time() - spent, nbytes


def measure(series: Path, pixels: np.ndarray, bits: int, codec: str, lossy: bool, verify: bool, args: Any) -> list[str]:
    """One row of the table."""
    setting = LOSSY[codec] if lossy else f"{codec}@lossless"
    value = float(setting.split("@")[1]) if lossy else None
    out = series.parent / "out"
    last: dict[str, Any] = {}

    def ours() -> tuple[float, float]:
        command = common.slimscan("compress", series, "-o", f"{out}/", "--setting", setting, "--workers", args.threads)
        done = common.run([*command, "--json", *([] if verify else ["--no-verify"])])
        last.update(json.loads(done.stdout[done.stdout.index("{") :]))
        shutil.rmtree(out)
        return done.wall_s, done.cpu_s

    def theirs() -> tuple[float, float]:
        return own_time(codec, value, pixels, bits, verify, args.threads)[:2]

    got = common.alternate({"ours": ours, "theirs": theirs}, args.rounds)
    wall, cpu = ([[run[k] for run in got[name]] for name in ("ours", "theirs")] for k in (0, 1))
    return [
        setting,
        "yes" if verify else "no",
        f"{min(wall[0]):.2f}",
        f"{min(wall[1]):.2f}",
        f"{min(wall[0]) / min(wall[1]):.2f}",
        f"{min(cpu[0]):.2f}",
        f"{min(cpu[1]):.2f}",
        f"{min(cpu[0]) / min(cpu[1]):.2f}",
        f"{last['ratio']:.2f}",
    ]


def main() -> None:
    """Print the table."""
    ask = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ask.add_argument("--slices", type=int, default=500)
    ask.add_argument("--codecs", default="jpeg2000,jpegls,htj2k")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--only", choices=("lossless", "lossy"))
    ask.add_argument("--verify", choices=("yes", "no"))
    args = ask.parse_args()
    print(common.where(), flush=True)
    head = ["setting", "verified", "command s", "codec s", "wall ratio", "command CPU s", "codec CPU s", "CPU ratio"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        series = make_series(Path(folder) / "series", args.slices)
        volume = common.read(series)
        pixels = np.asarray(volume.pixels)
        for codec in args.codecs.split(","):
            for lossy in (False, True):
                for verify in (False, True):
                    if args.only in (None, "lossy" if lossy else "lossless") and args.verify in (
                        None,
                        "yes" if verify else "no",
                    ):
                        row = measure(series, pixels, volume.bits, codec, lossy, verify, args)
                        print(os.times().elapsed, row, file=sys.stderr, flush=True)
                        rows.append(row)
    print(
        f"\n{args.slices} files of {pixels.shape[1]} x {pixels.shape[2]}, {volume.bits} bits; best of {args.rounds}\n"
    )
    print(common.table([*head, "ratio on disk"], rows))


if __name__ == "__main__":
    main()
