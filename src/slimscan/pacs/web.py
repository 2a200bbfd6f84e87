"""DICOMweb (PS3.18): QIDO-RS to look, WADO-RS to draw the stored bytes, STOW-RS to store, one instance a request.

Plain HTTP, because libraries that parse what they draw cannot hand over the bytes that the server holds.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from slimscan.errors import ServerError
from slimscan.nouns import Needs
from slimscan.pacs import http
from slimscan.pacs.multipart import boundary, parts
from slimscan.pacs.noun import Address, Instance, Level, Row, Server, one_line
from slimscan.pacs.part10 import class_name, syntax_name

if TYPE_CHECKING:
    import requests

NEEDS = Needs("requests", "requests", "pacs")
INSTANCE_LIMIT = 8 << 30  # bytes of one instance that a server may send
_JSON_LIMIT = 256 << 20
_PAGE = 1000
_BLOCK = 1 << 20
_ROWS = {
    "STUDY": ("studies", ("StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")),
    "SERIES": ("series", ("SeriesDescription", "NumberOfSeriesRelatedInstances")),
    "IMAGE": ("instances", ()),
}
_OWN = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_EXACT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# FailureReason and WarningReason (0008,1197), PS3.18 table 10.5.3-2 and PS3.3 C.14.1.1.
_REASONS = {
    0x0110: "processing failure",
    0x0111: "it has an instance of that UID and does not store it again",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xA700: "out of resources",
    0xA900: "data set does not match its SOP class",
    0xC000: "it cannot understand it",
    0xC122: "transfer syntax not supported",
}


def open_web(place: Address, timeout: float) -> Server:
    """A DICOMweb server; nothing is said to it yet.

    Credentials come from the environment: SLIMSCAN_PACS_TOKEN (bearer), or SLIMSCAN_PACS_USER and
    SLIMSCAN_PACS_PASSWORD (basic). MissingExtra without requests; InputError for half a pair.
    """
    NEEDS.demand("DICOMweb")
    import requests

    session = requests.Session()
    session.auth = partial(http.signed, http.credentials())
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "slimscan"})
    ask = partial(http.ask, session, place, timeout)
    return Server(
        name=place.name,
        rows=partial(_rows, ask, place),
        draw=partial(_draw, ask, place),
        admit=lambda _instances, _back: None,  # DICOMweb negotiates nothing beforehand
        send=partial(_send, ask, place),
        echo=partial(_echo, ask, place),
        close=session.close,
    )


def _echo(ask: Any, place: Address) -> str:
    with ask("GET", "/studies", (200, 204), params={"limit": "1"}, headers={"Accept": "application/dicom+json"}):
        return f"{place.name} answers"


def _rows(ask: Any, place: Address, level: Level, keys: Mapping[str, str]) -> list[Row]:
    """QIDO-RS (PS3.18 10.6), page by page until nothing new comes."""
    resource, included = _ROWS[level]
    # A list of UIDs is joined by commas here (PS3.18 8.3.4.1).
    wanted, path = {key: v.replace("\\", ",") if key.endswith("UID") else v for key, v in keys.items()}, ""
    for parent, segment in (("StudyInstanceUID", "studies"), ("SeriesInstanceUID", "series")):
        if parent != _OWN[level] and wanted.get(parent):
            path += f"/{segment}/{quote(wanted.pop(parent), safe='')}"
    fields = [("includefield", field) for field in included]
    found: dict[str, Row] = {}
    while True:
        params = [*wanted.items(), *fields, ("limit", str(_PAGE)), ("offset", str(len(found)))]
        with ask(
            "GET", f"{path}/{resource}", (200, 204), params=params, headers={"Accept": "application/dicom+json"}
        ) as answer:
            page = [] if answer.status_code == 204 else _json(place, answer)
            short = len(page) < _PAGE and "Warning" not in answer.headers
        rows = [_row(item) for item in page if isinstance(item, dict)]
        new = {key: row for row in rows if (key := row.get(_OWN[level], "")) and key not in found}
        found |= new
        if short or not new:
            return list(found.values())


def _json(place: Address, answer: requests.Response) -> list[Any]:
    kept = bytearray()
    for block in answer.iter_content(_BLOCK):
        kept += block
        if len(kept) > _JSON_LIMIT:
            raise ServerError(f"{place.name}: its answer is longer than 256 MB; narrow the search")
    try:
        found = json.loads(bytes(kept) or b"[]")
    except ValueError:
        found = None
    if not isinstance(found, list):
        kind = one_line(answer.headers.get("Content-Type", "nothing"))
        raise ServerError(f"{place.name}: answers no DICOM JSON but {kind}; is this the DICOMweb root?")
    return found


def _row(item: Mapping[str, Any]) -> Row:
    """DICOM JSON (PS3.18 F.2) as keyword -> text."""
    from pydicom.datadict import keyword_for_tag

    row = {}
    for tag, element in item.items():
        try:
            keyword = keyword_for_tag(int(tag, 16))
        except ValueError:
            continue
        values = element.get("Value") if isinstance(element, dict) else None
        if keyword and isinstance(values, list):
            texts = [v.get("Alphabetic", "") if isinstance(v, dict) else v for v in values if v is not None]
            row[keyword] = "\\".join(one_line(text, 4096) for text in texts)
    return row


def _draw(
    ask: Any,
    place: Address,
    study: str,
    series: str,
    uids: Sequence[str] | None,
    folder: Path,
    _classes: frozenset[str] = frozenset(),
) -> list[Path]:
    """WADO-RS (PS3.18 10.4) with transfer-syntax=*: as stored, nothing transcoded."""
    path = f"/studies/{study}/series/{series}"
    written: list[Path] = []
    for one in [path] if uids is None else [f"{path}/instances/{uid}" for uid in uids]:
        with ask("GET", one, (200,), headers={"Accept": _EXACT}) as answer:
            kind = answer.headers.get("Content-Type", "")
            delimiter = boundary(kind)
            blocks = answer.iter_content(_BLOCK)
            if delimiter is None and not kind.startswith("application/dicom"):
                raise ServerError(f"{place.name}: sends {one_line(kind) or 'nothing'} instead of DICOM files")
            if "json" in kind:
                raise ServerError(f"{place.name}: sends {one_line(kind)} instead of DICOM files")
            for body in [blocks] if delimiter is None else parts(blocks, delimiter):
                written.append(_kept(place, body, folder / f"{len(written):06d}.dcm"))
    return written


def _kept(place: Address, body: Iterable[bytes], path: Path) -> Path:
    count = 0
    with path.open("wb") as file:
        for block in body:
            count += len(block)
            if count > INSTANCE_LIMIT:
                raise ServerError(
                    f"{place.name}: one instance is larger than {INSTANCE_LIMIT >> 30} GiB; it is refused"
                )
            file.write(block)
    return path


class _Body:
    """One file as multipart/related, of known length, read while it is sent."""

    def __init__(self, path: Path, size: int, delimiter: str) -> None:
        self.path = path
        self.head = f"--{delimiter}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self.tail = f"\r\n--{delimiter}--\r\n".encode()
        self.size = size

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
        yield self.tail


def _send(ask: Any, place: Address, instances: Sequence[Instance]) -> Iterator[Instance]:
    """STOW-RS (PS3.18 10.5), one instance a request: what is stored is known exactly, whenever it breaks off."""
    for one in instances:
        delimiter = f"slimscan-{secrets.token_hex(16)}"
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={delimiter}',
            "Accept": "application/dicom+json",
        }
        body = _Body(one.path, one.bytes, delimiter)
        with ask("POST", f"/studies/{one.study}", (200, 202, 400, 409), data=body, headers=headers) as answer:
            reason = _stow_refusal(answer)
        if reason:
            raise ServerError(
                f"{place.name}: refuses {one.uid} ({class_name(one.sop_class)}, {syntax_name(one.syntax)}): {reason}"
            )
        yield one


def _stow_refusal(answer: requests.Response) -> str:
    """Why the one instance was not stored; "" when it was (PS3.18 10.5.3)."""
    kept = b""
    for block in answer.iter_content(_BLOCK):
        kept += block
        if len(kept) > _BLOCK:
            break
    try:
        found = json.loads(kept)
        found = found[0] if isinstance(found, list) else found
        failed = found.get("00081198", {}).get("Value") or []
        stored = found.get("00081199", {}).get("Value") or []
    except (ValueError, AttributeError, IndexError):
        return "" if answer.status_code == 200 else f"it answers {answer.status_code} without a reason"
    if failed:
        try:
            code = int(failed[0]["00081197"]["Value"][0])
        except (KeyError, IndexError, TypeError, ValueError):
            return "it gives no reason"
        return f"{_REASONS.get(code, 'reason')} ({code:04X}H)"
    return "" if stored or answer.status_code == 200 else f"it answers {answer.status_code} without a reason"
