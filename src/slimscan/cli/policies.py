"""slimscan policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

HELP = """List the guidelines of --policy: the largest ratio for each modality and body part, with its source.

[bold]Examples[/bold]

  slimscan policies

  slimscan compress dicom_folder/ -o small/ --policy drg2008
"""


def command(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> int:
    """Print the table."""
    from slimscan.cli.say import say_json, say_table
    from slimscan.press.policy import guidelines

    if as_json:
        say_json({"policies": list(guidelines().values())})
        return 0
    for name, found in guidelines().items():
        print(f"{name}: {found.title}. {found.publisher}, {found.year}; {found.status}.")
        print(f"  {found.source}. {found.url}")
        print(f"  speaks of: {', '.join(found.algorithms)}; here: --codec {' or '.join(found.codecs)}")
        print(f"  does not cover: {'; '.join(found.not_covered)}")
        for caution in found.cautions:
            print(f"  caution ({', '.join(caution['modalities'])}, {', '.join(caution['codecs'])}): {caution['text']}")
        say_table(
            [["  modality", "what", "ratio at most"]]
            + [[f"  {' '.join(row.modalities)}", row.what, f"{row.ratio:g}"] for row in found.rows]
        )
        print()
    return 0


def told(policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a receipt says of its guideline, as pairs for people."""
    part = f", body part {policy['body_part']}" if policy["body_part"] else ""
    slices = ""
    if policy["above"]:
        slices = f"; {policy['above']} chunk(s) above it by themselves, up to {policy['ratio_slices'][1]:.3g} (--per slice bounds each)"
    return [
        ("policy", f"{policy['name']}, {policy['status']}: {policy['row']}, ratio at most {policy['ratio_at_most']:g}"),
        ("", f"for modality {policy['modality']}{part}; got {policy['ratio']:.4g}{slices}"),
        ("", f"{policy['publisher']}, {policy['year']}. {policy['source']}. {policy['url']}"),
        ("", f"does not cover: {'; '.join(policy['not_covered'])}"),
    ]
