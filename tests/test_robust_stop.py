"""Whenever a command is stopped, its destination holds the old image, the new one or nothing, and its source is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import command, here, listing, pixels, scan

# A process that has imported everything and forks one child a command: moments are not spent on starting up.
SERVER = """
import json, os, sys
from slimscan.cli import run
import slimscan.press.compress, slimscan.press.decompress, slimscan.cli.app, slimscan.cli.say
from slimscan.codecs import CODECS
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        errors = os.open(json.loads(line)["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(errors, 2)
        os.dup2(errors, 1)
        status = run(json.loads(line)["arguments"])
        sys.stderr.flush()
        os._exit(status)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Commands:
    """Commands in children that can be stopped at any moment."""

    def __init__(self, folder: Path) -> None:
        self.errors = folder / "errors.txt"
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, *arguments: object, stop: int | None = None, after: float = 0.0) -> int:
        """The status as waitpid gives it; with a signal sent `after` seconds."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        said = {"arguments": [str(argument) for argument in arguments], "errors": str(self.errors)}
        self._server.stdin.write(json.dumps(said) + "\n")
        self._server.stdin.flush()
        child = int(self._server.stdout.readline())
        if stop is not None:
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, stop)
        return int(self._server.stdout.readline())

    def close(self) -> None:
        self._server.communicate(timeout=60)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    found = Commands(tmp_path_factory.mktemp("commands"))
    yield found
    found.close()


def content(path: Path) -> object:
    """The bytes of a file, or those of every file of a folder by name."""
    if path.is_dir():
        return {str(inner.relative_to(path)): inner.read_bytes() for inner in path.rglob("*") if inner.is_file()}
    return path.read_bytes()


def moments(count: int, seconds: float) -> list[float]:
    """Random moments over the time of a run, more of them near its end, where files are renamed."""
    draw = random.Random(count)
    return sorted(seconds * draw.random() ** 0.5 for _ in range(count))


JOBS = {
    "ozx": ("compress", "--ratio", "6"),
    "zarr": ("compress", "--lossless"),
    "tif": ("compress", "--lossless"),
    "nii.gz": ("decompress",),
    "dicom": ("decompress",),
}


def check_kills(commands: Commands, tmp_path: Path, kind: str, count: int) -> None:
    source = scan(tmp_path / "ct.nii", (12, 128, 140))
    held, changed = source.read_bytes(), source.stat().st_mtime_ns
    (tmp_path / "out").mkdir()
    place = tmp_path / "out" / ("series" if kind == "dicom" else f"a.{kind}")
    job = (*JOBS[kind], source, "-o", f"{place}/" if kind == "dicom" else place)
    assert commands.run(*job) == 0, commands.errors.read_text()
    started = time.monotonic()
    assert commands.run(*job, "--force") == 0, commands.errors.read_text()
    seconds = time.monotonic() - started
    new = content(place)
    instead = (
        *(scan(tmp_path / "other.nii", (4, 60, 70), seed=9) if part == source else part for part in job),
        "--force",
    )
    assert commands.run(*instead) == 0, commands.errors.read_text()
    old = content(place)
    killed = 0
    for number, moment in enumerate(moments(count, seconds)):
        replaces = number % 2 == 0
        if not replaces:
            clear(place)
        killed += commands.run(*job, "--force", stop=signal.SIGKILL, after=moment) == signal.SIGKILL
        names = listing(place.parent, deep=False)
        assert all(name == place.name or name.startswith(".slimscan-") for name in names)
        if place.name in names:
            found = content(place)
            assert found == new or (replaces and found == old), f"half an image after {moment:.3f} s"
        else:
            assert not replaces, f"the old image is gone after {moment:.3f} s"
        assert (source.read_bytes(), source.stat().st_mtime_ns) == (held, changed)
        if not replaces:
            assert commands.run(*job, "--force") == 0, commands.errors.read_text()
            assert listing(place.parent, deep=False) == [place.name], "what the killed run left is swept"
            assert content(place) == new
            assert commands.run(*instead) == 0, commands.errors.read_text()
    assert killed or count < 10, "no run was hit"


def clear(place: Path) -> None:
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


@pytest.mark.parametrize(("kind", "count"), [("ozx", 12), ("zarr", 4), ("tif", 2), ("nii.gz", 2), ("dicom", 4)])
def test_kill_leaves_nothing_half(commands: Commands, tmp_path: Path, kind: str, count: int) -> None:
    check_kills(commands, tmp_path, kind, count)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(JOBS))
def test_kill_leaves_nothing_half_at_forty_moments(commands: Commands, tmp_path: Path, kind: str) -> None:
    check_kills(commands, tmp_path, kind, 40)


@pytest.mark.parametrize("kind", list(JOBS))
def test_ctrl_c_leaves_nothing_and_says_so(commands: Commands, tmp_path: Path, kind: str) -> None:
    source = scan(tmp_path / "ct.nii", (12, 128, 140))
    place = tmp_path / "out" / "deep" / ("series" if kind == "dicom" else f"a.{kind}")
    job = (*JOBS[kind], source, "-o", f"{place}/" if kind == "dicom" else place)
    assert commands.run(*job) == 0, commands.errors.read_text()
    started = time.monotonic()
    assert commands.run(*job, "--force") == 0, commands.errors.read_text()
    seconds = time.monotonic() - started
    for moment in moments(3, seconds):
        clear(place)
        place.parent.rmdir()
        place.parent.parent.rmdir()
        status = commands.run(*job, stop=signal.SIGINT, after=0.6 * moment)
        if os.waitstatus_to_exitcode(status) == 0:  # it was done already
            continue
        assert os.waitstatus_to_exitcode(status) == 130
        assert commands.errors.read_text() == "error: stopped before it was done; nothing was left half-written\n"
        assert listing(tmp_path) == ["ct.nii"], "not even the folders that were made for it"
        place.parent.mkdir(parents=True)


def started(process: int) -> None:
    """Wait until the process has loaded its codecs: before that, Python itself answers signals."""
    maps = Path(f"/proc/{process}/maps")
    for _ in range(200):
        if maps.exists() and "imagecodecs" in maps.read_text():
            return
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["threads", "processes"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_whole_process_group_stops_quietly(name: str, sent: int, tmp_path: Path) -> None:
    source = scan(tmp_path / "ct.nii", (60, 300, 300))
    job = command("compress", source, "-o", tmp_path / "a.ozx", "--ratio", "9", "--codec", "jpeg2000", "--each", name)
    running = subprocess.Popen(
        [*job, "--workers", "2"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    started(running.pid)
    time.sleep(1.0 if name == "processes" else 0.1)
    os.killpg(running.pid, sent)
    out, err = running.communicate(timeout=30)
    # Python ends itself by the signal when it came into an exec() of text; shells call both 130.
    assert running.returncode in (130, -signal.SIGINT), err
    assert out == ""
    assert err == "error: stopped before it was done; nothing was left half-written\n"
    assert listing(tmp_path) == ["ct.nii"]


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    source = scan(tmp_path / "ct.nii", (40, 300, 300))
    running = subprocess.Popen(
        command("compress", source, "-o", tmp_path / "a.ozx", "--ratio", "9", "--each", "processes", "--workers", "2"),
        start_new_session=True,
    )
    started(running.pid)
    time.sleep(1)
    running.kill()
    running.wait()
    for _ in range(100):
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.killpg(running.pid, signal.SIGKILL)
        pytest.fail("workers of a killed command live on")
    assert source.exists()


def test_what_living_processes_write_is_not_swept(tmp_path: Path) -> None:
    from slimscan.press.staging import HOST

    source = scan(tmp_path / "ct.nii")
    out = tmp_path / "out"
    out.mkdir()
    mine = out / f".slimscan-{HOST}-{os.getpid()}-00000000-a.ozx"
    elsewhere = out / ".slimscan-00000000-1-00000000-a.ozx"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = out / f".slimscan-{HOST}-{gone.pid}-00000000-a.ozx"
    folder = out / f".slimscan-{HOST}-{gone.pid}-00000001-a.zarr"
    for path in (mine, elsewhere, dead):
        path.write_bytes(b"x")
    (folder / "0").mkdir(parents=True)
    assert here("compress", source, "-o", out / "a.ozx", "--lossless").status == 0
    assert listing(out) == sorted([mine.name, elsewhere.name, "a.ozx"])
    assert (pixels(out / "a.ozx") == pixels(source)).all()
