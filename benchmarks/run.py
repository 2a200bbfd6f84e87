"""All benchmarks of compression, one after the other: `make bench`.

    python benchmarks/run.py [--quick] [--only speed,access,rate]

Prints the tables of docs/benchmarks.md. --quick: tiny images, to show that every part runs (two minutes at most).
scale.py needs 12 GB of disk and several minutes, so it runs only when it is named, or with --all.
SLIMSCAN_DATA names the folder of real images; phantoms stand in without it.
"""

from __future__ import annotations

import argparse
import sys

import access
import rate
import scale
import speed

PARTS = {"speed": speed.main, "access": access.main, "rate": rate.main, "scale": scale.main}
LARGE = ("scale",)


def main(arguments: list[str]) -> int:
    """Run the parts; 1 when one of them misses a requirement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--all", action="store_true", help="the large ones too")
    parser.add_argument("--only", default="", help=f"of {', '.join(PARTS)}, between commas")
    given = parser.parse_args(arguments)
    named = [name for name in given.only.split(",") if name]
    unknown = [name for name in named if name not in PARTS]
    if unknown:
        parser.error(f"--only {','.join(unknown)}: allowed: {', '.join(PARTS)}")
    usual = [name for name in PARTS if name not in LARGE or given.all or given.quick]
    missed = 0
    for name in named or usual:
        missed += PARTS[name](["--quick"] if given.quick else [])
        print(flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
