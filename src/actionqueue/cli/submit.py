"""``actionqueue submit``: read a stream of commands, and write a stream of verdicts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

import actionqueue as aq
from actionqueue.cli.exit_codes import ExitCode
from actionqueue.cli.options import directory_argument
from actionqueue.cli.progress import open_with_bar
from actionqueue.json.lines import LINE_SIZE_MAX, InvalidLineError, submission_from_line
from actionqueue.json.verdict import accepted, refused

__all__ = ["submit"]


@click.command()
@directory_argument
@click.option(
    "--durability",
    type=click.Choice([policy.value for policy in aq.DurabilityPolicy]),
    default=aq.DurabilityPolicy.DEFERRED.value,
    show_default=True,
    help="What holds for an accepted command when its verdict comes: immediate is on stable "
    "storage; deferred survives the end of the process, and is on stable storage when "
    "submit ends. A line's own durability comes first.",
)
def submit(directory: Path, durability: str) -> int:
    """Submit commands from standard input.

    Reads and writes one JSON object a line, and prints each verdict before it reads the next line.
    Creates the queue if it is missing. A line that is no command gets a verdict of stage "input",
    and the stream goes on. A refused command is an answer, not an error. If submit cannot write a
    valid command or make it durable, the stream ends after its verdict.
    """
    with open_with_bar(directory, durability=durability) as queue:
        return _submit_lines(queue)


def _submit_lines(queue: aq.ActionQueue) -> ExitCode:
    code = ExitCode.OK
    for line in _lines():
        try:
            command, durability = submission_from_line(line)
            outcome = queue.submit(command, durability)
        except (InvalidLineError, aq.InvalidFieldError) as error:
            _say(refused(error, queue.sequence))
            code = ExitCode.BAD_INPUT
        except aq.ValidationError as error:
            _say(refused(error, queue.sequence))
        except aq.MutationError as error:
            _say(refused(error, queue.sequence))
            return ExitCode.NOT_WRITTEN
        else:
            _say(accepted(outcome, queue.sequence))
    return code


def _lines() -> Iterator[bytes]:
    """Yield the lines of standard input as they come; cut a line off once it is too long."""
    source = sys.stdin.buffer
    while line := source.readline(LINE_SIZE_MAX + 2):  # a line end may be two bytes
        yield line
        while len(line) == LINE_SIZE_MAX + 2 and not line.endswith(b"\n"):
            line = source.readline(LINE_SIZE_MAX + 2)


def _say(verdict: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(verdict) + b"\n")
    sys.stdout.buffer.flush()
