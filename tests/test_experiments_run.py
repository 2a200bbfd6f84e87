"""Experiments of networks under compression, the whole way on cubes of 12 voxels."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_experiments_parts import cubes, experiment, save, toml

from slimscan.cli import run as command
from slimscan.errors import InputError
from slimscan.study.experiments.folds import folds_of
from slimscan.study.experiments.results import COLUMNS
from slimscan.study.experiments.run import copied, jobs_of, run
from slimscan.study.experiments.words import Experiment
from slimscan.study.new import toml as as_toml

pytest.importorskip("torch", reason="the extra torch is not installed")

ALL = {"which": ["a", "b", "c", "d", "e"], "fine_tune_steps": 2, "fine_tuned": "3d", "scratch": "3d", "test": 0.4}
ONE = [{"name": "3d", "levels": 2, "width": 4, "patch": [12, 12, 12], "steps": 4, "every": 2}]


def told(folder: Path) -> list[dict[str, str]]:
    with (folder / "rows.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def jobs(found: Experiment, folder: Path) -> list[Any]:
    return jobs_of(found, folds_of(found), copied(found, folder), folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment, dict[str, Any]]:
    """All five experiments, run once."""
    base = cubes(tmp_path_factory.mktemp("all"), 5)
    found = experiment(base, experiments=ALL)
    seen: list[tuple[str, float, float]] = []
    said = run(found, base / "out", lambda *one: seen.append(one))
    assert seen[-1] == ("steps", seen[-1][2], seen[-1][2])
    return base / "out", found, said


def test_rows_are_one_a_network_ratio_case_and_class(done: tuple[Path, Experiment, dict[str, Any]]) -> None:
    folder, found, _ = done
    rows = told(folder)
    assert tuple(rows[0]) == COLUMNS
    keys = {(row["fold"], row["network"], row["trained"], row["tested"], row["case"], row["class"]) for row in rows}
    tests = sum(len(job.training.tests) for job in jobs(found, folder))
    assert len(keys) == len(rows) == tests * 2 * 2  # two cases test, two classes
    assert {row["trained"] for row in rows} == {"1", "1+4", "1+8", "4", "8", "few:0.25", "few:0.125"}
    for row in rows:
        assert 0 <= float(row["dsc"]) <= 1
        assert float(row["ratio_payload"]) == pytest.approx(float(row["tested"]), rel=0.05)
    full = next(int(row["train_bytes"]) for row in rows if row["trained"] == "1")
    assert full == 3 * 12**3 * 2
    compressed = next(int(row["train_bytes"]) for row in rows if row["trained"] == "4")
    assert compressed == pytest.approx(full / 4, rel=0.05)
    tuned = next(int(row["train_bytes"]) for row in rows if row["trained"] == "1+4")
    assert tuned == full + compressed


def test_what_is_told_beside(done: tuple[Path, Experiment, dict[str, Any]]) -> None:
    folder, _, said = done
    assert json.loads((folder / "experiment.json").read_text("utf-8")) == said
    assert (said["patients"], said["ratios"], said["size"], said["classes"]) == (
        5,
        ["1", "4", "8"],
        "payload",
        ["low", "high"],
    )
    assert said["networks"]["2d"]["dims"] == 2
    assert said["versions"]["torch"]
    verdicts = json.loads((folder / "verdicts.json").read_text("utf-8"))
    assert {"2d/1", "3d/1", "3d/1+4", "3d/8", "3d/each", "3d/1+each", "differences", "best_to_train_at"} <= set(
        verdicts
    )
    assert verdicts["3d/1"]["code"] == "INSUFFICIENT_N"
    assert {one["what"] for one in verdicts["differences"]} >= {
        "3D - 2D",
        "fine-tuned - clean",
        "all compressed - few clean, bytes not equal",  # a share of 3 patients is one of them, at 4:1 and at 8:1
    }
    few = [one for one in verdicts["differences"] if "few clean" in one["what"]]
    assert all(one["train_bytes"][1] == 12**3 * 2 for one in few)
    assert not any(0.9 < one["train_bytes"][1] / one["train_bytes"][0] < 1.1 for one in few)


def test_a_second_run_does_nothing_and_says_the_same(done: tuple[Path, Experiment, dict[str, Any]]) -> None:
    folder, found, _ = done
    before = (folder / "rows.csv").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("nets/**/*.pt")}
    run(found, folder)
    assert (folder / "rows.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in folder.glob("nets/**/*.pt")} == stamps


def test_what_a_kill_took_is_done_again_to_the_same_end(
    done: tuple[Path, Experiment, dict[str, Any]], tmp_path: Path
) -> None:
    folder, found, _ = done
    other = tmp_path / "out"
    shutil.copytree(folder, other)
    for name in ("rows.csv", "experiment.json", "verdicts.json", "nets/1/3d/1+8/done.json"):
        (other / name).unlink()
    tuned = other / "parts" / "1-3d-1+4.json"
    known = json.loads(tuned.read_text("utf-8"))
    known["tests"] = {}
    tuned.write_text(json.dumps(known), "utf-8")
    (other / "parts" / "1-2d-1.json").write_text('{"cut', "utf-8")
    shutil.rmtree(other / "nets/1/3d/8")
    run(found, other)
    assert (other / "rows.csv").read_bytes() == (folder / "rows.csv").read_bytes()


def test_another_training_in_the_folder_is_not_taken(
    done: tuple[Path, Experiment, dict[str, Any]], tmp_path: Path
) -> None:
    folder, found, _ = done
    other = tmp_path / "out"
    shutil.copytree(folder, other)
    changed = experiment(found.base, experiments=ALL, networks=[{**ONE[0], "steps": 6}, toml()["networks"][0]])
    with pytest.raises(InputError) as error:
        run(changed, other)
    assert "holds a training with other words or images; remove it, or take another -o FOLDER" in str(error.value)


def test_what_was_tuned_from_a_network_that_is_no_more_is_tuned_again(tmp_path: Path) -> None:
    cubes(tmp_path, 3)
    plan = {"which": ["b"], "fine_tune_steps": 2, "test": 0.4}
    run(experiment(tmp_path, experiments=plan, networks=ONE), tmp_path / "out")
    shutil.rmtree(tmp_path / "out/nets/1/3d/1")
    longer = experiment(tmp_path, experiments=plan, networks=[{**ONE[0], "steps": 6}])
    run(longer, tmp_path / "out")
    run(longer, tmp_path / "fresh")
    assert (tmp_path / "out/rows.csv").read_bytes() == (tmp_path / "fresh/rows.csv").read_bytes()


def test_folds_and_validation(tmp_path: Path) -> None:
    cubes(tmp_path, 6)
    said = {"which": ["a"], "folds": 2, "validation": 0.3, "fine_tuned": None, "scratch": None}
    said = {word: value for word, value in said.items() if value is not None}
    found = experiment(tmp_path, experiments=said, networks=ONE, run={"workers": 2})
    run(found, tmp_path / "out")
    rows = told(tmp_path / "out")
    assert {row["fold"] for row in rows} == {"1", "2"}
    assert {row["patient"] for row in rows} == {f"c{number}" for number in range(6)}
    assert (tmp_path / "out/nets/1/3d/1/best.pt").is_file()


def test_a_class_that_no_training_mask_has(tmp_path: Path) -> None:
    cubes(tmp_path, 3)
    found = experiment(tmp_path, networks=ONE, experiments={"which": ["a"], "test": 0.4})
    (fold,) = folds_of(found)
    for name in fold.train:
        save(np.ones((12, 12, 12), np.uint8), tmp_path / f"labels/{name}.nii.gz")
    with pytest.raises(InputError) as error:
        run(experiment(tmp_path, networks=ONE, experiments={"which": ["a"], "test": 0.4}), tmp_path / "out")
    assert 'the class "high" occurs in none of 2 training masks' in str(error.value)
    assert "1/3d/1" in str(error.value)


def test_an_image_that_holds_no_numbers_is_one_line(tmp_path: Path) -> None:
    cubes(tmp_path, 3)
    wild = [{**ONE[0], "rate": 1.0, "loss": "cross_entropy", "steps": 3}]
    found = experiment(tmp_path, networks=wild)
    job = jobs(found, tmp_path / "out")[0]
    (case,) = [one for one in job.cases if one.case.case == job.training.patients[0]]
    facts = json.loads((case.folder / "facts.json").read_text("utf-8"))
    for path in tmp_path.glob("out/copies/*/facts.json"):
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "slope": float("nan")}), "utf-8")
    assert facts["slope"] == 1
    with pytest.raises(InputError) as error:
        run(found, tmp_path / "out")
    assert str(error.value).startswith("1/3d/1: the image holds NaN or infinity")
    assert "\n" not in str(error.value)


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    cubes(tmp_path, 3)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else real(name, *more))
    with pytest.raises(Exception, match=r"training networks needs the package torch.*slimscan\[torch\]"):
        run(experiment(tmp_path), tmp_path / "out")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cubes(tmp_path, 3)
    said = toml(networks=ONE, copies={"ratios": [4]})
    lines = []
    for name, words in said.items():
        for table in words if isinstance(words, list) else [words]:
            lines.append(f"[[{name}]]" if isinstance(words, list) else f"[{name}]")
            lines += [f"{word} = {as_toml(value)}" for word, value in table.items()]
    (tmp_path / "r.toml").write_text("\n".join(lines), "utf-8")
    assert command(["study", "recipe", str(tmp_path / "r.toml"), "--estimate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trainings"] == 1
    assert command(["study", "recipe", str(tmp_path / "r.toml"), "--json"]) == 3  # three patients certify nothing
    found = json.loads(capsys.readouterr().out)
    assert found["verdicts"]["3d/1"]["code"] == "INSUFFICIENT_N"
    assert Path(found["report"]).is_file()
    assert command(["study", "recipe", str(tmp_path / "r.toml")]) == 3
    assert "tolerance" in capsys.readouterr().out
