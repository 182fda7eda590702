"""Where the command line begins and ends: every way to end is an exit code and at most one line of error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from actionqueue.cli.exit_codes import ExitCode, exit_code_of
from actionqueue.cli.output import printable
from actionqueue.errors import ActionQueueError, LockedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. The arguments are those of the process unless given."""
    _complete_standard_streams()
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        code = ExitCode.OUTPUT_CLOSED
    except OSError as error:
        _abandon_output()
        code = _fail(_describe(error), exit_code_of(error))
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    # The extra's packages are imported here and nowhere before, so that their absence can be told.
    try:
        import click  # noqa: PLC0415
        import rich  # noqa: F401, PLC0415

        from actionqueue.cli.application import application  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        needed = "the command line needs the cli extra: pip install 'actionqueue[cli]'"
        return _fail(needed, ExitCode.NOT_INSTALLED)
    try:
        # Not application.main: that has its own ideas of broken pipes and interrupts.
        with application.make_context("actionqueue", arguments) as context:
            return int(application.invoke(context) or ExitCode.OK)
    except click.exceptions.Exit as end:  # after --help and --version
        return end.exit_code
    except click.ClickException as error:
        return _usage(error, getattr(error, "ctx", None))
    except ActionQueueError as error:
        return _fail(_describe(error), exit_code_of(error))


def _usage(error: click.ClickException, context: click.Context | None) -> ExitCode:
    name = "actionqueue" if context is None else context.command_path
    return _fail(f"{error.format_message()} (see {name} --help)", ExitCode.USAGE)


def _describe(error: ActionQueueError | OSError) -> str:
    if isinstance(error, LockedError):
        return _describe_lock(error)
    if isinstance(error, OSError) and error.strerror:
        where = "standard input or output" if error.filename is None else os.fsdecode(error.filename)
        return f"{where}: {error.strerror}"
    return str(error)


def _describe_lock(error: LockedError) -> str:
    holder = "another process" if error.pid is None else f"process {error.pid}"
    host = "" if error.host is None else f" on {error.host}"
    since = "" if error.started is None else f" since {error.since}"
    return f"{Path(error.path).parent} is in use: {holder}{host} has it open{since}; try again when it is closed"


def _fail(message: str, code: ExitCode) -> ExitCode:
    """Print one line, whatever the message holds, after what was printed so far."""
    sys.stdout.flush()
    line = printable(" ".join(message.split()))
    print(f"actionqueue: error: {line}", file=sys.stderr)
    return code


def _abandon_output() -> None:
    """Send to nowhere what is still to be flushed when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complete_standard_streams() -> None:
    """Give streams that were closed to the null device, before a file of the queue gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 -- open to the end
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
