"""Networks with torch, tiny ones on one thread: shapes, losses by hand, training that stops and goes on, what fails."""

from __future__ import annotations

import errno
import itertools
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from slimscan.errors import InputError, MissingExtra, NotReadable, OutputError  # noqa: E402
from slimscan.models import checkpoint, predict  # noqa: E402
from slimscan.models import fit as training  # noqa: E402
from slimscan.models.checkpoint import Network, load, save  # noqa: E402
from slimscan.models.crops import crops  # noqa: E402
from slimscan.models.fit import fit, rate_at  # noqa: E402
from slimscan.models.log import read  # noqa: E402
from slimscan.models.losses import loss, overlaps  # noqa: E402
from slimscan.models.spec import PRESETS, FitSpec, NetSpec, NormSpec, preset  # noqa: E402
from slimscan.models.unet import InstanceNorm, build, weights  # noqa: E402
from slimscan.nouns import Needs  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


NET = NetSpec("modern", 3, classes=3, levels=2, width=4, labels=(0, 5, 9), names=("ball", "shell"))
FIT = FitSpec(patch=(8, 8, 8), steps=8, every=4, threads=1, half=False, device="cpu")


def phantom(seed: int, side: int = 14) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    middle = random.uniform(5, side - 5, 3)[:, None, None, None]
    far = np.sqrt(((np.mgrid[:side, :side, :side] - middle) ** 2).sum(axis=0))
    mask = np.where(far < 2.5, 1, np.where(far < 4.5, 2, 0)).astype(np.uint8)
    return (np.array([0, 3, 1.5])[mask] + random.normal(0, 0.3, mask.shape)).astype(np.float32), mask


CASES = [phantom(seed) for seed in range(4)]


def batches(fit_spec, dims=3):
    images, masks = zip(*CASES, strict=True)
    return lambda step: crops(images, masks, fit_spec, dims, fit_spec.seed, step)


def train(folder, spec=FIT, net=NET, **more):
    return load(fit(net, NormSpec(), spec, batches(spec, net.dims), folder, **more))


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "swin_unetr"])
def test_every_preset_keeps_the_sides(name):
    net = preset(name, 3, width=4, levels=3)
    module = build(net)
    sides = (12, 8, 20)[3 - net.dims :]
    assert module(torch.zeros(2, 1, *sides)).shape == (2, 3, *sides)
    maps = [one.out_channels for one in module.modules() if isinstance(one, (torch.nn.Conv2d, torch.nn.Conv3d))]
    assert maps == [4, 4, 8, 8, 16, 16, 8, 8, 4, 4, 3]  # doubled going down, halved going up


def test_the_norm_is_torchs():
    x = torch.randn(3, 4, 5, 6, 7)
    mine, theirs = InstanceNorm(4), torch.nn.InstanceNorm3d(4, affine=True)
    assert torch.allclose(mine(x), theirs(x), atol=1e-5)
    assert torch.allclose(mine.eval()(x), theirs(x), atol=1e-5)


def test_losses_by_hand():
    target = torch.tensor([[[0, 1], [2, 2]]])
    sure = torch.nn.functional.one_hot(target, 3).movedim(-1, 1) * 100.0
    even = torch.zeros(1, 3, 2, 2)
    assert overlaps(sure, target).tolist() == pytest.approx([1, 1], abs=1e-4)
    # p = 1/3 everywhere: class 1 has 2 (1/3) / (4/3 + 1), class 2 has 2 (2/3) / (4/3 + 2).
    one, two = (2 / 3) / (7 / 3), (4 / 3) / (10 / 3)
    assert overlaps(even, target).tolist() == pytest.approx([one, two], abs=1e-4)
    weighted = loss(FitSpec(loss="dice", weights=(1, 3)), 3)  # El Khoury 2021, eq. 6
    assert float(weighted(even, target)) == pytest.approx(-one - 3 * two, abs=1e-4)
    assert float(loss(FitSpec(loss="cross_entropy"), 3)(even, target)) == pytest.approx(math.log(3))
    both = math.log(3) + 1 - (one + two) / 2
    assert float(loss(FitSpec(), 3)(even, target)) == pytest.approx(both, abs=1e-4)
    nothing = torch.zeros(1, 2, 2, dtype=torch.long)
    assert overlaps(torch.tensor([90.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 2, 2), nothing).tolist() == [1, 1]
    with pytest.raises(InputError) as caught:
        loss(FitSpec(loss="dice", weights=(1, 2, 3)), 3)
    assert str(caught.value) == "training weights: want 2, one a class without background; got [1, 2, 3]"


def test_the_rate_is_one_cycle():
    spec = FitSpec(steps=100, rate=1.0)
    rates = [rate_at(step, spec) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[29] == 1
    assert rates[-1] == pytest.approx(4e-6)
    assert rates[:30] == sorted(rates[:30])
    assert rates[29:] == sorted(rates[29:], reverse=True)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    one, two = train(tmp_path / "a"), train(tmp_path / "b")
    other = train(tmp_path / "c", FitSpec(**{**_plain(FIT), "seed": 1}))
    assert one.sha256 == two.sha256 != other.sha256
    assert (one.net, one.norm, one.fit.steps) == (NET, NormSpec(), 8)


def _plain(spec):
    from dataclasses import asdict

    return asdict(spec)


@pytest.mark.parametrize("stops", [3, 4, 6])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, stops):
    whole = train(tmp_path / "whole")

    def broken(step):
        for number, pair in enumerate(batches(FIT)(step), start=step):
            if number == stops:
                raise KeyboardInterrupt
            yield pair

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(NET, NormSpec(), FIT, broken, tmp_path / "cut")
    last = tmp_path / "cut" / "last.pt"
    assert last.is_file() == (stops >= 4)
    if last.is_file():
        assert str(caught.value) == f"stopped; the last good checkpoint is {last}; the same command goes on from there"
    else:
        assert str(caught.value) == "stopped; no checkpoint was written yet (one every 4 steps)"
    again = train(tmp_path / "cut")
    assert again.sha256 == whole.sha256
    assert again.history[-1]["steps"] == 8
    assert [line["step"] for line in read(tmp_path / "cut" / "log.jsonl")] == list(range(1, 9))
    assert train(tmp_path / "cut").sha256 == whole.sha256  # done: nothing is done again


def test_another_configuration_in_the_folder(tmp_path):
    train(tmp_path)
    with pytest.raises(InputError) as caught:
        train(tmp_path, FitSpec(**{**_plain(FIT), "steps": 12}), NetSpec(**{**_plain(NET), "width": 8}))
    assert str(caught.value) == (
        f"{tmp_path / 'last.pt'}: is of another training: network width was 4, now 8; training steps was 8, now 12; choose "
        "another folder, or delete this one to start anew"
    )


def test_fine_tuning_remembers_where_it_began(tmp_path):
    first = train(tmp_path / "first")
    tuned = train(tmp_path / "tuned", start=tmp_path / "first" / "last.pt")
    assert [one["start"] for one in tuned.history] == [None, first.sha256]
    assert tuned.sha256 != first.sha256
    with pytest.raises(InputError) as caught:
        train(tmp_path / "flat", net=NetSpec(**{**_plain(NET), "levels": 1}), start=tmp_path / "first" / "last.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'first' / 'last.pt'}: its weights do not fit this network: levels is 2 there and 1 here"
    )


def test_it_learns_and_ends_early(tmp_path):
    spec = FitSpec(**{**_plain(FIT), "steps": 60, "every": 60, "patch": (14, 14, 14), "half": True})
    found = train(tmp_path / "a", spec)
    image, mask = phantom(99)
    answer = predict.labels(found, image.astype(np.float64))
    assert answer.dtype == np.uint16
    assert set(np.unique(answer)) <= {0, 5, 9}
    for channel, value in ((1, 5), (2, 9)):
        a, b = answer == value, mask == channel
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.5
    scores = itertools.chain([0.5], itertools.repeat(0.4))
    early = FitSpec(**{**_plain(FIT), "steps": 40, "every": 2, "patience": 3})
    best = train(tmp_path / "b", early, validate=lambda network: {"ball": next(scores)})
    lines = read(tmp_path / "b" / "log.jsonl")
    assert lines[-1]["step"] == 8  # the best at 2, then three without gain
    assert [line["best"] for line in lines if "best" in line] == [True, False, False, False]
    assert best.history[-1]["steps"] == 2


def test_nan_ends_it_and_keeps_the_last_good_checkpoint(tmp_path):
    def spoiled(step):
        for number, (x, y) in enumerate(batches(FIT)(step), start=step):
            yield (np.full_like(x, np.nan) if number == 6 else x), y

    with pytest.raises(training.Diverged) as caught:
        fit(NET, NormSpec(), FIT, spoiled, tmp_path)
    assert str(caught.value) == (
        "the loss is nan at step 7: look for NaN in the images, or choose a rate below 0.01; the last good checkpoint is "
        f"{tmp_path / 'last.pt'}; the same command goes on from there"
    )
    kept = load(tmp_path / "last.pt")
    assert kept.history[-1]["steps"] == 4
    assert all(torch.isfinite(one).all() for one in kept.weights.values())


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    real, written = checkpoint.put, []

    def full(path, data):
        written.append(path)
        if len(written) > 1:
            path.write_bytes(bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(checkpoint, "put", full)
    with pytest.raises(OutputError) as caught:
        train(tmp_path)
    last = tmp_path / "last.pt"
    assert (
        str(caught.value)
        == f"{last}: the checkpoint cannot be written (No space left on device); the one before it is kept"
    )
    monkeypatch.undo()
    assert load(last).history[-1]["steps"] == 4
    assert sorted(one.name for one in tmp_path.iterdir()) == ["last.pt", "log.jsonl"]
    assert train(tmp_path).history[-1]["steps"] == 8


def test_what_is_no_checkpoint(tmp_path):
    place = tmp_path / "net.pt"
    with pytest.raises(NotReadable, match="is not there; want a checkpoint"):
        load(place)
    place.write_bytes(b"nothing of the kind")
    with pytest.raises(NotReadable, match=r"cannot be read as a checkpoint \(.+\); want best.pt or last.pt"):
        load(place)
    torch.save({"weights": {}}, place)
    with pytest.raises(NotReadable, match="is no checkpoint of slimscan"):
        load(place)
    torch.save({"format": checkpoint.FORMAT, "net": {"colour": 1}, "norm": {}, "fit": {}}, place)
    with pytest.raises(NotReadable, match="is a damaged checkpoint, or one of a newer slimscan"):
        load(place)
    save(place, Network(NET, NormSpec("trainset", mean=3.0), FIT, weights(build(NET))))
    assert load(place).norm.mean == 3.0
    data = place.read_bytes()
    place.write_bytes(data[: len(data) // 2])
    with pytest.raises(NotReadable):
        load(place)


@pytest.mark.parametrize(
    ("net", "patch", "message"),
    [
        (NET, (8, 8, 9), "training patch = [8, 8, 9]: with 2 levels sides must be multiples of 2; nearest: [8, 8, 8]"),
        (
            NetSpec(dims=2, levels=2, width=4),
            (8, 8, 8),
            "training patch = [8, 8, 8]: of a 2D network the first side is 1, [1, y, x]",
        ),
        (
            NET,
            (2, 2, 2),
            "training patch = [2, 2, 2]: 2 levels leave a single voxel, which has no spread to normalise; take a larger patch "
            "or fewer levels",
        ),
    ],
)
def test_patches_that_do_not_fit(tmp_path, net, patch, message):
    with pytest.raises(InputError) as caught:
        train(tmp_path, FitSpec(patch=patch), net)
    assert str(caught.value) == message


def test_no_gpu_here(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match="torch finds no GPU here"):
        train(tmp_path, FitSpec(**{**_plain(FIT), "device": "cuda"}))


@pytest.mark.parametrize("kind", ["modern", "elkhoury"])
@pytest.mark.parametrize("dims", [2, 3])
def test_onnx_answers_as_torch_does(tmp_path, kind, dims):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    from slimscan.models.network import open_onnx
    from slimscan.models.network import predict as by_way
    from slimscan.models.onnx_in import exported, labels
    from slimscan.models.onnx_out import to_onnx
    from slimscan.models.way import beside

    torch.manual_seed(3)
    net = NetSpec(kind, dims, classes=3, levels=2, width=4, labels=(0, 5, 9))
    spec = FitSpec(patch=(8, 8, 8) if dims == 3 else (1, 8, 8))
    network = Network(net, NormSpec(), spec, weights(build(net)))
    place = tmp_path / "net.onnx"
    to_onnx(network, place)
    out = exported(str(place))
    assert (out.net, out.norm, out.fit, out.sha256) == (net, network.norm, spec, network.sha256)
    for shape in ((1, 1, 1), (3, 5, 7), (19, 9, 17)):
        pixels = np.random.default_rng(2).normal(size=shape) * 50
        assert (labels(out, pixels) == predict.labels(network, pixels)).mean() > 0.999
    way = beside(place)
    found = by_way(np.random.default_rng(2).normal(size=(8, 8, 8)), open_onnx(str(place)), way)
    assert found.shape == (8, 8, 8)
    assert (way.multiple, way.output, way.normalise) == (2, "softmax", "zscore")
    to_onnx(Network(net, NormSpec(low=0.0), spec, network.weights), place)  # the TOML has no words for this
    assert not place.with_suffix(".toml").exists()


def test_the_task_runs_both_files(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    from slimscan.models.onnx_out import to_onnx
    from slimscan.nouns import Volume
    from slimscan.study.task import Asked
    from slimscan.study.tasks import check, make

    network = train(tmp_path)
    to_onnx(network, tmp_path / "net.onnx")
    volume = Volume(np.rint(phantom(5)[0] * 100).astype(np.int16), slope=0.01)
    answers = []
    for model in ("last.pt", "net.onnx"):
        task = make(check("[[tasks]]", {"name": "net", "kind": "unet", "model": model}), tmp_path)
        answers.append(task.predict(volume, Asked("a", "a")))
    assert np.array_equal(*answers)
    with pytest.raises(InputError, match=r'model = "none.pt": .* is not there'):
        make(check("[[tasks]]", {"name": "net", "kind": "unet", "model": "none.pt"}), tmp_path)


def folder_of(tmp_path, count=4):
    import nibabel as nib

    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number in range(count):
        image, mask = phantom(number)
        for name, array in (("images", np.rint(image * 100).astype(np.int16)), ("labels", mask)):
            nib.save(nib.Nifti1Image(array.T, np.eye(4)), tmp_path / name / f"p{number}.nii.gz")
    return ["--images", str(tmp_path / "images/{patient}.nii.gz"), "--masks", str(tmp_path / "labels/{patient}.nii.gz")]


SMALL = ["--width", "4", "--levels", "2", "--patch", "8,8,8", "--steps", "4", "--every", "2", "--threads", "1"]


def test_the_commands(tmp_path, capsys):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    from slimscan.cli import run

    words = folder_of(tmp_path)
    net, best = str(tmp_path / "net"), str(tmp_path / "net/best.pt")
    assert run(["net", "train", *words, *SMALL, "--classes", "ball=1,shell=2", "-o", net, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trained_on"], len(told["held_back"]), told["steps"]) == (3, 1, 4)
    assert set(told["dice"]) == {"ball", "shell", "mean"}
    assert run(["net", "info", best]) == 0
    assert "ball = 1, shell = 2" in capsys.readouterr().out
    assert run(["net", "export", best, "-o", str(tmp_path / "net.onnx")]) == 0
    image = str(tmp_path / "images/p0.nii.gz")
    counts = []
    for model in (best, str(tmp_path / "net.onnx")):
        capsys.readouterr()
        assert run(["net", "predict", model, image, "-o", str(tmp_path / "out.nii.gz"), "--force", "--json"]) == 0
        counts.append(json.loads(capsys.readouterr().out)["masks"])
    assert counts[0] == counts[1]
    toml = tmp_path / "tune.toml"
    toml.write_text(
        '[cases]\nimages = "images/{patient}.nii.gz"\nmasks = "labels/{patient}.nii.gz"\nclasses = {ball = 1, shell = 2}\n'
        "[network]\nwidth = 4\nlevels = 2\n[training]\npatch = [8, 8, 8]\nsteps = 2\nthreads = 1\n"
    )
    assert run(["net", "train", str(toml), "--start", best, "-o", str(tmp_path / "tuned")]) == 0
    assert len(load(tmp_path / "tuned/best.pt").history) == 2
    for more, message in (
        (["--classes", "ball=1,liver=5"], 'class "liver" (label 5) occurs in none of 4 masks; labels there: 1, 2'),
        (["--classes", "ball"], '--classes "ball": want names with labels, for example liver=1,spleen=2'),
        (["--patch", "8,8"], '--patch "8,8": want three sides z,y,x in voxels, for example 40,56,40 (1,64,64 in 2D)'),
        (["--preset", "net"], '[network] preset = "net": allowed: ' + ", ".join(PRESETS)),
        (["--held-back", "0.9"], "4 patients, 4 of them held back: none is left to train on; add cases"),
    ):
        capsys.readouterr()
        assert run(["net", "train", *words, *SMALL, *more, "-o", str(tmp_path / "no")]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_masks_on_another_grid(tmp_path, capsys):
    import nibabel as nib

    from slimscan.cli import run

    words = folder_of(tmp_path, 2)
    place = tmp_path / "labels/p1.nii.gz"
    away = np.eye(4)
    away[0, 3] = 3.0
    mask = phantom(1)[1].T
    for image, said in (
        (nib.Nifti1Image(mask[:, :, :9], np.eye(4)), "the mask is (9, 14, 14), its image (14, 14, 14)"),
        (nib.Nifti1Image(mask, away), f"lies up to 3 mm beside its image {tmp_path / 'images/p1.nii.gz'}"),
    ):
        nib.save(image, place)
        assert run(["net", "train", *words, *SMALL, "-o", str(tmp_path / "net")]) == 2
        assert capsys.readouterr().err == f"error: {place}: {said}; give it on the image's grid\n"


def test_missing_torch_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(Needs, "missing", lambda self: self.module == "torch")
    from slimscan.cli.net import info

    with pytest.raises(MissingExtra) as caught:
        info(str(tmp_path / "best.pt"))
    assert str(caught.value) == (
        'reading a checkpoint needs the package torch, which is not installed: pip install "slimscan[torch]"'
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[network]\npresett = 1", '[network]: the word "presett" is not known; allowed: preset, kind, dims, levels, width; did you mean "preset"?'),
        ('[network]\nwidth = "8"', "[network] width = '8': want a whole number; feature maps of the first level; multiples of 8 are fast"),
        ("[network]\nwidth = true", "[network] width = True: want a whole number; feature maps of the first level; multiples of 8 are fast"),
        ("[network]\nlevels = nan", "[network] levels = nan: want a whole number; resolutions"),
        ('[normalisation]\nlow = "a"', "[normalisation] low = 'a': want a number; values below are cut to it; left out: no cut"),
        ("[training]\npatch = 40", "[training] patch = [40.0]: want three whole numbers z, y, x in voxels"),
        ("[training]\npatch = [40.5, 40, 40]", "[training] patch = [40.5, 40.0, 40.0]: want three whole numbers z, y, x in voxels"),
        ("[training]\nhalf = 3", "[training] half = 3: want true or false; mixed precision where the machine has it: a GPU, or a CPU with bfloat16"),
        ('[training]\nweights = ["a"]', "[training] weights = 'a': want a list of numbers, [1, 2.5]; of the classes without background, loss = dice; empty: 1 each (1, 3 in the paper)"),
    ],
)  # fmt: skip
def test_a_wrong_word_in_every_table_is_one_line(tmp_path, capsys, lines, message):
    from slimscan.cli import run

    toml = tmp_path / "net.toml"
    toml.write_text(f'[cases]\nimages = "images"\nmasks = "labels"\n{lines}\n')
    assert run(["net", "train", str(toml), "-o", str(tmp_path / "net")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    toml.write_text("cases = 3\n")
    assert run(["net", "train", str(toml), "-o", str(tmp_path / "net")]) == 2
    assert capsys.readouterr().err == "error: [cases]: want a table of words, came 3\n"


def test_specs_from_python_say_the_type_they_want():
    for made, message in (
        (lambda: NetSpec(width=8.5), "network width = 8.5: want a whole number"),
        (lambda: NetSpec(labels=[0, 1]), "network labels = [0, 1]: want a list of values, each a whole number"),
        (lambda: FitSpec(half=1), "training half = 1: want true or false"),
        (lambda: FitSpec(patch=(8, 8)), "training patch = [8, 8]: want a list of 3, each a whole number"),
        (lambda: NormSpec(low="a"), "normalisation low = 'a': want a number"),
    ):
        with pytest.raises(InputError) as caught:
            made()
        assert str(caught.value) == message


def test_a_training_goes_on_with_the_same_cases_alone(tmp_path, capsys):
    from slimscan.cli import run

    words = folder_of(tmp_path)
    asked = ["net", "train", *words, *SMALL, "-o", str(tmp_path / "net")]
    assert run(asked) == 0
    assert run(asked) == 0
    (tmp_path / "images/p3.nii.gz").unlink()
    capsys.readouterr()
    assert run(asked) == 2
    said = "is of another training: its cases were others; choose another folder, or delete this one to start anew"
    assert capsys.readouterr().err == f"error: {tmp_path / 'net/last.pt'}: {said}\n"


def test_nothing_of_the_users_is_replaced_and_no_answer_is_made_up(tmp_path, capsys):
    import nibabel as nib

    from slimscan.cli import run

    words = folder_of(tmp_path)
    assert run(["net", "train", *words, *SMALL, "-o", str(tmp_path / "net")]) == 0
    best, toml = str(tmp_path / "net/best.pt"), tmp_path / "net.toml"
    toml.write_text("mine")
    out, again = str(tmp_path / "net.onnx"), "exists already; give another name, or --force to replace it"
    capsys.readouterr()
    assert run(["net", "export", best, "-o", out]) == 2
    assert capsys.readouterr().err == f"error: {toml}: {again}\n"
    assert toml.read_text() == "mine"
    assert run(["net", "train", *words, *SMALL, "-o", str(toml)]) == 2
    said = "no folder can be made here (File exists); choose another place"
    assert capsys.readouterr().err == f"error: {toml}: {said}\n"
    image = tmp_path / "images/p0.nii.gz"
    twice = ["net", "predict", best, str(image), str(image), "--force", "-o", f"{tmp_path}/out/"]
    assert run(twice) == 2
    assert "two images would be written to" in capsys.readouterr().err
    holes = np.zeros((14, 14, 14), np.float32)
    holes[3, 3, 3] = np.nan
    nib.save(nib.Nifti1Image(holes, np.eye(4)), image)
    assert run(["net", "predict", best, str(image), "-o", str(tmp_path / "out.nii.gz")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {image}: the image holds NaN or infinity")
    assert not (tmp_path / "out.nii.gz").exists()
