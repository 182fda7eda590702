"""Claims given back: by their worker, by an interrupted call, and for a worker that is gone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import ClaimLost, ClosedError
from tests.support.scheduling import BEGIN, Bench, Clock


def test_what_a_dead_process_held_is_given_back_at_once(at: Bench) -> None:
    tasks = [at.scheduler.add(b"") for _ in range(3)]
    claims = at.scheduler.claim("host-1", 2)
    other = at.claim()
    at.reopen()
    assert at.scheduler.release_all("host-1") == 2
    for claim in claims:
        assert at.state(claim) == "ready"
        assert at.projection.lease(claim.run_id) is None
        with pytest.raises(ClaimLost):
            at.scheduler.complete(claim)
    again = at.scheduler.claim("host-1", 9)
    assert [claim.task_id for claim in again] == tasks[:2]
    assert [claim.attempt for claim in again] == [1, 1]
    at.scheduler.complete(other)
    assert at.scheduler.release_all("host") == 0


def test_more_than_one_batch_of_claims_is_given_back(at: Bench) -> None:
    at.scheduler.add_many([b""] * 1203)
    assert len(at.scheduler.claim("w", 1203)) == 1203
    assert at.scheduler.release_all("w") == 1203
    assert at.projection.counts_by_state()["ready"] == 1203
    assert at.scheduler.next_wakeup() is None
    sequence = at.queue.sequence
    assert at.scheduler.release_all("w") == 0
    assert at.queue.sequence == sequence


def test_leases_of_raw_commands_are_given_back_too(at: Bench) -> None:
    """A run with one is ready, leased, or running, here without an attempt."""
    runs = [aq.run_id_of(at.scheduler.add(b""), 0) for _ in range(3)]
    for count, run in enumerate(runs):
        states = ["ready", "leased", "running"][: count + 1]
        at.submit(
            aq.LeaseAcquireCommand(None, run, "raw", BEGIN + 9, BEGIN),
            *(
                aq.RunStateTransitionCommand(None, run, previous, state, BEGIN)
                for previous, state in pairwise(states)
            ),
        )
    assert at.scheduler.claim("w", 9) == []
    assert at.scheduler.release_all("raw") == 3
    assert {claim.run_id for claim in at.scheduler.claim("w", 9)} == set(runs)


def test_a_run_that_was_claimed_again_since_the_look_is_left_to_its_worker(at: Bench) -> None:
    """Another thread has come between the look and the step."""
    at.scheduler.add(b"")
    first = at.claim()
    held = at.scheduler._held_by("worker")
    at.scheduler.release(first)
    second = at.claim()
    assert at.scheduler._release_held("worker", held) == 0
    at.scheduler.complete(second)


def test_a_closed_queue_gives_nothing_back(at: Bench) -> None:
    at.queue.close()
    with pytest.raises(ClosedError):
        at.scheduler.release_all("w")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_claim_whose_wait_for_the_disk_is_interrupted_gives_its_runs_back(
    tmp_path: Path, monkeypatch, error: type[BaseException]
) -> None:
    """The caller has not seen them, so the attempts do not count either."""
    with aq.open(tmp_path / "queue", compaction=None) as queue:
        scheduler = aq.Scheduler(queue, clock=Clock())
        tasks = scheduler.add_many([b"", b""])

        def interrupt(_sequence: int) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(scheduler, "_wait_durable", interrupt)
            with pytest.raises(error):
                scheduler.claim("w", 9)
        claims = scheduler.claim("w", 9)
        assert [claim.task_id for claim in claims] == tasks
        assert {claim.attempt for claim in claims} == {1}


def test_a_claim_that_could_not_become_durable_says_why(tmp_path: Path, monkeypatch) -> None:
    """The queue takes nothing more, so nothing can be given back."""
    with aq.open(tmp_path / "queue", compaction=None) as queue:
        scheduler = aq.Scheduler(queue, clock=Clock())
        scheduler.add(b"")
        failure = aq.PartialDurabilityError(1, OSError(5, "no disk"))

        def fail(_sequence: int) -> None:
            queue.close()
            raise failure

        monkeypatch.setattr(scheduler, "_wait_durable", fail)
        with pytest.raises(aq.PartialDurabilityError):
            scheduler.claim("w")


def test_a_long_name_releases_in_smaller_batches(at: Bench) -> None:
    owner = "x" * 2**20
    at.scheduler.add_many([b""] * 260)
    for _ in range(4):
        at.scheduler.claim(owner, 65)
    assert at.scheduler.release_all(owner) == 260
    assert at.projection.counts_by_state()["ready"] == 260


@pytest.mark.parametrize("call", ["claim", "claim_columns"])
def test_an_interrupted_claim_is_given_back_also_where_the_clock_then_fails(
    at: Bench, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.scheduler.add_many([b""] * 3)

    def interrupt(_sequence: int) -> None:
        at.clock.time = "no time"
        raise KeyboardInterrupt

    monkeypatch.setattr(at.scheduler, "_settle", interrupt)
    with pytest.raises(KeyboardInterrupt):
        getattr(at.scheduler, call)("w", 3)
    assert at.projection.counts_by_state()["ready"] == 3
