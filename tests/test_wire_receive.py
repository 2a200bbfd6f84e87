"""Receiving: volumes after every step, kills, cuts, and servers that lie."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantoms import head, masked

import slimscan
from slimscan import Lossless, Ratio
from slimscan.errors import InputError, OutputError, ServerError
from slimscan.nouns import Region
from slimscan.press import ahead, arriving, partial, scheme
from slimscan.press.deliver import plan_of, receive
from slimscan.press.send import serving, simulated
from slimscan.wire import client, fetch
from slimscan.wire.line import throttled
from slimscan.wire.model import Line
from slimscan.wire.ranges import wanted

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

SHAPE = (24, 64, 48)
FAST = Line(1e9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    held = tmp_path_factory.mktemp("served")
    slimscan.compress(head(SHAPE), held / "ct.ozx", target=Lossless(), codec="jpegls")
    slimscan.compress(masked((12, 80, 80)), held / "lossy.ozx", target=Ratio(5), codec="jpeg2000")
    return held


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with serving(folder) as found:
        yield found


def read_root(place: Path) -> dict[str, Any]:
    with zipfile.ZipFile(place) as archive:
        return json.loads(archive.read("zarr.json"))


def same(place: Path, shape: tuple[int, int, int] = SHAPE) -> bool:
    return bool((np.asarray(slimscan.read(place).pixels) == np.asarray(head(shape).pixels)).all())


def test_step_by_step_to_the_original(port: int, folder: Path, tmp_path: Path) -> None:
    url, out = f"http://127.0.0.1:{port}/ct.ozx", tmp_path / "o.nii.gz"
    first = receive(url, out, until="look")
    assert (first.complete, first.exact, first.steps[-1].step) == (False, False, "look")
    assert first.steps[-1].says == "look: 4 of 24 slices as stored, 20 interpolated"
    assert slimscan.read(out).shape == SHAPE
    assert not same(out)
    then = receive(url, out)
    assert (then.complete, then.exact, then.part) == (True, True, "")
    assert then.found_bytes == first.fetched_bytes
    assert then.found_bytes + then.fetched_bytes == (folder / "ct.ozx").stat().st_size
    assert all(check.passed for check in then.checks)
    assert same(out)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["o.nii.gz"]
    with pytest.raises(OutputError, match="exists already"):
        receive(url, out)


@pytest.mark.parametrize(
    ("codec", "outside"), [("jpegls", "max-error:40"), ("jpeg2000", "setting:jpeg2000@45"), ("hevc", "setting:hevc@34")]
)
def test_region_first_then_the_rest_then_the_original(tmp_path: Path, codec: str, outside: str) -> None:
    if codec == "hevc":
        pytest.importorskip("av", reason="the extra video is not installed")
    volume, folder, out = head(SHAPE), tmp_path / "in", tmp_path / "o.nii"
    weight = np.zeros(SHAPE, bool)
    weight[7:14, 20:50, 10:40] = True
    folder.mkdir()
    region = Region(weight, "box")
    slimscan.compress(volume, folder / "ct.ozx", codec=codec, roi=region, outside=outside, residual=True)
    original = np.asarray(volume.pixels)
    there_first = np.zeros(SHAPE, bool)
    there_first[:: 1 if codec == "hevc" else 8] = True
    with serving(folder) as port:
        url = f"http://127.0.0.1:{port}/ct.ozx"
        done = receive(url, out, until="look")
        look = np.asarray(slimscan.read(out).pixels)
        assert look.shape == SHAPE
        filled = read_root(folder / "ct.ozx")["attributes"]["slimscan"]["scheme"]["inside"]["filled"]
        assert filled == (codec == "jpeg2000")
        if codec != "hevc":  # never a slice with the region painted over
            far = np.abs(look.astype(float) - original)[weight & there_first].max()
            assert far <= (0 if filled else 40)
        assert done.steps[-1].step == "look"
        done = receive(url, out, until="region")
        assert (done.complete, done.exact) == (False, False)
        there = np.asarray(slimscan.read(out).pixels)
        assert (there == original)[weight].all()  # exact where it counts, before the rest has come
        if codec == "jpegls":  # slabs of hevc have all come with the first step
            done = receive(url, out, until="rest")
            assert done.steps[-1].says == "rest: 24 of 24 slices as stored"
            assert not (np.asarray(slimscan.read(out).pixels) == original).all()
        done = receive(url, out)
    assert (done.complete, done.exact) == (True, True)
    assert [check.name for check in done.checks] == ["exact"]
    assert same(out)


def test_the_file_as_it_is(port: int, folder: Path, tmp_path: Path) -> None:
    receive(f"http://localhost:{port}/bytes/ct.ozx", tmp_path / "o.ozx")
    assert (tmp_path / "o.ozx").read_bytes() == (folder / "ct.ozx").read_bytes()


def test_a_lossy_file_says_that_it_cannot_become_exact(port: int, tmp_path: Path) -> None:
    done = receive(f"http://127.0.0.1:{port}/lossy.ozx", tmp_path / "o.nii", untrusted=True)
    assert (done.complete, done.exact) == (True, False)
    assert done.notes == (
        "the file holds no residual and was compressed with loss: the original cannot be restored from it",
    )


def test_chunks_are_decoded_while_the_rest_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last byte is here, nothing is left to decode but what it completed."""
    place, out, late = tmp_path / "in" / "ct.ozx", tmp_path / "o.nii", []
    place.parent.mkdir()
    slimscan.compress(head(SHAPE), place, target=Ratio(8), codec="jpeg2000", residual=True)
    original = arriving.lazy

    def watched(*arguments: Any, **named: Any) -> Any:
        found = original(*arguments, **named)
        late.append(found.pixels)
        return found

    monkeypatch.setattr(arriving, "lazy", watched)
    with serving(place.parent) as port:
        done = receive(f"http://127.0.0.1:{port}/ct.ozx", out)
    assert done.exact
    assert same(out)
    assert len(late) == 1
    assert not late[0]._cache  # the volume of base and residual was opened for its facts alone


def test_untrusted_decodes_in_children_at_every_step(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(partial, "decode_within", lambda limits, *rest: asked.append(limits) or within(limits, *rest))
    monkeypatch.setattr(ahead, "decode_within", lambda limits, *rest: asked.append(limits) or within(limits, *rest))
    within = scheme.decode_within
    assert receive(f"http://127.0.0.1:{port}/lossy.ozx", tmp_path / "o.nii", untrusted=True).complete
    assert asked
    assert None not in asked


def test_what_cannot_be_asked(port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}/ct.ozx"
    for wrong in (
        "ftp://x/ct.ozx",
        "ct.ozx",
        "http://x/ct.nii",
        "http://u:p@x/ct.ozx",
        "http://x:99999/a.ozx",
        url + "?a",
    ):
        with pytest.raises(InputError, match=r"name a file that|is no URL"):
            receive(wrong, tmp_path / "o.nii")
    with pytest.raises(InputError, match="the token would cross the network"):
        receive("http://example.org/ct.ozx", tmp_path / "o.nii", token="0123456789abcdef")
    with pytest.raises(InputError, match="allowed: look, region, rest, exact"):
        receive(url, tmp_path / "o.nii", until="later")
    for out in ("o.zarr", "o/"):
        with pytest.raises(InputError, match="receive writes one file"):
            receive(url, f"{tmp_path}/{out}")
    with pytest.raises(ServerError, match=r"there is no such file on the server$"):
        receive(f"http://127.0.0.1:{port}/none.ozx", tmp_path / "o.nii")


def test_a_token_that_is_missing(folder: Path, tmp_path: Path) -> None:
    with serving(folder, "0123456789abcdef") as port:
        url = f"http://127.0.0.1:{port}/ct.ozx"
        with pytest.raises(ServerError, match="the token is missing or wrong; set SLIMSCAN_TOKEN"):
            receive(url, tmp_path / "o.nii")
        assert receive(url, tmp_path / "o.nii", token="0123456789abcdef").exact


def test_killed_three_times_it_ends_exact(tmp_path: Path) -> None:
    shape = (40, 160, 160)
    (tmp_path / "in").mkdir()
    slimscan.compress(head(shape), tmp_path / "in" / "ct.ozx", target=Lossless(), codec="jpegls")
    size, out = (tmp_path / "in" / "ct.ozx").stat().st_size, tmp_path / "o.nii.gz"
    with serving(tmp_path / "in") as port, throttled(Line(6e6, rtt_s=0.01), port) as meter:
        url = f"http://127.0.0.1:{meter.port}/ct.ozx"
        command = [sys.executable, "-c", "from slimscan.cli import main; main()"]
        command += ["receive", url, "-o", str(out), "--json"]
        for kill in (1, 2, 3):
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while meter.passed < size * kill / 4 and child.poll() is None:
                time.sleep(0.01)
            assert child.poll() is None, "it ended before it was killed"
            child.send_signal(signal.SIGKILL)
            child.wait()
            if out.exists():
                assert slimscan.read(out).shape == shape  # whole or not at all
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout)
    assert (done.returncode, said["exact"], said["complete"]) == (0, True, True)
    assert said["found_bytes"] > size / 3
    assert meter.passed < size * 1.35
    assert same(out, shape)
    left = [place.name for place in tmp_path.iterdir()]
    assert sorted(left) == ["in", "o.nii.gz"]


def test_a_cut_line_is_tried_again(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WAIT_S", 0.01)
    said: list[str] = []
    with throttled(FAST, port) as meter:
        meter.cut_after = 30_000

        def passed(_here: int, _whole: int) -> None:
            if meter.cut_after is not None and meter.cut_after < 0 and len(said) < 3:
                meter.cut_after = 20_000

        done = receive(
            f"http://127.0.0.1:{meter.port}/ct.ozx",
            tmp_path / "o.nii",
            passed=passed,
            say=lambda text: (said.append(text), setattr(meter, "cut_after", 20_000 if len(said) < 3 else None))[0],
        )
    assert done.exact
    assert done.cuts >= 2
    assert all(text.startswith("the line was cut (") for text in said)


def test_two_at_once_do_not_mix(port: int, tmp_path: Path) -> None:
    url, out = f"http://127.0.0.1:{port}/ct.ozx", tmp_path / "o.nii"
    with (
        client._alone(tmp_path / "o.nii.part"),
        pytest.raises(OutputError, match="another process is receiving into it"),
    ):
        receive(url, out)
    assert receive(url, out).exact


def test_a_file_that_changes_is_started_over(tmp_path: Path) -> None:
    place, out = tmp_path / "in" / "ct.ozx", tmp_path / "o.nii"
    place.parent.mkdir()
    slimscan.compress(head(SHAPE, seed=1), place, target=Lossless(), codec="jpegls")
    said: list[str] = []
    with serving(place.parent) as port:
        url = f"http://127.0.0.1:{port}/ct.ozx"
        receive(url, out, until="look")
        slimscan.compress(head(SHAPE), place, target=Lossless(), codec="jpegls", force=True)
        done = receive(url, out, say=said.append)
    assert said == ["the file on the server has changed: starting over"]
    assert done.exact
    assert same(out)


# Servers that lie


Answer = Callable[[BaseHTTPRequestHandler, bytes, list[tuple[int, int]]], None]


@contextmanager
def liar(content: bytes, plan: dict[str, object], answer: Answer) -> Iterator[int]:
    """A server whose answers to ranges are made by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/plan/"):
                body = json.dumps(plan).encode()
                send(self, 200, {"ETag": str(plan["etag"])}, body)
                return
            answer(self, content, wanted(self.headers["Range"], len(content)) or [])

        def log_message(self, *_unused: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made.server_address[1]
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def send(
    to: BaseHTTPRequestHandler, status: int, fields: dict[str, str], body: bytes, length: int | None = None
) -> None:
    to.send_response(status)
    for name, value in fields.items():
        to.send_header(name, value)
    to.send_header("Content-Length", str(len(body) if length is None else length))
    to.end_headers()
    to.wfile.write(body)
    if length is not None:
        to.close_connection = True


def parts(content: bytes, asked: list[tuple[int, int]], shift: int = 0, flip: int = 0, mark: str = "m") -> bytes:
    """A multipart body, its ranges said `shift` bytes off, its content changed by `flip`."""
    out = b""
    for start, stop in asked:
        piece = bytes(byte ^ flip for byte in content[start:stop])
        out += (
            f"\r\n--{mark}\r\nContent-Range: bytes {start + shift}-{stop + shift - 1}/{len(content)}\r\n\r\n".encode()
        )
        out += piece
    return out + f"\r\n--{mark}--\r\n".encode()


KIND = "multipart/byteranges; boundary=m"

LIES: dict[str, tuple[Answer, str]] = {
    "whole": (lambda to, content, asked: send(to, 200, {}, content), "sends the whole file where"),
    "shifted": (
        lambda to, content, asked: send(to, 206, {"Content-Type": KIND}, parts(content, asked, shift=1)),
        "the server sends bytes .* were asked for; what came before is kept",
    ),
    "garbage": (
        lambda to, content, asked: send(to, 206, {"Content-Type": KIND}, parts(content, asked, flip=1)),
        "do not match the server's own checksum, three times over",
    ),
    "no boundary": (
        lambda to, content, asked: send(to, 206, {"Content-Type": "multipart/byteranges"}, parts(content, asked)),
        "several parts without a boundary",
    ),
    "other boundary": (
        lambda to, content, asked: send(to, 206, {"Content-Type": KIND}, parts(content, asked, mark="n")),
        "parts without a boundary between them",
    ),
    "one part": (
        lambda to, content, asked: send(to, 206, {"Content-Range": "bytes 0-1/2"}, b"ab"),
        "one range where several were asked for",
    ),
    "endless head": (
        lambda to, content, asked: send(to, 206, {"Content-Type": KIND}, b"x" * 100_000),
        "a part whose head has no end",
    ),
    "more": (
        lambda to, content, asked: send(to, 206, {"Content-Type": KIND}, parts(content, asked) + b"more"),
        "more than was asked for",
    ),
    "short": (
        lambda to, content, asked: send(to, 206, {"Content-Type": KIND}, parts(content, asked)[:500], 10_000),
        "the line is cut .* run the same command to go on",
    ),
    "teapot": (lambda to, content, asked: send(to, 418, {}, b""), "the server answers 418; is it `slimscan serve`"),
    "moving": (
        lambda to, content, asked: send(to, 200, {"ETag": '"new"'}, content),
        "the file on the server changes faster than it can be received",
    ),
    "elsewhere": (
        lambda to, content, asked: send(to, 302, {"Location": "http://example.org/"}, b""),
        "the server answers 302",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_one_line(
    folder: Path, tmp_path: Path, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, says = LIES[lie]
    content, plan = (folder / "ct.ozx").read_bytes(), plan_of(folder / "ct.ozx").as_json()
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with liar(content, plan, answer) as port, pytest.raises(ServerError, match=says) as caught:
        receive(f"http://127.0.0.1:{port}/ct.ozx", tmp_path / "o.nii")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o.nii").exists()


def test_a_line_cut_at_any_byte_is_a_cut_and_no_lie(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, plan = (folder / "ct.ozx").read_bytes(), plan_of(folder / "ct.ozx")
    asked = [(0, 20), (40, 60)]
    whole = parts(content, asked)

    class Answer(io.BytesIO):
        status, headers = 206, {"Content-Type": KIND}

    for count in range(len(whole)):
        monkeypatch.setattr(fetch, "_ask", lambda *_, count=count: Answer(whole[:count]))
        with pytest.raises(fetch.Cut, match="the answer ends early"):
            fetch.get_ranges(fetch.door_of("http://localhost/ct.ozx"), plan, asked, lambda _at, _data: None)
    monkeypatch.setattr(fetch, "_ask", lambda *_: Answer(whole))
    fetch.get_ranges(fetch.door_of("http://localhost/ct.ozx"), plan, asked, lambda _at, _data: None)


def test_a_plan_larger_than_the_disk(folder: Path, tmp_path: Path) -> None:
    plan = plan_of(folder / "ct.ozx").as_json()
    huge = 10**17
    plan = plan | {"size": huge, "spans": [*plan["spans"][:-1], [plan["spans"][-1][0], plan["spans"][-1][1], 2, 0]]}
    plan["spans"].append([plan_of(folder / "ct.ozx").size, huge, 3, 0])
    with liar(b"", plan, lambda *_: None) as port, pytest.raises(OutputError, match="the disk has no room for 1000"):
        receive(f"http://127.0.0.1:{port}/ct.ozx", tmp_path / "o.nii")


def test_nobody_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with pytest.raises(ServerError, match=r"cannot be reached \(.*\); is the server running there\?$"):
        receive("http://127.0.0.1:9/ct.ozx", tmp_path / "o.nii")


# The line


def test_a_throttled_line_is_as_slow_as_it_says(port: int, tmp_path: Path) -> None:
    started = time.perf_counter()
    with throttled(Line(2e6, rtt_s=0.02), port) as meter:
        receive(f"http://127.0.0.1:{meter.port}/ct.ozx", tmp_path / "o.ozx")
        size = meter.passed
    assert size > 40_000
    assert (
        time.perf_counter() - started > 0.9 * size / Line(2e6).bytes_per_s
    )  # never faster; how much slower is the machine's


def test_simulated_against_other_ways(folder: Path, tmp_path: Path) -> None:
    said = simulated(folder / "ct.ozx", "2mbps,loss=1%,rtt=120ms", codecs=("jpegls", "htj2k"))
    assert said.line == "2mbps,loss=1%,rtt=120ms"
    assert said.bytes_per_s == pytest.approx(149_010, rel=1e-3)
    names = [row.what for row in said.rows]
    assert names == [
        "first usable image (every 8th slice)",
        "all slices",
        ".nii.gz, whole",
        "jpegls, lossless, whole",
        "htj2k, lossless, whole",
    ]
    assert said.rows[0].model_s < said.rows[1].model_s
    jpegls, htj2k = said.rows[3:]
    assert (jpegls.model_s < htj2k.model_s) == (jpegls.bytes < htj2k.bytes)
    assert said.rows[1].bytes == (folder / "ct.ozx").stat().st_size
    slow = simulated(folder / "ct.ozx", "50mbps", real=True, codecs=())
    assert slow.rows[1].clock_s is not None
    with pytest.raises(InputError, match='codec "nope" is not known'):
        simulated(folder / "ct.ozx", "2mbps", codecs=("nope",))
