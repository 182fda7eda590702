"""``log`` begins where the log does, and ``dump --jsonl`` has all of the state."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

import actionqueue as aq
from actionqueue.json.commands import command_from_json
from actionqueue.json.projection import projection_to_json, projection_to_text
from tests.support.command_line import run

SEGMENT = 65536


def pause_and_resume(queue: aq.ActionQueue, times: int) -> None:
    for _ in range(times):
        queue.submit(aq.EnginePauseCommand(None, 5), "deferred")
        queue.submit(aq.EngineResumeCommand(None, 5), "deferred")


def test_the_log_is_shown_from_its_first_event_on_whatever_snapshots_cover(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", compaction=None, segment_size=SEGMENT) as queue:
        for _ in range(3):
            pause_and_resume(queue, 3000)
            queue.snapshot()
        last = queue.sequence
    assert len(list((tmp_path / "queue" / "wal").iterdir())) > 3
    shown = [
        row["sequence"] for row in run("log", tmp_path / "queue", "--json").objects if row["event"]
    ]
    assert shown == list(range(1, last + 1))


def test_what_a_compaction_has_dropped_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", compaction=None, segment_size=SEGMENT) as queue:
        for _ in range(3):
            pause_and_resume(queue, 3000)
            assert queue.compact().sequence
    whole = run("log", tmp_path / "queue", "--json")
    first = whole.objects[0]["sequence"]
    assert first > 1
    assert not whole.error
    asked = run("log", tmp_path / "queue", "--json", "--from", 1)
    assert asked.code == 0
    assert asked.output == whole.output
    assert (
        f"the log begins at sequence {first}: a compaction dropped 1 to {first - 1};" in asked.error
    )


def test_a_log_whose_first_record_is_no_event_begins_behind_it(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        pause_and_resume(queue, 6)
        last = queue.snapshot().sequence
    restored = tmp_path / "restored"
    shutil.copytree(tmp_path / "queue" / "snapshots", restored / "snapshots")
    assert run("repair", restored, "--accept-data-loss").code == 0
    text = f"the log begins at sequence {last + 1}: a compaction dropped "
    for _ in range(2):  # without a record, and with a close marker
        asked = run("log", restored, "--json", "--from", 1)
        assert asked.code == 0
        assert f"{text}1 to {last};" in asked.error
        assert f"{text}{last};" in run("log", restored, "--from", last).error
        assert f"{text}2 to 3;" in run("log", restored, "--from", 2, "--to", 3).error
        assert run("log", restored, "--from", last + 1).error == run("log", restored).error == ""
        assert run("submit", restored).code == 0
    assert asked.objects[0]["kind"] == "close_marker" or not asked.output


def test_a_new_log_has_dropped_nothing(tmp_path: Path) -> None:
    assert run("submit", tmp_path / "queue").code == 0
    assert run("log", tmp_path / "queue", "--from", 1).error == ""


def test_rows_of_a_dump_bring_every_task_back(tmp_path: Path) -> None:
    constraints = aq.TaskConstraints(
        max_attempts=3,
        timeout_secs=9,
        concurrency_key="key",
        concurrency_key_hold_policy="release_on_retry",
        safety_level="transactional",
        required_capabilities=["gpu"],
    )
    metadata = aq.TaskMetadata(tags=("a", "b"), priority=-3, description="what it is")
    policies = [aq.Once(), aq.Repeat(3, 60), aq.Cron("0 0 0 * * *", 5)]
    specs = [
        aq.TaskSpec(payload=b"x", run_policy=policy, constraints=constraints, metadata=metadata)
        for policy in policies
    ]
    with aq.open(tmp_path / "queue") as queue:
        for spec in specs:
            queue.submit(aq.TaskCreateCommand(None, spec, 7))
        run_instance = aq.RunInstance.scheduled(specs[0].id, scheduled_at=7, created_at=7)
        queue.submit(aq.RunCreateCommand(None, run_instance))
    rows = run("dump", tmp_path / "queue", "--jsonl").objects
    assert rows[0]["kind"] == "queue"
    assert rows[0]["latest_sequence"] == len(specs) + 1
    commands = [
        command_from_json(
            {"type": "task_create", "task_spec": row["task_spec"], "timestamp": row["created_at"]}
        )
        for row in rows
        if row["kind"] == "task"
    ]
    assert commands == [aq.TaskCreateCommand(None, spec, 7) for spec in specs]
    (run_row,) = [row for row in rows if row["kind"] == "run"]
    assert run_row["id"] == str(run_instance.id)
    assert run_row["history"] == [{"from_state": None, "to_state": "scheduled", "timestamp": 7}]


def test_the_pieces_of_a_dump_are_the_whole_form(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        assert msgspec.json.decode(
            b"".join(projection_to_text(queue.projection))
        ) == projection_to_json(queue.projection)
        spec = aq.TaskSpec(payload=b"x")
        queue.submit(aq.TaskCreateCommand(None, spec, 7))
        for _ in range(2):
            queue.submit(
                aq.RunCreateCommand(
                    None, aq.RunInstance.scheduled(spec.id, scheduled_at=7, created_at=7)
                )
            )
        text = b"".join(projection_to_text(queue.projection))
        assert text == msgspec.json.encode(projection_to_json(queue.projection))
