"""Recurring tasks: one run ahead, by the task's times."""

from __future__ import annotations

from uuid import uuid5

import pytest

import actionqueue as aq
from actionqueue import Cron, Repeat, run_id_of
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import U32_MAX, U64_MAX
from tests.support.scheduling import BEGIN, Bench, bench, states, times

EVERY_MINUTE = Cron("0 * * * * *")
AT_THE_MINUTE = 60 - BEGIN % 60
"""The first whole minute after the beginning."""


def test_identifiers_follow_from_the_task_and_the_number() -> None:
    task = aq.TaskId()
    assert run_id_of(task, 0).bytes == task.bytes
    assert run_id_of(task, 12).uuid == uuid5(task.uuid, "12")
    assert len({run_id_of(task, number) for number in range(100)}) == 100


@pytest.mark.parametrize(
    "arguments", [("task", 0), (aq.RunId(), 0), (aq.TaskId(), "0"), (aq.TaskId(), True)]
)
def test_what_is_no_run_of_a_task_is_named(arguments) -> None:
    with pytest.raises(InvalidFieldTypeError, match="run_id_of"):
        run_id_of(*arguments)


@pytest.mark.parametrize("number", [-1, U32_MAX + 1])
def test_a_number_out_of_range_is_named(number: int) -> None:
    with pytest.raises(InvalidFieldError, match=r"run_id_of\.number"):
        run_id_of(aq.TaskId(), number)


def test_a_repeated_task_has_its_runs_one_ahead(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(3, 60), priority=4)
    assert states(at, task) == ["ready", "scheduled"]
    report = at.tick_at(60)
    assert report.ready == [run_id_of(task, 1)]
    assert report.created == [run_id_of(task, 2)]
    assert at.tick_at(120).created == []
    assert times(at, task) == [0, 60, 120]
    assert states(at, task) == ["ready"] * 3
    assert at.scheduler.next_wakeup() is None
    runs = at.projection.read_runs_of_task(task)
    assert [run.id for run in runs] == [run_id_of(task, number) for number in range(3)]
    assert {run.effective_priority for run in runs} == {4}


def test_the_first_run_is_at_its_time(at: Bench) -> None:
    repeated = at.scheduler.add(b"", run_policy=Repeat(2, 60), at=BEGIN + 7)
    by_cron = at.scheduler.add(b"", run_policy=EVERY_MINUTE)
    later = at.scheduler.add(b"", run_policy=EVERY_MINUTE, at=BEGIN + AT_THE_MINUTE + 60)
    assert times(at, repeated) == [7]
    assert times(at, by_cron) == [AT_THE_MINUTE]
    assert times(at, later) == [AT_THE_MINUTE + 60]
    at.tick_at(AT_THE_MINUTE)
    assert times(at, by_cron) == [AT_THE_MINUTE, AT_THE_MINUTE + 60]


def test_a_cron_task_ends_with_its_occurrences(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Cron("0 * * * * *", 2))
    at.tick_at(AT_THE_MINUTE)
    at.tick_at(AT_THE_MINUTE + 60)
    assert states(at, task) == ["ready", "ready"]
    assert at.scheduler.next_wakeup() is None


def test_a_cron_task_ends_with_its_years(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Cron("0 0 0 1 1 * 1971"))
    at.clock.time = 365 * 86400
    assert at.scheduler.tick().ready == [run_id_of(task, 0)]
    assert at.scheduler.next_wakeup() is None
    with pytest.raises(InvalidFieldError, match=r"add\.run_policy"):
        at.scheduler.add(b"", run_policy=Cron("0 0 0 1 1 * 1970"), at=BEGIN + 365 * 86400)


def test_an_interval_beyond_the_calendar_has_no_next_run(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(U32_MAX, U64_MAX))
    assert times(at, task) == [0]


# --- Missed times ---------------------------------------------------------------------------------

MISFIRES = {
    "coalesce": ([0, 240], ["ready", "scheduled"]),
    "all": ([0, 60, 120, 180, 240], ["ready"] * 4 + ["scheduled"]),
    "skip": ([240], ["scheduled"]),
}
every_misfire = pytest.mark.parametrize("misfire", MISFIRES)


@every_misfire
def test_missed_times_are_dealt_with_as_told(tmp_path, misfire: str) -> None:
    planned, are = MISFIRES[misfire]
    with bench(tmp_path, misfire=misfire) as at:
        task = at.scheduler.add(b"", run_policy=Repeat(100, 60), at=BEGIN)
        at.clock.time -= 1
        other = at.scheduler.add(b"", run_policy=Repeat(100, 60), at=BEGIN)
        at.reopen()
        at.tick_at(185)
        assert times(at, other) == planned
        assert states(at, other) == are
        assert times(at, task)[-1] == 240


@every_misfire
def test_a_task_that_was_to_begin_in_the_past_has_missed_times_too(tmp_path, misfire: str) -> None:
    planned, are = MISFIRES[misfire]
    with bench(tmp_path, misfire=misfire) as at:
        at.clock.advance(185)
        task = at.scheduler.add(b"", run_policy=Repeat(100, 60), at=BEGIN)
        assert times(at, task) == planned
        assert states(at, task) == are


@every_misfire
def test_a_run_that_is_late_within_its_own_time_is_not_missed(tmp_path, misfire: str) -> None:
    with bench(tmp_path, misfire=misfire) as at:
        task = at.scheduler.add(b"", run_policy=Repeat(100, 60), at=BEGIN + 1)
        assert at.tick_at(60).ready == [run_id_of(task, 0)]
        assert times(at, task) == [1, 61]


@every_misfire
def test_missed_times_of_a_cron_task_end_with_its_occurrences(tmp_path, misfire: str) -> None:
    with bench(tmp_path, misfire=misfire) as at:
        task = at.scheduler.add(b"", run_policy=Cron("0 * * * * *", 3))
        at.tick_at(AT_THE_MINUTE + 1000)
        created = {"coalesce": 2, "all": 3, "skip": 1}[misfire]
        assert len(states(at, task)) == created


def test_skipped_times_use_up_no_run(tmp_path) -> None:
    with bench(tmp_path, misfire="skip") as at:
        task = at.scheduler.add(b"", run_policy=Repeat(2, 60), at=BEGIN + 1, priority=6)
        assert at.tick_at(130).skipped == [run_id_of(task, 0)]
        assert times(at, task) == [181]
        at.tick_at(181)
        at.tick_at(241)
        assert times(at, task) == [181, 241]
        assert states(at, task) == ["ready", "ready"]
        assert {run.effective_priority for run in at.projection.read_runs_of_task(task)} == {6}


def test_thousands_of_missed_times_are_all_there(tmp_path) -> None:
    with bench(tmp_path, misfire="all") as at:
        task = at.scheduler.add(b"", run_policy=Repeat(5000, 1), at=BEGIN + 1)
        report = at.tick_at(1300)
        assert len(report.ready) == 1300
        assert times(at, task) == list(range(1, 1302))


def test_a_canceled_task_has_no_next_run(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(9, 60))
    assert at.scheduler.cancel(task) == [task]
    at.tick_at(60)
    assert states(at, task) == ["canceled", "canceled"]
    assert at.scheduler.next_wakeup() is None


# --- What others do to the runs -------------------------------------------------------------------


def test_a_retry_creates_no_run(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(9, 60), max_attempts=2)
    at.scheduler.fail(at.claim(), "why")
    at.tick_at(1)
    assert states(at, task) == ["ready", "scheduled"]
    assert times(at, task) == [1, 60]


def test_a_run_that_was_put_off_leaves_the_others_where_they_are(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(9, 60))
    at.scheduler.reschedule(run_id_of(task, 1), at=BEGIN + 200)
    at.tick_at(199)
    assert times(at, task) == [0, 200]
    at.tick_at(200)
    assert times(at, task) == [0, 200, 240]


def test_a_run_that_was_put_off_is_not_skipped(tmp_path) -> None:
    with bench(tmp_path, misfire="skip") as at:
        task = at.scheduler.add(b"", run_policy=Repeat(9, 60), at=BEGIN + 1)
        at.scheduler.reschedule(run_id_of(task, 0), at=BEGIN + 200)
        assert at.tick_at(200).ready == [run_id_of(task, 0)]
        assert times(at, task) == [200, 241]


def test_a_run_that_was_brought_forward_leaves_the_others_where_they_are(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(9, 60))
    at.scheduler.reschedule(run_id_of(task, 1), at=BEGIN + 5)
    at.tick_at(5)
    assert times(at, task) == [0, 5, 120]


def test_runs_that_are_brought_forward_one_after_the_other_double_no_time(at: Bench) -> None:
    """A person who wants two runs now gets them, and the times go on where they were."""
    task = at.scheduler.add(b"", run_policy=Repeat(9, 60))
    at.scheduler.reschedule(run_id_of(task, 1), at=BEGIN + 5)
    at.tick_at(5)
    at.scheduler.reschedule(run_id_of(task, 2), at=BEGIN + 10)
    for seconds in range(10, 200, 5):
        at.tick_at(seconds)
    assert times(at, task) == [0, 5, 10, 180, 240]


def test_the_first_run_brought_forward_leaves_the_others_where_they_are(at: Bench) -> None:
    """The task begins where it was told to."""
    task = at.scheduler.add(b"", run_policy=Repeat(9, 60), at=BEGIN + 1000)
    at.scheduler.reschedule(run_id_of(task, 0), at=BEGIN + 5)
    at.tick_at(5)
    assert times(at, task) == [5, 1060]


def test_canceling_the_run_that_is_ahead_leaves_the_task_to_go_on(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(3, 60))
    at.scheduler.cancel_run(run_id_of(task, 1))
    assert times(at, task) == [0, 60, 120]
    assert states(at, task) == ["ready", "canceled", "scheduled"]
    at.scheduler.cancel_run(run_id_of(task, 2))
    assert states(at, task) == ["ready", "canceled", "canceled"]


def cancel_raw(at: Bench, run: aq.RunId) -> None:
    at.submit(aq.RunStateTransitionCommand(None, run, "scheduled", "canceled", BEGIN))


@every_misfire
def test_a_recurrence_that_a_raw_command_has_ended_is_planned_again(tmp_path, misfire: str) -> None:
    with bench(tmp_path, misfire=misfire) as at:
        task = at.scheduler.add(b"", run_policy=Repeat(9, 60))
        assert at.scheduler.plan_next(task) is None  # it has a run to come
        cancel_raw(at, run_id_of(task, 1))
        at.tick_at(200)
        assert at.scheduler.next_wakeup() is None
        assert at.scheduler.plan_next(task) == run_id_of(task, 2)
        assert at.scheduler.plan_next(task) is None
        at.scheduler.tick()
        planned = {"coalesce": [120, 240], "all": [120, 180, 240], "skip": [240]}[misfire]
        assert times(at, task) == [0, 60, *planned]


def test_no_run_is_planned_where_the_task_has_no_more(at: Bench) -> None:
    ended = at.scheduler.add(b"", run_policy=Repeat(2, 60))
    cancel_raw(at, run_id_of(ended, 1))
    once = at.scheduler.add(b"")
    canceled = at.scheduler.add(b"", run_policy=Repeat(9, 60))
    at.scheduler.cancel(canceled)
    runless = aq.TaskSpec(payload=b"", run_policy=Repeat(9, 60))
    at.submit(aq.TaskCreateCommand(None, runless, BEGIN))
    sequence = at.queue.sequence
    for task in (ended, once, canceled, runless.id):
        assert at.scheduler.plan_next(task) is None
    with pytest.raises(aq.UnknownTask):
        at.scheduler.plan_next(aq.TaskId())
    assert at.queue.sequence == sequence


def test_runs_of_raw_commands_do_not_break_the_chain(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(5, 60))
    own = aq.RunInstance.scheduled(task, scheduled_at=BEGIN + 60, created_at=BEGIN)
    taken = aq.RunInstance.scheduled(
        task, scheduled_at=BEGIN + 60, created_at=BEGIN, id=run_id_of(task, 4)
    )
    at.submit(aq.RunCreateCommand(None, own), aq.RunCreateCommand(None, taken))
    assert len(at.tick_at(60).ready) == 3
    assert times(at, task) == [0, 60, 60, 60, 120]
    assert states(at, task) == ["ready"] * 4 + ["scheduled"]


def test_a_raw_run_beyond_the_calendar_is_the_last(at: Bench) -> None:
    tasks = [at.scheduler.add(b"", run_policy=policy) for policy in (Repeat(5, 60), EVERY_MINUTE)]
    for task in tasks:
        far = aq.RunInstance.scheduled(task, scheduled_at=U64_MAX, created_at=BEGIN)
        at.submit(
            aq.RunCreateCommand(None, far),
            aq.RunStateTransitionCommand(None, far.id, "scheduled", "canceled", BEGIN),
        )
    at.tick_at(120)
    assert [states(at, task) for task in tasks] == [
        ["ready", "ready", "canceled"],
        ["ready", "canceled"],
    ]


def test_planning_goes_on_after_retention_forgot_the_runs(at: Bench) -> None:
    task = at.scheduler.add(b"", run_policy=Repeat(4, 60))
    at.scheduler.complete(at.claim())
    at.tick_at(60)
    at.scheduler.complete(at.claim())
    at.clock.advance(30)
    at.queue.compact(retention_seconds=0)
    assert [run.id for run in at.projection.read_runs_of_task(task)] == [run_id_of(task, 2)]
    at.reopen()
    assert at.tick_at(120).created == [run_id_of(task, 3)]
    assert times(at, task) == [120, 180]


@pytest.mark.parametrize("policy", [Repeat(8, 60), Cron("0 * * * * *", 8)], ids=["repeat", "cron"])
def test_reopening_at_any_time_neither_skips_nor_doubles(at: Bench, policy: aq.RunPolicy) -> None:
    task = at.scheduler.add(b"", run_policy=policy)
    for seconds in range(0, 600, 17):
        at.tick_at(seconds)
        at.reopen()
        at.tick_at(seconds)
    first = times(at, task)[0]
    assert times(at, task) == [first + 60 * number for number in range(8)]
    assert states(at, task) == ["ready"] * 8
