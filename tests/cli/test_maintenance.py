"""Snapshot, compact, repair, verify with snapshots, and following: the commands that keep a queue
in order, as users run them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from tests.support.command_line import (
    PROGRAM,
    SECONDS_MAX,
    assert_fails,
    fill,
    kill_a_writer,
    make_queue,
    patched,
    run,
    tree,
)
from tests.support.large_queues import add_to, damage, flip, make_large


def snapshots(directory: Path) -> list[Path]:
    return sorted((directory / "snapshots").glob("*.snap"))


def dumped(directory: Path) -> dict[str, Any]:
    return run("dump", directory, "--json").objects[0]


# --- snapshot -------------------------------------------------------------------------------------


def test_snapshot(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    state = make_large(directory)
    ended = run("snapshot", directory)
    assert (ended.code, ended.error) == (0, "")
    assert re.fullmatch(
        r"snapshot  sequence 60, 52\d\.\d KiB, 60 events since the one before\n", ended.output
    )
    assert (
        run("snapshot", directory).output == "snapshot  the one as of sequence 60 has everything\n"
    )
    add_to(directory, 2)
    (made,) = run("snapshot", directory, "--json").objects
    assert (made["sequence"], made["is_new"], made["replayed_events"]) == (62, True, 2)
    assert made["file_bytes"] == snapshots(directory)[-1].stat().st_size
    assert len(snapshots(directory)) == 2
    assert dumped(directory)["latest_sequence"] == 62
    assert len(state["tasks"]) == 60


def test_snapshot_of_nothing(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue", 0)
    assert (
        run("snapshot", tmp_path / "queue").output == "snapshot  none: the log has no event yet\n"
    )
    assert "none: the log has no event yet" in run("compact", tmp_path / "queue").output


def test_compact(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    first = run("compact", directory)
    assert (first.code, first.error) == (0, "")
    assert "dropped   0 segments, 0 snapshots, 0 B\nlog       kept whole\n" in first.output
    state = add_to(directory)
    before = len(list((directory / "wal").iterdir()))
    (second,) = run("compact", directory, "--json").objects
    assert (second["sequence"], second["kept_sequence"]) == (90, 60)
    assert second["dropped_segments"] == before - len(list((directory / "wal").iterdir())) > 0
    assert dumped(directory) == state
    add_to(directory, 1)
    assert "log       kept from behind sequence 90\n" in run("compact", directory).output


def test_compact_with_retention(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    task = aq.TaskSpec(payload=b"")
    ended = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    with aq.open(directory) as queue:
        queue.submit(aq.TaskCreateCommand(None, task, 1))
        queue.submit(aq.RunCreateCommand(None, ended))
        queue.submit(aq.RunStateTransitionCommand(None, ended.id, "scheduled", "canceled", 10))
    assert "forgotten" not in run("compact", directory, "--retention-seconds", 2**62).output
    assert (
        "forgotten 1 runs, 1 tasks\n"
        in run("compact", directory, "--retention-seconds", 1000).output
    )
    assert dumped(directory)["runs"] == {}


@pytest.mark.parametrize("name", ["snapshot", "compact", "repair"])
def test_where_there_is_no_queue_none_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    for place in ("empty", "missing"):
        assert_fails(run(name, tmp_path / place), 6, (tmp_path / place).as_posix())
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "form",
    [("snapshot",), ("compact",), ("repair",), ("repair", "--accept-data-loss")],
    ids=" ".join,
)
def test_a_queue_in_use_is_refused_and_its_holder_named(
    tmp_path: Path, form: tuple[str, ...]
) -> None:
    with aq.open(tmp_path / "queue") as queue:
        fill(queue, 4)
        before = tree(tmp_path)
        assert_fails(
            run(form[0], tmp_path / "queue", *form[1:]), 4, "is in use", f"process {os.getpid()}"
        )
        assert tree(tmp_path) == before


@pytest.mark.platform("limits")
@pytest.mark.parametrize("name", ["snapshot", "compact"])
def test_a_disk_without_room(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "queue"
    state = make_large(directory)
    patch = (
        "import resource, signal\n"
        "from actionqueue import store\n"
        "store.open.__kwdefaults__['ring_size'] = 65536\n"  # whose file is smaller than the limit
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, -1))"
    )
    ended = run(name, directory, program=patched(patch))
    assert_fails(ended, 7, "write failed", os.strerror(27), "try again")
    assert list((directory / "snapshots").iterdir()) == []
    assert dumped(directory) == state


# --- verify ---------------------------------------------------------------------------------------


def test_verify_compares_snapshots_with_the_log(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    run("snapshot", directory)
    add_to(directory)
    run("snapshot", directory)
    add_to(directory, 3)
    found = run("verify", directory, "--json").objects[0]
    assert (found["ok"], found["snapshots"], found["last_sequence"], found["events"]) == (
        True,
        [60, 90],
        93,
        93,
    )
    assert found["records"] == 93 + 3  # and a close marker of every session that had events
    shown = run("verify", directory).output
    assert "snapshots as of 60, 90; valid, and equal to what the log adds up to\n" in shown
    assert shown.startswith("checked   96 records, ")
    run("compact", directory)
    found = run("verify", directory, "--json").objects[0]
    assert (found["ok"], found["snapshots"], found["last_sequence"]) == (True, [90, 93], 93)


@pytest.mark.parametrize("which", [0, 1])
def test_verify_finds_a_damaged_snapshot(tmp_path: Path, which: int) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    run("snapshot", directory)
    add_to(directory)
    run("snapshot", directory)
    victim = snapshots(directory)[which]
    flip(victim)
    assert_fails(
        run("verify", directory),
        5,
        victim.as_posix(),
        "snapshot_invalid",
        "next compaction replaces it",
    )


@pytest.mark.parametrize("is_compacted", [False, True])
def test_verify_finds_a_snapshot_that_is_whole_and_wrong(
    tmp_path: Path, is_compacted: bool
) -> None:
    """Made by the same log's writer, checksums right, from another history: what a bug would
    leave.
    """
    directory, other = tmp_path / "queue", tmp_path / "other"
    make_large(directory, 40)
    run("snapshot", directory)
    shutil.copytree(directory, other)
    for place in (directory, other):  # different tasks from here on
        add_to(place, 20)
        run("snapshot", place)
    if is_compacted:
        add_to(directory, 1)
        run("compact", directory)
        victim = snapshots(directory)[0]
    else:
        victim = snapshots(directory)[1]
    assert victim.name == snapshots(other)[1].name
    victim.write_bytes(snapshots(other)[1].read_bytes())
    ended = run("verify", directory, "--json")
    assert ended.code == 5
    if is_compacted:
        # The wrong one is now what everything else is replayed on; that the newer one is not what
        # comes of it shows it.
        assert ended.objects[0]["reason"] == "snapshot_differs"
    else:
        assert (ended.objects[0]["reason"], ended.objects[0]["path"]) == (
            "snapshot_differs",
            victim.as_posix(),
        )
        assert "move the snapshot away" in ended.error
        victim.unlink()
        assert run("verify", directory).code == 0


# --- repair ---------------------------------------------------------------------------------------


def test_repair_first_says_what_it_would_do(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    kept = damage(directory)
    before = tree(directory)
    before.pop(str(directory / "LOCK"))
    before.pop(str(directory))
    ended = run("repair", directory)
    assert (ended.code, ended.error) == (5, "")
    assert (
        ": record_invalid, a record that was on stable storage is not as it was written\n"
        in ended.output
    )
    assert f"keeps     sequences 1 to {kept}\n" in ended.output
    assert "loses     sequences 31 to 60\n          not readable: 31\n" in ended.output
    assert (
        "          readable, but not without a gap: 32 to 60; `actionqueue log --salvage"
        in ended.output
    )
    assert "--accept-data-loss" in ended.output
    told = run("repair", directory, "--json")
    assert told.code == 5
    (found,) = told.objects
    assert (
        found["is_damaged"],
        found["kept_sequence"],
        found["lost_first"],
        found["lost_last"],
    ) == (True, 30, 31, 60)
    assert (found["damage"]["reason"], found["damage"]["first_sequence"]) == ("record_invalid", 31)
    assert (found["readable_events"], found["quarantined_files"]) == (29, 0)
    after = tree(directory)
    after.pop(str(directory / "LOCK"))
    after.pop(str(directory))
    assert after == before


def test_what_the_damage_says_leads_to_repair_and_that_to_a_queue_that_opens(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    kept = damage(directory)
    assert_fails(run("verify", directory), 5, "actionqueue repair DIR")
    ended = run("repair", directory, "--accept-data-loss")
    assert (ended.code, ended.error) == (0, "")
    assert f"kept      sequences 1 to {kept}\n" in ended.output
    assert f"to {directory.as_posix()}/quarantine/\n" in ended.output
    assert run("verify", directory).code == 0
    with aq.open(directory) as queue:
        assert queue.sequence == kept
        assert queue.submit(aq.EnginePauseCommand(None, 1)).sequence == kept + 1
    assert run("repair", directory, "--accept-data-loss") == (
        0,
        "the queue opens as it is; nothing was done\n",
        "",
    )
    assert run("repair", directory, "--json").objects[0]["is_damaged"] is False


def test_repair_of_a_whole_queue_does_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    kill_a_writer(directory, 12)
    before = tree(directory)
    for options in ((), ("--accept-data-loss",)):
        assert run("repair", directory, *options) == (
            0,
            "the queue opens as it is; nothing was done\n",
            "",
        )
    after = tree(directory)
    for name in ("", "LOCK"):
        before.pop(str(directory / name), None)
        after.pop(str(directory / name), None)
    assert after == before
    assert dumped(directory)["latest_sequence"] == 12


def test_repair_where_nothing_can_be_read(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    make_queue(directory)
    for segment in (directory / "wal").glob("*.log"):
        segment.write_bytes(b"x" * segment.stat().st_size)
    ended = run("repair", directory)
    assert ended.code == 5
    assert "keeps     nothing: no event can be read\n" in ended.output
    assert "would begin a new one, at sequence 1\n" in ended.output


def test_after_a_repair_that_kept_nothing_it_is_said_where_everything_is(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    state = make_large(directory)
    flip(min((directory / "wal").glob("*.log")), 8192 + 100)
    looked = aq.repair(directory, accept_data_loss=False)
    assert (looked.begins_anew, looked.unreadable, looked.given_up) == (True, ((1, 1),), ((2, 60),))
    assert looked.as_dict()["begins_anew"] is True
    ended = run("repair", directory, "--accept-data-loss")
    assert ended.code == 0
    assert "kept      nothing: the first event can't be read\n" in ended.output
    assert "not readable: 1\n" in ended.output
    assert (
        "readable, but not without a gap: 2 to 60; "
        f"`actionqueue log --salvage {directory.as_posix()}` prints them\n" in ended.output
    )
    assert "begins a new one, at sequence 1\n" in ended.output
    assert f"to {directory.as_posix()}/quarantine/\n" in ended.output
    for form in (("repair",), ("repair", "--accept-data-loss"), ("verify",), ("snapshot",)):
        assert_fails(
            run(form[0], directory, *form[1:]),
            6,
            f"{directory.as_posix()}/quarantine",
            "a repair could keep nothing",
            "begins a new queue",
        )
    with pytest.raises(aq.NotAQueueError) as refusal:
        aq.open(directory, create=False)
    assert refusal.value.quarantine == f"{directory.as_posix()}/quarantine"
    salvaged = run("log", "--salvage", directory)
    assert [entry["sequence"] for entry in salvaged.objects] == list(range(2, 61))
    assert {entry["event"]["task_spec"]["id"] for entry in salvaged.objects} < set(state["tasks"])
    with aq.open(directory) as queue:
        assert queue.recovery.is_created


@pytest.mark.parametrize("keeps_snapshots", [False, True])
def test_repair_where_only_the_ring_is_left(tmp_path: Path, keeps_snapshots: bool) -> None:
    directory = tmp_path / "queue"
    make_large(directory, 40)
    run("snapshot", directory)
    add_to(directory, 20)
    shutil.rmtree(directory / "wal")
    if not keeps_snapshots:
        shutil.rmtree(directory / "snapshots")
    with pytest.raises(aq.CorruptLogError, match="actionqueue repair DIR"):
        aq.open(directory)
    assert_fails(
        run("verify", directory),
        5,
        f"can't be read: {41 if keeps_snapshots else 1} to 60",
        "actionqueue repair DIR",
    )
    assert run("repair", directory).code == 5
    ended = run("repair", directory, "--accept-data-loss")
    assert ended.code == 0
    assert (
        "kept      sequences 1 to 40\n" if keeps_snapshots else "begins a new one"
    ) in ended.output
    with aq.open(directory) as queue:
        assert queue.sequence == (40 if keeps_snapshots else 0)


@pytest.mark.platform("modes")
@pytest.mark.parametrize("folder", ["wal", "snapshots"])
def test_a_link_in_a_directorys_place_is_named_and_what_to_do(tmp_path: Path, folder: str) -> None:
    directory = tmp_path / "queue"
    make_large(directory, 3)
    run("snapshot", directory)
    (directory / folder).rename(tmp_path / "elsewhere")
    (directory / folder).symlink_to(tmp_path / "elsewhere")
    for form in (("verify",), ("repair",), ("repair", "--accept-data-loss")):
        ended = run(form[0], directory, *form[1:])
        assert_fails(
            ended,
            5,
            f"{directory.as_posix()}/{folder}: directory (symbolic link)",
            "put the directory itself there",
        )
    (directory / folder).unlink()
    (tmp_path / "elsewhere").rename(directory / folder)
    assert run("verify", directory).code == 0


# --- Progress -------------------------------------------------------------------------------------


def on_a_terminal(
    arguments: list[str], program: list[str], strike: bytes | None = None
) -> tuple[int, str]:
    """Run the command line with standard error on a terminal; return its exit code and what
    appeared there.
    """
    import fcntl  # Windows has none of the three
    import pty
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    streams: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": child,
    }
    with subprocess.Popen([*program, *arguments], **streams, env=environment) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                part = os.read(parent, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
            if strike is not None and strike in shown:
                process.send_signal(signal.SIGINT)
                strike = None
        code = process.wait(SECONDS_MAX)
    os.close(parent)
    return code, shown.decode()


@pytest.mark.platform("terminals")
@pytest.mark.system("terminal")
@pytest.mark.parametrize(
    ("form", "title"),
    [
        ("snapshot", "writing a snapshot"),
        ("compact", "compacting"),
        ("verify", "verifying"),
        ("repair", "examining"),
    ],
)
def test_a_bar_on_a_terminal(tmp_path: Path, form: str, title: str) -> None:
    make_large(tmp_path / "queue")
    code, shown = on_a_terminal([form, str(tmp_path / "queue")], PROGRAM)
    assert code == 0
    assert title in shown
    assert shown.endswith("\x1b[2K")  # and it is gone in the end


HOLD = """
import threading
import actionqueue.{module} as module

real = module.{function}

def hold(*arguments, **options):
    progress = options.get("progress") or arguments[-1]
    held = threading.Event()
    while not progress.is_canceled:
        held.wait(0.01)
    return real(*arguments, **options)

module.{function} = hold
"""


@pytest.mark.platform("terminals")
@pytest.mark.system("terminal")
@pytest.mark.parametrize(
    ("form", "title", "module", "function"),
    [
        ("snapshot", b"writing a snapshot", "compactor", "compact"),
        ("compact", b"compacting", "compactor", "compact"),
        ("verify", b"verifying", "verification", "_verify"),
        ("repair", b"examining", "damage", "repair_directory"),
    ],
)
def test_an_interrupt_cancels(
    tmp_path: Path, form: str, title: bytes, module: str, function: str
) -> None:
    state = make_large(tmp_path / "queue")
    program = patched(HOLD.format(module=module, function=function))
    code, shown = on_a_terminal([form, str(tmp_path / "queue")], program, strike=title)
    assert code == 130
    assert "Traceback" not in shown
    assert not (tmp_path / "queue" / "snapshots").exists() or not list(
        (tmp_path / "queue" / "snapshots").iterdir()
    )
    assert dumped(tmp_path / "queue") == state
    assert run("verify", tmp_path / "queue", "--json").objects[0]["is_clean"]


def test_no_bar_where_nobody_looks(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue")
    assert run("verify", tmp_path / "queue").error == ""
