"""slimscan dicom: the group. Commands that talk to an archive stand in dicom_pacs.py and are hung on in `build`."""

from __future__ import annotations

from collections.abc import Callable

import typer

from slimscan.cli import dicom_pacs

HELP = "DICOM beyond pixels: segmentations, and archives."


def build(flow: Callable[[str], str]) -> typer.Typer:
    """The commands under `slimscan dicom`; flow lets the terminal wrap a help text."""
    app = typer.Typer(
        name="dicom",
        help=flow(HELP),
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def group() -> None:
        """Placed before every command of the group."""

    group.__doc__ = flow(HELP)
    dicom_pacs.add(app, flow)
    return app
