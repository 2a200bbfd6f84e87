"""Asking a server for byte ranges, and believing nothing that it says: every length, place and name is compared.

Redirections are not followed, and the token goes to the host that was named and no other.
"""

from __future__ import annotations

import http.client
import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from slimscan.errors import InputError, ServerError
from slimscan.wire.gate import is_loopback
from slimscan.wire.plan import Plan, from_json
from slimscan.wire.ranges import Range, field_of, said_range

MOST_PLAN = 64 << 20  # bytes of a plan, unpacked
BLOCK = 1 << 14
TIMEOUT_S = 30.0
LINE = 1024

Sink = Callable[[int, bytes], None]  # (offset in the file, bytes)


class Cut(Exception):
    """The line broke off; what has come is kept, and it may be tried again."""


class Changed(Exception):
    """The file on the server is another one now."""


@dataclass
class Door:
    """A server and a file on it. secure: https. base: the path before /bytes/. connection: the open one, or None."""

    secure: bool
    host: str
    port: int
    base: str
    name: str
    token: str = field(default="", repr=False)
    timeout_s: float = TIMEOUT_S
    connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.base}/bytes/{self.name}"

    def close(self) -> None:
        """Hang up."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def door_of(url: str, token: str = "") -> Door:
    """The file that a URL names: http://HOST:PORT/NAME.ozx, or .../bytes/NAME.ozx behind another server.

    InputError for anything else, and for a token that would cross a network unencrypted.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise InputError(f"{url}: is no URL ({error})") from error
    path = unquote(parts.path)
    base, found, name = path.rpartition("/bytes/")
    if not found:
        base, name = "", path.lstrip("/")
    fine = parts.scheme in ("http", "https") and host and name.lower().endswith(".ozx") and name.isprintable()
    if not fine or parts.query or parts.fragment or parts.username is not None:
        raise InputError(f"{url}: name a file that `slimscan serve` serves, such as http://localhost:8765/ct.ozx")
    assert host is not None
    secure = parts.scheme == "https"
    if token and not secure and not is_loopback(host):
        raise InputError(f"{url}: the token would cross the network for all to read; use https, or an SSH tunnel")
    return Door(secure, host, port or (443 if secure else 80), base.rstrip("/"), name, token)


def get_plan(door: Door, known: str = "") -> Plan | None:
    """The plan of the file; None when its etag is still `known`. Cut, or ServerError in one line."""
    answer = _ask(door, f"/plan/{door.name}", {"If-None-Match": known} if known else {})
    if answer.status == 304 and known:
        answer.read()
        return None
    _must(door, answer, 200)
    raw = _all(door, answer)
    try:
        if (answer.headers.get("Content-Encoding") or "") == "gzip":
            stream = zlib.decompressobj(wbits=31)
            raw = stream.decompress(raw, MOST_PLAN)
            if not stream.eof:
                raise ValueError("it is cut off or too long")
        said = json.loads(raw)
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, zlib.error) as error:
        raise ServerError(f"{door}: the server's plan does not read ({error}); is it `slimscan serve`?") from error
    return from_json(said, str(door))


def get_ranges(door: Door, plan: Plan, asked: Sequence[Range], sink: Sink) -> None:
    """Fetch ranges in order; Cut, Changed, or ServerError when what comes is not what was asked for."""
    headers = {"Range": field_of(asked), "If-Range": plan.etag, "Accept-Encoding": "identity"}
    answer = _ask(door, f"/bytes/{door.name}", headers)
    tag = answer.headers.get("ETag")
    if answer.status in (200, 206, 416) and tag is not None and tag != plan.etag:
        door.close()
        raise Changed
    if answer.status in (404, 416):
        door.close()
        raise Changed
    if answer.status == 200:
        door.close()
        raise ServerError(f"{door}: the server sends the whole file where {len(asked)} ranges were asked for")
    _must(door, answer, 206)
    kind = answer.headers.get("Content-Type", "")
    mark = re.search(r'boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70}?)"?\s*$', kind)
    if not kind.lower().startswith("multipart/byteranges"):
        if len(asked) != 1:
            raise _lie(door, "one range where several were asked for")
        _same(door, said_range(answer.headers.get("Content-Range")), asked[0], plan.size)
        _copy(door, answer, asked[0], sink)
    elif mark is None:
        raise _lie(door, "several parts without a boundary")
    else:
        for one in asked:
            _part(door, answer, mark[1], one, plan.size, sink)
        if _line(door, answer, skip_empty=True) != f"--{mark[1]}--".encode():
            raise _lie(door, "more than was asked for")
    if _read(door, answer, 3).strip():
        raise _lie(door, "more than was asked for")


def _part(door: Door, answer: http.client.HTTPResponse, mark: str, one: Range, size: int, sink: Sink) -> None:
    if _line(door, answer, skip_empty=True) != f"--{mark}".encode():
        raise _lie(door, "parts without a boundary between them")
    said = None
    while line := _line(door, answer):
        name, _, value = line.decode("latin-1").partition(":")
        if name.strip().lower() == "content-range":
            said = said_range(value)
    _same(door, said, one, size)
    _copy(door, answer, one, sink)


def _line(door: Door, answer: http.client.HTTPResponse, *, skip_empty: bool = False) -> bytes:
    """One line of a multipart body, without its end."""
    for _ in range(64):
        try:
            line = answer.readline(LINE)
        except (OSError, http.client.HTTPException) as error:
            door.close()
            raise Cut(str(error)) from error
        if not line.endswith(b"\n"):
            if len(line) == LINE:
                break
            door.close()
            raise Cut("the answer ends early")
        if line.strip() or not skip_empty:
            return line.strip()
    raise _lie(door, "a part whose head has no end")


def _copy(door: Door, answer: http.client.HTTPResponse, one: Range, sink: Sink) -> None:
    at, stop = one
    while at < stop:
        block = _read(door, answer, min(BLOCK, stop - at))
        if not block:
            door.close()
            raise Cut("the answer ends early")
        sink(at, block)
        at += len(block)


def _read(door: Door, answer: http.client.HTTPResponse, count: int) -> bytes:
    try:
        return answer.read1(count) if count > 3 else answer.read(count)
    except (OSError, http.client.HTTPException) as error:
        door.close()
        raise Cut(str(error)) from error


def _all(door: Door, answer: http.client.HTTPResponse) -> bytes:
    try:
        raw = answer.read(MOST_PLAN + 1)
    except (OSError, http.client.HTTPException) as error:
        door.close()
        raise Cut(str(error)) from error
    if len(raw) > MOST_PLAN:
        raise _lie(door, f"a plan of more than {MOST_PLAN} bytes")
    return raw


def _ask(door: Door, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Send a GET; Cut when the line does not hold."""
    fields = {"Accept-Encoding": "gzip", "User-Agent": "slimscan"} | headers
    if door.token:
        fields["Authorization"] = f"Bearer {door.token}"
    try:
        if door.connection is None:
            made: Any = http.client.HTTPSConnection if door.secure else http.client.HTTPConnection
            door.connection = made(door.host, door.port, timeout=door.timeout_s)
        assert door.connection is not None
        door.connection.request("GET", quote(door.base + path), headers=fields)
        return door.connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        door.close()
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError):
            raise ServerError(f"{door}: its certificate is not trusted ({error.verify_message})") from error
        raise Cut(str(error) or type(error).__name__) from error


def _must(door: Door, answer: http.client.HTTPResponse, status: int) -> None:
    """ServerError, or Cut for what passes, unless the answer has the status."""
    if answer.status == status:
        return
    code = answer.status
    door.close()
    if code in (429, 500, 502, 503, 504):
        raise Cut(f"the server answers {code}")
    told = {
        401: "the token is missing or wrong; set SLIMSCAN_TOKEN, or name --token-file",
        404: "there is no such file on the server",
        421: "the server answers to localhost only",
        422: "the file is damaged on the server",
    }
    raise ServerError(f"{door}: {told.get(code, f'the server answers {code}; is it `slimscan serve`?')}")


def _same(door: Door, said: tuple[int, int, int] | None, one: Range, size: int) -> None:
    if said != (*one, size):
        told = "no range" if said is None else f"bytes {said[0]}..{said[1] - 1} of {said[2]}"
        raise _lie(door, f"{told} where {one[0]}..{one[1] - 1} of {size} were asked for")


def _lie(door: Door, what: str) -> ServerError:
    door.close()
    return ServerError(f"{door}: the server sends {what}; what came before is kept, try again or ask whoever runs it")
