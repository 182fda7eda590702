"""A log in PostgreSQL whose campaigns fail and are carried out, and whose store has threads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stores.test_postgres import Writer, cluster, writer  # noqa: F401 -- fixtures

pytestmark = pytest.mark.system("postgres")


def test_a_trim_drops_nothing_from_a_server_that_does_not_know_of_it(
    writer: Writer,  # noqa: F811
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
