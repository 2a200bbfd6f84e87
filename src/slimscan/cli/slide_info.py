"""slimscan slide info."""

from __future__ import annotations

from typing import Annotated, Any

import typer

HELP = """Say what a whole slide is: levels, tiles and how they are stored, scale, objective, pictures beside it.

[bold]Example[/bold]

  slimscan slide info slide.svs
"""


def info(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A slide, or the folder of a DICOM slide.")],
    properties: Annotated[
        bool, typer.Option("--properties", help="List everything that the file says of itself.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Print facts of one slide."""
    from slimscan.cli.say import say_json, say_pairs, say_table

    facts = about(path)
    if as_json:
        say_json(facts)
        return 0
    print(facts["path"])
    say_pairs(_pairs(facts))
    say_table([_HEAD, *(_row(number, level) for number, level in enumerate(facts["levels"]))])
    if properties:
        say_pairs([(name, " ".join(value.split())) for name, value in sorted(facts["properties"].items())])
    return 0


def about(path: str) -> dict[str, Any]:
    """The facts as plain values: {path, format, file_bytes, mpp, magnification, icc_bytes, associated, levels, properties}.

    mpp: micrometres a pixel as [y, x]. A level: {shape, tile, grid, tiles, stored, bytes, downsample, compression, ...};
    stored: how many places of the grid hold a tile, bytes: of all of them; both None where no tiles are handed out.
    """
    from dataclasses import asdict
    from pathlib import Path

    from slimscan.files.slides import open_slide
    from slimscan.files.slides.sizes import stored_bytes

    with open_slide(path) as slide:
        levels = []
        for number, level in enumerate(slide.levels):
            sizes = stored_bytes(slide, number)
            counted = {"tiles": level.tiles, "stored": None, "bytes": None}
            if sizes is not None:
                counted |= {"stored": int((sizes > 0).sum()), "bytes": int(sizes.sum())}
            levels.append(asdict(level) | counted)
        beside = {name: slide.image(name).shape[:2] for name in slide.associated}
        folder = Path(path).with_suffix("") if slide.format == "mrxs" else Path(path)
        files = [Path(path)] if Path(path).is_file() else []
        files += [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
        return {
            "path": str(slide.path),
            "format": slide.format,
            "file_bytes": sum(file.stat().st_size for file in files),
            "mpp": slide.mpp,
            "magnification": slide.magnification,
            "icc_bytes": None if slide.icc is None else len(slide.icc),
            "associated": beside,
            "levels": levels,
            "properties": dict(slide.properties),
        }


_HEAD = ("level", "pixels", "downsample", "um/pixel", "tile", "grid", "stored", "compression", "bytes")


def _pairs(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from slimscan.cli.say import size
    from slimscan.files.slides.dicomorder import ORDER

    mpp, power = facts["mpp"], facts["magnification"]
    icc = facts["icc_bytes"]
    beside = ", ".join(f"{name} {shape[1]} x {shape[0]}" for name, shape in facts["associated"].items())
    return [
        ("format", facts["format"]),
        ("size", size(facts["file_bytes"])),
        ("scale", "the file does not say" if mpp is None else f"{mpp[1]:.4g} x {mpp[0]:.4g} um a pixel (x, y)"),
        ("objective", "the file does not say" if power is None else f"{power:g}x"),
        ("colour profile", "none" if icc is None else size(icc)),
        ("beside it", beside or "nothing"),
        *(
            (f"frame order {number}", order)
            for number in range(len(facts["levels"]))
            if (order := facts["properties"].get(f"{ORDER}[{number}]"))
        ),
    ]


def _row(number: int, level: dict[str, Any]) -> tuple[str, ...]:
    from slimscan.cli.say import size

    (height, width), mpp = level["shape"], level["mpp"]
    how = level["compression"] + (f" {level['colour']}" if level["colour"] else "")
    how += f" Q{level['quality']}" if level["quality"] else ""
    return (
        str(number),
        f"{width} x {height}",
        f"{level['downsample']:.4g}",
        "-" if mpp is None else f"{mpp[1]:.4g}",
        f"{level['tile'][1]} x {level['tile'][0]}" if level["tiles"] else "-",
        f"{level['grid'][1]} x {level['grid'][0]}" if level["tiles"] else "-",
        "-" if level["stored"] is None else str(level["stored"]),
        how or "-",
        "-" if level["bytes"] is None else size(level["bytes"]),
    )
