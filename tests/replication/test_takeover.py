"""Standing by, takeovers, fences, and what stays of an outbox."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.replication import copy
from actionqueue.replication import queue as replicated
from actionqueue.replication.alone import alone_in
from tests.replication.conftest import Site
from tests.replication.test_queue import new_task, sequences_in
from tests.support.stores.memory import MemoryStore


def test_a_queue_that_stands_by_follows_and_takes_over(site: Site) -> None:
    first = site.open("a", holder="first")
    first.submit(new_task())
    second = site.open("b", standby=True, holder="second")
    assert not second.is_active
    with pytest.raises(aq.StandbyError) as refused:
        second.submit(new_task())
    assert refused.value.holder == "first"
    assert second.stats()["store"]["role"] == "standby"
    assert not second.wait_until_active(0)
    first.submit(new_task())
    first.close()
    assert second.wait_until_active(30)
    assert second.sequence == 2
    second.submit(new_task())
    assert sequences_in(site) == 3


PASSING = [
    aq.OutcomeUnknownError(None),
    aq.StoreUnavailableError(None),
    aq.StoreUnsafeError("no standbys"),
    aq.StoreFullError("no space"),
]


@pytest.mark.parametrize("call", ["campaign", "read"])
@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_takeover_that_fails_is_tried_again(site: Site, call: str, error: aq.StoreError) -> None:
    """The campaign itself, or what is read in the new term to go on with."""
    first = site.open("a")
    first.submit(new_task())
    site.open("b", standby=True).close()
    second = site.open("b", standby=True)
    store = site.stores[second]
    calls: list[str] = []

    def describe() -> None:
        raise AssertionError("nodes that are gone take their time to say so")

    def campaign(*given: Any, **named: Any) -> Any:
        term = MemoryStore.campaign(store, *given, **named)
        calls.append("campaign")
        if calls == [call]:
            raise error
        return term

    def read(*given: Any, **named: Any) -> Any:
        if calls == ["campaign"]:
            calls.append("read")
            if call == "read":
                raise error
        return MemoryStore.read(store, *given, **named)

    store.describe, store.campaign, store.read = describe, campaign, read
    first.close()
    assert second.wait_until_active(30)
    assert calls.count("campaign") == 2
    second.submit(new_task())
    assert sequences_in(site) == 2


def test_a_queue_that_stands_by_closes(site: Site) -> None:
    first = site.open("a")
    second = site.open("b", standby=True)
    second.close()
    second.close()
    with pytest.raises(aq.ClosedError):
        second.submit(new_task())
    with pytest.raises(aq.ClosedError):
        second.wait_until_active()
    first.submit(new_task())


def test_the_directory_of_a_queue_that_stands_by_does_not_grow(site: Site) -> None:
    first = site.open("a", segment_size=1 << 16)
    policy = aq.CompactionPolicy(log_bytes=1 << 16)
    second = site.open("b", standby=True, segment_size=1 << 16, compaction=policy)
    for _ in range(8):
        for _ in range(10):
            first.submit_many([new_task(b"x" * 1000) for _ in range(10)])
        wait_for(lambda: second.sequence + 50 > first.sequence)
    wait_for(lambda: not list(Path(second.path, "wal").glob("*-00000000000000000001.log")))
    assert len(list(Path(second.path, "snapshots").glob("*.snap"))) == 2
    first.close()
    assert second.wait_until_active(30)
    assert second.projection.counts().tasks == 800


def test_a_standby_whose_disk_damaged_the_copy_takes_over_all_the_same(site: Site) -> None:
    first = site.open("a")
    policy = aq.CompactionPolicy(log_bytes=1 << 17)
    second = site.open("b", standby=True, segment_size=1 << 16, compaction=policy)
    for _ in range(10):
        first.submit_many([new_task(b"x" * 1000) for _ in range(10)])
    wait_for(lambda: second.sequence == 100)
    segment = min(Path(second.path, "wal").glob("*.log"))
    with segment.open("r+b") as file:
        file.seek(20_000)
        file.write(b"x" * 5000)
    first.submit_many([new_task(b"x" * 1000) for _ in range(100)])
    wait_for(lambda: "not as it was written" in (second.stats()["store"]["trouble"] or ""))
    first.close()
    assert second.wait_until_active(30)
    assert second.projection.counts().tasks == 200


def test_a_standby_waits_for_an_opening_that_has_its_directory(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.open("a")
    second = site.open("b", standby=True)
    site.cut(second)
    for _ in range(10):
        first.submit(new_task())
    first.compact()
    first._uploader._look()
    first._store.trim(first._shipper.term, 11)
    comes = threading.Event()

    def alone(directory: str, *, waits: bool = False) -> contextlib.AbstractContextManager[None]:
        comes.set()
        return alone_in(directory, waits=waits)

    monkeypatch.setattr(copy, "alone_in", alone)
    with alone_in(second.path):
        site.cut(second, is_cut=False)
        assert comes.wait(30)
        assert second.sequence == 0
    wait_for(lambda: second.sequence == 10)


def test_a_killed_standby_that_is_overtaken_in_its_opening_stands_by(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    site.kill(queue, "b")
    store = site.store()

    def campaign(*given: object, **options: object) -> object:
        if options["resume"]:
            site.log.owner = None
            site.open("c")
        return MemoryStore.campaign(store, *given, **options)

    store.campaign = campaign
    again = aq.open(site.folder / "b", store=store, standby=True, takeover_seconds=0)
    site._open.append(again)
    assert not again.is_active


def test_a_killed_writer_ships_its_outbox_where_it_comes_back_first(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    site.cut(queue)
    for _ in range(5):
        queue.submit(new_task(), "deferred")
    site.kill(queue, "b")
    again = site.open("b")
    assert again.sequence == 6 == again.durable_sequence
    assert sequences_in(site) == 6
    assert again.stats()["store"]["lost"] is None
    assert again.submit(new_task()).sequence == 7


def test_it_does_so_twice(site: Site) -> None:
    """A second kill, before anything was shipped, still knows what is in the outbox."""
    queue = site.open("a")
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    site.kill(queue, "b")
    store = site.store()
    store.fail_next = "unavailable"
    with pytest.raises(aq.StoreUnavailableError):
        aq.open(site.folder / "b", store=store)
    again = site.open("b")
    assert again.sequence == 1 == sequences_in(site)


def test_the_group_that_was_under_way_is_not_there_twice(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    store = site.stores[queue]
    store.fail_next = "after"
    queue.submit(new_task())  # a lost answer is a pause, no error
    assert sequences_in(site) == 2
    store.fail_next = "before"
    queue.submit(new_task())
    assert sequences_in(site) == 3
    assert queue.stats()["store"]["trouble"] is None
    assert [event.sequence for event in queue.follow(after=0, timeout=0)] == [1, 2, 3]


def test_a_campaign_that_is_carried_out_later_fences_no_writer_of_its_own(site: Site) -> None:
    """What the shipper asks for behind it, in its old term, is too old then."""
    queue = site.open("a")
    site.stores[queue].fail_next = "late"
    queue.submit(new_task())
    queue.submit(new_task())
    assert sequences_in(site) == 2


def test_a_fenced_writer_takes_nothing_more(site: Site) -> None:
    queue = site.open("a", holder="old")
    site.stores[queue].keep = lambda _term: None  # type: ignore[method-assign]  # not found by that
    queue.submit(new_task())
    site.log.seen = 0.0
    other = site.open("b", holder="new", takeover_seconds=0)
    with pytest.raises(aq.PartialDurabilityError) as raised:
        queue.submit(new_task())
    assert isinstance(raised.value.cause, aq.FencedError)
    assert raised.value.cause.holder == "new"
    with pytest.raises(aq.PoisonedError, match="new"):
        queue.submit(new_task(), "deferred")
    assert queue.projection.counts().tasks == 2 if hasattr(queue.projection, "counts") else True
    assert other.submit(new_task()).sequence == 2
    queue.close()
    assert sequences_in(site) == 2


def test_what_others_took_the_place_of_is_kept_and_reported(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task(b"shipped"))
    site.cut(queue)
    for _ in range(3):
        queue.submit(new_task(b"lost"), "deferred")
    site.kill(queue, "copy")
    other = site.open("b")
    other.submit(new_task(b"other"))
    other.close()
    again = site.open("copy")
    lost = again.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (2, 4)
    lines = [json.loads(line) for line in Path(lost.path).read_text().splitlines()]
    assert [line["sequence"] for line in lines] == [2, 3, 4]
    assert again.sequence == 2
    tasks = [event.task_spec.payload.data for event in again.follow(after=0, timeout=0)]
    assert tasks == [b"shipped", b"other"]
    again.submit(new_task())
    assert sequences_in(site) == 3
    Path(lost.path).unlink()
    assert again.stats()["store"]["lost"] is None


def test_an_opening_that_the_engine_fails_leaves_the_directory_free(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task(b"shipped"))
    site.cut(queue)
    queue.submit(new_task(b"lost"), "deferred")
    site.kill(queue, "copy")
    other = site.open("b")
    other.submit(new_task(b"other"))
    other.close()
    store = site.store()

    def read(*_: Any, **__: Any) -> Any:
        raise aq.StoreUnavailableError(None)

    store.read = read
    with pytest.raises(aq.StoreUnavailableError) as raised:
        aq.open(site.folder / "copy", store=store)
    again = site.open("copy")
    assert again.stats()["store"]["lost"].last == 2
    del raised


def test_what_was_in_the_log_all_the_same_is_not_reported(site: Site) -> None:
    """The last group was carried out, but nothing acknowledged it before the writer was killed."""
    queue = site.open("a")
    queue.submit(new_task())
    store = site.stores[queue]

    def append(term: object, first: int, last: int, group: bytes) -> None:
        type(store).append(store, term, first, last, group)
        store.is_cut = True
        raise aq.OutcomeUnknownError(None)

    store.append = append
    queue.submit(new_task(), "deferred")
    while sequences_in(site) < 2:
        time.sleep(0.001)
    site.kill(queue, "copy")
    other = site.open("b")
    other.submit(new_task())
    other.close()
    again = site.open("copy")
    assert again.stats()["store"]["lost"] is None
    assert again.sequence == 3


def test_commands_wait_while_nothing_reaches_the_store(site: Site) -> None:
    queue = site.open("a", outbox_seconds=0.05)
    queue.submit(new_task())
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    done = threading.Event()

    def submit_many() -> None:
        for _ in range(200):
            queue.submit(new_task(), "deferred")
            time.sleep(0.001)
        done.set()

    thread = threading.Thread(target=submit_many)
    thread.start()
    assert not done.wait(0.5)
    assert queue.projection.latest_sequence < 200  # queries go on
    site.cut(queue, is_cut=False)
    assert done.wait(30)
    thread.join()
    queue.sync()
    assert sequences_in(site) == 202


def test_a_copy_that_is_damaged_is_made_again(site: Site) -> None:
    queue = site.open("a")
    for _ in range(10):
        queue.submit(new_task())
    path = Path(queue.path)
    queue.close()
    (segment,) = (path / "wal").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[8192 + 40] ^= 1
    segment.write_bytes(data)
    again = site.open("a")
    assert again.sequence == 10
    assert (path / "quarantine" / "damaged" / "wal").is_dir()
    assert again.stats()["store"]["lost"] is None  # it was closed, so nothing was in the outbox
    again.submit(new_task())
    assert sequences_in(site) == 11


def test_a_copy_that_is_too_old_begins_with_a_snapshot(site: Site) -> None:
    old = site.open("old")
    old.submit(new_task())
    old.close()
    queue = site.open("a")
    for _ in range(3):
        for _ in range(5):
            queue.submit(new_task())
        queue.compact()
        wait_for(lambda: max(site.log.snapshots, default=0) == queue.sequence)
    wait_for(lambda: site.log.trimmed_to >= 11)
    queue.submit(new_task())
    queue.close()
    for name in ("old", "new"):
        other = site.open(name)
        assert other.sequence == 17
        other.close()
    reader = site.read()
    assert reader.sequence == 17
    with pytest.raises(aq.CompactedError):
        list(aq.follow(store=site.store(), after=0, timeout=0))


@pytest.mark.parametrize("options", [{}, {"standby": True}])
def test_an_outbox_is_shipped_where_nothing_has_its_place(site: Site, options: dict) -> None:
    """A writer was killed right after it resumed its term, before it could note the new one."""
    queue = site.open("a")
    queue.submit(new_task())
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    site.kill(queue, "b")
    site.log.epoch += 1
    site.log.owner = None
    again = site.open("b", **options)
    assert again.is_active
    assert again.sequence == 2 == sequences_in(site)
    assert again.stats()["store"]["lost"] is None


def test_what_comes_while_the_log_is_taken_has_the_place(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    site.cut(queue)
    queue.submit(new_task(b"mine"), "deferred")
    site.kill(queue, "copy")
    other = site.open("other")
    site.log.owner = None
    store = site.store()

    def campaign(*given: object, **options: object) -> object:
        other.submit(new_task(b"theirs"))
        return MemoryStore.campaign(store, *given, **options)

    store.campaign = campaign
    again = aq.open(site.folder / "copy", store=store, holder="again")
    site._open.append(again)
    assert again.sequence == 2
    lost = again.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (2, 2)


def test_a_standby_waits_for_no_living_writer_to_ship_its_outbox(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated, "CANCEL_SECONDS", 0.02)
    monkeypatch.setattr(replicated, "TAKEOVER_SECONDS", 0.1)
    queue = site.open("a")
    queue.submit(new_task())
    site.cut(queue)
    queue.submit(new_task(b"mine"), "deferred")
    site.kill(queue, "copy")
    other = site.open("other")
    store = site.store()
    calls = []

    def campaign(*given: object, **options: object) -> object:
        calls.append(options)
        other._shipper._keep_once()
        if len(calls) == 20:
            site.cut(other)
            pytest.fail("the opening waits for a writer that is alive")
        return MemoryStore.campaign(store, *given, **options)

    store.campaign = campaign
    again = aq.open(site.folder / "copy", store=store, standby=True, takeover_seconds=None)
    site._open.append(again)
    assert not again.is_active
    assert again.stats()["store"]["lost"].first == 2


def test_an_outbox_that_is_damaged_is_kept_and_reported(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    site.kill(queue, "b")
    (segment,) = (site.folder / "b" / "wal").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[8192 + 40] ^= 1
    segment.write_bytes(data)
    again = site.open("b")
    lost = again.stats()["store"]["lost"]
    assert (lost.first, lost.last) == (1, None)
    assert Path(lost.path, "wal", segment.name).read_bytes() == data


def test_a_copy_whose_note_is_gone_is_no_queue_of_its_own(site: Site) -> None:
    queue = site.open("a")
    queue.submit(new_task())
    path = Path(queue.path)
    queue.close()
    (path / "store.json").unlink()
    with pytest.raises(aq.OtherLogError, match="give store="):
        aq.open(path)


def test_queries_go_on_while_a_batch_waits_to_leave_a_segment(site: Site) -> None:
    queue = site.open("a", segment_size=1 << 16, outbox_seconds=60)
    queue.submit(new_task())
    site.cut(queue)
    done = threading.Event()

    def fill() -> None:
        for _ in range(60):
            queue.submit_many([new_task(b"x" * 500) for _ in range(10)], "deferred")
        done.set()

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()

    def is_full() -> bool:
        stats = queue.stats()
        return bool(stats["segment_size"] - stats["segment_used"] < 10 * 500)

    wait_for(is_full)
    sequence = queue.sequence
    assert queue.projection.counts().tasks == sequence  # the batch that waits is not seen
    assert queue.projection.ready(limit=1) == []
    assert not done.is_set()
    assert queue.sequence == sequence
    site.cut(queue, is_cut=False)
    thread.join(60)
    assert done.is_set()
    queue.sync()
    assert sequences_in(site) == 601 == queue.projection.counts().tasks


def test_an_engine_that_lost_what_it_acknowledged_is_found_out(site: Site) -> None:
    queue = site.open("a")
    for _ in range(3):
        queue.submit(new_task())
    queue.close()
    site.log.groups.pop()
    site.log.next_sequence = 3
    site.log.watermark = 2
    with pytest.raises(aq.AcknowledgedLostError) as raised:
        site.open("a")
    assert (raised.value.first, raised.value.last) == (3, 3)


def test_closing_without_the_engine_keeps_the_outbox(site: Site) -> None:
    queue = site.open("a", outbox_seconds=0.1)
    queue.submit(new_task())
    site.cut(queue)
    queue.submit(new_task(), "deferred")
    with pytest.raises(aq.PartialDurabilityError) as raised:
        queue.close()
    assert isinstance(raised.value.cause, aq.StoreUnavailableError)
    site.log.seen = 0.0
    again = site.open("a")
    assert again.sequence == 2 == sequences_in(site)


def wait_for(is_so: object) -> None:
    for _ in range(3000):
        if is_so():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that in 30 s")
