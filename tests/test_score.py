"""slimscan score: two voxels and two classes by hand, missing predictions, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import slimscan
from slimscan import Volume
from slimscan.cli import run
from slimscan.errors import InputError
from slimscan.study.score_folders import means, score_folders

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])


def write(folder, name, labels, affine=AFFINE):
    folder.mkdir(exist_ok=True)
    slimscan.write(Volume(np.asarray(labels, np.uint8), affine, 8), folder / name)


@pytest.fixture
def folders(tmp_path):
    truth, found = tmp_path / "truth", tmp_path / "found"
    write(truth, "a.nii.gz", [[[1, 1, 0, 0]], [[2, 0, 0, 0]]])
    write(found, "a.nii.gz", [[[1, 0, 0, 0]], [[0, 2, 0, 0]]])
    write(truth, "b.nii.gz", [[[1, 0, 0, 0]], [[0, 0, 0, 0]]])
    return truth, found


def test_by_hand(folders):
    lines = score_folders(*folders, classes=[1, 2], metrics=["dice", "hausdorff"])
    got = {(line.case, line.organ): (line.values, line.missing) for line in lines}
    assert got["a", "1"] == ({"dice": 2 / 3, "hausdorff": 1.0}, False)
    assert got["a", "2"] == ({"dice": 0.0, "hausdorff": 1.0}, False)
    assert got["b", "1"] == ({"dice": 0.0, "hausdorff": math.inf}, True)
    mean = means([line for line in lines if line.case == "a"])
    assert mean == {"1": {"dice": 2 / 3, "hausdorff": 1.0}, "2": {"dice": 0.0, "hausdorff": 1.0}}


def test_slices(folders):
    lines = score_folders(*folders, metrics=["dice"], per="slice")
    assert [(line.case, line.slice, line.values["dice"]) for line in lines] == [
        ("a", 0, 2 / 3),
        ("a", 1, 0.0),
        ("b", None, 0.0),
    ]


def test_an_absent_class_is_left_out_of_means(folders):
    lines = score_folders(*folders, classes=[7], metrics=["dice"])
    assert math.isnan(lines[0].values["dice"])


def test_what_is_refused(folders, tmp_path):
    truth, found = folders
    write(found, "c.nii.gz", [[[1]]])
    with pytest.raises(InputError, match=rf"c.nii.gz: there is no reference of that name in {truth}$"):
        score_folders(truth, found)
    (found / "c.nii.gz").unlink()
    write(found, "b.nii.gz", [[[1]]])
    with pytest.raises(
        InputError, match=r"b.nii.gz: is \(1, 1, 1\), its reference b.nii.gz \(2, 1, 4\); give masks on one grid$"
    ):
        score_folders(truth, found)
    write(found, "d.nii.gz", [[[1, 0, 0, 0]], [[0, 0, 0, 0]]], np.eye(4))
    with pytest.raises(InputError, match=r"give masks on one grid$"):
        score_folders(truth / "b.nii.gz", found / "d.nii.gz")
    with pytest.raises(InputError, match=r'^metric "dise" is not known for masks; allowed: .*; did you mean "dice"'):
        score_folders(truth, found, metrics=["dise"])
    with pytest.raises(InputError, match=r"holds no masks; want a folder of label images, or one file$"):
        score_folders(tmp_path / "nothing", found)


def test_the_command(folders, capsys):
    said = [
        "score",
        "--reference",
        str(folders[0]),
        "--prediction",
        str(folders[1]),
        "--classes",
        "1,2",
        "--metric",
        "dice",
    ]
    assert run([*said, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"][0] == {"case": "a", "slice": None, "class": "1", "missing": False, "dice": 2 / 3}
    assert found["mean"]["1"]["dice"] == pytest.approx(1 / 3)
    assert run(said) == 0
    assert "b (missing)" in capsys.readouterr().out
    assert run([*said[:5], "--classes", "0"]) == 2
    assert capsys.readouterr().err == "error: --classes 0: 0 is the background; name the labels of objects\n"
