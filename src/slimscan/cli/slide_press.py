"""slimscan slide compress and restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from slimscan.nouns.slide import Slide
    from slimscan.press.slide.compress import SlideReceipt
    from slimscan.press.slide.tissue import Wanted

COMPRESS = """Make a whole slide smaller, and prove on the written file what was promised.

[bold]Profiles[/bold]

  exact: JPEG tiles become JPEG XL that gives the same JPEG bytes back; `slimscan slide restore` returns the very same file.

  compatible: tiles stay as they are, glass points to one shared white tile a level; opens wherever the source did.

  small: level by level the smallest of what is there, its exact JPEG XL and tiles coded anew that pass the floors.

  paper: one codec at the slide paper's fixed setting (JPEG 90, JPEG XL distance 1, JPEG 2000 37 dB).

small and paper lose something; where the tiles were lossy before, that needs --allow-lossy-again. Every tile of the output is
read back and held against the source. Except by paper, nothing is written that is larger than the source.

[bold]Examples[/bold]

  slimscan slide compress slide.svs -o slide.exact.svs --profile exact

  slimscan slide compress slide.svs -o slide.small.svs --profile small --allow-lossy-again --floor-ssim 0.98

  slimscan slide compress slide.svs -o slide.compatible.svs --profile compatible --tissue colour,otsu --margin 128
"""

RESTORE = """Give back the very same file that was compressed with --profile exact.

Every tile is held against the SHA-256 that it had, and so is the whole file; nothing is written when one differs.

[bold]Example[/bold]

  slimscan slide restore slide.exact.svs -o slide.svs
"""

Force = Annotated[bool, typer.Option("--force", help="Replace what stands at OUT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def compress(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A slide stored as TIFF (svs, scn, OME, generic) or DICOM.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="The file to write.")],
    profile: Annotated[str, typer.Option(metavar="NAME", help="exact, compatible, small or paper.")] = "exact",
    glass: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="What becomes of glass: keep, shared (one white tile a level), empty (no bytes), paint (white, paper only). "
            "Default: shared for compatible and small, else keep.",
        ),
    ] = None,
    tissue: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Masks that find tissue: colour, otsu, saturation, relative, entropy; or none."
        ),
    ] = None,
    mask: Annotated[list[str] | None, typer.Option(help="A mask of tissue; may be repeated.")] = None,
    annotations: Annotated[
        list[str] | None, typer.Option(metavar="GEOJSON", help="Annotations of QuPath; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="best.pt of slide train-tissue.")] = None,
    margin: Annotated[float | None, typer.Option(help="Pixels of the largest level around tissue that stay.")] = None,
    floor_ssim: Annotated[float | None, typer.Option(help="small: SSIM of each tile at least. Default 0.97.")] = None,
    floor_psnr: Annotated[
        float | None, typer.Option(help="small: PSNR of each tile in dB at least. Default 30.")
    ] = None,
    floor_window: Annotated[
        float | None, typer.Option(help="small: SSIM of each square of 16 pixels at least. Default 0.9.")
    ] = None,
    paper_codec: Annotated[str, typer.Option(metavar="CODEC", help="paper: jpeg, jpegxl or jpeg2000.")] = "jpegxl",
    allow_lossy_again: Annotated[
        bool, typer.Option("--allow-lossy-again", help="small and paper: also where tiles were lossy before.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Make a slide smaller."""
    from slimscan.cli.say import note, say_json
    from slimscan.press.slide.compress import GLASS, compress_slide
    from slimscan.press.slide.quality import Floors

    said = {"ssim": floor_ssim, "psnr_db": floor_psnr, "window": floor_window}
    floors = {name: value for name, value in said.items() if value is not None}
    left = glass or GLASS.get(profile, "keep")  # type: ignore[call-overload] # an unknown profile is refused further on
    wanted = _wanted(tissue, mask, annotations, model, margin, bool(left == "keep"))
    receipt = compress_slide(
        source,
        output,
        profile=profile,  # type: ignore[arg-type] # checked there
        left=glass,  # type: ignore[arg-type]
        tissue=None if wanted is None else _finder(wanted),
        floors=Floors(**floors) if floors else None,
        paper_codec=paper_codec,
        allow_lossy_again=allow_lossy_again,
        force=force,
    )
    for sentence in receipt.notes:
        note(f"{receipt.output}: {sentence}")
    if as_json:
        say_json(receipt)
    else:
        _tell(receipt)
    return 0


def restore(
    source: Annotated[str, typer.Argument(metavar="IN", help="What compress --profile exact wrote.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="The file to write.")],
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Give the source back."""
    from slimscan.cli.say import say_json, say_pairs, size
    from slimscan.press.slide.restore import restore_slide

    done = restore_slide(source, output, force=force)
    if as_json:
        say_json(done)
        return 0
    print(done.output)
    say_pairs(
        [
            ("restored", f"{done.name}, {size(done.bytes)}, {done.tiles} tiles, each the same bytes"),
            ("SHA-256", f"{done.sha256}, the same as of the file that was compressed"),
        ]
    )
    return 0


def _wanted(
    tissue: str | None,
    mask: list[str] | None,
    annotations: list[str] | None,
    model: str | None,
    margin: float | None,
    keeps: bool,
) -> Wanted | None:
    """How tissue is found; None when all glass stays. InputError for options that would then do nothing."""
    from slimscan.errors import InputError
    from slimscan.press.slide.tissue import MARGIN, Wanted

    if keeps:
        said = {
            "--tissue": tissue, "--mask": mask, "--annotations": annotations, "--model": model, "--margin": margin
        }  # fmt: skip
        idle = next((name for name, value in said.items() if value not in (None, [])), None)
        if idle:
            raise InputError(
                f"{idle} finds glass, which is kept here; say --glass shared (or empty), or leave {idle} out"
            )
        return None
    names = (
        None if tissue is None else tuple(one.strip() for one in tissue.split(",") if one.strip() not in ("", "none"))
    )
    return Wanted(
        methods=names,
        masks=tuple(Path(one) for one in mask or ()),
        annotations=tuple(Path(one) for one in annotations or ()),
        model=Path(model) if model else None,
        margin=MARGIN if margin is None else margin,
    )


def _finder(wanted: Wanted) -> Callable[[Slide], Any]:
    def find(slide: Slide) -> Any:
        from slimscan.press.slide import tissue as press

        seen = press.found(slide, wanted)
        return seen, press.grids(slide, seen, wanted.margin)

    return find


def _tell(receipt: SlideReceipt) -> None:
    from slimscan.cli.say import say_pairs, say_table, size

    print(receipt.output)
    saved = (
        f"{receipt.saved_percent:.1f} % saved" if receipt.saved_percent >= 0 else f"{-receipt.saved_percent:.1f} % more"
    )
    tiles = ", ".join(f"{count} {how}" for how, count in receipt.tiles.items() if count)
    psnr = "nothing differs" if receipt.psnr_db is None else f"{receipt.psnr_db:.2f} dB"
    likeness = psnr if receipt.ssim is None or receipt.psnr_db is None else f"{psnr}, SSIM {receipt.ssim:.4f}"
    pairs = [
        ("profile", receipt.profile),
        ("size", f"{size(receipt.output_bytes)} of {size(receipt.source_bytes)}, {saved}"),
        ("tiles", tiles),
        ("tissue", f"{likeness} (read back)"),
    ]
    if receipt.worst_window is not None:
        at = receipt.worst_window
        where = f"level {at['level']}, tile ({at['row']}, {at['column']})"
        pairs.append(("worst window", f"SSIM {at['ssim']:.3f} at {where}"))
    pairs.append(("time", f"{receipt.seconds:.1f} s"))
    say_pairs(pairs)
    for check in receipt.checks:
        print(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name}: asked {check.asked}, got {check.got}")
    rows = [["  level", "pixels", "was", "now", "bytes", "of", "PSNR dB"]]
    for row in receipt.levels:
        rows.append(
            [
                f"  {row['level']}",
                f"{row['shape'][1]} x {row['shape'][0]}",
                row["was"],
                row["codec"],
                size(row["bytes"][1]),
                size(row["bytes"][0]),
                "" if row["psnr_db"] is None else f"{row['psnr_db']:.2f}",
            ]
        )
    say_table(rows)
