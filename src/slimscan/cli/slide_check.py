"""slimscan slide check, slimscan slide report, slimscan slide view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

CHECK = """Open a slide in slimscan, OpenSlide and tifffile, compare it with its source, and say who else opens it.

Pixels are compared on as many tiles of each level (--tiles), properties and the pictures beside the specimen on all. Exit 3
when something that a copy of a slide promises does not hold; what a reader refuses is told only.

[bold]Examples[/bold]

  slimscan slide check small.svs --source slide.svs

  slimscan slide check small.svs --source slide.svs --tiles 0 --json
"""

REPORT = """Write a page about a slide and what was made of it: sizes, what was left out, likeness, the worst tiles, readers.

[bold]Example[/bold]

  slimscan slide report slide.svs exact.svs small.svs -o report.html
"""

VIEW = """Show two slides side by side in a browser: they move together, at every zoom, with their difference.

Serves both from where they lie, to this machine only (extra: serve). With --output, one page that holds both and needs
nothing else, for slides of at most 20 million pixels.

[bold]Examples[/bold]

  slimscan slide view slide.svs small.svs

  slimscan slide view slide.svs small.svs -o both.html
"""

Tiles = Annotated[int, typer.Option(metavar="N", min=0, help="Tiles of each level that are looked at; 0: all.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the draw of tiles.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what stands there.")]


def check(
    out: Annotated[str, typer.Argument(metavar="OUT", help="The slide to look at.")],
    source: Annotated[str | None, typer.Option("--source", metavar="IN", help="What it was made from.")] = None,
    tiles: Tiles = 64,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """Check one slide."""
    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import bar, say_json
    from slimscan.press.slide.check import as_json as told
    from slimscan.press.slide.check import check as look

    with bar(Path(out).name) as progress:
        found = look(
            Path(out), None if source is None else Path(source), most=tiles or None, seed=seed, progress=progress
        )
    if as_json:
        say_json(told(found))
    else:
        _print(found)
    return DONE if found.passed else CHECK_FAILED


def report(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The slide as it was.")],
    outs: Annotated[list[str], typer.Argument(metavar="OUT...", help="What was made of it.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="PAGE", help="The page.")] = "slide-report.html",
    tiles: Tiles = 64,
    seed: Seed = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Write the page."""
    from slimscan.cli import CHECK_FAILED, DONE
    from slimscan.cli.say import bar, say_json
    from slimscan.press.slide.check import as_json as told
    from slimscan.report.slide import write_slide_report

    with bar(Path(source).name) as progress:
        page, found = write_slide_report(
            Path(source),
            [Path(one) for one in outs],
            Path(output),
            most=tiles or None,
            seed=seed,
            force=force,
            progress=progress,
        )
    if as_json:
        say_json({"report": str(page), "outputs": [told(one) for one in found]})
    else:
        for one in found:
            print(f"{one.path}: {'passed' if one.passed else 'FAILED'}")
        print(page)
    return DONE if all(one.passed for one in found) else CHECK_FAILED


def view(
    a: Annotated[str, typer.Argument(metavar="A", help="The source, on the left.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The result, on the right.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0 takes a free one.")] = 0,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PAGE", help="Write a page that holds both instead of serving."),
    ] = None,
    force: Force = False,
) -> int:
    """Show two slides."""
    from slimscan.files.slides import open_slide

    with open_slide(Path(a)) as one, open_slide(Path(b)) as other:
        if output is not None:
            from slimscan.report.slide_tiles import write_alone

            print(write_alone(one, other, Path(output), force))
            return 0
        from slimscan.report.slide_view import run

        run(one, other, port, lambda found: print(f"http://127.0.0.1:{found}/ (stop with Ctrl-C)", flush=True))
    return 0


def _print(found: Any) -> None:
    from slimscan.cli.say import say_pairs, say_table, size

    words = {True: "holds", False: "DOES NOT HOLD", None: "told"}
    whole = ""
    if found.source_facts is not None:
        saved = 100 * (1 - found.facts.bytes / found.source_facts.bytes)
        whole = f", {abs(saved):.1f} % {'less' if saved >= 0 else 'more'} than its source"
    print(f"{found.path}: {size(found.facts.bytes)}{whole}")
    say_pairs([(one.name, f"{words[one.passed]}: {one.said}") for one in found.findings])
    if found.readers:
        say_table([["reader", "", ""], *([one.name, one.answer, one.why] for one in found.readers)])
