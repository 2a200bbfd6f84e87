"""slimscan net nnunet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from slimscan.study.nnunet_plan import NnunetPlan

NNUNET = """Train nnU-Net v2 on compressed copies, and test it on compressed copies: one network for every ratio of --trained,
every network at every ratio of --tested, on patients that no network saw.

slimscan compresses, writes nnU-Net's own datasets, and lets nnU-Net plan, preprocess, train and predict in a child process.
A run that was stopped goes on from the last checkpoint when the command is given again. The results are rows.csv and
nnU-Net's own folders, which nnU-Net's own commands read. Needs slimscan[nnunet]; a real training wants a GPU.

[bold]Examples[/bold]

  slimscan net nnunet liver.toml -o out/

  slimscan net nnunet --images 'images/{case}.nii.gz' --masks 'labels/{case}.nii.gz' --classes liver=1,tumour=2
  --trained 1,20 --tested 1,10,20,50 -o out/
"""


def nnunet(
    toml: Annotated[str | None, typer.Argument(metavar="[TOML]", help="The run; or say it with options.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="Results.")] = "",
    images: Annotated[str | None, typer.Option(help="Folder or pattern, images/{case}.nii.gz.")] = None,
    masks: Annotated[str | None, typer.Option(help="Reference masks, labels/{case}.nii.gz.")] = None,
    classes: Annotated[str | None, typer.Option(metavar="NAME=1,NAME=2", help="Label values of the masks.")] = None,
    modality: Annotated[str | None, typer.Option(help="CT lets nnU-Net scale by Hounsfield units.")] = None,
    codec: Annotated[str | None, typer.Option(help="`slimscan codecs` lists them.")] = None,
    trained: Annotated[str | None, typer.Option(metavar="R,R", help="Ratios trained at, one network each.")] = None,
    tested: Annotated[str | None, typer.Option(metavar="R,R", help="Ratios tested at.")] = None,
    size: Annotated[str | None, typer.Option(help="Ratios count the file, or the payload alone.")] = None,
    configuration: Annotated[str | None, typer.Option(help="2d, 3d_fullres, 3d_lowres.")] = None,
    epochs: Annotated[int | None, typer.Option(help="nnU-Net's own are 1000.")] = None,
    iterations: Annotated[int | None, typer.Option(help="An epoch; nnU-Net's own are 250.")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of patients that are only tested.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, the weights and the batches.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first cases.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare batches.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run declared otherwise.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Train and test nnU-Net on compressed copies."""
    from slimscan.cli.say import say_json, say_pairs, say_table
    from slimscan.errors import InputError
    from slimscan.models import BadAnswer
    from slimscan.study import nnunet as study
    from slimscan.study.nnunet_plan import load, parse
    from slimscan.study.nnunet_rows import means, read_rows

    said: dict[str, dict[str, Any]] = {
        "cases": {"images": images, "masks": masks, "classes": _classes(classes), "modality": modality, "limit": limit},
        "copies": {
            "codec": codec,
            "trained": _numbers("--trained", trained),
            "tested": _numbers("--tested", tested),
            "size": size,
        },
        "nnunet": {
            "configuration": configuration,
            "epochs": epochs,
            "iterations": iterations,
            "held_out": held_out,
            "seed": seed,
        },
        "run": {"device": device, "threads": threads, "workers": workers},
    }
    given: dict[str, dict[str, Any]] = {
        name: {word: value for word, value in words.items() if value is not None} for name, words in said.items()
    }
    given = {name: words for name, words in given.items() if words}
    if not output:
        raise InputError("slimscan net nnunet: where to? give -o FOLDER")
    plan: NnunetPlan
    if toml is not None:
        if set(given) - {"run"}:
            raise InputError(f"{toml}: says what is run; leave out --images and the like, or write them into it")
        plan = load(Path(toml))
        if given:
            words = {name: dict(one) for name, one in plan.said.items()}
            words["run"] |= given["run"]
            plan = parse({name: _without_none(one) for name, one in words.items()}, plan.base)
    else:
        if images is None or masks is None:
            raise InputError("slimscan net nnunet: want a TOML, or --images, --masks and --classes")
        plan = parse(given, Path.cwd())
    try:
        done = study.run(plan, Path(output), force=force, say=_step)
    except BadAnswer as error:
        raise InputError(str(error)) from None
    lines = means(read_rows(Path(output)))
    if as_json:
        say_json({"folder": output, "run": done, "means": lines})
        return 0
    say_pairs(
        [
            ("cases", f"{len(done['train'])} trained on, {len(done['test'])} tested, {done['patients']} patients"),
            ("rows", str(Path(output) / "rows.csv")),
            ("seconds", f"{done['seconds']:g}"),
        ]
    )
    head = ["trained", "tested", "file ratio", "payload ratio", "class", "n", "DSC", "deviation"]
    body = [
        [
            one["trained"],
            one["tested"],
            f"{one['ratio']:.3g}",
            f"{one['ratio_payload']:.3g}",
            one["class"],
            str(one["n"]),
            f"{one['dsc']:.3f}" if one["n"] else "-",
            f"{one['deviation']:.3f}" if one["n"] > 1 else "-",
        ]
        for one in lines
    ]
    say_table([head, *body])
    return 0


def _step(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def _without_none(words: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _numbers(option: str, text: str | None) -> list[float] | None:
    from slimscan.errors import InputError

    try:
        return None if text is None else [float(one) for one in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f'{option} "{text}": want numbers, for example 1,20') from None


def _classes(text: str | None) -> dict[str, int] | None:
    from slimscan.errors import InputError

    if text is None:
        return None
    try:
        pairs = [one.split("=") for one in text.replace(",", " ").split()]
        return {name: int(value) for name, value in pairs}
    except ValueError:
        raise InputError(f'--classes "{text}": want names with label values, for example liver=1,tumour=2') from None
