"""Bad input: every file either comes through with its pixels, or is refused in one line that names it.

Real files of every kind, broken ones among them; cut and flipped copies of each format through the whole command, in child
processes with limits on memory and time; and images that nobody should have to compress.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from commands import Said, here, listing, pixels, scan, volume

import slimscan
from slimscan.codecs import CODECS
from slimscan.errors import SlimscanError

LARGEST = 3_000_000  # bytes of the real files that are tried here
SECONDS = 20  # for any one of them


def real_inputs(data: Path) -> list[Path]:
    """Every small file, one of each folder of slices and the folder itself."""
    found: list[Path] = []
    for folder, _, names in sorted(os.walk(data)):
        files = [Path(folder) / name for name in sorted(names) if (Path(folder) / name).stat().st_size < LARGEST]
        zoo = "dicom_zoo" in folder or "malformed" in folder or "wsi_he" in folder
        series = len(files) > 5 and not zoo
        found += files[:3] if series else files
        if series and sum(file.stat().st_size for file in files) < 3 * LARGEST:
            found.append(Path(folder))
    return found


def test_every_real_file_comes_through_or_is_named(real_data: Path, tmp_path: Path) -> None:
    done = refused = 0
    slow: list[str] = []
    wrong: list[str] = []
    for number, path in enumerate(real_inputs(real_data)):
        started = time.monotonic()
        out = tmp_path / f"{number}.ozx"
        said = here("compress", path, "-o", out, "--lossless", "--codec", "zstd")
        if said.status == 0:
            done += 1
            if not np.array_equal(pixels(out), pixels(path)):
                wrong.append(f"{path}: other pixels")
            out.unlink()
        else:
            refused += 1
            line = said.err
            if said.status != 2 or len(line.splitlines()) != 1 or str(path) not in line or "unexpected" in line:
                wrong.append(f"{path}: {said.status} {line}")
            if out.exists():
                wrong.append(f"{path}: left {out}")
        if time.monotonic() - started > SECONDS:
            slow.append(str(path))
    assert not wrong, "\n".join(wrong)
    assert not slow
    assert done > 100
    assert refused > 3
    assert listing(tmp_path) == []


# ---- damaged copies, in children with limits ---------------------------------------------------------------------------

# One child takes many copies: it reports each before it goes on, so that whatever kills it is known by name.
WORKER = """
import contextlib, io, json, os, signal, sys
import numpy as np
import slimscan
from slimscan.cli import run
for line in sys.stdin:
    source, out = json.loads(line)
    signal.alarm(25)
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        status = run(["compress", source, "-o", out, "--lossless", "--codec", "zstd", "--workers", "1"])
    same = None
    if status == 0:
        same = bool(np.array_equal(np.asarray(slimscan.read(out).pixels), np.asarray(slimscan.read(source).pixels)))
        os.unlink(out)
    signal.alarm(0)
    print(json.dumps([status, err.getvalue(), same, os.path.exists(out)]), flush=True)
"""


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def mutations(content: bytes, count: int, seed: int) -> list[bytes]:
    """Cuts, flipped bits, zeroed and repeated stretches; half of them in the first kilobyte, where the headers are."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        at = draw.randrange(min(len(content), 1024) if number % 2 else len(content))
        kind = number % 5
        changed = bytearray(content)
        if kind == 0:
            changed = changed[:at]
        elif kind == 1:
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            changed[at : at + 8] = bytes(len(changed[at : at + 8]))
        elif kind == 3:
            changed[at : at + 4] = b"\xff" * len(changed[at : at + 4])
        else:
            changed[at:at] = changed[at : at + draw.randrange(1, 64)]
        found.append(bytes(changed))
    return found


# What may change without notice: nothing that a checksum guards. Elsewhere a flipped bit of a sample is another image.
FORMATS = ["nii", "nii.gz", "tif", "ozx", "mha", "nrrd", "dcm", "ome.tif"]


def check_damage(kind: str, tmp_path: Path, count: int) -> None:
    whole = tmp_path / f"whole.{kind}"
    if kind == "ozx":
        assert here("compress", scan(tmp_path / "a.nii", (4, 30, 32)), "-o", whole, "--lossless").status == 0
    elif kind == "ome.tif":
        said = here("compress", scan(tmp_path / "a.nii", (4, 30, 32), "uint16"), "-o", whole, "--lossless")
        assert (said.status, said.err) == (0, "")
    else:
        scan(whole, (4, 30, 32), "uint16")
    right = pixels(whole)
    ends = dict.fromkeys(("refused", "same", "other"), 0)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=limits
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for number, content in enumerate(mutations(whole.read_bytes(), count, len(kind))):
            source, out = tmp_path / f"m{number}.{kind}", tmp_path / "out.ozx"
            source.write_bytes(content)
            worker.stdin.write(json.dumps([str(source), str(out)]) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            assert line, f"{source}: the command crashed or hung ({worker.wait(30)})"
            status, err, same, left = json.loads(line)
            if status == 0:
                assert same, f"{source}: other pixels than its reader's"
                unchanged = np.array_equal(pixels(source), right)
                ends["same" if unchanged else "other"] += 1
                assert unchanged or kind != "ozx", f"{source}: silent damage"
                assert err == ""
            else:
                ends["refused"] += 1
                said = Said(status, "", err)
                assert str(source) in said.error(), err
                assert status == 2
                assert not left
            source.unlink()
        worker.stdin.close()
    assert ends["refused"] > count // 10, ends


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_copies_are_refused_or_their_pixels_are_kept(kind: str, tmp_path: Path) -> None:
    check_damage(kind, tmp_path, 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_many_damaged_copies(kind: str, tmp_path: Path) -> None:
    check_damage(kind, tmp_path, 1000)


# ---- images that are hard to like --------------------------------------------------------------------------------------


def nifti(path: Path, values: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype=values.dtype), path)
    return path


def claims(path: Path, sides: tuple[int, ...]) -> Path:
    """A header that claims these sides, over a few bytes."""
    head = bytearray(scan(path.with_name("honest.nii"), (2, 4, 4)).read_bytes())
    struct.pack_into(f"<{1 + len(sides)}h", head, 40, len(sides), *sides)
    path.write_bytes(gzip.compress(bytes(head)) if path.name.endswith(".gz") else bytes(head))
    return path


def test_odd_images_are_sentences(tmp_path: Path) -> None:
    bad = np.zeros((4, 5, 6), np.float32)
    bad[1, 2, 3] = np.nan
    endless = bad.copy()
    endless[1, 2, 3] = np.inf
    cases = {
        nifti(tmp_path / "nan.nii", bad): "1 voxels are NaN or infinite, the first at (3, 2, 1) (z, y, x)",
        nifti(tmp_path / "inf.nii.gz", endless): "1 voxels are NaN or infinite",
        nifti(
            tmp_path / "five.nii", np.zeros((3, 3, 3, 2, 2), np.int16)
        ): "5 dimensions [3, 3, 3, 2, 2]; allowed: up to 4",
        nifti(tmp_path / "complex.nii", np.zeros((3, 3, 3), np.complex64)): "samples of NIfTI type 32; allowed:",
        claims(tmp_path / "huge.nii", (32000, 32000, 32000)): "its header claims",
        claims(tmp_path / "huge.nii.gz", (32000, 32000, 32000)): "its header claims",
        claims(tmp_path / "none.nii", (0, 4, 4)): "holds no voxels",
        claims(tmp_path / "negative.nii", (-4, 4, 4)): "negative",
    }
    (tmp_path / "empty.nii").write_bytes(b"")
    (tmp_path / "text.nii").write_text("not an image at all")
    (tmp_path / "folder").mkdir()
    cases |= {
        tmp_path / "empty.nii": "is empty (0 bytes)",
        tmp_path / "text.nii": "is named like NIfTI-1 and NIfTI-2, and its content is not that",
        tmp_path / "folder": "is an empty folder",
        tmp_path / "missing.nii": "there is no such file or folder",
    }
    for source, says in cases.items():
        for command in (
            ["compress", source, "-o", tmp_path / "out" / "a.ozx", "--ratio", "10"],
            ["compress", source, "-o", tmp_path / "out" / "a.ozx", "--lossless"],
            ["compare", source, source],
        ):
            line = here(*command).error()
            assert line.startswith(f"{source}: "), line
            assert says in line, line
    assert not (tmp_path / "out").exists()


SHAPES = [(1, 1, 1), (1, 1, 7), (1, 7, 1), (7, 1, 1), (1, 40, 40), (3, 2, 2), (2, 1, 9, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["jpeg2000", "zstd", "jpegxl", "pcodec", "jpegls"])
def test_the_smallest_images_come_through(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    source = scan(tmp_path / "a.nii", shape, "uint8")
    said = here("compress", source, "-o", tmp_path / "a.ozx", "--lossless", "--codec", name)
    assert (said.status, said.err) == (0, "")
    assert (pixels(tmp_path / "a.ozx") == pixels(source)).all()


def test_targets_on_one_voxel_are_met_or_refused_in_one_line(tmp_path: Path) -> None:
    source = scan(tmp_path / "a.nii", (1, 1, 1))
    for target in (("--ratio", "2"), ("--psnr", "50"), ("--max-error", "1")):
        for name in CODECS:
            said = here("compress", source, "-o", tmp_path / "a.ozx", *target, "--codec", name, "--force")
            if said.status:
                assert str(source) in said.error() or name in said.err
            else:
                assert np.abs(pixels(tmp_path / "a.ozx").astype(int) - pixels(source)).max() <= 1


def test_truth_values_and_constant_images(tmp_path: Path) -> None:
    mask = (volume((3, 20, 20), "uint8").pixels[:] > 100).astype(np.uint8)
    for values in (mask, np.zeros((3, 9, 9), np.int16), np.full((2, 9, 9), -32768, np.int16)):
        source = nifti(tmp_path / "a.nii", np.ascontiguousarray(values.T))
        for target in (("--lossless",), ("--psnr", "40"), ("--max-error", "1")):
            said = here("compress", source, "-o", tmp_path / "a.ozx", *target, "--force")
            assert (said.status, said.err) == (0, "")
            assert np.abs(pixels(tmp_path / "a.ozx").astype(int) - values).max() <= (0 if len(target) == 1 else 255)


def test_arrays_that_are_no_images_are_refused_from_python_too(tmp_path: Path) -> None:
    for values in (np.zeros((3, 3), np.uint8), np.zeros((0, 3, 3), np.uint8), np.zeros((3, 3, 3), np.complex64)):
        with pytest.raises(SlimscanError) as caught:
            slimscan.compress(slimscan.Volume(values), tmp_path / "a.ozx", target=slimscan.Lossless())
        assert "volume" in str(caught.value)
    truth = slimscan.Volume(np.ones((2, 3, 3), bool))
    with pytest.raises(SlimscanError) as caught:
        slimscan.compress(truth, tmp_path / "a.ozx", target=slimscan.Lossless())
    assert "bool" in str(caught.value)
    assert listing(tmp_path) == []
