"""What workers get, and what becomes of it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import AttemptResultKind
from actionqueue.errors import ClaimLost
from tests.support.core import log_model
from tests.support.scheduling import BEGIN, Bench


def test_a_claim_leases_the_run_and_begins_its_attempt(at: Bench) -> None:
    task = at.scheduler.add(b"payload", timeout_secs=60)
    claim = at.claim()
    assert (claim.task_id, claim.run_id) == (task, aq.run_id_of(task, 0))
    assert (claim.payload, claim.attempt, claim.owner) == (b"payload", 1, "worker")
    assert (claim.lease_expiry, claim.deadline) == (BEGIN + 30, BEGIN + 60)
    assert at.state(claim) == "running"
    assert at.projection.active_lease(claim.run_id) == ("worker", BEGIN + 30)
    assert at.projection.active_attempt_id(claim.run_id) == claim.attempt_id
    assert at.scheduler.claim("another") == []


def test_a_task_without_a_time_out_has_no_deadline(at: Bench) -> None:
    at.scheduler.add(b"")
    assert at.claim().deadline is None


def batches_of(path: Path) -> list[int]:
    """Return how many events each append of a log with one segment brought."""
    (file,) = (path / "wal").iterdir()
    data = file.read_bytes()
    segment = log_model.header_of(f"wal/{file.name}", data)
    position, batches = log_model.DATA, [0]
    while record := log_model.parse_record(segment, data, position, position):
        position += record.size
        if record.is_event:
            batches[-1] += 1
            if not record.flags & log_model.OPEN:
                batches.append(0)
    return batches[:-1]


def test_each_step_is_one_batch(at: Bench) -> None:
    """So a crash leaves all of it or nothing."""
    task = at.scheduler.add(b"", run_policy=aq.Repeat(2, 60), max_attempts=2)
    at.scheduler.fail(at.claim(), "why")
    at.tick_at(1)
    at.scheduler.suspend(at.claim())
    at.scheduler.resume_run(aq.run_id_of(task, 0))
    at.scheduler.release(at.claim())
    at.scheduler.complete(at.claim())
    at.scheduler.cancel(task)
    at.scheduler.add(b"")
    at.scheduler.add_many([b"", b""])
    at.scheduler.complete_many(at.scheduler.claim("worker", 3))
    at.queue.close()
    assert batches_of(at.path) == [4, 4, 4, 1, 4, 3, 1, 4, 4, 4, 2, 2, 3, 6, 12, 6]


def test_the_most_urgent_come_first_and_then_the_oldest(at: Bench) -> None:
    tasks = [at.scheduler.add(b"", priority=priority) for priority in (0, 5, -1, 5)]
    order = [tasks[1], tasks[3], tasks[0], tasks[2]]
    assert [claim.task_id for claim in at.scheduler.claim("w", limit=3)] == order[:3]
    assert [claim.task_id for claim in at.scheduler.claim("w", limit=3)] == order[3:]


def test_a_worker_gets_what_it_is_capable_of(at: Bench) -> None:
    plain = at.scheduler.add(b"")
    gpu = at.scheduler.add(b"", required_capabilities=["gpu"], priority=1)
    both = at.scheduler.add(b"", required_capabilities=["gpu", "disk"], priority=2)
    assert [claim.task_id for claim in at.scheduler.claim("w", 9, capabilities=[])] == [plain]
    assert [claim.task_id for claim in at.scheduler.claim("w", 9, capabilities={"gpu"})] == [gpu]
    assert [claim.task_id for claim in at.scheduler.claim("w", 9)] == [both]


def test_nothing_is_handed_out_while_the_engine_is_paused(at: Bench) -> None:
    at.scheduler.add(b"")
    at.scheduler.pause()
    at.scheduler.pause()
    assert at.scheduler.claim("w") == []
    at.scheduler.add(b"", at=BEGIN + 5)
    at.tick_at(5)
    at.reopen()
    assert at.scheduler.claim("w") == []
    at.clock.time = BEGIN - 1  # before the pause
    at.scheduler.resume()
    at.scheduler.resume()
    assert len(at.scheduler.claim("w", 9)) == 2


# --- Concurrency keys -----------------------------------------------------------------------------


def test_one_run_of_a_key_is_claimed_at_a_time(at: Bench) -> None:
    for capability in (None, ["gpu"], None):
        at.scheduler.add(b"", concurrency_key="key", required_capabilities=capability)
    other = at.scheduler.add(b"", concurrency_key="another")
    claims = at.scheduler.claim("w", 9)
    assert len(claims) == 2
    assert claims[1].task_id == other
    assert at.scheduler.claim("w", 9) == []
    at.scheduler.complete(claims[0])
    assert len(at.scheduler.claim("w", 9)) == 1


@pytest.mark.parametrize("policy", ["hold_during_retry", "release_on_retry"])
def test_a_run_that_waits_for_its_retry_holds_its_key_as_the_policy_says(
    at: Bench, policy: str
) -> None:
    holds = policy == "hold_during_retry"
    options = {"concurrency_key": "key", "concurrency_key_hold_policy": policy}
    first = at.scheduler.add(b"", max_attempts=2, **options)
    second = at.scheduler.add(b"", priority=9, at=BEGIN + 1, **options)
    at.scheduler.fail(at.claim(), "why", retry_at=BEGIN + 3)
    at.tick_at(1)
    if holds:
        assert at.scheduler.claim("w", 9) == []
    at.tick_at(3)
    assert at.claim().task_id == (first if holds else second)


def test_a_suspended_run_holds_nothing(at: Bench) -> None:
    at.scheduler.add(b"", concurrency_key="key")
    second = at.scheduler.add(b"", concurrency_key="key")
    at.scheduler.suspend(at.claim(), "waits")
    assert at.claim().task_id == second


# --- The ends -------------------------------------------------------------------------------------


def test_a_completed_run_has_its_output_and_no_lease(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    at.scheduler.complete(claim, b"output")
    assert at.state(claim) == "completed"
    assert at.projection.lease(claim.run_id) is None
    (attempt,) = at.projection.attempts(claim.run_id) or []
    assert (attempt.result, attempt.output) == (AttemptResultKind.SUCCESS, b"output")


def test_what_no_further_attempt_can_mend_fails_for_good(at: Bench) -> None:
    first = at.scheduler.add(b"", max_attempts=5)
    waiting = at.scheduler.add(b"", depends_on=[first])
    claim = at.claim()
    assert at.scheduler.fail(claim, "no such customer", retry=False) == "failed"
    assert at.state(claim) == "failed"
    assert at.projection.lease(claim.run_id) is None
    assert at.state(waiting) == "canceled"
    assert at.projection.attempts(claim.run_id)[0].error == "no such customer"
    with pytest.raises(ClaimLost):
        at.scheduler.fail(claim, "again", retry=False)


def test_a_failed_run_is_tried_again_until_its_attempts_are_used_up(at: Bench) -> None:
    task = at.scheduler.add(b"", max_attempts=3, priority=7)
    for number, delay in ((1, 1), (2, 2)):
        claim = at.claim()
        assert claim.attempt == number
        assert at.scheduler.fail(claim, "why") == "retry_wait"
        assert at.projection.lease(claim.run_id) is None
        assert at.scheduler.next_wakeup() == at.clock.time + delay
        at.clock.advance(delay - 1)
        assert not at.scheduler.tick()
        at.clock.advance(1)
        assert at.scheduler.tick().ready == [claim.run_id]
        run = at.projection.run(claim.run_id)
        assert run is not None
        assert run.effective_priority == 7
    assert at.scheduler.fail(at.claim(), "why") == "failed"
    assert at.state(task) == "failed"
    assert at.scheduler.next_wakeup() is None


def test_the_time_of_a_retry_may_be_given_but_no_further_attempt(at: Bench) -> None:
    at.scheduler.add(b"", max_attempts=2)
    assert at.scheduler.fail(at.claim(), "why", retry_at=BEGIN + 100) == "retry_wait"
    assert at.scheduler.next_wakeup() == BEGIN + 100
    at.tick_at(100)
    assert at.scheduler.fail(at.claim(), "why", retry_at=BEGIN + 200) == "failed"


def test_a_run_that_was_given_back_is_as_it_was(at: Bench) -> None:
    at.scheduler.add(b"", concurrency_key="key")
    for _ in range(3):
        claim = at.claim()
        assert claim.attempt == 1
        at.scheduler.release(claim)
        assert at.state(claim) == "ready"
        assert at.projection.lease(claim.run_id) is None
    assert at.scheduler.fail(at.claim(), "why") == "failed"


def test_a_suspended_attempt_uses_up_no_retry(at: Bench) -> None:
    at.scheduler.add(b"", max_attempts=2)
    at.scheduler.suspend(claim := at.claim())
    at.scheduler.resume_run(claim.run_id)
    assert at.scheduler.fail(at.claim(), "why") == "retry_wait"
    assert at.scheduler.next_wakeup() == BEGIN + 1  # the backoff after the first attempt
    at.tick_at(1)
    at.scheduler.release(at.claim())
    at.claim()
    assert at.tick_at(31).failed == [claim.run_id]


def test_a_suspended_attempt_does_not_count(at: Bench) -> None:
    at.scheduler.add(b"", max_attempts=1)
    claim = at.claim()
    at.scheduler.suspend(claim, "waits for approval", output=b"so far")
    assert at.state(claim) == "suspended"
    assert at.scheduler.claim("w") == []
    at.scheduler.resume_run(claim.run_id)
    claim = at.claim()
    assert claim.attempt == 1
    (attempt, _) = at.projection.attempts(claim.run_id) or []
    assert attempt.output == b"so far"
    at.scheduler.complete(claim)


# --- Heartbeats -----------------------------------------------------------------------------------


def test_a_heartbeat_extends_several_leases_at_once(at: Bench) -> None:
    for _ in range(3):
        at.scheduler.add(b"")
    claims = at.scheduler.claim("w", 3)
    at.clock.advance(10)
    at.scheduler.heartbeat(claims)
    at.scheduler.heartbeat(claims[0])
    for claim in claims:
        assert claim.lease_expiry == BEGIN + 40
        assert at.projection.active_lease(claim.run_id) == ("w", BEGIN + 40)
    assert not at.tick_at(39)
    assert len(at.tick_at(40).expired) == 3


def test_a_heartbeat_never_shortens_a_lease_and_says_nothing_twice(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    sequence = at.queue.sequence
    at.scheduler.heartbeat(claim)
    at.clock.time = BEGIN - 5
    at.scheduler.heartbeat(iter([claim, claim]))
    assert claim.lease_expiry == BEGIN + 30
    assert at.queue.sequence == sequence


def test_one_lost_claim_lets_no_lease_be_extended(at: Bench) -> None:
    at.scheduler.add(b"")
    at.scheduler.add(b"")
    kept, lost = at.scheduler.claim("w", 2)
    at.scheduler.cancel(lost.task_id)
    at.clock.advance(10)
    with pytest.raises(ClaimLost) as caught:
        at.scheduler.heartbeat([kept, lost])
    assert caught.value.run_id == lost.run_id
    assert kept.lease_expiry == BEGIN + 30
    assert at.projection.active_lease(kept.run_id) == ("w", BEGIN + 30)


# --- Late results ---------------------------------------------------------------------------------

ENDS = {
    "complete": lambda scheduler, claim: scheduler.complete(claim),
    "fail": lambda scheduler, claim: scheduler.fail(claim, "why"),
    "suspend": lambda scheduler, claim: scheduler.suspend(claim, "why"),
    "release": lambda scheduler, claim: scheduler.release(claim),
    "heartbeat": lambda scheduler, claim: scheduler.heartbeat(claim),
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


@every_end
def test_a_result_that_comes_too_late_is_refused_and_nothing_is_written(at: Bench, end) -> None:
    task = at.scheduler.add(b"", max_attempts=2)
    claim = at.claim()
    at.tick_at(30)
    at.tick_at(31)
    again = at.claim()  # another attempt of the same run, by the same owner
    sequence = at.queue.sequence
    with pytest.raises(ClaimLost) as caught:
        end(at.scheduler, claim)
    assert caught.value == ClaimLost(claim.run_id, claim.attempt_id, aq.RunState.RUNNING)
    assert at.queue.sequence == sequence
    at.scheduler.cancel(task)
    with pytest.raises(ClaimLost) as caught:
        end(at.scheduler, again)
    assert caught.value.state == "canceled"
    assert "it is canceled now" in str(caught.value)


@every_end
def test_the_claim_of_another_owner_is_no_claim(at: Bench, end) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    forged = pickle.loads(pickle.dumps(claim))
    forged.owner = "another"
    with pytest.raises(ClaimLost):
        end(at.scheduler, forged)
    end(at.scheduler, claim)


@every_end
def test_a_claim_of_another_queue_is_no_claim(at: Bench, end) -> None:
    claim = aq.Claim(aq.TaskId(), aq.RunId(), aq.AttemptId(), "w", 1, 0, 1, b"")
    with pytest.raises(ClaimLost) as caught:
        end(at.scheduler, claim)
    assert caught.value.state is None
    assert "does not know the run" in str(caught.value)


def test_a_copy_of_a_claim_is_as_good_as_the_original(at: Bench) -> None:
    at.scheduler.add(b"payload")
    claim = at.claim()
    copy = pickle.loads(pickle.dumps(claim))
    assert copy == claim
    assert hash(copy) == hash(claim)
    assert copy.payload == b"payload"
    at.scheduler.complete(copy)
    with pytest.raises(ClaimLost):
        at.scheduler.complete(claim)


def test_claims_survive_reopening(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    at.reopen()
    at.scheduler.heartbeat(claim)
    at.scheduler.complete(claim)
    assert at.state(claim) == "completed"


# --- Raw commands beside the scheduler ------------------------------------------------------------


def test_a_ready_run_that_a_raw_command_leased_is_left_out(at: Bench) -> None:
    leased, free = at.scheduler.add(b"", priority=1), at.scheduler.add(b"")
    at.submit(aq.LeaseAcquireCommand(None, aq.run_id_of(leased, 0), "raw", BEGIN + 9, BEGIN))
    assert [claim.task_id for claim in at.scheduler.claim("w")] == [free]
    assert at.tick_at(9).expired == [aq.run_id_of(leased, 0)]
    assert at.claim().task_id == leased


def test_a_step_is_planned_again_where_another_thread_came_between(at: Bench, monkeypatch) -> None:
    at.scheduler.add(b"", max_attempts=2)
    claim = at.claim()
    at.clock.advance(1)
    append_batch = at.queue._append_batch
    raw = [aq.LeaseHeartbeatCommand(None, claim.run_id, "worker", BEGIN + 77, BEGIN)]

    def late(commands, outcomes):
        if raw:
            append_batch([raw.pop()], None)
        return append_batch(commands, outcomes)

    monkeypatch.setattr(at.scheduler, "_append_batch", late)
    assert at.scheduler.fail(claim, "why") == "retry_wait"


def test_a_key_is_kept_by_a_run_that_was_released_between_attempts(at: Bench) -> None:
    """A released attempt does not count, for the key neither."""
    first = at.scheduler.add(b"", concurrency_key="k", max_attempts=3, priority=-1)
    at.scheduler.fail(at.claim(), "no", retry_at=BEGIN)
    at.scheduler.tick()
    at.scheduler.release(at.claim())
    at.scheduler.add(b"", concurrency_key="k")
    assert [claim.task_id for claim in at.scheduler.claim("w", 9)] == [first]


def test_two_runs_that_both_hold_their_key_do_not_wait_for_each_other(at: Bench) -> None:
    """Raw commands and suspensions bring that about."""
    first, second = (at.scheduler.add(b"", concurrency_key="k", max_attempts=3) for _ in range(2))
    for _ in range(2):
        claim = at.claim()
        at.scheduler.fail(claim, "no", retry_at=BEGIN)
        at.scheduler.tick()
        at.scheduler.suspend(at.claim())
    for task in (first, second):
        at.scheduler.resume_run(aq.run_id_of(task, 0))
    claim = at.claim()
    assert claim.task_id == first
    assert at.scheduler.claim("w", 9) == []
    at.scheduler.complete(claim)
    assert at.claim().task_id == second


def test_a_refused_step_says_nothing_of_its_batch(at: Bench) -> None:
    """The caller has made none."""
    task = at.scheduler.add(b"")
    with pytest.raises(aq.PreviousStateMismatch) as caught:
        at.scheduler.retry(aq.run_id_of(task, 0))
    assert "batch" not in str(caught.value)
    assert caught.value.batch_index is None


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        ("why", "why"),
        ("", ""),
        ("a file \udcff and \ud800", "a file \\udcff and \\ud800"),
        ("x" * (2**20 + 5), "x" * 2**20),
        ("é" * 2**20, "é" * 2**19),
        ("x" + "é" * 2**20, "x" + "é" * (2**19 - 1)),
    ],
)
def test_an_error_is_kept_as_far_as_it_can_be(at: Bench, error: str, kept: str) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    assert at.scheduler.fail(claim, error) == "failed"
    assert at.projection.attempts(claim.run_id)[-1].error == kept


def test_another_run_takes_the_place_of_one_whose_key_is_taken(at: Bench) -> None:
    """Runs of one key that require different capabilities each are the first of theirs."""
    first = at.scheduler.add(b"", concurrency_key="k", priority=2)
    at.scheduler.add_many([b""] * 2, concurrency_key="k", priority=2, required_capabilities=["g"])
    at.scheduler.add(b"", concurrency_key="k", priority=1, required_capabilities=["h"])
    plain = at.scheduler.add_many([b""] * 9)
    claims = at.scheduler.claim("w", 6)
    assert [claim.task_id for claim in claims] == [first, *plain[:5]]
    assert len(at.scheduler.claim("w", 9)) == 4
