"""Instances drawn from a server, with every check that its word needs before a name on our disk comes of it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from slimscan.errors import InputError, ServerError
from slimscan.pacs import part10
from slimscan.pacs.noun import Instance, Server, one_line


def receive(server: Server, wanted: Mapping[str, Instance], folder: Path, *, whole: bool) -> dict[str, Instance]:
    """Draw instances of ONE series into `folder` as <SOPInstanceUID>.dcm, and say what each is.

    wanted: SOPInstanceUID -> instance, as the server listed it; at least one. whole: these are all that the series
    holds, so it is asked for in one go. File names are made of UIDs that consist of digits and dots, never of what a
    server calls a file. ServerError: something is missing, was sent twice with other bytes, stands in another series,
    or is no DICOM file.
    """
    first = next(iter(wanted.values()))
    study, series = first.study, first.series
    classes = frozenset(one.sop_class for one in wanted.values() if one.sop_class)
    found: dict[str, Instance] = {}
    with _incoming(folder) as incoming:
        for path in server.draw(study, series, None if whole else sorted(wanted), incoming, classes):
            try:
                one = part10.instance(path)
            except InputError as error:
                said = one_line(str(error).replace(str(path), "an instance"))
                raise ServerError(f"{server.name}: sent what cannot be kept: {said}") from None
            if (one.study, one.series) != (study, series) or one.uid not in wanted:
                raise ServerError(
                    f"{server.name}: was asked for series {series} and sent instance {one.uid} of series {one.series},"
                    " which it does not list there"
                )
            place = folder / f"{one.uid}.dcm"
            if one.uid in found:
                if not part10.compare(place, path).same:
                    raise ServerError(f"{server.name}: sent {one.uid} twice, and not the same")
                continue
            path.rename(place)
            found[one.uid] = replace(one, path=place)
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise ServerError(
            f"{server.name}: lists {len(wanted)} instances of series {series} and sent {len(found)};"
            f" {missing[0]} is missing"
        )
    return found


def compared(
    server: Server, ours: Sequence[Instance], listed: Mapping[str, Instance], scratch: Path
) -> Iterator[tuple[Instance, part10.Comparison]]:
    """Fetch our instances of ONE series back from where they are listed, and compare each with its file.

    Nothing of what was fetched stays in `scratch`.
    """
    theirs = {one.uid: listed[one.uid] for one in ours}
    whole = theirs.keys() == listed.keys()
    with _incoming(scratch) as folder:
        back = receive(server, theirs, folder, whole=whole)
        for one in ours:
            yield one, part10.compare(one.path, back[one.uid].path)


@contextmanager
def _incoming(folder: Path) -> Iterator[Path]:
    """An empty folder inside `folder`, removed with all that is left in it."""
    place = folder / f"incoming-{secrets.token_hex(8)}"
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
