"""Asking an archive: patients, studies and series that match, and the instances that it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from slimscan.errors import InputError, ServerError
from slimscan.pacs.noun import Instance, Level, Row, Server, one_line, uid

Wanted = Literal["patient", "study", "series"]
_LIST = 50  # UIDs a question
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; empty fields match everything.

    patient: PatientID. dates: "2024-01-31", or a range "2024-01-01..2024-12-31", either end open. description: words
    in the study's description (the series' one at level series). `*` and `?` are wildcards in patient and description.
    """

    level: Wanted = "study"
    patient: str = ""
    dates: str = ""
    modality: str = ""
    accession: str = ""
    description: str = ""
    study: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """One patient, study or series. Counts are None when the server does not say. modality: of a study all, joined."""

    patient: str
    name: str
    date: str
    modality: str
    description: str
    accession: str
    study: str
    series: str
    number: int | None
    instances: int | None


def find(server: Server, query: Query) -> list[Match]:
    """Matches sorted by patient, date and number; empty when there are none. A server that ignores a filter is filtered.

    Patients are gathered from their studies, so that every filter of a study works for them. InputError for a query
    that cannot be; ServerError.
    """
    if query.level not in ("patient", "study", "series"):
        raise InputError(f'level "{query.level}" is not known; allowed: patient, study, series')
    keys = {
        "PatientID": query.patient,
        "StudyDate": _dates(query.dates),
        "AccessionNumber": query.accession,
        "ModalitiesInStudy": query.modality.upper(),
        "StudyInstanceUID": uid(query.study, "study") if query.study else "",
    }
    keys = {key: value for key, value in keys.items() if value}
    studies = [row for row in server.rows("STUDY", keys) if _agrees(row, keys)]
    if query.level != "series":
        studies = [row for row in studies if _speaks_of(row.get("StudyDescription", ""), query.description)]
    found = [_match(row, row, "Study") for row in studies]
    if query.level == "series":
        found = []
        wanted = {"Modality": query.modality.upper()} if query.modality else {}
        for study in studies:
            name = _known(server, study.get("StudyInstanceUID", ""), "study")
            for row in server.rows("SERIES", {"StudyInstanceUID": name, **wanted}):
                if _agrees(row, wanted) and _speaks_of(row.get("SeriesDescription", ""), query.description):
                    found.append(_match({**row, "StudyInstanceUID": name}, study, "Series"))
    if query.level == "patient":
        found = _patients(found)
    return sorted(found, key=lambda m: (m.patient, m.date, m.study, m.number or 0, m.series))


def series_of(server: Server, study: str) -> dict[str, Row]:
    """SeriesInstanceUID -> row of every series in a study; empty when the server does not know the study."""
    rows = server.rows("SERIES", {"StudyInstanceUID": study})
    return {_known(server, row.get("SeriesInstanceUID", ""), "series"): row for row in rows}


def study_of(server: Server, series: str) -> str:
    """The study that a series stands in; InputError when the server does not say."""
    try:
        rows = server.rows("SERIES", {"SeriesInstanceUID": series})
    except ServerError:  # a server need not answer without the study's UID (PS3.4 C.4.1.2.2.1)
        rows = []
    found = {row.get("StudyInstanceUID", "") for row in rows if row.get("SeriesInstanceUID") == series} - {""}
    if len(found) != 1:
        raise InputError(
            f"{server.name}: does not say which study holds series {series}; is it there? give --study UID too"
        )
    return _known(server, found.pop(), "study")


def instances(server: Server, study: str, series: str) -> dict[str, Instance]:
    """SOPInstanceUID -> every instance of a series that the server holds; empty when it holds none."""
    rows = server.rows("IMAGE", {"StudyInstanceUID": study, "SeriesInstanceUID": series})
    return {one.uid: one for row in rows if (one := _instance(server, row, study, series)).series == series}


def held(server: Server, wanted: Iterable[Instance]) -> dict[str, Instance]:
    """Those of the instances that the server holds already, by SOPInstanceUID, wherever they stand there.

    Their own series are listed, and every UID is asked for in any series too; a server that answers no question
    without a series (PS3.4 C.4.1.3.1.1) is asked for the series only.
    """
    wanted = list(wanted)
    names = {one.uid for one in wanted}
    found: dict[str, Instance] = {}
    for study, series in sorted({(one.study, one.series) for one in wanted}):
        found |= {name: one for name, one in instances(server, study, series).items() if name in names}
    left = sorted(names - set(found))
    for at in range(0, len(left), _LIST):
        try:
            rows = server.rows("IMAGE", {"SOPInstanceUID": "\\".join(left[at : at + _LIST])})
        except ServerError:
            break
        for row in rows:
            if row.get("SOPInstanceUID") in names:
                one = _instance(server, row, "", "")
                found[one.uid] = one
    return found


def _instance(server: Server, row: Row, study: str, series: str) -> Instance:
    return Instance(
        _known(server, row.get("StudyInstanceUID") or study, "study"),
        _known(server, row.get("SeriesInstanceUID") or series, "series"),
        _known(server, row.get("SOPInstanceUID", ""), "instance"),
        row.get("SOPClassUID", ""),
    )


def _known(server: Server, text: str, which: str) -> str:
    try:
        return uid(text, which)
    except InputError as error:
        raise ServerError(f"{server.name}: names an impossible UID: {error}") from None


def _match(row: Row, study: Row, level: Level | str) -> Match:
    def both(keyword: str) -> str:
        return one_line(row.get(keyword) or study.get(keyword) or "")

    whole = level == "Study"
    number = _count(row.get("NumberOfStudyRelatedSeries" if whole else "SeriesNumber"))
    return Match(
        both("PatientID"),
        both("PatientName").replace("^", " ").strip(),
        _day(both("StudyDate")),
        both("ModalitiesInStudy").replace("\\", " ") if whole else one_line(row.get("Modality", "")),
        one_line(row.get(f"{level}Description", "")),
        both("AccessionNumber"),
        both("StudyInstanceUID"),
        "" if whole else one_line(row.get("SeriesInstanceUID", "")),
        number,
        _count(row.get(f"NumberOf{level}RelatedInstances")),
    )


def _patients(studies: list[Match]) -> list[Match]:
    """One match a patient: number counts studies, date is the latest."""
    by: dict[str, list[Match]] = {}
    for one in studies:
        by.setdefault(one.patient, []).append(one)
    found = []
    for patient, own in by.items():
        counts = [one.instances for one in own]
        total = sum(c for c in counts if c is not None) if None not in counts else None
        kinds = " ".join(dict.fromkeys(" ".join(one.modality for one in own).split()))
        latest = max(one.date for one in own)
        found.append(Match(patient, own[0].name, latest, kinds, "", "", "", "", len(own), total))
    return found


def _count(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _day(text: str) -> str:
    found = _DATE.fullmatch(text)
    return "-".join(found.groups()) if found else text


def _dates(text: str) -> str:
    """A date or range as DICOM asks for it: YYYYMMDD, YYYYMMDD-, -YYYYMMDD, YYYYMMDD-YYYYMMDD (PS3.4 C.2.2.2.5)."""
    if not text:
        return ""
    ends = text.split("..")
    if len(ends) > 2 or not any(ends):
        raise InputError(f'date "{one_line(text)}": want 2024-01-31, or a range 2024-01-01..2024-12-31')
    plain = []
    for end in ends:
        found = _DATE.fullmatch(end)
        if end and not found:
            raise InputError(f'date "{one_line(text)}": want 2024-01-31, or a range 2024-01-01..2024-12-31')
        plain.append("".join(found.groups()) if found else "")
    return "-".join(plain)


def _speaks_of(text: str, wanted: str) -> bool:
    """Whether words stand in a description, in capitals or not: asked of a server, capitals would count (PS3.4 C.2.2.2.1)."""
    return not wanted or fnmatchcase(text.lower(), f"*{_literal(wanted.lower())}*")


def _literal(pattern: str) -> str:
    """With * and ? as wildcards only."""
    return pattern.replace("[", "[[]")


def _agrees(row: Row, keys: Mapping[str, str]) -> bool:
    """Whether a row matches, as far as it says anything about each key."""
    for keyword, wanted in keys.items():
        said = row.get(keyword)
        if not said:
            continue
        if keyword == "StudyDate":
            low, _, high = wanted.partition("-") if "-" in wanted else (wanted, "", wanted)
            good = (low or "0") <= said <= (high or "9")
        elif keyword == "ModalitiesInStudy":
            good = wanted in said.split("\\")
        else:
            good = fnmatchcase(said.lower(), _literal(wanted.lower()))
        if not good:
            return False
    return True
