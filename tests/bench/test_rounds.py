"""That a mode does what it says: how many commands, how many syncs, and what is durable when."""

from __future__ import annotations

from array import array
from itertools import islice
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.bench import rounds
from actionqueue.bench.disk import FILE_BYTES, floor_in
from actionqueue.bench.modes import Choice, modes_of
from actionqueue.bench.rounds import Limit, Measured, measure_round
from actionqueue.bench.workload import COMMANDS_A_RUN, Stream, commands_of_a_run, submit_a_run

FOR_LONG = 3600.0
CHOICE = Choice(
    threads=(1, 3), groups=(64,), records=(50,), bytes=(4096,), milliseconds=(3_600_000,)
)
MODES = {mode.name: mode for mode in modes_of(CHOICE)}


def measured(name: str, directory: Path, commands: int) -> Measured:
    done = measure_round(MODES[name], directory, Limit(FOR_LONG, commands))
    assert list(directory.iterdir()) == []
    return done


def test_immediate_syncs_every_command(tmp_path: Path) -> None:
    done = measured("immediate-1", tmp_path, 100)
    assert (done.commands, done.syncs, done.at_risk_max, len(done.latencies_ns)) == (
        100,
        100,
        0,
        100,
    )


def test_immediate_threads_submit_their_share_each(tmp_path: Path) -> None:
    done = measured("immediate-3", tmp_path, 50)
    assert (done.commands, len(done.latencies_ns)) == (150, 150)
    assert 50 <= done.syncs <= 150


def test_what_others_wait_for_is_not_at_risk(tmp_path: Path) -> None:
    """Of many threads some have always submitted what is not durable yet, and was acknowledged to
    nobody.
    """
    (mode,) = (mode for mode in modes_of(Choice(threads=(32,))) if mode.name == "immediate-32")
    assert measure_round(mode, tmp_path, Limit(FOR_LONG, 100)).at_risk_max == 0


def test_a_group_takes_one_sync(tmp_path: Path) -> None:
    done = measured("group-64", tmp_path, 640)
    assert (done.commands, done.syncs, done.at_risk_max, len(done.latencies_ns)) == (640, 10, 0, 10)


@pytest.mark.parametrize(
    ("name", "policy", "events"),
    [
        ("records-50", aq.SyncPolicy(records=50), 50),
        ("bytes-4096", aq.SyncPolicy(bytes=4096), 50),
    ],
)
def test_deferred_syncs_as_its_policy_says(
    tmp_path: Path, name: str, policy: aq.SyncPolicy, events: int
) -> None:
    assert MODES[name].sync == policy
    with aq.open(tmp_path / "queue", durability="deferred", sync=policy, compaction=None) as queue:
        for _ in range(10):
            submit_a_run(queue.submit)
        durable = list(islice(queue.follow(after=0, timeout=FOR_LONG), events))  # nobody else syncs
        assert durable[-1].sequence == events
    (tmp_path / "disk").mkdir()
    done = measured(name, tmp_path / "disk", 500)
    assert (done.commands, len(done.latencies_ns)) == (500, 40)
    assert done.syncs <= 500 // events


@pytest.mark.parametrize("name", ["milliseconds-3600000", "ring", "system"])
def test_deferred_syncs_no_sooner_than_it_says(tmp_path: Path, name: str) -> None:
    done = measured(name, tmp_path, 500)
    assert (done.commands, done.syncs, done.at_risk_max) == (500, 0, 490)
    assert 40 <= len(done.latencies_ns) <= 50  # of 50 runs every 16th


def test_an_error_in_a_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit_a_bad_run(submit: object) -> None:
        raise aq.ClosedError

    with monkeypatch.context() as patch, pytest.raises(aq.ClosedError):
        patch.setattr(rounds, "submit_a_run", submit_a_bad_run)
        measured("immediate-3", tmp_path, 50)
    assert list(tmp_path.iterdir()) == []


def test_the_time_ends_a_round(tmp_path: Path) -> None:
    assert measure_round(MODES["system"], tmp_path, Limit(1e-9)).commands == COMMANDS_A_RUN


def test_both_forms_of_the_workload_are_the_same(tmp_path: Path) -> None:
    submitted: list[aq.MutationCommand] = []
    submit_a_run(submitted.append)
    listed = commands_of_a_run()
    assert [type(command) for command in submitted] == [type(command) for command in listed]
    assert len(listed) == COMMANDS_A_RUN
    for number, commands in enumerate((submitted, listed)):
        with aq.open(tmp_path / str(number), durability="deferred", compaction=None) as queue:
            queue.submit_many(commands)
            assert queue.projection.counts_by_state()[aq.RunState.COMPLETED] == 1


@pytest.mark.parametrize("size", [1, 10, 64, 1024])
def test_a_stream_cut_into_groups_is_one_that_a_queue_accepts(tmp_path: Path, size: int) -> None:
    stream = Stream()
    with aq.open(tmp_path / "queue", durability="deferred", compaction=None) as queue:
        for _ in range(3):
            group = stream.take(size)
            assert len(group) == size
            queue.submit_many(group)
        assert queue.sequence == 3 * size


def test_modes_say_what_they_are() -> None:
    assert list(MODES) == [
        "immediate-1",
        "immediate-3",
        "group-64",
        "records-50",
        "bytes-4096",
        "milliseconds-3600000",
        "ring",
        "system",
    ]
    for mode in MODES.values():
        assert mode.survives_kill == "everything"
        assert (mode.survives_power_loss == "everything") == (mode.durability == "immediate")
    assert MODES["milliseconds-3600000"].sync == aq.SyncPolicy(milliseconds=3_600_000)
    assert MODES["ring"].sync == aq.SyncPolicy(when_ring_fills=True)
    assert MODES["system"].sync == aq.SyncPolicy()


def test_the_floor_goes_through_its_file_and_leaves_nothing(tmp_path: Path) -> None:
    times: array[int] = array("Q")
    with floor_in(tmp_path) as floor:
        floor.commit_many(times, seconds=FOR_LONG, count_max=5, size_bytes=FILE_BYTES // 2)
        (file,) = tmp_path.iterdir()
        assert file.read_bytes() == b"\xa5" * FILE_BYTES
    assert len(times) == 5
    assert min(times) > 0
    assert list(tmp_path.iterdir()) == []
