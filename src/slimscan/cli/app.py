"""The commands, gathered."""

from __future__ import annotations

from typing import Any

import typer

from slimscan.cli import (
    calm,
    codecs,
    compare,
    compress,
    decompress,
    deliver,
    dicom,
    info,
    net,
    policies,
    region,
    score,
    slide,
    study,
)

ABOUT = """Make a medical image as small as the task it serves allows, and prove it.

[bold]First steps[/bold]

  slimscan compress ct.nii.gz -o ct.ozx --ratio 20

  slimscan info ct.ozx

  slimscan decompress ct.ozx -o back.nii.gz

  slimscan compare ct.nii.gz ct.ozx --panel panel.png

Sources are read by what is in them: NIfTI, DICOM (a file or a folder of one series), TIFF and OME-TIFF, folders of TIFF
slices, MetaImage, NRRD, Scanco ISQ, OME-Zarr; whole slides have commands of their own, `slimscan slide`. A source is never changed, nothing is replaced without --force.
Every command takes --json (one object on stdout) and --debug (a traceback instead of one line).
"""


def flow(text: str) -> str:
    """The text with its lines joined inside each paragraph, so that a terminal of any width wraps them itself."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def build() -> Any:
    """The command as click sees it."""
    app = typer.Typer(
        name="slimscan",
        help=flow(ABOUT),
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: bool = typer.Option(
            False, "--version", help="Print the version and stop.", is_eager=True, callback=_version
        ),
        # Taken off before anything is parsed, wherever it stands; here for --help.
        debug: bool = typer.Option(False, "--debug", help="With any command: a traceback instead of one line."),
    ) -> None:
        """Placed before every command."""

    root.__doc__ = flow(ABOUT)
    app.command("compress", help=flow(compress.HELP))(compress.command)
    app.command("decompress", help=flow(decompress.HELP))(decompress.command)
    app.command("info", help=flow(info.HELP))(info.command)
    app.command("codecs", help=flow(codecs.HELP))(codecs.command)
    app.command("policies", help=flow(policies.HELP))(policies.command)
    app.command("calm", help=flow(calm.HELP))(calm.command)
    app.command("compare", help=flow(compare.HELP))(compare.command)
    app.command("region", help=flow(region.HELP))(region.command)
    app.command("score", help=flow(score.HELP))(score.command)
    app.command("serve", help=flow(deliver.SERVE_HELP))(deliver.serve)
    app.command("receive", help=flow(deliver.RECEIVE_HELP))(deliver.receive)
    app.command("send", help=flow(deliver.SEND_HELP))(deliver.send)
    app.add_typer(study.build(flow), name="study")
    app.add_typer(net.build(flow), name="net")
    app.add_typer(slide.build(flow), name="slide")
    app.add_typer(dicom.build(flow), name="dicom")
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        import slimscan

        print(f"slimscan {slimscan.__version__}")
        raise typer.Exit
