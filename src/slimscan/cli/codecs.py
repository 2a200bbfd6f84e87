"""slimscan codecs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

HELP = """List the codecs: what each can do, on this machine.

[bold]Example[/bold]

  slimscan codecs
"""


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> int:
    """Print the registry."""
    from slimscan.cli.say import say_json, say_table
    from slimscan.codecs import CODECS

    rows = [codec_facts(name) for name in CODECS]
    if as_json:
        say_json({"codecs": rows})
        return 0
    table = [["codec", "modes", "knob (finest end)", "holds", "chunk", "here"]]
    for row in rows:
        modes = ", ".join(mode for mode in ("lossless", "lossy", "bounded") if row[mode])
        knob = (
            ""
            if row["knob"] is None
            else f"{row['knob']} {row['low']:g}..{row['high']:g} {row['unit']}({row['finest']:g})"
        )
        holds = f"{row['bits'][0]}-{row['bits'][1]} bit, {'grey, RGB' if 3 in row['samples'] else 'grey'}"
        chunk = "slice" if row["depth"] == 1 else f"{row['depth']} slices"
        here = "yes" if row["available"] else f'pip install "slimscan[{row["extra"]}]"'
        table.append([str(row["codec"]), modes, knob, holds, chunk, here])
    say_table(table)
    print()
    for row in rows:
        print(f"{row['codec']}: {row['title']}. {row['standard']}. {row['note']}".rstrip(". ") + ".")
    return 0


def codec_facts(name: str) -> dict[str, Any]:
    """One codec as plain values: the rows of `codecs --json` and of the documentation."""
    from slimscan.codecs import CODECS

    codec = CODECS[name]
    knob = codec.knob
    missing = [need for need in codec.needs if need.missing()]
    return {
        "codec": name,
        "title": codec.title,
        "standard": codec.standard,
        "lossless": codec.lossless,
        "lossy": codec.lossy,
        "bounded": codec.bounded,
        "knob": knob.name if knob else None,
        "unit": f"{knob.unit} " if knob and knob.unit else "",
        "low": knob.low if knob else None,
        "high": knob.high if knob else None,
        "finest": (knob.low if knob.finer == "low" else knob.high) if knob else None,
        "dtypes": list(codec.holds.dtypes),
        "bits": list(codec.holds.bits),
        "samples": list(codec.holds.samples),
        "chunk": codec.chunk,
        "depth": codec.depth if codec.chunk == "slab" else 1,
        "note": codec.note,
        "needs": {need.package: need.version() for need in codec.needs},
        "available": not missing,
        "extra": missing[0].extra if missing else "",
    }
