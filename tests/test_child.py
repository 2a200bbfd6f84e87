"""Children: what a decoder does to its process is one error here, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from slimscan import child
from slimscan.child import Limits, limits, process, serve
from slimscan.errors import CodecError

HERE = Path(__file__).parent
HURT = "; the data are damaged, or made to harm"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals and no resource limits")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS and has /proc")
SHORT = Limits(0.4, 1 << 28)


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """Every test begins without children, and leaves none."""
    child.close()
    yield
    child.close()
    assert children() == []


def children() -> list[int]:
    """Process ids of all children of this process, dead ones that nobody waited for included."""
    if sys.platform != "linux":
        return []
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def ramp(count: int, dtype: str = "uint16", **more: Limits) -> np.ndarray:
    return child.decode("harm:ramp", (count, dtype), (count,), dtype, **more)


def pid() -> int:
    return int(child.decode("harm:pid", (), (1,), "int64")[0])


def why(function: str, *arguments: object, allowed: Limits = SHORT) -> str:
    with pytest.raises(CodecError) as caught:
        child.decode(f"harm:{function}", arguments, (4,), "uint8", allowed)
    assert type(caught.value) is CodecError
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pixels_come_back_and_the_child_stays() -> None:
    got = ramp(70_000)
    assert got.dtype == np.uint16
    assert (got == np.arange(70_000, dtype=np.uint16)).all()
    got[0] = 7  # the caller's own
    first = pid()
    assert first == pid() != os.getpid()
    assert len(children()) == (sys.platform == "linux")


def test_megabytes_pass_the_pipe_whole() -> None:
    assert (ramp(5_000_000, "float64") == np.arange(5e6)).all()


def test_no_voxels_need_no_child() -> None:
    assert ramp(0).shape == (0,)
    assert children() == []


@POSIX
def test_what_a_decoder_does_to_its_process_is_one_line() -> None:
    assert why("aborted") == f"the decoder stopped with SIGABRT{HURT}"
    assert why("crashed") == f"the decoder stopped with SIGSEGV{HURT}"
    assert why("ended_by", int(signal.SIGKILL)) == f"the decoder stopped with SIGKILL{HURT}"
    assert why("left", 3) == f"the decoder stopped with status 3{HURT}"
    assert why("left", 0) == f"the decoder stopped with status 0{HURT}"


def test_a_decoder_that_hangs_is_stopped() -> None:
    for function in ("asleep", "busy"):
        assert why(function) == f"the decoder took longer than 0.4 s and was stopped{HURT}"


@POSIX
def test_processor_time_is_limited_even_when_the_parent_cannot() -> None:
    """A parent that was killed or stopped no longer looks at its clock."""
    number = int(signal.SIGXCPU)
    assert why("ended_by", number) == f"the decoder took longer than 0.4 s and was stopped{HURT}"
    asked = child.decode("harm:processor_limit", (), (1,), "int64", Limits(5))
    assert 5 <= asked[0] <= 12


@LINUX
def test_memory_is_limited() -> None:
    text = f"the decoder wanted more than 268 MB and was stopped{HURT}"
    assert why("greedy", 1 << 30) == text
    assert why("bad_alloc") == text
    assert child.decode("harm:greedy", (1 << 26,), (1 << 26,), "uint8", SHORT).all(), "what it may take"


@LINUX
def test_a_child_that_leaks_is_replaced_and_the_call_made_again() -> None:
    first = pid()
    for _ in range(8):  # 800 MB in all, 268 allowed
        child.decode("harm:leaking", (100 << 20,), (4,), "uint8", Limits(20, 1 << 28))
    assert pid() != first


@POSIX
def test_the_next_call_after_a_death_gets_a_new_child() -> None:
    first = pid()
    why("aborted")
    second = pid()
    assert first != second
    assert second == pid()


def test_a_child_that_died_idle_is_replaced() -> None:
    first = pid()
    os.kill(first, signal.SIGTERM)
    time.sleep(0.2)
    assert pid() != first


def test_a_refusal_keeps_the_child_and_its_words_in_one_line() -> None:
    first = pid()
    assert why("refused", "jpegls: bad\n  things") == "jpegls: bad things"
    assert why("confused").startswith("this needs the package that")
    assert len(why("refused", "x" * 100_000)) == limits.MOST_TEXT
    assert pid() == first


def test_other_pixels_than_expected_are_refused() -> None:
    with pytest.raises(CodecError, match=r"^decoded uint16 \(11,\), want uint16 \(10,\)$"):
        child.decode("harm:ramp", (11,), (10,), "uint16")
    with pytest.raises(CodecError, match=r"^decoded uint8 \(10,\), want uint16 \(10,\)$"):
        child.decode("harm:ramp", (10, "uint8"), (10,), "uint16")


def test_more_bytes_than_one_piece_may_be_are_refused_before_anything_starts() -> None:
    with pytest.raises(
        CodecError, match=r"^7200000000 bytes of pixels in one piece, allowed when untrusted: 1073741824"
    ):
        child.decode("harm:ramp", (1,), (60000, 60000), "uint16")
    assert children() == []


@pytest.mark.parametrize("answer", ["size", "number", "kind", "text", "nothing"])
def test_an_answer_that_does_not_fit_is_not_read(answer: str) -> None:
    """A child that was taken over may write what it likes: the parent reads what it expects, or nothing."""
    one = process.Child("harm:spoken")
    told = {
        "size": limits.HEAD.pack(1, limits.PIXELS, 1 << 50),
        "number": limits.HEAD.pack(7, limits.PIXELS, 4),
        "kind": limits.HEAD.pack(1, 99, 4),
        "text": limits.HEAD.pack(1, limits.REFUSED, limits.MOST_TEXT + 1),
        "nothing": b"",
    }[answer]
    with pytest.raises(CodecError, match=r"made to harm$"):
        one.call(("harm:spoken", (told,), (4,), "|u1"), np.empty(4, np.uint8), Limits(20))
    assert one.process.returncode is not None


def test_what_a_library_prints_does_not_reach_the_pipe() -> None:
    assert (child.decode("harm:chatty", (), (4,), "uint8") == np.arange(4)).all()


@POSIX
def test_a_child_may_write_nothing_and_hears_nothing() -> None:
    core, size, files, empty, wrote, closed, deaf = child.decode("harm:limits", (), (7,), "int64")
    assert (core, size, files) == (0, 0, 64)
    assert (empty, wrote, closed, deaf) == (1, 0, 1, 1)


def test_a_child_makes_calls_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "inside", True)
    assert not child.available()
    assert pid() == os.getpid()


def test_a_program_that_is_no_interpreter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(CodecError, match=r"^untrusted bytes are decoded by a child, which needs a Python interpreter"):
        ramp(10)


def test_an_interpreter_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: str(tmp_path / "none"))
    with pytest.raises(CodecError, match=r"^no child to decode in could be started: "):
        ramp(10)


@POSIX
def test_a_child_that_cannot_load_its_libraries_blames_no_image() -> None:
    with pytest.raises(CodecError) as caught:
        child.decode("no_such_module:name", (), (1,), "uint8")
    assert str(caught.value) == (
        "no child to decode in could be started (status 1: ModuleNotFoundError: No module named 'no_such_module')"
    )


def test_a_child_that_does_not_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_S", 0.3)
    monkeypatch.setattr(process, "BOOT", "import time; time.sleep(60)")
    with pytest.raises(CodecError, match=r"^no child to decode in could be started \(no word within 0.3 s\)$"):
        ramp(10)


def test_threads_have_a_child_each_and_no_more_than_cores() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: (pid(), int(ramp(1000).sum())), range(200)))
    assert {total for _, total in found} == {499_500}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert len({one for one, _ in found}) <= cores


@POSIX
def test_threads_do_not_suffer_from_each_other() -> None:
    def one(index: int) -> str:
        if index % 5 == 0:
            return why("aborted").partition(";")[0]
        return str(ramp(index)[-1])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, range(1, 21)))
    assert found == ["the decoder stopped with SIGABRT" if k % 5 == 0 else str(k - 1) for k in range(1, 21)]


@LINUX
def test_nothing_is_left_behind() -> None:
    ramp(10)
    child.close()
    gc.collect()
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(4):
        why("aborted")
        why("refused", "no")
        ramp(100)
    child.close()
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208
    assert [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_has_children_of_its_own() -> None:
    mine = pid()
    reader, writer = os.pipe()
    forked = os.fork()
    if not forked:
        os.write(writer, pickle.dumps((pid(), pid())))
        child.close()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        theirs = pickle.loads(file.read())
    assert os.waitpid(forked, 0)[1] == 0
    assert theirs[0] == theirs[1] != mine
    assert pid() == mine


def script(text: str) -> subprocess.Popen[str]:
    """A program that comes in by stdin: it has no file and no __main__ guard."""
    one = subprocess.Popen(
        [sys.executable, "-W", "error", "-"],
        stdin=-1,
        stdout=-1,
        stderr=-1,
        text=True,
        cwd=HERE,
        start_new_session=True,
    )
    assert one.stdin is not None
    one.stdin.write(textwrap.dedent(text))
    one.stdin.close()
    one.stdin = None
    return one


def test_a_script_on_stdin_needs_no_guard() -> None:
    one = script(
        """
        from slimscan import child
        print(child.decode("harm:ramp", (5,), (5,), "uint16").sum())
        """
    )
    assert one.communicate(timeout=30) == ("10\n", "")
    assert one.returncode == 0


def gone(number: int) -> bool:
    for _ in range(100):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


STARTED = """
    from slimscan import child
    print(child.decode("harm:pid", (), (1,), "int64")[0], flush=True)
"""
IDLE = (
    STARTED
    + """
    import time
    time.sleep(60)
"""
)
BUSY = (
    STARTED
    + """
    child.decode("harm:asleep", (), (1,), "int64", child.Limits(300))
"""
)


@POSIX
def test_ctrl_c_stops_parent_and_child() -> None:
    one = script(BUSY)
    assert one.stdout is not None
    number = int(one.stdout.readline())
    time.sleep(0.2)
    os.killpg(one.pid, signal.SIGINT)
    _, said = one.communicate(timeout=30)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert said.count("Traceback") == 1, "the child says nothing"
    assert gone(number)


@POSIX
def test_an_idle_child_ends_with_a_parent_that_was_killed() -> None:
    one = script(IDLE)
    assert one.stdout is not None
    number = int(one.stdout.readline())
    one.kill()
    one.communicate(timeout=30)
    assert gone(number)


def test_the_ambience_of_untrusted() -> None:
    assert child.asked() is None
    with child.apart():
        assert child.asked() == Limits()
        with child.apart(Limits(1)):
            assert child.asked() == Limits(1)
        with child.apart(False):
            assert child.asked() == Limits(), "False leaves it as it is outside"
    with child.apart(False):
        assert child.asked() is None
    assert Limits(1.0, 10).scaled(2_000_000) == Limits(3.0, 32_000_010)
