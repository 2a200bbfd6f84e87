"""slimscan dicom: the group. Commands for segmentations are in dicom_seg.py, those that talk to an archive in dicom_pacs.py."""

from __future__ import annotations

from collections.abc import Callable

import typer

from slimscan.cli import dicom_pacs, dicom_seg

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
    dicom_seg.add(app, flow)
    dicom_pacs.add(app, flow)
    return app
