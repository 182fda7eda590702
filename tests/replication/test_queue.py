"""A queue whose log is in a store behaves as any queue, and the store has what it acknowledges."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.aio import open_async
from tests.replication.conftest import Site
from tests.support.stores.memory import MemoryStore


def new_task(payload: bytes = b"x") -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), aq.now())


def sequences_in(site: Site) -> int:
    return int(site.log.next_sequence - 1)


def test_what_is_acknowledged_as_immediate_is_in_the_store(site: Site) -> None:
    queue = site.open()
    for number in range(1, 6):
        assert queue.submit(new_task()).sequence == number
        assert sequences_in(site) == number == queue.durable_sequence
    said = queue.stats()["store"]
    assert (said["role"], said["unshipped_events"]) == ("writer", 0)


def test_deferred_commands_reach_the_store_by_themselves(site: Site) -> None:
    queue = site.open()
    queue.submit(new_task(), "deferred")
    waited = queue._log.try_sync(30)
    assert waited
    assert sequences_in(site) == 1


def test_a_batch_is_in_one_group(site: Site) -> None:
    queue = site.open()
    with queue.batch() as batch:
        for _ in range(100):
            batch.submit(new_task())
    assert [(first, last) for first, last, _ in site.log.groups] == [(1, 100)]


def test_the_scheduler_works_on_it(site: Site) -> None:
    queue = site.open()
    scheduler = aq.Scheduler(queue, lease_seconds=30)
    for _ in range(50):
        scheduler.add(b"x")
    for claim in scheduler.claim("w", limit=20):
        scheduler.complete(claim)
    assert queue.projection.counts_by_state()[aq.RunState.COMPLETED] == 20
    queue.sync()
    assert sequences_in(site) == queue.sequence


def test_another_queue_rebuilds_the_same_projection(site: Site, tmp_path: Path) -> None:
    from _wal_native.snapshot import image_digest

    queue = site.open("a")
    scheduler = aq.Scheduler(queue, lease_seconds=30)
    for _ in range(30):
        scheduler.add(b"x", max_attempts=2)
    for claim in scheduler.claim("w", limit=10):
        scheduler.fail(claim, "no")
    digest = image_digest(queue.projection)
    queue.close()
    other = site.open("b")
    assert image_digest(other.projection) == digest
    reader = site.read()
    assert image_digest(reader.projection) == digest


def test_a_reader_follows(site: Site) -> None:
    queue = site.open()
    reader = site.read()
    assert reader.sequence == 0
    queue.submit(new_task())
    queue.close()  # publishes how far the log is durable
    assert reader.refresh() == 1
    assert reader.sequence == 1
    reader.close()
    with pytest.raises(aq.ClosedError):
        reader.refresh()


def test_events_are_followed_across_writers(site: Site) -> None:
    for name in ("a", "b", "a"):
        queue = site.open(name)
        queue.submit(new_task(name.encode()))
        queue.submit(new_task(name.encode()))
        queue.close()
    events = list(aq.follow(site.store(), after=1, timeout=0))
    assert [event.sequence for event in events] == [2, 3, 4, 5, 6]
    assert events[1].task_spec.payload.data == b"b"


def test_the_queue_itself_is_followed(site: Site) -> None:
    queue = site.open()
    queue.submit(new_task())
    assert [event.sequence for event in queue.follow(after=0, timeout=0)] == [1]


def test_opening_again_goes_on(site: Site) -> None:
    for round_number in range(3):
        queue = site.open("a")
        assert queue.sequence == round_number * 2
        queue.submit(new_task())
        queue.submit(new_task(), "deferred")
        queue.close()
    assert sequences_in(site) == 6


def test_without_a_path_nothing_stays(site: Site) -> None:
    queue = site.open(None)
    path = Path(queue.path)
    queue.submit(new_task())
    assert queue.stats()["store"]["is_temporary"]
    queue.close()
    assert not path.exists()
    assert sequences_in(site) == 1


def test_a_log_that_is_held_is_not_taken(site: Site) -> None:
    queue = site.open("a", holder="first")
    with pytest.raises(aq.TermHeldError) as raised:
        site.open("b", takeover_seconds=0)
    assert raised.value.holder == "first"
    queue.submit(new_task())


def test_the_directory_of_a_store_is_no_queue_of_its_own(site: Site) -> None:
    queue = site.open("a")
    path = queue.path
    queue.close()
    with pytest.raises(aq.OtherLogError, match="give store="):
        aq.open(path)
    with aq.open(path, readonly=True) as reader:  # to look at is no harm
        assert reader.sequence == 0


def test_a_queue_of_its_own_goes_into_no_store(site: Site, tmp_path: Path) -> None:
    with aq.open(tmp_path / "own") as own:
        own.submit(new_task())
    with pytest.raises(aq.OtherLogError, match="in no store"):
        aq.open(tmp_path / "own", store=site.store())
    with aq.open(tmp_path / "own") as own:
        assert own.sequence == 1


def test_the_directory_of_another_log_is_refused(site: Site, tmp_path: Path) -> None:
    queue = site.open("a")
    path = queue.path
    queue.close()
    other = MemoryStore(site.engine, log="other")
    other.initialize()
    with pytest.raises(aq.OtherLogError, match="the store has"):
        aq.open(path, store=other)


def test_too_large_a_command_is_refused_before_anything_is_written(site: Site) -> None:
    queue = site.open()
    with pytest.raises(aq.RecordTooLarge):
        queue.submit(new_task(b"x" * (1 << 20)))
    with pytest.raises(aq.RecordTooLarge), queue.batch() as batch:
        for _ in range(2):
            batch.submit(new_task(b"x" * (600 << 10)))
    assert queue.sequence == 0
    queue.submit(new_task(b"x" * (1 << 19)))
    assert sequences_in(site) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"holder": ""}, aq.InvalidFieldError),
        ({"outbox_seconds": -1}, aq.InvalidFieldError),
        ({"takeover_seconds": float("nan")}, aq.InvalidFieldError),
        ({"standby": 1}, TypeError),
        ({"ring_size": 5}, ValueError),
    ],
)
def test_bad_options_are_refused(site: Site, options: dict[str, object], error: type) -> None:
    with pytest.raises(error):
        site.open("a", **options)


def test_options_of_a_store_mean_nothing_without_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="standby"):
        aq.open(tmp_path / "q", standby=True)
    with pytest.raises(TypeError, match="got None; or give store="):
        aq.open()
    assert not (tmp_path / "q").exists()


def test_a_reader_of_a_store_takes_no_options(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path"):
        aq.open(tmp_path / "q", store=site.store(), readonly=True)


def test_asyncio(site: Site, tmp_path: Path) -> None:
    async def run() -> None:
        async with open_async(tmp_path / "q", store=site.store()) as queue:
            outcomes = await asyncio.gather(*(queue.submit(new_task()) for _ in range(20)))
            assert sorted(outcome.sequence for outcome in outcomes) == list(range(1, 21))
            assert sequences_in(site) == 20

    asyncio.run(run())
