"""The benchmarks run: every part on tiny images, its table printed; no time is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slimscan import Volume

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def quick(*arguments: str) -> str:
    """What a benchmark prints, on phantoms."""
    env = {key: value for key, value in os.environ.items() if key != "SLIMSCAN_DATA"}
    command = [sys.executable, str(BENCHMARKS / arguments[0]), "--quick", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_speed_prints_a_row_a_setting() -> None:
    told = quick("speed.py", "--only", "htj2k", "--no-glymur")
    assert "phantoms (SLIMSCAN_DATA is not set)" in told
    assert "| phantom head | htj2k@8 |" in told
    assert "| phantom brain | htj2k@lossless |" in told


def test_access_reads_the_slice_that_was_asked_for() -> None:
    told = quick("access.py", "--only", "jpeg2000,zstd")
    assert "| jpeg2000 | slice | 50 dB |" in told
    assert "| zstd | 16 slices | lossless |" in told


def test_rate_prints_its_four_tables() -> None:
    told = quick("rate.py", "--part", "lossy", "--part", "exact", "--codecs", "jpeg2000,jpegxl,zstd")
    assert "### Lossy: BD-rate against slice-wise JPEG 2000" in told
    assert "### Exact: bits a voxel, and speed against JPEG 2000" in told


def test_rate_counts_what_a_search_costs() -> None:
    told = quick("rate.py", "--part", "probes", "--codecs", "htj2k")
    assert "| codec | ratio:12 | psnr:50dB,peak=stored | max-error:4 |" in told


def test_scale_measures_a_folder_and_a_packed_file() -> None:
    told = quick("scale.py")
    assert "| folder of TIFF |" in told
    assert "| .nii.gz |" in told


def test_run_refuses_an_unknown_part() -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--only", "spead"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("error: --only spead: allowed: speed, access, rate, scale\n")


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import common

    return common


def test_enlarging_keeps_range_background_and_noise(common: object) -> None:
    rng = np.random.default_rng(3)
    pixels = np.clip(np.rint(400 + rng.normal(scale=12, size=(6, 40, 40))), 1, 4095).astype(np.uint16)
    pixels[:, :10] = 0
    large = common.enlarged(Volume(pixels), (9, 80, 100))  # type: ignore[attr-defined]
    assert large.shape == (9, 80, 100)
    assert large.dtype == np.uint16
    assert (large[:, :18] == 0).all()
    assert large[:, 22:].min() >= 1
    assert large.max() <= pixels.max()
    inside = large[:, 30:].astype(float)
    assert 10 < inside.std() < 18


def test_alternate_runs_every_call_once_a_round_in_turn(common: object) -> None:
    said: list[str] = []
    got = common.alternate({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, 3)  # type: ignore[attr-defined]
    assert "".join(said) == "abbaab"
    assert {name: len(runs) for name, runs in got.items()} == {"a": 3, "b": 3}


def test_ratio_is_the_median_of_pairs(common: object) -> None:
    assert common.ratio([2.0, 9.0, 8.0], [1.0, 1.0, 4.0]) == 2.0  # type: ignore[attr-defined]


def test_untrusted_compares_decoding_here_and_in_children() -> None:
    told = quick("untrusted.py", "--only", "jpeg2000,pcodec")
    assert "| jpeg2000 | 0.0 |" in told
    assert "| pcodec | 0.3 |" in told
