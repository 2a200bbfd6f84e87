"""slimscan study new, plan, run, judge, report, recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slimscan.cli import study_new, study_recipe

if TYPE_CHECKING:
    from slimscan.study.plan import Plan

HELP = "Ask how far images may be compressed before a task suffers, and answer with a bound that holds."

PLAN = """Say what a study would do, and whether its cases are enough: cases that the contract needs and that there are,
levels, and the work. Nothing is compressed. Exit 3 when there are too few cases for any certificate.
"""
RUN = """Run a study into a folder, or go on with one that was stopped: a study's TOML, or the folder of a run.

Rows are kept as they come; a run that was killed at any moment goes on where it was, and ends with the same rows.
What was computed once, for this study or (with --cache) another, is looked up.
"""
JUDGE = """Judge a run from its rows alone: writes verdict.json and a certificate for every codec with a certified level.

Exit 3 when no level is certified. --verify derives a certificate again and says every difference.
"""
REPORT = "Write a run's report: one page that needs no network."


def build(flow: Callable[[str], str]) -> typer.Typer:
    """The commands under `slimscan study`; flow lets the terminal wrap a help text."""
    app = typer.Typer(
        name="study",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("new", help=flow(study_new.NEW))(study_new.new)
    app.command("plan", help=flow(PLAN))(plan)
    app.command("run", help=flow(RUN))(run)
    app.command("judge", help=flow(JUDGE))(judge)
    app.command("report", help=flow(REPORT))(report)
    app.command("recipe", help=flow(study_recipe.RECIPE))(study_recipe.recipe)
    return app


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]


def plan(
    study: Annotated[str, typer.Argument(metavar="TOML", help="The study.")],
    as_json: AsJson = False,
) -> int:
    """Say what a study would do."""
    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import say_json, say_pairs, size
    from slimscan.study.needs import needs

    fixed = _fixed(_toml(study), None)
    found = needs(fixed)
    if as_json:
        say_json(found)
    else:
        say_pairs(
            [
                ("study", f"{found['study']}: {found['question']}"),
                ("cases", f"{found['cases']} found ({found['images']} images), at least {found['needed']} needed"),
                ("why", "; ".join(f"{name} {n}" for name, n in found["needed_by"].items())),
                ("levels", "; ".join(f"{name}: {', '.join(levels)}" for name, levels in found["levels"].items())),
                ("tasks", ", ".join(found["tasks"])),
                ("work", f"{found['compressions']} compressions of {size(found['file_bytes'])} of image files in all"),
                ("fingerprint", found["sha256"]),
            ]
        )
        if not found["enough"]:
            print(f"  too few cases: no level can be certified with {found['cases']}, whatever the losses are")
    return DONE if found["enough"] else CHECK_FAILED


def run(
    study: Annotated[
        str, typer.Argument(metavar="TOML|FOLDER", help="The study, or the folder of a run to go on with.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Results. Default: the TOML's name beside it."),
    ] = None,
    each: Annotated[str | None, typer.Option(help="Run on: serial, threads, processes, dask.")] = None,
    workers: Annotated[int | None, typer.Option(help="How many at once. Default: the cores of this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Of --each dask, tcp://host:port.")] = None,
    cache: Annotated[
        str | None, typer.Option(help="Where results by content are kept, shared between studies.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace results of a study declared otherwise.")] = False,
    as_json: AsJson = False,
) -> int:
    """Run a study."""
    from slimscan import each as maps
    from slimscan.cli.say import say_json, say_pairs
    from slimscan.cli.study_say import bar
    from slimscan.study.folder import Folder
    from slimscan.study.run import run as run_study

    toml = _toml(study)
    folder = Folder(Path(output) if output else Path(study) if Path(study).is_dir() else toml.with_suffix(""))
    fixed = _fixed(toml, folder)
    chosen = maps.choose(
        each or fixed.study.run["each"] or ("processes" if maps.cores() > 1 else "serial"),
        workers or fixed.study.run["workers"],
        scheduler,
    )
    command = ["slimscan", *sys.argv[1:]]
    with bar(fixed.study.study["name"]) as progress:
        done = run_study(
            fixed,
            folder,
            each=chosen,
            cache=Path(cache) if cache else None,
            force=force,
            progress=progress,
            command=command,
        )
    if as_json:
        say_json(done)
        return 0
    print(folder.path)
    pairs = [
        ("rows", f"{done.rows} of {done.cases} cases ({done.images} images)"),
        ("computed", f"{done.computed} levels of images, {done.known} were there"),
        ("time", f"{done.seconds:.1f} s"),
    ]
    if done.failed:
        pairs.append(("failed", f"{done.failed} rows: the task gave no usable answer; they count as the worst score"))
    if done.timing.get("engine_percent") is not None:
        pairs.append(("slimscan itself", f"{done.timing['engine_percent']:g} % of the time of codecs and tasks"))
    say_pairs(pairs)
    print(f"  next: slimscan study judge {folder.path}")
    return 0


def judge(
    folder: Annotated[str | None, typer.Argument(metavar="FOLDER", help="Results of a run.")] = None,
    verify: Annotated[
        str | None, typer.Option(metavar="CERTIFICATE", help="Derive this certificate again instead.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Judge a run."""
    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import say_json
    from slimscan.cli.study_say import tell
    from slimscan.errors import InputError
    from slimscan.study import certificate
    from slimscan.study.decide import decide, store
    from slimscan.study.folder import Folder

    place = Folder(Path(folder)) if folder else None
    if verify is not None:
        differences = certificate.verify(Path(verify), place)
        if as_json:
            say_json({"certificate": verify, "holds": not differences, "differences": differences})
        else:
            print(f"{verify}: {'the rows give the same' if not differences else 'does not hold'}")
            for text in differences:
                print(f"  {text}")
        return CHECK_FAILED if differences else DONE
    if place is None:
        raise InputError("want the folder of a run, or --verify certificate.json")
    decided = decide(place)
    said = store(place, decided)
    written = certificate.store(place, decided)
    if as_json:
        say_json(said | {"certificates": [str(path) for path in written]})
    else:
        tell(decided, [str(path) for path in written])
    return DONE if said["certified"] else CHECK_FAILED


def report(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Results of a run that was judged.")],
    as_json: AsJson = False,
) -> int:
    """Write a run's report."""
    from slimscan.cli.say import say_json
    from slimscan.report.page import write_report
    from slimscan.study import certificate
    from slimscan.study.decide import decide, store
    from slimscan.study.folder import Folder

    place = Folder(Path(folder))
    if not place.verdict.exists():
        decided = decide(place)
        store(place, decided)
        certificate.store(place, decided)
    written = write_report(place.path)
    if as_json:
        say_json({"output": str(written)})
    else:
        print(written)
    return 0


def _toml(study: str) -> Path:
    """The TOML of an argument that may be a folder of results."""
    place = Path(study)
    return place / "study.toml" if place.is_dir() else place


def _fixed(toml: Path, folder: Any) -> Plan:
    """The plan of a TOML; a run's own copy counts its patterns from where the study was declared."""
    from slimscan.study.folder import read_json
    from slimscan.study.plan import fix, load

    base = None
    if toml.name == "study.toml" and (toml.parent / "plan.json").exists():
        base = Path(read_json(toml.parent / "plan.json", "")["base"])
    return fix(load(toml, base), None if folder is None else folder.cache / "fingerprints.json")
