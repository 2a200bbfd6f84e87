"""From rows to a certificate and back: verified, forged, applied, refused, gated."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_maker import TOML, blobs, make

import slimscan
from slimscan import Volume
from slimscan.errors import InputError, OutputError
from slimscan.study import certificate
from slimscan.study import rows as table
from slimscan.study.apply import apply_certificate, choose, decide
from slimscan.study.decide import decide as judge_folder
from slimscan.study.decide import store
from slimscan.study.folder import Folder
from slimscan.study.plan import fix, load
from slimscan.study.run import run

pytest.importorskip("pyarrow")

CASES = 32
MILD = TOML.replace("settings = [0.2, 3]", "settings = [0.1, 0.3]").replace(
    "settings = [60, 40, 25]", "settings = [60, 45, 12]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Folder:
    base = tmp_path_factory.mktemp("certified")
    place = Folder(base / "out")
    run(fix(load(make(base, CASES, MILD, (4, 24, 24)))), place)
    decided = judge_folder(place)
    store(place, decided)
    certificate.store(place, decided)
    return place


def image(seed: int, **words) -> Volume:
    return replace(Volume(blobs(seed, (4, 24, 24))[0], np.diag([0.8, 0.8, 2.0, 1.0]), 12), **words)


def load_one(folder: Folder) -> dict:
    return certificate.load(folder.certificate("jpeg2000"))


def test_a_certificate_says_what_was_shown(folder):
    said = load_one(folder)
    verdict = json.loads(folder.verdict.read_text())
    assert verdict["certified"] is True
    assert said["verdict"]["level"] == verdict["codecs"]["jpeg2000"]["level"] == 45
    assert said["answer"].startswith("jpeg2000 at level 45 (median ratio ")
    assert [rung["level"] for rung in said["ladder"]] == [60, 45]
    assert said["population"] == {
        "images": CASES, "cases": CASES, "modality": ["CT"], "bits": [11], "unit": [],
        "spacing_mm": {"low": [2.0, 0.8, 0.8], "high": [2.0, 0.8, 0.8], "axes": "z, y, x"},
        "values": {"low": 0.0, "high": 1200.0}, "voxels": {"low": 2304, "high": 2304},
    }  # fmt: skip
    assert len(said["data"]) == CASES
    assert set(said["data"][0]) == {"case", "image", "sha256", "mask_sha256"}
    assert len(folder.certificate("jpeg2000").read_bytes()) < 30_000


def test_a_certificate_is_derived_again(folder):
    path = folder.certificate("jpeg2000")
    assert certificate.verify(path) == []
    for change, where in (
        (lambda said: said["verdict"].update(level=12), "verdict.level: the certificate says 12, the rows give 45"),
        (
            lambda said: said["verdict"]["bounds"].update(share_over_cap_upper=0.0),
            "verdict.bounds.share_over_cap_upper: the certificate says 0.0",
        ),
        (
            lambda said: said["contract"].update(delta=0.9),
            "contract.delta: the certificate says 0.9, the rows give 0.05",
        ),
        (lambda said: said["data"][0].update(sha256="00"), "data[0].sha256: the certificate says '00'"),
    ):
        said = load_one(folder)
        change(said)
        forged = path.with_name("forged.json")
        forged.write_text(json.dumps(said))
        differences = certificate.verify(forged)
        assert len(differences) == 1
        assert differences[0].startswith(where)
        forged.unlink()


def test_changed_rows_and_plans_are_found(folder, tmp_path):
    copied = Folder(tmp_path / "copy")
    copied.path.mkdir()
    for path in (folder.toml, folder.plan, folder.images, folder.trials, folder.certificate("jpeg2000")):
        (copied.path / path.name).write_bytes(path.read_bytes())
    rows = table.read(copied.trials)
    changed = next(n for n, row in enumerate(rows) if row["metric"] == "dice" and row["level"] == 45)
    rows[changed] = rows[changed] | {"value": 0.0}
    table.write(rows, copied.trials)
    assert any(text.startswith("rows_sha256") for text in certificate.verify(copied.certificate("jpeg2000")))
    plan = json.loads(copied.plan.read_text())
    plan["contract"]["delta"] = 0.9
    copied.plan.write_text(json.dumps(plan))
    with pytest.raises(
        InputError, match=r"plan.json: was changed after the run \(its fingerprint does not fit\); run the study again$"
    ):
        judge_folder(copied)
    copied.plan.write_bytes(folder.plan.read_bytes())
    copied.toml.write_text(folder.toml.read_text().replace("delta = 0.05", "delta = 0.9"))
    with pytest.raises(InputError, match=r"its contract is not the one that was fixed in plan.json; restore it$"):
        judge_folder(copied)


def test_no_certificate_for_too_few_cases(tmp_path):
    place = Folder(tmp_path / "out")
    run(fix(load(make(tmp_path, 3, MILD, (4, 24, 24)))), place)
    decided = judge_folder(place)
    said = store(place, decided)
    place.certificate("jpeg2000").write_text("{}")  # of an earlier day
    assert certificate.store(place, decided) == []
    assert said["certified"] is False
    assert said["codecs"]["jpeg2000"]["code"] == "INSUFFICIENT_N"
    assert not place.certificate("jpeg2000").exists()


def test_an_image_like_those_of_the_study_is_compressed(folder, tmp_path):
    said = load_one(folder)
    receipt = apply_certificate(image(1, source="new"), tmp_path / "new.ozx", said)
    check = receipt.checks[0]
    assert (check.name, check.asked, check.passed) == ("certificate", "jpeg2000 level 45", True)
    assert receipt.setting == "jpeg2000@45"
    assert check.got == "jpeg2000@45, let through by the gate"
    told = slimscan.read(tmp_path / "new.ozx").about["certificate"]
    assert told["used"] == "jpeg2000@45"
    assert told["plan_sha256"] == said["plan_sha256"]
    with pytest.raises(OutputError, match="exists already"):
        apply_certificate(image(1), tmp_path / "new.ozx", folder.certificate("jpeg2000"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"affine_mm": np.diag([0.8, 0.8, 5.0, 1.0])}, "spacing along z is 5 mm, the certificate speaks for 2 to 2 mm"),
        ({"unit": "HU", "slope": 2.0}, "range of values is 0 to 2400, the certificate speaks for inside -60 to 1260"),
        ({"about": {"modality": "MR"}}, "modality is MR, the certificate speaks for CT"),
        ({"pixels": blobs(1, (4, 24, 24))[0] // 8}, "bits a sample is 8, the certificate speaks for 11"),
    ],
)
def test_an_image_outside_is_refused(folder, tmp_path, words, message):
    with pytest.raises(InputError) as caught:
        apply_certificate(image(1, source="new.nii", **words), tmp_path / "new.ozx", load_one(folder))
    assert str(caught.value) == f"new.nii: {message}; use --lossless, or study images like this one"
    assert not (tmp_path / "new.ozx").exists()


def test_another_encoder_is_refused(folder, tmp_path):
    said = load_one(folder)
    said["codec"]["versions"]["imagecodecs"] = "1900.1.1"
    with pytest.raises(
        InputError,
        match=r"^the certificate was made with imagecodecs 1900.1.1, installed is .*: other bytes were never judged;",
    ):
        apply_certificate(image(1), tmp_path / "new.ozx", said)
    said["codec"]["name"] = "wavelet-x"
    with pytest.raises(InputError, match="wavelet-x"):
        apply_certificate(image(1), tmp_path / "new.ozx", said)


def test_the_gate_falls_back_to_milder_levels_and_to_lossless(folder, tmp_path):
    said = load_one(folder)
    closed = said["ladder"][1]["gate"] | {"tau": said["ladder"][1]["gate"]["low"]}
    said["ladder"][1]["gate"] = closed
    steps, target = choose(image(1), said)
    assert [(step.level, step.decision) for step in steps] == [(45, "REJECT"), (60, "ACCEPT")]
    assert str(target) == "jpeg2000@60"
    said["ladder"][0]["gate"] = said["ladder"][0]["gate"] | {"tau": "none"}
    receipt = apply_certificate(image(1), tmp_path / "new.ozx", said)
    assert receipt.identical
    assert receipt.checks[0].got == "lossless, nothing is lost, after level 45: REJECT; level 60: REJECT"


def test_gate_decisions():
    gate = {"tau": -20.0, "low": -40.0, "high": -10.0}
    assert [decide(p, gate) for p in (-30.0, -20.0, -15.0, -5.0, -50.0, -200.0)] == [
        "ACCEPT", "REJECT", "REJECT", "OUT_OF_RANGE", "OUT_OF_RANGE", "ACCEPT",
    ]  # fmt: skip
    assert decide(-10.0, gate | {"tau": "all"}) == "ACCEPT"
    assert decide(-30.0, gate | {"tau": "none"}) == "REJECT"
    assert decide(-30.0, gate | {"tau": None}) == "REJECT"
    assert decide(math.nan, gate) == "OUT_OF_RANGE"


def test_what_is_no_certificate_is_refused(tmp_path: Path):
    for text, message in {
        "{}": "is no certificate; `slimscan study judge FOLDER` writes certificate-CODEC.json",
        "[": "cannot be read as JSON",
        "[]": "holds a list, want one JSON object",
        '{"kind": "slimscan certificate", "format": 99}': "format 99 is newer than 1; update slimscan",
    }.items():
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(InputError) as caught:
            certificate.load(tmp_path / "c.json")
        assert message in str(caught.value)
