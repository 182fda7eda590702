"""Where the command ``actionqueue`` begins: in front of the library, whose import takes some tenths of a second.

It imports nothing that Python has not imported when it begins, for Ctrl-C may come meanwhile.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what is behind `signal`, which makes enumerations first
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130
"""The exit code, as :class:`actionqueue.cli.exit_codes.ExitCode` has it, which is not there yet."""


def main() -> NoReturn:
    """Run the command line and exit."""
    end_at_interrupts()
    let_warnings_be_told()
    from actionqueue.cli.entry import main as run  # noqa: PLC0415 -- behind those

    run()


def is_running_the_package() -> bool:
    """Tell whether this is ``python -m actionqueue``, which imports the package before it comes to the command line."""
    options = sys.orig_argv
    return (
        sys.argv[:1] == ["-m"]
        and "actionqueue" in options
        and options[options.index("actionqueue") - 1] == "-m"
    )


def end_at_interrupts() -> None:
    """Let Ctrl-C end the process at once: for as long as there is nothing to put away, and no code that knows of interrupts.

    A KeyboardInterrupt in the middle of an import would be told with a traceback, or lost in a
    callback of the import's.
    """
    if (
        _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    ):  # not where it is ignored, as behind nohup
        _signal.signal(_signal.SIGINT, _end)


def raise_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, for what has something to put away."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


def let_warnings_be_told() -> None:
    """Take warnings for warnings, where PYTHONWARNINGS makes errors of them, for the sake of other programs: none ends a command."""
    import warnings  # noqa: PLC0415 -- later than the interrupts

    warnings.filters = [
        ("default" if action == "error" else action, *which) for action, *which in warnings.filters
    ]  # type: ignore[misc]
