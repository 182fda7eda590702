"""The command line begins and ends here: each end is an exit code and at most one error line."""

from __future__ import annotations

import codecs
import errno
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from _actionqueue_start import end_at_interrupts, let_warnings_be_told
from actionqueue.cli.exit_codes import ExitCode, exit_code_of
from actionqueue.cli.output import SIGNS
from actionqueue.cli.wording import describe, say, say_warning
from actionqueue.errors import ActionQueueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

__all__ = ["main"]

SIZE_DIGITS_MAX = 9

COMPLETE_VARIABLE = "_ACTIONQUEUE_COMPLETE"
"""The variable that a shell sets to ask for completions."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. By default the arguments are those of the process."""
    end_at_interrupts()
    let_warnings_be_told()
    _complete_standard_streams()
    _say_warnings_in_one_line()
    _leave_out_sizes_of_nothing()
    code: object
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except SystemExit as end:  # SIGTERM and its like, where a command had something to clean up
        code = end.code
    except OSError as error:
        _abandon_output()
        if _is_of_a_closed_pipe(error):
            code = ExitCode.OUTPUT_CLOSED
        else:
            code = _fail(describe(error, None), exit_code_of(error))
    end_at_interrupts()
    sys.exit(code)


def _is_of_a_closed_pipe(error: OSError) -> bool:
    """Tell whether the reader of the output has gone, for which Windows has another number."""
    if isinstance(error, BrokenPipeError):
        return True
    return sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None


def _run(arguments: list[str]) -> int:
    # Import the extra's packages only here, so that an error can say that they are missing.
    try:
        import click  # noqa: PLC0415
        import rich  # noqa: F401, PLC0415

        from actionqueue.cli.application import application  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        needed = "the command line needs click and rich: pip install 'actionqueue[cli]'"
        return _fail(needed, ExitCode.NOT_INSTALLED)
    if instruction := os.environ.get(COMPLETE_VARIABLE):
        return _complete(application, instruction)
    try:
        # Not application.main, which treats broken pipes and interrupts in its own way.
        with application.make_context("actionqueue", arguments) as context:
            return int(application.invoke(context) or ExitCode.OK)
    except click.exceptions.Exit as end:  # after --help and --version
        return end.exit_code
    except click.ClickException as error:
        return _usage(error, getattr(error, "ctx", None))
    except (ActionQueueError, MemoryError) as error:
        return _fail(describe(error, context.invoked_subcommand), exit_code_of(error))


def _complete(application: click.Command, instruction: str) -> int:
    """Answer the shell, which asks for its script or for completions.

    It does not read standard error.
    """
    from click.shell_completion import shell_complete  # noqa: PLC0415 -- as above

    known = [
        f"{shell}_{what}" for shell in ("bash", "zsh", "fish") for what in ("source", "complete")
    ]
    if instruction not in known:
        return _fail(
            f"{COMPLETE_VARIABLE} is {instruction!r}; it must be one of {', '.join(known)}",
            ExitCode.USAGE,
        )
    try:
        return shell_complete(application, {}, "actionqueue", COMPLETE_VARIABLE, instruction)
    except (KeyError, ValueError):  # COMP_WORDS or COMP_CWORD, which only the shell's script sets
        text = (
            f"{COMPLETE_VARIABLE}={instruction} is for the script that "
            f"{COMPLETE_VARIABLE}=bash_source (or zsh_source, fish_source) prints for the shell"
        )
        return _fail(text, ExitCode.USAGE)


def _usage(error: click.ClickException, context: click.Context | None) -> ExitCode:
    name = "actionqueue" if context is None else context.command_path
    return _fail(f"{error.format_message()} (see {name} --help)", ExitCode.USAGE)


def _fail(message: str, code: ExitCode) -> ExitCode:
    sys.stdout.flush()
    say("error", message)
    return code


def _abandon_output() -> None:
    """Send to nowhere what the interpreter still flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complete_standard_streams() -> None:
    """Open closed streams on the null device, before a file of the queue gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 -- open to the end
    codecs.register_error("actionqueue", _in_other_signs)
    sys.stdout.reconfigure(errors="actionqueue")  # type: ignore[union-attr]


def _in_other_signs(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return other signs for a sign that the locale's encoding lacks."""
    if (
        isinstance(error, UnicodeEncodeError)
        and (sign := SIGNS.get(error.object[error.start])) is not None
    ):
        return sign, error.start + 1
    return codecs.backslashreplace_errors(error)


def _leave_out_sizes_of_nothing() -> None:
    """Remove a COLUMNS or LINES that is no size of a terminal: rich draws nothing in 0 columns."""
    for name in ("COLUMNS", "LINES"):
        text = os.environ.get(name, "1")
        if not (
            text.isascii() and text.isdigit() and len(text) <= SIZE_DIGITS_MAX and int(text) > 0
        ):
            del os.environ[name]


def _say_warnings_in_one_line() -> None:
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not say_warning(message, category):
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show
