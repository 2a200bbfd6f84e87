"""The server, asked over a socket: what it gives, what it refuses, and that it says nothing else."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from phantoms import head

import slimscan
from slimscan import Lossless
from slimscan.press.deliver import plan_of
from slimscan.press.send import serving

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

TOKEN = "a token of many letters".replace(" ", "-")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ct.ozx and a damaged one, beside a secret outside and a link to it."""
    held = tmp_path_factory.mktemp("wire")
    place = held / "served"
    (place / "sub dir").mkdir(parents=True)
    slimscan.compress(head((20, 48, 40)), place / "ct.ozx", target=Lossless(), codec="jpegls")
    content = (place / "ct.ozx").read_bytes()
    (place / "sub dir" / "b.ozx").write_bytes(content)
    (place / "broken.ozx").write_bytes(content[:2000])
    (place / ".hidden.ozx").write_bytes(content)
    (held / "secret.ozx").write_bytes(b"SECRET" + content)
    (place / "link.ozx").symlink_to(held / "secret.ozx")
    return place


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    with serving(folder) as found:
        yield found


def ask(
    port: int, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Status, fields in lower case, and body; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in (headers or {}))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_the_list_and_the_plan(port: int, folder: Path) -> None:
    status, _, body = ask(port, "/files")
    assert status == 200
    assert [each["name"] for each in json.loads(body)["files"]] == ["broken.ozx", "ct.ozx", "sub dir/b.ozx"]
    plan = plan_of(folder / "ct.ozx")
    status, fields, body = ask(port, "/plan/ct.ozx")
    assert (status, fields["etag"]) == (200, plan.etag)
    assert json.loads(body) == plan.as_json()
    status, fields, body = ask(port, "/plan/sub%20dir/b.ozx", {"Accept-Encoding": "gzip"})
    assert json.loads(gzip.decompress(body)) == plan.as_json()
    assert ask(port, "/plan/ct.ozx", {"If-None-Match": plan.etag})[0] == 304


def test_bytes_whole_and_by_ranges(port: int, folder: Path) -> None:
    content = (folder / "ct.ozx").read_bytes()
    size = len(content)
    status, whole, body = ask(port, "/bytes/ct.ozx")
    assert (status, body, whole["accept-ranges"]) == (200, content, "bytes")
    status, fields, body = ask(port, "/bytes/ct.ozx", method="HEAD")
    assert (status, body, fields["content-length"], fields["etag"]) == (200, b"", str(size), whole["etag"])
    status, fields, body = ask(port, "/bytes/ct.ozx", {"Range": "bytes=10-19"})
    assert (status, body, fields["content-range"]) == (206, content[10:20], f"bytes 10-19/{size}")
    status, fields, body = ask(port, "/bytes/ct.ozx", {"Range": "bytes=-5"})
    assert (status, body) == (206, content[-5:])
    status, fields, body = ask(port, "/bytes/ct.ozx", {"Range": "bytes=0-3,100-109"})
    assert (status, len(body)) == (206, int(fields["content-length"]))
    assert fields["content-type"].startswith("multipart/byteranges; boundary=")
    assert content[:4] in body
    assert content[100:110] in body
    assert ask(port, "/bytes/ct.ozx", {"Range": "lines=1-2"})[0] == 200


def test_if_range_and_if_none_match(port: int, folder: Path) -> None:
    tag = plan_of(folder / "ct.ozx").etag
    assert ask(port, "/bytes/ct.ozx", {"Range": "bytes=0-1", "If-Range": tag})[0] == 206
    assert ask(port, "/bytes/ct.ozx", {"Range": "bytes=0-1", "If-Range": '"other"'})[0] == 200
    assert ask(port, "/bytes/ct.ozx", {"If-None-Match": tag})[0] == 304


@pytest.mark.parametrize(
    "field", ["bytes=999999999-", "bytes=5-1", "bytes=x", "bytes=" + "0-0," * 500, "bytes=0-9,5-9", "bytes=-0"]
)
def test_a_client_that_lies_about_ranges(port: int, folder: Path, field: str) -> None:
    status, fields, body = ask(port, "/bytes/ct.ozx", {"Range": field})
    assert status == 416
    assert fields["content-range"] == f"bytes */{(folder / 'ct.ozx').stat().st_size}"
    assert body.count(b"\n") == 1


OUTSIDE = [
    "../secret.ozx", "%2e%2e/secret.ozx", "..%2fsecret.ozx", "%2e%2e%2fsecret.ozx", "%252e%252e/secret.ozx",
    "sub/../../secret.ozx", "//etc/passwd", "/etc/passwd", "%2fetc%2fpasswd", "link.ozx", ".hidden.ozx",
    "..%5csecret.ozx", "ct.ozx%00", "ct.ozx%00.txt", "%00", "ct.ozx/", "./ct.ozx", "none.ozx", "", "sub%20dir",
    "%ff%fe.ozx", "ct.ozx%0a",
]  # fmt: skip


@pytest.mark.parametrize("door", ["/bytes/", "/plan/", "/volume/", "/page/", "/"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_not_served_is_not_found_whatever_the_reason(port: int, folder: Path, door: str, name: str) -> None:
    if not name and door == "/":
        name = "nothing"  # "/" is the page
    path = f"{door}{name}.nii" if door == "/volume/" else door + name
    status, _, body = ask(port, path)
    assert (status, body) == (404, b"not found\n")


def test_damage_and_other_methods_are_one_sentence(port: int) -> None:
    status, _, body = ask(port, "/plan/broken.ozx")
    assert (status, body.count(b"\n")) == (422, 1)
    assert b"Traceback" not in body
    assert b"/" not in body
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        status, _, body = ask(port, "/bytes/ct.ozx", method=method)
        assert (status, body) == (405, b"this server only gives: GET and HEAD\n")
    assert ask(port, "/files", {"X-Long": "x" * 40_000})[0] in (400, 431)


def test_every_answer_is_dressed(port: int) -> None:
    for path in ("/", "/page/page.js", "/files", "/bytes/none", "/bytes/ct.ozx"):
        _, fields, _ = ask(port, path)
        assert fields["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe-inline" not in fields["content-security-policy"]
        assert fields["x-content-type-options"] == "nosniff"
        assert "server" not in fields


def test_a_name_that_was_pointed_here_is_refused(port: int) -> None:
    assert ask(port, "/files", {"Host": "evil.example"})[0] == 421
    assert ask(port, "/files", {"Host": "localhost:1"})[0] == 200


def test_volumes_by_layer(port: int, folder: Path, tmp_path: Path) -> None:
    original = np.asarray(head((20, 48, 40)).pixels)
    for layer, shape in ((1, (3, 48, 40)), (2, (20, 48, 40))):
        status, fields, body = ask(port, f"/volume/ct.ozx.nii?layer={layer}", {"Accept-Encoding": "gzip"})
        assert status == 200
        content = gzip.decompress(body)
        assert len(content) == int(fields["x-volume-bytes"])
        (tmp_path / "x.nii").write_bytes(content)
        volume = slimscan.read(tmp_path / "x.nii")
        assert volume.shape == shape
        assert (np.asarray(volume.pixels) == original[:: 8 if layer == 1 else 1]).all()
        assert volume.spacing_mm[0] == pytest.approx(16 if layer == 1 else 2)
    for wrong in ("0", "3", "-1", "x", "1.5", "%D9%A1"):
        assert ask(port, f"/volume/ct.ozx.nii?layer={wrong}")[0] == 404


def test_a_token_is_asked_for(folder: Path) -> None:
    with serving(folder, TOKEN) as port:
        assert ask(port, "/")[0] == 200  # the page holds nothing of anybody
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(port, "/files", right)[0] == 200
        assert ask(port, "/bytes/../x", {"Authorization": "Bearer wrong"})[0] == 401
        status, fields, body = ask(port, "/files")
        assert (status, fields["www-authenticate"], body) == (401, "Bearer", b"the token is missing or wrong\n")
        answers = [ask(port, "/bytes/ct.ozx", {"Authorization": f"Bearer {n}"})[0] for n in range(15)]
        assert answers[-1] == 429
        assert set(answers) == {401, 429}
        assert ask(port, "/files", right)[0] == 200  # who has the token is not kept out


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from slimscan.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})


def test_serve_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    refused = run("serve", str(folder), "--host", "0.0.0.0", env={"SLIMSCAN_TOKEN": ""})
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --host 0.0.0.0: others can reach that address, so a token is needed")
    assert run("serve", str(tmp_path / "none")).stderr.startswith(f"error: {tmp_path / 'none'}: is no folder")
    command = [sys.executable, "-c", "from slimscan.cli import main; main()", "serve", str(folder), "--port", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        assert ask(found, "/bytes/ct.ozx", method="HEAD")[0] == 200
        taken = run("serve", str(folder), "--port", str(found))
        assert (taken.returncode, taken.stderr.count("\n")) == (2, 1)
    finally:
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
    assert "Traceback" not in said
