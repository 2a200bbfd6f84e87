"""slimscan dicom seg and take: masks into DICOM Segmentations, and single segments out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

SEG = """Write a mask as a DICOM Segmentation of the series that it was drawn on.

MASK is any image that slimscan reads, on the grid of SERIES: axes may be swapped or turned round, because affines say
where each voxel lies, but nothing is ever resampled. Labels become segments; names that SNOMED CT has for segments get
its codes. What was written is read back and compared with the mask. Every command reads it again as a label map.

[bold]Examples[/bold]

  slimscan dicom seg organs.nii.gz --on ct/ -o organs.dcm --labels "1=Spleen,5=Liver"

  slimscan dicom seg organs.ozx --on ct/ -o organs.dcm --labels labels.toml --by "automatic:TotalSegmentator 2"

  slimscan dicom seg probability.nii.gz --on ct/ -o tumour.dcm --labels "1=Neoplasm" --pack rle
"""

TAKE = """Take one segment out of a DICOM Segmentation: a mask of 0 and 1, or a probability map.

For segments that overlap, which no label map holds. The numbers are those that `slimscan info` lists.

[bold]Example[/bold]

  slimscan dicom take organs.dcm --segment 2 -o liver.nii.gz
"""

Force = Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add(app: typer.Typer, flow: Callable[[str], str]) -> None:
    """Hang the commands on the group; flow lets the terminal wrap a help text."""
    app.command("seg", help=flow(SEG))(seg)
    app.command("take", help=flow(TAKE))(take)


def seg(
    mask: Annotated[str, typer.Argument(metavar="MASK", help="Labels, a binary mask, or probabilities of 0 to 1.")],
    series: Annotated[str, typer.Option("--on", metavar="SERIES", help="The DICOM series: a folder, or one file.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT.dcm", help="The file to write.")],
    labels: Annotated[
        str | None,
        typer.Option(metavar="TOML|1=NAME,...", help="What each label is. Default: what MASK says, or Label N."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="binary, labelmap or fractional. Default: fractional for fractions, else binary."
        ),
    ] = "auto",
    pack: Annotated[
        str, typer.Option(metavar="HOW", help="none, deflate, or rle (not for binary); all lossless.")
    ] = "none",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="WHO", help="manual, automatic:NAME or semiautomatic:NAME. Default: semiautomatic:unknown."
        ),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Write a mask as a DICOM Segmentation."""
    from slimscan.cli.say import say_json, say_pairs, size
    from slimscan.errors import InputError
    from slimscan.files.dicom.segterms import labels_of
    from slimscan.press.segmentation import write_segmentation

    if not output.lower().endswith(".dcm"):
        raise InputError(f"{output}: a segmentation is one DICOM file; end its name with .dcm")
    done = write_segmentation(
        mask,
        series,
        output,
        labels=labels_of(labels) if labels else None,
        kind=kind,
        packing=pack,
        algorithm=made_by(by) if by else None,
        force=force,
    )
    if as_json:
        say_json(done)
        return 0
    print(done["output"])
    pairs = [
        ("kind", f"{done['kind']}, {done['frames']} frames of {done['shape'][1]} x {done['shape'][2]}"),
        ("size", f"{size(done['file_bytes'])} of {size(done['raw_bytes'])} raw"),
        ("read back", "the same labels in every voxel"),
    ]
    if done["kind"] == "fractional":
        pairs[2] = ("read back", f"as stored; rounded to 255 steps, off by {done['largest_rounding']:.2g} at most")
    say_pairs(pairs)
    tell_segments(done["segments"])
    return 0


def take(
    path: Annotated[str, typer.Argument(metavar="SEG", help="A DICOM Segmentation.")],
    number: Annotated[int, typer.Option("--segment", metavar="N", help="Its number.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help=".nii .nii.gz .mha or .nrrd")],
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Decode SEG in child processes with limits: it may be made to harm.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Take one segment out of a DICOM Segmentation."""
    from slimscan.child import apart
    from slimscan.cli.say import say_json
    from slimscan.press.segmentation import take_segment

    with apart(untrusted):
        done = take_segment(path, number, output, force=force)
    if as_json:
        say_json(done)
        return 0
    print(done["output"])
    tell_segments(done["segments"])
    return 0


def made_by(text: str) -> tuple[str, str]:
    """SegmentAlgorithmType and its name; InputError with what is allowed."""
    from slimscan.errors import InputError

    kind, _, name = text.partition(":")
    kind, name = kind.strip().upper(), name.strip()
    if kind == "MANUAL":
        return kind, name or "manual"
    if kind not in ("AUTOMATIC", "SEMIAUTOMATIC") or not 0 < len(name) <= 64:
        raise InputError(
            f'--by "{text}": want manual, automatic:NAME or semiautomatic:NAME with a name of 1 to 64 characters'
        )
    return kind, name


def tell_segments(segments: Sequence[Mapping[str, Any]]) -> None:
    """A line for every segment: number, label in the mask where it is another, name and code."""
    from slimscan.cli.say import say_table

    rows = [["  segment", "label", "name", "category", "type", "code"]]
    for one in segments:
        side = f", {one['side']['meaning']}" if one.get("side") else ""
        kind, category = one.get("type") or {}, one.get("category") or {}
        rows.append(
            [
                f"  {one['number']}",
                str(one["value"]),
                str(one["label"]),
                str(category.get("meaning", "")),
                f"{kind.get('meaning', '')}{side}",
                f"{kind.get('scheme', '')} {kind.get('value', '')}".strip(),
            ]
        )
    say_table(rows)
