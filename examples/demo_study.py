"""The second part of the demonstration: a study of 40 hippocampus crops and a real network, with verdict and report.

    .venv/bin/python examples/demo_study.py demo

It runs the commands that anyone would type: study run, study judge, study report.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout
from html import escape
from pathlib import Path
from typing import Any

from slimscan.cli import run

HERE = Path(__file__).resolve().parent


def study_part(folder: Path) -> str:
    """Run the study into folder/study and write its report; the HTML that the demonstration's page shows for it."""
    results = folder / "study"
    _command("study", "run", str(HERE / "demo_study.toml"), "-o", str(results), "--force")
    verdict = _command("study", "judge", str(results), fine=(0, 3))
    _command("study", "report", str(results))
    lines = [_sentence(name, found) for name, found in verdict["codecs"].items()]
    print("\n".join(f"  study: {line}" for line in lines))
    said = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        "<section><h2>A study with a verdict about a network</h2><p>40 MR crops of the hippocampus, none of which the network saw "
        "before, two codecs, six settings each. How far may they be compressed before the network does worse beside what an "
        "expert drew? On average less than 0.02 of Dice may be lost, in either part, and fewer than a tenth of patients may "
        f"lose more than 0.10.</p><ul>{said}</ul>"
        '<p><a href="study/report.html">The whole report</a>, with its curves, losses, worst cases and limits.</p></section>'
    )


def _sentence(name: str, found: dict[str, Any]) -> str:
    """What was found for one codec, in words."""
    level = found["level"]
    if level is None:
        return f"{name}: {found['code']}, no level is certified (which is not a finding of harm)"
    row = next(row for row in found["levels"] if row["level"] == level)
    grade = "grade A" if found["level_A"] == level else "grade B, approximate"
    ratio, patients = row["achieved_cr"]["mean"], row["n"]
    return f"{name}: certified up to {name}@{level:g}, ratio {ratio:.2f} on average over {patients} patients ({grade})"


def _command(*line: str, fine: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """What a command says with --json; the demonstration ends when it fails."""
    said = io.StringIO()
    with redirect_stdout(said):
        status = run([*line, "--json"])
    if status not in fine:
        raise SystemExit(f"slimscan {' '.join(line)}: exit status {status}")
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    place.mkdir(parents=True, exist_ok=True)
    study_part(place)
    print(f"Look at {place / 'study' / 'report.html'}")
