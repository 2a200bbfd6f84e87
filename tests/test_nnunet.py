"""nnU-Net: its dataset format, the declaration of a run, what goes wrong in one line; and the real package (slow)."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from slimscan import files
from slimscan.errors import InputError, MissingExtra
from slimscan.models import BadAnswer, nnunet
from slimscan.models.nnunet_data import Dataset, bare, channel_file, checkpoints, model_json, to_indices
from slimscan.nouns import Volume
from slimscan.press.open import read
from slimscan.study import nnunet as study
from slimscan.study.nnunet_copies import copied
from slimscan.study.nnunet_plan import load, parse, split
from slimscan.study.nnunet_rows import COLUMNS, means, read_rows, write_rows
from slimscan.study.task import Asked
from slimscan.study.tasks import nnunet as task
from slimscan.study.words import table

HERE = importlib.util.find_spec("nnunetv2") is not None
AFFINE = np.array([[-1.0, 0, 0, 5], [0, 1.5, 0, -3], [0, 0, 2.0, 7], [0, 0, 0, 1]])
CLASSES = {"anterior": (3,), "posterior": (5, 6)}


def image_of(seed=0, shape=(12, 16, 20)):
    pixels = np.random.default_rng(seed).integers(-100, 900, shape).astype(np.int16)
    return Volume(pixels, AFFINE, slope=2.0, intercept=-1024.0, source="ct")


def mask_of(shape=(12, 16, 20)):
    mask = np.zeros(shape, np.int16)
    mask[2:5, 3:9, 4:11], mask[6:9, 3:9, 4:11], mask[9, 3, 3], mask[0, 0, 0] = 3, 5, 6, 9
    return mask


# ---------------------------------------------------------------- the dataset format


def test_a_dataset_lies_as_nnunet_wants_it(tmp_path):
    import SimpleITK

    dataset = Dataset(tmp_path, 7, "Liver", CLASSES, "CT")
    assert dataset.title == "Dataset007_Liver"
    dataset.add("case_1", image_of(), mask_of(), files.write)
    dataset.finish(1)
    found = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert found == [
        "Dataset007_Liver/dataset.json",
        "Dataset007_Liver/imagesTr/case_1_0000.nii.gz",
        "Dataset007_Liver/labelsTr/case_1.nii.gz",
    ]
    assert json.loads((dataset.folder / "dataset.json").read_text()) == {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "name": "Liver",
    }
    x, y = (SimpleITK.ReadImage(str(tmp_path / one)) for one in found[1:])  # as nnU-Net reads them
    assert np.array_equal(SimpleITK.GetArrayFromImage(x), image_of().pixels * 2.0 - 1024)
    labels = SimpleITK.GetArrayFromImage(y)
    assert np.array_equal(labels == 1, mask_of() == 3)
    assert np.array_equal(labels == 2, np.isin(mask_of(), (5, 6)))
    assert labels.dtype == np.uint8
    assert (x.GetSpacing(), x.GetOrigin(), x.GetDirection()) == (y.GetSpacing(), y.GetOrigin(), y.GetDirection())
    assert x.GetSpacing() == pytest.approx((1.0, 1.5, 2.0))


def test_the_header_of_the_source_does_not_come_between_image_and_mask(tmp_path):
    """An image that comes from a file keeps its header's bytes; the copy for nnU-Net has the grid alone."""
    files.write(image_of(), tmp_path / "x.nii.gz")
    image = read(tmp_path / "x.nii.gz")
    assert image.raw_header
    assert not bare(image).raw_header
    assert bare(image).slope == 2.0
    assert bare(image, np.ones(image.shape, np.uint8)).slope == 1.0
    with pytest.raises(InputError, match=r"^ct: has 3 colours a voxel; nnU-Net takes grey volumes here$"):
        bare(Volume(np.zeros((2, 3, 4, 3), np.uint8), source="ct"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"number": 0}, "nnU-Net dataset number 0: allowed are 1 to 999"),
        ({"name": "my liver"}, 'nnU-Net dataset name "my liver": want letters, digits, - and _'),
        ({"ending": ".dcm"}, 'nnU-Net file ending ".dcm": allowed are .nii.gz, .nii, .mha, .nrrd'),
        ({"classes": {}}, "nnU-Net: no classes; want names with label values, {liver = 1}"),
        (
            {"classes": {"a": (1, 2), "b": (2,)}},
            "nnU-Net: class b, label value 2 is a already; every value belongs to one class",
        ),
        (
            {"classes": {"a": (0,)}},
            "nnU-Net: class a, label value 0 is the background; every value belongs to one class",
        ),
    ],
)
def test_what_is_no_dataset(tmp_path, words, message):
    with pytest.raises(InputError) as caught:
        Dataset(**{"raw": tmp_path, "number": 1, "name": "x", "classes": CLASSES, **words})
    assert str(caught.value) == message


def test_masks_and_names_that_do_not_fit(tmp_path):
    dataset = Dataset(tmp_path, 1, "x", CLASSES)
    with pytest.raises(InputError) as caught:
        dataset.add("a", image_of(), mask_of()[1:], files.write)
    assert str(caught.value) == "a: its mask is (11, 16, 20), its image (12, 16, 20); give masks on the same grid"
    for name in ("a b", "a/b", ".a", ""):
        with pytest.raises(InputError, match=r"nnU-Net needs names without blanks and slashes that begin with no dot$"):
            channel_file(name, ".nii")
    assert np.array_equal(np.unique(to_indices(mask_of(), CLASSES)), [0, 1, 2])


def test_what_is_no_trained_model(tmp_path):
    with pytest.raises(InputError, match=r"is no trained nnU-Net model \(dataset\.json is missing or damaged\)"):
        model_json(tmp_path)
    (tmp_path / "dataset.json").write_text('{"labels": {}, "file_ending": ".nii.gz"}')
    (tmp_path / "plans.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no channel_names; it was not written by nnU-Net version 2$"):
        model_json(tmp_path)
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0/checkpoint_best.pth").touch()
    with pytest.raises(InputError, match=r"no such checkpoint; there are: fold_0/checkpoint_best\.pth$"):
        checkpoints(tmp_path, (), "checkpoint_final.pth")
    assert checkpoints(tmp_path, (), "checkpoint_best.pth") == [tmp_path / "fold_0/checkpoint_best.pth"]
    (tmp_path / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "T1", "1": "T2"}, "labels": {}, "file_ending": ".nii.gz"})
    )
    said = table("task", task.WORDS, {"model": ".", "checkpoint": "checkpoint_best.pth"})
    with pytest.raises(InputError, match=r"takes 2 channels as \.nii\.gz; want one channel"):
        task.make({"name": "t", "kind": "nnunet", **said}, tmp_path)


# ---------------------------------------------------------------- how it is run


def test_the_child_sees_nnunet_s_folders_and_few_threads(tmp_path):
    folders, machine = nnunet.Folders(tmp_path), nnunet.Machine(threads=3)
    seen = nnunet.environment("training", folders, machine)
    assert seen["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")
    assert seen["nnUNet_results"] == str(tmp_path / "nnUNet_results")
    assert (seen["OMP_NUM_THREADS"], seen["nnUNet_def_n_proc"]) == ("3", "3")
    assert (seen["nnUNet_n_proc_DA"], seen["nnUNet_compile"]) == ("0", "f")
    assert nnunet.environment("planning", folders, machine)["nnUNet_n_proc_DA"] == "1"  # 0 is refused there


def test_failures_say_what_to_do():
    assert nnunet.hinted("x: CUDA out of memory").endswith("gpu_memory_gb, or use configuration 2d")
    assert nnunet.hinted("InductorError: no C compiler").endswith("leave compile off (nnUNet_compile=f)")
    assert nnunet.hinted("No module named 'torchvision'").startswith("No module named 'torchvision'; install")
    assert nnunet.hinted("x") == "x"


def test_a_training_that_stands_there_is_not_replaced(tmp_path):
    folders = nnunet.Folders(tmp_path)
    dataset = Dataset(folders.raw, 501, "x", CLASSES)
    training = nnunet.Training(epochs=2)
    model = folders.model(dataset, training)
    assert model == tmp_path / "nnUNet_results/Dataset501_x/nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert folders.model(dataset, nnunet.Training("2d", "nnUNetPlannerResEncM")).name == (
        "nnUNetTrainer__nnUNetResEncUNetMPlans__2d"
    )
    (model / "fold_all").mkdir(parents=True)
    (model / "fold_all/slimscan.json").write_text(json.dumps({**training.__dict__, "epochs": 5}))
    (model / "fold_all/checkpoint_final.pth").touch()
    with pytest.raises(InputError, match=r"was trained otherwise \(epochs 5 there, 2 here\); give another folder"):
        nnunet.train(folders, dataset, training, nnunet.Machine())
    assert nnunet.train(folders, dataset, nnunet.Training(epochs=5), nnunet.Machine()) == model
    for words, message in {
        "configuration": 'nnU-Net configuration "x": allowed are 2d, 3d_fullres, 3d_lowres',
        "fold": 'nnU-Net fold "x": allowed are all, 0, 1, 2, 3, 4',
    }.items():
        with pytest.raises(InputError) as caught:
            nnunet.Training(**{words: "x"})
        assert str(caught.value) == message
    with pytest.raises(InputError, match=r"^nnU-Net epochs 0: allowed are 1 to 1000000$"):
        nnunet.Training(epochs=0)


@pytest.mark.skipif(HERE, reason="nnunetv2 is installed")
def test_without_the_package_the_extra_is_named(tmp_path):
    with pytest.raises(MissingExtra) as caught:
        nnunet.predict(tmp_path, {}, nnunet.Machine())
    assert str(caught.value) == (
        'nnU-Net\'s prediction needs the package nnunetv2, which is not installed: pip install "slimscan[nnunet]"'
    )
    with pytest.raises(MissingExtra, match=r"^nnU-Net on compressed copies needs the package nnunetv2"):
        study.run(parse(said_of(tmp_path), tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- the declaration


def said_of(base, count=4, **more):
    for number in range(count):
        place = base / f"images/c{number}.nii.gz"
        if not place.exists():
            (base / "images").mkdir(exist_ok=True)
            (base / "labels").mkdir(exist_ok=True)
            files.write(image_of(number), place)
            files.write(Volume(mask_of(), AFFINE), base / f"labels/c{number}.nii.gz")
    said = {
        "study": {"name": "tiny"},
        "cases": {
            "images": "images/{case}.nii.gz",
            "masks": "labels/{case}.nii.gz",
            "classes": {"anterior": 3, "posterior": [5, 6]},
        },
        "copies": {"trained": [1], "tested": [1, 4]},
        "nnunet": {"epochs": 1, "iterations": 2, "validations": 1, "mirror": False, "step": 1.0},
        "run": {"device": "cpu", "threads": 1},
    }
    for name, words in more.items():
        said[name] = {**said[name], **words}
    return said


def test_patients_are_dealt_once_and_by_the_seed(tmp_path):
    plan = parse(said_of(tmp_path, 8), tmp_path)
    dealt = split(plan)
    assert (len(dealt.train), len(dealt.test)) == (6, 2)
    assert not {one.case for one in dealt.train} & {one.case for one in dealt.test}
    assert split(plan) == dealt
    others = [split(parse(said_of(tmp_path, 8, nnunet={"seed": seed}), tmp_path)) for seed in range(5)]
    assert any(one.test != dealt.test for one in others)
    with pytest.raises(InputError) as caught:
        split(parse(said_of(tmp_path, 8, cases={"limit": 5}, nnunet={"fold": "0"}), tmp_path))
    assert str(caught.value) == (
        "[cases]: 5 patients, 1 of them held out, leave 4 to train on; fold = 0 needs at least 5"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cases": {"classes": None}}, "nnU-Net needs names with label values, classes = {liver = 1}"),
        ({"nnunet": {"epochs": 0}}, "[nnunet] epochs = 0: allowed: 1 to 1e+06; nnU-Net's own are 1000"),
        ({"nnunet": {"configuration": "3d"}}, "allowed: 2d, 3d_fullres, 3d_lowres"),
        ({"copies": {"codec": "j2k"}}, "j2k"),
        (
            {"run": {"gpu": 1}},
            '[run]: the word "gpu" is not known; allowed: device, threads, workers, compile, timeout',
        ),
    ],
)
def test_words_that_do_not_fit(tmp_path, more, message):
    said = said_of(tmp_path, 1)
    for name, words in more.items():
        said[name] = {word: value for word, value in {**said[name], **words}.items() if value is not None}
    with pytest.raises(InputError) as caught:
        parse(said, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_toml_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"is not there; docs/nnunet-monai\.md has one to copy$"):
        load(tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("[stdy]\n")
    with pytest.raises(InputError, match=r'x\.toml: the table \[stdy\] is not known; .*did you mean "study"\?$'):
        load(tmp_path / "x.toml")


# ---------------------------------------------------------------- copies and rows


SMOOTH = np.add.outer(np.add.outer(np.arange(24) * 9, np.arange(40) * 5), np.arange(40) * 3)
NOISY = (SMOOTH + np.random.default_rng(0).normal(0, 20, SMOOTH.shape)).astype(np.int16)


@pytest.mark.parametrize(("size", "name"), [("file", "ratio_achieved"), ("payload", "ratio_payload")])
def test_a_copy_meets_the_ratio_by_what_is_counted(size, name):
    words = {"codec": "jpeg2000", "per": "volume", "size": size, "peak": "stored"}
    image = Volume(NOISY, AFFINE, source="ct")
    copy = copied(image, 6.0, words)
    assert getattr(copy, name) == pytest.approx(6.0, rel=0.02)
    assert copy.ratio_payload > copy.ratio_achieved
    assert copy.stored == pytest.approx(NOISY.nbytes / 6.0, rel=0.02)
    assert copy.volume.pixels.shape == NOISY.shape
    assert 20 < copy.psnr_db < 90
    itself = copied(image, 1.0, words)
    assert np.array_equal(itself.volume.pixels, NOISY)
    assert itself.stored == NOISY.nbytes


def test_a_mask_on_another_grid_is_said(tmp_path):
    said = said_of(tmp_path, 2)
    moved = AFFINE.copy()
    moved[0, 3] += 4
    for number in range(2):
        files.write(Volume(mask_of(), moved), tmp_path / f"labels/c{number}.nii.gz")
    with pytest.raises(InputError, match=r"the mask's grid is 4 mm off its image's; resample it to the image$"):
        study._load(split(parse(said, tmp_path)).train[0])


def test_means_are_taken_over_what_is_defined():
    rows = [
        {"trained": "1", "tested": "8", "class": "a", "dsc": value, "ratio_achieved": 4.0, "ratio_payload": 8.0}
        for value in ("0.5", "", "0.75")
    ]
    assert means(rows) == [
        {"trained": "1", "tested": "8", "class": "a", "n": 2, "dsc": 0.625, "deviation": pytest.approx(0.1767767),
         "ratio": 4.0, "ratio_payload": 8.0}
    ]  # fmt: skip


def test_a_folder_of_another_run_is_kept(tmp_path):
    study._admit(tmp_path / "a", {"said": {"nnunet": {"epochs": 1}}}, False)
    study._admit(tmp_path / "a", {"said": {"nnunet": {"epochs": 1}}}, False)
    with pytest.raises(InputError, match=r"holds a run declared otherwise \(\[nnunet\] epochs\); give another folder"):
        study._admit(tmp_path / "a", {"said": {"nnunet": {"epochs": 2}}}, False)
    study._admit(tmp_path / "a", {"said": {"nnunet": {"epochs": 2}}}, True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine.txt").touch()
    with pytest.raises(InputError, match=r"holds something else; give an empty folder$"):
        study._admit(tmp_path / "b", {"said": {}}, True)


# ---------------------------------------------------------------- the real package


@pytest.mark.slow
@pytest.mark.skipif(not HERE, reason="the package nnunetv2 is not installed (make nnunet)")
def test_nnunet_itself_plans_trains_resumes_and_predicts(tmp_path, real_data):
    data = real_data / "mri_hippocampus_msd"
    said = {
        "study": {"name": "hippocampus"},
        "cases": {
            "images": str(data / "images/{case}.nii.gz"),
            "masks": str(data / "labels/{case}.nii.gz"),
            "classes": {"anterior": 1, "posterior": 2},
            "modality": "MR",
            "limit": 6,
        },
        "copies": {"trained": [8], "tested": [1, 8], "size": "payload"},
        "nnunet": {"epochs": 1, "iterations": 5, "validations": 1, "held_out": 0.17, "mirror": False, "step": 1.0},
        "run": {"device": "cpu", "threads": 2, "timeout": 1},
    }
    plan, out = parse(said, tmp_path), tmp_path / "out"
    done = study.run(plan, out)
    rows = read_rows(out)
    assert len(rows) == 2 * 1 * 2  # two ratios, one case, two classes
    assert {row["class"] for row in rows} == {"anterior", "posterior"}
    assert all(0 <= float(row["dsc"]) <= 1 for row in rows)
    assert [float(row["ratio_payload"]) for row in rows] == pytest.approx([1, 1, 8, 8], rel=0.03)
    assert done["versions"]["nnunetv2"] != "not installed"

    dataset = Dataset(nnunet.Folders(out / "nets/8").raw, 501, "hippocampus", plan.classes, "MR")
    model = nnunet.Folders(out / "nets/8").model(dataset, plan.training)
    stamp = (model / "fold_all/checkpoint_final.pth").stat().st_mtime_ns
    before = (out / "rows.csv").read_text()
    study.run(plan, out)  # nothing is left to do
    assert (model / "fold_all/checkpoint_final.pth").stat().st_mtime_ns == stamp
    assert (out / "rows.csv").read_text() == before

    # The same model as a task of a study gives the labels that were scored.
    words = table(
        "task", task.WORDS, {"model": str(model), "mirror": False, "step": 1.0, "device": "cpu", "threads": 2}
    )
    asked = task.make({"name": "t", "kind": "nnunet", **words}, tmp_path)
    name = rows[0]["case"]
    found = asked.predict(read(data / f"images/{name}.nii.gz"), Asked(name, name))
    assert np.array_equal(found, read(out / f"found/8/1/{name}.nii.gz").pixels)

    # A training that was stopped after its first epoch goes on from there.
    fold = model / "fold_all"
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    kept = json.loads((fold / "slimscan.json").read_text())
    (fold / "slimscan.json").write_text(json.dumps({**kept, "epochs": 2, "iterations": 1}))
    longer = nnunet.Training(epochs=2, iterations=1, validations=1)
    assert nnunet.train(nnunet.Folders(out / "nets/8"), dataset, longer, plan.machine) == model
    logs = "".join(one.read_text() for one in sorted(fold.glob("training_log_*.txt"))[-1:])
    assert "Epoch 1" in logs
    assert "Epoch 0" not in logs

    # What nnU-Net refuses is one line: labels that are not there, and a stopped child.
    broken = Dataset(nnunet.Folders(tmp_path / "b").raw, 501, "b", {"a": (1,)})
    broken.add("one", image_of(), mask_of() * 0, files.write)
    broken.finish(2)
    with pytest.raises(BadAnswer, match=r"^nnU-Net's planning failed: \w+: .*") as caught:
        nnunet.plan(nnunet.Folders(tmp_path / "b"), broken, longer, plan.machine)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadAnswer, match=r"^nnU-Net's prediction took longer than 0\.1 s and was stopped$"):
        nnunet.predict(model, {out / f"tests/1/{name}_0000.nii.gz": tmp_path / "x.nii.gz"}, nnunet.Machine(timeout=0.1))


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_lacks(tmp_path, monkeypatch):
    from slimscan.cli.net_nnunet import nnunet as command

    monkeypatch.chdir(tmp_path)
    said_of(tmp_path)
    here = {"images": "images/{case}.nii.gz", "masks": "labels/{case}.nii.gz", "output": "out"}
    (tmp_path / "x.toml").write_text("[cases]\nimages = 'images'\nmasks = 'labels'\nclasses = {a = 3}\n")
    for words, message in [
        ({"output": ""}, "slimscan net nnunet: where to? give -o FOLDER"),
        ({"output": "out"}, "slimscan net nnunet: want a TOML, or --images, --masks and --classes"),
        (here, "[cases] classes: nnU-Net needs names with label values, classes = {liver = 1}"),
        (
            {**here, "classes": "liver"},
            '--classes "liver": want names with label values, for example liver=1,tumour=2',
        ),
        ({**here, "classes": "a=3", "trained": "one"}, '--trained "one": want numbers, for example 1,20'),
        (
            {"toml": "x.toml", "output": "out", "epochs": 3},
            "x.toml: says what is run; leave out --images and the like, or write them into it",
        ),
    ]:
        with pytest.raises(InputError) as caught:
            command(**words)
        assert str(caught.value) == message


def test_the_command_prints_a_line_for_every_pair_of_ratios(tmp_path, monkeypatch, capsys):
    """The run itself is the slow test; here its rows stand there already."""
    from slimscan.cli.net_nnunet import nnunet as command

    seen = {}

    def run(plan, folder, *, force, say):
        seen.update(plan.said["copies"], machine=plan.machine)
        folder.mkdir()
        row = dict.fromkeys(COLUMNS, "1") | {"class": "a", "dsc": "0.5"}
        write_rows(folder / "rows.csv", [row, row | {"tested": "4", "dsc": "0.25"}])
        return {"train": [1, 2, 3], "test": [1], "patients": 4, "seconds": 1.5}

    monkeypatch.chdir(tmp_path)
    said_of(tmp_path)
    monkeypatch.setattr(study, "run", run)
    (tmp_path / "x.toml").write_text(
        "[cases]\nimages = 'images'\nmasks = 'labels'\nclasses = {a = 3}\n[copies]\ntested = [1, 4]\n"
    )
    assert command("x.toml", "out", threads=3, device="cpu") == 0
    assert (seen["tested"], seen["machine"].threads, seen["machine"].device) == ((1.0, 4.0), 3, "cpu")
    printed = capsys.readouterr().out
    assert "3 trained on, 1 tested, 4 patients" in printed
    assert [line.split() for line in printed.splitlines()[-2:]] == [
        ["1", "1", "1", "1", "a", "1", "0.500", "-"],
        ["1", "4", "1", "1", "a", "1", "0.250", "-"],
    ]
