"""slimscan net predict, export, info."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from slimscan.cli import net_nnunet, net_train

HELP = "Train a network that segments, run it, pass it on as ONNX."

PREDICT = """Segment images with a trained network: best.pt, or the .onnx of `slimscan net export`.

[bold]Example[/bold]

  slimscan net predict net/best.pt case_001.nii.gz case_002.nii.gz -o masks/
"""
EXPORT = "Write a trained network as ONNX: normalisation and labels in its metadata, and a TOML beside it."
INFO = "What a checkpoint or an exported network is: its layers, its classes, how and from what it was trained."

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="best.pt, last.pt, or an .onnx of slimscan.")]


def build(flow: Callable[[str], str]) -> typer.Typer:
    """The commands under `slimscan net`; flow lets the terminal wrap a help text."""
    app = typer.Typer(
        name="net",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("train", help=flow(net_train.TRAIN))(net_train.train)
    app.command("predict", help=flow(PREDICT))(predict)
    app.command("export", help=flow(EXPORT))(export)
    app.command("info", help=flow(INFO))(info)
    app.command("nnunet", help=flow(net_nnunet.NNUNET))(net_nnunet.nnunet)
    return app


def predict(
    model: Model,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES", help="Files or folders, as compress takes them.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|FOLDER", help="A mask, or a folder of masks (ends in /).")
    ],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Segment images."""
    import numpy as np

    from slimscan import files
    from slimscan.cli.say import say_json
    from slimscan.errors import InputError
    from slimscan.nouns import Volume
    from slimscan.press.open import read
    from slimscan.press.staging import admit_output, staged
    from slimscan.study.patterns import stem
    from slimscan.study.task import real

    answer, net = _opened(model, device)
    place = Path(output)
    many = len(images) > 1 or output.endswith("/") or place.is_dir()
    targets = [place / f"{stem(Path(one))}.nii.gz" if many else place for one in images]
    twice = next((target for at, target in enumerate(targets) if target in targets[:at]), None)
    if twice is not None:
        raise InputError(
            f"--output {output}: two images would be written to {twice}; give each folder a run of its own"
        )
    told = []
    for one, target in zip(images, targets, strict=True):
        source = Path(one)
        admit_output(target, force, source)
        volume = read(source)
        try:
            found = answer(real(volume))
        except InputError as error:
            raise InputError(f"{one}: {error}") from None
        kind = np.uint8 if max(net.values) < 256 else np.uint16
        mask = Volume(found.astype(kind), volume.affine_mm, 8 * np.dtype(kind).itemsize)
        with staged(target, force) as stage:
            files.write(mask, stage.path)
        counts = {value: int((found == value).sum()) for value in net.values[1:]}
        told.append({"image": one, "mask": str(target), "voxels": counts})
        if not as_json:
            said = ", ".join(
                f"{net.names[at] if net.names else value} {count}" for at, (value, count) in enumerate(counts.items())
            )
            print(f"{target}  voxels: {said}")
    if as_json:
        say_json({"model": model, "masks": told})
    return 0


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="best.pt or last.pt.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .onnx to write.")],
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Write ONNX."""
    from slimscan.cli.say import say_json, size
    from slimscan.errors import InputError
    from slimscan.models.network import TORCH
    from slimscan.press.staging import admit_output

    place = Path(output)
    if place.suffix.lower() != ".onnx":
        raise InputError(f"--output {output}: want a name that ends in .onnx")
    beside = place.with_suffix(".toml")
    admit_output(place, force)
    admit_output(beside, force)  # one of that name, a training's own perhaps, would be replaced
    TORCH.demand("exporting a network")
    from slimscan.models.checkpoint import load
    from slimscan.models.onnx_out import to_onnx

    network = load(model)
    to_onnx(network, place)
    told = {"onnx": str(place), "bytes": place.stat().st_size, "toml": str(beside) if beside.is_file() else None}
    if as_json:
        say_json(told | {"sha256": network.sha256})
        return 0
    print(f"{place}  {size(place.stat().st_size)}{f', beside it {beside.name}' if beside.is_file() else ''}")
    return 0


def info(model: Model, as_json: AsJson = False) -> int:
    """What a network is."""
    from slimscan.cli.say import say_json, say_pairs
    from slimscan.models.spec import plain

    if model.lower().endswith(".onnx"):
        from slimscan.models.onnx_in import exported

        network: Any = exported(model)
        weights, history = None, network.history
    else:
        from slimscan.models.network import TORCH

        TORCH.demand("reading a checkpoint")
        from slimscan.models.checkpoint import load

        network = load(model)
        weights, history = sum(one.numel() for one in network.weights.values()), network.history
    told = {
        "net": plain(network.net), "norm": plain(network.norm), "fit": plain(network.fit),
        "weights": weights, "sha256": network.sha256, "history": history,
    }  # fmt: skip
    if as_json:
        say_json(told)
        return 0
    net, fit = network.net, network.fit
    labels = ", ".join(
        f"{name} = {value}" for name, value in zip(net.names or net.values[1:], net.values[1:], strict=True)
    )
    say_pairs(
        [
            ("network", f"{net.kind}, {net.dims}D, {net.levels} levels of {net.width} maps and more"),
            ("classes", labels),
            ("normalisation", ", ".join(f"{name} {value}" for name, value in plain(network.norm).items())),
            ("training", f"{fit.loss}, crops {list(fit.patch)}, batch {fit.batch}, seed {fit.seed}"),
            *([("weights", f"{weights:,}")] if weights is not None else []),
            ("sha256", network.sha256),
            *(
                ("trained", f"{one.get('steps', 0)} steps, from {one.get('start') or 'random weights'}")
                for one in history
            ),
        ]
    )
    return 0


def _opened(model: str, device: str) -> tuple[Callable[[Any], Any], Any]:
    """The network as a function of pixels in their real unit, and its spec."""
    if model.lower().endswith(".onnx"):
        from slimscan.models import onnx_in

        exported = onnx_in.exported(model)
        return lambda pixels: onnx_in.labels(exported, pixels), exported.net
    from slimscan.models.network import TORCH

    TORCH.demand("running a checkpoint")
    from slimscan.models.checkpoint import load
    from slimscan.models.predict import chosen, labels

    chosen(device)
    network = load(model)
    return lambda pixels: labels(network, pixels, device), network.net
