"""The command line's contract: exit codes, streams, keys, names, what is replaced and what never is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import child, command, here, listing, pixels, scan

import slimscan
from slimscan.codecs import CODECS
from slimscan.nouns import Needs

COMPRESS_KEYS = {
    "source", "output", "codec", "setting", "target", "raw_bytes", "file_bytes", "payload_bytes", "ratio", "ratio_payload",
    "ratio_bits", "bits_per_voxel", "psnr_db", "peak", "max_abs_error", "mse", "identical", "seconds", "megabytes_per_second",
    "probes", "checks", "versions",
}  # fmt: skip
MORE_COMPRESS_KEYS = {
    "candidates",
    "samples",
    "bits",
    "sha256",
    "decoded_sha256",
    "notes",
    "policy",
    "history",
    "ratio_exact",
    "regions",
    "residual_bytes",
    "unit",
    "max_abs_error_real",
}
COMPARE_KEYS = {
    "shape", "psnr_db", "peak", "mse", "mae", "max_abs_error", "ssim", "ms_ssim", "entropy_reference", "entropy_test", "identical",
}  # fmt: skip
MORE_COMPARE_KEYS = {
    "peak_value", "unit", "ssim_3d", "worst_slice", "wtv_reference", "wtv_test", "wtv_change_percent", "voxels",
}  # fmt: skip


SHAPE = (10, 90, 96)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scan(tmp_path / "ct.nii.gz", SHAPE)


# ---- what a command says -----------------------------------------------------------------------------------------------


def test_compress_says_the_keys_of_the_contract_and_no_unknown_ones(source: Path, tmp_path: Path) -> None:
    done = child("compress", source, "-o", tmp_path / "a.ozx", "--ratio", "8", "--json")
    assert (done.status, done.err) == (0, "")
    said = done.json
    assert COMPRESS_KEYS <= set(said) <= COMPRESS_KEYS | MORE_COMPRESS_KEYS
    assert said["source"] == str(source)
    assert said["output"] == str(tmp_path / "a.ozx")
    assert (said["codec"], said["target"], said["peak"]) == ("jpeg2000", "ratio:8", "stored")
    assert said["raw_bytes"] == 10 * 90 * 96 * 2
    assert said["file_bytes"] == (tmp_path / "a.ozx").stat().st_size
    assert said["ratio"] == pytest.approx(said["raw_bytes"] / said["file_bytes"])
    assert said["ratio_payload"] == pytest.approx(said["raw_bytes"] / said["payload_bytes"])
    assert said["bits_per_voxel"] == pytest.approx(8 * said["file_bytes"] / (10 * 90 * 96))
    assert {check["name"] for check in said["checks"]} == {"decodes", "ratio"}
    assert all(set(check) == {"name", "asked", "got", "passed"} for check in said["checks"])
    assert {"slimscan", "python", "numpy", "imagecodecs"} <= set(said["versions"])
    assert said["probes"]


def test_compare_says_the_keys_of_the_contract(source: Path, tmp_path: Path) -> None:
    assert here("compress", source, "-o", tmp_path / "a.ozx", "--psnr", "45").status == 0
    said = here("compare", source, tmp_path / "a.ozx", "--json").json
    assert set(said) >= COMPARE_KEYS
    assert said["shape"] == [10, 90, 96]
    assert said["peak"] == "stored"
    assert said["identical"] is False
    assert 45 <= said["psnr_db"] <= 45.1
    same = here("compare", source, source, "--json", "--peak", "4096").json
    assert (same["identical"], same["psnr_db"], same["mse"], same["peak"]) == (True, None, 0, "4096")


def test_other_commands_say_one_object_each(source: Path, tmp_path: Path) -> None:
    assert here("compress", source, "-o", tmp_path / "a.ozx", "--lossless").status == 0
    info = here("info", tmp_path / "a.ozx", "--json").json
    assert info["shape"] == [10, 90, 96]
    assert info["receipt"]["identical"] is True
    back = here("decompress", tmp_path / "a.ozx", "-o", tmp_path / "b.nii.gz", "--json").json
    assert back["dtype"] == "int16"
    assert all(check["passed"] for check in back["checks"])
    assert [row["codec"] for row in here("codecs", "--json").json["codecs"]] == list(CODECS)


def test_people_get_tables_on_stdout_and_an_empty_stderr(source: Path, tmp_path: Path) -> None:
    for arguments in (
        ("compress", source, "-o", tmp_path / "a.ozx", "--ratio", "6"),
        ("info", tmp_path / "a.ozx"),
        ("compare", source, tmp_path / "a.ozx"),
        ("decompress", tmp_path / "a.ozx", "-o", tmp_path / "a.nii"),
        ("codecs",),
    ):
        said = here(*arguments)
        assert (said.status, said.err) == (0, "")
        assert len(said.out.splitlines()) >= 2
    assert "6 within 2 %" in here("info", tmp_path / "a.ozx").out or "ratio" in here("info", tmp_path / "a.ozx").out


@pytest.mark.parametrize("name", ["compress", "decompress", "info", "codecs", "compare"])
def test_every_command_has_help_with_an_example(name: str) -> None:
    said = here(name, "--help")
    assert (said.status, said.err) == (0, "")
    assert f"slimscan {name}" in said.out
    assert "Example" in said.out
    assert here(name, "-h").out == said.out


def test_no_command_shows_the_help_and_the_version_stands_alone() -> None:
    said = here()
    assert (said.status, said.err) == (0, "")
    assert "compress" in said.out
    assert here("--version").out == f"slimscan {slimscan.__version__}\n"


# ---- exit codes --------------------------------------------------------------------------------------------------------


def test_a_failed_check_is_exit_3_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimscan.files.ozx import Writer

    whole = Writer.written
    monkeypatch.setattr(Writer, "written", lambda self, index: b"\0" * len(whole(self, index)))
    said = here("compress", source, "-o", tmp_path / "a.ozx", "--lossless", "--json")
    assert (said.status, said.out) == (3, "")
    assert said.error().startswith(f"{source}: what was written does not decode: ")
    assert listing(tmp_path) == ["ct.nii.gz"]


def test_a_traceback_needs_debug(tmp_path: Path) -> None:
    plain = child("info", tmp_path / "no.nii")
    assert plain.error() == f"{tmp_path}/no.nii: there is no such file or folder; check the name"
    told = child("info", tmp_path / "no.nii", "--debug")
    assert told.status != 0
    assert "Traceback" in told.err
    assert "NotReadable" in told.err


def test_what_nobody_foresaw_is_still_one_line(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimscan.press import compress as module

    def explode(*unused: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(module, "survey", explode)
    said = here("compress", source, "-o", tmp_path / "a.ozx", "--lossless")
    assert said.status == 2
    assert said.err == (
        "error: unexpected ZeroDivisionError: two lines; please report it with what the same command prints with --debug\n"
    )


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(command("codecs"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


TYPOS = [
    (["compres"], "No such command 'compres'. Did you mean 'compress'", "slimscan --help"),
    (["compress", "SRC", "-o", "OUT", "--lossles"], "No such option: --lossles", "--lossless"),
    (["compress", "SRC", "-o", "OUT", "--lossless", "--codec", "jpg2000"], 'codec "jpg2000" is not known; allowed: auto ', ""),
    (["compress", "SRC", "-o", "OUT", "--lossless", "--format", "zip"], '--format "zip" is not known; allowed: ozx,', ""),
    (["compress", "SRC", "-o", "OUT", "--lossless", "--per", "voxel"], '--per "voxel" is not known; allowed: volume, slice', ""),
    (["compress", "SRC", "-o", "OUT", "--lossless", "--each", "gpu"], '--each "gpu" is not known; allowed: serial, threads, ', ""),
    (["compress", "SRC", "-o", "OUT", "--lossless", "--workers", "0"], "--workers 0: at least 1 is needed", ""),
    (["compress", "SRC", "-o", "OUT", "--psnr", "50", "--ratio", "10"], "want one target of", "came: ratio:10 and psnr:50dB"),
    (["compress", "SRC", "-o", "OUT"], "want one target of --ratio, --psnr, --max-error, --lossless, --setting, --policy, --certificate; came: none", ""),
    (["compress", "SRC", "-o", "OUT", "--setting", "jpeg2000"], 'setting "jpeg2000": want CODEC@NUMBER or CODEC@lossless', ""),
    (["compress", "SRC", "-o", "OUT", "--setting", "jpeg2000@nan"], "jpeg2000", "nan"),
    (["compress", "SRC", "-o", "OUT", "--setting", "jpeg2000@9999"], "jpeg2000", "9999"),
    (["compress", "SRC", "-o", "OUT", "--setting", "zstd@3"], "zstd is exact only", "zstd@lossless"),
    (["compress", "SRC", "-o", "OUT", "--setting", "jpegls@2", "--codec", "zstd"], "name two codecs", ""),
    (["compress", "SRC", "-o", "OUT", "--psnr", "50", "--peak", "banana"], '--peak "banana": want stored, range, dtype or', ""),
    (["compress", "SRC", "-o", "OUT", "--psnr", "50", "--peak", "-4"], '--peak "-4": want stored, range, dtype or', ""),
    (["compress", "SRC", "-o", "OUT", "--psnr", "-50"], "--psnr -50: want decibels between 0 and 200", ""),
    (["compress", "SRC", "-o", "OUT", "--psnr", "nan"], "--psnr nan: want decibels", ""),
    (["compress", "SRC", "-o", "OUT", "--ratio", "-3"], "--ratio -3: want a number of at least 1", ""),
    (["compress", "SRC", "-o", "OUT", "--ratio", "inf"], "--ratio inf: want", ""),
    (["compress", "SRC", "-o", "OUT", "--ratio", "many"], "--ratio", "valid number"),
    (["compress", "SRC", "-o", "OUT", "--max-error", "-1"], "--max-error -1: want a number of at least 0", ""),
    (["compress", "SRC", "-o", "OUT.xyz", "--lossless"], "OUT.xyz: the name of the output decides its format; allowed: .ozx", ""),
    (["compress", "SRC", "-o", "OUT.tif", "--lossless", "--codec", "zstd"], "this format holds jpeg2000, jpegxl, not zstd", ""),
    (["compress", "SRC"], "Missing option '--output'", "slimscan compress --help"),
    (["compress"], "Missing argument 'SRC...'", "slimscan compress --help"),
    (["decompress", "SRC", "-o", "OUT.ozx"], "decompress writes decoded pixels", "use compress for .ozx"),
    (["decompress", "SRC", "-o", "OUT.png"], "OUT.png: the name of the output decides its format", ""),
    (["compare", "SRC"], "Missing argument 'TEST'", "slimscan compare --help"),
    (["compare", "SRC", "SRC", "--boxes", "none.csv"], "--boxes none.csv: cannot be read", "slice,y0,x0,y1,x1"),
    (["info"], "Missing argument 'PATH'", "slimscan info --help"),
    (["info", "SRC", "more"], "unexpected extra argument", "slimscan info --help"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "says", "and_says"), TYPOS, ids=[" ".join(words)[:60] for words, _, _ in TYPOS])
def test_a_slip_is_told_with_what_is_allowed(
    words: list[str], says: str, and_says: str, source: Path, tmp_path: Path
) -> None:
    names = {"SRC": str(source), "OUT": str(tmp_path / "out.ozx")}
    told = here(*(names.get(word, word.replace("OUT", f"{tmp_path}/out")) for word in words)).err
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1
    assert says.replace("OUT", f"{tmp_path}/out") in told
    assert and_says in told
    assert listing(tmp_path) == ["ct.nii.gz"]


# ---- what is replaced, and what never is -------------------------------------------------------------------------------

OUTPUTS = ["a.ozx", "a.zarr", "a.nii.gz", "a.tif", "a.mha", "a.nrrd", "a.dcm", "series/"]


@pytest.mark.parametrize("name", OUTPUTS)
def test_nothing_is_replaced_without_force_and_the_source_is_never_touched(
    name: str, source: Path, tmp_path: Path
) -> None:
    if name == "a.dcm":
        source = scan(tmp_path / "grey.nii.gz", dtype="uint16")
    before, changed = source.read_bytes(), source.stat().st_mtime_ns
    out = f"{tmp_path}/out/{name}"
    assert here("compress", source, "-o", out, "--lossless").status == 0
    first = {path: path.read_bytes() for path in Path(out).rglob("*") if path.is_file()} or Path(out).read_bytes()
    for again in (("compress", source, "-o", out, "--ratio", "5"), ("decompress", source, "-o", out)):
        if name == "series/" and again[0] == "compress":
            continue  # an existing folder is a place for files
        said = here(*again)
        if again[0] == "compress" or name not in ("a.ozx", "a.zarr"):
            assert said.error() == f"{out.rstrip('/')}: exists already; give another name, or --force to replace it"
    for path, content in first.items() if isinstance(first, dict) else [(Path(out), first)]:
        assert path.read_bytes() == content
    replace = ("decompress", source) if name == "series/" else ("compress", source, "--lossless")
    assert here(*replace, "-o", out, "--force").status == 0
    assert (pixels(out) == pixels(source)).all()
    assert (source.read_bytes(), source.stat().st_mtime_ns) == (before, changed)
    assert [place for place in listing(tmp_path) if ".slimscan" in place] == []


@pytest.mark.parametrize("name", ["a.ozx", "a.zarr"])
def test_a_failure_with_force_keeps_what_stood_there(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimscan.press import compress as module

    out = tmp_path / name
    assert here("compress", source, "-o", out, "--lossless").status == 0
    held = {place: (tmp_path / place).read_bytes() for place in listing(tmp_path) if (tmp_path / place).is_file()}

    def full(*unused: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "travelling", full)
    said = here("compress", source, "-o", out, "--ratio", "5", "--force")
    assert said.error().startswith(f"{out}: the disk is full; nothing was written")
    assert {place: (tmp_path / place).read_bytes() for place in held} == held
    assert [place for place in listing(tmp_path) if (tmp_path / place).is_file()] == list(held)


def test_force_replaces_a_file_by_a_folder_and_a_folder_by_a_file(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.zarr"
    out.write_bytes(b"a file")
    assert here("compress", source, "-o", out, "--lossless", "--force").status == 0
    assert out.is_dir()
    grey = scan(tmp_path / "grey.nii", dtype="uint16")
    assert here("decompress", grey, "-o", f"{tmp_path}/series/").status == 0
    out = (tmp_path / "series").rename(tmp_path / "b.dcm")
    assert here("decompress", grey, "-o", out, "--force").status == 0
    assert out.is_file()
    assert (pixels(out) == pixels(grey)).all()


def test_force_does_not_cost_a_folder_of_other_things(source: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years")
    said = here("decompress", source, "-o", f"{home}/", "--force")
    assert said.error() == (
        f"{home}: is a folder that holds thesis.txt, and --force replaces images only; move it away"
    )
    assert (home / "thesis.txt").read_text() == "years"


def test_a_source_is_no_destination(source: Path, tmp_path: Path) -> None:
    series = f"{tmp_path}/series/"
    assert here("decompress", source, "-o", series).status == 0
    link = tmp_path / "link.nii.gz"
    link.symlink_to(source)
    inside = tmp_path / "series" / "a.ozx"
    for src, out in ((source, source), (source, link), (link, source), (series, inside), (series, series[:-1])):
        command_ = ("decompress",) if Path(out).suffix != ".ozx" else ("compress", "--lossless")
        said = here(*command_, src, "-o", f"{out}/" if out == series[:-1] else out, "--force")
        assert said.error().endswith(
            f"the output would change its own source {str(src).rstrip('/')}; choose another place"
        )
    moved = tmp_path / "series" / "ct.nii.gz"
    moved.write_bytes(source.read_bytes())
    assert "its own source" in here("decompress", moved, "-o", series, "--force").error()
    assert moved.read_bytes() == source.read_bytes()


def test_a_dangling_link_is_not_replaced_unasked(source: Path, tmp_path: Path) -> None:
    (tmp_path / "a.ozx").symlink_to(tmp_path / "elsewhere.ozx")
    assert "exists already" in here("compress", source, "-o", tmp_path / "a.ozx", "--lossless").error()
    assert (tmp_path / "a.ozx").is_symlink()


# ---- several sources ---------------------------------------------------------------------------------------------------


def test_several_sources_go_into_a_folder(tmp_path: Path) -> None:
    sources = [scan(tmp_path / name, seed=k) for k, name in enumerate(("a.nii.gz", "b.mha", "c.v2.nrrd", "d.ome.tif"))]
    out = tmp_path / "small"
    said = here("compress", *sources, "-o", f"{out}/", "--lossless", "--codec", "zstd", "--json")
    assert said.status == 0
    assert said.json["failed"] == 0
    assert [Path(one["output"]).name for one in said.json["results"]] == ["a.ozx", "b.ozx", "c.v2.ozx", "d.ozx"]
    for one, source in zip(said.json["results"], sources, strict=True):
        assert (pixels(one["output"]) == pixels(source)).all()
    assert listing(out) == ["a.ozx", "b.ozx", "c.v2.ozx", "d.ozx"]


@pytest.mark.parametrize("form", ["ozx", "nii.gz", "nii", "tif", "mha", "nrrd", "dicom"])
def test_the_format_word_chooses_for_a_folder(form: str, tmp_path: Path) -> None:
    sources = [scan(tmp_path / name) for name in ("a.nii", "b.nii")]
    said = here("compress", *sources, "-o", f"{tmp_path}/out/", "--format", form, "--lossless", "--json")
    assert (said.status, said.err) == (0, "")
    for one, name in zip(said.json["results"], "ab", strict=True):
        assert one["output"].endswith(f"/out/{name}" if form == "dicom" else f"/out/{name}.{form}")
        assert (pixels(one["output"]) == pixels(sources[0])).all()


def test_one_source_into_an_existing_folder_keeps_its_name(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert here("compress", source, "-o", tmp_path / "out", "--lossless").status == 0
    assert listing(tmp_path / "out") == ["ct.ozx"]


def test_good_sources_are_done_when_others_are_bad(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(source.read_bytes()[:900])
    other = scan(tmp_path / "other.mha")
    said = here(
        "compress", broken, source, tmp_path / "none.nii", other, "-o", f"{tmp_path}/out/", "--lossless", "--json"
    )
    assert said.status == 2
    assert (len(said.json["results"]), said.json["failed"]) == (2, 2)
    lines = said.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {broken}: damaged NIfTI")
    assert lines[1] == f"error: {tmp_path}/none.nii: there is no such file or folder; check the name"
    assert listing(tmp_path / "out") == ["ct.ozx", "other.ozx"]


def test_two_sources_may_not_meet_at_one_place(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    sources = [scan(tmp_path / "a.nii.gz"), scan(tmp_path / "sub" / "a.nii.gz")]
    said = here("compress", *sources, "-o", f"{tmp_path}/out/", "--lossless")
    assert said.error() == (
        f"{tmp_path}/out/a.ozx: several sources would be written there; compress them one by one under other names"
    )
    said = here("compress", *sources, "-o", tmp_path / "one.ozx", "--lossless")
    assert said.error() == f"{tmp_path}/one.ozx: 2 sources need a folder for OUT; end its name with /"
    assert listing(tmp_path) == ["a.nii.gz", "sub", "sub/a.nii.gz"]


# ---- how it runs -------------------------------------------------------------------------------------------------------


def test_the_bar_is_for_terminals(source: Path, tmp_path: Path) -> None:
    quiet = child("compress", source, "-o", tmp_path / "a.ozx", "--ratio", "8")
    assert (quiet.status, quiet.err) == (0, "")
    master, slave = pty.openpty()
    loud = subprocess.Popen(
        command("compress", source, "-o", tmp_path / "b.ozx", "--ratio", "8", "--json"),
        stderr=slave, stdout=subprocess.PIPE, env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # the child has closed its end
        pass
    os.close(master)
    out = loud.communicate(timeout=60)[0]
    assert loud.returncode == 0
    assert b"ct.nii.gz" in shown
    assert out.startswith(b"{")
    assert out.rstrip().endswith(b"}")


def test_the_same_bytes_whoever_does_the_work(source: Path, tmp_path: Path) -> None:
    made = []
    for name in ("serial", "threads", "processes"):
        out = tmp_path / f"{name}.ozx"
        said = child("compress", source, "-o", out, "--psnr", "48", "--each", name, "--workers", "2")
        assert (said.status, said.err) == (0, ""), name
        made.append(out.read_bytes())
    assert made[0] == made[1] == made[2]


def test_the_same_bytes_on_a_dask_cluster(source: Path, tmp_path: Path) -> None:
    if Needs("distributed", "distributed").missing():
        pytest.skip("needs the package distributed")
    code = (
        "import sys\nfrom distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=1, protocol='tcp', dashboard_address=None) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        sys.stdin.read()\n"
    )
    script = tmp_path / "cluster.py"
    script.write_text(code)
    assert here("compress", source, "-o", tmp_path / "a.ozx", "--psnr", "48", "--each", "serial").status == 0
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", address)
        out = tmp_path / "b.ozx"
        said = child("compress", source, "-o", out, "--psnr", "48", "--each", "dask", "--scheduler", address)
        assert (said.status, said.err) == (0, "")
        assert out.read_bytes() == (tmp_path / "a.ozx").read_bytes()
        cluster.communicate("", timeout=30)


def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.ozx", "a.tif", "a.nii.gz", "a.mha", "a.nrrd", "a.dcm"):
        source = scan(tmp_path / "grey.nii.gz", SHAPE, "uint16")
        for folder in ("one", "two"):
            assert here("compress", source, "-o", tmp_path / folder / name, "--ratio", "8").status == 0
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_package_that_is_missing_names_its_extra(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = Needs.missing
    monkeypatch.setattr(Needs, "missing", lambda need: need.module == "av" or present(need))
    said = here("compress", source, "-o", tmp_path / "a.ozx", "--codec", "hevc", "--ratio", "10")
    assert "needs the package av, which is not installed" in said.error()
    assert 'pip install "slimscan[video]"' in said.err
    listed = here("codecs")
    assert (listed.status, listed.err) == (0, "")
    row = next(line for line in listed.out.splitlines() if line.startswith("hevc "))
    assert row.endswith('pip install "slimscan[video]"')
    auto = here("compress", source, "-o", tmp_path / "a.ozx", "--codec", "auto", "--ratio", "8", "--json")
    assert auto.status == 0
    assert listing(tmp_path) == ["a.ozx", "ct.nii.gz"]


def test_numbers_json_has_not_are_null(source: Path, tmp_path: Path) -> None:
    said = here("compress", source, "-o", tmp_path / "a.ozx", "--lossless", "--json")
    assert said.json["psnr_db"] is None
    assert "NaN" not in said.out
    assert "Infinity" not in said.out
    unread = here("compress", source, "-o", tmp_path / "b.ozx", "--lossless", "--no-verify", "--json").json
    assert [unread[key] for key in ("psnr_db", "mse", "max_abs_error", "identical")] == [None] * 4


def test_palette_and_real_values_are_told(tmp_path: Path) -> None:
    path = scan(tmp_path / "ct.nii")
    assert np.asarray(slimscan.read(path).affine_mm).shape == (4, 4)
    said = here("info", path)
    assert "0.7" in said.out
    assert "int16" in said.out


def test_a_folder_of_dicom_is_what_stands_there_and_no_place_for_files(tmp_path: Path) -> None:
    source, out = scan(tmp_path / "a.nii"), f"{tmp_path}/out/"
    assert here("compress", source, "-o", out, "--lossless").status == 0
    assert "--force" in here("compress", source, "-o", out, "--lossless").err
    assert here("compress", source, "-o", out, "--lossless", "--format", "ozx").status == 0
    assert "a.ozx" in listing(tmp_path / "out")
