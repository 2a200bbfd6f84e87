"""Talking to an archive: what is asked, what is believed, and what is said when it goes wrong. No server is needed."""

from __future__ import annotations

import base64
from pathlib import Path

import pydicom
import pytest
from archive import CT, broken_wire, data_set, dimse_archive, series, uids, web_archive
from commands import here, listing
from hypothesis import given
from hypothesis import strategies as st
from orthanc import free_ports

from slimscan import pacs
from slimscan.errors import InputError, ServerError
from slimscan.pacs import part10, search
from slimscan.pacs.dimse_draw import syntaxes
from slimscan.pacs.multipart import CutOff, boundary, parts
from slimscan.pacs.noun import Instance, Server, address, one_line, uid
from slimscan.press.pacs_fetch import fetch
from slimscan.press.pacs_store import BYTES, ELEMENTS, store

pytest.importorskip("pynetdicom", reason='pynetdicom is not installed: pip install "slimscan[pacs]"')
pytest.importorskip("requests", reason='requests is not installed: pip install "slimscan[pacs]"')


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"SLIMSCAN_PACS_{name}", raising=False)


# Words -------------------------------------------------------------------------------------------------------------


def test_addresses() -> None:
    assert address("http://pacs:8042/dicom-web/") == pacs.Address("web", "http://pacs:8042/dicom-web", "pacs", 8042)
    assert address("https://pacs/rs").port == 443
    assert address("https://pacs/rs").secure
    assert address("dicom://ORTHANC@10.0.0.7:4242") == pacs.Address(
        "dimse", "dicom://ORTHANC@10.0.0.7:4242", "10.0.0.7", 4242, "ORTHANC"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "ftp://x/y",
            "ftp://x/y: is no address of a server; want http(s)://host:port/dicom-web, or dicom://CALLED@host:port",
        ),
        ("dicom://host:104", "dicom://host:104: want dicom://CALLED@host:port, CALLED being the server's AE title"),
        ("dicom://A@host", "dicom://A@host: want dicom://CALLED@host:port, CALLED being the server's AE title"),
        (
            "dicom://SEVENTEEN_LETTERS@h:1",
            'called AE title "SEVENTEEN_LETTERS": want 1 to 16 printable characters without backslash',
        ),
        (
            "http://h:99999/x",
            "http://h:99999/x: is no address of a server; want http(s)://host:port/dicom-web, or dicom://CALLED@host:port",
        ),
        (
            "http://h/x?y=1",
            "http://h/x?y=1: is no address of a server; want http(s)://host:port/dicom-web, or dicom://CALLED@host:port",
        ),
    ],
)
def test_impossible_addresses(text: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        address(text)
    assert str(told.value) == said


@pytest.mark.parametrize(
    "text",
    [
        "https://me:s3cret@pacs/rs",
        "dicom://me:s3cret@pacs:104",
        "ftp://me:s3cret@pacs/rs",
        "me:s3cret@pacs",
        "http:/me:s3cret@pacs/rs",
        "ftp://me:a/s3cret@b@pacs/rs",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    said = here("dicom", "find", text).error()
    assert "s3cret" not in said


def test_options_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"--listen is for dicom:// addresses"):
        pacs.connect("http://pacs/rs", listen="11113")
    with pytest.raises(InputError, match=r'--listen "x": want PORT or HOST:PORT'):
        pacs.connect("dicom://A@pacs:104", listen="x")
    with pytest.raises(InputError, match=r"timeout 0 s: want a number of seconds above 0"):
        pacs.connect("dicom://A@pacs:104", timeout=0)
    with pytest.raises(InputError, match="calling AE title"):
        pacs.connect("dicom://A@pacs:104", calling="back\\slash")


@given(st.text(max_size=70))
def test_a_uid_is_a_safe_file_name(text: str) -> None:
    try:
        assert uid(text, "x") == text
    except InputError:
        return
    assert set(text) <= set("0123456789.")
    assert text[0] != "."
    assert ".." not in text
    assert len(text) <= 64


@given(st.text())
def test_what_a_server_says_is_printed_on_one_line(text: str) -> None:
    flat = one_line(text)
    assert flat.isprintable()
    assert len(flat) <= 200


def test_compressed_syntaxes_are_chosen_before_native_ones() -> None:
    known = syntaxes()
    assert len(known) == len(set(known))
    assert known[-2:] == ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"]
    assert {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.110"} < set(known)


@given(
    st.lists(st.binary(max_size=300), max_size=4),
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.booleans(),
)
def test_multipart_comes_apart_however_it_is_cut(bodies: list[bytes], cuts: list[int], headers: bool) -> None:
    head = b"\r\nContent-Type: application/dicom\r\n\r\n" if headers else b"\r\n\r\n"
    bodies = [body.replace(b"--BOUND", b"") for body in bodies]
    whole = b"".join(b"--BOUND" + head + body + b"\r\n" for body in bodies) + b"--BOUND--\r\n"

    def blocks(content: bytes) -> object:
        at, k = 0, 0
        while at < len(content):
            size = cuts[k % len(cuts)]
            yield content[at : at + size]
            at, k = at + size, k + 1

    assert [b"".join(part) for part in parts(blocks(whole), b"BOUND")] == bodies  # type: ignore[arg-type]
    for short in (whole[:-4], whole[: len(whole) // 2], b""):
        with pytest.raises(CutOff):
            list(map(b"".join, parts(blocks(short), b"BOUND")))  # type: ignore[arg-type]


def test_boundaries() -> None:
    assert boundary('multipart/related; type="application/dicom"; boundary=a-b') == b"a-b"
    assert boundary('multipart/related; BOUNDARY="a b"; x=y') == b"a b"
    assert boundary("application/json") is None


# Files that travel ----------------------------------------------------------------------------------------------------


def test_who_a_file_is(tmp_path: Path) -> None:
    path = series(tmp_path / "ct")[0]
    found = part10.instance(path)
    assert (found.study, found.series, found.uid) == uids(path)
    assert found.syntax == "1.2.840.10008.1.2.1"
    assert found.bytes == path.stat().st_size
    assert part10.data_bytes(path) == len(data_set(path))


def test_files_that_an_archive_cannot_hold(tmp_path: Path) -> None:
    path = series(tmp_path / "ct")[0]
    text = tmp_path / "notes.txt"
    text.write_text("no DICOM")
    assert here("dicom", "store", "http://127.0.0.1:1", text).error() == (
        f"{text}: is no DICOM file: no DICM behind its preamble"
    )
    found = pydicom.dcmread(path)
    del found.StudyInstanceUID
    found.save_as(tmp_path / "nameless.dcm")
    with pytest.raises(InputError, match=r"nameless.dcm: has no StudyInstanceUID; an archive cannot hold it"):
        part10.instance(tmp_path / "nameless.dcm")
    found = pydicom.dcmread(path)
    found.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    found.save_as(tmp_path / "two.dcm", enforce_file_format=False)
    with pytest.raises(InputError, match=r"two.dcm: MediaStorageSOPInstanceUID is 1.2.3, the data set says 2\.25"):
        part10.instance(tmp_path / "two.dcm")
    (tmp_path / "cut.dcm").write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError):
        part10.instance(tmp_path / "cut.dcm")
    (tmp_path / "ct" / "copy.dcm").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="has the SOP Instance UID of"):
        store(_silent(), [tmp_path / "ct"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no DICOM file"):
        store(_silent(), [empty])
    with pytest.raises(InputError, match="is not there"):
        store(_silent(), [tmp_path / "nowhere"])


def _silent() -> Server:
    def never(*_: object) -> object:
        raise AssertionError("nothing is asked of a server before the files are known")

    return Server("silent", never, never, never, never, never, never)  # type: ignore[arg-type]


def test_comparison_by_bytes_by_elements_and_by_difference(tmp_path: Path) -> None:
    path = series(tmp_path / "ct")[0]
    other = tmp_path / "other.dcm"
    found = pydicom.dcmread(path)
    found.file_meta.ImplementationVersionName = "ELSE"
    found.save_as(other)
    assert part10.compare(path, other) == part10.Comparison(True, True)

    item = pydicom.Dataset()
    item.CodeValue = "1"
    for target, undefined in ((path, False), (other, True)):
        found = pydicom.dcmread(path)
        found.ProcedureCodeSequence = [item]
        found["ProcedureCodeSequence"].is_undefined_length = undefined
        found.save_as(target)
    assert part10.compare(path, other) == part10.Comparison(True, False)

    found.ProcedureCodeSequence[0].CodeValue = "2"
    found.PatientID = "P2"
    pixels = bytearray(found.PixelData)
    pixels[0] ^= 1
    found.PixelData = bytes(pixels)
    del found.AccessionNumber
    found.save_as(other)
    got = part10.compare(path, other)
    assert not got.same
    assert got.differs == (
        "AccessionNumber is missing",
        "ProcedureCodeSequence[0].CodeValue differs",
        "PatientID differs",
        "PixelData differs",
    )


def test_a_file_whose_lines_run_on_is_told_apart(tmp_path: Path) -> None:
    first, second = series(tmp_path / "ct", slices=2)
    assert not part10.compare(first, second).same
    found = pydicom.dcmread(first)
    found.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    found.save_as(tmp_path / "rle.dcm")
    assert part10.compare(first, tmp_path / "rle.dcm").differs == (
        "transfer syntax Explicit VR Little Endian (1.2.840.10008.1.2.1) became RLE Lossless (1.2.840.10008.1.2.5)",
    )


# Searching -----------------------------------------------------------------------------------------------------------


def _server(rows: dict[str, list[dict[str, str]]], asked: list[object] | None = None) -> Server:
    def answer(level: str, keys: object) -> list[dict[str, str]]:
        if asked is not None:
            asked.append((level, keys))
        return rows[level]

    return Server("it", answer, None, None, None, None, None)  # type: ignore[arg-type]


def test_questions_are_asked_as_the_standard_wants_them() -> None:
    asked: list[object] = []
    query = search.Query("study", "P*", "2024-01-31..2024-02-01", "ct", "A7", "chest")
    assert search.find(_server({"STUDY": []}, asked), query) == []
    assert asked == [
        (
            "STUDY",
            {
                "PatientID": "P*",
                "StudyDate": "20240131-20240201",
                "AccessionNumber": "A7",
                "ModalitiesInStudy": "CT",
            },
        )
    ]


@pytest.mark.parametrize(
    ("text", "asked"), [("2024-01-31", "20240131"), ("20240131..", "20240131-"), ("..2024-01-31", "-20240131")]
)
def test_dates(text: str, asked: str) -> None:
    assert search._dates(text) == asked


@pytest.mark.parametrize("text", ["yesterday", "2024", "..", "2024-01-01..2024-01-02..2024-01-03"])
def test_odd_dates(text: str) -> None:
    with pytest.raises(InputError, match="want 2024-01-31, or a range"):
        search.find(_server({}), search.Query(dates=text))


def test_a_server_that_ignores_filters_is_filtered() -> None:
    rows = [
        {"StudyInstanceUID": "1.1", "PatientID": "P1", "StudyDate": "20240131", "ModalitiesInStudy": "CT\\SR"},
        {"StudyInstanceUID": "1.2", "PatientID": "P2", "StudyDate": "20240131", "ModalitiesInStudy": "CT"},
        {"StudyInstanceUID": "1.3", "PatientID": "P1", "StudyDate": "20230131", "ModalitiesInStudy": "CT"},
        {"StudyInstanceUID": "1.4", "PatientID": "P1", "StudyDate": "20240131", "ModalitiesInStudy": "MR"},
    ]
    query = search.Query("study", "P1", "2024-01-01..", "CT")
    assert [one.study for one in search.find(_server({"STUDY": rows}), query)] == ["1.1"]
    patients = search.find(_server({"STUDY": rows}), search.Query("patient"))
    assert [(one.patient, one.number, one.date, one.modality) for one in patients] == [
        ("P1", 3, "2024-01-31", "CT SR MR"),
        ("P2", 1, "2024-01-31", "CT"),
    ]
    with pytest.raises(InputError, match='level "slice" is not known; allowed: patient, study, series'):
        search.find(_server({}), search.Query("slice"))  # type: ignore[arg-type]


def test_impossible_uids_from_a_server_are_refused() -> None:
    rows = {"IMAGE": [{"SOPInstanceUID": "../../etc/passwd"}]}
    with pytest.raises(ServerError, match="it: names an impossible UID: instance"):
        search.instances(_server(rows), "1.1", "1.2")
    with pytest.raises(ServerError, match="impossible UID"):
        search.series_of(_server({"SERIES": [{"SeriesInstanceUID": "..\n"}]}), "1.1")


def test_a_series_without_its_study() -> None:
    assert (
        search.study_of(_server({"SERIES": [{"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.2"}]}), "1.2") == "1.1"
    )
    with pytest.raises(InputError, match=r"it: does not say which study holds series 1.3; is it there\? give --study"):
        search.study_of(_server({"SERIES": [{"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.2"}]}), "1.3")


# DICOMweb against a small server ---------------------------------------------------------------------------------------


def test_web_store_fetch_and_store_again(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    study, number, _ = uids(paths[0])
    with web_archive() as archive:
        server = pacs.connect(archive.url)
        done = store(server, [tmp_path / "ct"])
        assert len(done.stored) == 4
        assert (done.skipped, done.compared, done.series) == ((), BYTES, (number,))
        posts = [headers for method, _, headers in archive.asked if method == "POST"]
        assert len(posts) == 4
        assert all("Transfer-Encoding" not in headers for headers in posts)
        got = fetch(server, tmp_path / "back", study=study)
        assert got.instances == 4
        for path in paths:
            back = tmp_path / "back" / number / f"{uids(path)[2]}.dcm"
            assert back.read_bytes() == path.read_bytes()
        again = store(server, paths)
        assert (again.stored, set(again.skipped)) == ((), set(done.stored))
        assert [m for m, *_ in archive.asked].count("POST") == 4
        draws = [headers["Accept"] for m, _, headers in archive.asked if "multipart" in headers.get("Accept", "")]
        assert set(draws) == {'multipart/related; type="application/dicom"; transfer-syntax=*'}
        server.close()


def test_web_nothing_is_replaced(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    with web_archive() as archive:
        assert here("dicom", "store", archive.url, tmp_path / "ct").status == 0
        before = dict(archive.held)
        found = pydicom.dcmread(paths[2])
        found.PatientID = "P2"
        found.save_as(paths[2])
        said = here("dicom", "store", archive.url, tmp_path / "ct").error()
        assert said == (
            f"{paths[2]}: {archive.url} holds SOP Instance UID {uids(paths[2])[2]} already, with other content"
            " (PatientID differs); nothing was stored, because nothing is ever replaced; give it a new UID"
        )
        assert archive.held == before


def test_web_an_instance_in_another_series_is_found(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    with web_archive() as archive:
        here("dicom", "store", archive.url, tmp_path / "ct")
        found = pydicom.dcmread(paths[0])
        old = found.SeriesInstanceUID
        found.SeriesInstanceUID = "1.2.3"
        found.save_as(tmp_path / "moved.dcm")
        said = here("dicom", "store", archive.url, tmp_path / "moved.dcm").error()
        assert f"already, in series {old}; nothing was stored" in said


def test_web_line_that_goes_dead_while_storing(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    with web_archive() as archive:
        archive.stow = 2
        said = here("dicom", "store", archive.url, tmp_path / "ct")
        assert "2 of 4 instances are stored; the same command again stores the rest" in said.error()
        assert [line.removeprefix("stored ") for line in said.out.splitlines()] == list(archive.held)
        archive.stow = 0
        told = here("dicom", "store", archive.url, tmp_path / "ct", "--json")
        assert "0 of 2 instances are stored" in told.error()
        assert told.out == ""
        archive.stow = None
        done = here("dicom", "store", archive.url, tmp_path / "ct", "--json").json
        assert (len(done["stored"]), len(done["skipped"])) == (2, 2)
        assert len(archive.held) == 4


def test_web_a_transfer_cut_off_leaves_nothing(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    study = uids(paths[0])[0]
    with web_archive() as archive:
        here("dicom", "store", archive.url, tmp_path / "ct")
        for keep in (10, 5000, -6):
            archive.body = lambda content, keep=keep: content[:keep]
            said = here("dicom", "fetch", archive.url, "--study", study, "-o", tmp_path / "new" / "out").error()
            assert said == (
                f"{archive.url}: broke off half-way: the answer ends before its closing delimiter; ask again"
            )
            assert listing(tmp_path, deep=False) == ["ct"]


def test_web_a_server_that_sends_something_else(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    other = series(tmp_path / "other", "two")
    study, number, first = uids(paths[0])

    def part(content: bytes) -> bytes:
        return b"--B\r\n\r\n" + content + b"\r\n"

    evil = paths[0].read_bytes().replace(first.encode(), (b"../" * 30)[: len(first)])
    changed = pydicom.dcmread(paths[0])
    changed.PatientID = "P2"
    changed.save_as(tmp_path / "changed.dcm")
    own = paths[0].read_bytes()
    with web_archive() as archive:
        here("dicom", "store", archive.url, tmp_path / "ct")
        before = listing(tmp_path)
        for sent, expected in (
            (part(b"<html>"), "sent what cannot be kept: an instance: is no DICOM file"),
            (part(other[0].read_bytes()), f"was asked for series {number} and sent instance"),
            (part(evil), "sent what cannot be kept: an instance: SOPInstanceUID"),
            (part(own) + part((tmp_path / "changed.dcm").read_bytes()), f"sent {first} twice, and not the same"),
            (part(own), f"lists 4 instances of series {number} and sent 1;"),
        ):
            archive.body = lambda _content, sent=sent: sent + b"--B--\r\n"
            said = here("dicom", "fetch", archive.url, "--study", study, "-o", tmp_path / "out").error()
            assert expected in said
            assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("status", "headers", "content", "said"),
    [
        (
            401,
            {},
            b"",
            "asks for other credentials (401); set SLIMSCAN_PACS_USER and SLIMSCAN_PACS_PASSWORD, or SLIMSCAN_PACS_TOKEN",
        ),
        (403, {}, b"", "does not allow that to this user (403); ask its administrator"),
        (404, {}, b"", "knows nothing there (404); is the path right (often /dicom-web), and the UID?"),
        (307, {"Location": "http://elsewhere/"}, b"", "has moved to http://elsewhere/ (307); use that address"),
        (500, {}, b'{"Message": "no\\u001b[31m disk"}', "answers 500 Internal Server Error: no [31m disk"),
        (
            200,
            {"Content-Type": "text/html"},
            b"<html>",
            "answers no DICOM JSON but text/html; is this the DICOMweb root?",
        ),
        (200, {}, b'{"a": 1}', "answers no DICOM JSON but nothing; is this the DICOMweb root?"),
    ],
)
def test_web_answers_in_one_line(status: int, headers: dict[str, str], content: bytes, said: str) -> None:
    with web_archive() as archive:
        archive.answer = lambda _path: (status, headers, content)
        assert here("dicom", "find", archive.url).error() == f"{archive.url}: {said}"


def test_web_credentials_come_from_the_environment_and_go_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_archive() as archive:
        monkeypatch.setenv("SLIMSCAN_PACS_USER", "me")
        assert here("dicom", "find", archive.url).error() == (
            "want SLIMSCAN_PACS_USER and SLIMSCAN_PACS_PASSWORD together, or neither"
        )
        monkeypatch.setenv("SLIMSCAN_PACS_PASSWORD", "s3cret")
        said = here("dicom", "find", archive.url, "--json")
        assert "s3cret" not in said.out + said.err
        assert archive.asked[-1][2]["Authorization"] == "Basic " + base64.b64encode(b"me:s3cret").decode()
        monkeypatch.setenv("SLIMSCAN_PACS_TOKEN", "t0ken")
        here("dicom", "find", archive.url)
        assert archive.asked[-1][2]["Authorization"] == "Bearer t0ken"
        archive.answer = lambda _path: (307, {"Location": "http://127.0.0.1:1/"}, b"")
        here("dicom", "find", archive.url)
        assert len(archive.asked) == 3, "a redirection is not followed with credentials"


def test_web_a_server_that_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimscan.pacs import web

    rows = [{"0020000D": {"vr": "UI", "Value": [f"1.{k}"]}} for k in range(7)]
    asked = []

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        import json
        from urllib.parse import parse_qs, urlsplit

        asked.append(path)
        words = parse_qs(urlsplit(path).query)
        at, most = int(words["offset"][0]), int(words["limit"][0])
        return 200, {}, json.dumps(rows[at : at + most]).encode()

    monkeypatch.setattr(web, "_PAGE", 3)
    with web_archive() as archive:
        archive.answer = answer
        server = pacs.connect(archive.url)
        assert [one.study for one in search.find(server, search.Query())] == [f"1.{k}" for k in range(7)]
        assert len(asked) == 3
        archive.answer = lambda path: (asked.append(path), (200, {}, __import__("json").dumps(rows[:3]).encode()))[1]
        assert len(search.find(server, search.Query())) == 3, (
            "a server that knows no pages is asked twice, not for ever"
        )
        server.close()


# DIMSE against a small server -------------------------------------------------------------------------------------------


def test_dimse_store_fetch_and_store_again(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    study, number, _ = uids(paths[0])
    with dimse_archive() as archive:
        server = pacs.connect(archive.url)
        assert server.echo() == f"{archive.url} answers"
        done = store(server, [tmp_path / "ct"])
        assert (len(done.stored), done.skipped) == (4, ())
        assert done.compared in (BYTES, ELEMENTS)
        got = fetch(server, tmp_path / "back", series=number)
        assert (got.study, got.instances) == (study, 4)
        for path in paths:
            back = tmp_path / "back" / number / f"{uids(path)[2]}.dcm"
            assert part10.compare(path, back).same
            assert data_set(back)[-1000:] == data_set(path)[-1000:]
        assert set(store(server, paths).skipped) == set(done.stored)


def test_dimse_a_refused_syntax_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    found = pydicom.dcmread(paths[3])
    found.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    found.save_as(paths[3])
    with dimse_archive() as archive:
        kind = part10.class_name(part10.instance(paths[0]).sop_class)
        assert here("dicom", "store", archive.url, tmp_path / "ct").error() == (
            f"{archive.url}: refuses RLE Lossless (1.2.840.10008.1.2.5) for {kind}; nothing was stored;"
            " DICOMweb may take it, or compress with a codec that it knows (jpeg2000, jpegls)"
        )
        assert archive.held == {}


def test_dimse_line_that_goes_dead_while_storing(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    with dimse_archive() as archive:
        archive.abort = 2
        said = here("dicom", "store", archive.url, tmp_path / "ct")
        assert "broke off during C-STORE" in said.error()
        assert "2 of 4 instances are stored; the same command again stores the rest" in said.error()
        assert [line.removeprefix("stored ") for line in said.out.splitlines()] == list(archive.held)
        archive.abort = None
        assert here("dicom", "store", archive.url, tmp_path / "ct", "--json").json["skipped"] == list(archive.held)[:2]


def test_dimse_a_failure_status_is_said(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    with dimse_archive() as archive:
        archive.status = 0xA700
        said = here("dicom", "store", archive.url, tmp_path / "ct").error()
        assert "out of resources (A700H); 1 of 4 instances are stored" in said
        archive.find_status = 0xA900
        said = here("dicom", "find", archive.url).error()
        assert said.startswith(f"{archive.url}: answers C-FIND with data set does not match its SOP class (A900H")


def test_dimse_a_server_that_changes_what_it_keeps_is_found_out(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    with dimse_archive() as archive:

        def altered(sent: list[pydicom.Dataset]) -> list[pydicom.Dataset]:
            for one in sent:
                one.PatientName = "Someone^Else"
            return sent

        archive.deliver = altered
        said = here("dicom", "store", archive.url, tmp_path / "ct")
        assert said.status == 3
        assert "comes back changed: PatientName differs; the server holds it so" in said.error()
        assert len(said.out.splitlines()) == 4


def test_dimse_a_server_that_delivers_something_else(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    study, number, _ = uids(paths[0])
    stray = pydicom.dcmread(series(tmp_path / "other", "two")[0])
    with dimse_archive() as archive:
        here("dicom", "store", archive.url, tmp_path / "ct")
        for deliver, said in (
            (lambda sent: [*sent[1:], stray], f"was asked for series {number} and sent instance"),
            (lambda sent: sent[1:], f"lists 4 instances of series {number} and sent 3;"),
        ):
            archive.deliver = deliver
            assert said in here("dicom", "fetch", archive.url, "--study", study, "-o", tmp_path / "out").error()
            assert not (tmp_path / "out").exists()


def test_dimse_nobody_there_and_a_wrong_name() -> None:
    (port,) = free_ports(1)
    assert here("dicom", "find", f"dicom://A@127.0.0.1:{port}").error() == (
        f"dicom://A@127.0.0.1:{port}: cannot be reached (Connection refused); is the server running, host and port right?"
    )
    assert here("dicom", "find", f"http://127.0.0.1:{port}").error() == (
        f"http://127.0.0.1:{port}: cannot be reached (Connection refused); is the server running, host and port right?"
    )
    with dimse_archive() as archive:
        wrong = archive.url.replace("ARCHIVE", "ARCHIVO")
        assert here("dicom", "find", wrong).error() == (
            f"{wrong}: refuses the association: its AE title is not ARCHIVO; write the right one into dicom://CALLED@host:port"
        )


def test_a_port_that_speaks_another_language(tmp_path: Path) -> None:
    with web_archive() as archive:
        port = archive.url.rsplit(":", 1)[1]
        said = here("dicom", "find", f"dicom://A@127.0.0.1:{port}", "--timeout", "2").error()
        assert (
            said
            == f"dicom://A@127.0.0.1:{port}: takes the connection but makes no association; is that its DICOM port?"
        )


def test_dimse_a_server_without_c_get(tmp_path: Path) -> None:
    paths = series(tmp_path / "ct")
    with dimse_archive(get=False) as archive:
        done = here("dicom", "store", archive.url, tmp_path / "ct", "--no-verify", "--json").json
        assert done["compared"] == "not fetched back (--no-verify)"
        said = here("dicom", "fetch", archive.url, "--study", uids(paths[0])[0], "-o", tmp_path / "out").error()
        assert said == f"{archive.url}: refuses C-GET; use --listen PORT (C-MOVE), or DICOMweb"
        archive.held.clear()
        said = here("dicom", "store", archive.url, tmp_path / "ct").error()
        assert said == (
            f"{archive.url}: refuses C-GET, so what is stored could not be fetched back and compared; nothing was stored;"
            " use --listen PORT (C-MOVE), DICOMweb, or --no-verify"
        )
        assert archive.held == {}


def test_fetch_asks_for_something(tmp_path: Path) -> None:
    with web_archive() as archive:
        said = here("dicom", "fetch", archive.url, "-o", tmp_path / "out").error()
        assert said == "want the UID of a study or of a series; `slimscan dicom find` lists them"
        said = here("dicom", "fetch", archive.url, "--study", "../up", "-o", tmp_path / "out").error()
        assert said == 'study "../up" is no UID; want digits and dots, at most 64'
        said = here("dicom", "fetch", archive.url, "--study", "1.2", "-o", tmp_path).error()
        assert "exists already" in said
        said = here("dicom", "fetch", archive.url, "--study", "1.2", "-o", tmp_path / "out").error()
        assert said == f"{archive.url}: holds no study 1.2; `slimscan dicom find {archive.url}` lists what it holds"


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from slimscan.nouns import Needs

    monkeypatch.setattr(Needs, "missing", lambda self: True)
    assert here("dicom", "find", "http://127.0.0.1:1").error() == (
        'DICOMweb needs the package requests, which is not installed: pip install "slimscan[pacs]"'
    )
    assert here("dicom", "find", "dicom://A@127.0.0.1:1").error() == (
        'DICOM network transfer needs the package pynetdicom, which is not installed: pip install "slimscan[pacs]"'
    )


def test_a_wire_that_breaks_is_one(tmp_path: Path) -> None:
    with web_archive() as archive, broken_wire(int(archive.url.rsplit(":", 1)[1]), down=10) as port:
        assert "broke off half-way" in here("dicom", "find", f"http://127.0.0.1:{port}").error()


def test_instances_are_plain_values() -> None:
    assert Instance("1.1", "1.2", "1.3", CT).path == Path()


# Copies under new UIDs ----------------------------------------------------------------------------------------------------


def test_a_copy_differs_in_its_names_only(tmp_path: Path) -> None:
    from slimscan.files.dicom.renew import renew

    series(tmp_path / "ct", slices=3)
    here("compress", tmp_path / "ct", "-o", f"{tmp_path}/small/", "--lossless")
    sources = sorted((tmp_path / "small").iterdir())
    made = renew(sources, tmp_path / "new")
    assert [path.name for path in made] == [path.name for path in sources]
    allowed = {
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "SeriesDescription",
        "DerivationDescription",
        "SourceImageSequence",
    }
    for old, new in zip(sources, made, strict=True):
        a, b = pydicom.dcmread(old), pydicom.dcmread(new)
        differing = {e.keyword or str(e.tag) for e in b if e.tag not in a or a[e.tag].value != e.value}
        assert differing == allowed
        assert {e.tag for e in a} <= {e.tag for e in b}
    assert len({uids(path)[1] for path in made}) == 1
    assert renew([], tmp_path / "none") == []
    assert [path.read_bytes() for path in renew(sources, tmp_path / "again")] == [path.read_bytes() for path in made]


def test_a_copy_of_another_encoding_is_refused(tmp_path: Path) -> None:
    from slimscan.files.dicom.renew import renew

    path = series(tmp_path / "ct", slices=1)[0]
    found = pydicom.dcmread(path)
    found.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    found.save_as(path, implicit_vr=True, little_endian=True)
    with pytest.raises(InputError, match="new UIDs are given to Explicit VR Little Endian files only; recode it first"):
        renew([path], tmp_path / "new")


def test_copies_of_real_images_say_nothing_wrong(tmp_path: Path, real_data: Path) -> None:
    import shutil
    import subprocess

    from slimscan.files.dicom.renew import renew

    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    small = next((real_data / "dicom_zoo").rglob("emri_small.dcm"), None)
    ct = next((real_data / "ct_abdomen_totalseg_example").rglob("CT.*"), None)
    if small is None or ct is None:
        pytest.skip("SLIMSCAN_DATA has no dicom_zoo and no abdomen CT")

    def lines(path: Path) -> set[str]:
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
        return set((done.stdout + done.stderr).splitlines())

    for source in (small, ct):
        folder = tmp_path / source.stem
        folder.mkdir()
        assert here("compress", source, "-o", folder / "old.dcm", "--lossless").status == 0
        (new,) = renew([folder / "old.dcm"], folder / "new")
        assert lines(new) - lines(folder / "old.dcm") == set()
        assert pydicom.dcmread(new).PixelData == pydicom.dcmread(folder / "old.dcm").PixelData
