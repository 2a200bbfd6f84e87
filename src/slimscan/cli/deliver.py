"""slimscan serve, receive and send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SERVE_HELP = """Serve the .ozx files in a folder: their bytes by ranges, and a page that shows them.

Reachable from this machine only, unless --host says otherwise; then a token is needed, and TLS in front (a reverse proxy, or
an SSH tunnel), since this server speaks plain HTTP. Only files whose names end in .ozx are served, nothing hidden, and no link
is followed. Open the address in a browser to look, or fetch with `slimscan receive`.

[bold]Examples[/bold]

  slimscan serve scans

  slimscan serve scans --host 0.0.0.0 --token-file token.txt
"""

RECEIVE_HELP = """Fetch an .ozx from `slimscan serve`, the region first; OUT is a usable volume after every step.

The steps: look (every 8th slice, the others interpolated), region (the slices of the region, as they were stored), rest (all
slices), exact (the original, where the file holds a residual or lost nothing). A volume that is not whole says INCOMPLETE in its
header. A cut line is tried again; after a kill the same command goes on from OUT.part. The last volume is checked
against the checksum in the file's receipt.

[bold]Examples[/bold]

  slimscan receive http://localhost:8765/ct.ozx -o ct.nii.gz

  slimscan receive https://hospital.example/scans/bytes/ct.ozx -o ct.nii.gz --until region --token-file token.txt
"""

SEND_HELP = """Say how long an .ozx takes over a line, step by step, beside the same image as .nii.gz and by plain codecs.

The line is RATE[,loss=P%][,rtt=Tms]. Times are a model: one TCP flow carries at most MSS / RTT x sqrt(3/2) / sqrt(loss) (Mathis
1997), and starts slowly. With --real the file is also served on this machine and received through a proxy that is as
slow as the line, by the clock, decoding and writing included.

[bold]Examples[/bold]

  slimscan send ct.ozx --simulate 2mbps,loss=1%,rtt=120ms

  slimscan send ct.ozx --simulate 2mbps --real --against ct.nii.gz
"""

TokenFile = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="The token, in a file; else SLIMSCAN_TOKEN.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of .ozx files.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="TCP port.")] = 8765,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    token_file: TokenFile = None,
) -> int:
    """Serve until stopped."""
    from slimscan.errors import InputError, OutputError
    from slimscan.press.deliver import shown
    from slimscan.wire import gate, server

    for need in server.NEEDS:
        need.demand("serving volumes")
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; name one that holds .ozx files")
    token = gate.token_from(token_file)
    gate.admit_host(host, token)
    listening = server.listen(host, port)
    if listening is None:
        raise OutputError(f"--port {port}: cannot listen on {host}:{port}; is it taken? --port 0 finds a free one")
    where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
    print(f"serving {folder} at {where}{' (token needed)' if token else ''}; Ctrl-C stops", flush=True)
    server.run(folder, listening, token, shown)
    return 0


def receive(
    url: Annotated[str, typer.Argument(metavar="URL", help="http://HOST:PORT/NAME.ozx of a `slimscan serve`.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help=".nii .nii.gz .tif .mha .nrrd, or .ozx as it is.")
    ],
    until: Annotated[
        str, typer.Option("--until", metavar="STEP", help="Stop after look, region, rest or exact.")
    ] = "exact",
    token_file: TokenFile = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Decode in child processes with limits: the server may mean harm.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Receive one image."""
    from slimscan.cli.say import note, say_json, size
    from slimscan.press import deliver
    from slimscan.wire.gate import token_from

    done = deliver.receive(
        url, output, until=until, token=token_from(token_file), force=force, untrusted=untrusted, say=note
    )
    if as_json:
        say_json(done)
        return 0
    print(
        f"{done.output}\n  {size(done.fetched_bytes)} in {done.seconds:.1f} s, {size(done.found_bytes)} were here before"
    )
    for step in done.steps:
        written = "more came before it was written" if step.usable_s is None else f"usable after {step.usable_s:.1f} s"
        print(f"  {step.says or step.step}: {size(step.bytes)}, here after {step.arrived_s:.1f} s, {written}")
    for check in done.checks:
        print(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}: asked {check.asked}, got {check.got}")
    if done.exact:
        print("  this is the original, voxel for voxel")
    for text in done.notes:
        print(f"  {text}")
    if not done.complete:
        print(f"  not complete; the same command with a later --until goes on from {done.part}")
    return 0


def send(
    source: Annotated[str, typer.Argument(metavar="SRC", help="An .ozx.")],
    simulate: Annotated[
        str,
        typer.Option("--simulate", metavar="LINE", help="RATE[,loss=P%][,rtt=Tms], such as 2mbps,loss=1%,rtt=120ms."),
    ],
    real: Annotated[bool, typer.Option("--real", help="Also send it through a slow proxy here, by the clock.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="FILE", help="The original, to compare with; else SRC decoded.")
    ] = None,
    codecs: Annotated[
        str, typer.Option("--codecs", help="Plain lossless codecs to compare with, by comma.")
    ] = "jpegls,jpeg2000,htj2k",
    as_json: AsJson = False,
) -> int:
    """Simulate sending one image."""
    from slimscan.cli.say import say_json, say_table, size
    from slimscan.press.send import simulated

    said = simulated(source, simulate, real=real, against=against, codecs=[c for c in codecs.split(",") if c.strip()])
    if as_json:
        say_json(said)
        return 0
    head = ["what", "bytes", "s by the model", *(["s by the clock"] if real else [])]
    rows = [head]
    for row in said.rows:
        clock = ["" if row.clock_s is None else f"{row.clock_s:.1f}"] if real else []
        rows.append([row.what, size(row.bytes), f"{row.model_s:.1f}", *clock])
    print(f"{said.source} over {said.line}: one flow carries {said.bytes_per_s / 1e3:.0f} kB/s")
    say_table(rows)
    for text in said.notes:
        print(text)
    return 0
