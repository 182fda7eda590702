"""A log in PostgreSQL under roles, servers and processes that are not as they should be."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest

from actionqueue.errors import (
    AcknowledgedLostError,
    FencedError,
    OutcomeUnknownError,
    StoreUnavailableError,
    TermHeldError,
    UnknownLogError,
)
from actionqueue.stores import PostgresStore
from actionqueue.stores.postgres import schema
from tests.stores.test_postgres import Writer, cluster, writer  # noqa: F401 -- fixtures
from tests.support.stores.servers import Postgres, wait_for

pytestmark = pytest.mark.system("postgres")


def test_a_role_that_wants_no_warnings_gets_those_of_commits(writer: Writer) -> None:
    """The only word of a commit that stopped waiting is a warning."""
    writer.on_server("ALTER ROLE aq SET client_min_messages = 'error'")
    writer.on_server("ALTER ROLE aq SET default_transaction_isolation = 'serializable'")
    writer.store.close()
    writer.store = PostgresStore(writer.cluster.conninfo, log="jobs")
    writer.resume()
    with writer.waiting(2) as end:
        writer.on_server("SELECT pg_cancel_backend(%s)", writer.backends()[0])
        with pytest.raises(OutcomeUnknownError):
            end()


def test_a_role_that_wants_to_hear_all_can_write(writer: Writer) -> None:
    writer.on_server("ALTER ROLE aq SET client_min_messages = 'debug5'")
    with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as store:
        term = store.campaign("writer", resume=writer.term, timeout=60)
        store.append(term, 2, 2, b"2")


def test_a_resumed_campaign_whose_answer_is_lost_is_no_other_writer(
    writer: Writer,
) -> None:
    with writer.cluster.frozen(1, 2):
        resumed = writer.pool.submit(writer.resume)
        wait_for(writer.backends, "the campaign waits")
        writer.on_server("SELECT pg_terminate_backend(%s)", writer.backends()[0])
    resumed.result(60)
    writer.store.append(writer.term, 2, 2, b"2")


def test_readers_see_nothing_that_a_campaign_waits_for(writer: Writer) -> None:
    with (
        closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as reader,
        writer.waiting(2) as end,
    ):
        writer.on_server("SELECT pg_terminate_backend(%s)", writer.backends()[0])
        with suppress(OutcomeUnknownError):
            end()
        resumed = writer.pool.submit(writer.resume)
        wait_for(writer.backends, "the campaign waits")
        writer.on_server("SELECT pg_terminate_backend(%s)", writer.backends()[0])
        wait_for(writer.backends, "the campaign waits again")
        assert reader.head().watermark < 2
    resumed.result(60)


def _promote_what_lacks(cluster: Postgres) -> None:
    """Lose the primary and the standby that had everything, and have the other one lead."""
    for number in (1, 0):
        cluster.servers[number].kill()
    cluster.promote(2)
    shutil.rmtree(cluster.data(1))
    wait_for(lambda: _leads(cluster), "n2 leads")
    with cluster.connect(2) as connection:
        connection.execute("ALTER SYSTEM RESET primary_conninfo")
        connection.execute("SELECT pg_reload_conf()")
    cluster.follow(1, 2)


def _leads(cluster: Postgres) -> bool:
    with cluster.connect(2) as connection:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        return not row[0]


def test_a_wrong_promotion_is_found_by_keep_and_repeats_no_epoch(writer: Writer) -> None:
    """The promoted node lacks an epoch of one log, and groups of another."""
    conninfo = writer.cluster.conninfo
    with (
        closing(PostgresStore(conninfo, log="other")) as deposed,
        closing(PostgresStore(conninfo, log="other")) as newer,
    ):
        deposed.initialize()
        first = deposed.campaign("deposed")
        deposed.append(first, 1, 1, b"1")
        deposed.resign(first)
        _wait_until_replayed(writer.cluster)
        writer.cluster.cut_off(2)
        term = deposed.campaign("deposed")
        writer.store.append(writer.term, 2, 2, b"2")
        _promote_what_lacks(writer.cluster)
        with suppress(OutcomeUnknownError):  # the connection was lost
            writer.store.keep(writer.term)
        with pytest.raises(AcknowledgedLostError):
            writer.store.keep(writer.term)
        assert newer.campaign("newer", timeout=60).epoch != term.epoch
        with suppress(OutcomeUnknownError):
            deposed.keep(term)
        with pytest.raises(FencedError):
            deposed.append(term, 2, 2, b"2")


def _wait_until_replayed(cluster: Postgres) -> None:
    with cluster.connect(0) as connection:
        where = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()[0]

    def has_it() -> bool:
        with cluster.connect(2) as connection:
            asked = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            return bool(connection.execute(asked, (where,)).fetchone()[0])

    wait_for(has_it, "n2 has all")


def test_a_campaign_leaves_a_writer_its_time_whose_session_ended(writer: Writer) -> None:
    """The lock ends with the session, and with a primary; the time of a writer does not."""
    writer.store.keep(writer.term)
    until = writer.store.valid_until(writer.term)
    writer.on_server("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as other:
        other.campaign("other", timeout=60)
    assert time.monotonic() >= until


@pytest.mark.parametrize("sign", "-+", ids=["its time is over", "it is silent"])
def test_candidates_do_not_end_each_others_sessions(writer: Writer, sign: str) -> None:
    """Each has the lock for a moment, when it looks whether the writer's time has passed."""
    writer.store.close()
    writer.on_server(f"UPDATE aq.head SET seen = clock_timestamp() {sign} interval '1 day'")  # noqa: S608 -- a sign
    conninfo = writer.cluster.conninfo
    with (
        closing(PostgresStore(conninfo, log="jobs")) as first,
        closing(PostgresStore(conninfo, log="jobs")) as second,
        writer.cluster.connect(0) as connection,
    ):
        seen = connection.execute("SELECT seen::text FROM aq.head").fetchone()[0]
        for store in (first, second):
            store._last_seen = seen, time.monotonic() - schema.LEASE_SECONDS
        assert first._asked(schema.LOCK).rows == [(True,)]
        locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        before = connection.execute(locks).fetchall()
        with pytest.raises(TermHeldError):
            second.campaign("second", timeout=0)
        assert len(before) == 1
        assert connection.execute(locks).fetchall() == before
        assert first.campaign("first", timeout=0).first_sequence == 2


def test_a_clock_that_went_back_keeps_no_candidate_waiting(writer: Writer) -> None:
    writer.store.close()
    writer.on_server("UPDATE aq.head SET seen = clock_timestamp() + interval '1 day'")
    with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as other:
        assert other.campaign("other", timeout=60).first_sequence == 2


def test_campaigns_end_in_time_although_no_standby_answers(writer: Writer) -> None:
    with writer.cluster.frozen(1, 2):
        ended = writer.pool.submit(writer.store.campaign, "writer", timeout=0)
        with pytest.raises(StoreUnavailableError):
            ended.result(60)


def test_a_child_that_closes_the_store_leaves_the_parents_connection(writer: Writer) -> None:
    child = os.fork()
    if child == 0:
        try:
            writer.store.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    writer.store.append(writer.term, 2, 2, b"2")


@pytest.mark.parametrize(
    "statement", ["DELETE FROM aq.head", "DROP SCHEMA aq CASCADE"], ids=["row", "schema"]
)
def test_a_log_that_is_dropped_under_a_writer_is_unknown(writer: Writer, statement: str) -> None:
    store, term = writer.store, writer.term
    store.head()
    writer.on_server(statement)
    calls: list[Any] = [
        lambda: store.append(term, 2, 2, b"2"),
        lambda: store.keep(term),
        store.head,
        lambda: store.campaign("writer", timeout=0),
        lambda: store.trim(term, 1),
    ]
    for call in calls:
        with pytest.raises(UnknownLogError):
            call()


def test_what_a_role_may_not_do_is_an_error_of_the_store(writer: Writer) -> None:
    writer.on_server("CREATE ROLE guest LOGIN")
    conninfo = writer.cluster.conninfo.replace("user=aq", "user=guest")
    with closing(PostgresStore(conninfo, log="jobs")) as store:
        with pytest.raises(StoreUnavailableError, match="permission denied"):
            store.head()
        writer.on_server("GRANT USAGE ON SCHEMA aq TO guest")
        writer.on_server("GRANT ALL ON ALL TABLES IN SCHEMA aq TO guest")
        assert not store.initialize()


def test_a_connection_that_ended_before_the_log_was_looked_for(writer: Writer) -> None:
    with closing(PostgresStore(writer.cluster.conninfo, log="jobs")) as store:
        store.describe()
        writer.on_server(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'actionqueue'"
        )
        assert store.head().next_sequence == 2


def test_several_make_the_tables_at_once(cluster: Postgres) -> None:
    stores = [PostgresStore(cluster.conninfo, log="jobs") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda store: store.initialize(), stores))
    assert sorted(made) == [False] * 5 + [True]
    _close(stores)


def _close(stores: list[PostgresStore]) -> None:
    for store in stores:
        store.close()


def _threads() -> Iterator[str]:
    return (each.name for each in threading.enumerate() if "of dropped" in each.name)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_store_that_is_dropped_takes_its_threads_along(cluster: Postgres) -> None:
    store = PostgresStore(cluster.conninfo, log="dropped")
    assert store.describe().version
    assert list(_threads())
    del store
    gc.collect()
    wait_for(lambda: not list(_threads()), "the threads end")
