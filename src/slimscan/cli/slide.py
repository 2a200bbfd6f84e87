"""slimscan slide: the group. Each command lives in a slide_*.py of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import typer

HELP = "Whole slides: smaller, exact where possible, glass left out, still opening everywhere."

# (module, command, function, constant with the help text), in the order of the list of commands
COMMANDS = (
    ("slide_info", "info", "info", "HELP"),
    ("slide_press", "compress", "compress", "COMPRESS"),
    ("slide_press", "restore", "restore", "RESTORE"),
    ("slide_tissue", "tissue", "tissue", "TISSUE"),
    ("slide_tissue", "train-tissue", "train", "TRAIN"),
    ("slide_check", "check", "check", "CHECK"),
    ("slide_check", "report", "report", "REPORT"),
    ("slide_check", "view", "view", "VIEW"),
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
    for module, name, function, text in COMMANDS:
        if find_spec(f"slimscan.cli.{module}") is None:
            continue
        found = import_module(f"slimscan.cli.{module}")
        if hasattr(found, function):
            app.command(name, help=flow(getattr(found, text, None) or getattr(found, "HELP", "")))(
                getattr(found, function)
            )
    return app
