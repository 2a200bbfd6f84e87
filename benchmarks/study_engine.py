"""What a study costs beside its codecs and task, how fast it is the second time, and whether kill -9 changes a row.

    python benchmarks/study_engine.py cost DATA [CASES]      130 hippocampus cases x 8 levels x 3 codecs, Otsu
    python benchmarks/study_engine.py kill DATA [CASES]      kill -9 at 20 random moments, then byte for byte

DATA: folder with mri_hippocampus_msd. Prints the figures; exit 1 when a requirement is missed.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from slimscan.study import rows as table

TOML = """
[study]
name = "engine"
question = "What does the engine cost?"
[cases]
images = "{data}/mri_hippocampus_msd/images/{{case}}.nii.gz"
masks = "{data}/mri_hippocampus_msd/labels/{{case}}.nii.gz"
modality = "MR"
limit = {cases}
[[codecs]]
name = "jpeg2000"
settings = [65, 60, 55, 50, 45, 40, 35, 30]
[[codecs]]
name = "htj2k"
{htj2k}
[[codecs]]
name = "jpegxl"
settings = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8]
[[tasks]]
name = "tissue"
kind = "otsu"
[metrics]
names = ["dice"]
[contract]
delta = 0.02
"""


def study_run(toml: Path, out: Path, *more: str) -> list[str]:
    """The command that a person would type."""
    start = [sys.executable, "-c", "import sys; from slimscan.cli import main; main()"]
    return [*start, "study", "run", str(toml), "-o", str(out), *more]


def written(folder: Path, data: Path, cases: int) -> Path:
    """The TOML of the benchmark."""
    from slimscan.codecs import codec

    knob = codec("htj2k").knob
    assert knob is not None
    fine, coarse = (knob.low, knob.high) if knob.finer == "low" else (knob.high, knob.low)
    if knob.scale == "log":
        levels = [fine * (coarse / fine) ** (0.05 + 0.05 * n) for n in range(8)]
    else:
        levels = [fine + (coarse - fine) * (0.05 + 0.05 * n) for n in range(8)]
    place = folder / "engine.toml"
    place.write_text(
        TOML.format(data=data.resolve(), cases=cases, htj2k=f"settings = {[float(f'{v:.4g}') for v in levels]}")
    )
    return place


def cost(data: Path, cases: int) -> int:
    """Seconds of a run and of a second one, and the share that is neither codec nor task."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        toml, out = written(base, data, cases), base / "out"
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run(
                study_run(toml, out, "--each", "processes", "--workers", "2"), check=True, stdout=subprocess.DEVNULL
            )
            seconds.append(time.perf_counter() - started)
        timing = json.loads((out / "timing.json").read_text())["runs"][0]
        count = len(table.read(out / "trials.parquet"))
    print(f"{cases} cases x 8 levels x 3 codecs, Otsu, 2 processes: {count} rows")
    print(f"  first run            {seconds[0]:8.1f} s")
    print(f"  second run           {seconds[1]:8.1f} s")
    for name in ("codec", "task", "metric", "read", "engine"):
        print(f"  {name:<20} {timing[name + '_seconds']:8.1f} s of worker time")
    print(f"  engine / (codec + task) {timing['engine_percent']:5.2f} %   (required: under 5)")
    return int(timing["engine_percent"] >= 5 or seconds[1] >= 10)


def kill(data: Path, cases: int, kills: int = 20) -> int:
    """Kill a run again and again, let it end, and compare its rows with those of one that was left alone."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        toml = written(base, data, cases)
        started = time.perf_counter()
        subprocess.run(study_run(toml, base / "whole"), check=True, stdout=subprocess.DEVNULL)
        alone = time.perf_counter() - started
        done = 0
        while done < kills:
            process = subprocess.Popen(
                study_run(toml, base / "killed"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(1.0 + moments.uniform(0, 2.5 * alone / kills))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
            else:
                break
        subprocess.run(study_run(toml, base / "killed"), check=True, stdout=subprocess.DEVNULL)
        same = (base / "whole/trials.parquet").read_bytes() == (base / "killed/trials.parquet").read_bytes()
    print(
        f"{cases} cases, {done} times kill -9: rows {'the same, byte for byte' if same else 'DIFFER'} ({alone:.0f} s alone)"
    )
    return int(not same or done < kills)


if __name__ == "__main__":
    what, data, *rest = sys.argv[1:]
    part = {"cost": cost, "kill": kill}[what]
    sys.exit(part(Path(data), int(rest[0]) if rest else {"cost": 130, "kill": 30}[what]))
