"""slimscan calm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Smooth what lies outside a region, and keep the region bit for bit: an ordinary, smaller file.

Perona-Malik diffusion as in Luu 2021: noise goes, edges stay, and every codec needs fewer bytes afterwards. Integers stay
integers, the header stays, and the file is read back to prove that no voxel of the region changed.

[bold]Examples[/bold]

  slimscan calm ct.nii.gz --roi labels.nii.gz#liver --roi-grow 30x30x1 -o calm.nii.gz

  slimscan calm ct.nii.gz --roi liver.nii.gz --k 20HU --dims 3 -o calm.nii.gz

  slimscan calm ct.nii.gz --roi liver.nii.gz --instead coarse:2 -o coarse.nii.gz
"""


def command(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The image.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help=".nii .nii.gz .tif .mha .nrrd")],
    roi: Annotated[
        str,
        typer.Option(
            metavar="REGION", help="What stays: a mask, labels.nii.gz#liver, a SEG or RTSTRUCT, image:body, a model."
        ),
    ],
    roi_grow: Annotated[
        str, typer.Option("--roi-grow", metavar="30x30x1|10mm", help="Let the region grow: voxels (x, y, z), or mm.")
    ] = "",
    roi_threshold: Annotated[
        float, typer.Option("--roi-threshold", metavar="P", help="Of a probability map.", min=0, max=1)
    ] = 0.75,
    k: Annotated[
        str,
        typer.Option(
            metavar="K",
            help='Gradient that counts as an edge: a plain number times the root mean square gradient of the image, or "20HU", "20 stored".',
        ),
    ] = "0.4",
    iterations: Annotated[int, typer.Option(metavar="N", help="Steps of time.")] = 15,
    dims: Annotated[int, typer.Option(metavar="2|3", help="2: slice by slice. 3: through slices too.")] = 2,
    instead: Annotated[
        str | None, typer.Option(metavar="WHAT", help="No diffusion: constant, constant:V, coarse:N or quantise:N.")
    ] = None,
    codecs: Annotated[
        str, typer.Option(metavar="C,C", help='Tell what exact codecs gain; "" for none.')
    ] = "gzip,bz2,xz,jpegls,jpeg2000",
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Decode SRC in child processes with limits: it may be made to harm.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Calm the outside of a region."""
    from slimscan.cli.say import say_json, say_pairs, say_table, size
    from slimscan.press.calm_file import calm_file

    names = [name.strip() for name in codecs.split(",") if name.strip()]
    done = calm_file(
        source, output, roi, how={"k": k, "iterations": iterations, "dims": dims}, instead=instead, grow=roi_grow,
        threshold=roi_threshold, codecs=names, force=force, untrusted=untrusted,
    )  # fmt: skip
    if as_json:
        say_json(done)
        return 0
    print(f"{Path(done.output)}\n  {size(done.file_bytes)} in {done.seconds:.1f} s")
    entropy = (done.entropy_before, done.entropy_after)
    pairs = [
        ("region", f"{done.inside} of {done.voxels} voxels, none changed"),
        ("outside", f"{done.changed} voxels changed, by {done.max_change_outside:g} stored units at most"),
        ("K", f"{done.how['k_stored']:.4g} stored units a pixel, {done.how['engine']}" if "k_stored" in done.how else "-"),
        ("PSNR outside", "nothing changed" if done.psnr_outside_db is None else f"{done.psnr_outside_db:.2f} dB (peak {done.peak:g})"),
        ("entropy", "real-valued samples have none" if None in entropy else f"{entropy[0]:.3f} bits before, {entropy[1]:.3f} after"),
    ]  # fmt: skip
    say_pairs(pairs)
    if done.ratios:
        rows = [["exact codec", "ratio before", "after", "gain"]]
        rows += [
            [name, f"{one['before']:.3f}", f"{one['after']:.3f}", f"{one['gain_percent']:+.1f} %"]
            for name, one in done.ratios.items()
        ]
        say_table(rows)
    return 0
