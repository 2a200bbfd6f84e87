"""Tasks: by hand, against scikit-image, and every way in which somebody's task may fail."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from study_maker import blobs

from slimscan.errors import InputError, MissingExtra
from slimscan.nouns import Volume
from slimscan.study.score import CHANGE, OF_MASKS, direction_of, names_of, score, worst_of
from slimscan.study.task import Asked, BadAnswer, as_labels, as_numbers, real
from slimscan.study.tasks import KINDS, check, make
from slimscan.study.tasks.features import NAMES, first_order
from slimscan.study.tasks.network import labels as network_labels
from slimscan.study.tasks.otsu import otsu, segment


def task_of(base: Path = Path(), **words):
    return make(check("[[tasks]]", {"name": "t"} | words), base)


IMAGE, MASK = blobs(1)
VOLUME = Volume(IMAGE, np.diag([0.8, 0.8, 2.0, 1.0]), 12)


def test_otsu_by_hand():
    # Two clusters {0, 1} and {9, 10}: any threshold between splits them alike; ties go to the lowest, 1.
    assert otsu(np.array([0, 1, 9, 10.0])) == 1.0
    assert otsu(np.full((2, 2), 7.0)) == 7.0
    assert segment(np.full((2, 3, 3), 7.0)).sum() == 0
    assert segment(np.full((2, 3, 3), 7.0), side="below").sum() == 0


@pytest.mark.parametrize("seed", range(4))
def test_otsu_agrees_with_scikit_image(seed):
    from skimage.filters import threshold_otsu

    image = blobs(seed)[0]
    mine = otsu(image.astype(float))
    theirs = threshold_otsu(image, nbins=int(np.ptp(image)) + 1)
    assert np.array_equal(image > mine, image > theirs)


def test_cleaning_by_hand():
    pixels = np.zeros((1, 5, 9))
    pixels[0, 1:4, 1:4] = 1  # 9 voxels with a hole
    pixels[0, 2, 2] = 0
    pixels[0, 0, 8] = 1  # a speck
    assert segment(pixels, value=0.5).sum() == 9
    assert segment(pixels, value=0.5, min_voxels=2).sum() == 8
    assert segment(pixels, value=0.5, largest=1).sum() == 8
    assert segment(pixels, value=0.5, max_hole=1)[0, 2, 2] == 1
    assert segment(pixels, value=0.5, max_hole=1)[0, 4, 8] == 0
    assert segment(pixels, value=0.5, side="below").sum() == 45 - 9


def test_a_threshold_counts_in_the_real_unit():
    volume = Volume(np.array([[[0, 100, 1024]]], np.uint16), slope=2.0, intercept=-1024.0)
    assert real(volume).tolist() == [[[-1024.0, -824.0, 1024.0]]]
    assert task_of(kind="threshold", value=0).predict(volume, Asked("a", "a")).tolist() == [[[0, 0, 1]]]


def test_a_python_function_gets_what_it_asks_for(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def find(pixels, spacing_mm, case, mask=None):\n"
        "    assert spacing_mm == (2.0, 0.8, 0.8) and case == 'c' and mask is None\n"
        "    return pixels > 500\n"
        "def wants(pixels, colour):\n    return pixels\n"
    )
    task = task_of(tmp_path, kind="python", call="mine.py:find")
    assert task.sees == "name"
    assert np.array_equal(task.predict(VOLUME, Asked("c", "c")), IMAGE > 500)
    assert task_of(kind="python", call="numpy:sign").sees == "image"
    for call, message in {
        "mine.py:none": 'call = "mine.py:none": mine.py has no function "none"',
        "mine": 'call = "mine": want package.module:function, or file.py:function',
        "mine.py:wants": 'call = "mine.py:wants": takes "colour", which nobody gives; allowed: spacing_mm, affine_mm, case, image, mask, volume',
    }.items():
        with pytest.raises(InputError) as caught:
            task_of(tmp_path, kind="python", call=call)
        assert str(caught.value) == message
    with pytest.raises(
        InputError, match=r'^call = "no_such_thing:f": no_such_thing cannot be imported \(ModuleNotFoundError'
    ):
        task_of(tmp_path, kind="python", call="no_such_thing:f")


def test_an_edited_function_is_another_task(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, text in ((first, "1"), (second, "2")):
        folder.mkdir()
        (folder / "mine.py").write_text(f"def f(pixels):\n    return pixels > {text}\n")
    said = {"kind": "python", "call": "mine.py:f"}
    assert task_of(first, **said).version != task_of(second, **said).version


SCRIPT = """
import sys, nibabel as nib, numpy as np, time
image, output, mode = sys.argv[1:]
if mode == "sleep": time.sleep(60)
if mode == "crash": sys.exit("no licence")
if mode == "die": import os, signal; os.kill(os.getpid(), signal.SIGKILL)
if mode != "silent":
    found = nib.load(image)
    nib.save(nib.Nifti1Image((found.get_fdata() > 500).astype(np.uint8), found.affine), output)
"""


def command(tmp_path: Path, mode: str, **words):
    (tmp_path / "segment.py").write_text(SCRIPT)
    return task_of(
        tmp_path, kind="command", command=f"{sys.executable} segment.py {{image}} {{output}} {mode}", **words
    )


def test_a_command_segments(tmp_path):
    assert np.array_equal(command(tmp_path, "fine").predict(VOLUME, Asked("c", "c")), IMAGE > 500)


@pytest.mark.parametrize(
    ("mode", "words", "message"),
    [
        ("crash", {}, "the command ended with exit status 1; its last words: no licence"),
        ("die", {}, "the command ended with signal 9; its last words: none"),
        ("silent", {}, "the command ended without writing {output}; its last words: none"),
        ("sleep", {"timeout": 0.7}, "the command took longer than 0.7 s and was stopped"),
    ],
)
def test_a_command_that_fails_says_how(tmp_path, mode, words, message):
    with pytest.raises(BadAnswer) as caught:
        command(tmp_path, mode, **words).predict(VOLUME, Asked("c", "c"))
    assert str(caught.value) == message


def test_a_command_needs_its_holes_and_its_program(tmp_path):
    for text, message in {
        "prog {image}": 'command = "prog {image}": want {output} in it, where the file name goes',
        "no-such-prog {image} {output}": 'command = "no-such-prog {image} {output}": the program no-such-prog is not found; install it or give its path',
    }.items():
        with pytest.raises(InputError) as caught:
            task_of(tmp_path, kind="command", command=text)
        assert str(caught.value) == message


WORDS = {"normalise": "none", "low": 0.0, "high": 1.0, "multiple": 8, "threshold": 0.5}


def test_a_network_is_padded_and_cut():
    shapes = []

    def forward(batch):
        shapes.append(batch.shape)
        return np.concatenate([1000 - batch, batch], axis=1)

    pixels = IMAGE.astype(float)[:, :30, :31]
    assert np.array_equal(network_labels(pixels, forward, WORDS), pixels > 500)
    assert shapes == [(1, 1, 8, 32, 32)]
    assert np.array_equal(network_labels(pixels, lambda b: b - 600, WORDS), pixels > 600.5)
    with pytest.raises(BadAnswer, match=r"^the model's output is \(1, 8\); want \(1, classes, 8, 32, 32\)$"):
        network_labels(pixels, lambda b: np.zeros((1, 8)), WORDS)


@pytest.mark.parametrize(
    ("kind", "module", "extra"), [("torchscript", "torch", "torch"), ("onnx", "onnxruntime", "onnx")]
)
def test_a_network_without_its_package_names_the_extra(tmp_path, kind, module, extra):
    import importlib.util

    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    (tmp_path / "m").write_bytes(b"x")
    with pytest.raises(MissingExtra) as caught:
        task_of(tmp_path, kind=kind, model="m")
    assert str(caught.value) == (
        f'the task "t" ({kind}) needs the package {module}, which is not installed: pip install "slimscan[{extra}]"'
    )


def test_first_order_features_by_hand():
    found = first_order(np.array([1.0, 1, 3, 3]), bin_width=2)
    assert {name: found[name] for name in ("mean", "variance", "skewness", "kurtosis", "mad")} == {
        "mean": 2, "variance": 1, "skewness": 0, "kurtosis": 1, "mad": 1,
    }  # fmt: skip
    assert (found["entropy"], found["uniformity"], found["rms"]) == (1.0, 0.5, math.sqrt(5))
    flat = first_order(np.full(5, 4.0), bin_width=25)
    assert (flat["entropy"], flat["kurtosis"], flat["variance"]) == (0, 0, 0)
    assert set(found) == set(NAMES)
    with pytest.raises(BadAnswer, match=r"^the region holds no voxels$"):
        first_order(np.empty(0), 25)


def test_features_and_texture_look_where_they_are_told():
    asked = Asked("c", "c", mask=MASK)
    inside = task_of(kind="features", features=["mean"]).predict(VOLUME, asked)["mean"]
    assert inside == IMAGE[MASK != 0].mean()
    assert (
        task_of(kind="features", features=["mean"], region="all").predict(VOLUME, Asked("c", "c"))["mean"]
        == IMAGE.mean()
    )
    assert task_of(kind="texture").predict(VOLUME, asked)["wtv"] > 0
    with pytest.raises(BadAnswer, match=r"^there is no reference mask; give"):
        task_of(kind="texture").predict(VOLUME, Asked("c", "c"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((1, 2, 2)), r"^the answer is \(1, 2, 2\), the image \(6, 32, 32\)$"),
        (np.full((6, 32, 32), 0.5), "^the answer holds fractions, NaN or infinities; labels are whole numbers$"),
        (np.full((6, 32, 32), np.nan), "^the answer holds fractions"),
        (np.full((6, 32, 32), 70000), "^labels from 0 to 70000; allowed are 16 bits$"),
        (np.full((6, 32, 32), "a"), "^the answer holds <U1; labels are whole numbers$"),
        (None, r"^the answer is \(\), the image"),
    ],
)
def test_an_answer_of_another_form_is_refused(answer, message):
    with pytest.raises(BadAnswer, match=message):
        as_labels(answer, (6, 32, 32))


def test_numbers_must_be_numbers():
    assert as_numbers({"a": 1, "b": np.float32(2)}) == {"a": 1.0, "b": 2.0}
    for wrong in ({}, [1], {"a": "x"}):
        with pytest.raises(BadAnswer):
            as_numbers(wrong)


def test_scores_of_every_metric_at_the_ends():
    spacing = (2.0, 0.8, 0.8)
    names = tuple(OF_MASKS)
    same = {one.metric: one.value for one in score(MASK, MASK, names, spacing)}
    empty = {one.metric: one.value for one in score(MASK, MASK * 0, names, spacing)}
    absent = {one.metric: one.value for one in score(MASK * 0, MASK, names, spacing)}
    worst = {one.metric: one.value for one in worst_of(names, ("foreground",))}
    assert list(same) == list(worst) == [name for name, _ in names_of(names)]
    for name, direction in names_of(names):
        assert direction_of(name) == direction
        if direction == "higher":
            assert (same[name], empty[name], worst[name]) == (1, 0, 0)
        if direction == "lower" and not name.endswith(CHANGE):
            assert (same[name], empty[name], worst[name]) == (0, math.inf, math.inf)
        if name.endswith(CHANGE):
            assert (same[name], empty[name], worst[name]) == (0, 100, 100)
        if direction != "none":
            assert math.isnan(absent[name])


def test_kinds_tell_what_they_are():
    assert all(kind.about for kind in KINDS.values())
