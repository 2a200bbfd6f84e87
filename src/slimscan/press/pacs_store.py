"""Store instances on an archive, never replacing any: looked up before, fetched back and compared afterwards."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimscan.errors import CheckFailed, InputError, ServerError, SlimscanError
from slimscan.pacs import Instance, Server, part10, search
from slimscan.pacs.receive import compared

BYTES = "data set, byte for byte"
ELEMENTS = "every element, and the pixel data byte for byte; the server writes lengths of sequences another way"
NOT = "not fetched back (--no-verify)"


@dataclass(frozen=True, slots=True)
class Stored:
    """What `store` did. The fields are the keys of `dicom store --json`.

    stored: SOP Instance UIDs that are new there. skipped: those that the server held before, with the same data set.
    series: their series. bytes: of the stored files. compared: what was compared after fetching back. File meta
    information (group 0002) is no part of it but for the transfer syntax: a server writes its own.
    """

    server: str
    stored: tuple[str, ...]
    skipped: tuple[str, ...]
    series: tuple[str, ...]
    bytes: int
    compared: str
    seconds: float


def store(server: Server, paths: Iterable[str | Path], *, verify: bool = True) -> Stored:
    """Store DICOM files, or folders of them, as they are; nothing is transcoded, nothing on the server is replaced.

    Before a byte is sent: every SOP Instance UID is looked up; one that the server holds with the same data set is
    skipped, with another one everything is refused (InputError); a SOP class and transfer syntax that it does not take
    is named (ServerError). Afterwards every instance is fetched back and compared (verify). What another client stores
    under the same UID between the two is found by that comparison, not prevented.

    InputError: no DICOM file, UIDs missing or twice. ServerError: `.stored` names what was stored before it broke off.
    CheckFailed: what came back differs.
    """
    started = time.perf_counter()
    ours = gathered(paths)
    with tempfile.TemporaryDirectory(prefix="slimscan-") as scratch:
        there = search.held(server, ours)
        same = list(_same(server, [one for one in ours if one.uid in there], there, Path(scratch)))
        new = [one for one in ours if one.uid not in there]
        if new:
            server.admit(new, verify)
        done: list[Instance] = []
        try:
            for one in server.send(new):
                done.append(one)
        except BaseException as error:
            stopped = _stopped(server, new, done, error)
            if stopped is None:
                raise
            raise stopped from error
        said = NOT
        if verify:
            said = _verified(server, done, Path(scratch)) if done else BYTES
    return Stored(
        server.name,
        tuple(one.uid for one in done),
        tuple(one.uid for one in same),
        tuple(dict.fromkeys(one.series for one in ours)),
        sum(one.bytes for one in done),
        said,
        round(time.perf_counter() - started, 3),
    )


def gathered(paths: Iterable[str | Path]) -> list[Instance]:
    """Every instance of files and folders (and folders in them), by path. InputError: none, no DICOM, a UID twice."""
    found: dict[str, Instance] = {}
    for path in _files([Path(path) for path in paths]):
        one = part10.instance(path)
        if one.uid in found:
            raise InputError(f"{path}: has the SOP Instance UID of {found[one.uid].path}; store one of the two")
        found[one.uid] = one
    if not found:
        raise InputError(
            f"{', '.join(str(path) for path in paths)}: holds no DICOM file; give files or folders of them"
        )
    return list(found.values())


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            for folder, inner, names in os.walk(path):
                inner.sort()
                yield from (Path(folder) / name for name in sorted(names) if name != "DICOMDIR")
        elif path.is_file():
            yield path
        else:
            raise InputError(f"{path}: is not there; give DICOM files or folders of them")


def _same(server: Server, ours: Sequence[Instance], there: dict[str, Instance], scratch: Path) -> Iterator[Instance]:
    """Those that the server holds already, found to be the same; InputError for one that is not."""
    for study, series in dict.fromkeys((one.study, one.series) for one in ours):
        own = [one for one in ours if (one.study, one.series) == (study, series)]
        for one in own:
            other = there[one.uid]
            if (other.study, other.series) != (study, series):
                raise _taken(server, one, f"in series {other.series}")
        for one, found in compared(server, own, search.instances(server, study, series), scratch):
            if not found.same:
                raise _taken(server, one, f"with other content ({'; '.join(found.differs)})")
            yield one


def _taken(server: Server, one: Instance, how: str) -> InputError:
    return InputError(
        f"{one.path}: {server.name} holds SOP Instance UID {one.uid} already, {how}; nothing was stored, because nothing"
        " is ever replaced; give it a new UID"
    )


def _verified(server: Server, done: Sequence[Instance], scratch: Path) -> str:
    """What was compared; CheckFailed naming the first instance that differs or is not there."""
    bytewise = True
    for study, series in dict.fromkeys((one.study, one.series) for one in done):
        own = [one for one in done if (one.study, one.series) == (study, series)]
        there = search.instances(server, study, series)
        gone = [one.uid for one in own if one.uid not in there]
        if gone:
            raise _failed(f"{server.name}: took {gone[0]} and does not list it ({len(gone)} such)", done)
        try:
            for one, found in compared(server, own, there, scratch):
                if not found.same:
                    told = "; ".join(found.differs)
                    raise _failed(f"{server.name}: {one.uid} comes back changed: {told}; the server holds it so", done)
                bytewise = bytewise and found.bytewise
        except ServerError as error:
            raise _told(
                ServerError(f"{error}; {len(done)} instances were stored, and not all were compared"), done
            ) from error
    return BYTES if bytewise else ELEMENTS


def _failed(text: str, done: Sequence[Instance]) -> CheckFailed:
    error = CheckFailed(text)
    error.stored = tuple(one.uid for one in done)  # type: ignore[attr-defined] # as a ServerError has it
    return error


def _told(error: ServerError, done: Sequence[Instance]) -> ServerError:
    error.stored = tuple(one.uid for one in done)
    return error


def _stopped(
    server: Server, new: Sequence[Instance], done: list[Instance], error: BaseException
) -> BaseException | None:
    """The error that says what is stored now, None when the error is to go on as it is: what was under way is looked up."""
    doubt = ""
    try:
        known = {one.uid for one in done}
        there = search.held(server, [one for one in new if one.uid not in known])
        done.extend(one for one in new if one.uid in there)
    except SlimscanError:
        doubt = f"{len(done)} or {len(done) + 1}" if len(done) < len(new) else ""
    if not isinstance(error, SlimscanError):
        return None
    said = f"{doubt or len(done)} of {len(new)} instances are stored"
    return _told(ServerError(f"{error}; {said}{'; the same command again stores the rest' if done else ''}"), done)
