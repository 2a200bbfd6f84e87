"""Against a real Orthanc: stored, found, drawn byte for byte, compressed, stored beside the original, which stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive import broken_wire, data_set, series, uids
from commands import here, pixels
from orthanc import Orthanc, orthanc

from slimscan.pacs import part10

pytest.importorskip("pynetdicom", reason='pynetdicom is not installed: pip install "slimscan[pacs]"')
requests = pytest.importorskip("requests", reason='requests is not installed: pip install "slimscan[pacs]"')

WAYS = ("web", "get", "move")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def way(archive: Orthanc, name: str) -> tuple[str, list[str]]:
    """(address, options) of one of the ways to talk to it."""
    listen = ["--listen", f"127.0.0.1:{archive.listen}"] if name == "move" else []
    return (archive.web if name == "web" else archive.dicom), listen


def snapshot(archive: Orthanc, study: str, number: str, *, rest: bool = True) -> dict[str, bytes]:
    """Every file of a series as Orthanc's own interface gives it: a way that slimscan does not go."""
    session = requests.Session()
    session.trust_env = False
    found = session.post(
        f"{archive.rest}/tools/find",
        json={"Level": "Instance", "Query": {"StudyInstanceUID": study, "SeriesInstanceUID": number}},
    ).json()
    files = {name: session.get(f"{archive.rest}/instances/{name}/file").content for name in found}
    session.close()
    return files


@pytest.mark.parametrize("name", WAYS)
def test_store_find_fetch(archive: Orthanc, tmp_path: Path, name: str) -> None:
    server, more = way(archive, name)
    paths = series(tmp_path / "ct", f"round trip {name}", PatientID=f"RT-{name}", AccessionNumber=f"A-{name}")
    study, number, _ = uids(paths[0])
    done = here("dicom", "store", server, tmp_path / "ct", *more, "--json").json
    assert done["stored"] == [uids(path)[2] for path in paths]
    assert done["compared"] == "data set, byte for byte"

    every = ["--patient", f"RT-{name}", "--date", "2024-01-01..2024-12-31", "--modality", "CT", "--json"]
    every += ["--accession", f"A-{name}", "--description", "chest"]
    (found,) = here("dicom", "find", server, *every).json["matches"]
    assert (found["study"], found["patient"], found["name"], found["date"]) == (
        study,
        f"RT-{name}",
        "Doe Jane",
        "2024-01-31",
    )
    assert (found["modality"], found["description"], found["instances"]) == ("CT", "CHEST", 4)
    (found,) = here("dicom", "find", server, "--study", study, "--level", "series", "--json").json["matches"]
    assert (found["series"], found["description"], found["instances"]) == (number, "thin slices", 4)
    (found,) = here("dicom", "find", server, "--patient", f"RT-{name}", "--level", "patient", "--json").json["matches"]
    assert (found["patient"], found["number"]) == (f"RT-{name}", 1)
    for nothing in (
        ["--patient", "NOBODY"],
        ["--date", "..1999-12-31"],
        ["--patient", f"RT-{name}", "--modality", "MR"],
    ):
        assert here("dicom", "find", server, *nothing).out == "nothing matches\n"
    assert study in here("dicom", "find", server).out

    got = here("dicom", "fetch", server, "--series", number, *more, "-o", tmp_path / "back", "--json").json
    assert got["instances"] == 4
    assert got["series"][0]["syntaxes"] == ["1.2.840.10008.1.2.1"]
    for path in paths:
        back = tmp_path / "back" / number / f"{uids(path)[2]}.dcm"
        assert data_set(back) == data_set(path)
    again = here("dicom", "store", server, tmp_path / "ct", *more, "--json").json
    assert (again["stored"], again["skipped"]) == ([], done["stored"])


@pytest.mark.parametrize("name", WAYS)
def test_nothing_is_replaced(archive: Orthanc, tmp_path: Path, name: str) -> None:
    server, more = way(archive, name)
    paths = series(tmp_path / "ct", f"kept {name}", 3)
    study, number, _ = uids(paths[0])
    assert here("dicom", "store", server, tmp_path / "ct", *more).status == 0
    before = snapshot(archive, study, number)
    found = pydicom.dcmread(paths[1])
    found.PatientID = "P2"
    found.save_as(paths[1])
    said = here("dicom", "store", server, tmp_path / "ct", *more).error()
    assert "already, with other content (PatientID differs); nothing was stored" in said
    found.SeriesInstanceUID = "1.2.3"
    found.save_as(paths[1])
    assert f"already, in series {number}; nothing was stored" in here("dicom", "store", server, paths[1], *more).error()
    assert snapshot(archive, study, number) == before


@pytest.mark.parametrize("name", WAYS)
def test_shrink_beside_the_original(archive: Orthanc, tmp_path: Path, name: str) -> None:
    server, more = way(archive, name)
    paths = series(tmp_path / "ct", f"shrunk {name}", 4)
    study, number, _ = uids(paths[0])
    assert here("dicom", "store", server, tmp_path / "ct", *more).status == 0
    before = snapshot(archive, study, number)
    got = here(
        "dicom", "shrink", server, "--series", number, *more, "--max-error", "9", "--codec", "jpegls", "--json"
    ).json
    (one,) = got["series"]
    assert (one["original"], one["intact"]) == (number, 4)
    assert one["new"] != number
    assert one["stored"]["compared"] == "data set, byte for byte"
    assert one["receipt"]["max_abs_error"] <= 9
    assert one["receipt"]["source"] == f"{server} series {number}"
    assert snapshot(archive, study, number) == before
    here("dicom", "fetch", server, "--series", one["new"], *more, "-o", tmp_path / "small")
    back = pixels(tmp_path / "small" / one["new"])
    assert np.abs(back.astype(float) - pixels(tmp_path / "ct").astype(float)).max() == one["receipt"]["max_abs_error"]
    first = pydicom.dcmread(next((tmp_path / "small" / one["new"]).iterdir()), stop_before_pixels=True)
    assert (first.StudyInstanceUID, first.LossyImageCompression, first.ImageType[0]) == (study, "01", "DERIVED")
    assert first.SourceImageSequence[0].ReferencedSOPInstanceUID in {uids(path)[2] for path in paths}

    refused = here("dicom", "shrink", server, "--series", number, *more, "--lossless").error()
    assert refused.startswith(f"{server}: lossless recoding keeps the SOP Instance UIDs, so it cannot stand beside")
    said = here("dicom", "shrink", server, "--series", number, *more, "--lossless", "--new-uids")
    assert said.status == 0, said.err
    assert f"original  series {number} lists the same 4 instances as before" in said.out
    assert snapshot(archive, study, number) == before


def test_an_exact_copy_under_new_uids(archive: Orthanc, tmp_path: Path) -> None:
    paths = series(tmp_path / "ct", "copied", 3)
    study, number, _ = uids(paths[0])
    here("dicom", "store", archive.web, tmp_path / "ct")
    got = here("dicom", "shrink", archive.web, "--study", study, "--lossless", "--new-uids", "--json").json
    new = got["series"][0]["new"]
    here("dicom", "fetch", archive.web, "--study", study, "-o", tmp_path / "all")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == sorted([number, new])
    assert np.array_equal(pixels(tmp_path / "all" / new), pixels(tmp_path / "ct"))
    sources = {uids(path)[2] for path in paths}
    named = set()
    for path in (tmp_path / "all" / new).iterdir():
        found = pydicom.dcmread(path)
        assert found.SOPInstanceUID not in sources
        assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID
        assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        assert "LossyImageCompression" not in found
        assert found.ImageType[0] == pydicom.dcmread(paths[0]).ImageType[0]
        assert found.SeriesDescription == "thin slices lossless"
        assert "exact recoding as JPEG 2000 Lossless under new UIDs" in found.DerivationDescription
        named.add(found.SourceImageSequence[0].ReferencedSOPInstanceUID)
    assert named == sources
    lossy = [
        here("dicom", "shrink", archive.web, "--series", number, "--setting", "jpeg2000@60", "--json") for _ in "12"
    ]
    assert [len(one.json["series"][0]["stored"]["skipped"]) for one in lossy] == [0, 3], lossy[1].err
    again = here("dicom", "shrink", archive.web, "--series", number, "--lossless", "--new-uids", "--json").json
    assert again["series"][0]["new"] == new, "the same work gives the same UIDs"
    assert len(again["series"][0]["stored"]["skipped"]) == 3


def test_a_study_goes_on_past_what_is_no_volume(archive: Orthanc, tmp_path: Path) -> None:
    paths = series(tmp_path / "ct", "mixed", 3)
    report = pydicom.dcmread(paths[0])
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    report.SeriesInstanceUID, report.SOPInstanceUID = "1.2.3.4", "1.2.3.4.5"
    report.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.save_as(tmp_path / "ct" / "report.dcm")
    study = uids(paths[0])[0]
    here("dicom", "store", archive.dicom, tmp_path / "ct")
    got = here("dicom", "shrink", archive.dicom, "--study", study, "--setting", "jpeg2000@60", "--json").json
    assert len(got["series"]) == 1
    assert got["passed_over"] == {"1.2.3.4": f"{archive.dicom}: series 1.2.3.4 has no pixel data"}


SYNTAXES = {  # of files that pydicom's own data or this project's reader know, by how they were made
    "1.2.840.10008.1.2": "implicit",
    "1.2.840.10008.1.2.5": "rle",
    "1.2.840.10008.1.2.4.80": "jpegls",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "lossy",
}


@pytest.mark.parametrize("name", WAYS)
def test_every_syntax_travels_untouched(archive: Orthanc, tmp_path: Path, name: str) -> None:
    server, more = way(archive, name)
    whole = tmp_path / "whole"
    for number, (syntax, how) in enumerate(SYNTAXES.items()):
        folder = whole / how
        (tmp_path / f"n{number}").mkdir()
        paths = series(tmp_path / f"n{number}" / "ct", f"{how} {name}", 1, StudyDescription="syntaxes")
        target = {"rle": 0, "implicit": 0, "lossy": ["--setting", "jpeg2000@60"]}.get(
            how, ["--lossless", "--codec", how]
        )
        if target:
            said = here("compress", paths[0].parent, "-o", f"{folder}/", *target)
            assert said.status == 0, said.err
        else:
            folder.mkdir(parents=True)
            found = pydicom.dcmread(paths[0])
            if how == "rle":
                found.compress(syntax, generate_instance_uid=False)
            else:
                found.file_meta.TransferSyntaxUID = syntax
            found.save_as(folder / "1.dcm", implicit_vr=how == "implicit", little_endian=True)
    done = here("dicom", "store", server, whole, *more, "--json").json
    assert len(done["stored"]) == len(SYNTAXES)
    seen = set()
    for path in sorted(whole.rglob("*.dcm")):
        study, number, own = uids(path)
        out = tmp_path / "out" / path.parent.name
        assert here("dicom", "fetch", server, "--study", study, *more, "-o", out).status == 0
        back = out / number / f"{own}.dcm"
        assert part10.compare(path, back).same
        assert data_set(back)[-500:] == data_set(path)[-500:]
        seen.add(part10.instance(back).syntax)
    assert seen == set(SYNTAXES)


def test_htj2k_is_refused_by_name_and_goes_by_the_web(archive: Orthanc, tmp_path: Path) -> None:
    series(tmp_path / "ct", "htj2k", 2)
    assert here("compress", tmp_path / "ct", "-o", f"{tmp_path}/ht/", "--codec", "htj2k", "--lossless").status == 0
    study, _, _ = uids(next((tmp_path / "ht").iterdir()))
    system = requests.get(f"{archive.rest}/system").json()["Version"]
    said = here("dicom", "store", archive.dicom, tmp_path / "ht")
    if system.startswith("1.10."):
        assert "refuses High-Throughput JPEG 2000" in said.error()
        assert "(1.2.840.10008.1.2.4.201) for" in said.error()
        assert "; nothing was stored; DICOMweb may take it" in said.error()
        assert here("dicom", "find", archive.web, "--study", study).out == "nothing matches\n"
    got = here("dicom", "store", archive.web, tmp_path / "ht", "--json").json
    assert len(got["stored"] + got["skipped"]) == 2
    said = here("dicom", "fetch", archive.dicom, "--study", study, "-o", tmp_path / "out")
    assert said.status in (0, 2), "drawn as it is, or refused; never transcoded"
    if said.status == 2:
        said.error()
        assert not (tmp_path / "out").exists()


def test_errors_in_one_line(archive: Orthanc, tmp_path: Path) -> None:
    for name in WAYS:
        server, more = way(archive, name)
        said = here("dicom", "fetch", server, "--study", "1.9.9", *more, "-o", tmp_path / "out").error()
        assert said == f"{server}: holds no study 1.9.9; `slimscan dicom find {server}` lists what it holds"
        said = here("dicom", "fetch", server, "--series", "1.9.9", *more, "-o", tmp_path / "out").error()
        assert said == f"{server}: does not say which study holds series 1.9.9; is it there? give --study UID too"
    wrong = archive.dicom.replace("ORTHANC", "ORTHANK")
    assert "its AE title is not ORTHANK" in here("dicom", "find", wrong).error()
    assert "knows nothing there (404)" in here("dicom", "find", f"{archive.rest}/dicomweb").error()
    paths = series(tmp_path / "ct", "unknown destination", 2)
    here("dicom", "store", archive.web, tmp_path / "ct")
    stranger = ["--calling", "STRANGER", "--listen", f"127.0.0.1:{archive.listen}"]
    said = here(
        "dicom", "fetch", archive.dicom, "--study", uids(paths[0])[0], *stranger, "-o", tmp_path / "out"
    ).error()
    assert f"does it know STRANGER as a destination, with this host and port {archive.listen}?" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["web", "get"])
def test_interrupted(archive: Orthanc, tmp_path: Path, name: str) -> None:
    server, _ = way(archive, name)
    port = int(server.split(":")[2].split("/")[0])
    paths = series(tmp_path / "ct", f"interrupted {name}", 6)
    study, number, _ = uids(paths[0])
    size = sum(path.stat().st_size for path in paths)
    with broken_wire(port, up=size // 2) as through:
        said = here("dicom", "store", server.replace(str(port), str(through)), tmp_path / "ct", "--timeout", "3")
    told = said.error()
    held = snapshot(archive, study, number)
    assert 0 < len(held) < 6
    assert f"{len(held)} or {len(held) + 1} of 6" in told or f"{len(held) - 1} or {len(held)} of 6" in told
    assert len(said.out.splitlines()) in (len(held), len(held) - 1)
    again = here("dicom", "store", server, tmp_path / "ct", "--json").json
    assert (len(again["skipped"]), len(again["stored"])) == (len(held), 6 - len(held))
    with broken_wire(port, down=size // 2) as through:
        broken = server.replace(str(port), str(through))
        told = here("dicom", "fetch", broken, "--study", study, "-o", tmp_path / "out", "--timeout", "3").error()
    assert "broke off" in told
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_another_client_reads_the_same(archive: Orthanc, tmp_path: Path) -> None:
    client = pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")
    paths = series(tmp_path / "ct", "second opinion", 2)
    study, number, _ = uids(paths[0])
    here("dicom", "store", archive.dicom, tmp_path / "ct")
    found = client.DICOMwebClient(url=archive.web).retrieve_series(study, number)
    ours = {uids(path)[2]: pydicom.dcmread(path) for path in paths}
    assert {one.SOPInstanceUID for one in found} == set(ours)
    assert all(one.PixelData == ours[one.SOPInstanceUID].PixelData for one in found)


def test_a_password_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = {"AuthenticationEnabled": True, "RegisteredUsers": {"me": "s3cret"}}
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"SLIMSCAN_PACS_{name}", raising=False)
    with orthanc(tmp_path, **guarded) as archive:
        assert "asks for other credentials (401)" in here("dicom", "find", archive.web).error()
        monkeypatch.setenv("SLIMSCAN_PACS_USER", "me")
        monkeypatch.setenv("SLIMSCAN_PACS_PASSWORD", "wrong")
        assert "wrong" not in here("dicom", "find", archive.web).error()
        monkeypatch.setenv("SLIMSCAN_PACS_PASSWORD", "s3cret")
        assert here("dicom", "find", archive.web).out == "nothing matches\n"
        assert "s3cret" not in archive.log.read_text(errors="replace")


def test_real_images(archive: Orthanc, tmp_path: Path, real_data: Path) -> None:
    source = real_data / "mri_abdomen_philips_dicom_slideio"
    paths = [path for path in sorted(source.rglob("*")) if path.is_file() and part10.is_part10(path)]
    if not paths:
        pytest.skip("SLIMSCAN_DATA has no Philips abdomen")
    study, number, _ = uids(paths[0])
    assert here("dicom", "store", archive.dicom, *paths).status == 0
    before = snapshot(archive, study, number)
    got = here("dicom", "shrink", archive.web, "--series", number, "--ratio", "7", "--json")
    assert got.status == 0, got.err
    (one,) = got.json["series"]
    assert one["receipt"]["ratio"] == pytest.approx(7, rel=0.02)
    assert snapshot(archive, study, number) == before


@pytest.mark.parametrize("name", WAYS)
def test_a_segmentation_goes_in_and_comes_back(archive: Orthanc, tmp_path: Path, name: str) -> None:
    """Beside its series, byte for byte, and read as the labels that were drawn."""
    pytest.importorskip("highdicom", reason='highdicom is not installed: pip install "slimscan[seg]"')
    import slimscan

    server, more = way(archive, name)
    paths = series(tmp_path / "ct", f"segmented {name}", 4)
    study, number, _ = uids(paths[0])
    ct = slimscan.read(tmp_path / "ct")
    labels = np.zeros(ct.shape, np.uint8)
    labels[1:3, 2:9, 3:8], labels[2, 9:12, 1:5] = 1, 2
    mask = slimscan.Volume(labels, ct.affine_mm, bits=8, source="mask")
    slimscan.write(mask, tmp_path / "mask.nii.gz")
    where = tmp_path / "seg" / "seg.dcm"
    where.parent.mkdir()
    said = here(
        "dicom", "seg", tmp_path / "mask.nii.gz", "--on", tmp_path / "ct", "-o", where, "--labels", "1=liver,2=spleen"
    )
    assert said.status == 0, said
    assert here("dicom", "store", server, tmp_path / "ct", *more).status == 0
    before = snapshot(archive, study, number)
    done = here("dicom", "store", server, where, *more, "--json").json
    assert done["stored"] == [uids(where)[2]]
    got = here("dicom", "fetch", server, "--series", uids(where)[1], *more, "-o", tmp_path / "back", "--json").json
    assert (got["study"], got["instances"]) == (study, 1)
    back = next((tmp_path / "back").rglob("*.dcm"))
    assert part10.compare(where, back).same
    np.testing.assert_array_equal(pixels(back), pixels(where))
    assert sorted(np.unique(pixels(back))) == [0, 1, 2]
    assert int((pixels(back) > 0).sum()) == int((labels > 0).sum())
    assert snapshot(archive, study, number) == before
    again = here("dicom", "store", server, where, *more, "--json").json
    assert (again["stored"], again["skipped"]) == ([], done["stored"])
