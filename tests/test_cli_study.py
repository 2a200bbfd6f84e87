"""slimscan study on the command line: the whole way from a TOML to a certificate at work."""

from __future__ import annotations

import json

import pytest
from study_maker import TOML, make

from slimscan.cli import run
from slimscan.study.tasks import KINDS

pytest.importorskip("pyarrow")

FEW = TOML.replace("settings = [0.2, 3]", "settings = [0.1]").replace("settings = [60, 40, 25]", "settings = [60, 12]")


def said(capsys, *arguments: str, status: int = 0):
    assert run([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    base = tmp_path_factory.mktemp("cli")
    return make(base, 31, FEW, (4, 24, 24))


def test_the_whole_way(study, capsys, tmp_path):
    out = str(tmp_path / "out")
    plan = said(capsys, "study", "plan", str(study))
    assert (plan["cases"], plan["needed"], plan["enough"], plan["compressions"]) == (31, 29, True, 93)
    done = said(capsys, "study", "run", str(study), "-o", out, "--each", "serial")
    assert (done["computed"], done["known"], done["failed"], done["plan_sha256"]) == (93, 0, 0, plan["sha256"])
    again = said(capsys, "study", "run", out, "--each", "serial")
    assert (again["computed"], again["known"]) == (0, 93)
    verdict = said(capsys, "study", "judge", out)
    assert verdict["certified"]
    assert verdict["codecs"]["jpeg2000"]["level"] == 60
    certificate = verdict["certificates"][0]
    holds = said(capsys, "study", "judge", "--verify", certificate)
    assert holds == {"certificate": certificate, "holds": True, "differences": []}
    image = study.parent / "images" / "case03.nii.gz"
    receipt = said(capsys, "compress", str(image), "-o", str(tmp_path / "x.ozx"), "--certificate", certificate)
    assert receipt["checks"][0]["name"] == "certificate"
    assert receipt["setting"] == "jpeg2000@60"
    assert (
        run(["compress", str(image), "-o", str(tmp_path / "y.ozx"), "--certificate", certificate, "--ratio", "3"]) == 2
    )
    assert capsys.readouterr().err == "error: --certificate decides codec and target; leave --ratio out\n"
    assert run(["study", "judge", out]) == 0
    text = capsys.readouterr().out
    assert "yes, grade A" in text
    assert "for comparison, not evidence" in text


def test_too_few_cases_say_so(study, capsys, tmp_path):
    few = study.with_name("few.toml")
    few.write_text(FEW.replace('modality = "CT"', 'modality = "CT"\nlimit = 3'))
    assert said(capsys, "study", "plan", str(few), status=3)["enough"] is False
    run(["study", "run", str(few), "-o", str(tmp_path / "out"), "--each", "serial"])
    capsys.readouterr()
    verdict = said(capsys, "study", "judge", str(tmp_path / "out"), status=3)
    assert verdict["codecs"]["jpeg2000"]["code"] == "INSUFFICIENT_N"
    assert verdict["certificates"] == []


def test_a_forged_certificate_is_exit_3(study, capsys, tmp_path):
    out = tmp_path / "out"
    run(["study", "run", str(study), "-o", str(out), "--each", "serial"])
    run(["study", "judge", str(out)])
    capsys.readouterr()
    path = out / "certificate-jpegxl.json"
    path.write_text(path.read_text().replace('"alpha": 0.05', '"alpha": 0.01'))
    found = said(capsys, "study", "judge", str(out), "--verify", str(path), status=3)
    assert found["holds"] is False
    assert found["differences"][0].startswith("contract.alpha: the certificate says 0.01, the rows give 0.05")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"readers"}))
def test_new_writes_a_study_that_reads_back(kind, capsys, tmp_path):
    place = tmp_path / "new.toml"
    words = {
        "python": ["--call", "numpy:sign"],
        "command": ["--command", "echo {image} {output}"],
        "threshold": ["--value", "300"],
    } | {one: ["--model", "net.onnx"] for one in ("torchscript", "onnx", "unet", "nnunet", "monai_bundle")}
    arguments = ["study", "new", "-o", str(place), "--task", kind, "--codec", "jpeg2000", "--codec", "jpegxl"]
    arguments += ["--psnr", "60,50", "--delta", "0.03", *words.get(kind, [])]
    assert said(capsys, *arguments) == {"output": str(place)}
    assert run(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    text = place.read_text()
    assert 'kind = "' + kind + '"' in text
    assert "psnr = [60, 50]" in text
    assert "# 5 delta" not in text


def test_new_refuses_what_cannot_be(capsys, tmp_path):
    assert run(["study", "new", "-o", str(tmp_path / "n.toml"), "--task", "otzu"]) == 2
    assert 'did you mean "otsu"?' in capsys.readouterr().err
    assert run(["study", "new", "-o", str(tmp_path / "n.toml"), "--psnr", "high"]) == 2
    assert capsys.readouterr().err == 'error: --psnr "high": want numbers, for example 60,55,50\n'
    assert not (tmp_path / "n.toml").exists()


def test_recipes(capsys, tmp_path):
    assert said(capsys, "study", "new", "-o", str(tmp_path / "n.toml"), "--recipe", "cunha2023-microct")
    assert "Cunha et al. 2023" in (tmp_path / "n.toml").read_text()
    assert run(["study", "new", "-o", str(tmp_path / "m.toml"), "--recipe", "cunha"]) == 2
    assert "allowed: cunha2023-hrem, cunha2023-microct, cunha2023-mri" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "none.toml"], "error: none.toml: is not there; `slimscan study new` writes one\n"),
        (["judge"], "error: want the folder of a run, or --verify certificate.json\n"),
        (
            ["judge", "none"],
            "error: none/plan.json: is not there; run the study first: slimscan study run STUDY.toml\n",
        ),
        (["run", "none.toml"], "error: none.toml: is not there; `slimscan study new` writes one\n"),
    ],
)
def test_usage_errors_are_one_line(arguments, message, capsys):
    assert run(["study", *arguments]) == 2
    assert capsys.readouterr().err == message
