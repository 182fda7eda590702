"""The group of all commands, with the text of ``actionqueue --help``."""

from __future__ import annotations

from importlib import import_module

import click

import actionqueue
from _actionqueue_start import let_the_collector_work, raise_interrupts
from actionqueue.cli.exit_codes import MEANINGS

__all__ = ["application"]

_COMMANDS = (
    "bench",
    "cancel",
    "compact",
    "demo",
    "due",
    "dump",
    "log",
    "pause",
    "repair",
    "reschedule",
    "resume",
    "retry",
    "runs",
    "snapshot",
    "stats",
    "store",
    "submit",
    "verify",
    "why",
)
_EPILOG = "\b\nExit codes:\n" + "\n".join(
    f"{code:>5}  {meaning}" for code, meaning in MEANINGS.items()
)


class _Commands(click.Group):
    """A group that imports a command's module only when that command runs.

    A module's import also loads what draws its tables.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"actionqueue.cli.{cmd_name}"), cmd_name)
        command.epilog = "Exit codes: see actionqueue --help."
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, and let Ctrl-C raise and the collector work from now on.

        Everything is imported, and the command may have something to clean up.
        """
        found = super().resolve_command(ctx, args)
        let_the_collector_work()
        raise_interrupts()
        return found


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(actionqueue.__version__, message="%(prog)s %(version)s")
def application() -> None:
    """Submit commands to a queue, and look at what it holds.

    DIR is the queue's directory. submit creates it if it is missing, and holds the queue until it
    ends; what changes the queue otherwise holds it too. dump, due, log, runs, stats and why write
    nothing and work while another process has the queue open; verify writes nothing, and refuses
    then.
    """
