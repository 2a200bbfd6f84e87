"""slimscan net train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

TRAIN = """Train a network on images and masks, or go on with a training that was stopped (same words, same folder).

Words come from a TOML (tables cases, network, normalisation, training), from options, or both; options win. A share of
the patients is held back and scores the network; best.pt is the best of them, log.jsonl grows while it trains.

[bold]Examples[/bold]

  slimscan net train --images 'images/{patient}.nii.gz' --masks 'labels/{patient}.nii.gz' -o net --steps 500

  slimscan net train training.toml --start net/best.pt -o tuned
"""


def train(
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Checkpoints and log.")],
    toml: Annotated[str | None, typer.Argument(metavar="[TOML]", help="Words of the training.")] = None,
    images: Annotated[list[str] | None, typer.Option(help="Folder or pattern; may be repeated.")] = None,
    masks: Annotated[str | None, typer.Option(help="Folder or pattern of the masks.")] = None,
    classes: Annotated[str | None, typer.Option(help="Names and labels, liver=1,spleen=2.")] = None,
    held_back: Annotated[float | None, typer.Option(help="Share of the patients that scores the network.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="elkhoury_2d, elkhoury_3d, modern_2d, modern_3d, small_2d, small_3d, swin_unetr.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Feature maps of the first level.")] = None,
    levels: Annotated[int | None, typer.Option(help="Resolutions.")] = None,
    patch: Annotated[str | None, typer.Option(help="Sides z,y,x of a crop; 1,y,x in 2D.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops a step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights.")] = None,
    every: Annotated[int | None, typer.Option(help="Steps between two validations and checkpoints.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Validations without gain after which it ends; 0: never.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, crops and flips.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU; 0: all cores.")] = None,
    start: Annotated[str | None, typer.Option(metavar="MODEL", help="Checkpoint to begin from: fine-tuning.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Train a network."""
    from slimscan.cli import INTERRUPTED
    from slimscan.cli.say import note, say_json, say_pairs
    from slimscan.models.network import TORCH

    TORCH.demand("training a network")
    from slimscan.models.checkpoint import load
    from slimscan.models.fit import fit as run_fit
    from slimscan.models.log import read as read_log
    from slimscan.models.normal import measured
    from slimscan.study.training import batches_of, classes_of, digest, pairs, split, validation
    from slimscan.study.training_words import wanted

    asked = wanted(
        Path(toml) if toml else None,
        {
            "cases": _said(images=images, masks=masks, classes=_classes(classes), held_back=held_back),
            "network": _said(preset=preset, width=width, levels=levels),
            "training": _said(
                patch=_sides(patch), batch=batch, steps=steps, every=every, patience=patience, rate=rate, seed=seed,
                device=device, threads=threads,
            ),
        },
    )  # fmt: skip
    found = pairs(asked.base, asked.images, asked.masks)
    net = asked.net(classes_of(found, asked.classes))
    fit = asked.fit(net)
    parts = split(found, asked.held_back, fit.seed)
    norm = measured(asked.norm, (pair.pixels for pair in parts.train))
    with _bar(fit.steps) as moved:
        try:
            best = run_fit(
                net, norm, fit, batches_of(parts.train, net, norm, fit), Path(output),
                validate=validation(parts.held, net, fit.device), start=Path(start) if start else None, log=moved,
                about={"cases": digest(parts)},
            )  # fmt: skip
        except KeyboardInterrupt as stop:
            if stop.args:
                note(str(stop.args[0]))
            return INTERRUPTED
    network, lines = load(best), read_log(Path(output) / "log.jsonl")
    scores: dict[str, float] = max(
        (line["validation"] for line in lines if line.get("best")), key=lambda one: one["mean"], default={}
    )
    told = {
        "checkpoint": str(best),
        "sha256": network.sha256,
        "trained_on": len(parts.train),
        "held_back": [pair.name for pair in parts.held],
        "steps": lines[-1]["step"] if lines else 0,
        "seconds": lines[-1]["seconds"] if lines else 0.0,
        "dice": scores,
    }
    if as_json:
        say_json(told)
        return 0
    print(best)
    say_pairs(
        [
            ("images", f"{len(parts.train)} trained on, {len(parts.held)} held back"),
            ("steps", f"{told['steps']} in {told['seconds']:.0f} s"),
            *((f"Dice, {name}", f"{score:.3f}") for name, score in scores.items()),
        ]
    )
    return 0


@contextmanager
def _bar(steps: int) -> Iterator[Any]:
    """A bar on stderr that a line of the log moves on; nothing where stderr is no terminal."""
    from slimscan.cli.say import bar

    with bar("training") as move:
        before = 0

        def moved(line: Mapping[str, Any]) -> None:
            nonlocal before
            if move is not None:
                move("steps", line["step"] - before, steps)
            before = line["step"]

        yield moved


def _said(**words: Any) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _classes(said: str | None) -> dict[str, int] | None:
    from slimscan.errors import InputError

    if said is None:
        return None
    try:
        return {name.strip(): int(value) for name, value in (one.split("=") for one in said.split(","))}
    except ValueError:
        raise InputError(f'--classes "{said}": want names with labels, for example liver=1,spleen=2') from None


def _sides(said: str | None) -> list[int] | None:
    from slimscan.errors import InputError

    if said is None:
        return None
    try:
        sides = [int(one) for one in said.replace("x", ",").split(",")]
    except ValueError:
        sides = []
    if len(sides) != 3:
        raise InputError(f'--patch "{said}": want three sides z,y,x in voxels, for example 40,56,40 (1,64,64 in 2D)')
    return sides
