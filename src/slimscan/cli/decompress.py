"""slimscan decompress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Write the decoded pixels of a compressed image in a format that every program reads.

The header of the source comes back byte for byte where the format is the source's own (NIfTI to NIfTI).

[bold]Examples[/bold]

  slimscan decompress ct.ozx -o ct.nii.gz

  slimscan decompress stack.ozx -o stack.ome.tif

  slimscan decompress ct.ozx -o ct.nii --exact
"""


def command(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A compressed image (or any image: formats are converted).")
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help=".nii .nii.gz .tif .mha .nrrd, or DICOM.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Decode SRC in child processes with limits: it may be made to harm.")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="The original, bit for bit: of a file that `compress --residual` wrote.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Decode one image."""
    from slimscan.cli.say import bar, say_json, size
    from slimscan.press.decompress import decompress

    with bar(Path(source).name) as progress:
        done = decompress(source, output, force=force, untrusted=untrusted, exact=exact, progress=progress)
    if as_json:
        say_json(done)
    else:
        print(f"{done.output}\n  {size(done.file_bytes)}, {'x'.join(map(str, done.shape))} {done.dtype}")
        for check in done.checks:
            print(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}: asked {check.asked}, got {check.got}")
    return 0
