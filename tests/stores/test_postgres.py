"""What has lost acknowledged commits in PostgreSQL, each tried with a primary and two standbys."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from actionqueue.errors import (
    AcknowledgedLostError,
    FencedError,
    InvalidFieldError,
    OutcomeUnknownError,
    StoreUnavailableError,
    StoreUnsafeError,
    TrimmedError,
)
from actionqueue.stores import PostgresStore
from actionqueue.stores.protocol import Term
from tests.support.stores.servers import Postgres, wait_for

pytestmark = pytest.mark.system("postgres")
numbers = count(1)


@pytest.fixture
def cluster() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        made = Postgres(Path(directory), standbys=2)
        yield made
        made.stop()


class Writer:
    """A store whose appends wait for standbys in a thread of their own."""

    def __init__(self, cluster: Postgres) -> None:
        self.cluster = cluster
        self.store = PostgresStore(cluster.conninfo, log="jobs")
        self.store.initialize()
        self.term: Term = self.store.campaign("writer")
        self.store.append(self.term, 1, 1, b"1")
        self.pool = ThreadPoolExecutor(1)

    @contextmanager
    def waiting(self, first: int) -> Iterator[Callable[[], None]]:
        """Have an append wait for standbys that are cut off; yield what returns its end."""
        with self.cluster.frozen(1, 2):
            group = str(first).encode()
            end = self.pool.submit(self.store.append, self.term, first, first, group)
            wait_for(lambda: self.backends() or end.done(), "the append waits")
            assert not end.done()
            yield lambda: end.result(60)

    def backends(self) -> list[int]:
        """Return the server's processes that wait for a standby."""
        with self.cluster.connect(0) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            )
            return [row[0] for row in rows]

    def on_server(self, statement: str, *parameters: object) -> None:
        with self.cluster.connect(0) as connection:
            connection.execute(statement, parameters or None)

    def resume(self) -> None:
        self.term = self.store.campaign("writer", resume=self.term)

    def close(self) -> None:
        self.store.close()
        self.pool.shutdown()


@pytest.fixture
def writer(cluster: Postgres) -> Iterator[Writer]:
    made = Writer(cluster)
    yield made
    made.close()


@pytest.mark.parametrize("call", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_commit_that_stops_waiting_is_not_believed(writer: Writer, call: str) -> None:
    with writer.waiting(2) as end:
        writer.on_server(f"SELECT {call}(%s)", writer.backends()[0])
        with pytest.raises(OutcomeUnknownError):
            end()
        with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as reader:
            assert list(reader.read(0)) == [b"1"]
    writer.resume()
    assert writer.store.outcome(writer.term, 2, b"2")
    assert writer.term.first_sequence == 3
    writer.store.append(writer.term, 3, 3, b"3")
    assert list(writer.store.read(0, upto=3)) == [b"1", b"2", b"3"]


def test_without_standbys_nothing_is_taken(writer: Writer) -> None:
    writer.on_server("ALTER SYSTEM SET synchronous_standby_names = ''")
    writer.on_server("SELECT pg_reload_conf()")

    def refuses() -> bool:
        try:
            writer.store.keep(writer.term)
        except StoreUnsafeError:
            return True
        return False

    wait_for(refuses, "the settings are read")
    for call in (
        lambda: writer.store.append(writer.term, 2, 2, b"2"),
        lambda: writer.store.campaign("another", timeout=0),
        lambda: writer.store.campaign("writer", resume=writer.term),
    ):
        with pytest.raises(StoreUnsafeError, match="synchronous_standby_names is empty"):
            call()
    assert "synchronous_standby_names is empty" in writer.store.describe().warnings[0]
    local = PostgresStore(writer.cluster.conninfo, log="jobs", unsafe_allow_local=True)
    writer.store.close()
    term = local.campaign("a test")
    local.append(term, 2, 2, b"2")
    local.close()


def test_settings_of_a_role_do_not_lower_the_promise(writer: Writer) -> None:
    writer.on_server("ALTER ROLE aq SET synchronous_commit = local")
    writer.store.close()
    again = Writer.__new__(Writer)
    again.cluster, again.pool = writer.cluster, writer.pool
    again.store = PostgresStore(writer.cluster.conninfo, log="jobs")
    again.term = again.store.campaign("writer")
    with again.waiting(2) as end:
        pass
    end()
    again.store.close()


def test_nothing_is_believed_that_only_a_restarted_primary_has(writer: Writer) -> None:
    """It was cut off, and its commit is seen by all after its restart."""
    with writer.waiting(2) as end:
        writer.cluster.servers[0].kill()
        with pytest.raises((OutcomeUnknownError, StoreUnavailableError)):
            end()
        writer.cluster.start(0)
        with writer.cluster.connect(0) as connection:
            assert connection.execute("SELECT count(*) FROM aq.log").fetchone() == (2,)
        other = PostgresStore(writer.cluster.conninfo, log="jobs")
        assert list(other.read(0)) == [b"1"]
        resumed = writer.pool.submit(writer.resume)
        wait_for(lambda: writer.backends() or resumed.done(), "the campaign waits")
        assert not resumed.done()
        other.close()
    resumed.result(60)
    assert writer.store.outcome(writer.term, 2, b"2")


def test_a_promotion_of_the_wrong_standby_is_found(writer: Writer) -> None:
    cluster = writer.cluster
    reader = PostgresStore(cluster.conninfo, log="jobs")
    cluster.cut_off(2)
    for number in range(2, 10):
        writer.store.append(writer.term, number, number, str(number).encode())
    writer.store.keep(writer.term)
    assert reader.head().watermark == 9
    cluster.servers[1].kill()
    cluster.servers[0].kill()
    cluster.promote(2)
    with cluster.connect(2) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        connection.execute("SELECT pg_reload_conf()")
    local = PostgresStore(cluster.conninfo, log="jobs", unsafe_allow_local=True)
    wait_for(lambda: local.describe().version, "n2 leads")
    for call in (
        lambda: writer.store.campaign("writer", resume=writer.term, timeout=60),
        lambda: writer.store.append(writer.term, 10, 10, b"10"),
        reader.head,
        lambda: list(reader.read(0)),
    ):
        with pytest.raises(AcknowledgedLostError) as caught:
            call()
        assert (caught.value.first, caught.value.last) == (2, 9)
    local.close()
    reader.close()


def test_a_writer_whose_connection_was_ended_goes_on(writer: Writer) -> None:
    """The primary restarts, and nobody else took over."""
    old = writer.term
    writer.cluster.servers[0].kill()
    writer.cluster.start(0)
    with pytest.raises((OutcomeUnknownError, StoreUnavailableError)):
        writer.store.append(writer.term, 2, 2, b"2")
    writer.resume()
    assert not writer.store.outcome(writer.term, 2, b"2")
    writer.store.append(writer.term, 2, 2, b"2")
    with pytest.raises(FencedError):
        writer.store.append(old, 3, 3, b"3")


def test_an_interrupt_reaches_no_statement(writer: Writer) -> None:
    """Clients cancel then, and a canceled commit counts as done."""

    def interrupt_once_it_waits() -> None:
        wait_for(writer.backends, "the append waits")
        os.kill(os.getpid(), signal.SIGINT)

    writer.store.keep(writer.term)
    with writer.cluster.frozen(1, 2):
        waiting = threading.Thread(target=interrupt_once_it_waits)
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            writer.store.append(writer.term, 2, 2, b"2")
        waiting.join()
        assert len(writer.backends()) == 1
        with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as reader:
            assert list(reader.read(0)) == [b"1"]
    writer.store.append(writer.term, 2, 2, b"2")  # behind the one that went on, and the same
    assert list(writer.store.read(0, upto=2)) == [b"1", b"2"]


def test_parameters_that_make_no_sense_are_named() -> None:
    with pytest.raises(InvalidFieldError, match=r"PostgresStore\.conninfo"):
        PostgresStore("host=a colour=red")
    with pytest.raises(InvalidFieldError, match=r"PostgresStore\.conninfo"):
        PostgresStore(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidFieldError, match=r"PostgresStore\.log"):
        PostgresStore("host=a", log="")


@pytest.mark.parametrize(
    "conninfo",
    [
        "host=a password=the secret",
        "host=a password='the secret",
        "secret",
        "host=a secret=1",
        "postgres://me:secret@[a/b",
        "postgres://me:secret@a/b?secret=1",
        "password=secret\ud800",
        b"password=secret colour=red",
    ],
)
def test_parameters_are_not_shown_for_their_password(conninfo: Any) -> None:
    with pytest.raises(InvalidFieldError, match=r"PostgresStore\.conninfo") as caught:
        PostgresStore(conninfo)
    shown = "".join(traceback.format_exception(caught.value, limit=0))
    assert "secret" not in shown + repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("last", "missing"), [(5, "2 to 3"), (3, "2 to 3"), (2, "2 to 2")])
def test_a_hole_is_a_loss(writer: Writer, last: int, missing: str) -> None:
    for number in range(2, last + 1):
        writer.store.append(writer.term, number, number, b"more")
    writer.store.keep(writer.term)
    writer.on_server("DELETE FROM aq.log WHERE first_seq IN (2, 3)")
    assert list(writer.store.read(0, upto=1)) == [b"1"]
    assert list(writer.store.read(3)) == [b"more"] * (last - 3)
    with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as reader:
        for after in (0, 1):
            with pytest.raises(AcknowledgedLostError, match=missing):
                list(reader.read(after))
    with pytest.raises(AcknowledgedLostError, match="events 2 to"):
        list(writer.store.read(0, upto=2))


def test_a_trim_meanwhile_is_no_loss(writer: Writer) -> None:
    store, term = writer.store, writer.term
    for number in range(2, 4):
        store.append(term, number, number, b"more")
    store.keep(term)
    store.put_snapshot(term, 2, [b"two"], b"")
    groups = store.read(0)
    store.trim(term, 3)
    with pytest.raises(TrimmedError):
        list(groups)
    assert list(store.read(2)) == [b"more"]


def test_one_without_rights_is_told_so(writer: Writer) -> None:
    writer.on_server("CREATE ROLE stranger LOGIN")
    with (
        closing(PostgresStore(f"{writer.cluster.conninfo} user=stranger", log="jobs")) as store,
        pytest.raises(StoreUnavailableError, match="may lack rights: permission denied"),
    ):
        store.head()


def test_no_server_is_an_error_in_time(cluster: Postgres) -> None:
    store = PostgresStore("host=127.0.0.1 port=1 user=aq dbname=postgres")
    for call in (store.head, store.initialize, lambda: store.campaign("writer", timeout=0)):
        with pytest.raises(StoreUnavailableError):
            call()
    store.close()
