"""The protocol of Luu 2021: its coders, its numbers by hand, its tests, its readers, and the whole way on small CTs."""

from __future__ import annotations

import json
import math
import os
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from phantoms import head

from slimscan.cli import run as command
from slimscan.errors import CodecError, InputError
from slimscan.nouns import Volume
from slimscan.report.luu2021 import markdown, write_html
from slimscan.study.recipes import names, text
from slimscan.study.recipes.luu2021 import evidence, images, reading
from slimscan.study.recipes.luu2021.coders import ABSENT, NAMES, checked, chosen, coders
from slimscan.study.recipes.luu2021.cost import measure, measure_apart
from slimscan.study.recipes.luu2021.paper import TABLE_3, TABLE_4
from slimscan.study.recipes.luu2021.run import Found, run
from slimscan.study.recipes.luu2021.words import Protocol, load, parse


def ct(depth: int = 4, side: int = 72, seed: int = 7) -> np.ndarray:
    return np.asarray(head((depth, side, side), seed).pixels)


def save(pixels: np.ndarray, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(pixels.transpose(2, 1, 0), np.diag([1.0, 1.0, 2.0, 1.0])).to_filename(place)


# What the paper says


@pytest.mark.parametrize(("who", "one"), TABLE_4.items())
def test_table_4_follows_from_its_own_counts(who: tuple[str, str], one: tuple[float, ...]) -> None:
    tp, fp, fn, sc, ns, _mm = one
    assert tp + fn == 61
    assert abs(100 * tp / 61 - sc) < 0.1  # 40/61 is 65.57, printed as 65.5
    assert abs(100 * (tp - fp - fn) / 61 - ns) < 0.05


def test_table_3_gz_and_zip_do_not_follow_from_their_medians() -> None:
    far = {name: one.of_medians - one.improvement for name, one in TABLE_3.items()}
    assert far["GZ"] == pytest.approx(100 * (2.1 / 1.7 - 1) - 33)  # 23.5 % beside the printed 33 %
    assert far["ZIP"] == pytest.approx(100 * (2.34 / 1.6 - 1) - 29)  # 46.3 % beside the printed 29 %
    assert max(abs(gap) for name, gap in far.items() if name not in ("GZ", "ZIP")) < 6


def test_every_column_of_table_3_has_a_row_or_a_reason() -> None:
    assert {row.paper for row in coders().values()} - {""} | set(ABSENT) == set(TABLE_3)


# Coders


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 40, 33), (5, 40, 48)])
def test_coders_there_and_back(name: str, shape: tuple[int, int, int]) -> None:
    pytest.importorskip("av") if coders()[name].needs else None
    pixels = ct(6, 80)[: shape[0], : shape[1], : shape[2]]
    cost, back = measure(name, pixels)
    assert back.shape == pixels.shape
    assert back.dtype == np.int16
    assert 0 < cost.bytes < 2 * pixels.nbytes
    off = np.abs(back.astype(int) - pixels).max()
    assert off == 0 if coders()[name].exact else 0 < off < 60


def test_zip_is_gzip_in_another_container() -> None:
    pixels = ct()
    gz, zipped = (measure(name, pixels)[0].bytes for name in ("gz", "zip"))
    assert 0 < zipped - gz < 130  # headers: 18 bytes beside 30 + 46 + 22 and the name twice


def test_the_ratio_counts_two_bytes_a_voxel_of_a_constant_volume() -> None:
    still = np.full((2, 32, 32), -1000, np.int16)
    for name in ("gz", "bz2", "7z", "jpegls", "spiht"):
        cost, back = measure(name, still)
        assert cost.bytes < still.nbytes / 10
        assert (back == -1000).all()


def test_a_coder_that_lies_is_told() -> None:
    with pytest.raises(CodecError, match=r"^bz2: is exact by its name; voxels that came back changed: 1$"):
        checked(coders()["bz2"], np.zeros((1, 2, 2), np.int16), np.eye(2, dtype=np.int16)[None] * [[[1, 0], [0, 0]]])


def test_unknown_and_absent_coders() -> None:
    with pytest.raises(
        InputError, match=r'^coder "rar" is not known \(RAR: its encoder is proprietary, and no free one'
    ):
        chosen(("rar",))
    with pytest.raises(InputError, match=r'^coder "gip" is not known; allowed: gz, zip, bz2, 7z, '):
        chosen(("gip",))


def test_a_process_of_its_own_measures_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", ct())
    apart = measure_apart("jpegls", tmp_path / "in.npy", tmp_path / "out.npy", {"repeats": 2})
    assert apart.bytes == measure("jpegls", ct())[0].bytes
    assert (np.load(tmp_path / "out.npy") == ct()).all()
    assert apart.encode_mb is None or apart.encode_mb >= 0


# Quality


def test_psnr_counts_against_65535() -> None:
    original = np.zeros((1, 16, 16), np.int16)
    original[0, 0, 0] = 1000
    off = original + np.int16(10)  # MSE 100
    seen = images.quality(original, off, np.ones_like(original, bool))
    assert seen["psnr_db"] == pytest.approx(20 * math.log10(65535 / 10))  # 76.33 dB
    assert seen["psnr_inside_db"] == seen["psnr_db"]
    assert seen["max_error_inside"] == 10
    assert seen["entropy"] == pytest.approx(-(255 / 256) * math.log2(255 / 256) + 8 / 256)


def test_ssim_with_65535_cannot_see_what_the_paper_reports() -> None:
    """Noise of 20.7 HU is the paper's 70 dB. With L = 65535, C2 = (0.03 L)^2 = 3.9e6 drowns it: SSIM stays above 0.9998."""
    rng = np.random.default_rng(1)
    original = rng.normal(0, 20, (1, 128, 128)).round().astype(np.int16)
    original[0, :2], original[0, -2:] = -1000, 1500
    noisy = (original + rng.normal(0, 20.7, original.shape)).round().astype(np.int16)
    seen = images.quality(original, noisy)
    assert seen["psnr_db"] == pytest.approx(70, abs=0.2)
    assert seen["ssim_dtype"] > 0.9998
    assert 0.90 < seen["ssim_range"] < 0.98


def test_hounsfield_units_are_whole_and_fit() -> None:
    stored = np.array([[[0, 1024, 2048]]], np.uint16)
    found = images.hounsfield(Volume(stored, intercept=-1024.0))
    assert found.tolist() == [[[-1024, 0, 1024]]]
    assert found.dtype == np.int16
    with pytest.raises(
        InputError, match=r"^x: values from 0 to 204800 do not fit 16 bits; the protocol takes CT in HU$"
    ):
        images.hounsfield(Volume(stored, slope=100.0, source="x"))
    with pytest.raises(InputError, match="takes grey volumes"):
        images.hounsfield(Volume(np.zeros((1, 2, 2, 3), np.uint8), source="x"))


# Tests and verdicts


def rows(ratios: dict[str, tuple[list[float], list[float]]], ssim: float = 0.97) -> list[dict[str, object]]:
    """coder -> ratios of original and diffused images, one patient each."""
    return [
        {"case": f"c{n}", "patient": f"p{n}", "coder": coder, "image": image, "ratio": ratio, "exact": coder != "hevc-intra", "ssim_range": ssim}
        for coder, both in ratios.items()
        for image, some in zip(("original", "diffused"), both, strict=True)
        for n, ratio in enumerate(some)
    ]  # fmt: skip


def test_improvement_by_hand() -> None:
    found = evidence.improvements(rows({"bz2": ([2.0, 2.0, 2.5], [2.5, 3.0, 3.5])}))[0]
    assert (found.patients, found.original, found.diffused) == (3, 2.0, 3.0)
    assert found.percent == pytest.approx((25 + 50 + 40) / 3)
    assert found.percent_sd == pytest.approx(math.sqrt((13.3333**2 + 11.6667**2 + 1.6667**2) / 2), rel=1e-4)
    # differences 0.5, 1, 1: mean 5/6, sd 0.288675, t = 5; two-sided p with 2 degrees is 1 - 5/sqrt(27)
    assert found.p == pytest.approx(1 - 5 / math.sqrt(27))


def test_images_of_a_patient_are_one_case() -> None:
    two = rows({"bz2": ([2.0, 8.0], [4.0, 9.0])})
    for row in two:
        row["patient"] = "p"
    found = evidence.improvements(two)[0]
    assert (found.patients, found.original, found.diffused) == (
        1,
        pytest.approx(4.0),
        pytest.approx(6.0),
    )  # sqrt(2 8), sqrt(4 9)
    assert math.isnan(found.p)
    assert math.isnan(found.percent_sd)


def test_hevc_against_the_others() -> None:
    found = evidence.against(rows({"bz2": ([1.0] * 3, [2.5, 3.0, 3.5]), "hevc-intra": ([1.0] * 3, [5.5, 7.0, 6.5])}))
    assert [(one.coder, one.other, one.ratio, one.other_ratio) for one in found] == [("hevc-intra", "bz2", 6.5, 3.0)]
    mean, sd = 10 / 3, math.sqrt(1 / 3)  # differences 3, 4, 3
    t = mean * math.sqrt(3) / sd  # 10: two-sided p with 2 degrees is 1 - t/sqrt(t^2 + 2)
    assert found[0].p == pytest.approx(1 - t / math.sqrt(t * t + 2))


@pytest.mark.parametrize(("patients", "code"), [(3, "INSUFFICIENT_N"), (28, "INSUFFICIENT_N"), (29, "CERTIFIED")])
def test_the_verdict_needs_29_patients(patients: int, code: str) -> None:
    same = [2.0] * patients
    verdict = evidence.likeness(rows({"bz2": (same, same), "hevc-intra": (same, same)}, ssim=0.999))
    assert set(verdict.codecs) == {"exact", "hevc-intra"}
    for codec in verdict.codecs.values():
        assert codec.code == code or (patients == 29 and codec.code == "ALL_CERTIFIED_GRID_EXHAUSTED")
    if patients < 29:
        assert evidence.least(verdict) == 29


# Readers

TRUTH = "case,x_mm,y_mm,z_mm\na,0,0,0\na,40,0,0\nb,0,0,0\nc,,,\n"
MARKS = """reader,version,case,x_mm,y_mm,z_mm
R,original,a,3,4,0
R,original,a,40,0,6
R,original,b,0,0,9.5
R,original,c,,,
R,diffused,a,0,0,3
R,diffused,a,90,0,0
R,diffused,b,0,0,10
R,diffused,c,1,1,1
"""


def files(tmp_path: Path, truth: str = TRUTH, marks: str = MARKS) -> tuple[Path, Path]:
    (tmp_path / "truth.csv").write_text(truth)
    (tmp_path / "marks.csv").write_text(marks)
    return tmp_path / "truth.csv", tmp_path / "marks.csv"


def test_marks_are_scored_by_hand(tmp_path: Path) -> None:
    found = reading.read(*files(tmp_path))
    original, diffused = found.scores
    assert (original.version, original.tp, original.fp, original.fn) == ("original", 3, 0, 0)
    assert (original.sc, original.ns, original.median_mm) == (100, 100, 6)  # 5, 6 and 9.5 mm
    # one of three found at 3 mm; marks at 90 mm, at just 10 mm and in the healthy case are false
    assert (diffused.tp, diffused.fp, diffused.fn, diffused.lesions) == (1, 3, 2, 3)
    assert (diffused.sc, diffused.ns) == (pytest.approx(100 / 3), pytest.approx(100 * (1 - 3 - 2) / 3))
    assert math.isnan(diffused.p_mm)  # one lesion was found both times: no test


def test_the_papers_displacement_test(tmp_path: Path) -> None:
    truth = "case,x_mm,y_mm,z_mm\n" + "".join(f"{c},0,0,0\n" for c in "abc")
    lines = ["reader,version,case,x_mm,y_mm,z_mm"]
    for case, before, after in (("a", 1, 1.5), ("b", 2, 3), ("c", 2, 3)):
        lines += [f"R,original,{case},0,0,{before}", f"R,diffused,{case},{after},0,0"]
    found = reading.read(*files(tmp_path, truth, "\n".join(lines)))
    assert found.scores[1].p_mm == pytest.approx(1 - 5 / math.sqrt(27))  # differences 0.5, 1, 1 again
    assert found.scores[1].median_mm == 3


def test_the_readers_verdict(tmp_path: Path) -> None:
    verdict = reading.verdict(reading.read(*files(tmp_path)))
    codec = verdict.codecs["diffused"]
    assert (codec.code, codec.n, codec.needed_n) == ("INSUFFICIENT_N", 2, 29)  # case c has no lesion
    assert codec.levels[0].evidence.mean_loss > 0
    assert "inference is for these readers only" in verdict.notes


@pytest.mark.parametrize(
    ("truth", "marks", "message"),
    [
        ("case,x,y,z\n", MARKS, "truth.csv: has no column x_mm, y_mm, z_mm; want case, x_mm, y_mm, z_mm"),
        ("case,x_mm,y_mm,z_mm\n", MARKS, "truth.csv: holds no cases"),
        ("case,x_mm,y_mm,z_mm\na,1,2\n", MARKS, "truth.csv, line 2: x_mm, y_mm, z_mm are 1, 2, ; want three numbers of mm"),
        ("case,x_mm,y_mm,z_mm\n,1,2,3\n", MARKS, "truth.csv, line 2: case is empty; every line says case"),
        (TRUTH, MARKS + "R,diffused,d,,,\n", "marks.csv: case d is not in truth.csv; cases there: a, b, c"),
        (TRUTH, MARKS.replace("R,diffused,c,1,1,1\n", ""), 'marks.csv: R has no line for case c, version "diffused"; a case'),
        (TRUTH, MARKS.replace("original", "raw"), 'marks.csv: no version is "original"; came: raw, diffused; losses are'),
    ],
)  # fmt: skip
def test_reader_files_that_cannot_be(tmp_path: Path, truth: str, marks: str, message: str) -> None:
    with pytest.raises(InputError) as told:
        reading.read(*files(tmp_path, truth, marks))
    assert str(told.value).startswith(str(tmp_path / message.split(".csv")[0]))
    assert message in str(told.value)
    with pytest.raises(InputError, match="cannot be read as CSV"):
        reading.read(tmp_path / "none.csv", tmp_path / "marks.csv")


def test_only_originals_are_nothing_to_judge(tmp_path: Path) -> None:
    only = "\n".join(line for line in MARKS.splitlines() if "diffused" not in line)
    with pytest.raises(InputError, match=r"^there is nothing to judge: want a version beside"):
        reading.verdict(reading.read(*files(tmp_path, marks=only)))


# The TOML and the whole way

FEW = '["gz", "bz2", "jpegls"]'


def protocol_in(base: Path, more: str = "") -> Path:
    for n, name in enumerate("ab"):
        pixels = ct(4, 64, seed=n)
        save(pixels, base / "images" / f"{name}.nii.gz")
        mask = np.zeros(pixels.shape, np.uint8)
        mask[1:3, 24:40, 24:40] = 5
        save(mask, base / "labels" / f"{name}.nii.gz")
    toml = base / "luu.toml"
    said = text("luu2021").replace("livers/{case}.nii.gz", "labels/{case}.nii.gz#5").replace("30x30x1", "7x7x1")
    start, stop = said.index('["gz"'), said.index("]", said.index('["gz"')) + 1
    said = said[:start] + FEW + said[stop:]
    said = said.replace("k = [0.1, 0.2, 0.4, 0.8, 1.6]", "k = [0.4, 0.8]").replace("[5, 10, 15, 20, 30]", "[5, 15]")
    toml.write_text(said + more)
    return toml


def test_the_recipe_is_there_and_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "luu2021" in names()
    assert command(["study", "new", "--recipe", "luu2021", "-o", str(tmp_path / "x.toml")]) == 0
    assert f"next: slimscan study recipe {tmp_path / 'x.toml'}" in capsys.readouterr().out
    with pytest.raises(InputError, match="nothing is found there; patterns count from the folder of the study's TOML"):
        load(tmp_path / "x.toml")
    given = tomllib.loads(text("luu2021"))
    for table, words, message in (
        ("calm", {"kay": 1}, r'^\[calm\]: the word "kay" is not known; allowed: k, iterations, '),
        (
            "calm",
            {"iterations": 0},
            r"^\[calm\] iterations = 0: allowed: at least|^\[calm\] iterations = 0: allowed: 1 to",
        ),
        ("reading", {"truth": "a.csv"}, r"^\[reading\]: want both truth and marks, or neither$"),
        (
            "cases",
            {"images": "a"},
            r"^\[cases\]: want images and region, or table = a CSV with columns image and region$",
        ),
        ("calmer", {}, r'^the table \[calmer\] is not known; .*did you mean "calm"\?$'),
    ):
        with pytest.raises(InputError, match=message):
            parse(given | {table: words}, tmp_path)


def test_the_defaults_are_the_papers(tmp_path: Path) -> None:
    found = load(protocol_in(tmp_path))
    assert images.Diffusion() == images.Diffusion(0.4, 15, 2, "30x30x1", 0.75)
    assert found.diffusion == images.Diffusion(0.4, 15, 2, "7x7x1", 0.75)
    assert [(case.name, case.patient, case.region) for case in found.cases] == [
        (name, name, f"{tmp_path / 'labels' / name}.nii.gz#5") for name in "ab"
    ]
    assert (
        parse(tomllib.loads(text("luu2021")) | {"cases": {"table": "t.csv"}}, _table(tmp_path)).cases[0].patient == "P"
    )


def _table(base: Path) -> Path:
    (base / "t.csv").write_text("image,region,case,patient\nimages/a.nii.gz,labels/a.nii.gz#5,one,P\n")
    return base


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("image,region\n", "t.csv: holds no cases"),
        ("image,region\nimages/a.nii.gz,\n", "t.csv, line 2: has no image or no region; want columns image, region"),
        ("image,region\nx.nii,image:body\n", "t.csv, line 2: .*x.nii is not there; paths count from the table's folder"),
        ("image,region\nimages/a.nii.gz,none.nii\n", "a.nii.gz: has no region \\(none.nii\\); add it, or leave the image out"),
        ("image,region\n" + 2 * "images/a.nii.gz,image:body\n", 'two images are called "a"; give each a case'),
    ],
)  # fmt: skip
def test_tables_of_cases_that_cannot_be(tmp_path: Path, lines: str, message: str) -> None:
    protocol_in(tmp_path)
    (tmp_path / "t.csv").write_text(lines)
    with pytest.raises(InputError, match=message):
        parse(tomllib.loads(text("luu2021")) | {"cases": {"table": "t.csv"}}, tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, Found, Path]:
    base = tmp_path_factory.mktemp("luu")
    protocol = load(protocol_in(base))
    return protocol, run(protocol, base / "out"), base


def test_the_whole_way(done: tuple[Protocol, Found, Path]) -> None:
    protocol, found, base = done
    assert [(r["case"], r["coder"], r["image"]) for r in found.rows] == [
        (case, coder, image) for case in "ab" for coder in ("gz", "bz2", "jpegls") for image in ("original", "diffused")
    ]
    for case in found.cases:
        assert case["entropy_diffused"] < case["entropy_original"]
        assert 0 < case["inside_percent"] < 100
        assert 60 < case["psnr_db"] < 100
    for one in found.improvements:
        assert one.percent > 3, one
    for row in found.rows:
        assert row["ratio"] == row["raw_bytes"] / row["bytes"]
        assert math.isinf(row["psnr_db"]) == (row["image"] == "original")
        assert row["max_error_inside"] == 0
    assert [(p["k"], p["iterations"]) for p in found.swept] == [(0.4, 5), (0.4, 15), (0.8, 5), (0.8, 15)]
    assert found.swept[1]["psnr_db"] == found.cases[0]["psnr_db"]
    assert found.likeness.codecs["exact"].code == "INSUFFICIENT_N"
    seen: list[str] = []
    before = {place: place.stat().st_mtime_ns for place in (base / "out" / "cases").iterdir()}
    again = run(protocol, base / "out", lambda what, _done, _all: seen.append(what))
    assert seen == ["a", "b"]
    assert {place: place.stat().st_mtime_ns for place in (base / "out" / "cases").iterdir()} == before
    assert (again.rows, again.cases, again.swept) == (found.rows, found.cases, found.swept)


def test_inside_nothing_changes(done: tuple[Protocol, Found, Path]) -> None:
    _protocol, _found, base = done
    from slimscan import read

    volume = read(base / "images" / "a.nii.gz")
    said = images.Diffusion(grow="7x7x1")
    where = images.region(f"{base / 'labels' / 'a.nii.gz'}#5", volume, said)
    pair = images.prepare(volume, where, said)
    assert pair.inside[1:3].any()
    assert not pair.inside[[0, 3]].any()  # the kernel is one slice thick
    assert (pair.original == pair.diffused)[pair.inside].all()
    assert (pair.original != pair.diffused)[~pair.inside].mean() > 0.3


def test_pages(done: tuple[Protocol, Found, Path], tmp_path: Path) -> None:
    _protocol, found, _base = done
    page = write_html(found, tmp_path / "report.html").read_text()
    for words in (
        "INSUFFICIENT_N",
        "29",
        "+53 % (22)",
        "RAR: its encoder is proprietary",
        "<svg",
        "Nobody read these images",
    ):
        assert words in page, words
    assert "http" not in page
    told = markdown(found, tmp_path / "pictures", "../images")
    assert {place.name for place in (tmp_path / "pictures").iterdir()} == {
        f"luu2021-{key}.png" for key in ("ratios", "costs", "sweep")
    }
    assert "](../images/luu2021-ratios.png)" in told
    assert "| JPEG-LS |" in told


def test_on_the_command_line(done: tuple[Protocol, Found, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _protocol, found, base = done
    status = command(["study", "recipe", str(base / "luu.toml"), "-o", str(base / "out"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 3  # too few patients for any verdict
    assert told["improvement_percent"]["bz2"] == pytest.approx(found.improvements[1].percent)
    assert (told["likeness"], told["reading"], told["patients_needed"]) == ({"exact": "INSUFFICIENT_N"}, None, 29)
    assert Path(told["report"]).read_text().startswith("<!DOCTYPE html>")
    assert command(["study", "recipe", str(base / "none.toml")]) == 2
    assert capsys.readouterr().err == (
        f"error: {base / 'none.toml'}: is not there; `slimscan study new --recipe luu2021` writes one\n"
    )


def test_readers_come_into_the_page(done: tuple[Protocol, Found, Path], tmp_path: Path) -> None:
    _protocol, _found, base = done
    files(base, TRUTH.replace("c,,,\n", ""), "\n".join(line for line in MARKS.splitlines() if ",c," not in line))
    more = '[reading]\ntruth = "truth.csv"\nmarks = "marks.csv"\n'
    toml = base / "read.toml"
    toml.write_text((base / "luu.toml").read_text().replace("[reading]", more))
    found = run(load(toml), base / "out")
    assert found.readings is not None
    page = write_html(found, tmp_path / "r.html").read_text()
    assert "Marks of 2 cases" in page
    assert "every reader?" in page


# Real images


def test_on_a_real_abdomen() -> None:
    """A quarter of an abdomen CT: diffusion shrinks every exact coder's file, and the liver stays as it was."""
    if "SLIMSCAN_DATA" not in os.environ:
        pytest.skip("SLIMSCAN_DATA names no folder of real images")
    folder = Path(os.environ["SLIMSCAN_DATA"]) / "ct_abdomen_totalseg_example"
    from slimscan import read

    volume = read(folder / "example_ct_dicom")
    said = images.Diffusion()
    where = images.region(f"{folder / 'example_seg_dicom.nii.gz'}#5", volume, said)
    pair = images.prepare(volume, where, said)
    assert (pair.original == pair.diffused)[pair.inside].all()
    for name in ("bz2", "jpegls"):
        before, after = (measure(name, side[:6])[0].bytes for side in (pair.original, pair.diffused))
        assert after < before / 1.05
