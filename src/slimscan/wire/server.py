"""A server of byte ranges: what is there, in which order to ask for it, the bytes, and a page that shows them.

    GET /files                    {"files": [{"name", "bytes"}]}
    GET /plan/NAME                the order of its bytes (wire.plan), as JSON
    GET /bytes/NAME               the file, whole or by ranges (RFC 9110 clauses 13 and 14)
    GET /volume/NAME.nii?layer=N  decoded as NIfTI, for the page; N counts the steps of the plan from 1
    GET /                         the page

Errors are one sentence of text; what is not served is 404 whatever the reason. Pixels come from a function that is handed
in: this floor knows no codec.
"""

from __future__ import annotations

import hashlib
import re
import socket
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any

from slimscan.errors import SlimscanError
from slimscan.nouns import Needs
from slimscan.wire import ranges
from slimscan.wire.gate import Allowance, right, right_host
from slimscan.wire.paths import NotServed, open_inside, place_of, served
from slimscan.wire.plan import Plan, lay_out

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

NEEDS = (Needs("starlette", "starlette", "serve"), Needs("uvicorn", "uvicorn", "serve"))
PAGE = Path(__file__).parent / "page"
ASSETS = {
    "index.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "niivue.umd.js": "text/javascript; charset=utf-8",
    "NIIVUE-LICENSE.txt": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": POLICY,
}
BLOCK = 1 << 16
KEPT_PLANS = 64
AT_ONCE = 64  # connections
MOST_HEADERS = 16 << 10  # bytes of one request
DECODING = 2  # volumes decoded at once
Decode = Callable[[Path, int], tuple[int, Iterator[bytes]]]


def application(folder: Path, token: str = "", decode: Decode | None = None) -> Any:
    """The ASGI application over one folder. decode: (path, step from 0) -> (bytes in all, a NIfTI file in pieces).

    MissingExtra without starlette.
    """
    for need in NEEDS:
        need.demand("serving volumes")
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    knocks, wrong = Allowance(rate=100, burst=400), Allowance(rate=0.2, burst=10)
    plans, decoding = _plans(), BoundedSemaphore(DECODING)

    def guarded(answer: Callable[[Request], Response], *, open_to_all: bool = False) -> Callable[[Request], Response]:
        def admit(request: Request) -> Response:
            peer = request.client.host if request.client else ""
            if not knocks.take(peer):
                return _said(429, "too many requests; wait a moment", {"retry-after": "1"})
            if not right_host(request.headers.get("host"), token):
                return _said(421, "this server answers to localhost only")
            if sum(len(name) + len(value) for name, value in request.headers.raw) > MOST_HEADERS:
                return _said(431, "the request's header is too long")
            if not open_to_all and not right(request.headers.get("authorization"), token):
                if not wrong.take(peer):
                    return _said(429, "too many wrong tokens; wait a minute", {"retry-after": "60"})
                return _said(401, "the token is missing or wrong", {"www-authenticate": "Bearer"})
            try:
                if not str(request.scope["path"]).isprintable():  # a route's pattern lets a last line end through
                    raise NotServed
                return answer(request)
            except NotServed:
                return _said(404, "not found")
            except SlimscanError:
                return _said(422, "the file is damaged or cannot be shown; whoever runs the server can look at it")

        return admit

    def files(_request: Request) -> Response:
        return JSONResponse({"files": [{"name": name, "bytes": size} for name, size in served(folder)]})

    def plan(request: Request) -> Response:
        found = plans(folder, request.path_params["name"])
        if request.headers.get("if-none-match") == found.etag:
            return _said(304, "", {"etag": found.etag})
        return _packed(request, found)

    def content(request: Request) -> Response:
        return _content(request, folder, plans)

    def volume(request: Request) -> Response:
        name = request.path_params["name"]
        layer = request.query_params.get("layer", "1")
        found = plans(folder, name)
        if decode is None or not re.fullmatch(r"[1-4]", layer, re.ASCII) or int(layer) > len(found.steps):
            return _said(404, f"there is no such layer; this file has 1 to {len(found.steps)}")
        return _volume(request, place_of(folder, name), int(layer) - 1, found, decode, decoding)

    def asset(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in ASSETS:
            raise NotServed(name)
        return _asset(request, name)

    def refused(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        told = {404: "not found", 405: "this server only gives: GET and HEAD"}
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return _said(status, told.get(status, "something went wrong in the server"), headers)

    routes = [
        Route("/", guarded(asset, open_to_all=True)),
        Route("/page/{name}", guarded(asset, open_to_all=True)),
        Route("/files", guarded(files)),
        Route("/plan/{name:path}", guarded(plan)),
        Route("/bytes/{name:path}", guarded(content)),
        Route("/volume/{name:path}.nii", guarded(volume)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refused, Exception: refused})
    app.router.redirect_slashes = False
    return _with_headers(app)


def listen(host: str, port: int) -> socket.socket | None:
    """A socket on an address; None when the system refuses."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=64)
    except OSError:
        return None
    return made


def run(folder: Path, listening: socket.socket, token: str, decode: Decode | None) -> None:
    """Serve until stopped. Limits: AT_ONCE connections, 16 kB of header, 15 s of silence."""
    app = application(folder, token, decode)
    import uvicorn

    uvicorn.Server(uvicorn.Config(app, **SETTINGS)).run(sockets=[listening])


SETTINGS: dict[str, Any] = {
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
    "limit_concurrency": AT_ONCE,
    "timeout_keep_alive": 15,
    "h11_max_incomplete_event_size": MOST_HEADERS,
    "http": "h11",
    "ws": "none",
    "lifespan": "off",
    "proxy_headers": False,
}


def _said(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import PlainTextResponse
    from starlette.responses import Response as Bare

    if status == 304:
        return Bare(status_code=304, headers=headers)
    return PlainTextResponse(text + "\n", status, headers)


def _plans() -> Callable[[Path, str], Plan]:
    """Plans by name, kept while the file stays as it is."""
    kept: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
    lock = Lock()

    def of(folder: Path, name: str) -> Plan:
        import os

        with open_inside(folder, name) as file:
            now = os.fstat(file.fileno())
            key = (name, now.st_ino, now.st_size, now.st_mtime_ns)
            with lock:
                if key in kept:
                    return kept[key]
            made = lay_out(file, name)
        with lock:
            kept[key] = made
            while len(kept) > KEPT_PLANS:
                kept.popitem(last=False)
        return made

    return of


def _packed(request: Request, found: Plan) -> Response:
    import json

    from starlette.responses import Response as Bare

    body = json.dumps(found.as_json(), separators=(",", ":")).encode()
    headers = {"etag": found.etag, "vary": "accept-encoding", "cache-control": "no-cache"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        packer = zlib.compressobj(9, wbits=31)
        body = packer.compress(body) + packer.flush()
        headers["content-encoding"] = "gzip"
    return Bare(body, 200, headers, "application/json")


def _content(request: Request, folder: Path, plans: Callable[[Path, str], Plan]) -> Response:
    from starlette.responses import StreamingResponse

    name = request.path_params["name"]
    found = plans(folder, name)
    whole = {"etag": found.etag, "accept-ranges": "bytes", "cache-control": "no-cache"}
    known = request.headers.get("if-none-match")
    if known is not None and known.strip() in (found.etag, "*"):
        return _said(304, "", whole)
    field = request.headers.get("range") if request.method == "GET" else None
    since = request.headers.get("if-range")
    if since is not None and since.strip() != found.etag:  # clause 13.1.5: another one, so all of it
        field = None
    try:
        asked = ranges.wanted(field, found.size)
    except ranges.BadRange as error:
        return _said(416, str(error), {"content-range": f"bytes */{found.size}"})
    kind, status = "application/octet-stream", 206 if asked else 200
    if asked is None:
        length, body = found.size, _read(folder, name, (0, found.size))
    elif len(asked) == 1:
        length, body = asked[0][1] - asked[0][0], _read(folder, name, asked[0])
        whole["content-range"] = ranges.content_range(asked[0], found.size)
    else:
        mark = ranges.boundary()
        length, body = ranges.multipart(asked, found.size, mark, lambda one: _read(folder, name, one))
        kind = f"multipart/byteranges; boundary={mark}"
    headers = whole | {"content-length": str(length)}
    return StreamingResponse(body, status, headers, kind)


def _read(folder: Path, name: str, one: ranges.Range) -> Iterator[bytes]:
    with open_inside(folder, name) as file:
        file.seek(one[0])
        left = one[1] - one[0]
        while left:
            block = file.read(min(left, BLOCK))
            if not block:
                return
            left -= len(block)
            yield block


def _volume(
    request: Request, place: Path, step: int, found: Plan, decode: Decode, decoding: BoundedSemaphore
) -> Response:
    from starlette.responses import StreamingResponse

    if not decoding.acquire(timeout=30):
        return _said(503, "other volumes are being decoded; try again", {"retry-after": "5"})
    try:
        length, pieces = decode(place, step)
    finally:
        decoding.release()
    etag = f'"{hashlib.sha256(f"{found.etag}{step}".encode()).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "private, no-cache", "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == etag:
        return _said(304, "", headers)
    headers["x-volume-bytes"] = str(length)  # after unpacking, for a progress bar
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        pieces = _gzipped(pieces)
    return StreamingResponse(pieces, 200, headers, "application/octet-stream")


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _asset(request: Request, name: str) -> Response:
    from starlette.responses import Response as Bare

    body = (PAGE / name).read_bytes()
    headers = {"cache-control": "no-cache", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        packer = zlib.compressobj(6, wbits=31)
        body = packer.compress(body) + packer.flush()
        headers["content-encoding"] = "gzip"
    return Bare(body, 200, headers, ASSETS[name])


def _with_headers(app: Any) -> Any:
    """The application with SAFE on every answer."""
    fields = [(name.encode(), value.encode()) for name, value in SAFE.items()]

    async def safe(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), *fields]}
            await send(message)

        await app(scope, receive, sending)

    return safe
