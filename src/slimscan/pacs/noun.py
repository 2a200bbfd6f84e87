"""What this room speaks of: an address, an instance, and a server as a record of functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from slimscan.errors import InputError

Level = Literal["STUDY", "SERIES", "IMAGE"]
Row = Mapping[str, str]  # keyword -> text, values joined by a backslash; missing when the server did not say

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")  # VR AE: printable, no backslash, at most 16
_ALLOWED = "http(s)://host:port/dicom-web, or dicom://CALLED@host:port"


@dataclass(frozen=True, slots=True)
class Address:
    """kind "web": url is the DICOMweb root. kind "dimse": called is the server's AE title. name: for messages."""

    kind: Literal["web", "dimse"]
    name: str
    host: str
    port: int
    called: str = ""

    @property
    def secure(self) -> bool:
        """Whether what is said travels encrypted."""
        return self.name.startswith("https://")


@dataclass(frozen=True, slots=True)
class Instance:
    """One SOP instance. syntax: its transfer syntax; path, bytes: where it lies; empty for one only heard of."""

    study: str
    series: str
    uid: str
    sop_class: str = ""
    syntax: str = ""
    path: Path = Path()
    bytes: int = 0


@dataclass(frozen=True)
class Server:
    """An archive that answers.

    rows(level, keys): what matches; keys are keyword -> wanted text, parents' UIDs among them; empty when nothing does.
    draw(study, series, uids, folder): writes instances as Part 10 files into an empty folder, as they are stored there,
    under names that are ours; uids None draws the whole series. classes: SOP classes that are expected.
    admit(instances, back): ServerError, before anything is sent, when a kind of them would be refused, or, with back, when
    nothing can be drawn afterwards.
    send(instances): stores one after the other and yields each that is stored; ServerError when one is not.
    echo(): one line that says who answers. close(): ends connections.
    """

    name: str
    rows: Callable[[Level, Mapping[str, str]], list[Row]]
    draw: Callable[[str, str, Sequence[str] | None, Path, frozenset[str]], list[Path]]
    admit: Callable[[Iterable[Instance], bool], None]
    send: Callable[[Sequence[Instance]], Iterator[Instance]]
    echo: Callable[[], str]
    close: Callable[[], None]


def address(text: str) -> Address:
    """An address in words, parsed; InputError with what is allowed. A password in it is refused and not repeated."""
    plain = "@" not in text or re.fullmatch(r"\w+:/+[^:@]*@[^@]*", text)
    shown = text if plain else re.sub(r"^(\w+:/+)?.*@", r"\1...@", text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InputError(f"{shown}: is no address of a server; want {_ALLOWED}") from None
    if parts.scheme in ("http", "https"):
        if parts.username is not None:
            raise InputError(
                f"{parts.scheme}://{parts.hostname}: names and passwords do not belong into an address;"
                " set SLIMSCAN_PACS_USER and SLIMSCAN_PACS_PASSWORD, or SLIMSCAN_PACS_TOKEN"
            )
        if not parts.hostname or parts.query or parts.fragment:
            raise InputError(f"{shown}: is no address of a server; want {_ALLOWED}")
        default = 443 if parts.scheme == "https" else 80
        return Address("web", text.rstrip("/"), parts.hostname, port or default)
    if parts.scheme == "dicom":
        if not parts.hostname or not parts.username or not port or parts.path not in ("", "/") or parts.password:
            raise InputError(f"{shown}: want dicom://CALLED@host:port, CALLED being the server's AE title")
        return Address("dimse", text.rstrip("/"), parts.hostname, port, title(parts.username, "called"))
    raise InputError(f"{shown}: is no address of a server; want {_ALLOWED}")


def title(text: str, which: str) -> str:
    """An application entity title (PS3.5 6.2, VR AE); InputError for anything else."""
    if not _TITLE.fullmatch(text):
        raise InputError(f'{which} AE title "{one_line(text)}": want 1 to 16 printable characters without backslash')
    return text


def uid(text: str, which: str) -> str:
    """A UID: digits and dots, at most 64 (PS3.5 9.1), so that it is also a safe file name; InputError otherwise."""
    if len(text) > 64 or not _UID.fullmatch(text):
        raise InputError(f'{which} "{one_line(text)[:80]}" is no UID; want digits and dots, at most 64')
    return text


def one_line(text: object, limit: int = 200) -> str:
    """Text from a server, safe to print: no control characters, no line ends, not endless."""
    flat = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * limit])
    return " ".join(flat.split())[:limit]
