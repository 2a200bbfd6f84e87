"""slimscan score."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Score folders of masks: every reference against the prediction of the same name.

Labels are whole numbers; without --classes everything that is not 0 is one class. Metrics: dice, jaccard, jaccard_mean,
average_hausdorff, hausdorff, hd95, smbd, normalized_surface_dice, centreline_dice, volume_ml, volume_mm3,
skeleton_length_mm, branch_count. Distances are in mm. A missing prediction scores the worst.

[bold]Examples[/bold]

  slimscan score --reference labels/ --prediction predicted/ --classes 1,2

  slimscan score --reference labels/ --prediction predicted/ --metric dice --metric hd95 --per slice --json
"""


def command(
    reference: Annotated[str, typer.Option("--reference", metavar="DIR", help="True masks: a folder, or one file.")],
    prediction: Annotated[str, typer.Option("--prediction", metavar="DIR", help="Masks to score, of the same names.")],
    classes: Annotated[str | None, typer.Option(help="Label values, 1,2. Default: everything that is not 0.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="A metric; may be repeated.")] = None,
    per: Annotated[str, typer.Option(help="A line for every case, or every slice.")] = "case",
    tolerance_mm: Annotated[float, typer.Option(help="Of normalized_surface_dice.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Score folders of masks."""
    from slimscan.cli.say import say_json, say_table
    from slimscan.errors import InputError
    from slimscan.study.score_folders import DEFAULT, means, score_folders

    if per not in ("case", "slice"):
        raise InputError(f'--per "{per}" is not known; allowed: case, slice')
    try:
        labels = [int(one) for one in (classes or "").replace(",", " ").split()]
    except ValueError:
        raise InputError(f'--classes "{classes}": want whole numbers, for example 1,2') from None
    if 0 in labels:
        raise InputError(f"--classes {classes}: 0 is the background; name the labels of objects")
    lines = score_folders(
        reference,
        prediction,
        classes=labels,
        metrics=tuple(metric or DEFAULT),
        per=per,  # type: ignore[arg-type] # checked above
        tolerance_mm=tolerance_mm,
    )
    mean = means(lines)
    if as_json:
        said = [
            {"case": line.case, "slice": line.slice, "class": line.organ, "missing": line.missing} | line.values
            for line in lines
        ]
        say_json({"per": per, "scores": said, "mean": mean})
        return 0
    names = list(lines[0].values)
    rows = [["case", *(["slice"] if per == "slice" else []), "class", *names]]
    for line in lines:
        place = ["" if line.slice is None else str(line.slice)] if per == "slice" else []
        note = " (missing)" if line.missing else ""
        rows.append([line.case + note, *place, line.organ, *(f"{line.values[name]:.5g}" for name in names)])
    for organ, values in mean.items():
        place = [""] if per == "slice" else []
        rows.append(["mean", *place, organ, *(f"{values[name]:.5g}" for name in names)])
    say_table(rows)
    return 0
