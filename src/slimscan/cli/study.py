"""slimscan study new, plan, run, judge, report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from slimscan.study.decide import Decided
    from slimscan.study.plan import Plan
    from slimscan.study.run import Progress

HELP = "Ask how far images may be compressed before a task suffers, and answer with a bound that holds."

NEW = """Write the TOML of a new study, every word commented; asks for what is missing when this is a terminal.

[bold]Examples[/bold]

  slimscan study new -o study.toml --images 'images/{case}.nii.gz' --codec jpeg2000 --psnr 60,55,50,45,40 --delta 0.02
"""
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
    app.command("new", help=flow(NEW))(new)
    app.command("plan", help=flow(PLAN))(plan)
    app.command("run", help=flow(RUN))(run)
    app.command("judge", help=flow(JUDGE))(judge)
    app.command("report", help=flow(REPORT))(report)
    return app


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]


def new(
    output: Annotated[str, typer.Option("--output", "-o", metavar="TOML", help="Where to write it.")] = "study.toml",
    recipe: Annotated[
        str | None, typer.Option(help="A published protocol: cunha2023-microct, cunha2023-mri, cunha2023-hrem.")
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
    value: Annotated[float | None, typer.Option(help="Of a threshold task, in the image's unit.")] = None,
    against: Annotated[str | None, typer.Option(help="truth (the masks) or itself (the uncompressed result).")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric of masks; may be repeated.")] = None,
    delta: Annotated[float | None, typer.Option(help="Mean loss below this is no harm, in the metric's unit.")] = None,
    force: Force = False,
    as_json: AsJson = False,
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

        return _write_new(place, recipe_text(recipe), force, as_json)
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
    kind = said(task, "Kind of task (otsu, threshold, python, command, torchscript, onnx, readers, features)", "otsu")
    words: dict[str, Any] = {"name": kind, "kind": kind, "against": against}
    own: dict[str, dict[str, Any]] = {
        "python": {"call": call},
        "command": {"command": command},
        "threshold": {"value": value},
    }
    words |= own.get(kind, {})
    for word in ("call", "command", "value"):
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


def _write_new(place: Path, text: str, force: bool, as_json: bool) -> int:
    from slimscan.cli.say import say_json
    from slimscan.press.staging import staged

    with staged(place, force) as stage:
        stage.path.write_text(text, "utf-8")
    if as_json:
        say_json({"output": str(place)})
    else:
        print(f"{place}\n  next: slimscan study plan {place}")
    return 0


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
    with _bar(fixed.study.study["name"]) as progress:
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
        _tell(decided, [str(path) for path in written])
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


def _numbers(option: str, text: str | None) -> list[float] | None:
    from slimscan.errors import InputError

    if text is None:
        return None
    try:
        return [float(one) for one in text.replace(",", " ").split()]
    except ValueError:
        raise InputError(f'{option} "{text}": want numbers, for example 60,55,50') from None


def _tell(decided: Decided, written: list[str]) -> None:
    from slimscan.cli.say import say_table

    verdict, plan = decided.verdict, decided.plan
    print(f"{plan['study']['name']}: {plan['study']['question']}")
    rows = [["codec", "level", "ratio", "n", "mean loss", "upper", "over cap", "upper", "p", "certified"]]
    for name, codec in verdict.codecs.items():
        for level in codec.levels:
            evidence = level.evidence
            ratio = "" if level.achieved_cr is None else f"{level.achieved_cr.median:.3g}"
            answer = (
                f"yes, grade {decided.contract.grade}" if level.certified else "no" if level.reached else "not reached"
            )
            rows.append(
                [
                    name,
                    str(level.level),
                    ratio,
                    str(level.n),
                    f"{evidence.mean_loss:.4g}",
                    f"{evidence.upper_T4:.4g}",
                    str(evidence.n_over_B),
                    f"{evidence.upper_T6:.3f}",
                    f"{level.p:.2g}",
                    answer,
                ]
            )
    say_table(rows)
    for name, codec in verdict.codecs.items():
        also = "" if codec.level_B in (None, codec.level) else f"; approximate (grade B): {codec.level_B}"
        print(f"{name}: {codec.code}, level {'none' if codec.level is None else codec.level}{also}")
        if codec.level is None and codec.needed_n:
            print(f"  cases: {codec.n}, needed about {codec.needed_n}")
        for text in codec.notes:
            print(f"  {text}")
        if codec.naive_level is not None:
            print(f"  for comparison, not evidence: p > .05 would allow level {codec.naive_level}")
    for text in (*verdict.notes, *(f"left out: {text}" for text in decided.left_out)):
        print(text)
    if verdict.best:
        print(f"best: {', '.join(verdict.tied)}")
    for path in written:
        print(f"certificate: {path}")


@contextmanager
def _bar(label: str) -> Iterator[Progress | None]:
    """One bar with an honest time left, on stderr; None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    from slimscan.study.estimate import Estimate, spoken

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=1.0, said=spoken(None))

        def step(estimate: Estimate, elapsed: float, done: int, jobs: int) -> None:
            bars.update(task, completed=estimate.share, said=f"{done} of {jobs} jobs, {spoken(estimate.left(elapsed))}")

        yield step
