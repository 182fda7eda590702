"""``actionqueue cancel``: cancel a task with its runs."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue.cli.options import directory_argument, task_argument
from actionqueue.cli.steps import scheduler_of
from actionqueue.model import TaskId

__all__ = ["cancel"]


@click.command()
@directory_argument
@task_argument
def cancel(directory: Path, task_id: TaskId) -> None:
    """Cancel a task, its runs, and the tasks that wait for it.

    Prints the identifiers of the tasks that this canceled. A task that waits for another one which
    is never completed would wait for ever. Refused while the queue is open elsewhere.
    """
    with scheduler_of(directory) as scheduler:
        canceled = scheduler.cancel(task_id)
    for canceled_id in canceled:
        click.echo(canceled_id)
