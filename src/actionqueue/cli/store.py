"""``actionqueue store``: make, check and look at a log in a replicated engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import Any

import click

from actionqueue.cli.exit_codes import ExitCode
from actionqueue.cli.options import json_option
from actionqueue.cli.output import print_json
from actionqueue.stores import EtcdStore, LogStore, PostgresStore
from actionqueue.texts import host_name

__all__ = ["store"]


def _on_a_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command say which store it is about, and give it to it."""

    @click.option("--postgres", metavar="CONNINFO", help="libpq's text: 'host=a,b,c dbname=jobs'.")
    @click.option("--etcd", metavar="HOST:PORT,...", help="The nodes of an etcd cluster.")
    @click.option(
        "--log", default="actionqueue", show_default=True, metavar="NAME", help="Which log."
    )
    @wraps(command)
    def with_store(*, postgres: str | None, etcd: str | None, log: str, **options: Any) -> Any:
        with _opened(postgres, etcd, log) as opened:
            return command(opened, **options)

    return with_store


@contextmanager
def _opened(postgres: str | None, etcd: str | None, log: str) -> Iterator[LogStore]:
    if (postgres is None) == (etcd is None):
        raise click.UsageError("name one engine: --postgres or --etcd")
    made: PostgresStore | EtcdStore
    try:
        if postgres is not None:
            made = PostgresStore(postgres, log=log)
        else:
            made = EtcdStore((etcd or "").split(","), log=log)
    except (ImportError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    with closing(made):
        yield made


@click.group()
def store() -> None:
    """Make, check and look at a log in PostgreSQL or etcd.

    A log outlives the machine of its writer there. What a store promises, and what the engine has
    to be for that, is in docs/replicated.md.
    """


@store.command()
@_on_a_store
def init(opened: LogStore) -> None:
    """Make the log, with the tables that PostgreSQL needs for it. A second time does nothing."""
    made = opened.initialize()
    click.echo("the log is made" if made else "the log is there already")


@store.command()
@_on_a_store
@json_option
def check(opened: LogStore, *, as_json: bool) -> int:
    """Say what the engine is, and which of its settings do not keep the promise.

    Ends with 1 where one does not, or may not.
    """
    info = opened.describe()
    if as_json:
        print_json(
            {
                "engine": info.engine,
                "version": info.version,
                "nodes": list(info.nodes),
                "warnings": list(info.warnings),
            }
        )
    else:
        click.echo(f"{info.engine} {info.version}")
        for node in info.nodes:
            click.echo(f"  {node}")
        for warning in info.warnings:
            click.echo(f"! {warning}")
        if not info.warnings:
            click.echo("nothing was found that breaks the promise")
    return ExitCode.NOT_PROVED if info.warnings else ExitCode.OK


@store.command()
@_on_a_store
@json_option
def status(opened: LogStore, *, as_json: bool) -> None:
    """Say where the log stands, and which snapshots it has."""
    head, snapshots = opened.head(), opened.snapshots()
    facts = {
        "log_id": str(head.log_id),
        "epoch": head.epoch,
        "holder": head.holder,
        "next_sequence": head.next_sequence,
        "watermark": head.watermark,
        "trimmed_to": head.trimmed_to,
        "snapshots": [info.sequence for info in snapshots],
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<14} {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


@store.command()
@_on_a_store
@click.option("--timeout", type=click.FloatRange(0), help="The most seconds to wait.")
def campaign(opened: LogStore, *, timeout: float | None) -> None:
    """Take the log over, and give it back: no earlier writer can append any more.

    Waits while a writer is alive. One that was put aside says so with FencedError at its next step.
    """
    term = opened.campaign(f"actionqueue store campaign on {host_name()}", timeout=timeout)
    opened.resign(term)
    click.echo(f"the log goes on at {term.first_sequence}, behind epoch {term.epoch}")
