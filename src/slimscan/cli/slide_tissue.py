"""slimscan slide tissue, slimscan slide train-tissue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from slimscan.errors import InputError

TISSUE = """Find the tissue of a slide, write it as a mask, and say which tiles are glass.

Every method, mask, annotation file and model that is named counts: a tile is glass only where none of them sees tissue, and
none within the margin. Without any, colour, otsu, relative and entropy look at 2.5x. To correct a mask, edit the .png or .tif in any
editor (0 is glass) or import the .geojson in QuPath, and give it back by --mask or --annotations, which then stand alone
unless a method is named as well.

[bold]Examples[/bold]

  slimscan slide tissue slide.svs -o mask.tif --picture left-out.png

  slimscan slide tissue slide.svs -o mask.tif --review correct.geojson

  slimscan slide tissue slide.svs -o final.tif --annotations correct.geojson --margin 128
"""

TRAIN = """Train the slide paper's network for tissue on slides and masks, or go on with a training that was stopped.

A pair is SLIDE=MASK: a mask as .tif or .png, or annotations of QuPath as .geojson. Slides held back score the network.

[bold]Example[/bold]

  slimscan slide train-tissue a.svs=a.geojson b.svs=b.tif --held c.svs=c.tif -o net --steps 5000
"""


def tissue(
    slide: Annotated[str, typer.Argument(metavar="SLIDE", help="A slide, or the folder of a DICOM slide.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="MASK", help=".tif .png or .geojson.")],
    method: Annotated[
        str | None, typer.Option(metavar="A,B", help="colour, otsu, saturation, relative, entropy; none for none.")
    ] = None,
    mask: Annotated[list[str] | None, typer.Option(help="A mask of the whole slide; may be repeated.")] = None,
    annotations: Annotated[
        list[str] | None, typer.Option(metavar="GEOJSON", help="Annotations of QuPath; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="best.pt of train-tissue.")] = None,
    magnification: Annotated[float | None, typer.Option(help="At which all of them look; 2.5 when not said.")] = None,
    margin: Annotated[float | None, typer.Option(help="Pixels of the largest level around tissue that stay.")] = None,
    chance: Annotated[float, typer.Option(help="Of the model, above which a pixel is tissue.")] = 0.5,
    review: Annotated[
        str | None, typer.Option(metavar="FILE", help="The mask once more, to correct: .png .tif or .geojson.")
    ] = None,
    picture: Annotated[str | None, typer.Option(metavar="PNG", help="The slide with what is left out.")] = None,
    device: Annotated[str, typer.Option(help="Of the model: auto, cpu or cuda.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace what stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Find tissue."""
    from slimscan.cli.say import note, say_json, say_pairs
    from slimscan.files.slides import open_slide
    from slimscan.press.slide import tissue as press
    from slimscan.press.slide import tissue_files
    from slimscan.press.staging import admit_output

    names = (
        None if method is None else tuple(one.strip() for one in method.split(",") if one.strip() not in ("", "none"))
    )
    wanted = press.Wanted(
        methods=names,
        masks=tuple(Path(one) for one in mask or ()),
        annotations=tuple(Path(one) for one in annotations or ()),
        model=Path(model) if model else None,
        at=magnification,
        margin=press.MARGIN if margin is None else margin,
        chance=chance,
        device=device,
    )
    source = Path(slide)
    for written in _places(output, review, picture):
        for kept in (source, *wanted.masks, *wanted.annotations, *([wanted.model] if wanted.model else [])):
            admit_output(written, force, kept)
    with open_slide(source) as opened:
        found = press.found(opened, wanted)
        grids = press.grids(opened, found, wanted.margin)
        for place in dict.fromkeys((output, review)):
            if place is not None:
                tissue_files.write(found, Path(place), opened, force)
        if picture is not None:
            level = min(grids, default=0)
            tissue_files.write_picture(press.picture(opened, found, grids, level), Path(picture), opened, force)
    told = {
        "source": slide,
        "output": output,
        "how": list(found.how),
        "shape": list(found.pixels.shape),
        "step": list(found.step),
        "tissue": found.share,
        "margin": wanted.margin,
        "levels": [
            {"level": number, "tiles": int(grid.size), "glass": int(grid.sum())} for number, grid in grids.items()
        ],
        "review": review,
        "picture": picture,
    }
    if not found.pixels.any():
        note(
            f"{slide}: no tissue was found; nothing would be left out, since such a mask is more often wrong than right"
        )
    if as_json:
        say_json(told)
        return 0
    print(output)
    say_pairs(
        [
            ("tissue", f"{100 * found.share:.3g} % of the slide, by {', '.join(found.how)}"),
            (
                "mask",
                f"{found.pixels.shape[1]} x {found.pixels.shape[0]}, {found.step[0]:.4g} pixels of the slide each",
            ),
            *(
                (
                    f"level {number}",
                    f"{int(grid.sum())} of {grid.size} tiles are glass, {wanted.margin:g} pixels from tissue",
                )
                for number, grid in grids.items()
            ),
        ]
    )
    return 0


def train(
    pairs: Annotated[list[str], typer.Argument(metavar="SLIDE=MASK...", help="Slides to train on, with their masks.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Checkpoints and log.")],
    held: Annotated[
        list[str] | None, typer.Option(metavar="SLIDE=MASK", help="A slide that scores the network; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Updates of the weights.")] = 10_000,
    patch: Annotated[int, typer.Option(help="Side of a patch, a multiple of 32.")] = 512,
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 8,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    every: Annotated[int, typer.Option(help="Steps between two validations.")] = 100,
    patience: Annotated[int, typer.Option(help="Validations without gain after which it ends; 0: never.")] = 20,
    magnifications: Annotated[str, typer.Option(help="As often as each other.")] = "1.25,2.5,5,10,20,40",
    seed: Annotated[int, typer.Option(help="Of weights, patches and their changes.")] = 2025,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Of the CPU; 0: all cores.")] = 0,
    start: Annotated[str | None, typer.Option(metavar="MODEL", help="Checkpoint to begin from.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Train the network."""
    from contextlib import ExitStack

    from slimscan.cli import INTERRUPTED
    from slimscan.cli.say import bar, note, say_json, say_pairs
    from slimscan.models.network import TORCH

    TORCH.demand("training a network")
    from slimscan.models.checkpoint import load
    from slimscan.models.log import read as read_log
    from slimscan.models.tissue_net_words import usual
    from slimscan.press.slide import tissue_train

    fit = usual(
        steps, patch, batch, rate=rate, every=every, patience=patience, seed=seed, device=device, threads=threads
    )
    sizes = _numbers(magnifications)
    with ExitStack() as stack, bar("training") as move:
        known, judging = ([_pair(one, stack) for one in some] for some in (pairs, held or []))
        before = 0

        def moved(line: Mapping[str, Any]) -> None:
            nonlocal before
            if move is not None:
                move("steps", line["step"] - before, steps)
            before = line["step"]

        try:
            best = tissue_train.trained(
                known, judging, fit, Path(output), magnifications=sizes, start=Path(start) if start else None, log=moved
            )
        except KeyboardInterrupt as stop:
            if stop.args:
                note(str(stop.args[0]))
            return INTERRUPTED
    network, lines = load(best), read_log(Path(output) / "log.jsonl")
    dice: dict[str, float] = max(
        (line["validation"] for line in lines if line.get("best")), key=lambda one: one["mean"], default={}
    )
    weights = sum(one.numel() for one in network.weights.values())
    told = {
        "checkpoint": str(best), "sha256": network.sha256, "weights": weights, "trained_on": len(known),
        "held_back": len(judging), "steps": lines[-1]["step"] if lines else 0,
        "seconds": lines[-1]["seconds"] if lines else 0.0, "dice": dice,
    }  # fmt: skip
    if as_json:
        say_json(told)
        return 0
    print(best)
    say_pairs(
        [
            ("slides", f"{len(known)} trained on, {len(judging)} held back"),
            ("steps", f"{told['steps']} in {told['seconds']:.0f} s"),
            *((f"Dice, {name}", f"{score:.3f}") for name, score in dice.items()),
        ]
    )
    return 0


def _places(output: str, review: str | None, picture: str | None) -> list[Path]:
    """Where files are to be written, before any is: of endings that can be, no two in one place unless they are one mask."""
    from slimscan.press.slide.tissue_files import PICTURES, TEXTS

    masks, known = [Path(one) for one in dict.fromkeys((output, review)) if one is not None], (*PICTURES, *TEXTS)
    wrong = next((one for one in masks if one.suffix.lower() not in known), None)
    if wrong is not None:
        ending = wrong.suffix.lower() or "no ending"
        raise InputError(f"{wrong}: a mask is written as {', '.join(known)}; got {ending}")
    if picture is not None and Path(picture).suffix.lower() != ".png":
        raise InputError(f"{picture}: the picture of what is left out is a .png")
    places = masks + ([] if picture is None else [Path(picture)])
    if len({one.resolve() for one in places}) < len(places):
        raise InputError(f"{places[-1]}: would be written twice; give --output, --review and --picture a name each")
    return places


def _pair(said: str, stack: Any) -> Any:
    from slimscan.files.slides import open_slide
    from slimscan.press.slide import tissue as press
    from slimscan.press.slide import tissue_files
    from slimscan.press.slide.tissue_train import Pair

    slide, _, mask = said.rpartition("=")
    if not slide or not mask:
        raise InputError(f'"{said}": want SLIDE=MASK, for example a.svs=a.geojson')
    opened = stack.enter_context(open_slide(Path(slide)))
    if Path(mask).suffix.lower() in tissue_files.TEXTS:
        return Pair(opened, tissue_files.drawn(Path(mask), opened, press.view(opened).step[0]))
    return Pair(opened, tissue_files.mask(Path(mask), opened))


def _numbers(said: str) -> tuple[float, ...]:
    try:
        found = tuple(float(one) for one in said.split(","))
    except ValueError:
        found = ()
    if not found or min(found) <= 0:
        raise InputError(f'--magnifications "{said}": want numbers above 0, for example 1.25,2.5,5,10,20')
    return found
