"""nnU-Net on compressed copies: for every ratio a network trained on it, and every network tested at every ratio.

    OUT/experiment.json   what was asked, on which machine, how long it took
    OUT/rows.csv          one row a (trained, tested, case, class), the columns of every experiment with networks
    OUT/nets/RATIO/       nnU-Net's three folders of the network trained at that ratio
    OUT/tests/RATIO/      copies of the test cases at that ratio
    OUT/found/RATIO/RATIO/ what the network trained at the first predicted on copies at the second

A run that was stopped goes on: what stands there is kept, and a training goes on from its last checkpoint.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import slimscan
from slimscan import files
from slimscan.codecs import codec as find_codec
from slimscan.errors import InputError
from slimscan.models import nnunet as door
from slimscan.models.nnunet_data import Dataset, bare, channel_file, to_indices
from slimscan.nouns import Needs, Peak, Pixels, Ratio, Volume
from slimscan.press.choose import Case as PressCase
from slimscan.press.choose import scheme_of
from slimscan.press.copy import Copier
from slimscan.press.open import read
from slimscan.press.outputs import guess_overhead
from slimscan.study.cases import Case
from slimscan.study.nnunet_plan import NnunetPlan, Split, split
from slimscan.study.score import score

COLUMNS = (
    "experiment", "fold", "network", "dims", "trained", "tested", "patient", "case", "class", "dsc", "smbd_mm",
    "ratio_achieved", "ratio_payload", "psnr_db", "peak", "train_bytes",
)  # fmt: skip
ENDING = ".nii.gz"
NUMBER = 501  # nnU-Net's numbers below 500 are taken by public datasets; each network has folders of its own

Say = Callable[[str], None]


@dataclass(frozen=True)
class Copy:
    """What one case came to at one ratio. bytes: stored, by what the plan's ratios count."""

    volume: Volume
    ratio_achieved: float
    ratio_payload: float
    psnr_db: float
    stored: int

    def facts(self) -> dict[str, float]:
        """The numbers without the volume."""
        return {
            "ratio_achieved": self.ratio_achieved,
            "ratio_payload": self.ratio_payload,
            "psnr_db": self.psnr_db,
            "stored": self.stored,
        }


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
        _write_rows(folder / "rows.csv", rows)
    done = declared | _about(plan, dealt) | {"seconds": round(time.perf_counter() - started, 1), "done": True}
    _write_json(folder / "experiment.json", done)
    return done


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line a (trained, tested, class): n, mean and deviation of DSC, mean ratios of file and payload."""
    out: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        out.setdefault((str(row["trained"]), str(row["tested"]), str(row["class"])), []).append(row)
    lines = []
    for (trained, tested, organ), mine in out.items():
        dsc = [float(row["dsc"]) for row in mine if row["dsc"] not in ("", None)]
        ratio, payload = (
            float(np.mean([float(row[name]) for row in mine])) for name in ("ratio_achieved", "ratio_payload")
        )
        lines.append(
            {
                "trained": trained,
                "tested": tested,
                "class": organ,
                "n": len(dsc),
                "dsc": float(np.mean(dsc)) if dsc else math.nan,
                "deviation": float(np.std(dsc, ddof=1)) if len(dsc) > 1 else math.nan,
                "ratio": ratio,
                "ratio_payload": payload,
            }
        )
    return lines


def read_rows(folder: Path) -> list[dict[str, str]]:
    """rows.csv; InputError when it is not there."""
    try:
        with (folder / "rows.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{folder / 'rows.csv'}: cannot be read ({error.strerror or error})") from None


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


def copied(image: Volume, ratio: float, words: Mapping[str, Any]) -> Copy:
    """The image compressed to a ratio and decoded again; itself at ratio 1, which stores the raw samples.

    words: codec, size, per and peak. TargetUnreachable when the codec cannot go so far on an image this small.
    """
    pixels = np.asarray(image.pixels[0 : image.shape[0]])
    image = replace(image, pixels=pixels)
    if ratio == 1:
        return Copy(image, 1.0, 1.0, math.inf, pixels.nbytes)
    copier = Copier(image, words["codec"], words["per"])
    try:
        peak: Peak = words["peak"] if words["peak"] in ("stored", "range", "dtype") else float(words["peak"])
        wanted = pixels.nbytes / ratio
        asked = wanted + (_container(copier, ratio) if words["size"] == "payload" else 0)
        tries = []
        for _ in range(4):
            made = copier.copy(Ratio(pixels.nbytes / asked), peak=peak)
            off = wanted - made.receipt.payload_bytes
            tries.append((abs(off), made))
            if words["size"] == "file" or abs(off) <= 0.02 * wanted:
                break
            asked += off
        made = min(tries, key=lambda one: one[0])[1]
    finally:
        copier.close()
    receipt = made.receipt
    decibels = math.inf if receipt.identical or receipt.psnr_db is None else receipt.psnr_db
    stored = receipt.payload_bytes if words["size"] == "payload" else receipt.file_bytes
    return Copy(replace(image, pixels=made.pixels), receipt.ratio, receipt.ratio_payload, decibels, int(stored))


def _container(copier: Copier, ratio: float) -> int:
    """Bytes that the file will hold beside its payload, guessed before it is written."""
    assert copier.seen is not None  # taken when the copier was made
    case = PressCase(copier.volume, copier.seen, Ratio(ratio), copier.per, copier.each)
    return guess_overhead("box", copier.volume, scheme_of(case, find_codec(copier.codec)), case.bits)


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


def _write_rows(place: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    hidden = place.with_name(f".{place.name}")
    with hidden.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    hidden.replace(place)


def _write_json(place: Path, said: Mapping[str, Any]) -> None:
    hidden = place.with_name(f".{place.name}")
    hidden.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    hidden.replace(place)
