"""python -m slimscan."""

from __future__ import annotations

from slimscan.cli import main

if __name__ == "__main__":
    main()
