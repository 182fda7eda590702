"""A primary that another node has replaced, and that goes on: only what would stop it has died."""

from __future__ import annotations

import shutil
import signal
from contextlib import closing
from typing import Any

import pytest

from actionqueue.errors import FencedError, OutcomeUnknownError, StoreUnavailableError
from actionqueue.stores import PostgresStore
from actionqueue.stores.postgres.servers import Servers
from tests.stores.test_postgres import Writer, cluster, writer  # noqa: F401 -- fixtures
from tests.support.stores.servers import Postgres, wait_for

pytestmark = pytest.mark.system("postgres")


def replace_the_primary(cluster: Postgres) -> None:
    """Have n1 lead and n2 follow it, while n0 goes on, which comes first among the hosts."""
    for number in (1, 2):
        cluster.cut_off(number)
    cluster.servers[2].kill()
    shutil.rmtree(cluster.data(2))
    cluster.promote(1)
    wait_for(lambda: leads(cluster, 1), "n1 leads")
    with cluster.connect(1) as connection:
        connection.execute("ALTER SYSTEM RESET primary_conninfo")
        connection.execute("SELECT pg_reload_conf()")
    cluster.follow(2, 1)


def leads(cluster: Postgres, number: int) -> bool:
    with cluster.connect(number) as connection:
        return not connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]


def test_a_writer_leaves_a_primary_that_was_replaced(writer: Writer) -> None:
    replace_the_primary(writer.cluster)
    with pytest.raises(OutcomeUnknownError):
        writer.pool.submit(writer.store.append, writer.term, 2, 2, b"2").result(60)
    writer.resume()
    assert not writer.store.outcome(writer.term, 2, b"2")
    writer.store.append(writer.term, 2, 2, b"two")
    with writer.cluster.connect(1) as connection:
        row = connection.execute("SELECT next_seq FROM aq.head").fetchone()
    assert row == (3,)


def test_a_writer_leaves_a_primary_that_stands_still(writer: Writer) -> None:
    """Its machine answers for it, so TCP does not find it."""
    for number in (1, 2):
        writer.cluster.cut_off(number)
    frozen = writer.cluster.servers[0]
    frozen.signal(signal.SIGSTOP)
    writer.cluster.promote(1)
    with writer.cluster.connect(1) as connection:  # it has no standby
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        connection.execute("SELECT pg_reload_conf()")
    with pytest.raises(OutcomeUnknownError):
        writer.pool.submit(writer.store.append, writer.term, 2, 2, b"2").result(60)
    frozen.kill()


def test_readers_and_candidates_leave_a_primary_that_was_replaced(writer: Writer) -> None:
    """The replaced one answers what is read, and nothing changes there."""
    conninfo = writer.cluster.conninfo
    with (
        closing(PostgresStore(conninfo, log="jobs")) as reader,
        closing(PostgresStore(conninfo, log="jobs")) as candidate,
    ):
        assert reader.head().next_sequence == 2
        replace_the_primary(writer.cluster)
        term = candidate.campaign("candidate", timeout=60)
        candidate.append(term, 2, 2, b"2")
        candidate.keep(term)
        assert list(reader.tail(1, 60)) == [b"2"]
        with pytest.raises(FencedError):
            append_until_known(writer)


def append_until_known(writer: Writer) -> None:
    try:
        writer.pool.submit(writer.store.append, writer.term, 2, 2, b"two").result(60)
    except OutcomeUnknownError:
        writer.resume()


def test_a_replaced_primary_is_not_asked_again(writer: Writer) -> None:
    """It comes first among the hosts, and says that it takes writes."""
    replace_the_primary(writer.cluster)
    with pytest.raises(OutcomeUnknownError):
        writer.pool.submit(writer.store.append, writer.term, 2, 2, b"2").result(60)
    assert writer.store.head().next_sequence == 2
    writer.cluster.servers[1].kill()
    with pytest.raises(StoreUnavailableError, match="has timeline 1, and is not the primary: 2"):
        writer.store.head()


def test_a_standby_that_was_promoted_by_mistake_is_left(writer: Writer) -> None:
    """It has the newest timeline, and no standby; the primary goes on with the other one."""
    cluster = writer.cluster
    writer.store.resign(writer.term)
    cluster.cut_off(1)
    cluster.promote(1)
    wait_for(lambda: leads(cluster, 1), "n1 leads")
    ports = [cluster.ports[number] for number in (1, 0, 2)]
    conninfo = f"host=127.0.0.1,127.0.0.1,127.0.0.1 port={ports[0]},{ports[1]},{ports[2]}"
    with closing(PostgresStore(f"{conninfo} user=aq dbname=postgres", log="jobs")) as store:
        term = store.campaign("writer", timeout=60)
        store.append(term, 2, 2, b"2")
        assert store.head().next_sequence == 3
    with cluster.connect(0) as connection:
        row = connection.execute("SELECT next_seq FROM aq.head").fetchone()
    assert row == (3,)


CONNINFO: dict[str, tuple[str, dict[str, str], list[tuple[Any, ...]]]] = {
    "one": ("host=a", {}, [("a", None, None)]),
    "none": ("dbname=jobs", {}, [(None, None, None)]),
    "names and one port": ("host=a,b port=7", {}, [("a", None, "7"), ("b", None, "7")]),
    "ports": ("host=a,a port=7,8", {}, [("a", None, "7"), ("a", None, "8")]),
    "addresses": ("hostaddr=::1,::2", {}, [(None, "::1", None), (None, "::2", None)]),
    "both": ("host=a,b hostaddr=::1,::2", {}, [("a", "::1", None), ("b", "::2", None)]),
    "environment": ("", {"PGHOST": "a,b", "PGPORT": "7"}, [("a", None, "7"), ("b", None, "7")]),
    "uri": ("postgresql://a:7,b:8/jobs", {}, [("a", None, "7"), ("b", None, "8")]),
}


@pytest.mark.parametrize("case", CONNINFO)
def test_each_server_is_asked_by_itself(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conninfo, environment, expected = CONNINFO[case]
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    each = Servers(conninfo)._each
    assert [tuple(one.get(name) for name in ("host", "hostaddr", "port")) for one in each] == (
        expected
    )
