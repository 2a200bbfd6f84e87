"""A server on the loopback for two slides side by side: squares of either and of their difference, and the page.

    GET /                      the page
    GET /slides                {"a": {...}, "b": {...}}
    GET /tile/S/LEVEL/COL_ROW  a PNG; S is a (source), b (result) or d (their difference)

Errors are one sentence of text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slimscan.errors import InputError, ServerError, SlimscanError
from slimscan.nouns.slide import Slide
from slimscan.report.slide_tiles import PAGE, admit, difference, png, square, told
from slimscan.wire.gate import right_host
from slimscan.wire.server import NEEDS, SAFE, SETTINGS, listen

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "txt": "text/plain"}
ASSETS = (
    "index.html",
    "page.js",
    "page.css",
    "openseadragon.min.js",
    "OPENSEADRAGON-LICENSE.txt",
    "OPENSEADRAGON-THIRD-PARTY.txt",
)
# OpenSeadragon adds one style sheet of its own (no focus ring on touch screens), which the policy lets in by its hash.
OWN_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
SAFE_HERE = SAFE | {
    "content-security-policy": f"default-src 'none'; script-src 'self'; style-src 'self' {OWN_STYLE}; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}  # fmt: skip


def application(one: Slide, other: Slide) -> Any:
    """The ASGI application. InputError: slides of two sizes; MissingExtra without starlette."""
    for need in NEEDS:
        need.demand("showing slides side by side")
    admit(one, other)
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.responses import Response as Bare
    from starlette.routing import Route

    def guarded(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def admit_request(request: Request) -> Response:
            if not right_host(request.headers.get("host"), ""):
                return PlainTextResponse("this server answers to localhost only\n", 421, SAFE_HERE)
            try:
                return answer(request)
            except InputError as error:
                return PlainTextResponse(f"{error}\n", 404, SAFE_HERE)
            except SlimscanError as error:
                return PlainTextResponse(f"{error}\n", 422, SAFE_HERE)

        return admit_request

    def asset(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in ASSETS:
            raise InputError("not found")
        kind = KINDS[name.rpartition(".")[2]]
        return Bare(
            (PAGE / name).read_bytes(), 200, SAFE_HERE | {"cache-control": "no-cache"}, f"{kind}; charset=utf-8"
        )

    def slides(_request: Request) -> Response:
        return JSONResponse({"a": told(one), "b": told(other)}, headers=SAFE_HERE)

    def tile(request: Request) -> Response:
        said = request.path_params
        where = (said["level"], said["col"], said["row"])
        if said["side"] == "d":
            pixels = difference(one, other, *where)
        elif said["side"] in ("a", "b"):
            pixels = square(one if said["side"] == "a" else other, *where)
        else:
            raise InputError("a square is of a, b or d")
        return Bare(png(pixels), 200, SAFE_HERE | {"cache-control": "private, max-age=60"}, "image/png")

    return Starlette(
        routes=[
            Route("/", guarded(asset)),
            Route("/page/{name}", guarded(asset)),
            Route("/slides", guarded(slides)),
            Route("/tile/{side}/{level:int}/{col:int}_{row:int}", guarded(tile)),
        ]
    )


def run(one: Slide, other: Slide, port: int, ready: Callable[[int], None]) -> None:
    """Serve on 127.0.0.1 until stopped; ready is told the port. ServerError: the port is taken."""
    made, listening = _made(one, other, port)
    ready(listening.getsockname()[1])
    made.run(sockets=[listening])


@contextmanager
def serving(one: Slide, other: Slide) -> Iterator[int]:
    """The server in a thread of this process; its port."""
    made, listening = _made(one, other, 0)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [listening]}, daemon=True, name="slides")
    thread.start()
    try:
        end = time.monotonic() + 20
        while not made.started and time.monotonic() < end:
            time.sleep(0.02)
        yield listening.getsockname()[1]
    finally:
        made.should_exit = True
        thread.join(10)
        listening.close()


def _made(one: Slide, other: Slide, port: int) -> tuple[Any, Any]:
    app = application(one, other)
    import uvicorn

    listening = listen("127.0.0.1", port)
    if listening is None:
        raise ServerError(
            f"port {port} on this machine is taken or not allowed; choose another with --port, 0 takes a free one"
        )
    return uvicorn.Server(uvicorn.Config(app, **SETTINGS)), listening
