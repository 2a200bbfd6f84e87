"""slimscan region."""

from __future__ import annotations

from typing import Annotated

import typer

HELP = """Find a region of interest, say how large it is, and write it as a mask.

SPEC is what --roi takes: a mask or probability map, a class of a label map (organs.nii.gz#liver, #5, #1,5, #any), a DICOM
Segmentation or RT Structure Set (#name), image:body, image:lung, image:bone, image:nonair, a network (model:liver.pt,
model:liver.onnx, with liver.toml beside it), python:module:function, or "command:prog {image} {mask}". It lies on the
voxels of the image, or is turned there exactly; nothing is resampled.

[bold]Examples[/bold]

  slimscan region image:body --on ct.nii.gz -o body.nii.gz

  slimscan region organs.nii.gz#liver --on ct/ -o liver.nii.gz --grow 30x30x1

  slimscan region plan.dcm#GTV --on ct/ --grow 10mm
"""


def command(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="What the region is: see above.")],
    image: Annotated[str, typer.Option("--on", metavar="IMAGE", help="The image that it is a region of.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help=".nii .nii.gz .mha .nrrd; without it nothing is written."),
    ] = None,
    grow: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Dilate: 30x30x1 (diameters along x, y, z in voxels), or 10mm (a radius)."),
    ] = "",
    threshold: Annotated[
        float, typer.Option(metavar="P", help="Probabilities above it count as 1, after growing.")
    ] = 0.75,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="After which a model or command is stopped.")
    ] = 3600.0,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")] = False,
    untrusted: Annotated[
        bool,
        typer.Option("--untrusted", help="Decode images in child processes with limits: they may be made to harm."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Write one region."""
    from slimscan.cli.say import say_json, say_pairs
    from slimscan.press.region import write_region

    done = write_region(
        spec, image, output, grow=grow, threshold=threshold, timeout=timeout, force=force, untrusted=untrusted
    )
    if as_json:
        say_json(done)
        return 0
    print(output or f"{spec} on {image}")
    first, last = done["slices"]
    pairs = [
        ("region", f"{done['name']} ({done['kind']}{', ' + done['how'] if done['how'] else ''})"),
        ("volume", f"{done['millilitres']:.4g} mL"),
        ("voxels", f"{done['inside']} of {done['voxels']}, {100 * done['fraction']:.3g} %"),
        ("slices", f"{first} to {last}, {done['slices_inside']} of {done['shape'][0]}"),
    ]
    if done["grow"]:
        pairs.append(("grown by", done["grow"]))
    if done["threshold"] is not None:
        pairs.append(("threshold", f"{done['threshold']:g}, {done['part']} voxels below it keep their probability"))
    say_pairs(pairs)
    return 0
