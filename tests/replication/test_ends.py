"""How queues end, and how they don't: forks, closes at any time, and stores that raise anything."""

from __future__ import annotations

import gc
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.compaction import Progress
from actionqueue.replication import queue as replicated
from actionqueue.replication.shipper import Shipper
from actionqueue.stores.protocol import Term
from tests.replication.conftest import Site
from tests.replication.test_queue import new_task
from tests.support.stores.memory import Engine, MemoryStore


class FailingStore(MemoryStore):
    """Raises an error at the next call of a name, or at each."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.errors: dict[str, list[BaseException]] = {}
        self.entered = threading.Event()

    def _meet(self, name: str) -> None:
        if self.errors.get(name):
            error = self.errors[name].pop()
            self.entered.set()
            raise error

    def append(self, term: Term, first: int, last: int, group: bytes) -> None:
        self._meet("append")
        super().append(term, first, last, group)

    def keep(self, term: Term) -> None:
        self._meet("keep")
        super().keep(term)

    def campaign(self, *arguments: Any, **options: Any) -> Term:
        self._meet("campaign")
        return super().campaign(*arguments, **options)

    def valid_until(self, term: Term) -> float:
        self._meet("valid_until")
        return super().valid_until(term)

    def resign(self, term: Term) -> None:
        self._meet("resign")
        super().resign(term)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks nothing")
def test_a_child_removes_nothing(site: Site) -> None:
    queue = site.open(None)
    queue.submit(new_task())
    child = os.fork()
    if child == 0:
        try:
            queue.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert Path(queue.path, "wal").exists()
    assert queue.submit(new_task()).sequence == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks nothing")
def test_a_child_does_not_stand_by(site: Site) -> None:
    site.open("a")
    standby = site.open("b", standby=True)
    for call in (lambda: standby.wait_until_active(1), lambda: standby.submit(new_task())):
        child = os.fork()
        if child == 0:
            try:
                call()
            except aq.ForkedError:
                standby.close()
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not standby.wait_until_active(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks nothing")
def test_a_child_sees_no_half_of_a_group(site: Site) -> None:
    """The parent takes in a group without the interpreter's lock, and forks meanwhile."""
    first = site.open("a")
    standby = site.open("b", standby=True)
    codes = set()
    for _ in range(60):
        site.cut(standby)
        with first.batch("deferred") as batch:
            for _ in range(3000):
                batch.submit(new_task())
        first.sync()
        first._shipper._keep_once()  # now readers see it
        before = standby._log.last_sequence
        site.cut(standby, is_cut=False)
        while standby._log.last_sequence == before:  # which comes behind the events in the table
            codes.add(_look_in_a_child(standby))
        if 7 in codes:
            break
    assert codes == {0, 7}


def _look_in_a_child(queue: Any) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if queue.projection.counts().tasks % 3000 == 0 else 2
        except aq.ForkedError:
            code = 7
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("store", [5, object(), "text"])
def test_what_is_no_store_is_named(tmp_path: Path, store: Any) -> None:
    for call in (
        lambda: aq.open(tmp_path / "a", store=store),
        lambda: aq.open(store=store, readonly=True),
        lambda: aq.follow(store=store),
    ):
        with pytest.raises(aq.InvalidFieldTypeError, match="store"):
            call()
    assert not (tmp_path / "a").exists()


def test_what_is_not_created_leaves_nothing(site: Site) -> None:
    with pytest.raises(aq.NotAQueueError):
        site.open("a", create=False)
    assert not (site.folder / "a").exists()


def test_closing_again_after_a_close_that_left_something_does_nothing(site: Site) -> None:
    queue = site.open("a", outbox_seconds=0.01)
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    with pytest.raises(aq.PartialDurabilityError):
        queue.close()
    queue.close()


@pytest.mark.parametrize("in_batch", [False, True])
def test_a_queue_closes_while_a_command_waits_for_the_store(site: Site, in_batch: bool) -> None:
    queue = site.open("a", outbox_seconds=0.05)
    queue.submit(new_task())
    site.cut(queue)
    ended: list[BaseException] = []

    def submit() -> None:
        try:
            while True:  # until one waits, with the lane held
                if in_batch:
                    queue.submit_many([new_task()], "deferred")
                else:
                    queue.submit(new_task(), "deferred")
        except aq.ActionQueueError as error:
            ended.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    while not (queue._shipper.append_seconds() < 0 and queue._lane.is_taken):
        pass
    closing = threading.Thread(target=_close, args=(queue, ended))
    closing.start()
    closing.join(10.0)
    hung = closing.is_alive()
    site.cut(queue, is_cut=False)
    closing.join()
    thread.join()
    assert not hung
    assert {type(error) for error in ended} == {aq.ClosedError, aq.PartialDurabilityError}


def _close(queue: Any, ended: list[BaseException]) -> None:
    try:
        queue.close()
    except aq.ActionQueueError as error:
        ended.append(error)


def test_times_may_be_as_long_as_anyone_likes(site: Site) -> None:
    queue = site.open("a", outbox_seconds=1e300, takeover_seconds=1e300)
    queue.submit(new_task(), "deferred")
    assert queue._log.try_sync(math.inf)
    queue._log.append_for(math.nan)
    queue.close()
    assert site.log.next_sequence == 2


def test_a_standby_waits_out_what_an_operator_ends(site: Site) -> None:
    first = site.open("a")
    store = FailingStore(site.engine)
    store.errors["campaign"] = [aq.StoreFullError("full"), aq.StoreUnsafeError("unsafe")]
    second = aq.open(site.folder / "b", store=store, standby=True)
    assert store.entered.wait(30)
    first.close()
    assert second.wait_until_active(30)
    second.close()


def test_a_standby_that_fails_to_become_the_writer_leaves_the_log_to_others(site: Site) -> None:
    first = site.open("a")
    store = FailingStore(site.engine)
    second = aq.open(site.folder / "b", store=store, standby=True)
    store.errors["valid_until"] = [ValueError("the store's own")]
    first.close()
    with pytest.raises(aq.PoisonedError, match="the store's own"):
        second.wait_until_active(30)
    assert not second.is_active
    assert second.stats()["store"]["role"] == "standby"
    second.close()
    second.close()
    site.log.seen = 0.0
    assert site.open("c").submit(new_task()).sequence == 1


def test_a_standby_closes_while_it_takes_over(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = site.open("a")
    second = site.open("b", standby=True)
    begin = replicated.ReplicatedQueue._begin
    begins, goes_on = threading.Event(), threading.Event()

    def begin_late(self: Any, *arguments: Any) -> None:
        begins.set()
        goes_on.wait()
        begin(self, *arguments)

    monkeypatch.setattr(replicated.ReplicatedQueue, "_begin", begin_late)
    first.close()
    assert begins.wait(30)
    assert second.stats()["store"]["role"] == "standby"
    closing = threading.Thread(target=second.close)
    closing.start()
    assert second._stopping.wait(30)
    goes_on.set()
    closing.join(30)
    assert not closing.is_alive()
    with pytest.raises(aq.ClosedError):
        second.submit(new_task())


def test_a_standby_closes_where_the_engine_is_frozen(site: Site) -> None:
    class FrozenStore(MemoryStore):
        frozen, ended = threading.Event(), threading.Event()
        is_frozen = False

        def tail(self, after: int, timeout: float | None) -> Any:
            if self.is_frozen:
                self.frozen.set()
                self.ended.wait()
            return super().tail(after, timeout)

        def close(self) -> None:
            super().close()
            self.ended.set()

    site.open("a")
    store = FrozenStore(site.engine)
    standby = aq.open(site.folder / "b", store=store, standby=True)
    store.is_frozen = True
    assert store.frozen.wait(30)
    standby.close()
    assert not standby._standing_by.is_alive()  # type: ignore[union-attr]


def test_a_block_takes_a_queue_that_stands_by(site: Site) -> None:
    first = site.open("a")
    with site.open("b", standby=True) as second:
        assert second.recovery.last_sequence == 0
        first.close()
        assert second.wait_until_active(30)
    with pytest.raises(aq.ClosedError), second:
        pass


@pytest.mark.parametrize("error", [ValueError("the store's own"), aq.ClosedError()])
def test_a_store_that_raises_ends_what_waits_and_the_term(site: Site, error: BaseException) -> None:
    """A store may be closed by somebody else, as where two queues share it."""
    store = FailingStore(site.engine)
    queue = aq.open(site.folder / "a", store=store)
    store.errors["append"] = [error]
    with pytest.raises(aq.PartialDurabilityError):
        queue.submit(new_task())
    shipper = queue._shipper
    assert shipper is not None
    for thread in shipper._threads:
        thread.join(30)
        assert not thread.is_alive()
    with pytest.raises(aq.PoisonedError):
        queue.submit(new_task())
    queue.close()


def test_a_store_that_fails_to_resign_closes(site: Site) -> None:
    store = FailingStore(site.engine)
    queue = aq.open(site.folder / "a", store=store)
    store.errors["resign"] = [ValueError("the store's own")]
    queue.close()
    site.log.seen = 0.0
    site.open("a")


def test_trouble_is_over_when_it_is_over(site: Site) -> None:
    queue = site.open("a")
    site.cut(queue)
    shipper = queue._shipper
    assert shipper is not None
    shipper._keep_once()
    assert queue.stats()["store"]["trouble"] is not None
    site.cut(queue, is_cut=False)
    shipper._keep_once()
    assert queue.stats()["store"]["trouble"] is None


def test_both_threads_write_the_note(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper's note of a term that is over does not come after the shipper's of the next."""
    queue = site.open("a")
    shipper = queue._shipper
    assert shipper is not None
    written, inside, goes_on = [], threading.Event(), threading.Event()

    def write(_directory: str, note: Any) -> None:
        if not inside.is_set():
            inside.set()
            goes_on.wait(1)  # the other thread would be through within this time
        written.append(note.term.epoch)

    monkeypatch.setattr("actionqueue.replication.shipper.write_note", write)
    shipper._shipped += 1  # so that there is something to write
    first = threading.Thread(target=shipper._write_note)
    first.start()
    assert inside.wait(30)
    shipper.term = Term(shipper.term.epoch + 1, 1, "x")
    shipper._write_note()
    first.join()
    assert written == sorted(written)
    assert len(written) == 2
    shipper.term = Term(shipper.term.epoch - 1, 1, "x")


def test_the_last_reference_may_go_in_a_thread_of_the_queue(
    site: Site, recwarn: pytest.WarningsRecorder
) -> None:
    store = site.store()
    held = [aq.open(site.folder / "a", store=store)]
    uploader, shipper = held[0]._uploader, held[0]._shipper
    assert uploader is not None
    assert shipper is not None

    def drop() -> None:
        held.clear()
        gc.collect()

    uploader._look = drop  # type: ignore[method-assign]
    for thread in (uploader._thread, *shipper._threads):
        assert thread is not None
        thread.join(30)
        assert not thread.is_alive()
    assert recwarn


def test_an_opening_that_waits_for_the_engine_is_canceled(site: Site) -> None:
    site.open("a")
    progress = Progress()
    raised: list[BaseException] = []

    def open_it() -> None:
        try:
            site.open("b", takeover_seconds=None, progress=progress)
        except aq.StoppedError as error:
            raised.append(error)

    opening = threading.Thread(target=open_it)
    opening.start()
    progress.cancel()
    opening.join(30)
    assert raised


def test_a_poisoned_writer_leaves_the_term_to_another(site: Site) -> None:
    queue = site.open("a")
    shipper = queue._shipper
    assert isinstance(shipper, Shipper)
    queue._log.fail_shipping(OSError("the disk's own"))
    _, keeper = shipper._threads
    keeper.join(30)
    assert not keeper.is_alive()
