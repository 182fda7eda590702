"""The file of the newest segment is removed behind a killed writer.

Where nothing in it was durable all that tells of its events is the ring, whose bytes only that
segment's header could verify.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.inspection import verify
from tests.support import places
from tests.support.command_line import run

pytestmark = pytest.mark.platform("signals")

KILLED = """
import os
import signal
import sys
from pathlib import Path

import actionqueue as aq
from tests.support.queues import SMALL, task_create

path = Path(sys.argv[1])
queue = aq.open(path, durability="deferred", compaction=None, **SMALL)
while len(list((path / "wal").glob("*.log"))) < int(sys.argv[2]):
    queue.submit(task_create(bytes(9000)))
for _ in range(3):
    queue.submit(task_create())
if sys.argv[3] == "written":
    queue._log.write_out()
if sys.argv[3] == "synced":
    queue.sync()
if sys.argv[3] == "snapshot":
    queue.snapshot()
print(queue.durable_sequence, queue.sequence, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path, segments: int = 2, where: str = "in the ring") -> tuple[int, int]:
    """Return the durable sequence and the last one of a queue whose writer killed itself."""
    program = [sys.executable, "-c", KILLED, str(path), str(segments), where]
    ended = subprocess.run(
        program, env=places.environment(), capture_output=True, encoding="utf-8", check=False
    )
    durable, last = ended.stdout.split()
    return int(durable), int(last)


def remove_newest(path: Path) -> None:
    max((path / "wal").glob("*.log")).unlink()


def files_of(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "LOCK"
    }


@pytest.mark.parametrize("where", ["in the ring", "written"])
@pytest.mark.parametrize("segments", [2, 4])
@pytest.mark.parametrize(
    "look", [aq.open, lambda path: aq.open(path, readonly=True), verify], ids=lambda each: ""
)
def test_it_is_missed(path: Path, look: Callable[[Path], Any], segments: int, where: str) -> None:
    durable, last = killed(path, segments, where)
    assert durable < last
    remove_newest(path)
    before = files_of(path)
    with pytest.raises(aq.CorruptLogError) as caught:
        look(path)
    assert caught.value.reason == "segment_missing"
    assert caught.value.segment == segments
    if look is not verify:  # which has no sequences to name: it has read all that is there
        assert caught.value.first_sequence == durable + 1
    assert files_of(path) == before


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_it_is_missed_where_something_in_it_was_durable(path: Path, has_snapshot: bool) -> None:
    """No record of the segment before it is called damaged: all of them are as they were."""
    _, last = killed(path, 2, "snapshot" if has_snapshot else "synced")
    newest = max((path / "wal").glob("*.log"))
    newest.unlink()
    with pytest.raises(aq.CorruptLogError) as caught:
        aq.open(path)
    assert (caught.value.reason, caught.value.segment) == ("segment_missing", 2)
    first = int(newest.stem.partition("-")[2])
    assert (caught.value.first_sequence, caught.value.last_sequence) == (first, None)
    report = aq.repair(path, accept_data_loss=True)
    assert report.damage is not None
    assert report.damage.reason == "segment_missing"
    assert report.kept_sequence == (last if has_snapshot else first - 1)


def test_a_repair_gives_its_number_to_no_other_segment(path: Path) -> None:
    """Else a file that is found again would take the place of the one that the log goes on in."""
    killed(path)
    newest = max((path / "wal").glob("*.log"))
    newest.rename(path.with_name("found again"))
    aq.repair(path, accept_data_loss=True)
    (segment,) = (path / "wal").glob("*.log")
    assert segment.name > newest.name
    assert segment.name[:20] != newest.name[:20]


def test_a_repair_says_so_and_keeps_what_is_left(path: Path) -> None:
    durable, _ = killed(path)
    remove_newest(path)
    for accepts in (False, True):
        report = aq.repair(path, accept_data_loss=accepts)
        assert report.damage is not None
        assert (report.damage.reason, report.kept_sequence) == ("segment_missing", durable)
        if not accepts:
            assert (
                "loses     what the missing file had, which nothing" in run("repair", path).output
            )
    with aq.open(path) as queue:
        assert queue.sequence == durable


def test_it_is_missed_in_a_segment_that_an_opening_made(path: Path) -> None:
    """Behind a torn tail an opening begins another segment, without an event, and a new ring."""
    _, last = killed(path, 2, "synced")
    segment = max((path / "wal").glob("*.log"))
    segment.write_bytes(segment.read_bytes()[:-1] + b"\1")
    assert killed(path, 0) == (last, last + 3)
    remove_newest(path)
    with pytest.raises(aq.CorruptLogError) as caught:
        aq.open(path)
    assert (caught.value.reason, caught.value.segment) == ("segment_missing", 3)
    assert caught.value.first_sequence == last + 1


def test_the_events_are_there_where_nothing_was_removed(path: Path) -> None:
    _, last = killed(path)
    with aq.open(path) as queue:
        assert queue.sequence == last
