"""slimscan compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Measure how far an image is from its reference.

PSNR with a named peak, MSE, MAE, largest error, SSIM and MS-SSIM (means over slices), SSIM in 3D, entropy, and with
--boxes the weighted total variation inside annotation boxes. --panel draws the worst slice: original, decoded,
difference and a profile.

[bold]Examples[/bold]

  slimscan compare ct.nii.gz ct.ozx

  slimscan compare ct.nii.gz ct.ozx --peak 4096 --mask liver.nii.gz --panel worst.png
"""


def command(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="The original.")],
    test: Annotated[str, typer.Argument(metavar="TEST", help="The image that came back.")],
    peak: Annotated[
        str, typer.Option(metavar="PEAK", help="stored (2^bits - 1), range, dtype, or a number.")
    ] = "stored",
    mask: Annotated[str | None, typer.Option(metavar="IMAGE", help="Count only where this image is not 0.")] = None,
    boxes: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV rows: slice,y0,x0,y1,x1; or a mask to take boxes from.")
    ] = None,
    panel: Annotated[str | None, typer.Option(metavar="PNG", help="Draw the worst slice into this PNG.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at --panel.")] = False,
    untrusted: Annotated[
        bool,
        typer.Option("--untrusted", help="Decode all images in child processes with limits: it may be made to harm."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compare two images."""
    from dataclasses import fields, replace

    from slimscan.cli.compress import peak_of
    from slimscan.cli.say import say_json, say_pairs
    from slimscan.press.compare import compare
    from slimscan.press.open import lazy
    from slimscan.press.staging import admit_output, staged
    from slimscan.press.surveyed import surveyed

    if panel is not None:
        admit_output(Path(panel), force)
    before, after = surveyed(lazy(reference, untrusted)), lazy(test, untrusted)
    inside = None if mask is None else lazy(mask, untrusted)
    found = compare(
        before.volume, after, before.peak(peak_of(peak)), inside, None if boxes is None else _boxes(boxes, untrusted)
    )
    found = replace(found, peak=peak)
    if panel is not None:
        from slimscan.report.panel import panel as draw

        with staged(Path(panel), force) as stage:
            title = f"{Path(reference).name} and {Path(test).name}"
            draw(before.volume, after, stage.path, comparison=found, title=title)
    if as_json:
        say_json({field.name: getattr(found, field.name) for field in fields(found)})
        return 0
    same = "nothing differs" if found.identical else f"{found.psnr_db:.3f} dB (peak {peak} = {found.peak_value:g})"
    pairs = [
        ("PSNR", same),
        ("MSE", f"{found.mse:.6g}"),
        ("MAE", f"{found.mae:.6g}"),
        ("largest error", f"{found.max_abs_error:g} {found.unit}"),
        ("SSIM", f"{found.ssim:.5f} (mean over slices), {found.ssim_3d:.5f} (3D)"),
        ("MS-SSIM", f"{found.ms_ssim:.5f}"),
        ("entropy", f"{found.entropy_reference:.4f} bits before, {found.entropy_test:.4f} after"),
        ("worst slice", str(found.worst_slice)),
    ]
    if boxes is not None:
        change = f"{found.wtv_reference:.5g} before, {found.wtv_test:.5g} after, {found.wtv_change_percent:+.2f} %"
        pairs.append(("weighted TV", change))
    say_pairs(pairs)
    return 0


def _boxes(path: str, untrusted: bool) -> Any:
    """Annotation boxes from a CSV of slice,y0,x0,y1,x1, or around the parts of a mask."""
    import csv

    import numpy as np

    from slimscan.errors import InputError
    from slimscan.metrics.texture import boxes_from_mask
    from slimscan.press.open import read

    if not path.lower().endswith(".csv"):
        return boxes_from_mask(np.asarray(read(path, untrusted).pixels) != 0)
    try:
        with Path(path).open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        rows = rows[1:] if rows and not rows[0][0].strip().lstrip("-").isdigit() else rows
        found = np.array([[int(cell) for cell in row] for row in rows], np.int64)
    except (OSError, ValueError) as error:
        raise InputError(f"--boxes {path}: cannot be read ({error}); want rows of slice,y0,x0,y1,x1") from error
    if found.ndim != 2 or found.shape[1] != 5:
        raise InputError(f"--boxes {path}: want rows of five numbers slice,y0,x0,y1,x1; came an array of {found.shape}")
    return found
