"""Full disks, folders that may not be written, sources that vanish: one sentence, nothing left, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import child, here, listing, pixels, scan

import slimscan
from slimscan.errors import OutputError
from slimscan.nouns import Lossless, Volume
from slimscan.press.compress import compress

OUTPUTS = ["a.ozx", "a.zarr", "a.nii", "a.nii.gz", "a.tif", "a.mha", "a.nrrd", "series/"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scan(tmp_path / "ct.nii", (12, 200, 210))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_full_disk_is_one_sentence(name: str, source: Path, small_disk: Path) -> None:
    command = "decompress" if name == "series/" else "compress"
    said = here(command, source, "-o", f"{small_disk}/new/{name}", *([] if name == "series/" else ["--lossless"]))
    assert said.status == 2
    out = f"{small_disk}/new/{name}".rstrip("/")
    assert said.error() == f"{out}: the disk is full; nothing was written, free some space or choose another disk"
    assert listing(small_disk) == []
    (small_disk / "note.txt").write_text("there is room again")


def test_a_disk_that_fills_up_in_the_search_is_the_same_sentence(source: Path, small_disk: Path) -> None:
    out = small_disk / "a.ozx"
    said = here("compress", source, "-o", out, "--ratio", "3")
    assert said.error() == f"{out}: the disk is full; nothing was written, free some space or choose another disk"
    assert listing(small_disk) == []


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.parametrize("name", OUTPUTS[:-1])
def test_a_limit_on_file_sizes_is_one_sentence(name: str, source: Path, tmp_path: Path) -> None:
    said = child("compress", source, "-o", tmp_path / "out" / name, "--lossless", preexec_fn=limited)
    assert said.error().startswith(f"{tmp_path}/out/{name}: ")
    assert listing(tmp_path) == ["ct.nii"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_every_write_of_a_container_may_fail(
    code: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slimscan.files.ozx import Writer

    entry: Callable[..., None] = Writer.entry
    calls = []

    def failing(at: int) -> Callable[..., None]:
        def write(self: Writer, name: str, content: bytes) -> None:
            calls.append(name)
            if len(calls) > at:
                raise OSError(code, os.strerror(code))
            entry(self, name, content)

        return write

    for at in range(6):
        calls.clear()
        monkeypatch.setattr(Writer, "entry", failing(at))
        said = here("compress", source, "-o", tmp_path / "a.ozx", "--lossless")
        if said.status == 0:
            break
        assert said.error().startswith(f"{tmp_path}/a.ozx: ")
        assert listing(tmp_path) == ["ct.nii"]
    assert at >= 3


def test_a_place_that_may_not_be_written(source: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    out = locked / "sub" / "a.ozx"
    said = as_nobody(locked, 0o555, "compress", source, "-o", out, "--lossless")
    assert said == f"error: {out}: cannot be written (Permission denied); choose a place that you may write to\n"
    assert listing(locked) == []


def test_a_source_that_may_not_be_read(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    said = as_nobody(source, 0o000, "compress", source, "-o", tmp_path / "out" / "a.ozx", "--lossless")
    assert said == f"error: {source}: may not be read by you; ask its owner for read permission\n"
    assert listing(tmp_path / "out") == []


def as_nobody(path: Path, mode: int, *arguments: object) -> str:
    """stderr of the command as a user whom permissions bind."""
    path.chmod(mode)
    if os.geteuid():
        return here(*arguments).err
    for folder in path.parents:  # pytest's folders are root's alone
        if folder.is_relative_to("/tmp") and str(folder) != "/tmp":
            folder.chmod(0o755)
    # Once as root, so that everything is imported: the packages may lie where nobody may look.
    code = (
        "import json, os, sys, tempfile\nfrom slimscan.cli import run\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    assert run(['compress', sys.argv[2], '-o', f'{folder}/a.ozx', '--lossless', '--json']) == 0\n"
        "os.setgid(65534)\nos.setuid(65534)\nstatus = run(json.loads(sys.argv[1]))\nsys.stderr.flush()\nos._exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([str(one) for one in arguments]), str(arguments[1])],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_a_folder_that_is_a_file_and_a_name_that_is_too_long(source: Path, tmp_path: Path) -> None:
    said = here("compress", source, "-o", source / "sub" / "a.ozx", "--lossless").error()
    assert str(source / "sub" / "a.ozx") in said
    long = tmp_path / ("n" * 251 + ".ozx")
    assert here("compress", source, "-o", long, "--lossless").status == 0, "the hidden name must not be longer"
    assert (pixels(long) == pixels(source)).all()
    longer = tmp_path / ("n" * 256 + ".ozx")
    said = here("compress", source, "-o", longer, "--lossless").error()
    assert said.startswith(f"{longer}: ")
    assert said.endswith("the name is too long for this disk; choose a shorter one")


def test_a_destination_that_appears_meanwhile_is_kept(source: Path, tmp_path: Path) -> None:
    for name in ("a.ozx", "a.zarr"):
        out = tmp_path / name

        def appear(*unused: object, out: Path = out) -> None:
            out.mkdir(exist_ok=True) if out.suffix == ".zarr" else out.write_bytes(b"somebody else's")
            if out.is_dir():
                (out / "file").write_bytes(b"somebody else's")

        with pytest.raises(OutputError) as caught:
            compress(source, out, target=slimscan.Ratio(4), progress=appear)
        assert str(caught.value) == f"{out}: appeared meanwhile; give another name, or --force to replace it"
        kept = out / "file" if out.is_dir() else out
        assert kept.read_bytes() == b"somebody else's"
        assert [place for place in listing(tmp_path) if ".slimscan" in place] == []


@pytest.mark.parametrize("kind", ["ozx", "dicom", "tif"])
def test_a_source_that_vanishes_while_it_is_read_is_named(
    kind: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read slice by slice, as volumes are that do not fit into memory."""
    from slimscan.press import compress as module

    monkeypatch.setattr(module, "IN_MEMORY", 1000)
    place = {"ozx": tmp_path / "src.ozx", "dicom": tmp_path / "series", "tif": tmp_path / "src.tif"}[kind]
    first = "decompress" if kind == "dicom" else "compress"
    more = [] if kind == "dicom" else ["--lossless", "--codec", "jpeg2000"]
    assert here(first, source, "-o", f"{place}/" if kind == "dicom" else place, *more).status == 0
    look = module.survey

    def then_vanish(volume: Volume, each: object) -> object:
        found = look(volume, each)  # type: ignore[arg-type]
        place.rename(tmp_path / "moved")
        pixels_ = volume.pixels
        if hasattr(pixels_, "_cache"):
            pixels_._cache.clear()
        return found

    monkeypatch.setattr(module, "survey", then_vanish)
    said = here("compress", place, "-o", tmp_path / "out" / "a.ozx", "--lossless", "--codec", "zstd")
    if said.status:  # a file that is mapped stays readable
        assert str(place) in said.error()
        assert "out/a.ozx: cannot" not in said.err
        assert not (tmp_path / "out").exists()
    else:
        assert (pixels(tmp_path / "out" / "a.ozx") == pixels(source)).all()


def test_a_source_in_memory_needs_no_file(tmp_path: Path) -> None:
    receipt = compress(Volume(np.arange(64, dtype=np.uint8).reshape(1, 8, 8)), tmp_path / "a.ozx", target=Lossless())
    assert receipt.identical
