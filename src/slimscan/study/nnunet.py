"""nnU-Net on compressed copies: for every ratio a network trained on it, and every network tested at every ratio.

    OUT/experiment.json   what was asked, on which machine, how long it took
    OUT/rows.csv          one row a (trained, tested, case, class), the columns of every experiment with networks
    OUT/nets/RATIO/       nnU-Net's three folders of the network trained at that ratio
    OUT/tests/RATIO/      copies of the test cases at that ratio
    OUT/found/RATIO/RATIO/ what the network trained at the first predicted on copies at the second

A run that was stopped goes on: what stands there is kept, and a training goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan import files
from slimscan.errors import InputError
from slimscan.models import nnunet as door
from slimscan.models.nnunet_data import Dataset, bare, channel_file, to_indices
from slimscan.nouns import Needs, Pixels, Volume
from slimscan.press.open import read
from slimscan.study.cases import Case
from slimscan.study.nnunet_copies import copied
from slimscan.study.nnunet_plan import NnunetPlan, Split, split
from slimscan.study.nnunet_rows import write_rows
from slimscan.study.score import score

ENDING = ".nii.gz"
NUMBER = 501  # nnU-Net's numbers below 500 are taken by public datasets; each network has folders of its own

Say = Callable[[str], None]


def run(plan: NnunetPlan, folder: Path, *, force: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """Do it, or go on with it; experiment.json's content. say: called with a line at every step.

    InputError when the folder holds a run declared otherwise (force replaces it) or a copy cannot be made;
    MissingExtra without nnunetv2; BadAnswer with the child's last line when nnU-Net fails.
    """
    door.NNUNET.demand("nnU-Net on compressed copies")
    dealt = split(plan, folder / ".fingerprints.json")
    declared = _declared(plan, dealt)
    _admit(folder, declared, force)
    started, rows = time.perf_counter(), []
    copies = plan.said["copies"]
    tests = {ratio: _tests(plan, dealt, ratio, folder / "tests" / _text(ratio), say) for ratio in copies["tested"]}
    for trained in copies["trained"]:
        place = folder / "nets" / _text(trained)
        folders = door.Folders(place)
        dataset = Dataset(folders.raw, NUMBER, plan.said["study"]["name"], plan.classes, _channel(plan), ENDING)
        stored = _dataset(plan, dealt, trained, dataset, say)
        say(f"planning, trained at {_text(trained)}:1")
        door.plan(folders, dataset, plan.training, plan.machine)
        say(f"training, {plan.training.epochs} epochs of {plan.training.iterations} iterations")
        model = door.train(folders, dataset, plan.training, plan.machine)
        for tested, facts in tests.items():
            say(f"predicting {len(facts)} cases at {_text(tested)}:1")
            found = _predict(plan, dealt, model, folder, trained, tested)
            rows += _rows(plan, dealt, found, facts, trained, tested, stored)
        write_rows(folder / "rows.csv", rows)
    done = declared | _about(plan, dealt) | {"seconds": round(time.perf_counter() - started, 1), "done": True}
    _write_json(folder / "experiment.json", done)
    return done


def _dataset(plan: NnunetPlan, dealt: Split, ratio: float, dataset: Dataset, say: Say) -> int:
    """Write the training cases at a ratio; the bytes that they take."""
    memo = dataset.folder / "slimscan.json"
    if memo.is_file():
        return int(json.loads(memo.read_text("utf-8"))["stored"])
    stored = 0
    for number, case in enumerate(dealt.train, start=1):
        say(f"copy {number} of {len(dealt.train)} to train on, {_text(ratio)}:1")
        image, mask = _load(case)
        copy = copied(image, ratio, plan.said["copies"])
        stored += copy.stored
        dataset.add(_file(case), copy.volume, mask, files.write)
    dataset.finish(len(dealt.train))
    _write_json(memo, {"stored": stored, "ratio": ratio})
    return stored


def _tests(plan: NnunetPlan, dealt: Split, ratio: float, place: Path, say: Say) -> dict[str, dict[str, float]]:
    """Write the test cases at a ratio; by case what each came to."""
    memo = place / "slimscan.json"
    if memo.is_file():
        return dict(json.loads(memo.read_text("utf-8")))
    place.mkdir(parents=True, exist_ok=True)
    facts = {}
    for number, case in enumerate(dealt.test, start=1):
        say(f"copy {number} of {len(dealt.test)} to test, {_text(ratio)}:1")
        copy = copied(_load(case)[0], ratio, plan.said["copies"])
        files.write(bare(copy.volume), place / channel_file(_file(case), ENDING))
        facts[case.image] = copy.facts()
    _write_json(memo, facts)
    return facts


def _predict(
    plan: NnunetPlan, dealt: Split, model: Path, folder: Path, trained: float, tested: float
) -> dict[str, Path]:
    """case -> label file; those that are there already are kept."""
    place = folder / "found" / _text(trained) / _text(tested)
    found = {case.image: place / f"{_file(case)}{ENDING}" for case in dealt.test}
    names = {case.image: channel_file(_file(case), ENDING) for case in dealt.test}
    source = folder / "tests" / _text(tested)
    asked = {source / names[case]: path for case, path in found.items() if not path.is_file()}
    if asked:
        words = plan.said["nnunet"]
        door.predict(model, asked, plan.machine, folds=(words["fold"],), mirror=words["mirror"], step=words["step"])
    return found


def _rows(
    plan: NnunetPlan,
    dealt: Split,
    found: Mapping[str, Path],
    facts: Mapping[str, Mapping[str, float]],
    trained: float,
    tested: float,
    stored: int,
) -> list[dict[str, Any]]:
    organs = {name: (index,) for index, name in enumerate(plan.classes, start=1)}
    words = plan.said["nnunet"]
    rows = []
    for case in dealt.test:
        image, mask = _load(case)
        answer = np.asarray(read(found[case.image]).pixels)
        scored = score(
            to_indices(mask, plan.classes), answer, ("dice", "smbd"), image.spacing_mm, reference_labels=organs
        )
        numbers = {(one.organ, one.metric): one.value for one in scored}
        for organ in organs:
            about = facts[case.image]
            rows.append(
                {
                    "experiment": "d",
                    "fold": 0,
                    "network": f"nnunet_{words['configuration']}",
                    "dims": 2 if words["configuration"] == "2d" else 3,
                    "trained": _text(trained),
                    "tested": _text(tested),
                    "patient": case.case,
                    "case": case.image,
                    "class": organ,
                    "dsc": _cell(numbers[organ, "dice"]),
                    "smbd_mm": _cell(numbers[organ, "smbd"]),
                    "ratio_achieved": _cell(about["ratio_achieved"]),
                    "ratio_payload": _cell(about["ratio_payload"]),
                    "psnr_db": _cell(about["psnr_db"]),
                    "peak": plan.said["copies"]["peak"],
                    "train_bytes": stored,
                }
            )
    return rows


def _load(case: Case) -> tuple[Volume, Pixels]:
    assert case.mask is not None  # the split refuses cases without one
    image, mask = read(case.place), read(case.mask)
    if image.shape[:3] != mask.shape[:3]:
        raise InputError(
            f"{case.mask}: the mask is {mask.shape[:3]}, its image {image.shape[:3]}; give masks on one grid"
        )
    apart = float(np.abs(np.asarray(image.affine_mm) - np.asarray(mask.affine_mm)).max())
    if apart > 0.5 * min(image.spacing_mm):
        raise InputError(f"{case.mask}: the mask's grid is {apart:.3g} mm off its image's; resample it to the image")
    return image, np.asarray(mask.pixels[0 : mask.shape[0]])


def _file(case: Case) -> str:
    return case.image.replace("/", "_").replace(" ", "_")


def _channel(plan: NnunetPlan) -> str:
    return "CT" if plan.said["cases"]["modality"].upper() == "CT" else plan.said["cases"]["modality"] or "image"


def _text(ratio: float) -> str:
    return f"{ratio:g}"


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _declared(plan: NnunetPlan, dealt: Split) -> dict[str, Any]:
    """Everything that decides the answer; what it runs on is left out."""
    said = {name: dict(words) for name, words in plan.said.items() if name != "run"}
    hashes = [[[case.image, case.sha256, case.mask_sha256] for case in cases] for cases in (dealt.train, dealt.test)]
    return dict(json.loads(json.dumps({"said": said, "train": hashes[0], "test": hashes[1]})))


def _admit(folder: Path, declared: Mapping[str, Any], force: bool) -> None:
    place = folder / "experiment.json"
    if place.is_file():
        before = json.loads(place.read_text("utf-8"))
        same = all(before.get(name) == value for name, value in declared.items())
        if not same and not force:
            words = [
                f"[{name}] {word}" for name, table in declared["said"].items() for word, value in table.items()
                if before.get("said", {}).get(name, {}).get(word) != value
            ] or ["the files of the cases"]  # fmt: skip
            raise InputError(
                f"{folder}: holds a run declared otherwise ({', '.join(words)}); give another folder, or --force"
            )
        if not same:
            import shutil

            for name in ("nets", "tests", "found", "rows.csv"):
                at = folder / name
                shutil.rmtree(at) if at.is_dir() else at.unlink(missing_ok=True)
    elif folder.exists() and any(one.name != ".fingerprints.json" for one in folder.iterdir()):
        raise InputError(f"{folder}: holds something else; give an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not place.is_file() or force:
        _write_json(place, dict(declared))


def _about(plan: NnunetPlan, dealt: Split) -> dict[str, Any]:
    """What a page wants to say of the run."""
    words, copies = plan.said["nnunet"], plan.said["copies"]
    packages = {need: Needs(need, need).version() for need in ("nnunetv2", "torch", "numpy", "imagecodecs")}
    return {
        "name": plan.said["study"]["name"],
        "question": plan.said["study"]["question"],
        "recipe": "nnunet",
        "seed": words["seed"],
        "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, device {plan.machine.device}",
        "versions": {"slimscan": slimscan.__version__, "python": platform.python_version(), **packages},
        "patients": len({case.case for case in (*dealt.train, *dealt.test)}),
        "folds": 1,
        "classes": list(plan.classes),
        "ratios": list(copies["tested"]),
        "networks": {f"nnunet_{words['configuration']}": {"training": asdict(plan.training)}},
        "codec": copies["codec"],
        "size": copies["size"],
    }


def _write_json(place: Path, said: Mapping[str, Any]) -> None:
    hidden = place.with_name(f".{place.name}")
    hidden.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    hidden.replace(place)
