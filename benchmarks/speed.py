"""The whole command at a given setting beside a bare loop over the same library calls.

    python benchmarks/speed.py [--rounds 5] [--only jpeg2000,htj2k] [--quick]

Both are child processes from start to end: Python's start, imports, reading, encoding on 2 threads, writing. The same
.nii goes into both; the bare loop (bare.py) is told range and quality. Asked for: without verification at most 1.15
times the bare loop; verification adds at most one decode; at least 1.7 times faster than a loop of glymur on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from common import SEED, Run, alternate, enlarged, images, ratio, run, save_nifti, slimscan, table, where

from slimscan import CODECS, read
from slimscan.press.survey import survey

BARE = str(Path(__file__).with_name("bare.py"))
SETTINGS = ("jpeg2000@55", "jpeg2000@lossless", "htj2k@8", "htj2k@lossless", "jpegls@2", "jpegxl@lossless", "sperr@16")
MOST, FASTER = 1.15, 1.7


def volumes(folder: Path, quick: bool) -> dict[str, Path]:
    """Files of 100 MB and more, made from real volumes: a head CT, and an MRI whose background must stay exact."""
    wanted = {"head CT": (216, 512, 512), "brain T1c": (200, 512, 512)}
    found = images(tuple(wanted))
    paths = {}
    for (name, volume), shape in zip(found.items(), wanted.values(), strict=True):
        paths[name] = save_nifti(enlarged(volume, (12, 64, 64) if quick else shape), folder / f"{len(paths)}.nii")
    return paths


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--volume", default="", help="a name, or all")
    parser.add_argument("--only", default="", help="settings, or codecs, between commas")
    parser.add_argument("--no-glymur", action="store_true")
    parser.add_argument("--quick", action="store_true", help="tiny volumes: shows that it runs, the times mean nothing")
    given = parser.parse_args(arguments)
    wanted = [s for s in SETTINGS if not given.only or s in given.only or s.split("@")[0] in given.only.split(",")]
    rounds = 1 if given.quick else given.rounds
    print(f"## Speed of the whole command\n\n{where(SEED)}\n")
    rows, missed = [], 0
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        for name, path in volumes(folder, given.quick).items():
            if given.volume not in ("", name):
                continue
            for setting in wanted:
                row, met = compared(name, path, folder, setting, rounds, glymur=not given.no_glymur)
                rows.append(row)
                missed += not met
                print(" ".join(row), file=sys.stderr, flush=True)
    head = ["volume", "setting", "MB", "bare s", "ours s", "ours/bare"]
    head += ["one decode s", "verifying adds/decode", "glymur/ours"]
    print(table(head, rows))
    print(
        f"\nasked: ours/bare at most {MOST}, adds/decode at most 1, glymur/ours at least {FASTER}; medians of {rounds}"
    )
    return int(missed > 0 and not given.quick)


def compared(name: str, path: Path, folder: Path, setting: str, rounds: int, *, glymur: bool) -> tuple[list[str], bool]:
    """One row, and whether it meets what is asked."""
    codec, _, value = setting.partition("@")
    seen = survey(read(path))
    exact = value == "lossless"
    low = seen.low if exact or seen.background is None else seen.inside_low
    bits = max(9, int(seen.high - low).bit_length())
    flat = "none" if exact or seen.background is None else f"{seen.background:.0f}"
    depth = CODECS[codec].depth if CODECS[codec].chunk == "slab" else 1
    bare = [sys.executable, BARE, str(path), str(folder / "bare")]
    tail = [value, f"{low:.0f}", str(bits)]
    ours = slimscan("compress", path, "-o", folder / "ours.ozx", "--setting", setting, "--force")
    calls = {
        "bare": lambda: run([*bare, codec, *tail, "2", str(depth), flat]),
        "ours": lambda: run([*ours, "--no-verify"]),
        "verified": lambda: run(ours),
    }
    with_glymur = glymur and codec == "jpeg2000"
    if with_glymur:
        calls["glymur"] = lambda: run([*bare, "glymur", *tail, "1", "1", flat])
    got: dict[str, list[Run]] = alternate(calls, rounds)
    for leftover in folder.glob("bare*"):
        leftover.unlink()
    walls = {key: [r.wall_s for r in runs] for key, runs in got.items()}
    cpus = {key: [r.cpu_s for r in runs] for key, runs in got.items()}
    shown = []
    for side, times in enumerate((walls, cpus)):
        decodes = [float(r.stdout.split()[side]) for r in got["bare"]]
        times["bare"] = [whole - decode for whole, decode in zip(times["bare"], decodes, strict=True)]
        adds = [b - a for a, b in zip(times["ours"], times["verified"], strict=True)]
        shown.append((ratio(times["ours"], times["bare"]), ratio(adds, decodes), statistics.median(decodes)))
    faster = ratio(walls["glymur"], walls["ours"]) if with_glymur else None
    row = [name, setting, f"{seen.samples * 2 / 1e6:.0f}", f"{statistics.median(walls['bare']):.2f}"]
    row += [f"{statistics.median(walls['ours']):.2f}", f"{shown[0][0]:.2f} ({shown[1][0]:.2f})"]
    row += [f"{shown[0][2]:.2f}", f"{shown[0][1]:.2f} ({shown[1][1]:.2f})", f"{faster:.2f}" if faster else ""]
    return row, shown[0][0] <= MOST and shown[0][1] <= 1 and (faster is None or faster >= FASTER)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
