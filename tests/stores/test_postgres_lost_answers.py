"""A log in PostgreSQL whose campaigns fail and are carried out, and whose store has threads."""

from __future__ import annotations

from typing import Any

import pytest

from actionqueue.errors import ClosedError, FencedError, StoreUnavailableError, StoreUnsafeError
from tests.stores.test_postgres import Writer, cluster, writer  # noqa: F401 -- fixtures
from tests.support.stores.servers import wait_for

pytestmark = pytest.mark.system("postgres")


def test_a_resumed_campaign_that_failed_is_no_other_writer(writer: Writer) -> None:
    """The server carries it out once the standbys answer, after the campaign's time."""
    store, term = writer.store, writer.term
    with writer.cluster.frozen(1, 2), pytest.raises(StoreUnavailableError):
        store.campaign("writer", resume=term, timeout=0)
    wait_for(lambda: store.head().epoch > term.epoch, "the campaign is carried out")
    writer.resume()
    store.append(writer.term, 2, 2, b"2")
    with pytest.raises(FencedError):
        store.campaign("writer", resume=term, timeout=60)


def test_an_append_meanwhile_is_not_taken_for_a_loss(
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = writer.store._reading.ask

    def asked(statement: str, **parameters: Any) -> Any:
        answer = ask(statement, **parameters)
        monkeypatch.setattr(writer.store._reading, "ask", ask)
        writer.store.append(writer.term, 2, 2, b"2")
        return answer

    monkeypatch.setattr(writer.store._reading, "ask", asked)
    assert writer.store.head().next_sequence == 2
    assert writer.store.head().next_sequence == 3


def test_a_store_that_is_closed_while_it_connects_asks_nothing(
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No other call could end what waits in the new connection."""
    session = writer.store._writing
    connect = writer.store._servers.connect

    def connected() -> Any:
        connection = connect()
        writer.store.close()
        return connection

    session.drop()
    monkeypatch.setattr(writer.store._servers, "connect", connected)
    with pytest.raises(ClosedError):
        writer.store.append(writer.term, 2, 2, b"2")
    with writer.cluster.connect(0) as connection:
        rows = connection.execute("SELECT next_seq FROM aq.head WHERE name = 'jobs'").fetchall()
    assert rows == [(2,)]


def test_each_statement_of_a_campaign_has_its_time(
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a server that is frozen in between holds the campaign for ever."""
    store = writer.store
    ask, times = store._writing.ask, []

    def asked(statement: str, *, until: float | None = None, **parameters: Any) -> Any:
        times.append(until)
        return ask(statement, until=until, **parameters)

    monkeypatch.setattr(store._writing, "ask", asked)
    writer.resume()
    assert set(times) == {None}
    times.clear()
    writer.on_server("ALTER SYSTEM SET synchronous_standby_names = ''")
    writer.on_server("SELECT pg_reload_conf()")
    store._writing.drop()  # a new session has the new settings
    with pytest.raises(StoreUnsafeError):
        store.campaign("writer", timeout=60)
    assert times
    assert None not in times


def test_a_trim_drops_nothing_from_a_server_that_does_not_know_of_it(
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was promoted in the midst of the trim, and lacks the newest snapshot as well."""
    store, term = writer.store, writer.term
    store.put_snapshot(term, 1, [b"one"], b"")
    store.append(term, 2, 2, b"2")
    store.put_snapshot(term, 2, [b"two"], b"")
    move_all = store._move_all

    def promoted(statement: str, **parameters: Any) -> Any:
        monkeypatch.setattr(store, "_move_all", move_all)
        writer.on_server("UPDATE aq.head SET trimmed_to = 0")
        writer.on_server("DELETE FROM aq.manifest WHERE sequence = 2")
        return move_all(statement, **parameters)

    monkeypatch.setattr(store, "_move_all", promoted)
    store.trim(term, 3)
    assert list(store.read(0, upto=2)) == [b"1", b"2"]
    (snapshot,) = store.snapshots()
    assert list(store.get_snapshot(snapshot)) == [b"one"]
