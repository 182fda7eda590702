"""``actionqueue demo``: see a scheduler lose its workers and its process, but none of its work."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue.cli.exit_codes import ExitCode
from actionqueue.cli.options import NamedPath
from actionqueue.demo.run import Options, run

__all__ = ["demo"]

FILES_MIN = 20
"""Fewer files are too few for all the trouble."""


@click.command()
@click.option(
    "--directory",
    type=NamedPath(path_type=Path),
    help="Keep the queue here. The directory must be new or empty.",
)
@click.option("--files", type=click.IntRange(min=FILES_MIN), help="Take only this many files.")
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Worker processes. [default: one a core]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="Which files fail on purpose.")
def demo(directory: Path | None, files: int | None, workers: int | None, seed: int) -> int:
    """Watch a scheduler survive its kill.

    The scheduler parses Python's standard library: every .py file is a task, worker processes
    lease its runs. Some files fail, a worker hangs and is killed, the engine is paused and resumed,
    the budget runs out, the scheduler is killed with SIGKILL. It recovers and finishes, and the log
    proves that nothing was lost, and that each file was completed once: work that a kill
    interrupted is done again.
    """
    if (
        directory is not None
        and directory.exists()
        and (not directory.is_dir() or any(directory.iterdir()))
    ):
        raise click.UsageError(f"--directory must be new or empty: {directory}")
    proved = run(Options(directory=directory, file_count=files, worker_count=workers, seed=seed))
    return ExitCode.OK if proved else ExitCode.NOT_PROVED
