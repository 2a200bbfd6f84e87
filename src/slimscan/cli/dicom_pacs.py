"""slimscan dicom find, fetch, store, shrink: talking to an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from slimscan.pacs import Server
    from slimscan.press.pacs_shrink import ShrunkSeries

_ADDRESSES = """SERVER is http(s)://host:port/dicom-web (DICOMweb), or dicom://CALLED@host:port (DIMSE; CALLED is its AE
title). Credentials for DICOMweb come from the environment: SLIMSCAN_PACS_USER and SLIMSCAN_PACS_PASSWORD, or
SLIMSCAN_PACS_TOKEN."""

FIND = f"""List what an archive holds: patients, studies or series.

{_ADDRESSES}

[bold]Examples[/bold]

  slimscan dicom find http://localhost:8042/dicom-web --modality CT --date 2024-01-01..2024-12-31

  slimscan dicom find dicom://ORTHANC@localhost:4242 --study 1.2.3 --level series
"""

FETCH = f"""Draw a study or a series from an archive, byte for byte as it is stored there.

A folder a series, a file an instance, named by their UIDs; whole or not at all. Over dicom:// instances come by C-GET, or
with --listen by C-MOVE to that port, which the server must know under our AE title (--calling).

{_ADDRESSES}

[bold]Examples[/bold]

  slimscan dicom fetch http://localhost:8042/dicom-web --study 1.2.3 -o study/

  slimscan dicom fetch dicom://ORTHANC@localhost:4242 --series 1.2.3.4 --calling ME --listen 11113 -o series/
"""

STORE = f"""Store DICOM files on an archive as they are, and never replace anything there.

Every SOP Instance UID is looked up first: one that the server holds with the same content is skipped, with other content
all are refused. Afterwards each instance is fetched back and compared before this says done.

{_ADDRESSES}

[bold]Example[/bold]

  slimscan dicom store http://localhost:8042/dicom-web small/
"""

SHRINK = f"""Compress a study or a series on an archive, and store it there as a new series beside the original.

It is drawn into a scratch folder, compressed to ONE target (as `slimscan compress`), read back and checked, stored,
fetched back and compared; then the original is listed again. Lossless recoding keeps the UIDs of an image and cannot stand
beside it: --new-uids stores exact copies under new UIDs that name their source.

{_ADDRESSES}

[bold]Examples[/bold]

  slimscan dicom shrink http://localhost:8042/dicom-web --study 1.2.3 --ratio 8

  slimscan dicom shrink dicom://ORTHANC@localhost:4242 --series 1.2.3.4 --lossless --new-uids
"""

ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="http(s)://... or dicom://CALLED@host:port.")]
Calling = Annotated[str, typer.Option(metavar="AET", help="Our AE title, for dicom://.")]
Timeout = Annotated[float, typer.Option(metavar="S", help="Seconds without a word from the server.")]
ListenOption = Annotated[
    str | None, typer.Option("--listen", metavar="[HOST:]PORT", help="Draw by C-MOVE to this port, instead of C-GET.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add(app: typer.Typer, flow: Callable[[str], str]) -> None:
    """Hang the commands on the group `slimscan dicom`."""
    for name, text, function in (
        ("find", FIND, find),
        ("fetch", FETCH, fetch),
        ("store", STORE, store),
        ("shrink", SHRINK, shrink),
    ):
        app.command(name, help=flow(text))(function)


def find(
    server: ServerArgument,
    level: Annotated[str, typer.Option(metavar="LEVEL", help="patient, study or series.")] = "study",
    patient: Annotated[str, typer.Option(metavar="ID", help="Patient ID; * and ? are wildcards.")] = "",
    date: Annotated[str, typer.Option(metavar="DATE[..DATE]", help="Of the study: a day, or a range.")] = "",
    modality: Annotated[str, typer.Option(metavar="MOD", help="CT, MR, ...: a study that has such a series.")] = "",
    accession: Annotated[str, typer.Option(metavar="NUMBER", help="Accession number.")] = "",
    description: Annotated[str, typer.Option(metavar="WORDS", help="In the description of the study or series.")] = "",
    study: Annotated[str, typer.Option(metavar="UID", help="This study only.")] = "",
    calling: Calling = "SLIMSCAN",
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> int:
    """List what an archive holds."""
    from slimscan.cli.say import say_json, say_table
    from slimscan.pacs import search

    query = search.Query(level, patient, date, modality, accession, description, study)  # type: ignore[arg-type] # find() says what is allowed
    with _connected(server, calling, timeout) as there:
        found = search.find(there, query)
    if as_json:
        say_json({"server": there.name, "level": level, "matches": found})
        return 0
    if not found:
        print("nothing matches")
        return 0
    rows = [[*_HEADS[level]]]
    for one in found:
        count, number = ("" if n is None else str(n) for n in (one.instances, one.number))
        who = [one.patient[:24], one.name[:24], one.date]
        if level == "patient":
            rows.append([*who, one.modality, number, count])
        elif level == "study":
            rows.append([*who, one.accession, one.modality, one.description[:32], number, count, one.study])
        else:
            rows.append([*who, one.modality, number, one.description[:32], count, one.study, one.series])
    say_table(rows)
    return 0


_HEADS = {
    "patient": ("patient", "name", "latest", "modality", "studies", "instances"),
    "study": ("patient", "name", "date", "accession", "modality", "description", "series", "instances", "study UID"),
    "series": ("patient", "name", "date", "modality", "no", "description", "instances", "study UID", "series UID"),
}


def fetch(
    server: ServerArgument,
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT/", help="A folder that is made for it.")],
    study: Annotated[str, typer.Option(metavar="UID", help="Every series of this study.")] = "",
    series: Annotated[str, typer.Option(metavar="UID", help="This series.")] = "",
    calling: Calling = "SLIMSCAN",
    listen: ListenOption = None,
    timeout: Timeout = 30.0,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder of DICOM files that stands at OUT.")] = False,
    as_json: Json = False,
) -> int:
    """Draw a study or a series from an archive."""
    from slimscan.cli.say import say_json, size
    from slimscan.pacs.part10 import syntax_name
    from slimscan.press.pacs_fetch import fetch as draw

    with _connected(server, calling, timeout, listen) as there:
        found = draw(there, output, study=study, series=series, force=force)
    if as_json:
        say_json(found)
        return 0
    for one in found.series:
        names = ", ".join(map(syntax_name, one.syntaxes))
        print(f"{one.folder}: {one.instances} instances, {size(one.bytes)}, {names}")
    return 0


def store(
    server: ServerArgument,
    sources: Annotated[list[str], typer.Argument(metavar="SRC...", help="DICOM files, or folders of them.")],
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not fetch back what was stored.")] = False,
    calling: Calling = "SLIMSCAN",
    listen: ListenOption = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> int:
    """Store DICOM files on an archive."""
    from slimscan.cli.say import say_json, size
    from slimscan.press.pacs_store import store as put

    with _connected(server, calling, timeout, listen) as there:
        try:
            done = put(there, sources, verify=not no_verify)
        except Exception as error:
            uids = getattr(error, "stored", ())
            if as_json and uids:
                say_json({"server": there.name, "stored": uids, "error": str(error)})
            for uid in () if as_json else uids:
                print(f"stored {uid}")
            raise
    if as_json:
        say_json(done)
        return 0
    print(f"{done.server}: {len(done.stored)} instances stored, {size(done.bytes)}, in {done.seconds:.1f} s")
    if done.skipped:
        print(f"  {len(done.skipped)} were there already, the same, and were left alone")
    print(f"  compared: {done.compared}")
    return 0


def shrink(
    server: ServerArgument,
    study: Annotated[str, typer.Option(metavar="UID", help="Every image series of this study.")] = "",
    series: Annotated[str, typer.Option(metavar="UID", help="This series.")] = "",
    codec: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: jpeg2000. One that DICOM has a place for.")
    ] = None,
    ratio: Annotated[float | None, typer.Option(metavar="R", help="Raw bytes / bytes of the files.")] = None,
    psnr: Annotated[float | None, typer.Option(metavar="DB", help="dB over the whole volume, at least this.")] = None,
    peak: Annotated[
        str, typer.Option(metavar="PEAK", help="Of the PSNR: stored, range, dtype, or a number.")
    ] = "stored",
    max_error: Annotated[
        str | None,
        typer.Option("--max-error", metavar="N[UNIT]", help="No voxel is off by more: stored units, or 5HU."),
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Every voxel comes back as it was.")] = False,
    setting: Annotated[str | None, typer.Option(metavar="CODEC@VALUE", help="A codec and its knob: no search.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The largest ratio that a guideline allows: see `slimscan policies`."),
    ] = None,
    modality: Annotated[str | None, typer.Option(metavar="CT|MR|...", help="With --policy.")] = None,
    body_part: Annotated[str | None, typer.Option("--body-part", metavar="WORD", help="With --policy.")] = None,
    allow_lossy_again: Annotated[
        bool, typer.Option("--allow-lossy-again", help="Also images that were compressed with loss before.")
    ] = False,
    per: Annotated[str, typer.Option(metavar="volume|slice", help="What the target speaks of.")] = "volume",
    untrusted: Annotated[bool, typer.Option("--untrusted", help="Decode in child processes with limits.")] = False,
    new_uids: Annotated[
        bool, typer.Option("--new-uids", help="Exact recodings become copies under new UIDs that name their source.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", metavar="SERVER", help="Store there instead.")] = None,
    calling: Calling = "SLIMSCAN",
    listen: ListenOption = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> int:
    """Compress a study or a series on an archive into a new series."""
    from contextlib import nullcontext

    from slimscan.cli.compress import peak_of, policy_of, target_of
    from slimscan.cli.say import say_json
    from slimscan.errors import InputError
    from slimscan.press.pacs_shrink import shrink as press

    target = target_of(ratio, psnr, peak, max_error, lossless, setting, policy_of(policy, modality, body_part))
    if per not in ("volume", "slice"):
        raise InputError(f'--per "{per}" is not known; allowed: volume, slice')
    options: dict[str, Any] = {"codec": codec, "per": per, "peak": peak_of(peak), "untrusted": untrusted}
    options["allow_lossy_again"] = allow_lossy_again
    with (
        _connected(server, calling, timeout, listen) as there,
        nullcontext() if to is None else _connected(to, calling, timeout, _for(to, listen)) as other,
    ):
        done = press(there, target=target, study=study, series=series, to=other, new_uids=new_uids, options=options)
    if as_json:
        say_json(done)
        return 0
    for one in done.series:
        _tell(one, done.to)
    for number, why in done.passed_over.items():
        print(f"series {number}: passed over: {why}")
    return 0


def _tell(one: ShrunkSeries, to: str) -> None:
    from slimscan.cli.compress import _tell as tell_receipt
    from slimscan.cli.say import size

    tell_receipt(one.receipt)
    print(
        f"  stored    {len(one.stored.stored)} instances on {to}, {size(one.stored_bytes)} of {size(one.fetched_bytes)}"
    )
    if one.stored.skipped:
        print(f"  skipped   {len(one.stored.skipped)} that were there already, the same")
    print(f"  compared  {one.stored.compared}")
    print(f"  original  series {one.original} lists the same {one.intact} instances as before")


def _for(server: str, listen: str | None) -> str | None:
    return listen if server.startswith("dicom:") else None


@contextmanager
def _connected(server: str, calling: str, timeout: float, listen: str | None = None) -> Iterator[Server]:
    """A server, its connections ended at the end; a note when a password would travel in the open."""
    import os

    from slimscan.cli.say import note
    from slimscan.pacs import address, connect

    place = address(server)
    local = place.host in ("localhost", "127.0.0.1", "::1")
    secret = os.environ.get("SLIMSCAN_PACS_TOKEN") or os.environ.get("SLIMSCAN_PACS_PASSWORD")
    if place.kind == "web" and not place.secure and not local and secret:
        note(f"{place.name}: credentials travel unencrypted; https:// hides them")
    found = connect(place, calling=calling, timeout=timeout, listen=listen)
    try:
        yield found
    finally:
        found.close()
