"""The command line: parse, call, print; the only place that prints or exits."""

from __future__ import annotations

import sys

from slimscan.errors import CheckFailed, SlimscanError

DONE, BAD_INPUT, CHECK_FAILED, INTERRUPTED = 0, 2, 3, 130


def main() -> None:
    """Run the command line and exit: 0 done, 2 bad input or usage, 3 done but a check failed."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit status of a command; prints what it has to say, one line for an error, no traceback without --debug."""
    from slimscan.cli.app import build

    debug = "--debug" in arguments
    try:
        status = build()([argument for argument in arguments if argument != "--debug"], standalone_mode=False)
    except SlimscanError as error:
        if debug:
            raise
        return complain(error)
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C; nothing was left half-written", file=sys.stderr)
        return INTERRUPTED
    except MemoryError:
        if debug:
            raise
        print("error: not enough memory; try fewer --workers, or write .ozx, which is streamed", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
    except Exception as error:
        if debug:
            raise
        if (code := getattr(error, "exit_code", None)) is not None and hasattr(error, "format_message"):
            print(f"error: {error.format_message()}".replace("\n", " "), file=sys.stderr)
            return BAD_INPUT if code else DONE
        if type(error).__name__ == "Abort":
            print("error: stopped; nothing was left half-written", file=sys.stderr)
            return INTERRUPTED
        kind = type(error).__name__
        print(
            f"error: unexpected {kind}: {_one_line(error)}; please report it with --debug's traceback", file=sys.stderr
        )
        return BAD_INPUT
    return int(status) if isinstance(status, int) else DONE


def complain(error: SlimscanError) -> int:
    """One line on stderr; the exit status that goes with the error."""
    print(f"error: {_one_line(error)}", file=sys.stderr)
    return CHECK_FAILED if isinstance(error, CheckFailed) else BAD_INPUT


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
