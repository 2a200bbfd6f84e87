"""The command line: parse, call, print; the only place that prints or exits."""

from __future__ import annotations

import os
import signal
import sys

from slimscan.errors import CheckFailed, SlimscanError

DONE, BAD_INPUT, CHECK_FAILED, INTERRUPTED = 0, 2, 3, 130


def main() -> None:
    """Run the command line and exit: 0 done, 2 bad input or usage, 3 done but a check failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's way to press Ctrl-C
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit status of a command; prints what it has to say, one line for an error, no traceback without --debug."""
    debug = "--debug" in arguments
    try:
        from slimscan.cli.app import build

        status = build()(
            [argument for argument in arguments if argument != "--debug"], "slimscan", standalone_mode=False
        )
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as stop:  # click exits by itself when nobody reads on
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `slimscan codecs | head` is no error
        return DONE
    except (Exception, KeyboardInterrupt) as error:
        if debug and not _is_usage(error):
            raise
        return complain(error)
    if status == INTERRUPTED:  # typer turns Ctrl-C into a status
        return complain(KeyboardInterrupt())
    return int(status) if isinstance(status, int) else DONE


def complain(error: BaseException) -> int:
    """One line on stderr; the exit status that goes with the error."""
    status, line = _told(error)
    if line:
        print(f"error: {line}", file=sys.stderr)
    return status


def worst(*statuses: int) -> int:
    """The status of several images together: bad input before a failed check, since more went wrong."""
    return next((status for status in (BAD_INPUT, CHECK_FAILED) if status in statuses), DONE)


def _told(error: BaseException) -> tuple[int, str]:
    if isinstance(error, CheckFailed):
        return CHECK_FAILED, _one_line(str(error))
    if isinstance(error, SlimscanError):
        return BAD_INPUT, _one_line(str(error))
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return INTERRUPTED, "stopped before it was done; nothing was left half-written"
    if isinstance(error, MemoryError):
        return BAD_INPUT, "not enough memory; try fewer --workers, or write .ozx, which is streamed"
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was shown, which is what was asked
        return DONE, ""
    if _is_usage(error):
        context = getattr(error, "ctx", None)
        said = _one_line(error.format_message())  # type: ignore[attr-defined] # click's, which is not imported for it
        hint = f"; `{context.command_path} --help` says what there is" if context else ""
        return BAD_INPUT, said.rstrip(".") + hint
    said = f"unexpected {type(error).__name__}: {_one_line(str(error))}"
    return BAD_INPUT, f"{said}; please report it with what the same command prints with --debug"


def _is_usage(error: BaseException) -> bool:
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _one_line(text: str) -> str:
    return " ".join(text.split())
