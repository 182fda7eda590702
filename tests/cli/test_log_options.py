"""`log --salvage`, past damage, and `log --follow`, past the end."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.command_line import (
    PROGRAM,
    SECONDS_MAX,
    assert_fails,
    fill_more,
    kill_a_writer,
    make_queue,
    run,
    started,
    strike,
    tree,
)
from tests.support.large_queues import add, add_to, damage, flip, make_large
from tests.support.queues import SMALL


def test_salvage_reads_past_damage_and_tells_the_gaps(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    events = {
        entry["sequence"]: entry["event"]
        for entry in run("log", directory, "--json").objects
        if entry["event"]
    }
    damage(directory)
    before = tree(directory)
    ended = run("log", "--salvage", directory)
    assert tree(directory) == before
    assert ended.code == 0
    assert {entry["sequence"]: entry["event"] for entry in ended.objects} == {
        number: events[number] for number in events if number != 31
    }
    assert {entry["moved"] for entry in ended.objects} == {None}
    assert (
        ended.error
        == "wal: sequence 31 is missing\nwal: 59 events can be read, up to sequence 60\n"
    )
    part = run("log", "--salvage", directory, "--from", "30", "--to", "33")
    assert [entry["sequence"] for entry in part.objects] == [30, 32, 33]


def test_salvage_reads_what_repairs_have_moved_away(tmp_path: Path) -> None:
    """Also of more than one, in their order; and a queue that has gone on since is not mixed up
    with them.
    """
    directory = tmp_path / "queue"
    make_large(directory)
    for kept in (30, 31):  # what the ring still holds of the newest segment is not lost
        record = next(
            entry
            for entry in run("log", directory, "--json").objects
            if entry["sequence"] == kept + 1 and entry["event"]
        )
        flip(
            next((directory / "wal").glob(f"{record['segment']:020}-*.log")), record["offset"] + 100
        )
        assert run("repair", directory, "--accept-data-loss").code == 0
        add_to(directory, 10)
    ended = run("log", "--salvage", directory)
    found: dict[str | None, list[int]] = {}
    for entry in ended.objects:
        found.setdefault(entry["moved"], []).append(entry["sequence"])
    now, first, second = found.values()
    assert next(iter(found)) is None
    assert now == list(range(32, 42))
    assert first == [number for number in range(1, 61) if number != 31]
    assert second == [number for number in range(31, 41) if number != 32]
    for moved in list(found)[1:]:
        assert f"quarantine/{moved}*: " in ended.error
        assert (directory / "quarantine" / f"{moved}ring").exists()


def test_salvage_reads_what_only_a_ring_holds(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    kill_a_writer(directory, 12)
    assert [entry["sequence"] for entry in run("log", "--salvage", directory).objects] == list(
        range(1, 13)
    )
    (directory / "wal" / f"{9:020}-{9:020}.log").write_bytes(b"junk")
    assert run("repair", directory, "--accept-data-loss").code == 0
    moved = [
        entry["sequence"] for entry in run("log", "--salvage", directory).objects if entry["moved"]
    ]
    assert moved == list(range(1, 13))


def test_salvage_where_there_is_nothing(tmp_path: Path) -> None:
    assert_fails(run("log", "--salvage", tmp_path / "missing"), 6, "missing")
    assert_fails(run("log", "--salvage", tmp_path), 6, "there is no queue")
    (tmp_path / "wal").mkdir()
    assert run("log", "--salvage", tmp_path) == (0, "", "wal: 0 events can be read\n")
    assert_fails(run("log", "--salvage", "--follow", tmp_path), 2, "do not go together")


def test_a_reader_of_salvage_that_goes_away(tmp_path: Path) -> None:
    make_large(tmp_path / "queue")
    command = [*PROGRAM, "log", "--salvage", str(tmp_path / "queue")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(SECONDS_MAX) == 141


# --- log --follow ---------------------------------------------------------------------------------


class Follower:
    """``log --follow`` in a process of its own."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.process = started("log", directory, "--follow", "--json", *options)

    def next(self) -> int:
        assert self.process.stdout is not None
        return int(json.loads(self.process.stdout.readline())["sequence"])

    def interrupt(self) -> tuple[int, str, str]:
        strike(self.process, signal.SIGINT)
        output, error = self.process.communicate(timeout=SECONDS_MAX)
        return self.process.returncode, output, error


def test_following_a_writer_until_it_is_interrupted(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    with aq.open(directory, compaction=None, **SMALL) as queue:
        add(queue, 3)
        follower = Follower(directory)
        assert [follower.next() for _ in range(3)] == [1, 2, 3]
        add(queue, 20)
        assert [follower.next() for _ in range(20)] == list(range(4, 24))
    with aq.open(directory, compaction=None, **SMALL) as queue:
        fill_more(queue, 2)
        queue.sync()
        assert [follower.next() for _ in range(2)] == [24, 25]
    assert follower.interrupt() == (130, "", "")


def test_following_as_far_as_asked_for(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    with aq.open(directory, compaction=None, **SMALL) as queue:
        add(queue, 3)
        follower = Follower(directory, "--from", "2", "--to", "5")
        assert [follower.next() for _ in range(2)] == [2, 3]
        add(queue, 4)
        output, error = follower.process.communicate(timeout=SECONDS_MAX)
        assert [json.loads(line)["sequence"] for line in output.splitlines()] == [4, 5]
        assert (follower.process.returncode, error) == (0, "")
        assert run("log", directory, "--follow", "--to", "2", "--json").objects[-1]["sequence"] == 2
        assert run("log", directory, "--follow", "--from", "9", "--to", "2") == (0, "", "")
        assert run("log", directory, "--follow", "--to", "0") == (0, "", "")


@pytest.mark.parametrize("options", [[], ["--json"], ["--follow"], ["--salvage"]], ids=" ".join)
def test_a_range_without_a_record_is_looked_for_all_the_same(
    tmp_path: Path, options: list[str]
) -> None:
    """A script that comes to it takes 0 for a queue that has none."""
    bounds = ["--from", "5", "--to", "3"]
    assert_fails(run("log", tmp_path / "nope", *bounds, *options), 6, "there is no queue")
    (tmp_path / "empty").mkdir()
    assert_fails(run("log", tmp_path / "empty", *bounds, *options), 6, "there is no queue")
    make_queue(tmp_path / "queue")
    ended = run("log", tmp_path / "queue", *bounds, *options)
    assert (ended.code, ended.output) == (0, "")


def test_following_a_compacted_log(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    with aq.open(directory, compaction=None, **SMALL) as queue:
        for _ in range(3):
            add(queue)
            queue.compact()
        first = run("log", directory, "--json").objects[0]["sequence"]
        assert first > 1
        follower = Follower(directory)
        assert follower.next() == first
        assert follower.interrupt()[0] == 130
        ended = run("log", directory, "--follow", "--from", "1")
        assert_fails(ended, 10, f"begins at sequence {first}")
