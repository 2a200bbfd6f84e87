"""Writes the page of a folder of network experiments: docs/recipes/NAME.md, with figures in docs/images/NAME-*.png.

    python docs/recipes/experiments.py FOLDER NAME

FOLDER: what `slimscan study recipe` left, with experiment.json and rows.csv. NAME: elkhoury2021 or kurmukov2024.
"""

from __future__ import annotations

import sys
from pathlib import Path

from slimscan.report.experiments import write_markdown

HERE = Path(__file__).parent


def main() -> int:
    """Exit 2 with the use when called otherwise."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder, name = sys.argv[1:]
    print(write_markdown(Path(folder), HERE / f"{name}.md", HERE.parent / "images"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
