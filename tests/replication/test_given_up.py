"""An outbox that is given up, and a directory that is made again, with faults on the way."""

from __future__ import annotations

from typing import Any

import pytest

import actionqueue as aq
from actionqueue.replication import queue as queue_module
from actionqueue.replication.copy import Copy
from actionqueue.replication.note import read_note
from tests.replication.conftest import Site
from tests.replication.test_copies import fill, tasks_of, upload
from tests.support.stores.memory import MemoryStore


def leave_an_outbox(site: Site, name: str = "b") -> None:
    """Leave the directory of a killed writer: the store has 10 events of 15."""
    queue = site.open("a")
    fill(queue, 10)
    site.cut(queue)
    fill(queue, 5, "deferred")
    queue._log.write_out()
    site.kill(queue, name)


class Interrupted(BaseException):
    """What ends an opening where a machine would lose its power."""


@pytest.mark.parametrize("goes_on", [False, True], ids=["before the files go", "behind that"])
def test_what_was_given_up_is_not_gone_on_with(
    site: Site, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    leave_an_outbox(site)
    other = site.open("c", takeover_seconds=30)  # alive, and has written nothing yet
    drop = Copy._drop

    def fail(self: Copy) -> None:
        if goes_on:
            drop(self)
        raise Interrupted

    monkeypatch.setattr(Copy, "_drop", fail)
    with pytest.raises(Interrupted):
        site.open("b", standby=True, takeover_seconds=0)
    monkeypatch.undo()
    standby = site.open("b", standby=True, takeover_seconds=0)
    assert standby.sequence == 10
    lost = standby.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (11, 15)
    assert len([*(site.folder / "b").glob("quarantine/outbox-*")]) == 1
    fill(other, 8)
    other.close()
    assert standby.wait_until_active(10)
    assert tasks_of(standby) == tasks_of(site.read())
    assert not read_note(standby.path).begins_again  # type: ignore[union-attr]


def test_a_killed_writer_that_stood_by_since_has_lost_nothing(site: Site) -> None:
    queue = site.open("a")
    fill(queue, 10)
    site.kill(queue, "b")
    other = site.open("c", takeover_seconds=30, compaction=None)
    fill(other, 10)
    other._shipper._keep_once()  # type: ignore[union-attr]  # tells readers what is durable
    standby = site.open("b", standby=True)
    assert standby.sequence == 20
    standby.close()
    for _ in range(2):
        fill(other, 20)
        other.compact()
        upload(other)
    assert site.log.trimmed_to == 40
    standby = site.open("b", standby=True)
    assert standby.stats()["store"]["lost"] is None
    assert not [*(site.folder / "b").glob("quarantine/outbox-*")]
    assert tasks_of(standby) == tasks_of(other)


def test_an_outbox_of_a_standby_does_not_wait_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "TAKEOVER_SECONDS", 0.01)
    leave_an_outbox(site)
    site.open("c", takeover_seconds=30)
    standby = site.open("b", standby=True, takeover_seconds=None)
    assert not standby.is_active
    lost = standby.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (11, 15)


def test_a_standby_that_cannot_resume_stands_by(site: Site) -> None:
    leave_an_outbox(site)
    store = site.store()

    def campaign(*given: Any, resume: Any = None, **options: Any) -> Any:
        if resume is not None:  # right before it another writer comes
            fill(site.open("c", takeover_seconds=30), 1)
        return MemoryStore.campaign(store, *given, resume=resume, **options)

    store.campaign = campaign  # type: ignore[method-assign]
    standby = aq.open(site.folder / "b", store=store, standby=True, takeover_seconds=0)
    site._open.append(standby)
    assert not standby.is_active
    lost = standby.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (11, 15)
