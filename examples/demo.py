"""The demonstration: `python examples/demo.py FOLDER` compresses real images, proves it, and writes a page to look at.

Every line of the table is a command that can be typed; its numbers are those that the command printed with --json.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo_curves import Point, curves_svg, exact_sizes, sweep
from demo_page import Row, Section, page

from slimscan.cli import run

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Scan:
    """One image of the demonstration. asks: arguments of `slimscan compress`; the last one is drawn and read back."""

    name: str
    title: str
    about: str
    asks: tuple[str, ...]
    ratios: tuple[float, ...]


SCANS = (
    Scan(
        "ct_spleen.nii.gz",
        "CT of the upper abdomen",
        "26 slices of 166 x 164, 5 mm thick, int16 in HU (Medical Segmentation Decathlon, CC BY-SA 4.0). "
        "Thick slices with noise: the hard case.",
        (
            "--lossless --codec jpegxl",
            "--max-error 4 --codec jpegls",
            "--psnr 60 --codec jpeg2000",
            "--ratio 8 --codec jpeg2000",
            "--ratio 8 --codec auto",
        ),
        (3, 5, 9, 18),
    ),
    Scan(
        "microct_cortex.ome.tif",
        "Synchrotron micro-CT of mouse cortex",
        "64 slices of 128 x 128, uint8, 0.65 um (xbrain, Apache-2.0). Thin slices that resemble their neighbours: "
        "codecs that look across slices win.",
        (
            "--lossless --codec jpegxl",
            "--max-error 4 --codec sperr",
            "--psnr 42 --codec jpeg2000",
            "--ratio 15 --codec jpeg2000",
            "--ratio 15 --codec auto",
        ),
        (3, 6, 13, 28),
    ),
)


def study_part(folder: Path) -> str:
    """The second part, a study with a verdict: demo_study.study_part(folder), where that module stands beside this one.

    Gives the HTML that the page shows for it, "" without the module.
    """
    if importlib.util.find_spec("demo_study") is None:
        return ""
    import demo_study  # type: ignore[import-not-found, unused-ignore]

    return str(demo_study.study_part(folder))


def command(line: Sequence[str]) -> dict[str, Any]:
    """What a command says with --json; the demonstration ends when a command fails."""
    said = io.StringIO()
    with redirect_stdout(said):
        status = run([*line, "--json"])
    if status:
        raise SystemExit(f"slimscan {shlex.join(line)}: exit status {status}")
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def compress_all(scan: Scan, folder: Path) -> list[Row]:
    """Every ask of a scan as a row of the table."""
    rows = []
    for number, ask in enumerate(scan.asks, 1):
        place = folder / f"{scan.name.split('.')[0]}_{number}.ozx"
        line = ["compress", str(DATA / scan.name), "-o", str(place), *shlex.split(ask), "--force"]
        row = Row(ask, place.name, command(line))
        print(f"  {row.text()}", flush=True)
        rows.append(row)
    return rows


def read_back(scan: Scan, row: Row, folder: Path) -> tuple[Mapping[str, Any], Path]:
    """Decode the file with a command of its own, compare with the source, draw the worst slice."""
    source, packed = str(DATA / scan.name), str(folder / row.file)
    back = str(folder / f"{scan.name.split('.')[0]}_back.nii.gz")
    panel = folder / f"{scan.name.split('.')[0]}_panel.png"
    command(["decompress", packed, "-o", back, "--force"])
    found = command(["compare", source, packed, "--force", "--panel", str(panel)])
    again = command(["compare", packed, back])
    print(f"  read back: PSNR {found['psnr_db']:.2f} dB, SSIM {found['ssim']:.4f}, decoded NIfTI", end=" ")
    print("identical" if again["identical"] else "DIFFERS")
    return found | {"same": again["identical"]}, panel


def section(scan: Scan, folder: Path, codecs: Sequence[str]) -> tuple[Section, Path]:
    """Everything about one scan."""
    print(f"\n{scan.title} ({scan.name})", flush=True)
    rows = compress_all(scan, folder)
    compared, panel = read_back(scan, rows[-1], folder)
    print("  every lossy codec at", ", ".join(f"{ratio:g}:1" for ratio in scan.ratios), flush=True)
    points: list[Point] = sweep(DATA / scan.name, codecs, scan.ratios, folder)
    exact = exact_sizes(DATA / scan.name, codecs, folder)
    chart = curves_svg(points, scan.ratios, rows[0].said["ratio"], scan.title)
    return Section(scan.title, scan.about, scan.name, rows, compared, panel, chart, exact), panel


def make(folder: Path, scans: Sequence[Scan] = SCANS, codecs: Sequence[str] | None = None) -> Path:
    """Write the page and everything that it shows into `folder`; gives the page's path."""
    import slimscan

    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    done = [section(scan, folder, list(slimscan.CODECS) if codecs is None else codecs) for scan in scans]
    shrink(done[0][1], folder / "panel.png")
    place = folder / "index.html"
    place.write_text(page([found for found, _ in done], study_part(folder)), encoding="utf-8")
    print(f"\n{time.perf_counter() - started:.0f} s. Look at {place} and {folder / 'panel.png'}")
    return place


def shrink(source: Path, place: Path) -> None:
    """The same picture in the 256 colours that a panel uses most: a third of the bytes."""
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image
    from scipy.spatial import KDTree

    greys = np.repeat(np.arange(255, -1, -2)[:, None], 3, axis=1)
    hues = np.rint(255 * colormaps["RdBu_r"](np.linspace(0, 1, 112))[:, :3])
    # The two inks of the profile and the mark, on white and on grey.
    inks = [
        np.array(ink) * a / 8 + paper * (1 - a / 8)
        for ink, paper in (((0xD5, 0x5E, 0x00), 255), ((0xE6, 0x9F, 0x00), 170))
        for a in range(1, 9)
    ]
    palette = np.rint(np.vstack([greys, hues, inks])).astype(np.uint8)
    with Image.open(source) as image:
        pixels = np.asarray(image.convert("RGB"))
    colours, which = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    nearest = KDTree(palette.astype(float)).query(colours.astype(float))[1].astype(np.uint8)
    picture = Image.fromarray(nearest[which].reshape(pixels.shape[:2])).convert("L")
    picture.putpalette(palette.tobytes())
    picture.save(place, optimize=True)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
