"""slimscan study recipe: a published protocol that is no study of levels, over one's own images."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

RECIPE = """Run a published protocol over your images. The TOML says which: luu2021, elkhoury2021, kurmukov2024 or
wsi2025.

luu2021 calms what lies outside a region, and measures what that saves with every coder. elkhoury2021 and kurmukov2024 train
networks on images and masks, clean and compressed, and test them at every ratio; they need the extra torch. wsi2025 puts
whole slides and patches of their tissue through JPEG, JPEG 2000 and JPEG XL, with glass and without; it has no contract.

Writes report.html. What was measured or trained before is not done again: a stopped run goes on. Exit 3 when the contract
is not met (of networks: when none of them is certified at any ratio).

[bold]Examples[/bold]

  slimscan study new --recipe luu2021 -o luu2021.toml

  slimscan study recipe luu2021.toml -o OUT

  slimscan study new --recipe elkhoury2021 -o networks.toml

  slimscan study recipe networks.toml -o OUT --estimate
"""

MET = {"CERTIFIED", "ALL_CERTIFIED_GRID_EXHAUSTED"}


def recipe(
    toml: Annotated[str, typer.Argument(metavar="TOML", help="Written by `slimscan study new --recipe NAME`.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Results. Default: the TOML's name beside it."),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Networks: say how long it takes, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Run a published protocol."""
    place = Path(toml)
    folder = Path(output) if output else place.with_suffix("")
    if _recipe(place) in ("elkhoury2021", "kurmukov2024"):
        return _networks(place, folder, estimate, as_json)
    if _recipe(place) == "wsi2025":
        return _wsi2025(place, folder, as_json)
    return _luu2021(place, folder, as_json)


def _recipe(place: Path) -> str:
    """Which protocol a TOML is of; "" for one that cannot be read, which its own reader tells."""
    try:
        said = tomllib.loads(place.read_text("utf-8")).get("study", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""
    return str(said.get("recipe", "")) if isinstance(said, dict) else ""


def _luu2021(place: Path, folder: Path, as_json: bool) -> int:
    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import bar, say_json, say_table
    from slimscan.report.luu2021 import summary, write_html
    from slimscan.study.recipes.luu2021.run import run
    from slimscan.study.recipes.luu2021.words import load

    protocol = load(place)
    with bar(protocol.said["study"]["name"]) as progress:
        found = run(protocol, folder, progress)
    page = write_html(found, folder / "report.html")
    told = {**summary(found), "report": str(page)}
    if as_json:
        say_json(told)
    else:
        rows = [["coder", "original", "diffused", "improvement"]]
        rows += [
            [one.coder, f"{one.original:.2f}", f"{one.diffused:.2f}", f"{one.percent:+.0f} %"]
            for one in found.improvements
        ]
        say_table(rows)
        for name, code in [*told["likeness"].items(), *(told["reading"] or {}).items()]:
            print(f"{name}: {code}")
        print(f"patients: {told['patients']} here, at least {told['patients_needed']} needed")
        print(page)
    codes = [*told["likeness"].values(), *(told["reading"] or {}).values()]
    return DONE if all(code in MET for code in codes) else CHECK_FAILED


def _wsi2025(place: Path, folder: Path, as_json: bool) -> int:
    from slimscan.cli import DONE
    from slimscan.cli.say import bar, say_json, say_table
    from slimscan.report.wsi2025 import summary, write_html
    from slimscan.study.recipes.wsi2025.run import run
    from slimscan.study.recipes.wsi2025.words import load

    protocol = load(place)
    with bar(protocol.said["study"]["name"]) as progress:
        found = run(protocol, folder, progress)
    page = write_html(found, folder / "report.html")
    told = {**summary(found), "report": str(page)}
    if as_json:
        say_json(told)
        return DONE
    rows = [["tiles as", "saved, %"]]
    for slide, some in told["saved_percent"].items():
        rows += [[f"{slide}: {name}", f"{percent:.1f}"] for name, percent in some.items()]
    say_table(rows)
    for line in found.lines:
        print(
            f"{line.codec}: {line.patches} patches, SSIM {line.ssim.mean:.3f}, PSNR {line.psnr_db.mean:.1f} dB, "
            f"saved {line.reduction.mean:.1f} %"
        )
    print(page)
    return DONE


def _networks(place: Path, folder: Path, estimate: bool, as_json: bool) -> int:
    import json

    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import note, say_json, say_table
    from slimscan.report.experiments import write_html
    from slimscan.study.experiments.run import run
    from slimscan.study.experiments.words import load

    experiment = load(place)
    with _bar(experiment.said["study"]["name"]) as progress:
        found = run(experiment, folder, progress, note, only_estimate=estimate)
    if estimate:
        if as_json:
            say_json(found)
        else:
            print(f"{found['trainings']} trainings, about {found['seconds_left'] / 60:.0f} min")
        return DONE
    page = write_html(folder, folder / "report.html")
    verdicts = json.loads((folder / "verdicts.json").read_text("utf-8"))
    lines = {key: one for key, one in verdicts.items() if "/" in key}
    if as_json:
        say_json({**found, "verdicts": lines, "report": str(page)})
    else:
        rows = [["network", "trained at", "tolerance", "certified", "verdict"]]
        for key, one in lines.items():
            network, _, trained = key.rpartition("/")
            held = ", ".join(f"{name} {_ratio(ratio)}" for name, ratio in one["tolerance"].items())
            rows.append([network, trained, held, _ratio(one["certified_ratio"]), one["code"] or one.get("why", "")])
        say_table(rows)
        print(f"patients: {found['patients']}; {found['seconds'] / 60:.0f} min")
        print(page)
    return DONE if any(one["code"] in MET for one in lines.values()) else CHECK_FAILED


def _ratio(ratio: float | None) -> str:
    return "none" if ratio is None else f"{ratio:g}"


@contextmanager
def _bar(label: str) -> Iterator[Callable[[str, float, float], None] | None]:
    """A bar on stderr of what is done so far, with the time left; None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def step(what: str, done: float, whole: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(f"{label}: {what}", total=whole)
            bars.update(tasks[what], completed=done, total=whole)

        yield step
