"""The command ``actionqueue`` begins here, before the library's import, which takes a while.

That takes some tenths of a second. This module imports only what Python has imported before it
begins, or has built in, because Ctrl-C may come meanwhile.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would make enumerations first
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130
"""The exit code of :class:`actionqueue.cli.exit_codes.ExitCode`, which is not imported yet."""


def main() -> NoReturn:
    """Run the command line and exit."""
    end_at_interrupts()
    put_the_collector_off()
    let_warnings_be_told()
    from actionqueue.cli.entry import main as run  # noqa: PLC0415 -- after those calls

    run()


def is_running_the_package() -> bool:
    """Tell whether this is ``python -m actionqueue``, which imports the package first."""
    options = sys.orig_argv
    return (
        sys.argv[:1] == ["-m"]
        and "actionqueue" in options
        and options[options.index("actionqueue") - 1] == "-m"
    )


def end_at_interrupts() -> None:
    """Let Ctrl-C end the process at once, while it has nothing to clean up.

    A KeyboardInterrupt in the middle of an import would print a traceback, or get lost in a
    callback of the import.
    """
    # Not where the process ignores it, as under nohup.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _end)


def raise_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, for code that has something to clean up."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


def put_the_collector_off() -> None:
    """Have the garbage collector leave alone what is imported: a third of a short command's time.

    It would go through all of it several times, and find nothing.
    """
    gc.disable()


def let_the_collector_work() -> None:
    """Collect garbage again, but not look at what was imported."""
    gc.freeze()
    gc.enable()


def let_warnings_be_told() -> None:
    """Print warnings also where PYTHONWARNINGS makes errors of them, so that none ends a command.

    That setting is meant for other programs.
    """
    import warnings  # noqa: PLC0415 -- later than the interrupts

    warnings.filters = [
        ("default" if action == "error" else action, *which)  # type: ignore[misc]
        for action, *which in warnings.filters
    ]
