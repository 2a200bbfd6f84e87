"""Draw a study or a series from an archive into a folder of folders: whole, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimscan.errors import InputError
from slimscan.pacs import Server, search
from slimscan.pacs.noun import Instance, uid
from slimscan.pacs.receive import receive
from slimscan.press.staging import admit_output, staged


@dataclass(frozen=True, slots=True)
class FetchedSeries:
    """One series on our disk. syntaxes: the transfer syntaxes of its instances, as the server stores them."""

    series: str
    folder: str
    instances: int
    bytes: int
    syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` brought. The fields are the keys of `dicom fetch --json`."""

    server: str
    output: str
    study: str
    series: tuple[FetchedSeries, ...]
    instances: int
    bytes: int


def fetch(server: Server, output: str | Path, *, study: str = "", series: str = "", force: bool = False) -> Fetched:
    """Write OUT/<SeriesInstanceUID>/<SOPInstanceUID>.dcm, one folder a series, data sets byte for byte as they are stored.

    study: every series in it; series: that one (its study is asked for when it is not given). Everything is written
    beside `output` and renamed when the last instance is there and is what the server listed; on any error nothing is
    left. OutputError: output exists (force replaces a folder of DICOM files). InputError: no such study or series.
    ServerError.
    """
    place = Path(output)
    admit_output(place, force)
    wanted = listed(server, study, series)
    name = next(iter(next(iter(wanted.values())).values())).study
    brought = []
    with staged(place, force) as stage:
        stage.path.mkdir()
        for number, own in wanted.items():
            folder = stage.path / number
            folder.mkdir()
            came = receive(server, own, folder, whole=True)
            brought.append(_summary(number, place / number, came))
    return Fetched(
        server.name, str(place), name, tuple(brought), sum(s.instances for s in brought), sum(s.bytes for s in brought)
    )


def listed(server: Server, study: str, series: str) -> dict[str, dict[str, Instance]]:
    """SeriesInstanceUID -> SOPInstanceUID -> instance of what was asked for; InputError when the server holds none."""
    if not study and not series:
        raise InputError("want the UID of a study or of a series; `slimscan dicom find` lists them")
    study = uid(study, "study") if study else ""
    if series:
        uid(series, "series")
        study = study or search.study_of(server, series)
        found = {series: search.instances(server, study, series)}
    else:
        found = {name: search.instances(server, study, name) for name in sorted(search.series_of(server, study))}
    found = {name: own for name, own in found.items() if own}
    if not found:
        what = f"series {series} in study {study}" if series else f"study {study}"
        raise InputError(f"{server.name}: holds no {what}; `slimscan dicom find {server.name}` lists what it holds")
    return found


def _summary(series: str, folder: Path, came: dict[str, Instance]) -> FetchedSeries:
    syntaxes = tuple(sorted({one.syntax for one in came.values()}))
    return FetchedSeries(series, str(folder), len(came), sum(one.bytes for one in came.values()), syntaxes)
