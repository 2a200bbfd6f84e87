"""Experiments of networks under compression without torch: words, folds, grids, copies, plans, and what rows say."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from slimscan.errors import InputError
from slimscan.models.spec import FitSpec, NetSpec, NormSpec
from slimscan.study.experiments import judged
from slimscan.study.experiments.copies import check_classes, made, orders_of, peak_of
from slimscan.study.experiments.folds import folds_of
from slimscan.study.experiments.plan import trainings
from slimscan.study.experiments.prepare import coded, prepare, resampled
from slimscan.study.experiments.words import GRID, NETWORK, Experiment, load, parse
from slimscan.study.recipes import names, text

SIDE = 12


def save(pixels: np.ndarray, place: Path, affine: np.ndarray | None = None) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    grid = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
    nibabel.Nifti1Image(pixels.transpose(2, 1, 0), grid).to_filename(place)


def cubes(folder: Path, count: int = 5, side: int = SIDE) -> Path:
    """Cases with a bright and a brighter block on noise, and their masks."""
    for number in range(count):
        random = np.random.default_rng(number)
        mask = np.zeros((side, side, side), np.uint8)
        z, y, x = random.integers(1, 4, 3)
        mask[z : z + 4, y : y + 4, x : x + 4] = 1
        mask[z + 4 : z + 8, y + 4 : y + 8, x + 4 : x + 8] = 2
        image = (random.normal(200, 20, mask.shape) + 400.0 * mask).clip(0).round().astype(np.uint16)
        save(image, folder / f"images/c{number}.nii.gz")
        save(mask, folder / f"labels/c{number}.nii.gz")
    return folder


def toml(**tables: Any) -> dict[str, Any]:
    """A small experiment; tables given are laid over it."""
    given: dict[str, Any] = {
        "study": {"recipe": "elkhoury2021", "name": "cubes", "question": "Does it stand?"},
        "cases": {"images": "images/{case}.nii.gz", "masks": "labels/{case}.nii.gz", "classes": {"low": 1, "high": 2}},
        "networks": [
            {
                "name": "2d",
                "dims": 2,
                "levels": 2,
                "width": 4,
                "patch": [1, 12, 12],
                "batch": 4,
                "steps": 4,
                "every": 2,
            },
            {"name": "3d", "levels": 2, "width": 4, "patch": [12, 12, 12], "steps": 4, "every": 2},
        ],
        "copies": {"codec": "sperr", "ratios": [4, 8]},
        "experiments": {"which": ["a"], "fine_tune_steps": 2, "test": 0.4},
        "run": {"workers": 1},
    }
    for name, words in tables.items():
        given[name] = words if name == "networks" else given.get(name, {}) | words
    return given


def experiment(folder: Path, **tables: Any) -> Experiment:
    return parse(toml(**tables), folder)


# Words


def test_words_of_networks_are_the_fields_of_specs() -> None:
    known = {one.name: one for spec in (NetSpec, FitSpec, NormSpec) for one in fields(spec)}
    for word in NETWORK:
        if word.name not in ("name", "preset"):
            said = known[word.name]
            assert (word.help, word.low, word.high, word.default) == (
                said.metadata["help"], said.metadata["low"], said.metadata["high"], said.default,
            )  # fmt: skip
    assert {word.name for word in GRID} == {"spacing_mm", "size", "bits", "low", "high"}


@pytest.mark.parametrize("name", ["elkhoury2021", "kurmukov2024"])
def test_recipes_are_read(name: str, tmp_path: Path) -> None:
    assert name in names()
    cubes(tmp_path, 2)
    (tmp_path / "r.toml").write_text(text(name), "utf-8")
    found = load(tmp_path / "r.toml")
    assert found.said["study"]["recipe"] == name
    wanted = (1, 24, 32, 48, 64, 96, 128) if name == "elkhoury2021" else (1, 2, 5, 10, 20, 50, 70, 100)
    assert found.ratios == wanted
    if name == "elkhoury2021":
        flat, deep = found.network("2d"), found.network("3d")
        assert (flat.spec.width, deep.spec.levels) == (4 * deep.spec.width, flat.spec.levels + 1)
        assert (flat.fit.loss, deep.fit.loss, deep.fit.weights) == ("cross_entropy", "dice", (1.0, 3.0))


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"cases": {"classes": None}}, "classes"),
        ({"cases": {"classes": {"a": 1, "b": [1, 2]}}}, "a label value belongs to two classes; a voxel has one class"),
        ({"copies": {"codec": "zstd"}}, "is exact only; it has no ratios to study"),
        ({"copies": {"ratios": [1]}}, "want at least one above 1"),
        ({"experiments": {"which": ["f"]}}, 'which = "f": allowed: a, b, c, d, e'),
        ({"experiments": {"fine_tune_at": [5]}}, "fine_tune_at = 5: is no ratio of [copies]; allowed: 4, 8"),
        ({"experiments": {"fine_tuned": ["4d"]}}, 'fine_tuned = "4d": is no network; allowed: 2d, 3d'),
        ({"grid": {"size": [12, 12]}}, "want three numbers, x, y and z"),
        ({"grid": {"low": 0.0}}, "low and high scale the values and need bits"),
        ({"networks": []}, "[[networks]]: want at least one"),
        ({"networks": [{"name": "3d", "levels": 3, "patch": [12, 12, 10]}]}, "multiples of 4 for 3 levels"),
        ({"networks": [{"name": "x", "wdth": 3}]}, 'the word "wdth" is not known'),
    ],
)
def test_words_that_do_not_fit_are_one_line(tables: dict[str, Any], told: str, tmp_path: Path) -> None:
    cubes(tmp_path, 2)
    with pytest.raises(InputError) as error:
        experiment(tmp_path, **tables)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


# Folds


def test_every_patient_tests_once_and_is_never_in_two_parts(tmp_path: Path) -> None:
    cubes(tmp_path, 7)
    found = folds_of(experiment(tmp_path, experiments={"which": ["a"], "folds": 3, "validation": 0.2}))
    assert sorted(one for fold in found for one in fold.test) == [f"c{number}" for number in range(7)]
    for fold in found:
        parts = [*fold.train, *fold.validation, *fold.test]
        assert sorted(parts) == [f"c{number}" for number in range(7)]
        assert set(fold.few(0.3)) < set(fold.few(0.8)) <= set(fold.train)


def test_too_few_patients_for_folds(tmp_path: Path) -> None:
    cubes(tmp_path, 2)
    with pytest.raises(InputError) as error:
        folds_of(experiment(tmp_path, experiments={"which": ["a"], "folds": 3}))
    assert str(error.value) == "[experiments] folds = 3: there are 2 patients; want at most that many folds"
    with pytest.raises(InputError) as error:
        folds_of(experiment(tmp_path, experiments={"which": ["a"], "test": 1.0}))
    assert "fold 1: 2 patients test, 0 validate, and none of 2 is left to train on" in str(error.value)


# Cases on one grid


def test_resampling_keeps_the_centre_and_what_is_linear() -> None:
    z, y, x = np.meshgrid(np.arange(8.0), np.arange(10.0), np.arange(6.0), indexing="ij")
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    plane = 5 * (2 * x) + 7 * (2 * y) + 11 * (3 * z)
    out, grid = resampled(plane, affine, (1.0, 1.0, 1.5), (8, 14, 10), 1)
    assert out.shape == (10, 14, 8)
    k, j, i = (side // 2 for side in out.shape)
    at = grid @ [i, j, k, 1]
    assert out[k, j, i] == pytest.approx(5 * at[0] + 7 * at[1] + 11 * at[2])
    old, new = (np.array([*(np.array(s[::-1]) - 1) / 2, 1]) for s in (plane.shape, out.shape))
    np.testing.assert_allclose(affine @ old, grid @ new)
    same, still = resampled(plane, affine, None, None, 1)
    np.testing.assert_allclose(same, plane)
    np.testing.assert_allclose(still, affine)


def test_codes_by_hand() -> None:
    codes, slope, start = coded(np.array([[[0.0, 51.0, 255.0, 510.0]]]), 8, None, None, "x")
    assert (codes.tolist(), codes.dtype, slope, start) == ([[[0, 26, 128, 255]]], np.uint8, 2.0, 0.0)
    codes, slope, start = coded(np.array([[[-2000.0, 0.0, 9000.0]]]), 12, -1024, 3071, "x")
    assert (codes.tolist(), codes.dtype, slope, start) == ([[[0, 1024, 4095]]], np.uint16, 1.0, -1024)
    assert coded(np.full((1, 1, 2), 7.0), 8, None, None, "x")[0].tolist() == [[[0, 0]]]
    assert coded(np.array([[[-3.0, 9.0]]]), 0, None, None, "x")[0].dtype == np.int16
    with pytest.raises(InputError) as error:
        coded(np.array([[[0.0, 1e6]]]), 0, None, None, "a.nii")
    assert "a.nii: values from 0 to 1e+06 are no whole numbers of 16 bits; say [grid] bits = 12" in str(error.value)


def test_masks_on_another_grid_are_refused(tmp_path: Path) -> None:
    cubes(tmp_path, 1)
    found = experiment(tmp_path, experiments={"which": ["a"]})
    save(np.zeros((SIDE, SIDE, SIDE), np.uint8), tmp_path / "labels/c0.nii.gz", np.diag([1.0, 1.0, 2.0, 1.0]))
    with pytest.raises(InputError, match="the mask lies up to 11 mm beside its image"):
        prepare(found.cases[0], found.classes, found.said["grid"])
    save(np.zeros((SIDE, SIDE, SIDE - 1), np.uint8), tmp_path / "labels/c0.nii.gz")
    with pytest.raises(InputError, match=r"the mask is .* give it on the image's grid"):
        prepare(found.cases[0], found.classes, found.said["grid"])


# Copies


@pytest.mark.parametrize("codec", ["sperr", "jpeg2000"])
@pytest.mark.parametrize("size", ["payload", "file"])
def test_copies_reach_their_ratio_or_the_nearest(codec: str, size: str, tmp_path: Path) -> None:
    cubes(tmp_path, 1, side=32)
    found = experiment(tmp_path, copies={"codec": codec, "size": size, "ratios": [3, 500]})
    order = orders_of(found, tmp_path / "out")[0]
    copies = made(order)
    word = "ratio_payload" if size == "payload" else "ratio"
    assert copies.facts["of"]["3"][word] == pytest.approx(3, rel=0.03)
    far = copies.facts["of"]["500"]
    assert 3 < far[word] <= 515  # headers of codestreams and containers forbid more
    assert far["stored_bytes"] == far["payload_bytes" if size == "payload" else "file_bytes"]
    np.testing.assert_array_equal(copies.real("1"), nibabel.load(tmp_path / "images/c0.nii.gz").get_fdata().T)
    mse = ((copies.real("1") - copies.real("3")) ** 2).mean()
    assert copies.psnr_db("3", 4096.0) == pytest.approx(10 * math.log10(4096**2 / mse))
    assert copies.psnr_db("1", 4096.0) == math.inf
    before = (order.folder / "3.npy").stat().st_mtime_ns
    assert made(order).facts == copies.facts  # never compressed twice
    assert (order.folder / "3.npy").stat().st_mtime_ns == before


def test_peaks_are_the_papers(tmp_path: Path) -> None:
    cubes(tmp_path, 2)
    found = experiment(tmp_path)
    copies = {one.case.image: made(one) for one in orders_of(found, tmp_path / "out")}
    values = [copies[name].real("1") for name in copies]
    assert peak_of(found, copies) == max(v.max() for v in values) - min(v.min() for v in values)
    assert peak_of(experiment(tmp_path, cases={"modality": "CT"}), copies) == 4096
    assert peak_of(experiment(tmp_path, copies={"peak": 255.0}), copies) == 255


def test_a_class_that_never_occurs(tmp_path: Path) -> None:
    cubes(tmp_path, 2)
    found = experiment(tmp_path, cases={"classes": {"low": 1, "liver": [5, 6]}})
    copies = {one.case.image: made(one) for one in orders_of(found, tmp_path / "out")}
    with pytest.raises(InputError) as error:
        check_classes(found, copies)
    assert str(error.value) == "[cases] classes: liver = [5, 6] occurs in none of 2 masks; correct its label value"


# Plans


def test_plans_hold_every_training_once(tmp_path: Path) -> None:
    cubes(tmp_path, 5)
    said = {"which": ["a", "b", "c", "d", "e"], "fine_tuned": "3d", "scratch": "3d", "fine_tune_at": [8]}
    found = experiment(tmp_path, experiments=said)
    every = trainings(found, folds_of(found))
    by = {(one.net.name, one.trained): dict(one.tests) for one in every}
    assert len(by) == len(every)
    assert by == {
        ("2d", "1"): {"1": "a", "4": "a", "8": "a"},
        ("3d", "1"): {"1": "abcde", "4": "abcd", "8": "abcd"},
        ("3d", "1+4"): {"4": "b"},
        ("3d", "1+8"): {"1": "c", "4": "c", "8": "bc"},
        ("3d", "4"): {"1": "de", "4": "de", "8": "d"},
        ("3d", "8"): {"1": "de", "4": "d", "8": "de"},
        ("3d", "few:0.25"): {"1": "e"},
        ("3d", "few:0.125"): {"1": "e"},
    }
    tuned = next(one for one in every if one.trained == "1+8")
    assert (tuned.start, tuned.ratios, tuned.net.fit.steps) == ("1", ("1", "8"), 2)
    assert tuned.name == "1/3d/1+8"
    assert next(one for one in every if one.trained == "few:0.25").name == "1/3d/few-0.25"


# What rows say


def rows(values: dict[tuple[str, str, str], float], patients: int = 60) -> list[dict[str, Any]]:
    """(network, trained, tested) -> DSC, with a little that differs by patient; one fold, two classes."""
    return [
        {
            "network": network, "trained": trained, "tested": tested, "patient": f"p{n}", "case": f"p{n}", "class": name,
            "dsc": value + 0.001 * (n % 5), "fold": 1, "ratio_payload": float(tested) * (1 + 0.001 * n), "ratio_achieved": 1.0,
        }
        for (network, trained, tested), value in values.items()
        for n in range(patients)
        for name in ("low", "high")
    ]  # fmt: skip


def test_tolerance_by_hand() -> None:
    means = {1.0: 0.9, 4.0: 0.7, 8.0: 0.69, 16.0: 0.71}
    assert judged.tolerance(means, 0.7) == 16
    assert judged.up_to(means, 0.7) == 4
    assert judged.tolerance({1.0: 0.2}, 0.7) is None
    assert judged.up_to({1.0: math.nan}, 0.7) is None


def test_verdicts_of_rows(tmp_path: Path) -> None:
    cubes(tmp_path, 2)
    found = experiment(tmp_path, contract={"delta": 0.02})
    said = rows(
        {
            ("2d", "1", "1"): 0.8, ("2d", "1", "4"): 0.79, ("2d", "1", "8"): 0.5,
            ("3d", "1", "1"): 0.9, ("3d", "1", "4"): 0.9, ("3d", "1", "8"): 0.6,
            ("3d", "1+8", "1"): 0.88, ("3d", "1+8", "4"): 0.88, ("3d", "1+8", "8"): 0.88,
        }
    )  # fmt: skip
    verdicts = judged.verdicts(found, said)
    clean, tuned = verdicts["3d/1"], verdicts["3d/1+8"]
    assert (clean["certified_ratio"], clean["code"], clean["n"]) == (4, "CERTIFIED", 60)
    assert (tuned["certified_ratio"], tuned["code"]) == (8, "ALL_CERTIFIED_GRID_EXHAUSTED")
    assert clean["tolerance"] == {"low": 4, "high": 4}
    assert tuned["tolerance"] == {"low": 8, "high": 8}
    assert clean["levels"][0]["bound"] < 0.02 < clean["levels"][1]["mean_loss"]["low dice"]
    each = verdicts["3d/1+each"]  # against the clean network on uncompressed images: 0.02 lost
    assert (each["certified_ratio"], each["code"]) == (None, "NONE_CERTIFIED")
    assert verdicts["best_to_train_at"]["3d"]["low"] == {"trained": "1+8", "ratio": 8.0, "holds_up_to": 8.0}
    gaps = {(one["what"], one["of"]["tested"], one["class"]): one for one in verdicts["differences"]}
    gap = gaps["3D - 2D", "8", "low"]
    assert gap["mean"] == pytest.approx(0.1)
    assert gap["n"] == 60
    assert "t over patients" in gap["method"]
    assert gaps["fine-tuned - clean", "8", "high"]["mean"] == pytest.approx(0.28)


def test_intervals_are_students() -> None:
    from scipy import stats

    values = [0.1, 0.3, 0.2, 0.6]
    found = judged.interval(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    assert judged.interval([0.1, 0.2]) == {"mean": pytest.approx(0.15), "low": None, "high": None, "n": 2}


def test_too_few_patients_are_told(tmp_path: Path) -> None:
    cubes(tmp_path, 2)
    said = rows({("3d", "1", "1"): 0.9, ("3d", "1", "4"): 0.9, ("3d", "1", "8"): 0.9}, patients=10)
    one = judged.verdicts(experiment(tmp_path), said)["3d/1"]
    assert (one["code"], one["certified_ratio"], one["n"]) == ("INSUFFICIENT_N", None, 10)
    assert one["needed_n"] >= 29
