"""One HTTP request and everything that can go wrong with it, in one line.

Redirections are not followed, and .netrc is not read: credentials go where they were meant to go.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slimscan.errors import InputError, ServerError
from slimscan.pacs.multipart import CutOff
from slimscan.pacs.noun import Address, one_line

if TYPE_CHECKING:
    import requests


def credentials() -> str:
    """The Authorization header from the environment, "" without any; InputError for half a pair or an odd token."""
    import base64

    token, user = os.environ.get("SLIMSCAN_PACS_TOKEN"), os.environ.get("SLIMSCAN_PACS_USER")
    password = os.environ.get("SLIMSCAN_PACS_PASSWORD")
    if token:
        if not token.isprintable():
            raise InputError("SLIMSCAN_PACS_TOKEN holds characters that no token has; set it again")
        return f"Bearer {token}"
    if (user is None) != (password is None):
        raise InputError("want SLIMSCAN_PACS_USER and SLIMSCAN_PACS_PASSWORD together, or neither")
    if user is None or password is None:
        return ""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def signed(credentials: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request with the header, as requests wants its `auth`: given at all, .netrc is not read."""
    if credentials:
        request.headers["Authorization"] = credentials
    return request


@contextmanager
def ask(
    session: requests.Session,
    place: Address,
    timeout: float,
    method: str,
    path: str,
    allowed: Sequence[int],
    **more: Any,
) -> Iterator[requests.Response]:
    """One request, its answer open for reading; ServerError in one line for whatever goes wrong, inside too."""
    import requests
    import urllib3

    try:
        with session.request(
            method, f"{place.name}{path}", timeout=timeout, stream=True, allow_redirects=False, **more
        ) as answer:
            if answer.status_code not in allowed:
                raise ServerError(_refusal(place, answer))
            yield answer
    except requests.exceptions.SSLError as error:
        raise ServerError(
            f"{place.name}: its TLS certificate is not trusted ({_cause(error)}); REQUESTS_CA_BUNDLE names the file"
            " of your own authority"
        ) from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise ServerError(f"{place.name}: does not answer within {timeout:g} s; --timeout gives it more") from error
    except CutOff as error:
        raise ServerError(f"{place.name}: broke off half-way: {error}; ask again") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        if _unreached(error):
            raise ServerError(
                f"{place.name}: cannot be reached ({_cause(error)}); is the server running, host and port right?"
            ) from error
        raise ServerError(f"{place.name}: broke off half-way ({_cause(error)}); ask again") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ServerError(f"{place.name}: the request failed ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """The innermost reason in words, without addresses of objects and numbers of errors."""
    seen: list[BaseException] = []
    inner: Any = error
    while isinstance(inner, BaseException) and inner not in seen and len(seen) < 8:
        seen.append(inner)
        held = [getattr(inner, "reason", None), *inner.args, inner.__cause__, inner.__context__]
        inner = next((one for one in held if isinstance(one, BaseException)), None)
    if any("resolve" in type(one).__name__.lower() or isinstance(one, socket.gaierror) for one in seen):
        return "the host's name is unknown"
    system = [one for one in seen if isinstance(one, OSError) and one.strerror and isinstance(one.errno, int)]
    return one_line(system[-1].strerror if system else seen[-1])


def _unreached(error: BaseException) -> bool:
    """Whether no connection came about at all."""
    import urllib3

    inner: Any = error
    for _ in range(6):
        if isinstance(inner, urllib3.exceptions.NewConnectionError):
            return True
        inner = getattr(inner, "reason", None) or next(
            (a for a in getattr(inner, "args", ()) if isinstance(a, Exception)), None
        )
    return False


def _refusal(place: Address, answer: requests.Response) -> str:
    status = answer.status_code
    if status == 401:
        return (
            f"{place.name}: asks for other credentials (401); set SLIMSCAN_PACS_USER and SLIMSCAN_PACS_PASSWORD,"
            " or SLIMSCAN_PACS_TOKEN"
        )
    if status == 403:
        return f"{place.name}: does not allow that to this user (403); ask its administrator"
    if 300 <= status < 400:
        return f"{place.name}: has moved to {one_line(answer.headers.get('Location', 'nowhere'))} ({status}); use that address"
    if status == 404:
        return f"{place.name}: knows nothing there (404); is the path right (often /dicom-web), and the UID?"
    if status == 406:
        return f"{place.name}: cannot give the bytes as they are stored (406, transfer-syntax=*); use dicom:// instead"
    return f"{place.name}: answers {status} {one_line(answer.reason)}: {_said(answer)}".rstrip(": ")


def _said(answer: requests.Response) -> str:
    """What the server says in words, a little of it."""
    try:
        text = answer.raw.read(4096, decode_content=True).decode("utf-8", "replace")
    except Exception:  # noqa: BLE001 the status is enough
        return ""
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    words = [str(found[key]) for key in ("Details", "Message", "message", "error") if key in found]
    return one_line(words[0]) if isinstance(found, dict) and words else ""
