"""Small archives in this process, and a wire that breaks: what a real server does wrong only now and then."""

from __future__ import annotations

import http.server
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
from commands import volume

import slimscan

CT = "1.2.840.10008.5.1.4.1.1.2"


def series(folder: Path, name: str = "one", slices: int = 4, **attributes: str) -> list[Path]:
    """A small CT-like series as native DICOM; attributes are set on every instance. UIDs follow from the name."""
    made = replace(volume((slices, 40, 44)), source=name)
    slimscan.write(made, f"{folder}/")
    given = {
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "StudyDate": "20240131",
        "Modality": "CT",
        "AccessionNumber": "A7",
        "StudyDescription": "CHEST",
        "SeriesDescription": "thin slices",
        **attributes,
    }
    paths = sorted(folder.iterdir())
    for path in paths:
        found = pydicom.dcmread(path)
        for keyword, value in given.items():
            setattr(found, keyword, value)
        found.save_as(path)
    return paths


def data_set(path: Path) -> bytes:
    """The bytes behind the file meta information."""
    from pynetdicom.dsutils import split_dataset

    return path.read_bytes()[split_dataset(path)[1] :]


def uids(path: Path) -> tuple[str, str, str]:
    """Study, series, instance."""
    found = pydicom.dcmread(path, stop_before_pixels=True)
    return str(found.StudyInstanceUID), str(found.SeriesInstanceUID), str(found.SOPInstanceUID)


# DICOMweb -----------------------------------------------------------------------------------------------------------


@dataclass
class Web:
    """held: SOP Instance UID -> file. stow: how many more are taken before the line goes dead. Hooks make it misbehave:
    body(bytes) of what is drawn, answer(path) -> (status, headers, content) or None for the usual answer.
    """

    url: str = ""
    held: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    stow: int | None = None
    body: Callable[[bytes], bytes] = lambda content: content
    answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda path: None


@contextmanager
def web_archive() -> Iterator[Web]:
    """A DICOMweb server of about sixty lines; it filters by UIDs only."""
    state = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._reply(self._get)

        def do_POST(self) -> None:
            self._reply(self._post)

        def _reply(self, make: Callable[[str], tuple[int, dict[str, str], bytes]]) -> None:
            state.asked.append((self.command, self.path, dict(self.headers)))
            odd = state.answer(self.path)
            status, headers, content = odd or make(self.path)
            if status == 0:  # the line goes dead
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            with suppress(OSError):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                if not headers.get("Content-Length", "1"):
                    self.close_connection = True

        def _get(self, path: str) -> tuple[int, dict[str, str], bytes]:
            bare, _, query = path.partition("?")
            words = bare.strip("/").split("/")
            found = {}
            for content in state.held.values():
                one = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
                own = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
                if all(want == own[k] for k, want in enumerate(words[1::2])):
                    found[own] = (one, content)
            if "multipart" in self.headers.get("Accept", ""):
                if not found:
                    return 404, {}, b""
                parts = b"".join(
                    b"--B\r\nContent-Type: application/dicom\r\n\r\n" + c + b"\r\n" for _, c in found.values()
                )
                kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=B', "Content-Length": ""}
                return 200, kind, state.body(parts + b"--B--\r\n")
            depth = {"studies": 1, "series": 2, "instances": 3}[words[-1]]
            rows = {own[:depth]: one for own, (one, _) in found.items()}
            if "SOPInstanceUID=" in query:
                rows = {own: one for own, one in rows.items() if own[-1] in query}
            if "offset=0" not in query:
                rows = {}
            keys = "PatientID PatientName StudyDate Modality StudyDescription SeriesDescription SOPClassUID"
            keys += " StudyInstanceUID SeriesInstanceUID SOPInstanceUID"
            listed = []
            for one in rows.values():
                chosen = pydicom.Dataset()
                for key in keys.split():
                    if key in one:
                        chosen[key] = one[key]
                listed.append(chosen.to_json_dict())
            return 200, {"Content-Type": "application/dicom+json"}, json.dumps(listed).encode()

        def _post(self, _path: str) -> tuple[int, dict[str, str], bytes]:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if state.stow == 0:
                return 0, {}, b""
            mark = self.headers["Content-Type"].split("boundary=")[1].encode()
            content = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + mark, 1)[0]
            uid = str(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID)
            state.held[uid] = content
            if state.stow is not None:
                state.stow -= 1
            item = {"00081155": {"vr": "UI", "Value": [uid]}}
            return 200, {}, json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# DIMSE --------------------------------------------------------------------------------------------------------------


@dataclass
class Scp:
    """held: SOP Instance UID -> data set. Hooks: store(event, kept so far) -> status or None for the usual; send(data
    set) -> what a C-GET delivers. abort: the line goes dead with this many stored.
    """

    url: str = ""
    held: dict[str, pydicom.Dataset] = field(default_factory=dict)
    status: int = 0
    abort: int | None = None
    find_status: int = 0
    deliver: Callable[[list[pydicom.Dataset]], list[pydicom.Dataset]] = lambda sent: sent


@contextmanager
def dimse_archive(
    syntaxes: tuple[str, ...] = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"), get: bool = True
) -> Iterator[Scp]:
    """An archive of about sixty lines that speaks C-ECHO, C-STORE, C-FIND and C-GET."""
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import (  # type: ignore[attr-defined]
        CTImageStorage,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
        Verification,
    )

    state = Scp()

    def matching(asked: pydicom.Dataset) -> list[pydicom.Dataset]:
        def good(one: pydicom.Dataset, keyword: str) -> bool:
            wanted = asked.get(keyword, "")
            wanted = [wanted] if isinstance(wanted, str) else list(wanted)
            return wanted in ([""], []) or one.get(keyword) in wanted

        return [
            one
            for one in list(state.held.values())
            if all(good(one, key) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        ]

    def store(event: evt.Event) -> int:
        if state.abort == len(state.held):
            event.assoc.abort()
            return 0xA700
        if state.status and len(state.held) >= 1:
            return state.status
        found = event.dataset
        found.file_meta = event.file_meta
        state.held[str(found.SOPInstanceUID)] = found
        return 0

    def find(event: evt.Event) -> Iterator[tuple[int, pydicom.Dataset | None]]:
        if state.find_status:
            yield state.find_status, None
            return
        own = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
        seen = set()
        for one in matching(event.identifier):
            row = pydicom.Dataset()
            for element in event.identifier:
                if element.keyword in one:
                    row[element.keyword] = one[element.keyword]
            name = one[own[event.identifier.QueryRetrieveLevel]].value
            if name not in seen:
                yield 0xFF00, row
            seen.add(name)

    def hand_out(event: evt.Event) -> Iterator[object]:
        sent = state.deliver(matching(event.identifier))
        yield len(sent)
        for one in sent:
            yield 0xFF00, one

    entity = AE("ARCHIVE")
    entity.require_called_aet = True
    entity.add_supported_context(Verification)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    if get:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_supported_context(CTImageStorage, list(syntaxes), scu_role=True, scp_role=True)
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.7", list(syntaxes), scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_C_FIND, find), (evt.EVT_C_GET, hand_out)],
    )
    assert server is not None
    state.url = f"dicom://ARCHIVE@127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()


# A wire that breaks --------------------------------------------------------------------------------------------------


@contextmanager
def broken_wire(port: int, *, up: int | None = None, down: int | None = None) -> Iterator[int]:
    """A port that passes bytes on to `port`, and breaks for good once so many went up (to the server) or down."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    left = {"up": up, "down": down}
    dead, stop = threading.Event(), threading.Event()
    open_now: list[socket.socket] = []
    lock = threading.Lock()

    def cut() -> None:
        dead.set()
        for one in open_now:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def pump(source: socket.socket, sink: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                with lock:
                    budget = left[way]
                    if budget is not None:
                        left[way] = budget - len(data)
                if budget is not None and len(data) > budget:
                    sink.sendall(data[:budget])
                    cut()
                    return
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while not stop.is_set():
            try:
                near, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if dead.is_set():
                near.close()
                continue
            near.settimeout(None)
            far = socket.create_connection(("127.0.0.1", port))
            open_now.extend((near, far))
            for source, sink, way in ((near, far, "up"), (far, near, "down")):
                thread = threading.Thread(target=pump, args=(source, sink, way), daemon=True)
                thread.start()
                threads.append(thread)

    threads: list[threading.Thread] = []
    main = threading.Thread(target=serve)
    main.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        cut()
        main.join()
        for thread in threads:
            thread.join(5)
        for one in (*open_now, listener):
            one.close()
