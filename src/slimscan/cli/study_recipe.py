"""slimscan study recipe: a published protocol that is no study of levels, over one's own images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RECIPE = """Run the protocol of Luu 2021: calm what lies outside a region, and measure what that saves with every coder.

Writes report.html: ratios, PSNR, SSIM, entropy, time and memory beside the paper's tables, its t tests, and the verdict of
a contract. Cases that were measured before are not measured again. Exit 3 when the contract is not met.

[bold]Examples[/bold]

  slimscan study new --recipe luu2021 -o luu2021.toml

  slimscan study recipe luu2021.toml -o OUT
"""


def recipe(
    toml: Annotated[str, typer.Argument(metavar="TOML", help="Written by `slimscan study new --recipe luu2021`.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Results. Default: the TOML's name beside it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Run the protocol of Luu 2021."""
    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import bar, say_json, say_table
    from slimscan.report.luu2021 import summary, write_html
    from slimscan.study.recipes.luu2021.run import run
    from slimscan.study.recipes.luu2021.words import load

    place = Path(toml)
    protocol = load(place)
    folder = Path(output) if output else place.with_suffix("")
    with bar(protocol.said["study"]["name"]) as progress:
        found = run(protocol, folder, progress)
    page = write_html(found, folder / "report.html")
    told = {**summary(found), "report": str(page)}
    if as_json:
        say_json(told)
    else:
        rows = [["coder", "original", "diffused", "improvement"]]
        rows += [
            [one.coder, f"{one.original:.2f}", f"{one.diffused:.2f}", f"{one.percent:+.0f} %"]
            for one in found.improvements
        ]
        say_table(rows)
        for name, code in [*told["likeness"].items(), *(told["reading"] or {}).items()]:
            print(f"{name}: {code}")
        print(f"patients: {told['patients']} here, at least {told['patients_needed']} needed")
        print(page)
    codes = [*told["likeness"].values(), *(told["reading"] or {}).values()]
    met = {"CERTIFIED", "ALL_CERTIFIED_GRID_EXHAUSTED"}
    return DONE if all(code in met for code in codes) else CHECK_FAILED
