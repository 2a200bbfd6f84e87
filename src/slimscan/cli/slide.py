"""slimscan slide: the group. Each command lives in a slide_*.py of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from slimscan.cli import slide_check, slide_info, slide_press, slide_tissue

HELP = "Whole slides: smaller, exact where possible, glass left out, still opening everywhere."

COMMANDS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("info", slide_info.HELP, slide_info.info),
    ("compress", slide_press.COMPRESS, slide_press.compress),
    ("restore", slide_press.RESTORE, slide_press.restore),
    ("tissue", slide_tissue.TISSUE, slide_tissue.tissue),
    ("train-tissue", slide_tissue.TRAIN, slide_tissue.train),
    ("check", slide_check.CHECK, slide_check.check),
    ("report", slide_check.REPORT, slide_check.report),
    ("view", slide_check.VIEW, slide_check.view),
)


def build(flow: Callable[[str], str]) -> typer.Typer:
    """The commands under `slimscan slide`; flow lets the terminal wrap a help text."""
    app = typer.Typer(
        name="slide",
        help=flow(HELP),
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def group() -> None:
        """Placed before every command of the group."""

    group.__doc__ = flow(HELP)
    for name, text, command in COMMANDS:
        app.command(name, help=flow(text))(command)
    return app
