"""slimscan study new: a study's TOML, written by asking or from flags."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

NEW = """Write the TOML of a new study, every word commented; asks for what is missing when this is a terminal.

[bold]Examples[/bold]

  slimscan study new -o study.toml --images 'images/{case}.nii.gz' --codec jpeg2000 --psnr 60,55,50,45,40 --delta 0.02
"""


def new(
    output: Annotated[str, typer.Option("--output", "-o", metavar="TOML", help="Where to write it.")] = "study.toml",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A published protocol: cunha2023-microct, cunha2023-mri, cunha2023-hrem, luu2021, elkhoury2021, kurmukov2024, wsi2025."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Short name of the study.")] = None,
    question: Annotated[str | None, typer.Option(help="What is to be answered, one sentence.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder or pattern, 'images/{case}.nii.gz'.")] = None,
    masks: Annotated[str | None, typer.Option(help="Reference masks, 'labels/{case}.nii.gz'.")] = None,
    codec: Annotated[list[str] | None, typer.Option(help="Codec; may be repeated.")] = None,
    psnr: Annotated[str | None, typer.Option(help="Levels in dB, 60,55,50.")] = None,
    ratios: Annotated[str | None, typer.Option(help="Levels as ratios, 5,10,20.")] = None,
    settings: Annotated[str | None, typer.Option(help="Levels as the codec's own number.")] = None,
    task: Annotated[str | None, typer.Option(help="Kind of task: otsu, threshold, python, command, ...")] = None,
    call: Annotated[
        str | None, typer.Option(help="Of a python task: package.module:function or file.py:function.")
    ] = None,
    command: Annotated[str | None, typer.Option(help="Of a command task, with {image} and {output}.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Of a network task: its file; of nnunet and monai_bundle its folder. Counts from the TOML."),
    ] = None,
    value: Annotated[float | None, typer.Option(help="Of a threshold task, in the image's unit.")] = None,
    against: Annotated[str | None, typer.Option(help="truth (the masks) or itself (the uncompressed result).")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric of masks; may be repeated.")] = None,
    delta: Annotated[float | None, typer.Option(help="Mean loss below this is no harm, in the metric's unit.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Write a new study's TOML."""
    import tomllib

    from slimscan.errors import InputError
    from slimscan.press.staging import admit_output
    from slimscan.study.new import write_new
    from slimscan.study.plan import parse

    place = Path(output)
    admit_output(place, force)
    if recipe is not None:
        from slimscan.study.recipes import text as recipe_text

        verb = "plan" if recipe.startswith("cunha2023") else "recipe"
        return _write_new(place, recipe_text(recipe), force, as_json, verb)
    asks = sys.stdin.isatty() and sys.stderr.isatty()

    def said(given: str | None, question: str, default: str) -> str:
        if given is not None or not asks:
            return default if given is None else given
        return str(typer.prompt(question, default=default, err=True))

    levels = {
        "psnr": _numbers("--psnr", psnr),
        "ratios": _numbers("--ratios", ratios),
        "settings": _numbers("--settings", settings),
    }
    if not any(levels.values()):
        levels["psnr"] = _numbers("levels", said(None, "Levels of PSNR in dB", "60,55,50,45,40,35"))
    kind = said(
        task,
        "Kind of task (otsu, threshold, python, command, unet, onnx, torchscript, nnunet, monai_bundle, readers, features)",
        "otsu",
    )
    words: dict[str, Any] = {"name": kind, "kind": kind, "against": against}
    own: dict[str, dict[str, Any]] = {
        "python": {"call": call},
        "command": {"command": command},
        "threshold": {"value": value},
        "monai_bundle": {"bundle": model},
        **{one: {"model": model} for one in ("torchscript", "onnx", "unet", "nnunet")},
    }
    words |= own.get(kind, {})
    for word in ("call", "command", "value", "model", "bundle"):
        if word in words and words[word] is None and asks:
            answer = said(None, f"{word} of the task", "")
            words[word] = float(answer) if word == "value" else answer
    given = {
        "study": {
            "name": said(name, "Name of the study", place.stem),
            "question": said(
                question, "The question", "How far may these images be compressed before the task suffers?"
            ),
        },
        "cases": {"images": said(images, "Images, a folder or pattern", "images/{case}.nii.gz"), "masks": masks},
        "codecs": [{"name": one} | levels for one in codec or [said(None, "Codec", "jpeg2000")]],
        "tasks": [words],
        "metrics": {"names": metric or ["dice"]},
        "contract": {
            "delta": delta if delta is not None else float(said(None, "Mean loss that is no harm (delta)", "0.02"))
        },
    }
    text = write_new(given, place.name)
    try:
        parse(tomllib.loads(text), place.resolve().parent)
    except InputError as error:
        raise InputError(f"the study cannot be written like this: {error}") from None
    return _write_new(place, text, force, as_json)


def _write_new(place: Path, text: str, force: bool, as_json: bool, verb: str = "plan") -> int:
    from slimscan.cli.say import say_json
    from slimscan.press.staging import staged

    with staged(place, force) as stage:
        stage.path.write_text(text, "utf-8")
    if as_json:
        say_json({"output": str(place)})
    else:
        print(f"{place}\n  next: slimscan study {verb} {place}")
    return 0


def _numbers(option: str, text: str | None) -> list[float] | None:
    from slimscan.errors import InputError

    if text is None:
        return None
    try:
        return [float(one) for one in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f'{option} "{text}": want numbers, for example 60,55,50') from None
