"""DIMSE (PS3.7, PS3.8): C-ECHO and C-FIND to look, C-STORE to store; C-GET and C-MOVE stand in dimse_draw.py.

Every SOP class is proposed with one transfer syntax a presentation context, so that nothing is transcoded on the way:
a server that would rather have another syntax refuses the context, and that is said before anything is sent.
"""

from __future__ import annotations

import socket
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from slimscan.errors import ServerError
from slimscan.nouns import Needs
from slimscan.pacs.dimse_draw import GET, MOVE, Listen, draw, listening, promptly
from slimscan.pacs.noun import Address, Instance, Level, Row, Server, one_line
from slimscan.pacs.part10 import class_name, data_bytes, syntax_name

if TYPE_CHECKING:
    from pynetdicom.association import Association

NEEDS = Needs("pynetdicom", "pynetdicom", "pacs")
_ECHO = "1.2.840.10008.1.1"
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root
_CONTEXTS = 128  # of one association (PS3.8 9.3.2.2: odd numbers of one byte)
_RETURNS = {
    "STUDY": (
        "StudyInstanceUID PatientID PatientName StudyDate AccessionNumber ModalitiesInStudy StudyDescription"
        " NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances"
    ),
    "SERIES": (
        "StudyInstanceUID SeriesInstanceUID Modality SeriesNumber SeriesDescription NumberOfSeriesRelatedInstances"
    ),
    "IMAGE": "StudyInstanceUID SeriesInstanceUID SOPInstanceUID SOPClassUID",
}
_STATUS = {
    0x0105: "no such attribute",
    0x0110: "processing failure",
    0x0111: "it has an instance of that UID and does not store it again",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xA700: "out of resources",
    0xA701: "out of resources",
    0xA702: "out of resources",
    0xA801: "it does not know our AE title as a destination; its administrator adds AE title, host and port",
    0xA900: "data set does not match its SOP class",
}
_REJECTED = {  # (source, diagnostic) of A-ASSOCIATE-RJ, PS3.8 table 9-21
    (1, 2): "it does not speak our application context",
    (1, 3): "it does not know our AE title {calling}; --calling names another, or its administrator adds ours",
    (1, 7): "its AE title is not {called}; write the right one into dicom://CALLED@host:port",
    (3, 1): "it is busy (temporary congestion); ask again later",
    (3, 2): "it has as many associations as it allows; ask again later",
}
_CHUNKED = threading.Lock()


def open_dimse(place: Address, calling: str, timeout: float, listen: str | None) -> Server:
    """A server behind dicom://; nothing is said to it yet. MissingExtra without pynetdicom."""
    NEEDS.demand("DICOM network transfer")
    at: Listen | None = listening(listen) if listen is not None else None
    join = partial(associated, place, calling, timeout)
    return Server(
        name=place.name,
        rows=partial(_rows, join, place),
        draw=partial(draw, join, place, calling, at),
        admit=partial(_admit, join, place, at),
        send=partial(_send, join, place),
        echo=partial(_echo, join, place),
        close=lambda: None,
    )


@contextmanager
def associated(
    place: Address,
    calling: str,
    timeout: float,
    contexts: Sequence[tuple[str, Sequence[str]]],
    roles: Iterable[str] = (),
    handlers: Sequence[Any] = (),
    refused: str = "",
) -> Iterator[Association]:
    """An association with (abstract syntax, transfer syntaxes) proposed, released at the end, aborted on an error.

    roles: SOP classes for which we are the storing side (C-GET). ServerError when none comes about; refused: what it says
    when the server takes the association but none of the contexts.
    """
    from pynetdicom import AE, build_role, evt

    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = timeout
    for abstract, syntaxes in contexts:
        entity.add_requested_context(abstract, list(syntaxes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = entity.associate(
            place.host,
            place.port,
            ae_title=place.called,
            ext_neg=[build_role(role, scp_role=True) for role in roles],
            evt_handlers=[(evt.EVT_DATA_SENT, promptly), (evt.EVT_DATA_RECV, promptly), *handlers],
        )
        try:
            if not found.is_established:
                if refused and found.rejected_contexts and not found.is_rejected:
                    raise ServerError(f"{place.name}: {refused}")
                raise ServerError(_no_association(place, calling, timeout, found))
            yield found
            if found.is_established:
                found.release()
        finally:
            if found.is_established:
                found.abort()
            if found.dul.socket is not None:  # a connection that broke off inside a message is left open
                found.dul.socket.close()


def _no_association(place: Address, calling: str, timeout: float, found: Association) -> str:
    if found.is_rejected:
        answer: Any = found.acceptor.primitive
        reason = _REJECTED.get((answer.result_source, answer.diagnostic), "it gives no reason")
        return f"{place.name}: refuses the association: {reason.format(calling=calling, called=place.called)}"
    try:
        socket.create_connection((place.host, place.port), timeout).close()
    except TimeoutError:
        return f"{place.name}: does not answer within {timeout:g} s; --timeout gives it more"
    except OSError as error:
        why = "the host's name is unknown" if isinstance(error, socket.gaierror) else error.strerror or error
        return f"{place.name}: cannot be reached ({why}); is the server running, host and port right?"
    return f"{place.name}: takes the connection but makes no association; is that its DICOM port?"


def broken(place: Address, what: str) -> ServerError:
    """The error for an answer that did not come."""
    return ServerError(f"{place.name}: broke off during {what}, or did not answer in time; ask again (--timeout)")


def reason(status: Any) -> str:
    """A failure status (PS3.7 annex C) in words."""
    code = int(status.Status)
    word = _STATUS.get(code) or ("it cannot understand it" if 0xC000 <= code <= 0xCFFF else "failure")
    comment = one_line(status.get("ErrorComment", "") or "")
    return f"{word} ({code:04X}H{f', {comment}' if comment else ''})"


def _echo(join: Any, place: Address) -> str:
    with join([(_ECHO, _plain())], refused="refuses C-ECHO") as association:
        status = association.send_c_echo()
        if "Status" not in status:
            raise broken(place, "C-ECHO")
        if status.Status != 0:
            raise ServerError(f"{place.name}: answers C-ECHO with {reason(status)}")
    return f"{place.name} answers"


def _plain() -> list[str]:
    return ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


def _rows(join: Any, place: Address, level: Level, keys: Mapping[str, str]) -> list[Row]:
    """C-FIND in the Study Root model (PS3.4 C.4.1)."""
    from pydicom.dataset import Dataset

    asked = Dataset()
    if any(not value.isascii() for value in keys.values()):
        asked.SpecificCharacterSet = "ISO_IR 192"
    asked.QueryRetrieveLevel = level
    for keyword in _RETURNS[level].split():
        setattr(asked, keyword, "")
    for keyword, value in keys.items():
        setattr(asked, keyword, value.split("\\") if "\\" in value else value)
    found: list[Row] = []
    with join([(_FIND, _plain())], refused="refuses C-FIND; ask its administrator to allow queries") as association:
        for status, item in association.send_c_find(asked, _FIND):
            if "Status" not in status:
                raise broken(place, "C-FIND")
            if status.Status in (0xFF00, 0xFF01):
                if item is not None:
                    found.append(_row(item))
            elif status.Status != 0:
                raise ServerError(f"{place.name}: answers C-FIND with {reason(status)}")
    return found


def _row(item: Any) -> Row:
    row = {}
    for element in item:
        value = element.value
        if element.VR == "SQ" or value is None or value == "":
            continue
        values = value if element.VM > 1 else [value]
        row[element.keyword] = "\\".join(one_line(one, 4096) for one in values)
    return row


def _batches(instances: Iterable[Instance]) -> list[list[tuple[str, str]]]:
    pairs = list(dict.fromkeys((one.sop_class, one.syntax) for one in instances))
    return [pairs[at : at + _CONTEXTS] for at in range(0, len(pairs), _CONTEXTS)]


def _admit(join: Any, place: Address, at: Listen | None, instances: Iterable[Instance], back: bool) -> None:
    """ServerError when a SOP class and transfer syntax is refused, a data set cannot be sent in whole words, or, with
    back, nothing could be drawn afterwards.
    """
    instances = list(instances)
    for batch in _batches(instances):
        contexts = [(kind, [syntax]) for kind, syntax in batch]
        with join(contexts, refused=_not_taken(*batch[0])) as association:
            taken = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        for kind, syntax in batch:
            if (kind, syntax) not in taken:
                raise ServerError(f"{place.name}: {_not_taken(kind, syntax)}")
    if back:
        model, name, other = (
            (GET, "C-GET", "--listen PORT (C-MOVE)") if at is None else (MOVE, "C-MOVE", "C-GET (no --listen)")
        )
        said = (
            f"refuses {name}, so what is stored could not be fetched back and compared; nothing was stored;"
            f" use {other}, DICOMweb, or --no-verify"
        )
        with join([(model, _plain())], refused=said):
            pass
    odd = next((one for one in instances if data_bytes(one.path) % 2), None)
    if odd is not None:
        raise ServerError(
            f"{odd.path}: its data set has an odd number of bytes, which C-STORE cannot send; use DICOMweb"
        )


def _not_taken(kind: str, syntax: str) -> str:
    return (
        f"refuses {syntax_name(syntax)} for {class_name(kind)}; nothing was stored;"
        " DICOMweb may take it, or compress with a codec that it knows (jpeg2000, jpegls)"
    )


def _send(join: Any, place: Address, instances: Sequence[Instance]) -> Iterator[Instance]:
    """C-STORE (PS3.4 annex B), the data set's bytes straight from the file."""
    from pynetdicom import _config

    for batch in _batches(instances):
        wanted = [one for one in instances if (one.sop_class, one.syntax) in batch]
        with join([(kind, [syntax]) for kind, syntax in batch]) as association:
            for number, one in enumerate(wanted):
                try:
                    with _CHUNKED:
                        before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, True
                        try:
                            status = association.send_c_store(one.path, msg_id=number % 65535 + 1)
                        finally:
                            _config.STORE_SEND_CHUNKED_DATASET = before
                except (RuntimeError, ValueError, OSError) as error:
                    raise ServerError(f"{place.name}: {one.uid} was not stored ({one_line(error)})") from error
                if "Status" not in status:
                    raise broken(place, f"C-STORE of {one.uid}")
                if status.Status not in (0x0000, 0xB000, 0xB006, 0xB007):  # warnings: what came of it is compared later
                    raise ServerError(
                        f"{place.name}: refuses {one.uid} ({class_name(one.sop_class)}, {syntax_name(one.syntax)}):"
                        f" {reason(status)}"
                    )
                yield one
