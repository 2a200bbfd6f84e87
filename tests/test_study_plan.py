"""The declaration of a study: every word checked, whole messages, and a hash that changes with what decides the answer."""

from __future__ import annotations

import tomllib

import pytest
from study_maker import TOML, make

from slimscan.errors import InputError
from slimscan.study.declared import ALSO, CASES, CODECS, CONTRACT, METRICS, RUN, STUDY
from slimscan.study.levels import codec_plans
from slimscan.study.needs import needs
from slimscan.study.new import toml as as_toml
from slimscan.study.new import write_new
from slimscan.study.patterns import fill, find
from slimscan.study.plan import contract_of, fingerprint, fix, load, parse
from slimscan.study.recipes import names, text
from slimscan.study.tasks import COMMON, KINDS
from slimscan.study.words import REQUIRED, Word, table

EVERY_TABLE = {"study": STUDY, "cases": CASES, "codecs": CODECS, "metrics": METRICS, "contract": CONTRACT, "also": ALSO}
EVERY_TABLE |= {"run": RUN, "common": COMMON} | {f"task {name}": kind.words for name, kind in KINDS.items()}


@pytest.mark.parametrize("name", EVERY_TABLE)
def test_every_word_is_declared_whole(name):
    words = EVERY_TABLE[name]
    assert len({word.name for word in words}) == len(words)
    for word in words:
        assert word.help, word.name
        if word.default is not REQUIRED and word.default is not None:
            assert word.check(name, word.default) == word.default


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (Word("alpha", "number", "risk", low=0, high=0.5), 0.9, "[t] alpha = 0.9: allowed: 0 to 0.5; risk"),
        (Word("n", "whole", "how many", low=1), 1.5, "[t] n = 1.5: want a whole number; how many"),
        (Word("n", "number", "how many"), True, "[t] n = True: want a number; how many"),
        (Word("n", "number", "how many"), float("nan"), "[t] n = nan: allowed: any finite number; how many"),
        (Word("per", "text", "x", allowed=("slice", "volume")), "slices", '[t] per = "slices": allowed: slice, volume; did you mean "slice"?'),
        (Word("x", "texts", "names"), [], "[t] x = []: want a text or a list of texts, [\"...\", \"...\"]; names"),
        (Word("c", "labels", "classes"), {"a": 0}, "[t] c.a = 0: want one label value or a list of them, none of them 0"),
        (Word("f", "flag", "whether"), 1, "[t] f = 1: want true or false; whether"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_whole(word, value, message):
    with pytest.raises(InputError) as caught:
        word.check("[t]", value)
    assert str(caught.value) == message


def test_unknown_and_missing_words_name_the_allowed_ones():
    words = (Word("delta", "number", "the margin"), Word("alpha", "number", "risk", default=0.05))
    with pytest.raises(InputError) as caught:
        table("[contract]", words, {"detla": 1})
    assert (
        str(caught.value) == '[contract]: the word "detla" is not known; allowed: delta, alpha; did you mean "delta"?'
    )
    with pytest.raises(InputError) as caught:
        table("[contract]", words, {})
    assert str(caught.value) == "[contract]: delta is missing; want a number: the margin"
    assert table("[contract]", words, {"delta": 1}) == {"delta": 1.0, "alpha": 0.05}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[study]", "[studdy]"), 'the table [studdy] is not known; allowed: study, cases, codecs, tasks, metrics, contract, run; did you mean "study"?'),
        (('name = "jpegxl"', 'name = "jpeg2000"'), '[[codecs]]: "jpeg2000" comes twice; put its levels together'),
        (('settings = [0.2, 3]', 'psnr = [50]\nratios = [3]'), "[[codecs]] jpegxl: want its levels by one of ratios, psnr, settings, max_error, match; came: ratios and psnr"),
        (('settings = [0.2, 3]', 'match = "hevc"'), '[[codecs]] jpegxl: match = "hevc" is no codec with levels of its own; allowed: jpeg2000'),
        (('delta = 0.05', ''), '[contract]: margin = "absolute" needs delta = a number'),
        (('delta = 0.05', 'delta = 0.05\nrho = 0.1'), '[contract]: rho does not go with margin = "absolute"; leave it out'),
        (('delta = 0.05', 'delta = 0.05\nmetric = "volume_ml"'), '[contract] metric = "volume_ml": neither way is better; use "volume_ml_change_percent"'),
        (('delta = 0.05', 'margin = "observer"'), '[contract]: margin = "observer" needs a task of kind "readers" with a second reader (other)'),
        (('task = "bright"\n', ''), "[contract]: say which task decides: task = one of bright, texture"),
        (('kind = "otsu"', 'kind = "otzu"'), '[[tasks]] 1 kind = "otzu": allowed: otsu, threshold, python, command, torchscript, onnx, unet, nnunet, monai_bundle, readers, texture, features; did you mean "otsu"?'),
        (('name = "texture"', 'name = "bright"'), '[[tasks]]: "bright" comes twice; give every task its own name'),
        (('settings = [60, 40, 25]', 'settings = [60, 40, 400]'), "[[codecs]] jpeg2000: jpeg2000: psnr_db 400 is outside 10..130 dB (finest at 130); choose a value inside"),
    ],
)  # fmt: skip
def test_a_wrong_study_is_told_whole(tmp_path, change, message):
    assert change[0] in TOML
    place = tmp_path / "s.toml"
    place.write_text(TOML.replace(*change, 1))
    with pytest.raises(InputError) as caught:
        load(place)
    assert str(caught.value) == f"{place}: {message}"


def test_levels_run_from_mild_to_strong():
    empty = {"ratios": None, "psnr": None, "settings": None, "max_error": None, "match": None}
    rest = {"per": "volume", "peak": "stored", "size": "file"}
    said = [
        {"name": "jpeg2000", **empty, **rest, "psnr": (40.0, 60.0, 50.0)},
        {"name": "jpegxl", **empty, **rest, "settings": (3.0, 0.1)},
        {"name": "jpegls", **empty, **rest, "ratios": (8.0, 4.0)},
        {"name": "htj2k", **empty, **rest, "match": "jpeg2000"},
    ]
    plans = codec_plans(said)
    assert [[level.nominal for level in plan.levels] for plan in plans] == [
        [60, 50, 40],
        [0.1, 3],
        [4, 8],
        [60, 50, 40],
    ]
    assert [level.step for level in plans[0].levels] == [1, 2, 3]
    assert plans[3].levels[0].target is None


def test_the_hash_changes_with_what_decides_and_nothing_else(tmp_path):
    place = make(tmp_path)
    first = fix(load(place))
    assert first.sha256 == fix(load(place)).sha256 == fingerprint(first.as_json())
    for change in (
        ("delta = 0.05", "delta = 0.04"),
        ("[60, 40, 25]", "[60, 40, 26]"),
        ('"dice", ', '"dice", "jaccard", '),
    ):
        assert fix(parse(tomllib.loads(TOML.replace(*change)), tmp_path)).sha256 != first.sha256
    assert fix(parse(tomllib.loads(TOML + "\n[run]\nworkers = 3\n"), tmp_path)).sha256 == first.sha256
    image = tmp_path / "images" / "case00.nii.gz"
    image.write_bytes((tmp_path / "images" / "case01.nii.gz").read_bytes())
    assert fix(load(place)).sha256 != first.sha256


def test_the_contract_takes_directions_and_bounds_from_the_metrics(tmp_path):
    also = '\n[[contract.also]]\nmetric = "average_hausdorff"\ndelta = 0.3\n'
    contract = contract_of(parse(tomllib.loads(TOML + also), tmp_path))
    assert (contract.metric, contract.direction, contract.bound) == ("dice", "higher", 1.0)
    assert (contract.also[0].metric, contract.also[0].direction, contract.also[0].bound) == (
        "average_hausdorff",
        "lower",
        None,
    )
    assert contract.levels == {"jpeg2000": (60.0, 40.0, 25.0), "jpegxl": (0.2, 3.0)}
    assert contract.organs == ("blob",)


def test_needs_says_how_many_cases_are_missing(tmp_path):
    found = needs(fix(load(make(tmp_path))))
    assert (found["cases"], found["needed"], found["enough"]) == (3, 29, False)
    assert found["needed_by"] == {"tail below 10 %": 29, "mean of dice": 15}
    assert found["compressions"] == 15


def test_patterns_find_and_fill(tmp_path):
    for name in ("a/x_ct.nii.gz", "a/y_ct.nii.gz", "b/x_ct.nii.gz", "a/x_mr.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find(tmp_path, "{patient}/{case}_ct.nii.gz")
    assert [dict(one.holes) for one in found] == [
        {"patient": "a", "case": "x"}, {"patient": "a", "case": "y"}, {"patient": "b", "case": "x"},
    ]  # fmt: skip
    assert [one.stem for one in find(tmp_path, "a")] == ["x_ct", "x_mr", "y_ct"]
    assert fill(tmp_path, "{patient}/{case}_mr.nii.gz", {"patient": "a", "case": "x"}) == tmp_path / "a/x_mr.nii.gz"
    assert fill(tmp_path, "{patient}/{case}_mr.nii.gz", {"patient": "b", "case": "x"}) is None
    with pytest.raises(
        InputError, match=r"nothing is found there; patterns count from the folder of the study's TOML$"
    ):
        find(tmp_path, "c/{case}.nii.gz")


def test_a_table_names_patients_with_several_images(tmp_path):
    make(tmp_path)
    lines = "image,case,patient,mask\n" + "".join(
        f"images/case{n:02}.nii.gz,scan{n},p{n // 2},masks/case{n:02}.nii.gz\n" for n in range(3)
    )
    (tmp_path / "cases.csv").write_text(lines)
    said = tomllib.loads(TOML)
    said["cases"] = {"table": "cases.csv", "classes": {"blob": 1}}
    plan = fix(parse(said, tmp_path))
    assert [(case.case, case.image) for case in plan.cases] == [("p0", "scan0"), ("p0", "scan1"), ("p1", "scan2")]
    (tmp_path / "cases.csv").write_text("image,mask\nimages/none.nii.gz,\n")
    with pytest.raises(
        InputError, match=r"cases.csv, line 2: .*none.nii.gz is not there; paths count from the table's folder$"
    ):
        fix(parse(said, tmp_path))


def test_a_missing_mask_is_named(tmp_path):
    place = make(tmp_path)
    (tmp_path / "masks" / "case01.nii.gz").unlink()
    with pytest.raises(
        InputError,
        match=r"case01.nii.gz: has no reference mask \(masks/\{case\}.nii.gz\); add it, or leave the image out$",
    ):
        fix(load(place))


@pytest.mark.parametrize(
    "name", [name for name in names() if name.startswith("cunha2023")]
)  # others have commands of their own
def test_recipes_are_studies(name, tmp_path):
    study = parse(tomllib.loads(text(name)), tmp_path)
    assert [codec.name for codec in study.codecs] == ["jpeg2000", "hevc-gop8"]
    assert study.codecs[1].match == "jpeg2000"


def test_a_written_toml_reads_back(tmp_path):
    given = {
        "study": {"name": 'a "name"', "question": "q?"},
        "cases": {"images": "x/{case}.nii.gz", "classes": {"left lung": (2, 3)}},
        "codecs": [{"name": "jpeg2000", "psnr": [60, 50.5]}],
        "tasks": [{"name": "t", "kind": "threshold", "value": -300}],
        "contract": {"delta": 0.02},
    }
    study = parse(tomllib.loads(write_new(given)), tmp_path)
    assert study.study["name"] == 'a "name"'
    assert study.organs == {"left lung": (2, 3)}
    assert [level.nominal for level in study.codecs[0].levels] == [60.0, 50.5]
    assert as_toml({"a b": [1, True, 0.5]}) == '{"a b" = [1, true, 0.5]}'
