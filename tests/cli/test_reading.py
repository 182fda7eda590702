from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.inspection import iterate_records
from actionqueue.json.projection import projection_to_json
from tests.support.command_line import (
    PROGRAM,
    READING,
    SECONDS_MAX,
    assert_fails,
    fill,
    fill_more,
    kill_a_writer,
    lines,
    make_queue,
    newest_segment,
    run,
    tree,
)
from tests.support.vectors import STREAMS, stream

FORMS = [(name, *options) for name in READING for options in ((), ("--json",))]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue with something of every kind."""
    directory = tmp_path_factory.mktemp("recorded") / "queue"
    for name in STREAMS[1:2]:
        assert (
            run("submit", directory, stdin=lines(*(line["command"] for line in stream(name)))).code
            == 0
        )
    return directory


def tear(directory: Path) -> int:
    """Kill a writer and leave half a record behind its events; return where that begins."""
    kill_a_writer(directory)
    with aq.open(directory) as queue:
        fill(queue, 4)
    end = max(record.offset + record.size for record in iterate_records(directory))
    with newest_segment(directory).open("r+b") as file:
        file.seek(end)
        file.write(b"\x01" * 40)
    return end


def corrupt(directory: Path) -> int:
    """Damage a record in the middle; return where it begins."""
    make_queue(directory)
    record = list(iterate_records(directory))[10]
    with newest_segment(directory).open("r+b") as file:
        file.seek(record.offset + 17)
        byte = file.read(1)
        file.seek(record.offset + 17)
        file.write(bytes([byte[0] ^ 1]))
    return record.offset


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize("state", ["closed", "killed", "torn", "empty", "damaged"])
def test_nothing_on_disk_changes(tmp_path: Path, state: str, form: tuple[str, ...]) -> None:
    directory = tmp_path / "queue"
    match state:
        case "closed":
            make_queue(directory)
        case "killed":
            kill_a_writer(directory)
        case "torn":
            tear(directory)
        case "empty":
            make_queue(directory, 0)
        case "damaged":
            corrupt(directory)
    before = tree(tmp_path)
    ended = run(form[0], directory, *form[1:])
    assert ended.code == (5 if state == "damaged" else 0)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("form", [form for form in FORMS if form[0] == "verify"], ids=" ".join)
def test_a_queue_that_is_in_use_is_not_verified_and_its_holder_named(
    tmp_path: Path, form: tuple[str, ...]
) -> None:
    directory = tmp_path / "queue"
    with aq.open(directory) as queue:
        fill(queue, 4)
        before = tree(tmp_path)
        ended = run(form[0], directory, *form[1:])
        assert tree(tmp_path) == before
    assert ended.output == ""
    assert_fails(ended, 4, directory.as_posix(), f"process {os.getpid()}", socket.gethostname())


@pytest.mark.parametrize("form", [form for form in FORMS if form[0] != "verify"], ids=" ".join)
def test_a_queue_that_is_in_use_is_shown_as_far_as_it_is_durable(
    tmp_path: Path, form: tuple[str, ...]
) -> None:
    directory = tmp_path / "queue"
    with aq.open(directory) as queue:
        fill(queue, 11)
        queue.sync()
        fill_more(queue, 4)
        before = tree(tmp_path)
        ended = run(form[0], directory, *form[1:])
        assert tree(tmp_path) == before
    assert (ended.code, ended.error) == (0, "")
    match form:
        case ("dump", "--json"):
            assert ended.objects[0]["latest_sequence"] == 11
        case ("stats", "--json"):
            log = ended.objects[0]["log"]
            assert (log["has_writer"], log["last_sequence"], log["durable_sequence"]) == (
                True,
                11,
                11,
            )
        case ("log", "--json"):
            assert [entry["sequence"] for entry in ended.objects] == list(range(1, 12))
        case ("dump",):
            assert "Sequence 11," in ended.output
        case ("stats",):
            assert "open for writing" in ended.output
        case ("log",):
            assert [int(line.split()[0]) for line in ended.output.splitlines()] == list(
                range(1, 12)
            )


def test_submit_to_a_queue_that_is_in_use(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue"):
        assert_fails(run("submit", tmp_path / "queue"), 4, f"process {os.getpid()}")


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_where_there_is_no_queue_none_is_made(tmp_path: Path, form: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    for name in ("empty", "missing"):
        ended = run(form[0], tmp_path / name, *form[1:])
        assert ended.output == ""
        assert_fails(ended, 6, (tmp_path / name).as_posix())
    assert tree(tmp_path) == before


@pytest.mark.platform("modes")
@pytest.mark.parametrize("name", READING)
def test_what_the_system_refuses_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert_fails(run(name, tmp_path / "loop" / "queue"), 7, os.strerror(errno.ELOOP))


@pytest.mark.parametrize("name", READING)
def test_damage_is_told(tmp_path: Path, name: str) -> None:
    offset = corrupt(tmp_path / "queue")
    # All of them are in the ring too; who only opens has not looked that far.
    stake = (
        "every event that is known of can be read"
        if name == "verify"
        else "sequences at stake, as far as was read: 11 to 20 ("
    )
    assert_fails(
        run(name, tmp_path / "queue"),
        5,
        "segment 1",
        f"offset {offset}",
        "record_invalid, a record that",
        stake,
    )


def test_verify_tells_damage_as_json_too(tmp_path: Path) -> None:
    offset = corrupt(tmp_path / "queue")
    ended = run("verify", tmp_path / "queue", "--json")
    assert ended.code == 5
    (found,) = ended.objects
    place = {name: found[name] for name in ("ok", "segment", "offset", "unreadable", "given_up")}
    assert place == {"ok": False, "segment": 1, "offset": offset, "unreadable": [], "given_up": []}


def test_verify_reports_a_torn_tail_which_is_no_damage(tmp_path: Path) -> None:
    end = tear(tmp_path / "queue")
    ended = run("verify", tmp_path / "queue")
    assert (ended.code, ended.error) == (0, "")
    assert f"at offset {end}" in ended.output
    assert "torn" in ended.output
    assert "no damage" in ended.output
    found = run("verify", tmp_path / "queue", "--json").objects[0]
    assert (found["ok"], found["events"], found["drop_reason"], found["dropped_from"]) == (
        True,
        24,
        "torn",
        end,
    )


def test_verify_of_a_killed_writer(tmp_path: Path) -> None:
    kill_a_writer(tmp_path / "queue", 30)
    found = run("verify", tmp_path / "queue", "--json").objects[0]
    assert (found["events"], found["ring_events"], found["is_clean"]) == (30, 30, False)


def test_the_dump_of_a_killed_writer_is_what_opening_finds(tmp_path: Path) -> None:
    kill_a_writer(tmp_path / "queue", 31)
    dumped = run("dump", tmp_path / "queue", "--json").objects[0]
    with aq.open(tmp_path / "queue") as queue:
        assert dumped == projection_to_json(queue.projection)
        assert queue.sequence == 31


def test_the_log_in_json(recorded: Path) -> None:
    records = list(iterate_records(recorded))
    shown = run("log", recorded, "--json").objects
    assert len(shown) == len(records)
    for record, entry in zip(records, shown, strict=True):
        for name in ("segment", "offset", "sequence", "batch", "size", "watermark"):
            assert entry[name] == getattr(record, name)
        assert entry["kind"] == record.name
        assert (entry["event"] is None) == (not record.is_event)
        if record.is_event:
            assert (entry["event"]["type"], entry["event"]["sequence"]) == (
                record.name,
                record.sequence,
            )


def test_the_log_for_people(recorded: Path) -> None:
    records = list(iterate_records(recorded))
    ended = run("log", recorded)
    shown = ended.output.splitlines()
    assert len(shown) == len(records)
    for record, line in zip(records, shown, strict=True):
        assert line.split()[:2] == [str(record.sequence), f"{record.segment}:{record.offset}"]
        assert f" {record.name}" in line
        assert line.isprintable()


@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        (["--from", "5"], 5, 20),
        (["--to", "7"], 1, 7),
        (["--from", "5", "--to", "7"], 5, 7),
        (["--from", "21"], 21, 20),
    ],
)
def test_a_part_of_the_log(tmp_path: Path, options: list[str], first: int, last: int) -> None:
    make_queue(tmp_path / "queue")
    shown = run("log", tmp_path / "queue", "--json", *options).objects
    assert [entry["sequence"] for entry in shown if entry["event"]] == list(range(first, last + 1))


def test_the_log_marks_batches(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        fill(queue, 1)
        queue.submit_many(
            [
                aq.EngineResumeCommand(None, 2),
                aq.EnginePauseCommand(None, 3),
                aq.EngineResumeCommand(None, 4),
            ]
        )
    assert [entry["batch"] for entry in run("log", tmp_path / "queue", "--json").objects][:4] == [
        None,
        "open",
        "open",
        "end",
    ]
    marks = [line.split(" B ")[1][0] for line in run("log", tmp_path / "queue").output.splitlines()]
    assert "".join(marks[:4]) == " (()"


def test_texts_from_the_log_cannot_steer_a_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[31m\n\u202e[red]"
    task = aq.TaskSpec(payload=b"")
    run_instance = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    with aq.open(tmp_path / "queue") as queue:
        queue.submit(aq.TaskCreateCommand(None, task, 1))
        queue.submit(aq.RunCreateCommand(None, run_instance))
        queue.submit(aq.RunStateTransitionCommand(None, run_instance.id, "scheduled", "ready", 1))
        queue.submit(aq.LeaseAcquireCommand(None, run_instance.id, hostile, 5, 1))
    for name in READING:
        ended = run(name, tmp_path / "queue")
        assert ended.code == 0
        assert all(line.isprintable() for line in ended.output.splitlines())
    assert "[red]" in run("log", tmp_path / "queue").output
    assert run("log", tmp_path / "queue", "--json").objects[3]["event"]["owner"] == hostile


def test_the_tables_show_what_is_there(recorded: Path) -> None:
    found = run("stats", recorded, "--json").objects[0]
    shown = run("stats", recorded).output
    overview = run("dump", recorded).output
    for text in (shown, overview):
        for state, runs in found["runs_by_state"].items():
            assert any(state in line and f" {runs} " in line for line in text.splitlines())
        assert any(
            "attempts" in line and f" {found['projection']['attempts']} " in line
            for line in text.splitlines()
        )
    assert f" {found['log']['last_sequence']} " in shown
    newest = str(list(json.loads(run("dump", recorded, "--json").output)["runs"])[-1])
    assert newest in overview


@pytest.mark.parametrize("form", [("log",), ("log", "--json"), ("dump",), ("stats",)], ids=" ".join)
def test_a_reader_that_goes_away_ends_the_command_quietly(
    recorded: Path, form: tuple[str, ...]
) -> None:
    command = [*PROGRAM, form[0], str(recorded), *form[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(SECONDS_MAX) == 141
        assert process.stderr.read() == b""
