"""Running a study: the same rows on any map, after any kill; nothing computed twice; failures are rows."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from study_maker import TOML, blobs, make

import slimscan
from slimscan import Volume
from slimscan.each import processes, threads
from slimscan.errors import InputError
from slimscan.study import rows as table
from slimscan.study.cache import Cache, key_of
from slimscan.study.estimate import Estimate, spoken
from slimscan.study.folder import Folder
from slimscan.study.plan import fix, load
from slimscan.study.redo import redo
from slimscan.study.run import run

pytest.importorskip("pyarrow")


def go(toml: Path, folder: Path, **words) -> bytes:
    place = Folder(folder)
    run(fix(load(toml)), place, **words)
    return place.trials.read_bytes()


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, bytes]:
    base = tmp_path_factory.mktemp("study")
    toml = make(base)
    return toml, go(toml, base / "whole")


def test_rows_are_what_was_measured(study):
    toml, _ = study
    rows = table.read(toml.parent / "whole" / "trials.parquet")
    assert len(rows) == 3 * 5 * (4 + 2)  # images x levels x (dice, distance, volume, its change; texture, its change)
    assert rows == sorted(rows, key=table.sort_key)
    dice = [row for row in rows if row["metric"] == "dice"]
    assert {row["reference"] for row in dice} == {row["reference"] for row in dice if row["codec"] == "jpegxl"}
    for row in dice:
        assert row["status"] == "ok"
        assert row["achieved_cr"] == row["raw_bytes"] / row["file_bytes"]
        again = redo(Folder(toml.parent / "whole"), row["image"], row["codec"], row["level"])
        assert slimscan.METRICS["dice"].function(again.truth, again.after) == row["value"]
        assert slimscan.METRICS["dice"].function(again.truth, again.before) == row["reference"]
        error = np.abs(np.asarray(again.original.pixels, float) - np.asarray(again.decoded.pixels, float))
        assert error.max() == row["max_abs_error"]


@pytest.mark.parametrize("each", [threads(3), processes(2)], ids=["threads", "processes"])
def test_every_map_gives_the_same_bytes(study, tmp_path, each):
    assert go(study[0], tmp_path / "out", each=each) == study[1]


def test_dask_gives_the_same_bytes(study, tmp_path):
    pytest.importorskip("distributed")
    from slimscan.each import choose

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about ports and closing
        assert go(study[0], tmp_path / "out", each=choose("dask", 1)) == study[1]


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stopped_run_goes_on(study, tmp_path, monkeypatch, after):
    monkeypatch.setattr("slimscan.study.run.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr("slimscan.study.run.GRAIN_BYTES", 1)  # a job a level

    def stopping(function, items):
        for number, item in enumerate(items):
            if number == after * 6:
                raise Stop
            yield function(item)

    with pytest.raises(Stop):
        go(study[0], tmp_path / "out", each=stopping)
    assert go(study[0], tmp_path / "out") == study[1]
    assert not (tmp_path / "out" / "parts").exists()


def test_kill_9_at_random_moments(study, tmp_path):
    """A child runs the study and is killed, again and again, until it ends: the rows are those of one run."""
    toml, whole = study
    child = [sys.executable, "-c", "import sys; from slimscan.cli import main; main()", "study", "run", str(toml), "-o"]
    child += [str(tmp_path / "out"), "--each", "serial"]
    moments = random.Random(5)
    kills = 0
    while kills < 6:
        enough = known(tmp_path / "out") + moments.randint(1, 6000)  # bytes of results after which this child dies
        process = subprocess.Popen(child, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        while process.poll() is None and known(tmp_path / "out") < enough:
            time.sleep(0.002)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills > 0
    assert go(toml, tmp_path / "out") == whole


def known(folder: Path) -> int:
    """Bytes of results that a run has put on the disk."""
    return sum(path.stat().st_size for path in (folder / "cache").rglob("*.jsonl"))


def test_an_unchanged_study_computes_nothing(study, tmp_path):
    toml, whole = study
    place = Folder(tmp_path / "out")
    plan = fix(load(toml))
    first = run(plan, place)

    def never(function, items):
        assert list(items) == []
        yield from ()

    again = run(plan, place, each=never)
    assert (first.computed, first.known, again.computed, again.known) == (15, 0, 0, 15)
    assert place.trials.read_bytes() == whole


def test_a_cache_serves_another_study(study, tmp_path, monkeypatch):
    toml, _ = study
    go(toml, tmp_path / "first", cache=tmp_path / "cache")
    other = toml.with_name("other.toml")
    other.write_text(TOML.replace('"dice", ', '"dice", "jaccard", '))
    counted = []
    from slimscan.press.copy import Copier

    real = Copier.copy
    monkeypatch.setattr(
        Copier, "copy", lambda self, target, **words: counted.append(words["values"]) or real(self, target, **words)
    )
    go(other, tmp_path / "second", cache=tmp_path / "cache")
    assert counted  # pixels are made again for the new metric,
    assert all(values is not None for values in counted)  # but nothing is searched


def test_a_changed_study_does_not_mix(study, tmp_path):
    toml, whole = study
    go(toml, tmp_path / "out")
    other = toml.with_name("changed.toml")
    other.write_text(TOML.replace("delta = 0.05", "delta = 0.04"))
    with pytest.raises(InputError) as caught:
        go(other, tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: holds results of a study that was declared otherwise (changed: contract); give another folder "
        "(--cache keeps what was computed), or --force to replace these results"
    )
    assert go(other, tmp_path / "out", force=True) == whole  # the contract is no part of a row
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"holds other files; give a new or empty folder for the results$"):
        go(toml, tmp_path / "full")


def test_a_task_that_fails_scores_the_worst(tmp_path):
    toml = make(tmp_path, 2, TOML.replace('kind = "otsu"', 'kind = "python"\ncall = "mine.py:find"'))
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def find(pixels, volume):\n"
        "    noise = np.abs(np.diff(pixels[:, :8, :8])).mean()\n"
        "    if noise < 14: raise ValueError('too smooth')\n"
        "    if noise < 25: return np.zeros(pixels.shape, int)\n"
        "    return pixels > 550\n"
    )
    go(toml, tmp_path / "out")
    rows = table.read(tmp_path / "out" / "trials.parquet")
    seen = {row["status"] for row in rows}
    assert "failed" in seen
    for row in rows:
        if row["status"] == "failed" and row["metric"] == "dice":
            assert (row["value"], row["note"]) == (0.0, "ValueError: too smooth")
        if row["status"] == "failed" and row["metric"] == "average_hausdorff":
            assert row["value"] == math.inf
        if row["status"] == "empty" and row["metric"] == "dice":
            assert row["value"] == 0.0
        assert row["task"] == "texture" or math.isfinite(row["reference"])


def test_a_task_that_fails_on_the_raw_image_has_no_reference(tmp_path):
    toml = make(tmp_path, 1, TOML.replace('kind = "otsu"', 'kind = "python"\ncall = "mine.py:find"'))
    (tmp_path / "mine.py").write_text("def find(pixels):\n    raise RuntimeError('broken')\n")
    go(toml, tmp_path / "out")
    dice = [row for row in table.read(tmp_path / "out" / "trials.parquet") if row["metric"] == "dice"]
    assert all(math.isnan(row["reference"]) for row in dice)
    assert {row["note"] for row in dice} == {"on the uncompressed image: RuntimeError: broken"}


def test_an_unreachable_level_is_told(tmp_path):
    go(make(tmp_path, 1, TOML.replace("settings = [60, 40, 25]", "ratios = [1.5, 100000]")), tmp_path / "out")
    rows = [row for row in table.read(tmp_path / "out" / "trials.parquet") if row["codec"] == "jpeg2000"]
    assert {row["status"] for row in rows if row["level"] == 1.5} == {"ok"}
    far = [row for row in rows if row["level"] == 100000]
    assert {row["status"] for row in far} == {"unreachable"}
    assert all(math.isnan(row["value"]) and "cannot be met by jpeg2000" in row["note"] for row in far)


def test_a_matched_codec_reaches_the_psnr_of_the_other(tmp_path):
    toml = TOML.replace("settings = [60, 40, 25]", "psnr = [50, 45]").replace(
        "settings = [0.2, 3]", 'match = "jpeg2000"'
    )
    go(make(tmp_path, 2, toml, (32, 32, 32)), tmp_path / "out")  # slices enough to meet a PSNR closely
    rows = table.read(tmp_path / "out" / "trials.parquet")
    reached = {(row["image"], row["codec"], row["level"]): row["psnr_db"] for row in rows}
    for (image, codec, level), psnr in reached.items():
        if codec == "jpegxl":
            assert -1e-3 <= psnr - reached[image, "jpeg2000", level] <= 0.101


READERS = """
[study]
name = "readers"
question = "q"
[cases]
images = "images/{case}.nii.gz"
[[codecs]]
name = "jpeg2000"
settings = [60, 40]
[[tasks]]
name = "vessels"
kind = "readers"
masks = "readers/{reader}/{codec}-{level}/{time}/{case}.nii.gz"
raw = "readers/{reader}/raw/{time}/{case}.nii.gz"
reader = "A"
other = "B"
coherent = 0.7
[metrics]
names = ["jaccard_mean", "average_hausdorff"]
units = "voxels"
[contract]
margin = "observer"
"""


def test_masks_drawn_by_people(tmp_path):
    toml = make(tmp_path, 1, READERS)
    mask = blobs(0)[1]
    shifted = np.roll(mask, 1, axis=2)
    rubbish = mask.copy()
    rubbish[2] = 0  # slice 2 is drawn once only: not coherent
    drawings = {
        "A/raw/t0": mask, "A/raw/t1": rubbish, "B/raw/t0": shifted, "B/raw/t1": shifted, "A/jpeg2000-60/t0": mask,
    }  # fmt: skip
    for name, drawn in drawings.items():
        place = tmp_path / "readers" / name / "case00.nii.gz"
        place.parent.mkdir(parents=True)
        slimscan.write(Volume(drawn, np.diag([0.8, 0.8, 2.0, 1.0]), 8), place)
    go(toml, tmp_path / "out")
    rows = [r for r in table.read(tmp_path / "out" / "trials.parquet") if r["metric"] == "jaccard_mean"]
    first, second = rows
    per_slice = [
        slimscan.METRICS["jaccard"].function(mask[z], shifted[z]) for z in range(6) if mask[z].any() and z != 2
    ]
    assert (first["value"], first["reference"], first["status"], first["reader"]) == (1.0, 1.0, "ok", "A")
    assert first["observer"] == pytest.approx(np.mean(per_slice))
    assert (second["status"], math.isnan(second["value"])) == ("missing", True)
    seen = json.loads((tmp_path / "out" / "observers.json").read_text())["observers"][0]["organs"]["foreground"]
    assert (seen["iaov"], seen["iaov_per_slice"][2]) == (1.0, 0.0)
    assert seen["iaov_unfiltered"] < 1
    assert seen["ieov"] == pytest.approx(np.mean(per_slice))


def test_the_cache_heals_a_line_that_was_cut_short(tmp_path):
    cache = Cache(tmp_path, "ab" * 32)
    cache.keep("scores", "one", [1.5, math.inf])
    journal = next(tmp_path.rglob("*.jsonl"))
    with journal.open("ab") as file:
        file.write(b'["scores", "two", {"val')
    other = Cache(tmp_path, "ab" * 32)
    assert other.known("scores", "one") == [1.5, math.inf]
    assert other.known("scores", "two") is None
    other.keep("scores", "three", 3)
    assert cache.known("scores", "three") == 3
    assert Cache(tmp_path, "ab" * 32).known("scores", "one") == [1.5, math.inf]
    assert Cache(tmp_path, "cd" * 32).known("scores", "one") is None
    calls = []
    for _ in range(2):
        found = cache.labels("predictions", key_of("x"), lambda: calls.append(1) or np.eye(3, dtype=np.uint8))
        assert np.array_equal(found, np.eye(3))
    assert calls == [1]


def test_parts_survive_a_part_that_was_cut_short(study, tmp_path):
    rows = table.read(study[0].parent / "whole" / "trials.parquet")
    parts = table.Parts(Folder(tmp_path))
    parts.append(rows[:10])
    parts.append(rows[10:20])
    (tmp_path / "parts" / ".000002.parquet.77").write_bytes(b"half")
    (tmp_path / "parts" / "000001.parquet").write_bytes(b"PAR1 a power cut")
    again = table.Parts(Folder(tmp_path))
    assert json.dumps(again.rows()) == json.dumps(rows[:10])
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["000000.parquet"]


def test_the_time_left_is_honest():
    estimate = Estimate({"fast": 100.0, "slow": 100.0})
    assert estimate.left(1.0) is None
    estimate.add("fast", 100.0, 10.0)
    assert estimate.left(10.0) == pytest.approx(10.0)  # nothing is known of slow: as fast as the other
    estimate.add("slow", 50.0, 40.0)
    assert estimate.left(50.0) == pytest.approx(40.0)
    assert estimate.left(25.0) == pytest.approx(20.0)  # two workers
    assert estimate.share == pytest.approx(50 / 90)
    assert [spoken(None), spoken(0.2), spoken(600), spoken(9000)] == [
        "time left not known yet", "about 1 s left", "about 10 min left", "about 2.5 h left",
    ]  # fmt: skip
