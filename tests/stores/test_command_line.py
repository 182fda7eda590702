"""``actionqueue store`` over real engines."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from actionqueue.stores import EtcdStore, PostgresStore
from tests.support.command_line import run
from tests.support.stores.servers import Etcd, Postgres


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=pytest.mark.system("postgres")),
        pytest.param("etcd", marks=pytest.mark.system("etcd")),
    ]
)
def options(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """How the command line names a cluster of one node."""
    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        if request.param == "postgres":
            cluster: Postgres | Etcd = Postgres(Path(directory), standbys=1)
            where = ["--postgres", cluster.conninfo]
        else:
            cluster = Etcd(Path(directory), 1)
            where = ["--etcd", ",".join(cluster.endpoints)]
        yield [*where, "--log", "jobs"]
        cluster.stop()


def test_a_log_is_made_looked_at_and_taken(options: list[str]) -> None:
    missing = run("store", "status", *options)
    assert missing.code == 6
    assert "actionqueue store init" in missing.error
    assert run("store", "init", *options) == (0, "the log is made\n", "")
    assert run("store", "init", *options) == (0, "the log is there already\n", "")

    checked = run("store", "check", "--json", *options)
    found = json.loads(checked.output)
    assert found["engine"] in {"PostgreSQL", "etcd"}
    assert checked.code == (1 if found["warnings"] else 0)
    assert run("store", "check", *options).output.startswith(found["engine"])

    before = json.loads(run("store", "status", "--json", *options).output)
    assert before["next_sequence"] == 1
    assert before["holder"] is None
    taken = run("store", "campaign", *options)
    assert (taken.code, taken.error) == (0, "")
    assert taken.output.startswith("the log goes on at 1, behind epoch ")
    after = json.loads(run("store", "status", "--json", *options).output)
    assert after["epoch"] > before["epoch"]
    assert after["holder"] is None
    assert "next sequence  1" in run("store", "status", *options).output


def test_a_log_that_is_held_is_not_taken(options: list[str]) -> None:
    assert run("store", "init", *options).code == 0
    store: PostgresStore | EtcdStore
    if options[0] == "--postgres":
        store = PostgresStore(options[1], log="jobs")
    else:
        store = EtcdStore(options[1].split(","), log="jobs")
    with closing(store):
        term = store.campaign("a living writer")
        is_over = threading.Event()

        def keep() -> None:
            while not is_over.wait(store.describe().keep_seconds / 4):
                store.keep(term)

        with ThreadPoolExecutor(1) as pool:
            kept = pool.submit(keep)
            held = run("store", "campaign", "--timeout", "0", *options)
            is_over.set()
            kept.result()
    assert held.code == 4
    assert "'a living writer' holds the log" in held.error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name one engine"),
        (["--postgres", "host=a", "--etcd", "b:1"], "name one engine"),
        (["--postgres", "colour=red"], "PostgresStore.conninfo"),
        (["--etcd", ""], "EtcdStore.endpoints"),
        (["--etcd", "a:1", "--log", "a/b"], "EtcdStore.log"),
    ],
)
@pytest.mark.system("etcd")
def test_bad_usage_says_what_to_do(arguments: list[str], said: str) -> None:
    ended = run("store", "status", *arguments)
    assert ended.code == 2
    assert said in ended.error
