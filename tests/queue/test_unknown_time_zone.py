"""A log whose cron expressions name a time zone that this machine does not know: everything is read
as ever, and only times that are asked for say so.
"""

from pathlib import Path

import msgspec
import pytest

import actionqueue as aq
from actionqueue.errors import InvalidFieldError
from actionqueue.json.commands import command_from_json, command_to_json
from actionqueue.model import cron

UNKNOWN = "CRON_TZ=Nowhere/Land 0 30 2 * * *"
ENDED = "CRON_TZ=Nowhere/Land 0 30 2 * * * 1990"
REASON = r"^Cron\.expression: this machine knows no time zone 'Nowhere/Land'"


def written(path: Path, monkeypatch: pytest.MonkeyPatch) -> aq.TaskId:
    """Make a queue as a machine does that knows the zone."""
    task = aq.TaskSpec(payload=b"x", run_policy=aq.Cron(UNKNOWN, 5))
    ended = aq.TaskSpec(payload=b"x", run_policy=aq.Cron(ENDED))
    with monkeypatch.context() as there, aq.open(path) as queue:
        there.setattr(cron, "zone_named", lambda _name: None)
        for spec in (task, ended):
            queue.submit(aq.TaskCreateCommand(None, spec, 1))
    return task.id


def test_such_a_log_is_replayed_loaded_and_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue"
    task_id = written(path, monkeypatch)
    policy = aq.Cron(UNKNOWN, 5)
    with aq.open(path) as queue:
        assert len(queue.projection.task_ids()) == 2
        assert queue.projection.task(task_id).spec.run_policy == policy
        queue.compact(retention_seconds=0)
        assert list(queue.projection.task_ids()) == [task_id]
    with aq.open(path) as queue:  # from the snapshot
        spec = queue.projection.task(task_id).spec
        assert spec.run_policy == policy
        with pytest.raises(InvalidFieldError, match=REASON):
            spec.run_policy.next_occurrences_after(0, 1)
    with aq.open(path, readonly=True) as reader:
        assert reader.projection.task(task_id).spec == spec
    assert msgspec.structs.replace(spec, parent_task_id=spec.id).run_policy == policy


def test_such_events_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "queue"
    task_id = written(path, monkeypatch)
    event = next(iter(aq.follow(path)))
    assert isinstance(event, aq.TaskCreated)
    assert event.task_spec.id == task_id
    assert event.task_spec.run_policy == aq.Cron(UNKNOWN, 5)


def test_such_a_command_is_refused_and_nothing_written(tmp_path: Path) -> None:
    known = aq.TaskCreateCommand(
        None, aq.TaskSpec(payload=b"x", run_policy=aq.Cron.from_crontab("@daily", "UTC")), 1
    )
    line = command_to_json(known)
    line["task_spec"]["cron"] = [UNKNOWN, None]
    with aq.open(tmp_path / "queue") as queue:
        with pytest.raises(InvalidFieldError, match=REASON):
            queue.submit(command_from_json(line))
        with pytest.raises(InvalidFieldError, match=REASON):
            msgspec.structs.replace(
                known, task_spec=aq.TaskSpec(payload=b"x", run_policy=aq.Cron(UNKNOWN))
            )
        assert queue.projection.task_ids() == []
