"""C-GET and C-MOVE: instances drawn from a server, in the transfer syntax in which it stores them.

C-GET delivers on our own association. C-MOVE delivers to a port of ours that the server must know by our AE title;
the storage SCP behind it lives only while something is drawn. It writes data sets as they come, parses nothing, and
takes no more instances than are expected.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimscan.errors import InputError, ServerError
from slimscan.pacs.noun import Address, one_line
from slimscan.pacs.part10 import class_name

INSTANCE_LIMIT = 2 << 30  # bytes of one instance: it is held in memory until it is whole
INSTANCES_LIMIT = 100_000
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root
GET = "1.2.840.10008.5.1.4.1.2.2.3"
_CONTEXTS = 127  # beside the one of C-GET itself
_PDU = 1 << 17  # bytes: fewer, larger pieces than the default of 16 kB
_POLL = 0.05  # seconds until the end of the transfer is seen
_REFUSED = 0xA700


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server delivers."""

    host: str
    port: int


@dataclass
class _Drawn:
    """What has come so far. came: bytes since the last whole instance; error: what went wrong on our side."""

    folder: Path
    limit: int
    paths: list[Path] = field(default_factory=list)
    came: int = 0
    error: Exception | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, event: Any) -> int:
        """EVT_C_STORE: the data set as it came, behind a file meta of our own."""
        with self.lock:
            self.came = 0
            if len(self.paths) >= self.limit:
                self.error = self.error or ServerError(f"sends more than the {self.limit} instances that it lists")
                return _REFUSED
            path = self.folder / f"{len(self.paths):06d}.dcm"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    path.write_bytes(event.encoded_dataset())
            except Exception as error:  # noqa: BLE001 in a thread of the network's; told when the transfer ends
                self.error = self.error or error
                return _REFUSED
            self.paths.append(path)
            return 0

    def count(self, event: Any) -> None:
        """EVT_DATA_RECV: an endless instance is stopped before it fills the memory."""
        promptly(event)
        self.came += len(event.data)
        if self.came > INSTANCE_LIMIT:
            self.error = self.error or ServerError(
                f"one instance is larger than {INSTANCE_LIMIT >> 30} GiB; it is refused"
            )
            event.assoc.abort()


def promptly(event: Any) -> None:
    """Small messages go to and fro: packets that wait to be filled, and receipts that wait for company, cost 40 ms each."""
    with suppress(AttributeError, OSError):  # where a system has no such option
        wire = event.assoc.dul.socket.socket
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def listening(text: str) -> Listen:
    """ "[HOST:]PORT" parsed; InputError for anything else."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f'--listen "{one_line(text)}": want PORT or HOST:PORT, for example 11113')
    return Listen(host.strip("[]"), int(port))


def draw(
    join: Any,
    place: Address,
    calling: str,
    listen: Listen | None,
    study: str,
    series: str,
    uids: Sequence[str] | None,
    folder: Path,
    classes: frozenset[str] = frozenset(),
    expected: int = INSTANCES_LIMIT,
) -> list[Path]:
    """Write what is drawn into the folder, numbered. ServerError: refused, broken off, or not all delivered."""
    drawn = _Drawn(folder, len(uids) if uids is not None else expected)
    asked = [_identifier(study, series, uid) for uid in (uids if uids is not None else [None])]
    try:
        if listen is None:
            _get(join, place, asked, drawn, classes)
        else:
            _move(join, place, calling, listen, asked, drawn)
    except ServerError:
        if drawn.error is None:
            raise
    if isinstance(drawn.error, ServerError):
        raise ServerError(f"{place.name}: {drawn.error}")
    if drawn.error is not None:
        raise drawn.error
    return drawn.paths


def _identifier(study: str, series: str, uid: str | None) -> Any:
    from pydicom.dataset import Dataset

    asked = Dataset()
    asked.QueryRetrieveLevel = "SERIES" if uid is None else "IMAGE"
    asked.StudyInstanceUID, asked.SeriesInstanceUID = study, series
    if uid is not None:
        asked.SOPInstanceUID = uid
    return asked


def syntaxes() -> list[str]:
    """Every transfer syntax that pydicom or this project knows, compressed ones first.

    As the acceptor of C-MOVE we choose the first of ours that the server offers: what it would have to decode comes last.
    """
    from pydicom import uid as known

    native = ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
    more = [f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112, 201, 202, 203)] + ["1.2.840.10008.1.2.8.1"]
    packed = [str(one) for one in known.AllTransferSyntaxes if str(one) not in native]
    return [*dict.fromkeys([*packed, *more]), *native]


def _get(join: Any, place: Address, asked: Sequence[Any], drawn: _Drawn, classes: frozenset[str]) -> None:
    from pynetdicom import evt

    kinds = sorted(classes) or _usual()
    wanted = syntaxes()
    while len(kinds) * len(wanted) > _CONTEXTS and any(".4.10" in one for one in wanted[:-4]):
        wanted = [one for one in wanted if ".4.10" not in one]  # video
    if len(kinds) * len(wanted) > _CONTEXTS:
        raise ServerError(
            f"{place.name}: a series of {len(kinds)} SOP classes is more than C-GET can negotiate without transcoding;"
            " use --listen PORT (C-MOVE) or DICOMweb"
        )
    contexts = [(GET, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])]
    contexts += [(kind, [syntax]) for kind in kinds for syntax in wanted]
    handlers = [(evt.EVT_C_STORE, drawn.store), (evt.EVT_DATA_RECV, drawn.count)]
    refused = "refuses C-GET; use --listen PORT (C-MOVE), or DICOMweb"
    with join(contexts, kinds, handlers, refused) as association:
        if all(context.abstract_syntax != GET for context in association.accepted_contexts):
            raise ServerError(f"{place.name}: {refused}")
        for item in asked:
            _followed(place, "C-GET", association.send_c_get(item, GET), kinds)


def _usual() -> list[str]:
    """Image classes for a server that does not say which it holds."""
    return [f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "7")]


def _move(join: Any, place: Address, calling: str, listen: Listen, asked: Sequence[Any], drawn: _Drawn) -> None:
    contexts = [(MOVE, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])]
    refused = "refuses C-MOVE; leave --listen out (C-GET), or use DICOMweb"
    with _taking(place, calling, listen, drawn), join(contexts, refused=refused) as association:
        for item in asked:
            _followed(place, "C-MOVE", association.send_c_move(item, calling, MOVE), [], calling, listen)


@contextmanager
def _taking(place: Address, calling: str, listen: Listen, drawn: _Drawn) -> Iterator[None]:
    """A storage SCP of our own, gone at the end."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.transport import ThreadedAssociationServer

    entity = AE(calling)
    entity.require_called_aet = True
    entity.maximum_pdu_size = _PDU
    known = syntaxes()
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), known)
    handlers: list[Any] = [
        (evt.EVT_C_STORE, drawn.store),
        (evt.EVT_DATA_RECV, drawn.count),
        (evt.EVT_DATA_SENT, promptly),
    ]
    try:
        server = entity.make_server(
            (listen.host, listen.port), evt_handlers=handlers, server_class=ThreadedAssociationServer
        )
    except OSError as error:
        raise InputError(
            f"--listen {listen.host + ':' if listen.host else ''}{listen.port}: cannot be listened on"
            f" ({error.strerror}); give the port that {place.name} knows for {calling}, unused by others"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(_POLL,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        socketserver.BaseServer.shutdown(server)
        server.server_close()
        thread.join()
        for association in server.active_associations:  # some servers keep theirs open for a while
            association.abort()


def _followed(
    place: Address,
    what: str,
    answers: Iterator[Any],
    kinds: Sequence[str],
    calling: str = "",
    listen: Listen | None = None,
) -> None:
    """Wait for the last answer; ServerError when it is none, a failure, or counts failed deliveries."""
    from slimscan.pacs.dimse import broken, reason

    for status, _ in answers:
        if "Status" not in status:
            raise broken(place, what)
        if status.Status == 0xFF00:
            continue
        failed = int(status.get("NumberOfFailedSuboperations") or 0)
        if status.Status in (0x0000, 0xB000) and not failed:
            continue
        hint = ""
        if what == "C-MOVE" and listen is not None:
            hint = (
                f"; does it know {calling} as a destination, with this host and port {listen.port}? where it cannot send"
                " a transfer syntax, DICOMweb may"
            )
        elif failed:
            names = ", ".join(class_name(kind) for kind in kinds)
            hint = f"; expected {names}; where it cannot send a transfer syntax, DICOMweb may"
        count = f", {failed} not delivered" if failed else ""
        raise ServerError(f"{place.name}: answers {what} with {reason(status)}{count}{hint}")
