"""An outbox that is given up, and a directory that is made again, with faults on the way."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.replication import queue as queue_module
from actionqueue.replication.alone import alone_in
from actionqueue.replication.copy import Copy
from actionqueue.replication.note import read_note
from tests.replication.conftest import Site
from tests.replication.test_copies import fill, tasks_of, upload
from tests.replication.test_takeover import wait_for
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


def left_behind(site: Site) -> tuple[Any, Any]:
    """Return a writer, and a queue that stands by, cut off, and needs a snapshot to go on."""
    queue = site.open("a", compaction=None)
    standby = site.open("b", standby=True)
    site.cut(standby)
    wait_for(lambda: standby.stats()["store"]["trouble"])
    for _ in range(2):
        fill(queue, 20)
        queue.compact()
        upload(queue)
    assert site.log.trimmed_to == 20
    return queue, standby


def test_an_opening_beside_a_standby_does_not_end_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    queue, standby = left_behind(site)
    lock = fcntl.flock
    met = threading.Event()

    def flock(descriptor: int, operation: int) -> None:
        try:
            lock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            met.set()
            if operation & fcntl.LOCK_NB:
                raise
            lock(descriptor, operation)

    with alone_in(standby.path):  # as another opening is for a moment
        monkeypatch.setattr(fcntl, "flock", flock)
        site.cut(standby, is_cut=False)
        assert met.wait(10)
    wait_for(lambda: standby.sequence == 40)
    queue.close()
    assert standby.wait_until_active(10)


def test_a_standby_takes_no_directory_from_another_queue(site: Site) -> None:
    """It has let go of its own, and the engine fails before the snapshot is there."""
    queue, standby = left_behind(site)
    failed = threading.Event()

    def get_snapshot(info: Any) -> Any:
        failed.set()
        raise aq.StoreUnavailableError(ConnectionError("a fault"))

    site.stores[standby].get_snapshot = get_snapshot  # type: ignore[method-assign]
    site.cut(standby, is_cut=False)
    assert failed.wait(10)
    queue.close()
    other = None
    while other is None:  # the other one holds the directory while it tries again
        with contextlib.suppress(aq.LockedError):
            other = site.open("b")
    fill(other, 3)
    with pytest.raises(aq.PoisonedError) as caught:
        standby.wait_until_active(10)
    assert isinstance(caught.value.__cause__, aq.LockedError)
    other.close()
    assert site.open("b").sequence == 43
