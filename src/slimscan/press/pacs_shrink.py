"""The whole way: drawn from an archive, compressed, checked, stored beside the original, and the original seen again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimscan.errors import CheckFailed, InputError, ServerError, SlimscanError, TargetUnreachable
from slimscan.nouns import Lossless, Policy, Receipt, Target
from slimscan.pacs import Instance, Server, search
from slimscan.pacs.receive import receive
from slimscan.press.compress import compress
from slimscan.press.pacs_fetch import listed
from slimscan.press.pacs_store import Stored, gathered, store

_KEEPS_UIDS = (
    "lossless recoding keeps the SOP Instance UIDs, so it cannot stand beside the original on the same server;"
    " --new-uids stores exact copies under new UIDs that name their source, --to another server keeps them,"
    " and `slimscan dicom fetch` with `slimscan compress --lossless` recodes a copy outside"
)


@dataclass(frozen=True)
class ShrunkSeries:
    """One series. original: SeriesInstanceUID, new: that of the compressed one.

    intact: instances of the original that the server lists after the storing, the same as before. fetched_bytes,
    stored_bytes: whole files.
    """

    original: str
    new: str
    intact: int
    fetched_bytes: int
    stored_bytes: int
    stored: Stored
    receipt: Receipt


@dataclass(frozen=True)
class Shrunk:
    """What `shrink` did. passed_over: series of a study that were not compressed,
    with the reason: reports, localisers that make no volume, images that were lossy before."""

    server: str
    to: str
    study: str
    series: tuple[ShrunkSeries, ...]
    passed_over: Mapping[str, str]


def shrink(
    server: Server,
    *,
    target: Target | Policy,
    study: str = "",
    series: str = "",
    to: Server | None = None,
    new_uids: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Shrunk:
    """Compress a series (or every image series of a study) on a server to a target, and store it there as a new series.

    target, options: as compress() takes them. to: store there instead. new_uids: exact recodings are stored as copies
    under new UIDs (files.dicom.renew). What was compressed is read back from disk by compress(), fetched back from the
    server by store(); the original must list the same instances afterwards (CheckFailed). Scratch folders are removed.
    InputError: no such study or series, nothing in it can be
    compressed so, or UIDs that would be those of the original. A study goes on past a series that cannot be compressed.
    """
    other = to or server
    if isinstance(target, Lossless) and not new_uids and to is None:
        raise InputError(f"{server.name}: {_KEEPS_UIDS}")
    wanted = listed(server, study, series)
    done: list[ShrunkSeries] = []
    passed_over: dict[str, str] = {}
    for number, own in wanted.items():
        try:
            done.append(_one(server, other, own, target, new_uids, dict(options or {})))
        except (InputError, TargetUnreachable) as error:
            if series:
                raise
            passed_over[number] = str(error)
        except (ServerError, CheckFailed) as error:
            before = ", ".join(one.new for one in done)
            if before:
                error.args = (f"{error}; stored before it: series {before}",)
            raise
    name = next(iter(next(iter(wanted.values())).values())).study
    if not done:
        raise InputError(f"{server.name}: study {name}: no series was compressed: {next(iter(passed_over.values()))}")
    return Shrunk(server.name, other.name, name, tuple(done), passed_over)


def _one(
    server: Server,
    other: Server,
    own: Mapping[str, Instance],
    target: Target | Policy,
    new_uids: bool,
    options: dict[str, Any],
) -> ShrunkSeries:
    first = next(iter(own.values()))
    with tempfile.TemporaryDirectory(prefix="slimscan-") as scratch:
        # The receipt that travels in the files names its source: the folder.
        source, small = Path(scratch) / "from" / first.series, Path(scratch) / "small"
        source.mkdir(parents=True)
        came = receive(server, own, source, whole=True)
        if not any(_is_image(one.path) for one in came.values()):
            raise InputError(f"{server.name}: series {first.series} has no pixel data")
        try:
            receipt = compress(source, f"{small}/", target=target, **options)
        except SlimscanError as error:  # nobody knows the scratch folder
            named = f"{server.name} series {first.series}"
            error.args = (
                str(error).replace(f"{small}/", named).replace(str(small), named).replace(str(source), named),
            )
            raise
        made = gathered([small])
        if {one.uid for one in made} & set(own):
            if new_uids:
                from slimscan.files.dicom.renew import renew

                made = gathered(renew([one.path for one in made], Path(scratch) / "renewed"))
            elif other is server:
                raise InputError(f"{server.name}: series {first.series}: {_KEEPS_UIDS}")
        stored = store(other, [one.path for one in made])
    after = search.instances(server, first.study, first.series)
    if other is server and after.keys() != own.keys():
        raise CheckFailed(
            f"{server.name}: series {first.series} lists {len(after)} instances after the storing, {len(own)} before;"
            " look at it before anything else is done"
        )
    return ShrunkSeries(
        first.series,
        made[0].series,
        len(after),
        sum(one.bytes for one in came.values()),
        sum(one.bytes for one in made),
        stored,
        replace(receipt, source=f"{server.name} series {first.series}", output=f"{other.name} series {made[0].series}"),
    )


def _is_image(path: Path) -> bool:
    import warnings

    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return "Rows" in pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"])
